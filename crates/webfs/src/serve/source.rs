//! Where a file's bytes come from when it is served: a store, or a replica of one elsewhere.

use super::Home;
use crate::manifest::NodePlace;
use crate::model::{Entry, MANIFEST_KIND, Manifest, Policy, SignedManifest};
use crate::relay::replaced;
use crate::store::{Lookup, Object, Store, StoreError};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use std::sync::Arc;
use terms::{ChangeNumber, Code, Problem, VolumeName, VolumePath};
use trust::KeyPair;

/// A file at one version, as it can be served. Every block that it gives matches the manifest.
pub trait FileSource: Send + Sync + 'static {
    /// The volume that the file belongs to.
    fn volume(&self) -> &VolumeName;
    /// The file's path in the volume.
    fn path(&self) -> &VolumePath;
    /// Its attributes at this version.
    fn entry(&self) -> &Entry;
    /// Its blocks at this version.
    fn manifest(&self) -> &Manifest;
    /// The home's signature of this version, if it can be had.
    fn signed_manifest(&self) -> Option<&SignedManifest>;
    /// The change number that this version takes in.
    fn change(&self) -> ChangeNumber;
    /// A block, if it is in memory: without waiting.
    fn block_now(&self, index: usize) -> Option<Bytes>;
    /// A block; zeros for a hole.
    fn read_block(&self, index: usize) -> BoxFuture<'_, Result<Bytes, Problem>>;
    /// A node of the tree of its blocks, encoded; nothing where it has none.
    fn read_node(&self, place: NodePlace) -> BoxFuture<'_, Result<Option<Bytes>, Problem>>;
}

/// A file of a volume that lives here.
pub struct HomeFile {
    store: Store,
    key: KeyPair,
    object: Arc<Object>,
    manifest: Manifest,
    change: ChangeNumber,
}

impl HomeFile {
    /// The file that was found while the volume's change number was `change`. Nothing for a directory.
    pub fn new(home: &Home, object: Arc<Object>, change: ChangeNumber) -> Option<Self> {
        let manifest = object.manifest()?.clone();
        Some(Self { store: home.store().clone(), key: home.key().clone(), object, manifest, change })
    }
}

impl HomeFile {
    /// Under `strong` each read shows the last completed write: what was opened must be that still.
    async fn still_valid(&self) -> Result<(), Problem> {
        if self.object.entry.policy != Policy::Strong {
            return Ok(());
        }
        match self.store.lookup(&self.object.path).await? {
            Lookup::Found(now) if now.entry.version == self.object.entry.version => Ok(()),
            _ => Err(replaced(&format!("{}/{}", self.store.name(), self.object.path))),
        }
    }
}

impl FileSource for HomeFile {
    fn volume(&self) -> &VolumeName {
        self.store.name()
    }

    fn path(&self) -> &VolumePath {
        &self.object.path
    }

    fn entry(&self) -> &Entry {
        &self.object.entry
    }

    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn signed_manifest(&self) -> Option<&SignedManifest> {
        self.object.signed_manifest(self.store.name(), |statement| {
            let signed = trust::signed::sign_short(&self.key, MANIFEST_KIND, statement);
            signed.map_err(|error| tracing::error!(%error, "a manifest could not be signed")).ok()
        })
    }

    fn change(&self) -> ChangeNumber {
        self.change
    }

    fn block_now(&self, index: usize) -> Option<Bytes> {
        if self.object.entry.policy == Policy::Strong {
            return None;
        }
        self.store.block_now(&self.object, index)
    }

    fn read_block(&self, index: usize) -> BoxFuture<'_, Result<Bytes, Problem>> {
        async move {
            self.still_valid().await?;
            self.store.read_block(&self.object, index).await.map_err(|error| {
                tracing::error!(path = ?self.object.path, index, %error, "a block could not be read");
                unreadable(self.volume(), self.path(), index, error)
            })
        }
        .boxed()
    }

    fn read_node(&self, place: NodePlace) -> BoxFuture<'_, Result<Option<Bytes>, Problem>> {
        async move {
            let node = self.store.read_node(&self.object, place).await;
            node.map(|bytes| bytes.map(Bytes::from)).map_err(|error| {
                tracing::error!(path = ?self.object.path, %place, %error, "a node could not be read");
                Problem::from(error)
            })
        }
        .boxed()
    }
}

/// What a reader is told: the block by its place in the file, not by the name that it has on this disk.
fn unreadable(volume: &VolumeName, path: &VolumePath, index: usize, error: StoreError) -> Problem {
    match error {
        StoreError::Damaged { .. } => {
            let what = format!("block {index} of {volume}/{path} is damaged at the home, and is not given out");
            Problem::new(Code::Internal, what).next("put the file again; the home's disk may be failing")
        }
        other => Problem::from(other),
    }
}
