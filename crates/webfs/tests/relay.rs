//! A home and a replica over real connections: mutual TLS, HTTP/2, the session stream both ways on one request.

use http::{Request, Response};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use terms::{Code, Epoch, Location, Principal, Problem, Right, Rights, VolumeName, VolumePath, Who};
use tokio::net::TcpListener;
use trust::{AllStand, Asker, Authority, Bucket, Bundle, Identity, NoGroups, Question, TrustStore};
use webos_webfs::cache::Cache;
use webos_webfs::coherence::Coherence;
use webos_webfs::relay::{PoolLink, Replica, ReplicaObject};
use webos_webfs::rules::LeaseRules;
use webos_webfs::serve::{FileSource, Home, WriteRights};
use webos_webfs::session::{open_answer, session_answer};
use webos_webfs::store::{Lookup, Store};
use wire::{Body, Handler, HandlerFuture, Peer, Pool, Recheck, Server};
use world::World;

fn volume() -> VolumeName {
    "data.lab.example".parse().expect("valid")
}

fn path(text: &str) -> VolumePath {
    VolumePath::new(text).expect("valid")
}

struct Realm {
    authority: Authority,
    trusted: TrustStore,
    world: World,
}

impl Realm {
    fn new() -> Self {
        let world = World::real();
        let now = world.clock.unix();
        let authority = Authority::create("lab.example".parse().expect("valid"), &world).expect("made");
        let bundle = authority.bundle(Vec::new(), Epoch(1), now).expect("signed");
        let trusted = TrustStore::new();
        trusted.insert(Bundle::open(&bundle, &authority.fingerprint(), now).expect("valid"));
        Self { authority, trusted, world }
    }

    fn identity(&self, principal: &str) -> Identity {
        let principal: Principal = principal.parse().expect("valid");
        self.authority.issue_identity(&principal, None, self.world.clock.unix()).expect("issued")
    }

    fn pool(&self, identity: &Identity) -> Pool {
        Pool::new(&self.world, Some(identity.credentials()), Arc::new(self.trusted.clone()))
    }
}

/// A node with nothing but one volume.
struct Node {
    home: Home,
    coherence: Coherence,
    world: World,
}

impl Node {
    fn decide(
        &self,
        peer: &Peer,
        location: &Location,
        right: Right,
        bucket: &Bucket,
    ) -> Result<trust::Authorised, Problem> {
        let asker = Asker { peer: Some(peer), chain: None, token: None };
        let now = self.world.clock.unix();
        let question = Question { now, asker, location, right, bucket, groups: &NoGroups, standing: &AllStand };
        let refused = |reason: Box<trust::Reason>| Problem::new(Code::Denied, reason.to_string());
        trust::decide(&question).into_result().map_err(refused)
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>, peer: &Arc<Peer>) -> Response<Body> {
        let holder = peer.principal.clone();
        let route = request.uri().path().to_string();
        if route.starts_with("/.webos/session/") {
            let (node, peer) = (self.clone(), peer.clone());
            let may_read =
                move |at: &Location, bucket: &Bucket| node.decide(&peer, at, Right::Read, bucket).is_ok();
            return session_answer(&self.coherence, holder, Arc::new(may_read), request).await;
        }
        if route.starts_with("/.webos/open/") {
            let decide = |at: &Location, bucket: &Bucket| self.decide(peer, at, Right::Read, bucket);
            return open_answer(&self.home, &self.coherence, holder, request, decide).await;
        }
        let at = route.strip_prefix("/data.lab.example/").expect("within the volume");
        let at = VolumePath::from_url(at).expect("a path");
        let location = Location { volume: volume(), path: at.clone() };
        let change = self.home.store().change();
        let lookup = self.home.store().lookup(&at).await.expect("works");
        let bucket = self.home.store().bucket(lookup.bucket()).await.expect("works");
        let proof = |right| self.decide(peer, &location, right, &bucket);
        let (parts, body) = request.into_parts();
        match (parts.method.as_str(), lookup) {
            ("PUT", lookup) => {
                let (create, replace) = (proof(Right::Write).ok(), proof(Right::Modify).ok());
                let rights = WriteRights { decided_on: lookup.bucket(), create, replace };
                self.home.put(&rights, &at, &parts, body).await
            }
            (_, Lookup::Found(object)) => match proof(Right::Read) {
                Ok(authorised) => self.home.get(&authorised, object, change, &parts).await,
                Err(problem) => wire::problem_response(&problem),
            },
            (_, Lookup::Missing(_)) => wire::problem_response(&Problem::new(Code::NotFound, "nothing there")),
        }
    }
}

struct Route(Arc<Node>);

impl Handler for Route {
    fn handle(&self, request: Request<Incoming>, peer: Option<Arc<Peer>>, _from: SocketAddr) -> HandlerFuture {
        let node = self.0.clone();
        Box::pin(async move {
            match peer {
                Some(peer) => node.answer(request, &peer).await,
                None => wire::problem_response(&Problem::new(Code::Denied, "who are you?")),
            }
        })
    }
}

async fn start_node(realm: &Realm, identity: &Identity, dir: &std::path::Path) -> (Arc<Node>, Server) {
    let read = Rights::of(&[Right::Read]);
    let bucket = Bucket::new([
        (Who::Principal("spiffe://lab.example/user/ann".parse().expect("valid")), Rights::OWNER),
        (Who::Principal("spiffe://lab.example/server/n1".parse().expect("valid")), read),
    ]);
    let store = Store::create(dir, &volume(), &bucket.expect("small"), realm.world.clone()).expect("made");
    let coherence =
        Coherence::start(store.clone(), realm.world.clone(), LeaseRules::default()).await.expect("starts");
    let home = Home::new(store, identity.key().clone(), Arc::new(coherence.clone()), realm.world.clone());
    let node = Arc::new(Node { home, coherence, world: realm.world.clone() });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (credentials, check) = (identity.credentials(), Arc::new(realm.trusted.clone()));
    let server = Server::start(
        &realm.world,
        listener,
        &credentials,
        check,
        Arc::new(Route(node.clone())),
        &Recheck::default(),
    );
    (node, server.expect("listens"))
}

async fn put(pool: &Pool, node: &Identity, address: &str, at: &str, bytes: Vec<u8>) {
    let expect = wire::Expect::Principal(node.principal().clone());
    let target = wire::Target { address: address.into(), expect, purpose: wire::Purpose::Bulk };
    let request =
        Request::put(format!("https://home/data.lab.example/{}", path(at).to_url())).body(wire::body::full(bytes));
    let answer = pool.request(&target, request.expect("valid")).await.expect("answers");
    assert!(answer.status().is_success(), "{}", answer.status());
}

async fn cat(replica: &Replica, at: &str) -> Result<Vec<u8>, Problem> {
    let ReplicaObject::File(file) = replica.open(&path(at)).await? else { panic!("a file") };
    let mut bytes = Vec::new();
    for index in 0..file.manifest().block_count() {
        bytes.extend_from_slice(&file.read_block(index).await?);
    }
    Ok(bytes)
}

#[tokio::test]
async fn a_change_is_seen_through_the_replica_and_a_stopped_home_is_named() {
    let realm = Realm::new();
    let dir = tempfile::tempdir().expect("a folder");
    let home = realm.identity("spiffe://lab.example/server/home");
    let (node, server) = start_node(&realm, &home, &dir.path().join("v")).await;
    let address = server.local_addr().to_string();
    let ann = realm.pool(&realm.identity("spiffe://lab.example/user/ann"));
    let (old, new) = (vec![1; (2 << 20) + 7], vec![2; 3 << 20]);
    put(&ann, &home, &address, "a b", old.clone()).await;

    let n1 = realm.pool(&realm.identity("spiffe://lab.example/server/n1"));
    let link = PoolLink::new(n1, volume(), home.principal().clone(), &address);
    let cache = Cache::open(&dir.path().join("cache"), 0).expect("opens");
    let key = home.key().public().clone();
    let replica = Replica::start(&realm.world, volume(), key, Arc::new(link), cache, LeaseRules::default()).await;
    let replica = replica.expect("starts");
    replica.connected().await.expect("connects");
    for _ in 0..2 {
        assert_eq!(cat(&replica, "a b").await, Ok(old.clone()));
    }
    let counts = replica.state().await.expect("runs").counts;
    assert_eq!((counts.opens_asked, counts.opens_cached, counts.blocks_fetched), (1, 1, 3));

    let changed = tokio::time::timeout(Duration::from_secs(5), put(&ann, &home, &address, "a b", new.clone()));
    changed.await.expect("a holder that lives delays nobody for a lease");
    assert_eq!(cat(&replica, "a b").await, Ok(new));
    assert_eq!(replica.open(&path("none")).await.expect_err("absent").code, Code::NotFound);

    node.coherence.stop().await;
    assert_eq!(node.home.store().recorded_sessions().await.expect("readable"), [], "the holder took its leave");
    server.shutdown().await;
    let problem = cat(&replica, "a b").await.expect_err("no lease and no home");
    assert_eq!(problem.code, Code::Unavailable);
    assert!(problem.detail.contains("spiffe://lab.example/server/home"), "{problem}");
}
