//! A node reads for a user under a transfer certificate, and only under a good one: each bad one is refused with its
//! reason, through the real nodes.

use ciborium::Value;
use client::{Client, Folder, Node};
use serde_bytes::ByteBuf;
use std::sync::Arc;
use std::time::Duration;
use terms::{Code, Epoch, Location, Principal, Problem, Right, Rights, Thumbprint, UnixMs};
use trust::{CreateTransfer, Grant, Identity, TransferCertificate};
use webos_tests::{Home, NodeProcess, Realm};
use world::{Clock, RealClock, World};

const KIND: &str = "webos-transfer-v1";
const ISS: i64 = 1;
const SUB: i64 = 2;

struct Scene {
    realm: Realm,
    n2: NodeProcess,
    n3: NodeProcess,
    bob: Home,
}

fn scene() -> Scene {
    let realm = Realm::start();
    let (n2, n3) = (realm.node("n2"), realm.node("n3"));
    let bob = realm.user("bob");
    for (name, content) in [("mine", "for alice"), ("other", "also alice's"), ("n2s", "for n2 alone")] {
        std::fs::write(realm.alice.beside().join(name), content).expect("written");
        realm.alice.ok(["put", name, &realm.path(name)]);
    }
    realm.alice.ok(["acl", "grant", "server/n2", "r", &realm.path("n2s")]);
    Scene { realm, n2, n3, bob }
}

fn open(home: &Home) -> Client {
    Client::open(Folder::new(home.path()), World::real()).expect("an identity")
}

fn me(client: &Client) -> Identity {
    client.identity().expect("an identity")
}

fn at(client: &Client, node: &NodeProcess, name: &str) -> Node {
    let principal: Principal = format!("spiffe://test.localhost/server/{name}").parse().expect("valid");
    client.node(&principal, &node.address)
}

#[test]
fn n2_reads_for_the_user_and_only_for_the_user() {
    let mut scene = scene();
    let (realm, n2) = (&scene.realm, format!("n2@{}", scene.n2.address));
    let (mine, n2s) = (realm.path("mine"), realm.path("n2s"));
    assert_eq!(realm.alice.ok(["cat", "--via", &n2, &mine]), "for alice");
    realm.alice.ok(["get", "--via", &n2, &mine, "copy"]);
    assert_eq!(std::fs::read(realm.alice.beside().join("copy")).expect("there"), b"for alice");
    // n2 itself may not read it, although it just read it for Alice.
    scene.n2.home.call(["cat", &mine]).run().fails(3, &["n2"]);
    // n2 may read this, Bob may not: n2's own rights never help.
    assert_eq!(scene.n2.home.ok(["cat", &n2s]), "for n2 alone");
    scene.bob.call(["cat", "--via", &n2, &n2s]).run().fails(3, &["bob"]);
    scene.bob.call(["cat", "--via", &n2, &mine]).run().fails(3, &["bob"]);
    realm.alice.call(["cat", "--via", "n9", &mine]).run().fails(4, &["n9", "@HOST:PORT"]);
    scene.n2.stop();
    realm.alice.call(["cat", "--via", &n2, &mine]).run().fails(5, &["n2"]);
}

/// A clock that is behind: what it signs has ended by now.
struct Behind(Duration);

impl Clock for Behind {
    fn unix(&self) -> UnixMs {
        RealClock::default().unix().minus(self.0)
    }
    fn boot(&self) -> terms::BootMs {
        RealClock::default().boot()
    }
}

fn wanted(audience: &Principal, key: Thumbprint, location: &Location) -> CreateTransfer {
    CreateTransfer {
        audience: audience.clone(),
        audience_key: key,
        grants: vec![Grant::exactly(location.clone(), Rights::of(&[Right::Read]))],
        valid_for: Duration::from_secs(60),
        depth: 0,
        epoch: Epoch(1),
    }
}

fn sign(who: &Client, what: CreateTransfer, world: &World) -> Vec<u8> {
    TransferCertificate::create(&me(who), what, world).and_then(|chain| chain.encode()).expect("signed")
}

fn links(chain: &[u8]) -> Vec<ByteBuf> {
    ciborium::from_reader(chain).expect("a list of links")
}

fn chain_of(links: &[ByteBuf]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(links, &mut bytes).expect("encodes");
    bytes
}

/// The claims of a link, by their names' numbers.
fn claims(link: &[u8]) -> Vec<(Value, Value)> {
    let Ok(Value::Tag(_, sealed)) = ciborium::from_reader(link) else { panic!("a tagged document") };
    let payload = sealed.into_array().expect("four parts").swap_remove(2).into_bytes().expect("bytes");
    ciborium::from_reader::<Value, _>(&payload[..]).expect("claims").into_map().expect("a map")
}

/// A link with these claims replaced, signed by `who` as whoever it likes to be.
fn with_claims(who: &Client, link: &[u8], replaced: &[(i64, &Principal)]) -> Vec<u8> {
    let mut claims = claims(link);
    for (name, value) in &mut claims {
        if let Some((_, principal)) = replaced.iter().find(|(number, _)| *name == Value::from(*number)) {
            *value = Value::Text(principal.to_string());
        }
    }
    let link = trust::signed::sign(&me(who), KIND, &Value::Map(claims)).expect("signed");
    chain_of(&[ByteBuf::from(link)])
}

#[test]
fn bad_transfer_certificates_are_refused_with_their_reasons() {
    let scene = scene();
    let (alice, bob) = (open(&scene.realm.alice), open(&scene.bob));
    let (n2, n3) = (at(&alice, &scene.n2, "n2"), at(&alice, &scene.n3, "n3"));
    let location: Location = scene.realm.path("mine").parse().expect("valid");
    let other: Location = scene.realm.path("other").parse().expect("valid");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let key = |node: &Node| runtime.block_on(node.status()).expect("a status").key;
    let (key2, key3) = (key(&n2), key(&n3));
    let real = World::real();
    let behind = World { clock: Arc::new(Behind(Duration::from_secs(600))), ..World::real() };
    let through = |chain: &[u8], location: &Location| -> Result<(), Problem> {
        runtime.block_on(alice.read_under(&n2, location, chain)).map(drop)
    };

    let honest = sign(&alice, wanted(n2.principal(), key2, &location), &real);
    assert_eq!(through(&honest, &location), Ok(()));
    let link = links(&honest).remove(0);
    let (me, mallory) = (me(&alice), me(&bob));
    let (me, mallory) = (me.principal(), mallory.principal());
    let altered = |find: &[u8], with: &[u8]| {
        let at = link.windows(find.len()).rposition(|window| window == find).expect("found");
        let mut bytes = link.clone();
        bytes[at..at + find.len()].copy_from_slice(with);
        chain_of(&[bytes])
    };
    let mut forged = link.clone();
    *forged.last_mut().expect("bytes") ^= 1;
    let two = chain_of(&[link.clone(), link.clone()]);
    let cases: Vec<(&str, Vec<u8>, &Location, &str)> = vec![
        ("forged", chain_of(&[forged]), &location, "altered or forged"),
        ("altered after signing", altered(b"mine", b"nine"), &location, "altered or forged"),
        ("for another path", honest.clone(), &other, "other"),
        ("two links", two, &location, "does not continue the transfer certificate before it"),
        ("expired", sign(&alice, wanted(n2.principal(), key2, &location), &behind), &location, "ended"),
        ("for another server", sign(&alice, wanted(n3.principal(), key3, &location), &real), &location, "is for"),
        ("for another key", sign(&alice, wanted(n2.principal(), key3, &location), &real), &location, "another key"),
        (
            "of somebody without the right",
            sign(&bob, wanted(n2.principal(), key2, &location), &real),
            &location,
            "bob",
        ),
        (
            "for a foreign subject",
            with_claims(&bob, &link, &[(ISS, mallory)]),
            &location,
            "cannot lend what belongs to",
        ),
        ("under a foreign name", with_claims(&bob, &link, &[(ISS, me), (SUB, me)]), &location, "signed it"),
        ("nonsense", b"nonsense".to_vec(), &location, "not understood"),
    ];
    for (name, chain, location, expected) in cases {
        let problem = through(&chain, location).expect_err(name);
        assert!(problem.to_string().contains(expected), "{name}: expected '{expected}', got '{problem}'");
        assert!(matches!(problem.code, Code::Denied | Code::Invalid), "{name}: {problem:?}");
    }
    // Beside its name: n3 shows the certificate that was made for n2.
    let problem = runtime.block_on(alice.read_under(&n3, &location, &honest)).map(drop).expect_err("stolen");
    assert!(problem.detail.contains("is for"), "{problem}");
}
