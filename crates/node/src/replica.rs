//! A volume that lives elsewhere, as this node's fronts and relays read it. (Placeholder until the cache lands.)

use crate::front::{FrontFiles, FrontObject};
use crate::node::State;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use terms::{ChangeNumber, Code, Location, Problem, VolumePath};
use trust::Bucket;
use webfs::model::{Entry, Listing};
use webfs::serve::FileSource;

/// What stands at a path.
pub enum Found {
    /// A file.
    File {
        /// Its content.
        source: Arc<dyn FileSource>,
        /// Its access list.
        bucket: Arc<Bucket>,
    },
    /// A directory.
    Directory {
        /// Its attributes.
        entry: Entry,
        /// The change number of what is known.
        change: ChangeNumber,
        /// Its entries.
        listing: Arc<Listing>,
        /// Its access list.
        bucket: Arc<Bucket>,
    },
}

impl Found {
    /// The access list.
    pub fn bucket(&self) -> &Bucket {
        match self {
            Self::File { bucket, .. } | Self::Directory { bucket, .. } => bucket,
        }
    }
}

/// The files of a volume that lives elsewhere.
pub struct ReplicaFiles {
    top: Location,
}

impl ReplicaFiles {
    /// Files below a folder.
    pub fn new(_state: &State, top: &Location) -> Result<Self, Problem> {
        Ok(Self { top: top.clone() })
    }

    /// Opens.
    pub async fn open(&self, _path: &VolumePath) -> Result<Found, Problem> {
        Err(Problem::new(Code::Unavailable, format!("{} is not cached here", self.top)))
    }

    /// Ready to serve.
    pub async fn prepare(&self) -> Result<(), Problem> {
        self.open(&self.top.path).await.map(drop)
    }

    /// What is left of the lease.
    pub fn lease_left_ms(&self) -> u32 {
        0
    }

    /// Ends the session.
    pub async fn close(&self) {}

    /// Drops the cache.
    pub async fn drop_cache(&self) {}
}

impl FrontFiles for Arc<ReplicaFiles> {
    fn find<'a>(&'a self, path: &'a VolumePath) -> BoxFuture<'a, Result<FrontObject, Problem>> {
        Box::pin(async move {
            Ok(match self.open(path).await {
                Ok(Found::File { source, bucket }) => FrontObject::File(crate::front::FrontFile { source, bucket }),
                Ok(Found::Directory { .. }) => FrontObject::Directory,
                Err(problem) if problem.code == Code::NotFound => FrontObject::Missing,
                Err(problem) => return Err(problem),
            })
        })
    }
}
