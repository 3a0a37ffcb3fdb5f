//! What the store keeps in memory: looked-up objects, access control lists, verified blocks.
//! The writer drops what a change touched before it answers; a lookup that ran across a change is not kept.

use super::blocks::BlockName;
use super::history::History;
use super::read::Object;
use crate::gate::Touched;
use crate::limits::{RECENT_BLOCK_BYTES, RECENT_BUCKET_BYTES, RECENT_OBJECT_BYTES};
use crate::recent::Recent;
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terms::{ChangeNumber, Digest, VolumePath};
use trust::Bucket;

/// What an entry of an access control list costs in memory: bytes, roughly.
const BUCKET_ENTRY_BYTES: usize = 120;

pub(super) struct Memory {
    change: AtomicU64,
    objects: Mutex<Recent<VolumePath, Arc<Object>>>,
    buckets: Mutex<Recent<Digest, Arc<Bucket>>>,
    blocks: Mutex<Recent<BlockName, Bytes>>,
    history: History,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    pub(super) fn new(change: ChangeNumber) -> Self {
        Self {
            change: AtomicU64::new(change.0),
            objects: Mutex::new(Recent::new(RECENT_OBJECT_BYTES)),
            buckets: Mutex::new(Recent::new(RECENT_BUCKET_BYTES)),
            blocks: Mutex::new(Recent::new(RECENT_BLOCK_BYTES)),
            history: History::new(change),
        }
    }

    /// The last change that every later lookup takes in.
    pub(super) fn change(&self) -> ChangeNumber {
        ChangeNumber(self.change.load(Ordering::Acquire))
    }

    /// A transaction has committed: forget what it touched, then publish its number.
    pub(super) fn changed(&self, change: ChangeNumber, touched: Vec<Touched>) {
        {
            let mut objects = lock(&self.objects);
            for one in &touched {
                if one.subtrees.is_empty() {
                    one.objects.iter().for_each(|path| objects.remove(path));
                } else {
                    objects.clear();
                }
            }
            // Under the lock, so that `keep` sees either both or neither.
            if self.change.swap(change.0, Ordering::AcqRel) == change.0 {
                return;
            }
        }
        self.history.note(change, touched);
    }

    /// The last changes.
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn object(&self, path: &VolumePath) -> Option<Arc<Object>> {
        lock(&self.objects).get(path)
    }

    /// Keeps what was looked up while the change number was `as_of`, unless a change came since.
    pub(super) fn keep(&self, as_of: ChangeNumber, object: &Arc<Object>) {
        let mut objects = lock(&self.objects);
        if self.change() == as_of {
            objects.insert(object.path.clone(), object.clone(), object.weight());
        }
    }

    pub(super) fn bucket(&self, hash: &Digest) -> Option<Arc<Bucket>> {
        lock(&self.buckets).get(hash)
    }

    pub(super) fn keep_bucket(&self, hash: Digest, bucket: Arc<Bucket>) {
        let weight = 64 + BUCKET_ENTRY_BYTES * bucket.entries().len();
        lock(&self.buckets).insert(hash, bucket, weight);
    }

    pub(super) fn block(&self, name: BlockName) -> Option<Bytes> {
        lock(&self.blocks).get(&name)
    }

    pub(super) fn keep_block(&self, name: BlockName, bytes: Bytes) {
        let weight = bytes.len() + 64;
        lock(&self.blocks).insert(name, bytes, weight);
    }
}
