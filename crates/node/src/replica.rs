//! A volume that lives elsewhere, as this node's fronts and relays read it: a session with its home and a cache
//! of its own folder, opened at the first need.

use crate::front::{FrontFile, FrontFiles, FrontObject};
use crate::limits::{CACHE_BYTES, HOME_LOOKUP_DEADLINE};
use crate::node::State;
use crate::settings::ViaNode;
use client::Client;
use client::models::{Raise, VolumeRecord};
use discovery::limits::MAX_RAISES;
use futures_util::future::{BoxFuture, FutureExt};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use terms::{Code, Location, Principal, Problem, VolumePath};
use tokio::sync::OnceCell;
use webfs::cache::{Cache, CacheError};
use webfs::relay::{LookedAt, PoolLink, Replica, ReplicaObject};
use webfs::rules::{Believed, LeaseRules, Raised};
use webfs::session::OpenRequest;

/// The files of a volume that lives elsewhere. They follow the volume when it moves.
pub struct ReplicaFiles {
    client: Client,
    top: Location,
    dir: PathBuf,
    via: Option<ViaNode>,
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
        Self { client, top, dir, via: None, cache, running, turn: tokio::sync::Mutex::default() }
    }

    /// The same, asked for at a relay instead of the volume's home.
    pub fn via(self, via: Option<ViaNode>) -> Self {
        Self { via, ..self }
    }

    /// The replica, started at the first need, of the volume's home as it is known now.
    pub async fn replica(&self) -> Result<Replica, Problem> {
        Ok(self.proved().await?.replica)
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
        let link = match &self.via {
            None => PoolLink::new(pool, volume.clone(), record.home.clone(), &record.address),
            Some(via) => {
                PoolLink::via(pool, volume.clone(), record.home.clone(), (via.principal.clone(), &via.address))
            }
        };
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

    /// What runs; an epoch that the home has shown is asked after first.
    async fn proved(&self) -> Result<Running, Problem> {
        let running = self.start().await?;
        let newer = match running.replica.unproven() {
            Some(_) => self.follow(&running, true).await?,
            None => None,
        };
        Ok(newer.unwrap_or(running))
    }

    /// Opens a file or directory of the volume as it is now.
    pub async fn open(&self, path: &VolumePath) -> Result<ReplicaObject, Problem> {
        let running = self.proved().await?;
        match running.replica.open(path).await {
            // The word of a home that is none is asked after at once, silence only when the record is old.
            Err(problem) => match self.after(&running, &problem).await {
                Some(newer) => newer.replica.open(path).await,
                None => Err(problem),
            },
            opened => opened,
        }
    }

    /// What a holder below asks to open, and the replica that was asked.
    pub async fn look_below(
        &self,
        holder: Principal,
        request: OpenRequest,
    ) -> Result<(Replica, LookedAt), Problem> {
        let running = self.proved().await?;
        let (replica, looked_at) = match running.replica.look_below(holder.clone(), request.clone()).await {
            Err(problem) => match self.after(&running, &problem).await {
                Some(Running { replica, .. }) => (replica.clone(), replica.look_below(holder, request).await),
                None => return Err(problem),
            },
            looked_at => (running.replica, looked_at),
        };
        Ok((replica, looked_at?))
    }

    /// Where to ask again after this answer, if anywhere.
    async fn after(&self, running: &Running, problem: &Problem) -> Option<Running> {
        if !matches!(problem.code, Code::Moved | Code::Unavailable | Code::Internal) {
            return None;
        }
        // A relay that has followed the volume already sends what another home has signed.
        let anew = problem.code == Code::Moved || (problem.code == Code::Internal && self.via.is_some());
        self.follow(running, anew).await.ok().flatten()
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

    /// Who the volume's home is, once that has been asked.
    pub fn home(&self) -> Option<Principal> {
        self.running().map(|running| running.record.home)
    }

    /// Who holds a session below.
    pub async fn holders(&self) -> Vec<Principal> {
        match self.running() {
            Some(running) => running.replica.holders().await.unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// Ends the sessions of a holder below.
    pub async fn expel(&self, holder: Principal) {
        // A replica that is closed has no sessions.
        if let Some(running) = self.running() {
            let _ = running.replica.expel(holder).await;
        }
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
