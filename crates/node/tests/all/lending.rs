//! What was lent, used and taken back, through real nodes: chains over two realms, connections and transfers that end
//! while they are used, and who may take back what.

use crate::realm::{Realm, hears, path, principal, seen, until, volume};
use client::protocol::RevokeRequest;
use client::{Client, Purse, PutOptions, Volume};
use http::Request;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use terms::{Code, PrincipalKind, Problem, Rights, UnixMs};
use trust::{Chain, CreateTransfer, Grant, Standing, TransferCertificate};
use webos_node::Node;
use wire::{Expect, Purpose, Target};
use world::{Entropy, World};

const BIG: usize = 48 << 20;

/// Gives this id whenever it is asked for something random.
struct Repeated(terms::TransferId);

impl Entropy for Repeated {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.iter_mut().zip(self.0.0.iter().cycle()).for_each(|(to, from)| *to = *from);
    }
}

/// Realm A with alice and her files; realm B with its home and s2.
struct Bed {
    a: Realm,
    b: Realm,
    s2: Node,
    alice: Client,
}

async fn bed() -> Bed {
    let a = Realm::start().await;
    let b = Realm::named("b.example").await;
    let s2 = b.join("s2").await;
    a.trust(&b, &["home", "alice"]);
    b.trust(&a, &["home", "s2"]);
    a.hears(&b).await;
    b.hears(&a).await;
    hears(&s2, &a).await;
    let put = PutOptions { parents: true, ..PutOptions::default() };
    for name in ["in/x", "beside"] {
        a.files("alice").await.put_bytes(&path(name), put, b"content".to_vec()).await.expect("put");
    }
    let alice = a.client("alice");
    Bed { a, b, s2, alice }
}

fn grant(place: &str, rights: &str) -> Grant {
    Grant::below(place.parse().expect("a place"), rights.parse::<Rights>().expect("rights"))
}

fn to(node: &Node, grants: Vec<Grant>, depth: u8) -> CreateTransfer {
    let identity = node.client().identity().expect("a node");
    CreateTransfer {
        audience: identity.principal().clone(),
        audience_key: identity.key().thumbprint(),
        grants,
        valid_for: Duration::from_secs(600),
        depth,
        epoch: terms::Epoch(1),
    }
}

impl Bed {
    /// From alice over B's home to s2: both chains.
    fn chains(&self, rights: &str) -> (Chain, Chain) {
        let place = "data.lab.example/in";
        let first = to(self.b.home(), vec![grant(place, rights)], 1);
        let me = self.alice.identity().expect("alice");
        let first = TransferCertificate::create(&me, first, &self.a.world).expect("signed");
        let second = to(&self.s2, vec![grant(place, rights)], 0);
        let s1 = self.b.home().client().identity().expect("a node");
        let second = TransferCertificate::pass_on(&first, &s1, second, &self.a.world).expect("passed on");
        (first, second)
    }

    async fn files_under(&self, node: &Node, chain: &Chain) -> Volume {
        let client = node.client().under(chain).expect("a client");
        client.volume(&volume()).await.expect("a volume")
    }

    async fn revoke(&self, chain: &Chain) {
        let bytes = chain.encode().expect("bytes").into();
        seen(&self.alice, self.a.home()).revoke(&RevokeRequest::Chain(bytes)).await.expect("hers");
    }
}

fn denied(outcome: Result<impl Sized, Problem>, why: &str) {
    let problem = outcome.err().unwrap_or_else(|| panic!("granted; expected '{why}'"));
    assert_eq!(problem.code, Code::Denied, "{problem}");
    assert!(problem.detail.contains(why), "expected '{why}', got '{problem}'");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_links_over_two_realms_read_what_they_say_until_the_first_is_taken_back() {
    let bed = bed().await;
    let (first, second) = bed.chains("r");
    let files = bed.files_under(&bed.s2, &second).await;
    assert_eq!(&files.read(&path("in/x"), 100).await.expect("lent")[..], b"content");
    denied(files.read(&path("beside"), 100).await, "does not grant it there");
    denied(files.put_bytes(&path("in/y"), PutOptions::default(), vec![1]).await, "does not grant it there");
    denied(files.remove(&path("in/x"), client::Condition::None).await, "does not grant it there");
    let (who, rights) = (terms::Who::Authenticated, "r".parse().expect("rights"));
    let change = client::protocol::AclChange { who, rights, grant: true, recursive: false };
    denied(files.change_acl(&path("in"), &change).await, "does not grant it there");
    // Whoever passed it on cannot use the longer one, nor s2 the shorter.
    denied(
        bed.files_under(bed.b.home(), &second).await.read(&path("in/x"), 100).await,
        "is for spiffe://b.example/server/s2",
    );
    denied(
        bed.files_under(&bed.s2, &first).await.read(&path("in/x"), 100).await,
        "is for spiffe://b.example/server/home",
    );
    bed.revoke(&first).await;
    // Not later than the answer: the home of the files heard it first.
    denied(files.read(&path("in/x"), 100).await, "was revoked");
    let audit = std::fs::read_to_string(bed.a.folder("home").audit()).expect("an audit log");
    let line = audit.lines().find(|line| line.contains("data.lab.example/beside")).expect("on record");
    for link in second.links().expect("readable") {
        assert!(line.contains(&link.id.to_string()), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_breaks_off_when_its_certificate_is_taken_back() {
    let bed = bed().await;
    let alice = bed.a.files("alice").await;
    alice.put_bytes(&path("in/big"), PutOptions::default(), vec![7; BIG]).await.expect("put");
    let (first, second) = bed.chains("r");
    let files = bed.files_under(&bed.s2, &second).await;
    let mut download = files.get(&path("in/big"), None, None).await.expect("begun").body;
    let begun = download.frame().await.expect("a frame").expect("bytes");
    assert!(begun.data_ref().is_some_and(|data| !data.is_empty()));
    bed.revoke(&first).await;
    let mut bytes = 0;
    let broken = loop {
        match download.frame().await {
            Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, bytes::Bytes::len),
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    assert!(broken && bytes < BIG, "{bytes} of {BIG} bytes came");
    // Alice's own download is not touched.
    let whole = alice.get(&path("in/big"), None, None).await.expect("begun").body.collect().await.expect("whole");
    assert_eq!(whole.to_bytes().len(), BIG);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_under_a_certificate_that_is_taken_back_leaves_nothing() {
    let bed = bed().await;
    let (first, second) = bed.chains("rwm");
    let files = bed.files_under(&bed.s2, &second).await;
    files.put_bytes(&path("in/small"), PutOptions::default(), vec![1; 10]).await.expect("lent");
    let (send, receive) = tokio::sync::mpsc::channel::<bytes::Bytes>(1);
    let chunks = futures_util::stream::unfold(receive, |mut receive| async {
        receive.recv().await.map(|chunk| (Ok::<_, std::io::Error>(chunk), receive))
    });
    let place = path("in/large");
    let put = files.put(&place, PutOptions::default(), wire::body::stream(chunks.boxed_sync()));
    let feed = async {
        for _ in 0..4 {
            send.send(vec![2; 1 << 20].into()).await.expect("taken");
        }
        bed.revoke(&first).await;
        // It may be refused at any of these.
        for _ in 0..64 {
            if send.send(vec![3; 1 << 20].into()).await.is_err() {
                break;
            }
        }
        drop(send);
    };
    let (stored, ()) = tokio::join!(put, feed);
    assert!(stored.is_err(), "it was stored");
    let there = bed.a.files("alice").await.stat(&place).await.expect_err("nothing is there");
    assert_eq!(there.code, Code::NotFound);
}

trait BoxedSync: Sized {
    fn boxed_sync(self) -> SyncStream<Self>;
}

impl<S> BoxedSync for S {
    fn boxed_sync(self) -> SyncStream<S> {
        SyncStream(std::sync::Mutex::new(Box::pin(self)))
    }
}

/// A body has to be `Sync`; this stream is used by one task at a time.
struct SyncStream<S>(std::sync::Mutex<std::pin::Pin<Box<S>>>);

impl<S: futures_util::Stream> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;
    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.get_mut().0.get_mut().expect("not poisoned").as_mut().poll_next(cx)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_loses_its_connections_and_is_let_in_no_more() {
    let realm = Realm::start().await;
    let (n2, n3) = (realm.join("n2").await, realm.join("n3").await);
    let home = realm.home();
    let owner = home.client();
    let ask = |node: &Node| {
        let at_home = seen(node.client(), home);
        async move { at_home.status().await.map(drop) }
    };
    ask(&n2).await.expect("let in");
    let target = Target {
        address: n2.address().to_string(),
        expect: Expect::Principal(n2.principal().clone()),
        purpose: Purpose::Control,
    };
    let status = |pool: wire::Pool| {
        let url = format!("https://{}/.webos/status", n2.principal().dns_twin());
        let target = target.clone();
        async move { pool.request(&target, Request::get(url).body(wire::body::empty()).expect("a request")).await }
    };
    status(owner.pool().clone()).await.expect("the home speaks to n2");
    let gone = RevokeRequest::Principal(n2.principal().clone());
    seen(owner, home).revoke(&gone).await.expect("the owner may");
    assert!(ask(&n2).await.is_err(), "its connection is closed, and a new one refused");
    assert!(status(owner.pool().clone()).await.is_err(), "nothing is asked of it either");
    ask(&n3).await.expect("nobody else is touched");
    // Invited again it is somebody new.
    n2.stop().await;
    // Certificates are dated in whole seconds: what is issued in the second of the revocation is revoked with it.
    let second = realm.world.clock.unix().secs();
    while realm.world.clock.unix().secs() == second {
        tokio::task::yield_now().await;
    }
    let line = realm.invite(PrincipalKind::Server, "n2");
    std::fs::remove_dir_all(realm.folder("n2").path()).expect("removed");
    client::enrol::join(&realm.folder("n2"), &line, PrincipalKind::Server, &realm.world).await.expect("joined");
    let n2 = Node::start(realm.settings("n2", "127.0.0.1:0"), realm.world.clone()).await.expect("a node");
    ask(&n2).await.expect("let in again");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_issuer_and_the_owners_take_back() {
    let bed = bed().await;
    bed.a.issue("bob", PrincipalKind::User);
    let (first, second) = bed.chains("r");
    let bytes = |chain: &Chain| chain.encode().expect("bytes");
    let bob = bed.a.client("bob");
    let home = bed.a.home();
    let at_home = |client: &Client| seen(client, home);
    denied(at_home(&bob).revoke(&RevokeRequest::Chain(bytes(&first).into())).await, "not from you");
    denied(at_home(&bed.alice).revoke(&RevokeRequest::Chain(bytes(&second).into())).await, "not from you");
    let id = first.links().expect("readable")[0].id;
    let user = principal(PrincipalKind::User, "bob");
    for request in [RevokeRequest::Transfer(id), RevokeRequest::Principal(user.clone()), RevokeRequest::AllChains] {
        denied(at_home(&bed.alice).revoke(&request).await, "is no owner");
    }
    let files = bed.files_under(&bed.s2, &second).await;
    files.read(&path("in/x"), 100).await.expect("nothing was taken back");
    let owner = at_home(home.client());
    let own = owner.revoke(&RevokeRequest::Principal(home.principal().clone())).await.expect_err("itself");
    assert!(own.detail.contains("first node"), "{own}");
    let foreign = owner.revoke(&RevokeRequest::Principal(bed.s2.principal().clone())).await.expect_err("foreign");
    assert!(foreign.next.contains("acl revoke"), "{foreign}");
    // Garbage is no chain.
    assert_eq!(
        owner.revoke(&RevokeRequest::Chain(vec![0; 40].into())).await.expect_err("garbage").code,
        Code::Invalid
    );
    owner.revoke(&RevokeRequest::Transfer(id)).await.expect("the owner may");
    denied(files.read(&path("in/x"), 100).await, "was revoked");
    owner.revoke(&RevokeRequest::Principal(user.clone())).await.expect("the owner may");
    let member = client::register::Register::new(&bed.a.folder("home")).member(&user).expect("readable");
    assert!(
        matches!(member.map(|member| member.standing), Some(trust::MemberState::Revoked(_))),
        "it is renewed no more"
    );
    assert!(bob.volume(&volume()).await.is_err() || at_home(&bob).status().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purse_takes_only_what_is_for_it_and_from_whoever_signed() {
    let bed = bed().await;
    bed.a.issue("bob", PrincipalKind::User);
    let (first, second) = bed.chains("r");
    let b_home = bed.b.home();
    let id = seen(&bed.alice, b_home).give(&first).await.expect("for it");
    let kept = Purse::open(&bed.b.folder("home")).find(&id.to_string()).expect("kept");
    assert_eq!(kept.last().subject, *bed.alice.identity().expect("alice").principal());
    denied(seen(&bed.alice, b_home).give(&second).await, "is for spiffe://b.example/server/s2");
    let bob = bed.a.client("bob");
    bob.trust().insert((*b_home.client().trust().bundle(bed.b.authority.realm()).expect("own")).clone());
    denied(seen(&bob, b_home).give(&first).await, "whoever signed it only");

    // Whoever signs chooses the id. Another chain under the same one replaces nothing.
    let repeated = World { entropy: Arc::new(Repeated(id)), ..bed.a.world.clone() };
    let wanted = to(b_home, vec![grant("data.lab.example/other", "r")], 0);
    let double = TransferCertificate::create(&bob.identity().expect("bob"), wanted, &repeated).expect("signed");
    assert_eq!(double.links().expect("links")[0].id, id);
    assert_eq!(seen(&bob, b_home).give(&double).await.expect_err("hers").code, Code::Exists);
    assert_eq!(Purse::open(&bed.b.folder("home")).find(&id.to_string()).expect("kept").chain, first);
    seen(&bed.alice, b_home).give(&first).await.expect("the same again is no other");

    // What bob takes back under that id is his own.
    let his = RevokeRequest::Chain(double.encode().expect("bytes").into());
    seen(&bob, bed.a.home()).revoke(&his).await.expect("his own");
    let files = bed.files_under(b_home, &first).await;
    files.read(&path("in/x"), 100).await.expect("hers is good as before");

    // Nor does one signer fill it for the others.
    let (me, giver) = (bob.identity().expect("bob"), seen(&bob, b_home));
    let full = loop {
        let wanted = to(b_home, vec![grant("data.lab.example/other", "r")], 0);
        let chain = TransferCertificate::create(&me, wanted, &bed.a.world).expect("signed");
        if let Err(full) = giver.give(&chain).await {
            break full;
        }
    };
    assert_eq!(full.code, Code::Busy, "{full}");
    let (another, _) = bed.chains("r");
    seen(&bed.alice, b_home).give(&another).await.expect("there is room for hers");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_read_by_anybody_and_says_news_at_once() {
    let realm = Realm::start().await;
    let bob = principal(PrincipalKind::User, "bob");
    let home = realm.home();
    let name = realm.authority.realm().clone();
    let nobody = Client::with(realm.folder("nobody"), realm.world.clone(), None, home.client().trust().clone());
    let ask = |route: &str| {
        let (nobody, name, route) = (nobody.clone(), name.clone(), route.to_string());
        async move { nobody.ask_openly(&name, &route, 64 * 1024).await }
    };
    let page = |bytes: &[u8]| {
        trust::FeedPage::open(bytes, &name, home.client().trust(), realm.world.clock.unix()).expect("signed")
    };
    let first = page(&ask("/.webos/feed?after=0").await.expect("answered"));
    let mut copy = trust::FeedCopy::new(name.clone());
    copy.apply(&first, realm.world.clock.unix()).expect("a page");
    assert_eq!(ask("/.webos/feed?after=many").await.expect_err("no number").code, Code::Invalid);
    let waiting = tokio::spawn(ask(&client::protocol::feed_route(copy.number(), true)));
    seen(home.client(), home).revoke(&RevokeRequest::Principal(bob.clone())).await.expect("the owner may");
    let news = waiting.await.expect("no panic").expect("answered");
    copy.apply(&page(&news), realm.world.clock.unix()).expect("a page");
    assert!(copy.is_revoked(&bob, UnixMs(0)));
    // What was taken back is still so after a restart.
    let mut realm = realm;
    realm.home.take().expect("runs").stop().await;
    realm.start_home("127.0.0.1:0").await;
    let trust = realm.home().client().trust();
    assert!(trust.feed(&name).expect("its own").is_revoked(&bob, UnixMs(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_node_restored_from_a_backup_is_heard_again_and_readers_forget_nothing() {
    let mut realm = Realm::start().await;
    let n2 = realm.join("n2").await;
    let (feed, address) = (realm.folder("home").feed(), realm.home().address().to_string());
    let user = |name| RevokeRequest::Principal(principal(PrincipalKind::User, name));
    let home = realm.home();
    let owner = seen(home.client(), home);
    owner.revoke(&user("bob")).await.expect("the owner may");
    let backup = std::fs::read(&feed).expect("a list");
    owner.revoke(&user("eve")).await.expect("the owner may");
    let revoked = |name| n2.client().trust().is_revoked(&principal(PrincipalKind::User, name), UnixMs(0));
    until(|| revoked("eve")).await;
    realm.home.take().expect("runs").stop().await;
    std::fs::write(&feed, backup).expect("restored");
    let name = realm.authority.realm().clone();
    let heard = || n2.client().trust().feed(&name).and_then(|feed| feed.at());
    let before = heard();
    realm.start_home(&address).await;
    until(|| heard() > before).await;
    assert!(revoked("bob") && revoked("eve"), "what was heard is kept");
}
