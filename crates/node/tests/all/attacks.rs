//! Transfer certificates that must be refused, each with its reason: through a node that reads for others, and at
//! the home itself under the node's own connection.

use crate::realm::{Realm, path, principal, seen, volume};
use client::{Client, PutOptions};
use http::{HeaderValue, Request};
use std::sync::Arc;
use std::time::Duration;
use terms::{Code, Epoch, Location, PrincipalKind, Problem, Right, Rights, Thumbprint, UnixMs};
use trust::transfer::HEADER;
use trust::{Chain, CreateTransfer, Grant, Identity, TransferCertificate};
use webos_node::Node;
use wire::{Expect, Purpose, Target};
use world::{Clock, RealClock, World};

/// A clock that is so many seconds ahead, or behind.
struct Off(i64);

impl Clock for Off {
    fn unix(&self) -> UnixMs {
        UnixMs(RealClock::default().unix().0.saturating_add_signed(self.0 * 1000))
    }
    fn boot(&self) -> terms::BootMs {
        RealClock::default().boot()
    }
}

struct Bed {
    realm: Realm,
    n2: Node,
    n3: Node,
    alice: Client,
    location: Location,
}

async fn bed() -> Bed {
    let realm = Realm::start().await;
    realm.issue("bob", PrincipalKind::User);
    let (n2, n3) = (realm.join("n2").await, realm.join("n3").await);
    let put = PutOptions { parents: true, ..PutOptions::default() };
    for name in ["in/a", "in/ab", "other"] {
        realm.files("alice").await.put_bytes(&path(name), put, b"content".to_vec()).await.expect("put");
    }
    let alice = realm.client("alice");
    let location = Location { volume: volume(), path: path("in/a") };
    Bed { realm, n2, n3, alice, location }
}

fn key(node: &Node) -> Thumbprint {
    node.client().identity().expect("a node").key().thumbprint()
}

impl Bed {
    fn wanted(&self) -> CreateTransfer {
        CreateTransfer {
            audience: self.n2.principal().clone(),
            audience_key: key(&self.n2),
            grants: vec![Grant::exactly(self.location.clone(), Rights::of(&[Right::Read]))],
            valid_for: Duration::from_secs(60),
            depth: 0,
            epoch: Epoch(1),
        }
    }

    fn sign(&self, who: &Client, what: CreateTransfer, world: &World) -> Chain {
        let identity: &Identity = &who.identity().expect("somebody");
        TransferCertificate::create(identity, what, world).expect("signed")
    }

    fn signed(&self, what: CreateTransfer) -> Vec<u8> {
        self.sign(&self.alice, what, &self.realm.world).encode().expect("encoded")
    }

    /// The way of `webos get --via`.
    async fn through_n2(&self, chain: &[u8], location: &Location) -> Result<(), Problem> {
        self.alice.read_under(&seen(&self.alice, &self.n2), location, chain).await.map(drop)
    }

    /// A hostile n2 that passes on whatever it has: the home's own answer.
    async fn at_the_home(&self, chain: &[u8], location: &Location, as_node: &Node) -> Result<(), Problem> {
        use base64::Engine as _;
        let home = self.realm.home();
        let target = Target {
            address: home.address().to_string(),
            expect: Expect::Principal(home.principal().clone()),
            purpose: Purpose::Bulk,
        };
        let url = format!("https://{}/{}/{}", home.principal().dns_twin(), location.volume, location.path);
        let mut request = Request::get(url).body(wire::body::empty()).expect("a request");
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(chain);
        request.headers_mut().insert(HEADER, HeaderValue::from_str(&text).expect("a header"));
        let answer = as_node.client().pool().request(&target, request).await?;
        if answer.status().is_success() { Ok(()) } else { Err(wire::problem_from(answer).await) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alice_did_not_sign_for_n2_and_this_path_is_refused_by_name() {
    let bed = bed().await;
    let good = bed.signed(bed.wanted());
    bed.through_n2(&good, &bed.location).await.expect("the good one is good");
    bed.at_the_home(&good, &bed.location, &bed.n2).await.expect("also there");

    let bob = bed.realm.client("bob");
    let mut altered = good.clone();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    let past = World { clock: Arc::new(Off(-600)), ..bed.realm.world.clone() };
    let link = serde_bytes::ByteBuf::from(
        wire::cbor::from_slice::<Vec<serde_bytes::ByteBuf>>(&good).expect("a chain")[0].to_vec(),
    );
    let longer = bed.wanted();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("garbage", b"garbage".to_vec(), ""),
        ("altered after signing", altered, "signature"),
        ("expired", bed.sign(&bed.alice, bed.wanted(), &past).encode().expect("encoded"), "ended"),
        ("for another server", bed.signed(CreateTransfer { audience: bed.n3.principal().clone(), ..longer }), "n3"),
        ("for another key", bed.signed(CreateTransfer { audience_key: key(&bed.n3), ..bed.wanted() }), "key"),
        ("the same link twice", wire::cbor::to_vec(&vec![link.clone(), link]), "does not continue"),
        ("by bob", bed.sign(&bob, bed.wanted(), &bed.realm.world).encode().expect("encoded"), "bob"),
    ];
    for (name, chain, word) in cases {
        let home = bed.at_the_home(&chain, &bed.location, &bed.n2).await.expect_err(name);
        let via = bed.through_n2(&chain, &bed.location).await.expect_err(name);
        let (home_text, via_text) = (home.to_string(), via.to_string());
        assert!(matches!(home.code, Code::Denied | Code::Invalid | Code::Unsupported), "{name}: {home_text}");
        assert!(matches!(via.code, Code::Denied | Code::Invalid | Code::Unsupported), "{name}: {via_text}");
        assert!(home_text.contains(word), "{name}: '{word}' is not in: {home_text}");
        println!("{name}: {home_text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_uses_no_certificate_that_it_cannot_verify() {
    let bed = bed().await;
    // To a node whose clock is ahead it has ended. The home would take it: it is for that node, and its time is good.
    let chain = bed.signed(bed.wanted());
    let ahead = World { clock: Arc::new(Off(600)), ..bed.realm.world.clone() };
    let (n2, location) = (bed.n2.principal().clone(), &bed.location);
    bed.n2.stop().await;
    let n2_anew = Node::start(bed.realm.settings("n2", "127.0.0.1:0"), ahead).await.expect("a node");
    assert_eq!(*n2_anew.principal(), n2);
    let bob = bed.realm.client("bob");
    for (who, client) in [("bob, whose it is not", &bob), ("alice", &bed.alice)] {
        let refused = client.read_under(&seen(client, &n2_anew), location, &chain).await.expect_err(who);
        assert_eq!(refused.code, Code::Denied, "{who}");
        assert!(refused.detail.contains("the transfer certificate ended"), "{who}: {refused}");
    }
    let audit = std::fs::read_to_string(bed.realm.folder("n2").audit()).expect("an audit log");
    assert!(audit.contains("user/bob") && audit.contains("data.lab.example/in/a"), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_opens_one_path_for_one_server_and_one_right() {
    let bed = bed().await;
    let chain = bed.signed(bed.wanted());
    for beside in ["in/ab", "in", "other", "in/a/b"] {
        let location = Location { path: path(beside), ..bed.location.clone() };
        let problem = bed.at_the_home(&chain, &location, &bed.n2).await.expect_err(beside);
        assert_eq!(problem.code, Code::Denied, "{beside}: {problem}");
    }
    let stolen = bed.at_the_home(&chain, &bed.location, &bed.n3).await.expect_err("n3 took it");
    assert_eq!(stolen.code, Code::Denied);
    // Alice may write, n2 for her may not: the grant says r.
    let home = bed.realm.home();
    let target = Target {
        address: home.address().to_string(),
        expect: Expect::Principal(home.principal().clone()),
        purpose: Purpose::Bulk,
    };
    let url = format!("https://{}/{}", home.principal().dns_twin(), bed.location);
    let mut request = Request::put(url).body(wire::body::full("mine")).expect("a request");
    let text = Chain::decode(&chain).expect("a chain").to_header().expect("a header");
    request.headers_mut().insert(HEADER, text.parse().expect("a header"));
    let answer = bed.n2.client().pool().request(&target, request).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 403);
    let audit = std::fs::read_to_string(bed.realm.folder("home").audit()).expect("an audit log");
    assert!(audit.contains(&principal(PrincipalKind::User, "alice").to_string()), "the chain is on record");
}
