//! A home and holders in one process, with the wire between them under the test's hand. The boot clock moves only
//! when told; nothing sleeps.

use crate::cache::Cache;
use crate::coherence::Coherence;
use crate::manifest::NodePlace;
use crate::relay::{HomeLink, LinkError, Replica, ReplicaFile, ReplicaObject};
use crate::rules::LeaseRules;
use crate::serve::{FileSource, Home, WriteRights};
use crate::session::{OpenAnswer, OpenRequest};
use crate::store::{Lookup, Store};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use terms::{
    Code, Digest, Location, Principal, Problem, Right, Rights, Thumbprint, UnixMs, VolumeName, VolumePath, Who,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use trust::{AllStand, Asker, Authorised, Bucket, KeyPair, NoGroups, Question};
use wire::{Body, Peer};
use world::{SimulatedClock, World};

pub(super) fn path(text: &str) -> VolumePath {
    VolumePath::new(text).expect("valid")
}

pub(super) fn volume() -> VolumeName {
    "data.lab.example".parse().expect("valid")
}

fn owner() -> Principal {
    "spiffe://lab.example/user/owner".parse().expect("valid")
}

pub(super) fn holder(name: &str) -> Principal {
    format!("spiffe://lab.example/server/{name}").parse().expect("valid")
}

/// What the owner and the servers n1 to n5 may do.
pub(super) fn usual_bucket() -> Bucket {
    let read = Rights::of(&[Right::Read]);
    let servers = ["n1", "n2", "n3", "n4", "n5"].map(|name| (Who::Principal(holder(name)), read));
    Bucket::new(servers.into_iter().chain([(Who::Principal(owner()), Rights::OWNER)])).expect("small")
}

pub(super) fn proof(
    who: &Principal,
    location: &Location,
    right: Right,
    bucket: &Bucket,
    now: UnixMs,
) -> Result<Authorised, Problem> {
    let (key, not_after, chain) = (Thumbprint([1; 32]), UnixMs(u64::MAX), Vec::new().into());
    let peer = Peer { principal: who.clone(), key, issued: UnixMs(0), not_after, chain };
    let asker = Asker { peer: Some(&peer), chain: None, token: None };
    let decision =
        trust::decide(&Question { now, asker, location, right, bucket, groups: &NoGroups, standing: &AllStand });
    decision.into_result().map_err(|reason| Problem::new(Code::Denied, reason.to_string()))
}

struct Running {
    home: Home,
    coherence: Coherence,
}

/// The home's machine, and the network around it.
pub(super) struct HomeWorld {
    dir: TempDir,
    pub(super) key: KeyPair,
    pub(super) world: World,
    pub(super) clock: Arc<SimulatedClock>,
    running: Mutex<Option<Arc<Running>>>,
    /// Whether the holders have lost the group that gave them their rights.
    pub(super) expelled: AtomicBool,
}

impl HomeWorld {
    pub(super) async fn new() -> Arc<Self> {
        let (world, clock) = World::simulated(7);
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::create(&dir.path().join("v"), &volume(), &usual_bucket(), world.clone());
        drop(store.expect("a new volume"));
        let key = KeyPair::generate().expect("a key");
        let home =
            Arc::new(Self { dir, key, world, clock, running: Mutex::default(), expelled: AtomicBool::new(false) });
        home.start().await;
        home
    }

    pub(super) async fn start(&self) {
        // The volume's lock goes with the last task of an earlier run.
        let mut store = None;
        until(async || {
            store = Store::open(&self.dir.path().join("v"), self.world.clone()).ok();
            store.is_some()
        })
        .await;
        let store = store.expect("opened");
        let coherence = Coherence::start(store.clone(), self.world.clone(), LeaseRules::default()).await;
        let coherence = coherence.expect("starts");
        let home = Home::new(store, self.key.clone(), Arc::new(coherence.clone()), self.world.clone());
        *self.slot() = Some(Arc::new(Running { home, coherence }));
    }

    /// As kill -9 does it: nothing is said to anybody. Streams break when their links are cut.
    pub(super) async fn crash(&self) {
        let weak = self.slot().take().map(|running| Arc::downgrade(&running)).expect("it runs");
        until(async || weak.upgrade().is_none()).await;
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> Option<Arc<Running>> {
        self.slot().clone()
    }

    pub(super) fn coherence(&self) -> Coherence {
        self.running().expect("it runs").coherence.clone()
    }

    pub(super) fn store(&self) -> Store {
        self.running().expect("it runs").home.store().clone()
    }

    fn rights(&self, at: &str, bucket: &Bucket) -> WriteRights {
        let (location, now) = (Location { volume: volume(), path: path(at) }, self.world.clock.unix());
        let proof = |right| proof(&owner(), &location, right, bucket, now).ok();
        WriteRights { decided_on: bucket.hash(), create: proof(Right::Write), replace: proof(Right::Modify) }
    }

    /// A PUT by the owner; returns when it is acknowledged.
    pub(super) async fn put(&self, at: &str, bytes: &[u8]) {
        let running = self.running().expect("it runs");
        let request = Request::put("https://home/x").header("webos-parents", "?1").body(()).expect("valid");
        let body = wire::body::full(bytes.to_vec());
        let rights = self.rights(at, &usual_bucket());
        let response = running.home.put(&rights, &path(at), &request.into_parts().0, body).await;
        assert!(response.status().is_success(), "{:?}", response.status());
    }

    /// A PUT by the owner under a lock.
    pub(super) async fn put_under(&self, lock: &str, at: &str, bytes: &'static [u8]) -> StatusCode {
        let running = self.running().expect("it runs");
        let request = Request::put("https://home/x").header("webos-lock", lock).body(()).expect("valid");
        let rights = self.rights(at, &usual_bucket());
        let body = wire::body::full(bytes);
        running.home.put(&rights, &path(at), &request.into_parts().0, body).await.status()
    }

    pub(super) async fn delete(&self, at: &str) {
        let running = self.running().expect("it runs");
        let request = Request::delete("https://home/x").body(()).expect("valid").into_parts().0;
        let response = running.home.delete(&self.rights(at, &usual_bucket()), &path(at), &request).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
    }

    pub(super) fn advance(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    pub(super) fn link(self: &Arc<Self>, name: &str) -> Arc<TestLink> {
        Arc::new(TestLink {
            home: self.clone(),
            holder: holder(name),
            name: holder("home"),
            cut: AtomicBool::new(false),
            pumps: Mutex::default(),
            opens: Semaphore::new(Semaphore::MAX_PERMITS),
            reads: Semaphore::new(Semaphore::MAX_PERMITS),
            opened: AtomicU64::new(0),
            lies: AtomicBool::new(false),
            keeps: AtomicBool::new(true),
        })
    }

    pub(super) async fn replica(&self, link: &Arc<TestLink>, dir: &Path) -> Replica {
        let cache = Cache::open(dir, 0).expect("opens");
        let rules = LeaseRules::default();
        let replica =
            Replica::start(&self.world, volume(), self.key.public().clone(), link.clone(), cache, rules).await;
        replica.expect("starts")
    }
}

/// The way of one holder to the home.
pub(super) struct TestLink {
    home: Arc<HomeWorld>,
    holder: Principal,
    name: Principal,
    cut: AtomicBool,
    pumps: Mutex<JoinSet<()>>,
    /// Answers to opens and reads pass while there are permits.
    pub(super) opens: Semaphore,
    pub(super) reads: Semaphore,
    /// Opens that the home has handled.
    pub(super) opened: AtomicU64,
    /// Whether content is falsified on the way.
    pub(super) lies: AtomicBool,
    /// Whether the holder hears that it has a callback.
    pub(super) keeps: AtomicBool,
}

impl TestLink {
    /// Nothing passes any more; streams break.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.pumps().abort_all();
    }

    pub(super) fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }

    fn pumps(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.pumps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self) -> Result<Arc<Running>, LinkError> {
        let unreachable = || LinkError::Unreachable(Problem::new(Code::Unavailable, "cut"));
        if self.cut.load(Ordering::SeqCst) {
            return Err(unreachable());
        }
        self.home.running().ok_or_else(unreachable)
    }
}

/// A body that passes on another one until the link is cut, and waits where there is no permit.
pub(super) fn pump(pumps: &mut JoinSet<()>, mut body: Body, gate: Option<Arc<Semaphore>>) -> Body {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(16);
    pumps.spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            if let Some(gate) = &gate {
                drop(gate.acquire().await.expect("never closed"));
            }
            if sender.send(data).await.is_err() {
                return;
            }
        }
    });
    wire::body::stream(futures_util::stream::poll_fn(move |context| {
        receiver.poll_recv(context).map(|chunk| chunk.map(Ok::<_, Infallible>))
    }))
}

pub(super) fn refused(problem: Problem) -> LinkError {
    LinkError::Refused(problem)
}

impl HomeLink for TestLink {
    fn home(&self) -> &Principal {
        &self.name
    }

    fn stream(&self, up: Body) -> BoxFuture<'_, Result<Body, LinkError>> {
        async move {
            let coherence = self.reach()?.coherence.clone();
            let (holder, now, home) = (self.holder.clone(), self.home.world.clock.unix(), self.home.clone());
            let may_read = move |at: &Location, bucket: &Bucket| {
                let expelled = home.expelled.load(Ordering::SeqCst);
                !expelled && proof(&holder, at, Right::Read, bucket, now).is_ok()
            };
            let stream =
                coherence.stream(self.holder.clone(), Arc::new(may_read), pump(&mut self.pumps(), up, None));
            let down = stream.await.map_err(refused)?;
            Ok(pump(&mut self.pumps(), down, None))
        }
        .boxed()
    }

    fn open(&self, request: OpenRequest) -> BoxFuture<'_, Result<OpenAnswer, LinkError>> {
        async move {
            let answer = {
                let running = self.reach()?;
                let now = self.home.world.clock.unix();
                let decide = |location: &Location, bucket: &Bucket| {
                    if self.home.expelled.load(Ordering::SeqCst) {
                        return Err(Problem::new(Code::Denied, "no member any more"));
                    }
                    proof(&self.holder, location, Right::Read, bucket, now)
                };
                let (home, coherence) = (&running.home, &running.coherence);
                crate::session::open(home, coherence, self.holder.clone(), request, decide).await
            };
            self.opened.fetch_add(1, Ordering::SeqCst);
            let _pass = self.opens.acquire().await.expect("never closed");
            self.reach()?;
            let mut answer = answer.map_err(refused)?;
            answer.callback &= self.keeps.load(Ordering::SeqCst);
            if self.lies.load(Ordering::SeqCst) {
                answer.content.iter_mut().flatten().for_each(|byte| *byte ^= 1);
            }
            Ok(answer)
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
            let store = self.reach()?.home.store().clone();
            let _pass = self.reads.acquire().await.expect("never closed");
            self.reach()?;
            let object = match store.lookup(path).await.map_err(|error| refused(error.into()))? {
                Lookup::Found(object) if root.is_none() || object.entry.etag == root => object,
                _ => return Err(refused(Problem::new(Code::Conflict, "another version"))),
            };
            let index = object.manifest().expect("a file").blocks_of(&bytes).start;
            let block = store.read_block(&object, index).await.map_err(|error| refused(error.into()))?;
            let block = block.slice(..usize::try_from(bytes.end - bytes.start).expect("a block"));
            let lies = self.lies.load(Ordering::SeqCst);
            Ok(if lies { block.iter().map(|byte| byte ^ 1).collect() } else { block })
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
            let store = self.reach()?.home.store().clone();
            let object = match store.lookup(path).await.map_err(|error| refused(error.into()))? {
                Lookup::Found(object) if object.entry.etag == Some(root) => object,
                _ => return Err(refused(Problem::new(Code::Conflict, "another version"))),
            };
            let node = store.read_node(&object, place).await.map_err(|error| refused(error.into()))?;
            let node = node.ok_or_else(|| refused(Problem::new(Code::NotFound, "no such node")))?;
            let lies = self.lies.load(Ordering::SeqCst);
            Ok(if lies { node.iter().map(|byte| byte ^ 1).collect() } else { node.into() })
        }
        .boxed()
    }
}

/// Waits for something that is on its way; what never comes is a failed test.
pub(super) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it never came");
}

pub(super) async fn open_file(replica: &Replica, at: &str) -> Result<ReplicaFile, Problem> {
    match replica.open(&path(at)).await? {
        ReplicaObject::File(file) => Ok(file),
        other => panic!("{at} is no file: {other:?}"),
    }
}

pub(super) async fn content(file: &ReplicaFile) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    for index in 0..file.manifest().block_count() {
        bytes.extend_from_slice(&file.read_block(index).await?);
    }
    Ok(bytes)
}

pub(super) async fn cat(replica: &Replica, at: &str) -> Result<Vec<u8>, Problem> {
    content(&open_file(replica, at).await?).await
}

/// Content that differs by seed and position.
pub(super) fn filled(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
