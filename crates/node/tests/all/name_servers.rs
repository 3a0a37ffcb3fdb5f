//! Further name servers: what the first node takes back reaches whoever cannot reach it, an old word is not believed for
//! longer than any other, and nothing that was altered is believed at all.

use crate::realm::{Realm, hears, principal, seen, until};
use client::Client;
use client::models::{VOLUME_KIND, VolumeRecord};
use client::protocol::{BUNDLE_ROUTE, FEED_ROUTE, NameServersRequest, RevokeRequest};
use http::{Request, Response};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use terms::{BootMs, Code, Epoch, PrincipalKind, Problem, Serial, UnixMs, VolumeName};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use trust::limits::{DEFAULT_ACTING_LIMIT, DEFAULT_READING_LIMIT, HEAD_OLD, MAX_DOCUMENT_BYTES};
use trust::{Bundle, FeedCopy, Head, NameServer, Standing, TrustStore};
use webos_node::Node;
use wire::{Handler, HandlerFuture, Peer, Recheck, Server};
use world::{Clock, RealClock, World};

/// The real clocks, with a wall clock that a test puts forward everywhere at once.
#[derive(Default)]
struct Ahead {
    real: RealClock,
    ms: AtomicI64,
}

impl Ahead {
    fn by(&self, time: Duration) {
        self.ms.fetch_add(i64::try_from(time.as_millis()).expect("near"), Ordering::Relaxed);
    }
}

impl Clock for Ahead {
    fn unix(&self) -> UnixMs {
        UnixMs(self.real.unix().0.saturating_add_signed(self.ms.load(Ordering::Relaxed)))
    }
    fn boot(&self) -> BootMs {
        self.real.boot()
    }
}

/// A wire to a node that can be cut.
struct Wire {
    address: SocketAddr,
    cut: CancellationToken,
}

impl Wire {
    async fn to(node: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, cut) = (listener.local_addr().expect("bound"), CancellationToken::new());
        let token = cut.clone();
        tokio::spawn(async move {
            // Once it is cut nobody listens any more.
            while let Some(Ok((mut near, _))) = token.run_until_cancelled(listener.accept()).await {
                let token = token.clone();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(node).await else { return };
                    token.run_until_cancelled(copy_bidirectional(&mut near, &mut far)).await;
                });
            }
        });
        Self { address, cut }
    }

    fn cut(&self) {
        self.cut.cancel();
    }
}

/// Realm A with its first node and n2, which is a name server as well; realm B, which reaches the first node over one
/// wire, as n2 does over another.
struct Bed {
    a: Realm,
    n2: Node,
    b: Realm,
    clock: Arc<Ahead>,
    to_first_of_b: Wire,
    to_first_of_n2: Wire,
}

pub fn named(server: &Node, address: SocketAddr) -> NameServer {
    NameServer { address: address.to_string(), principal: server.principal().clone() }
}

/// The realm's own word of where its name servers are, as seen from somewhere.
pub fn bundle(realm: &Realm, servers: Vec<NameServer>, later: u64) -> Bundle {
    let now = realm.world.clock.unix();
    let signed = realm.authority.bundle(servers, Epoch(1), now.plus(Duration::from_millis(later)));
    Bundle::open(&signed.expect("signed"), &realm.authority.fingerprint(), now).expect("its own")
}

async fn bed() -> Bed {
    let clock = Arc::new(Ahead::default());
    let world = World { clock: clock.clone(), ..World::real() };
    let a = Realm::in_world("lab.example", &world).await;
    let n2 = a.join("n2").await;
    let added = NameServersRequest::Add(named(&n2, n2.address()));
    seen(a.home().client(), a.home()).change_name_servers(&added).await.expect("the owner may");
    let b = Realm::in_world("b.example", &world).await;
    let to_first_of_b = Wire::to(a.home().address()).await;
    let to_first_of_n2 = Wire::to(a.home().address()).await;
    // n2 finds itself among the name servers of its realm.
    let servers = |wire: &Wire| vec![named(a.home(), wire.address), named(&n2, n2.address())];
    n2.client().trust().insert(bundle(&a, servers(&to_first_of_n2), 10));
    let from_b = bundle(&a, servers(&to_first_of_b), 10);
    client::realms::pin(&b.folder("home"), &from_b).expect("pinned");
    b.home().client().trust().insert(from_b);
    b.hears(&a).await;
    hears(&n2, &a).await;
    let bed = Bed { a, n2, b, clock, to_first_of_b, to_first_of_n2 };
    // With the first news n2 begins to hand on.
    bed.revoke("dave").await;
    let (client, mut copy) = nobody(&bed, vec![named(&bed.n2, bed.n2.address())]);
    let heard = async {
        while !is_revoked(&copy, "dave") {
            let _ = client.hear(&mut copy, true).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.expect("n2 hands on");
    bed
}

impl Bed {
    async fn revoke(&self, name: &str) {
        let request = RevokeRequest::Principal(principal(PrincipalKind::User, name));
        seen(self.a.home().client(), self.a.home()).revoke(&request).await.expect("the owner may");
    }

    fn at(&self, node: &Node) -> Option<UnixMs> {
        node.client().trust().feed(self.a.authority.realm()).and_then(|feed| feed.at())
    }

    /// Whether a node knows that somebody was revoked.
    fn knows(&self, node: &Node, name: &str) -> bool {
        let who = principal(PrincipalKind::User, name);
        node.client().trust().is_revoked(&who, UnixMs(0))
    }

    /// Whether what B heard of A is enough at B now.
    fn is_enough(&self, limit: Duration) -> bool {
        match self.b.home().client().trust().head(self.a.authority.realm()) {
            Head::At(at) => self.clock.unix() < at.plus(limit),
            Head::Own | Head::Unheard => false,
        }
    }
}

/// What alice of A is told when she asks B's home how it stands.
async fn ask_as(who: &Client, bed: &Bed) -> Result<(), Problem> {
    seen(who, bed.b.home()).status().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_node_takes_back_reaches_who_cannot_reach_it() {
    let bed = bed().await;
    bed.a.issue("bob", PrincipalKind::User);
    let bob = bed.a.client("bob");
    let of_b = bed.b.home().client().trust().bundle(bed.b.authority.realm()).expect("its own");
    bob.trust().insert((*of_b).clone());
    ask_as(&bob, &bed).await.expect("B believes A's names");

    bed.to_first_of_b.cut();
    bed.revoke("bob").await;
    until(|| bed.knows(bed.b.home(), "bob")).await;
    let refused = async { while ask_as(&bob, &bed).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), refused).await.expect("whoever was revoked is let in nowhere");

    // All that B heard is too old now, whatever it is for; n2 has the first node's fresh word.
    bed.clock.by(DEFAULT_READING_LIMIT);
    assert!(!bed.is_enough(DEFAULT_READING_LIMIT));
    until(|| bed.is_enough(DEFAULT_ACTING_LIMIT)).await;
}

/// Somebody without a certificate who knows nothing yet but where these servers of realm A are.
fn nobody(bed: &Bed, servers: Vec<NameServer>) -> (Client, FeedCopy) {
    let trust = TrustStore::new();
    trust.insert(bundle(&bed.a, servers, 20));
    let client = Client::with(bed.b.folder("nobody"), bed.b.world.clone(), None, trust);
    (client, FeedCopy::new(bed.a.authority.realm().clone()))
}

/// Reads until nothing follows.
async fn read(client: &Client, copy: &mut FeedCopy) -> Result<(), Problem> {
    loop {
        let known = copy.number();
        if !client.hear(copy, false).await?.more && copy.number() == known {
            return Ok(());
        }
    }
}

fn is_revoked(copy: &FeedCopy, name: &str) -> bool {
    copy.is_revoked(&principal(PrincipalKind::User, name), UnixMs(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_cut_off_serves_old_pages_and_its_readers_fail_closed() {
    let bed = bed().await;
    bed.revoke("bob").await;
    until(|| bed.knows(&bed.n2, "bob") && bed.knows(bed.b.home(), "bob")).await;
    bed.to_first_of_n2.cut();
    bed.to_first_of_b.cut();
    bed.revoke("eve").await;
    bed.clock.by(DEFAULT_ACTING_LIMIT);
    let (client, mut copy) = nobody(&bed, vec![named(&bed.n2, bed.n2.address())]);
    read(&client, &mut copy).await.expect("n2 answers with what it had");
    assert!(is_revoked(&copy, "bob") && !is_revoked(&copy, "eve"));
    assert_eq!(copy.at(), bed.at(&bed.n2), "the newest that n2 heard");
    assert!(!bed.is_enough(DEFAULT_ACTING_LIMIT) && bed.is_enough(DEFAULT_READING_LIMIT));
    bed.clock.by(DEFAULT_READING_LIMIT);
    read(&client, &mut copy).await.expect("n2 still answers");
    let known = client.trust().head(copy.realm());
    assert_eq!(Some(known), bed.at(&bed.n2).map(Head::At), "an old word gets no younger by being repeated");
    assert!(!bed.is_enough(DEFAULT_READING_LIMIT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_word_of_the_first_node_counts_before_an_old_one_of_a_copy() {
    let bed = bed().await;
    bed.to_first_of_n2.cut();
    bed.revoke("bob").await;
    bed.clock.by(HEAD_OLD);
    let turned = vec![named(&bed.n2, bed.n2.address()), named(bed.a.home(), bed.a.home().address())];
    let (client, mut copy) = nobody(&bed, turned);
    read(&client, &mut copy).await.expect("both answer");
    assert!(is_revoked(&copy, "bob") && copy.at() > bed.at(&bed.n2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_knows_the_bundle_and_the_feed_and_says_who_knows_the_rest() {
    let bed = bed().await;
    let realm = bed.a.authority.realm();
    let (at_n2, closed) =
        (named(&bed.n2, bed.n2.address()), TcpListener::bind("127.0.0.1:0").await.expect("a port"));
    let silent = named(bed.a.home(), closed.local_addr().expect("bound"));
    drop(closed);
    let (client, copy) = nobody(&bed, vec![silent, at_n2.clone()]);
    let bundle = client.ask_openly(realm, BUNDLE_ROUTE, MAX_DOCUMENT_BYTES).await.expect("n2 has it");
    let now = bed.clock.unix();
    let bundle = Bundle::open(&bundle, &bed.a.authority.fingerprint(), now).expect("as it was signed");
    assert!(bundle.name_servers.contains(&at_n2));
    let page = client.feed_page(&copy, Serial(0), false).await.expect("n2 has it");
    assert_eq!(page.after(), Serial(0));
    // Nobody is told that there is no such thing by somebody who does not know.
    for name in ["site", "site/state", "data.volume", "none.volume"] {
        let route = format!("/.webos/name/{name}");
        let problem =
            client.ask_openly(realm, &route, MAX_DOCUMENT_BYTES).await.expect_err("only the first has it");
        assert!(matches!(problem.code, Code::Unavailable | Code::Timeout), "{name}: {problem}");
        let (only_n2, _) = nobody(&bed, vec![at_n2.clone()]);
        let problem =
            only_n2.ask_openly(realm, &route, MAX_DOCUMENT_BYTES).await.expect_err("only the first has it");
        assert!(problem.code == Code::Unavailable && problem.next.contains("server/home"), "{name}: {problem}");
    }
    let (client, _) = nobody(&bed, vec![named(bed.a.home(), bed.a.home().address()), at_n2]);
    let problem = client.ask_openly(realm, "/.webos/name/none.volume", MAX_DOCUMENT_BYTES).await;
    assert_eq!(problem.expect_err("the first one's word").code, Code::NotFound);
}

/// A name server that gives out what it was told to.
struct Bent(Mutex<Vec<u8>>);

impl Handler for Bent {
    fn handle(&self, request: Request<Incoming>, _: Option<Arc<Peer>>, _: SocketAddr) -> HandlerFuture {
        let bytes = self.0.lock().expect("not poisoned").clone();
        let path = request.uri().path();
        let is_asked_for = path == FEED_ROUTE || path.ends_with(".volume");
        Box::pin(async move {
            if is_asked_for {
                return Response::new(wire::body::full(bytes));
            }
            wire::problem_response(&Problem::new(Code::NotFound, "there is no such thing"))
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_copy_alters_nothing_and_denies_nothing() {
    let bed = bed().await;
    bed.revoke("bob").await;
    let (a, world, home) = (&bed.a, &bed.a.world, named(bed.a.home(), bed.a.home().address()));
    let (honest, copy) = nobody(&bed, vec![home.clone()]);
    let page = honest.feed_page(&copy, Serial(0), false).await.expect("a page").bytes().to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let identity = bed.n2.client().identity().expect("a node");
    let (bent, check) = (Arc::new(Bent(Mutex::default())), Arc::new(bed.n2.client().trust().clone()));
    let server = Server::start(world, listener, &identity.credentials(), check, bent.clone(), &Recheck::default());
    let server = server.expect("it listens");
    let bent_first = vec![named(&bed.n2, address), home.clone()];
    for place in (0..page.len()).step_by(41) {
        let mut altered = page.clone();
        altered[place] ^= 1;
        *bent.0.lock().expect("not poisoned") = altered;
        let (alone, mut copy) = nobody(&bed, vec![named(&bed.n2, address)]);
        let refused = alone.hear(&mut copy, false).await;
        assert!(refused.is_err() && copy == FeedCopy::new(copy.realm().clone()), "byte {place}: {refused:?}");
    }
    let (client, mut copy) = nobody(&bed, bent_first);
    read(&client, &mut copy).await.expect("the first node answers");
    assert!(is_revoked(&copy, "bob"));
    // Nor is it believed that there is no such thing, while the first one is silent.
    let mut silent = home;
    silent.address = bed.to_first_of_b.address.to_string();
    bed.to_first_of_b.cut();
    let (client, _) = nobody(&bed, vec![silent, named(&bed.n2, address)]);
    let route = "/.webos/name/data.volume";
    let problem = client.ask_openly(a.authority.realm(), route, MAX_DOCUMENT_BYTES).await.expect_err("silent");
    assert!(matches!(problem.code, Code::Unavailable | Code::Timeout), "{problem}");
    // Nor that a volume is at home with whoever says so.
    let volume = VolumeName { name: "data".parse().expect("a label"), realm: a.authority.realm().clone() };
    let (home, key) = (bed.n2.principal().clone(), identity.key().public().clone());
    let stolen =
        VolumeRecord { volume, home, key, address: address.to_string(), epoch: Epoch(9), raises: Vec::new() };
    let signed = trust::signed::sign(&identity, VOLUME_KIND, &stolen).expect("signed");
    *bent.0.lock().expect("not poisoned") = signed;
    let found = client.volume_record(&stolen.volume).await;
    assert!(found.is_err(), "{found:?}");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_name_name_servers_and_the_bundle_follows_at_once() {
    let mut realm = Realm::start().await;
    let (n2, n3) = (realm.join("n2").await, realm.join("n3").await);
    let (home, name) = (realm.home(), realm.authority.realm().clone());
    let owner = seen(home.client(), home);
    let alice = realm.client("alice");
    let add = |node: &Node| NameServersRequest::Add(named(node, node.address()));
    let refused = seen(&alice, home).change_name_servers(&add(&n2)).await.expect_err("no owner");
    assert_eq!(refused.code, Code::Denied, "{refused}");
    let stranger = NameServer { principal: principal(PrincipalKind::Server, "n9"), address: "n9:1".into() };
    let refused = owner.change_name_servers(&NameServersRequest::Add(stranger)).await.expect_err("no member");
    assert!(refused.detail.contains("no member"), "{refused}");
    let servers = |node: &Node| -> Vec<NameServer> {
        node.client().trust().bundle(&name).expect("pinned").name_servers.clone()
    };
    for node in [&n2, &n3] {
        owner.change_name_servers(&add(node)).await.expect("the owner may");
    }
    let first = named(home, home.address());
    let all = vec![first.clone(), named(&n2, n2.address()), named(&n3, n3.address())];
    assert_eq!(servers(home), all);
    // Others hear of it when they ask for a newer bundle, as they do every three minutes.
    assert_eq!(servers(&n2), std::slice::from_ref(&first));
    assert!(client::realms::refresh(n2.client(), &name).await.expect("answered"));
    assert_eq!(servers(&n2), all);
    owner.change_name_servers(&NameServersRequest::Remove(n2.principal().clone())).await.expect("removed");
    assert_eq!(servers(home), [first.clone(), named(&n3, n3.address())]);
    // A restart keeps the list; a revoked server leaves it; the epoch of the bundle follows the feed.
    let address = home.address().to_string();
    realm.home.take().expect("runs").stop().await;
    realm.start_home(&address).await;
    let home = realm.home();
    assert_eq!(servers(home), [first.clone(), named(&n3, n3.address())]);
    let owner = seen(home.client(), home);
    owner.revoke(&RevokeRequest::Principal(n3.principal().clone())).await.expect("the owner may");
    assert_eq!(servers(home), [first]);
    let epoch = owner.revoke(&RevokeRequest::AllChains).await.expect("the owner may").epoch;
    let pinned = |node: &Node| node.client().trust().bundle(&name).expect("pinned").epoch;
    assert_eq!((pinned(home), epoch), (epoch, Epoch(2)));
    // Also if the bundle was lost meanwhile.
    realm.home.take().expect("runs").stop().await;
    std::fs::remove_file(realm.folder("home").realm(&name)).expect("there");
    realm.start_home(&address).await;
    assert_eq!(pinned(realm.home()), epoch);
    let log = std::fs::read_to_string(realm.folder("home").audit()).expect("a log");
    assert!(log.contains("server/n2 is a name server") && log.contains("is no owner"), "{log}");
}
