//! The disk cache of a node: records and blocks of files whose home is elsewhere.
//!
//! It is bounded, survives restarts, and gives only blocks that match their manifest; what is damaged is dropped and
//! fetched anew. It never says whether what it holds is still valid: leases do.

mod file;
pub mod limits;
mod sieve;

#[cfg(test)]
mod tests;

pub use file::CachedFile;
pub use sieve::Sieve;

use crate::model::Manifest;
use bytes::Bytes;
use limits::{MAX_RECORD_BYTES, MIN_CACHE_BYTES, OBJECT_OVERHEAD_BYTES};
use rustix::fs::{FlockOperation, flock};
use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terms::{Digest, VolumeName, VolumePath};

const LOCK: &str = "lock";
const RECORD: &str = "record";

/// Why the cache failed. Its callers go on without it.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Another process has the folder.
    #[error("the cache folder {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The disk failed.
    #[error("{doing} {} failed", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl CacheError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.into(), source }
    }
}

/// A cached object: one version at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    volume: VolumeName,
    path: VolumePath,
}

#[derive(Debug, Default)]
struct Object {
    /// The length of the record on disk: bytes.
    record: u64,
    file: Option<Arc<CachedFile>>,
}

#[derive(Debug, Default)]
struct State {
    sieve: Sieve<Key>,
    objects: HashMap<Key, Object>,
    /// Files of replaced versions, to be removed by the next who may block.
    replaced: Vec<Arc<CachedFile>>,
}

impl State {
    /// Brings an object's weight up to date.
    fn weigh(&mut self, key: &Key) {
        if let Some(object) = self.objects.get(key) {
            let landed = object.file.as_ref().map_or(0, |file| file.landed_bytes());
            self.sieve.put(key.clone(), OBJECT_OVERHEAD_BYTES + object.record + landed);
        }
    }

    /// Puts a file in the place of another version's.
    fn replace(&mut self, key: &Key, file: Option<Arc<CachedFile>>) {
        let object = self.objects.entry(key.clone()).or_default();
        self.replaced.extend(std::mem::replace(&mut object.file, file));
        self.weigh(key);
    }

    fn remove(&mut self, key: &Key) {
        self.sieve.remove(key);
        self.replaced.extend(self.objects.remove(key).and_then(|object| object.file));
    }
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    limit: u64,
    state: Mutex<State>,
    /// Numbers the drafts of records, of which several may be under way.
    drafts: AtomicU64,
    /// Held open for its lock.
    _lock: File,
}

/// A handle on a node's cache; cheap to clone. Its methods block the thread, except where they say otherwise.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Inner>);

impl Cache {
    /// Opens the cache in a folder, made if need be, that may hold about `limit` bytes.
    pub fn open(dir: &Path, limit: u64) -> Result<Self, CacheError> {
        make_folder(dir)?;
        let path = dir.join(LOCK);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| CacheError::io("opening", &path, error))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(CacheError::Locked(dir.into())),
            Err(error) => return Err(CacheError::io("locking", &path, error.into())),
        }
        let (dir, limit) = (dir.into(), limit.max(MIN_CACHE_BYTES));
        let (state, drafts) = (Mutex::default(), AtomicU64::new(0));
        Ok(Self(Arc::new(Inner { dir, limit, state, drafts, _lock: lock })))
    }

    /// Bytes in use: records, blocks and an allowance for the file system's own. Does not block.
    pub fn used(&self) -> u64 {
        self.state().sieve.weight()
    }

    /// What an earlier run left of a volume: each object's record. `read` makes path and manifest of a record; what
    /// it does not understand is removed, as are blocks without a record.
    pub fn load(
        &self,
        volume: &VolumeName,
        mut read: impl FnMut(&[u8]) -> Option<(VolumePath, Option<Manifest>)>,
    ) -> Result<(), CacheError> {
        let dir = self.folder(volume);
        make_folder(&dir)?;
        let failed = |error| CacheError::io("reading", &dir, error);
        let mut strangers = Vec::new();
        for entry in std::fs::read_dir(&dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != RECORD) {
                strangers.push(path);
                continue;
            }
            let record = read_record(&path).and_then(|record| Some((record.len(), read(&record)?)));
            let known = record.filter(|(_, (object, _))| self.record_path(volume, object) == path);
            match known {
                Some((length, (object, manifest))) => self.adopt(volume, object, manifest, length)?,
                None => strangers.push(path),
            }
        }
        let known: Vec<_> = {
            let state = self.state();
            state.objects.values().filter_map(|object| object.file.clone()).flat_map(|file| file.paths()).collect()
        };
        for path in strangers.iter().filter(|path| !known.contains(path)) {
            std::fs::remove_file(path).map_err(|error| CacheError::io("removing", path, error))?;
        }
        Ok(())
    }

    fn adopt(
        &self,
        volume: &VolumeName,
        path: VolumePath,
        manifest: Option<Manifest>,
        record: usize,
    ) -> Result<(), CacheError> {
        let key = Key { volume: volume.clone(), path };
        let file = match manifest {
            Some(manifest) => {
                let file = CachedFile::new(&self.stem(&key, manifest.root()), manifest);
                file.open_now()?;
                Some(Arc::new(file))
            }
            None => None,
        };
        let mut state = self.state();
        state.objects.insert(key.clone(), Object { record: record as u64, file });
        state.weigh(&key);
        drop(state);
        self.make_room(None);
        Ok(())
    }

    /// Keeps an object's record in place of an earlier one; the blocks of another version go.
    pub fn keep(
        &self,
        volume: &VolumeName,
        path: &VolumePath,
        record: &[u8],
        manifest: Option<&Manifest>,
    ) -> Result<(), CacheError> {
        if record.len() as u64 > MAX_RECORD_BYTES {
            return Ok(());
        }
        make_folder(&self.folder(volume))?;
        let target = self.record_path(volume, path);
        let draft = target.with_extension(format!("new{}", self.0.drafts.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&draft, record).map_err(|error| CacheError::io("writing", &draft, error))?;
        std::fs::rename(&draft, &target).map_err(|error| CacheError::io("writing", &target, error))?;
        match manifest {
            Some(manifest) => drop(self.file(volume, path, manifest)),
            None => self.state().replace(&Key { volume: volume.clone(), path: path.clone() }, None),
        }
        let key = Key { volume: volume.clone(), path: path.clone() };
        {
            let mut state = self.state();
            if let Some(object) = state.objects.get_mut(&key) {
                object.record = record.len() as u64;
            }
            state.weigh(&key);
        }
        self.make_room(Some(&key));
        Ok(())
    }

    /// The blocks of this version. Those of another version of the same path are given up. Does not block.
    pub fn file(&self, volume: &VolumeName, path: &VolumePath, manifest: &Manifest) -> Arc<CachedFile> {
        let key = Key { volume: volume.clone(), path: path.clone() };
        let mut state = self.state();
        let present = state.objects.get(&key).and_then(|object| object.file.clone());
        if let Some(file) = present.filter(|file| file.manifest().root() == manifest.root()) {
            return file;
        }
        let file = Arc::new(CachedFile::new(&self.stem(&key, manifest.root()), manifest.clone()));
        state.replace(&key, Some(file.clone()));
        file
    }

    /// The blocks of this version of a file that only grows: full ones of earlier versions are there already. Does not
    /// block.
    pub fn growing(&self, volume: &VolumeName, path: &VolumePath, manifest: &Manifest) -> Arc<CachedFile> {
        let key = Key { volume: volume.clone(), path: path.clone() };
        let stem = self.folder(volume).join(format!("{}-log", file_name(path)));
        let mut state = self.state();
        let present = state.objects.get(&key).and_then(|object| object.file.clone());
        if let Some(file) = present.clone().filter(|file| file.manifest().root() == manifest.root()) {
            return file;
        }
        let file = Arc::new(CachedFile::growing(&stem, manifest.clone()));
        if present.is_some_and(|present| present.paths() == file.paths()) {
            // The same files on disk, which go on.
            state.objects.entry(key.clone()).or_default().file = Some(file.clone());
            state.weigh(&key);
        } else {
            state.replace(&key, Some(file.clone()));
        }
        file
    }

    /// Keeps a block that has been checked against the manifest, and makes room for it.
    pub fn land(
        &self,
        volume: &VolumeName,
        path: &VolumePath,
        file: &CachedFile,
        index: usize,
        block: &Bytes,
    ) -> Result<(), CacheError> {
        make_folder(&self.folder(volume))?;
        if file.write(index, block)? {
            let key = Key { volume: volume.clone(), path: path.clone() };
            self.state().weigh(&key);
            self.make_room(Some(&key));
        }
        Ok(())
    }

    /// Notes that an object was used. Does not block.
    pub fn touch(&self, volume: &VolumeName, path: &VolumePath) {
        self.state().sieve.touch(&Key { volume: volume.clone(), path: path.clone() });
    }

    /// Drops all of a volume.
    pub fn drop_volume(&self, volume: &VolumeName) -> Result<(), CacheError> {
        {
            let mut state = self.state();
            let keys: Vec<Key> = state.objects.keys().filter(|key| key.volume == *volume).cloned().collect();
            keys.iter().for_each(|key| state.remove(key));
        }
        self.remove_replaced();
        let dir = self.folder(volume);
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CacheError::io("removing", &dir, error)),
            _ => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_room(&self, keep: Option<&Key>) {
        let records: Vec<PathBuf> = {
            let mut state = self.state();
            let given_up = state.sieve.shrink_to(self.0.limit, keep);
            given_up.iter().for_each(|key| state.remove(key));
            given_up.iter().map(|key| self.record_path(&key.volume, &key.path)).collect()
        };
        for record in records {
            if let Err(error) = std::fs::remove_file(&record)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(record = %record.display(), %error, "a cached record could not be removed");
            }
        }
        self.remove_replaced();
    }

    fn remove_replaced(&self) {
        let replaced = std::mem::take(&mut self.state().replaced);
        replaced.iter().for_each(|file| file.give_up());
    }

    fn folder(&self, volume: &VolumeName) -> PathBuf {
        self.0.dir.join(volume.to_string())
    }

    fn record_path(&self, volume: &VolumeName, path: &VolumePath) -> PathBuf {
        self.folder(volume).join(file_name(path)).with_extension(RECORD)
    }

    fn stem(&self, key: &Key, root: Digest) -> PathBuf {
        self.folder(&key.volume).join(format!("{}-{root}", file_name(&key.path)))
    }
}

/// Paths may be longer than file names and hold anything: their hash stands for them.
fn file_name(path: &VolumePath) -> String {
    Digest::of(path.as_str().as_bytes()).to_string()
}

fn read_record(path: &Path) -> Option<Vec<u8>> {
    let length = std::fs::metadata(path).ok()?.len();
    (length <= MAX_RECORD_BYTES).then(|| std::fs::read(path).ok()).flatten()
}

fn make_folder(dir: &Path) -> Result<(), CacheError> {
    DirBuilder::new().mode(0o700).recursive(true).create(dir).map_err(|error| CacheError::io("making", dir, error))
}
