//! Relays below the home of [`super::world`]: the way from a holder to a relay, as a node would answer it, with the wire
//! between them under the test's hand.

use super::world::{HomeWorld, holder, proof, pump, refused, volume};
use crate::cache::Cache;
use crate::manifest::NodePlace;
use crate::relay::{HomeLink, LinkError, Replica, ReplicaFile, ReplicaObject};
use crate::rules::LeaseRules;
use crate::serve::FileSource;
use crate::session::{OpenAnswer, OpenRequest};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;
use terms::{Code, Digest, Location, Principal, Problem, Right, VolumePath};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trust::Bucket;
use wire::Body;

/// What becomes of an answer on the way.
pub(super) type Bend = Box<dyn Fn(OpenAnswer) -> OpenAnswer + Send>;

/// The way of one holder to a relay.
pub(super) struct RelayLink {
    home: Arc<HomeWorld>,
    /// The relay, while it runs.
    relay: Mutex<Option<Replica>>,
    holder: Principal,
    names: (Principal, Principal),
    cut: AtomicBool,
    pumps: Mutex<JoinSet<()>>,
    /// What the holder says passes while there are permits.
    pub(super) says: Arc<Semaphore>,
    /// Whether the relay finds that the holder may not read.
    pub(super) denied: Arc<AtomicBool>,
    /// Opens that the relay has answered.
    pub(super) opened: AtomicU64,
    bend: Mutex<Option<Bend>>,
}

impl RelayLink {
    pub(super) fn new(home: &Arc<HomeWorld>, relay: &Replica, (holder_name, server): (&str, &str)) -> Arc<Self> {
        Arc::new(Self {
            home: home.clone(),
            relay: Mutex::new(Some(relay.clone())),
            holder: holder(holder_name),
            names: (holder("home"), holder(server)),
            cut: AtomicBool::new(false),
            pumps: Mutex::default(),
            says: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            denied: Arc::default(),
            opened: AtomicU64::new(0),
            bend: Mutex::default(),
        })
    }

    /// Nothing passes any more; streams break. A relay that is to end is let go.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.pumps().abort_all();
        *self.relay.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// From here on it leads to this relay.
    pub(super) fn lead_to(&self, relay: &Replica) {
        *self.relay.lock().unwrap_or_else(PoisonError::into_inner) = Some(relay.clone());
        self.cut.store(false, Ordering::SeqCst);
    }

    pub(super) fn bend(&self, bend: Option<Bend>) {
        *self.bend.lock().unwrap_or_else(PoisonError::into_inner) = bend;
    }

    fn pumps(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.pumps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self) -> Result<Replica, LinkError> {
        let unreachable = || LinkError::Unreachable(Problem::new(Code::Unavailable, "cut"));
        if self.cut.load(Ordering::SeqCst) {
            return Err(unreachable());
        }
        self.relay.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(unreachable)
    }

    /// The relay's decision, as its node makes it.
    fn decide(&self) -> impl Fn(&Location, &Bucket) -> Result<trust::Authorised, Problem> + Send + Sync + 'static {
        let (who, home, denied) = (self.holder.clone(), self.home.clone(), self.denied.clone());
        move |at: &Location, bucket: &Bucket| {
            if denied.load(Ordering::SeqCst) {
                return Err(Problem::new(Code::Denied, "no member any more"));
            }
            proof(&who, at, Right::Read, bucket, home.world.clock.unix())
        }
    }

    async fn file(&self, path: &VolumePath, root: Option<Digest>) -> Result<ReplicaFile, LinkError> {
        match self.reach()?.open(path).await.map_err(refused)? {
            ReplicaObject::File(file) if root.is_none_or(|root| file.manifest().root() == root) => Ok(file),
            _ => Err(refused(Problem::new(Code::Conflict, "another version"))),
        }
    }
}

impl HomeLink for RelayLink {
    fn home(&self) -> &Principal {
        &self.names.0
    }

    fn server(&self) -> &Principal {
        &self.names.1
    }

    fn stream(&self, up: Body) -> BoxFuture<'_, Result<Body, LinkError>> {
        async move {
            let (relay, decide) = (self.reach()?, self.decide());
            let may_read = move |at: &Location, bucket: &Bucket| decide(at, bucket).is_ok();
            let up = pump(&mut self.pumps(), up, Some(self.says.clone()));
            let down = relay.stream(self.holder.clone(), Arc::new(may_read), up).await.map_err(refused)?;
            Ok(pump(&mut self.pumps(), down, None))
        }
        .boxed()
    }

    fn open(&self, request: OpenRequest) -> BoxFuture<'_, Result<OpenAnswer, LinkError>> {
        async move {
            let (relay, decide) = (self.reach()?, self.decide());
            let looked_at = relay.look_below(self.holder.clone(), request).await.map_err(refused)?;
            let answer = relay.open_below(looked_at, decide).await.map_err(refused)?;
            self.reach()?;
            self.opened.fetch_add(1, Ordering::SeqCst);
            Ok(match &*self.bend.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(bend) => bend(answer),
                None => answer,
            })
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        path: &'a VolumePath,
        root: Option<Digest>,
        bytes: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, LinkError>> {
        async move {
            let file = self.file(path, root).await?;
            let index = file.manifest().blocks_of(&bytes).start;
            file.read_block(index).await.map_err(refused)
        }
        .boxed()
    }

    fn node<'a>(
        &'a self,
        path: &'a VolumePath,
        root: Digest,
        place: NodePlace,
    ) -> BoxFuture<'a, Result<Bytes, LinkError>> {
        async move {
            let node = self.file(path, Some(root)).await?.read_node(place).await.map_err(refused)?;
            node.ok_or_else(|| refused(Problem::new(Code::NotFound, "no such node")))
        }
        .boxed()
    }
}

/// A replica that asks a relay, with a cache of its own.
pub(super) struct Under {
    pub(super) replica: Replica,
    pub(super) link: Arc<RelayLink>,
    _dir: TempDir,
}

impl Under {
    /// `name` asks the relay `server`. It is connected when this returns, if that can be.
    pub(super) async fn new(home: &Arc<HomeWorld>, relay: &Replica, names: (&str, &str)) -> Self {
        let (link, dir) = (RelayLink::new(home, relay, names), tempfile::tempdir().expect("a folder"));
        let replica = start(home, &link, dir.path()).await;
        Self { replica, link, _dir: dir }
    }

    pub(super) async fn connected(home: &Arc<HomeWorld>, relay: &Replica, names: (&str, &str)) -> Self {
        let under = Self::new(home, relay, names).await;
        under.replica.connected().await.expect("connects");
        under
    }
}

pub(super) async fn start(home: &HomeWorld, link: &Arc<RelayLink>, dir: &std::path::Path) -> Replica {
    let (cache, rules) = (Cache::open(dir, 0).expect("opens"), LeaseRules::default());
    let key = home.key.public().clone();
    let replica = Replica::start(&home.world, volume(), key, link.clone(), cache, rules).await;
    replica.expect("starts")
}
