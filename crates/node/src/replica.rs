//! A volume that lives elsewhere, as this node's fronts and relays read it: a session with its home and a cache
//! of its own folder, opened at the first need.

use crate::front::{FrontFile, FrontFiles, FrontObject};
use crate::limits::{CACHE_BYTES, HOME_LOOKUP_DEADLINE};
use crate::node::State;
use client::Client;
use client::models::{Raise, VolumeRecord};
use discovery::limits::MAX_RAISES;
use futures_util::future::{BoxFuture, FutureExt};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use terms::{Code, Location, Problem, VolumePath};
use tokio::sync::OnceCell;
use webfs::cache::{Cache, CacheError};
use webfs::relay::{PoolLink, Replica, ReplicaObject};
use webfs::rules::{Believed, LeaseRules, Raised};

/// The files of a volume that lives elsewhere. They follow the volume when it moves.
pub struct ReplicaFiles {
    client: Client,
    top: Location,
    dir: PathBuf,
    /// Opened once: a folder has one cache.
    cache: OnceCell<Cache>,
    running: RwLock<Option<Running>>,
    /// One start, or change of homes, at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Running {
    replica: Replica,
    record: VolumeRecord,
}

impl ReplicaFiles {
    /// The files below `top`; `purpose` names the cache's own folder.
    pub fn new(state: &State, top: &Location, purpose: &str) -> Self {
        let dir = state.settings.folder.cache().join(purpose).join(top.volume.to_string());
        let (client, top, cache, running) = (state.client.clone(), top.clone(), OnceCell::new(), RwLock::default());
        Self { client, top, dir, cache, running, turn: tokio::sync::Mutex::default() }
    }

    fn running(&self) -> Option<Running> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, running: Running) {
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    async fn start(&self) -> Result<Running, Problem> {
        if let Some(running) = self.running() {
            return Ok(running);
        }
        let _turn = self.turn.lock().await;
        if let Some(running) = self.running() {
            return Ok(running);
        }
        let record = self.record(false).await?;
        self.begin(record).await
    }

    async fn record(&self, anew: bool) -> Result<VolumeRecord, Problem> {
        let volume = &self.top.volume;
        let asked = async {
            if anew {
                self.client.volume_record_anew(volume).await
            } else {
                self.client.volume_record(volume).await
            }
        };
        tokio::time::timeout(HOME_LOOKUP_DEADLINE, asked).await.unwrap_or_else(|_| {
            let seconds = HOME_LOOKUP_DEADLINE.as_secs();
            Err(Problem::new(Code::Unavailable, format!("the home of {volume} was not found within {seconds} s")))
        })
    }

    async fn begin(&self, record: VolumeRecord) -> Result<Running, Problem> {
        let volume = &self.top.volume;
        let pool = self.client.pool().clone();
        let link = PoolLink::new(pool, volume.clone(), record.home.clone(), &record.address);
        let cache = self.cache.get_or_try_init(|| open_cache(self.dir.clone())).await?.clone();
        let (world, rules, key) = (self.client.world(), LeaseRules::default(), record.key.clone());
        let replica = Replica::start(world, volume.clone(), key, Arc::new(link), cache, rules).await;
        let replica = replica.map_err(unusable)?;
        replica.believe(believed(&record)).await?;
        // What is opened before the session stands is used once and not cached.
        let _ = tokio::time::timeout(HOME_LOOKUP_DEADLINE, replica.connected()).await;
        let running = Running { replica, record };
        self.set(running.clone());
        Ok(running)
    }

    /// After a home that is none any more, or shows an epoch of which nothing is known: what the realm says now. Answers
    /// whether there is something new.
    async fn follow(&self, before: &Running, anew: bool) -> Result<Option<Running>, Problem> {
        let _turn = self.turn.lock().await;
        let present = self.running().filter(|present| present.record != before.record);
        if let Some(present) = present {
            return Ok(Some(present));
        }
        let record = self.record(anew).await?;
        if record == before.record {
            return Ok(None);
        }
        tracing::info!(volume = %record.volume, home = %record.home, epoch = %record.epoch, "the volume moved");
        let same = |one: &VolumeRecord| (one.home.clone(), one.address.clone(), one.key.thumbprint());
        if same(&record) == same(&before.record) {
            before.replica.believe(believed(&record)).await?;
            let running = Running { record, ..before.clone() };
            self.set(running.clone());
            return Ok(Some(running));
        }
        before.replica.close().await;
        self.begin(record).await.map(Some)
    }

    /// Opens a file or directory of the volume as it is now.
    pub async fn open(&self, path: &VolumePath) -> Result<ReplicaObject, Problem> {
        let mut running = self.start().await?;
        if running.replica.unproven().is_some()
            && let Some(newer) = self.follow(&running, true).await?
        {
            running = newer;
        }
        match running.replica.open(path).await {
            // The word of a home that is none is asked after at once, silence only when the record is old.
            Err(problem) if matches!(problem.code, Code::Moved | Code::Unavailable | Code::Internal) => {
                match self.follow(&running, problem.code == Code::Moved).await {
                    Ok(Some(newer)) => newer.replica.open(path).await,
                    Ok(None) | Err(_) => Err(problem),
                }
            }
            opened => opened,
        }
    }

    /// Whether the files can be read: the session stands and the folder is there.
    pub async fn prepare(&self) -> Result<(), Problem> {
        self.open(&self.top.path).await.map(drop)
    }

    /// What is left of the lease: milliseconds.
    pub async fn lease_left_ms(&self) -> u32 {
        let Some(running) = self.running() else { return 0 };
        let left = running.replica.state().await.map_or(0, |state| state.trusted_for.as_millis());
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Ends the session: the home waits for this holder no more.
    pub async fn close(&self) {
        if let Some(running) = self.running() {
            running.replica.close().await;
        }
    }

    /// Removes everything that was cached.
    pub async fn drop_cache(&self) {
        let dropped = match self.running() {
            Some(running) => running.replica.close_and_drop_cache().await.map_err(|error| error.to_string()),
            None => Ok(()),
        };
        if let Err(error) = dropped {
            tracing::warn!(volume = %self.top.volume, error, "the cache could not be removed");
        }
    }
}

async fn open_cache(dir: PathBuf) -> Result<Cache, Problem> {
    tokio::task::spawn_blocking(move || Cache::open(&dir, CACHE_BYTES))
        .await
        .map_err(|error| Problem::new(Code::Internal, format!("the cache cannot be opened: {error}")))?
        .map_err(unusable)
}

/// What a signed record says of the volume's epoch.
fn believed(record: &VolumeRecord) -> Believed {
    let raised = |raise: &Raise| Raised { epoch: raise.epoch, change: raise.change };
    let raises: Vec<_> = record.raises.iter().map(raised).collect();
    Believed { epoch: record.epoch, shortened: raises.len() >= MAX_RAISES, raises }
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
