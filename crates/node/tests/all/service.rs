//! A published service: its certificate, its front, and a surrogate that is started, renewed and drained.

use crate::realm::{Realm, path, principal, seen, volume};
use client::models::{
    BeatAnswer, BeatRequest, DrainRequest, LendRequest, Offer, Phase, RightToServe, StartAnswer, StartRequest,
    Table,
};
use client::protocol::{AclChange, Announcement, GroupOrder, MemberTerm, PublishRequest};
use client::{Condition, PutOptions};
use discovery::verified::Certificate;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;
use terms::{ByteCount, Code, Epoch, Generation, Location, PrincipalKind, Right, Rights, ServiceName, Who};
use webos_node::limits::MAX_SOURCE_REQUESTS;
use webos_node::{Node, serving_group};
use wire::{Expect, Pool, Purpose, Target};

const PARENTS: PutOptions = PutOptions { condition: Condition::None, parents: true, operation: None };

pub fn service() -> ServiceName {
    "service://site.lab.example".parse().expect("a service")
}

fn request(reader: Who) -> PublishRequest {
    PublishRequest {
        service: service(),
        files: Location { volume: volume(), path: path("www") },
        goal_ms: 200,
        max_servers: 3,
        readers: vec![reader],
        link_bps: None,
        stabilization_ms: None,
        lenders: vec![],
    }
}

pub async fn published(realm: &Realm) -> Certificate {
    published_for(realm, Who::Anyone).await
}

async fn published_for(realm: &Realm, reader: Who) -> Certificate {
    let files = realm.files("alice").await;
    for (name, content) in [("www/index.html", vec![b'i'; 100]), ("www/big", vec![b'b'; 3 << 20])] {
        files.put_bytes(&path(name), PARENTS, content).await.expect("put");
    }
    let alice = realm.client("alice");
    seen(&alice, realm.home()).publish(&request(reader)).await.expect("published");
    let bytes = alice.ask_names(&service().realm, "/.webos/name/site").await.expect("a certificate");
    Certificate::open(&bytes, &service(), alice.trust(), realm.world.clock.unix()).expect("valid")
}

fn stranger(realm: &Realm) -> Pool {
    Pool::new(&realm.world, None, Arc::new(realm.client("alice").trust().clone()))
}

/// A stranger's request to one server of the service.
async fn ask(realm: &Realm, node: &Node, what: &str) -> Response<Incoming> {
    ask_at(&stranger(realm), node, &service().authority(), what).await
}

async fn ask_at(pool: &Pool, node: &Node, host: &str, what: &str) -> Response<Incoming> {
    let key = node.client().identity().expect("a node").key().thumbprint();
    let target =
        Target { address: node.address().to_string(), expect: Expect::Key(key), purpose: Purpose::Service };
    let request = Request::get(format!("https://{host}{what}")).body(wire::body::empty());
    pool.request(&target, request.expect("a request")).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_reads_the_service_and_nothing_else() {
    let realm = Realm::start().await;
    let certificate = published(&realm).await;
    assert_eq!(certificate.value().servers.len(), 1);
    let page = ask(&realm, realm.home(), "/").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.headers().contains_key("webos-load") && page.headers().contains_key("webos-manifest"));
    assert_eq!(page.headers()["webos-server"], "home");
    assert!(!page.headers().contains_key("content-security-policy"), "a service has its own host name");
    assert_eq!(wire::read_body(page.into_body(), 1000).await.expect("a page").len(), 100);
    let shouted = ask_at(&stranger(&realm), realm.home(), "SITE.Service.lab.example.:443", "/").await;
    assert_eq!(shouted.status(), StatusCode::OK, "the case of a host name and the dot at its end mean nothing");
    assert_eq!(ask(&realm, realm.home(), "/none").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ask(&realm, realm.home(), "/../data").await.status(), StatusCode::BAD_REQUEST);
    let nobody = stranger(&realm);
    let target = Target {
        address: realm.home().address().to_string(),
        expect: Expect::Principal(realm.home().principal().clone()),
        purpose: Purpose::Service,
    };
    let request = Request::get("https://home.server.lab.example/data.lab.example/www/index.html");
    let answer = nobody.request(&target, request.body(wire::body::empty()).expect("a request")).await;
    assert_eq!(answer.expect("an answer").status(), StatusCode::FORBIDDEN, "the volume's own list decides there");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_is_no_load() {
    let realm = Realm::start().await;
    let alice = principal(PrincipalKind::User, "alice");
    published_for(&realm, Who::Principal(alice)).await;
    for _ in 0..20 {
        assert_eq!(ask(&realm, realm.home(), "/big").await.status(), StatusCode::FORBIDDEN);
    }
    let status = seen(&realm.client("alice"), realm.home()).status().await.expect("a status");
    let front = &status.fronts[0];
    let load = (front.requests, front.bytes, front.load.inflight, front.load.rps);
    assert_eq!(load, (0, 0, 0.0, 0.0), "a flood of refusals recruits nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_says_that_a_source_has_its_share() {
    // Over the slowest link no answer of 3 MiB ends while this test runs.
    let realm = Realm::start_with_link(Some(client::models::lending::MIN_LINK_BITS_PER_S)).await;
    published(&realm).await;
    let (mut asked, host) = (Vec::new(), service().authority());
    let pools: Vec<Pool> = (0..5).map(|_| stranger(&realm)).collect();
    for pool in &pools {
        let requests = (0..MAX_SOURCE_REQUESTS / 5 + 20).map(|_| ask_at(pool, realm.home(), &host, "/big"));
        asked.extend(futures_util::future::join_all(requests).await);
    }
    let (full, served): (Vec<_>, Vec<_>) =
        asked.iter().partition(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE);
    assert!(!full.is_empty(), "its share is bounded");
    assert_eq!(served.len(), MAX_SOURCE_REQUESTS, "and not smaller than stated");
    let fields = full[0].headers();
    assert!(fields["retry-after"] == "1" && fields["webos-elsewhere"] == "?1", "{fields:?}");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let mode = std::fs::metadata(from).expect("there").permissions();
    if from.is_dir() {
        std::fs::create_dir(to).expect("made");
        for entry in std::fs::read_dir(from).expect("readable") {
            let entry = entry.expect("readable");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::copy(from, to).expect("copied");
    }
    std::fs::set_permissions(to, mode).expect("set");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_record_is_damaged_is_still_its_publishers() {
    let mut realm = Realm::start().await;
    let before = published(&realm).await.value().serial;
    realm.issue("bob", PrincipalKind::User);
    let bob = principal(PrincipalKind::User, "bob");
    let grant = AclChange {
        who: Who::Principal(bob),
        rights: Rights::of(&[Right::Read, Right::Write, Right::Administer]),
        grant: true,
        recursive: true,
    };
    realm.files("alice").await.change_acl(&path(""), &grant).await.expect("granted");
    let listen = realm.home().address().to_string();
    realm.home.take().expect("runs").stop().await;
    // What is left of the node in this process keeps the volume's lock: it starts anew in a copy.
    let (home, old) = (realm.folder("home"), realm.folder("old"));
    std::fs::rename(home.path(), old.path()).expect("moved");
    copy(old.path(), home.path());
    let record = realm.folder("home").service(&service()).join("published");
    std::fs::write(&record, b"damaged").expect("written");
    realm.start_home(&listen).await;
    let taken = seen(&realm.client("bob"), realm.home()).publish(&request(Who::Anyone)).await;
    assert_eq!(taken.expect_err("not bob's").code, Code::Denied);
    let renewed =
        seen(&realm.client("alice"), realm.home()).publish(&request(Who::Anyone)).await.expect("published again");
    let now = realm.world.clock.unix();
    let renewed = Certificate::open(&renewed.certificate, &service(), realm.client("alice").trust(), now);
    assert!(renewed.expect("valid").value().serial > before);
}

/// The daemon's part by hand, as the home itself.
struct ByHand<'a> {
    realm: &'a Realm,
    surrogate: &'a Node,
    node: client::Node,
    first: client::Node,
    certificate: Certificate,
}

const EPOCH: Epoch = Epoch(5);

impl<'a> ByHand<'a> {
    async fn new(realm: &'a Realm, surrogate: &'a Node) -> Self {
        let certificate = published(realm).await;
        let home = realm.home().client();
        let node = seen(home, surrogate);
        Self { realm, surrogate, node, first: seen(home, realm.home()), certificate }
    }

    fn table(&self) -> Vec<u8> {
        let table = Table {
            service: service(),
            epoch: EPOCH,
            generation: Generation(1),
            signed_at: self.realm.world.clock.unix(),
            entries: vec![],
        };
        self.realm.home().client().sign_table(&table).expect("signed")
    }

    async fn start(&self) -> Result<StartAnswer, terms::Problem> {
        let now = self.realm.world.clock.unix();
        let right = RightToServe {
            service: service(),
            server: self.surrogate.principal().clone(),
            key: self.surrogate.client().identity().expect("a node").key().thumbprint(),
            address: self.surrogate.address().to_string(),
            epoch: EPOCH,
            not_before: now,
            not_after: now.plus(Duration::from_secs(120)),
        };
        let right = self.realm.home().client().sign_right(&right).expect("signed");
        let certificate = self.certificate.bytes().to_vec();
        let table = self.table();
        let request =
            StartRequest { service: service(), epoch: EPOCH, lease_ms: 10_000, certificate, right, table };
        self.node.start(&request).await
    }

    async fn member(&self, lasting: Option<Duration>) {
        let now = self.realm.world.clock.unix();
        let term = lasting.map_or(MemberTerm::Out, |lasting| MemberTerm::Until(now.plus(lasting)));
        let member = Who::Principal(self.surrogate.principal().clone());
        let group = serving_group(&service()).expect("a group");
        self.first.change_group(&group, GroupOrder::Member { member, term }).await.expect("changed");
    }

    /// Beats, each time giving the last ticket back, until the surrogate stands there.
    async fn beat_until(&self, phase: Phase) {
        let mut ticket = None;
        let reached = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                let request = BeatRequest {
                    service: service(),
                    epoch: EPOCH,
                    ticket,
                    lease_ms: 10_000,
                    right: None,
                    table: Some(self.table()),
                };
                match self.node.beat(&request).await.expect("an answer") {
                    BeatAnswer::Running(reply) if reply.phase == phase => return,
                    BeatAnswer::Running(reply) => ticket = Some(reply.ticket),
                    BeatAnswer::NotRunning if phase == Phase::Ended => return,
                    other => panic!("{other:?}"),
                }
            }
        });
        reached.await.unwrap_or_else(|_| panic!("never {phase:?}"));
    }
}

fn offer() -> LendRequest {
    LendRequest::Lend(Offer {
        service: service(),
        cpu_milli: 1000,
        memory_bytes: ByteCount(1 << 30),
        price: 0.0,
        power: 1.0,
        until: None,
        keep_cache: false,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_surrogate_serves_for_its_lease_and_loses_everything_with_it() {
    let realm = Realm::start().await;
    std::fs::create_dir_all(realm.folder("n1").path()).expect("a folder");
    std::fs::write(realm.folder("n1").owner(), "spiffe://lab.example/user/alice\n").expect("an owner");
    let n1 = realm.join("n1").await;
    let hand = ByHand::new(&realm, &n1).await;
    assert!(matches!(hand.start().await, Ok(StartAnswer::Refused(_))), "nobody lent it");
    let alice = realm.client("alice");
    let not_owner = seen(realm.home().client(), &n1).lend(&offer()).await.expect_err("the home does not own it");
    assert_eq!(not_owner.code, Code::Denied);
    let place = realm.folder("n1").path().display().to_string();
    assert!(!not_owner.to_string().contains(&place), "strangers learn no path of the machine: {not_owner}");
    seen(&alice, &n1).lend(&offer()).await.expect("lent");
    assert_eq!(ask(&realm, &n1, "/").await.status(), StatusCode::SERVICE_UNAVAILABLE, "not started");
    hand.member(Some(Duration::from_secs(30))).await;
    assert!(matches!(hand.start().await, Ok(StartAnswer::Accepted(_))), "lent now");
    hand.beat_until(Phase::Serving).await;
    let page = ask(&realm, &n1, "/").await;
    assert_eq!((page.status(), &page.headers()["webos-server"]), (StatusCode::OK, &"n1".parse().expect("a name")));
    let big = ask(&realm, &n1, "/big").await;
    assert_eq!(wire::read_body(big.into_body(), 4 << 20).await.expect("a file"), vec![b'b'; 3 << 20]);
    // A change at the home is what the surrogate serves next.
    realm.files("alice").await.put_bytes(&path("www/index.html"), PARENTS, b"new".to_vec()).await.expect("put");
    let page = ask(&realm, &n1, "/").await;
    assert_eq!(&wire::read_body(page.into_body(), 1000).await.expect("a page")[..], b"new");
    let drained = hand
        .node
        .drain(&DrainRequest { service: service(), epoch: EPOCH, within_ms: 1000 })
        .await
        .expect("an answer");
    assert!(matches!(drained, BeatAnswer::Running(_)), "{drained:?}");
    hand.member(None).await;
    hand.beat_until(Phase::Ended).await;
    assert_eq!(ask(&realm, &n1, "/").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let own = n1.client().volume(&volume()).await.expect("a volume");
    let read = own.read(&path("www/index.html"), 100).await.expect_err("no rights are left");
    assert_eq!(read.code, Code::Denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_command_nothing() {
    let realm = Realm::start().await;
    let n1 = realm.join("n1").await;
    let n2 = realm.join("n2").await;
    published(&realm).await;
    let home = seen(n1.client(), realm.home());
    let beat =
        BeatRequest { service: service(), epoch: Epoch(9), ticket: None, lease_ms: 1, right: None, table: None };
    assert_eq!(home.beat(&beat).await.expect_err("no authority").code, Code::Denied);
    assert_eq!(home.candidates(&service()).await.expect_err("no authority").code, Code::Denied);
    let group = serving_group(&service()).expect("a group");
    let until = realm.world.clock.unix().plus(Duration::from_secs(60));
    let join =
        GroupOrder::Member { member: Who::Principal(n1.principal().clone()), term: MemberTerm::Until(until) };
    assert_eq!(home.change_group(&group, join).await.expect_err("no administrator").code, Code::Denied);
    assert!(matches!(seen(n1.client(), &n2).beat(&beat).await, Ok(BeatAnswer::NotRunning)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_realm_lends_only_where_it_is_let_in() {
    let realm = Realm::start().await;
    published(&realm).await;
    let other = Realm::named("other.example").await;
    other.issue("n9", PrincipalKind::Server);
    other.trust(&realm, &["n9"]);
    realm.trust(&other, &["home"]);
    let n9 = other.client("n9");
    realm.hears(&other).await;
    let LendRequest::Lend(offer) = offer() else { unreachable!("an offer") };
    let word = Announcement { address: "127.0.0.1:8443".into(), offer: Some(offer), relay: false };
    let n9_at_home = seen(&n9, realm.home());
    let refused = n9_at_home.announce(&service(), &word).await.expect_err("trusted, and not let in");
    assert_eq!(refused.code, Code::Denied);
    assert!(refused.to_string().contains("--lender spiffe://other.example/server/n9"), "{refused}");

    let n9_itself = n9.identity().expect("a node").principal().clone();
    let with = |lenders| PublishRequest { lenders, ..request(Who::Anyone) };
    let alice = realm.client("alice");
    let home = seen(&alice, realm.home());
    let all = home.publish(&with(vec![Who::Authenticated])).await.expect_err("names nobody");
    assert_eq!(all.code, Code::Invalid);
    home.publish(&with(vec![Who::Principal(n9_itself.clone())])).await.expect("published");
    n9_at_home.announce(&service(), &word).await.expect("let in");
    let candidates = seen(realm.home().client(), realm.home()).candidates(&service()).await.expect("the list");
    assert_eq!(candidates.iter().map(|candidate| &candidate.principal).collect::<Vec<_>>(), [&n9_itself]);

    home.publish(&with(vec![])).await.expect("published");
    assert_eq!(n9_at_home.announce(&service(), &word).await.expect_err("struck off").code, Code::Denied);
    let n1 = realm.join("n1").await;
    seen(n1.client(), realm.home()).announce(&service(), &word).await.expect("the service's own realm");
}
