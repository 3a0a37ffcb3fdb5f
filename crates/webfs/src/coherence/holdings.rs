//! What a home looks up in its store for one holder.

use super::MayRead;
use super::stream::Holdings;
use crate::model::ObjectVersion;
use crate::store::{Lookup, Store, StoreError};
use terms::{Location, VolumePath};

/// The store, and whether the holder may read.
pub(super) struct Stored {
    pub(super) store: Store,
    pub(super) may_read: MayRead,
}

impl Holdings for Stored {
    type Compared = Vec<(VolumePath, ObjectVersion)>;

    /// Which of these are what the store has now, and the holder may read. What cannot be read is not current.
    async fn current(&self, objects: Self::Compared) -> Vec<VolumePath> {
        let mut current = Vec::with_capacity(objects.len());
        for (path, version) in objects {
            match self.is_current(&path, version).await {
                Ok(true) => current.push(path),
                Ok(false) => {}
                Err(error) => tracing::warn!(?path, %error, "a version could not be compared"),
            }
        }
        current
    }

    /// Whoever may read an object, or what would lie there, may lock it.
    async fn may_lock(&self, path: &VolumePath) -> bool {
        let Ok(lookup) = self.store.lookup(path).await else { return false };
        let Ok(bucket) = self.store.bucket(lookup.bucket()).await else { return false };
        (self.may_read)(&self.location(path), &bucket)
    }
}

impl Stored {
    fn location(&self, path: &VolumePath) -> Location {
        Location { volume: self.store.name().clone(), path: path.clone() }
    }

    async fn is_current(&self, path: &VolumePath, version: ObjectVersion) -> Result<bool, StoreError> {
        let Lookup::Found(object) = self.store.lookup(path).await? else { return Ok(false) };
        if object.entry.version != version {
            return Ok(false);
        }
        let bucket = self.store.bucket(object.bucket).await?;
        Ok((self.may_read)(&self.location(path), &bucket))
    }
}
