//! A volume that lives elsewhere, as this node's fronts and relays read it: a session with its home and a cache
//! of its own folder, opened at the first need.

use crate::front::{FrontFile, FrontFiles, FrontObject};
use crate::limits::{CACHE_BYTES, HOME_LOOKUP_DEADLINE};
use crate::node::State;
use crate::settings::ViaNode;
use client::Client;
use futures_util::future::{BoxFuture, FutureExt};
use std::path::PathBuf;
use std::sync::Arc;
use terms::{Code, Location, Principal, Problem, VolumePath};
use tokio::sync::OnceCell;
use webfs::cache::{Cache, CacheError};
use webfs::relay::{PoolLink, Replica, ReplicaObject};
use webfs::rules::LeaseRules;

/// The files of a volume that lives elsewhere.
pub struct ReplicaFiles {
    client: Client,
    top: Location,
    dir: PathBuf,
    via: Option<ViaNode>,
    replica: OnceCell<Replica>,
}

impl ReplicaFiles {
    /// The files below `top`; `purpose` names the cache's own folder.
    pub fn new(state: &State, top: &Location, purpose: &str) -> Self {
        let dir = state.settings.folder.cache().join(purpose).join(top.volume.to_string());
        Self { client: state.client.clone(), top: top.clone(), dir, via: None, replica: OnceCell::new() }
    }

    /// The same, asked for at a relay instead of the volume's home.
    pub fn via(self, via: Option<ViaNode>) -> Self {
        Self { via, ..self }
    }

    /// The replica, started at the first need.
    pub async fn replica(&self) -> Result<&Replica, Problem> {
        self.replica.get_or_try_init(|| self.start()).await
    }

    async fn start(&self) -> Result<Replica, Problem> {
        let volume = &self.top.volume;
        let found = tokio::time::timeout(HOME_LOOKUP_DEADLINE, self.client.volume_record(volume)).await;
        let record = found.unwrap_or_else(|_| {
            let seconds = HOME_LOOKUP_DEADLINE.as_secs();
            Err(Problem::new(Code::Unavailable, format!("the home of {volume} was not found within {seconds} s")))
        })?;
        let pool = self.client.pool().clone();
        let link = match &self.via {
            None => PoolLink::new(pool, volume.clone(), record.home, &record.address),
            Some(via) => PoolLink::via(pool, volume.clone(), record.home, (via.principal.clone(), &via.address)),
        };
        let dir = self.dir.clone();
        let cache = tokio::task::spawn_blocking(move || Cache::open(&dir, CACHE_BYTES))
            .await
            .map_err(|error| Problem::new(Code::Internal, format!("the cache cannot be opened: {error}")))?
            .map_err(unusable)?;
        let (world, rules) = (self.client.world(), LeaseRules::default());
        let replica = Replica::start(world, volume.clone(), record.key, Arc::new(link), cache, rules)
            .await
            .map_err(unusable)?;
        // What is opened before the session stands is used once and not cached.
        let _ = tokio::time::timeout(HOME_LOOKUP_DEADLINE, replica.connected()).await;
        Ok(replica)
    }

    /// Opens a file or directory of the volume as it is now.
    pub async fn open(&self, path: &VolumePath) -> Result<ReplicaObject, Problem> {
        self.replica().await?.open(path).await
    }

    /// Whether the files can be read: the session stands and the folder is there.
    pub async fn prepare(&self) -> Result<(), Problem> {
        self.open(&self.top.path).await.map(drop)
    }

    /// What is left of the lease: milliseconds.
    pub async fn lease_left_ms(&self) -> u32 {
        let Some(replica) = self.replica.get() else { return 0 };
        let left = replica.state().await.map_or(0, |state| state.trusted_for.as_millis());
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Who the volume's home is, once that has been asked.
    pub fn home(&self) -> Option<&Principal> {
        self.replica.get().map(Replica::home)
    }

    /// Who holds a session below.
    pub async fn holders(&self) -> Vec<Principal> {
        match self.replica.get() {
            Some(replica) => replica.holders().await.unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// Ends the sessions of a holder below.
    pub async fn expel(&self, holder: Principal) {
        // A replica that is closed has no sessions.
        if let Some(replica) = self.replica.get() {
            let _ = replica.expel(holder).await;
        }
    }

    /// Ends the session: the home waits for this holder no more.
    pub async fn close(&self) {
        if let Some(replica) = self.replica.get() {
            replica.close().await;
        }
    }

    /// Removes everything that was cached.
    pub async fn drop_cache(&self) {
        let dropped = match self.replica.get() {
            Some(replica) => replica.close_and_drop_cache().await.map_err(|error| error.to_string()),
            None => Ok(()),
        };
        if let Err(error) = dropped {
            tracing::warn!(volume = %self.top.volume, error, "the cache could not be removed");
        }
    }
}

fn unusable(error: CacheError) -> Problem {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Problem::new(Code::Internal, format!("{error}{cause}"))
}

impl FrontFiles for Arc<ReplicaFiles> {
    fn find<'a>(&'a self, path: &'a VolumePath) -> BoxFuture<'a, Result<FrontObject, Problem>> {
        async move {
            Ok(match self.open(path).await {
                Ok(ReplicaObject::File(file)) => {
                    let bucket = Arc::new(file.bucket().clone());
                    FrontObject::File(FrontFile { source: Arc::new(file), bucket })
                }
                Ok(ReplicaObject::Directory(_)) => FrontObject::Directory,
                Ok(ReplicaObject::Link(_)) => FrontObject::Missing,
                Err(problem) if problem.code == Code::NotFound => FrontObject::Missing,
                Err(problem) => return Err(problem),
            })
        }
        .boxed()
    }
}
