//! What a folder keeps of where a volume lives: believed for a short time, if it is signed and the home is there.

use crate::name_servers::{bundle, named};
use crate::realm::{Realm, path, volume};
use client::models::{VOLUME_KIND, VolumeRecord};
use client::{Client, PutOptions};
use serde::Serialize;
use std::fs;
use terms::{Code, Epoch, UnixMs};
use trust::{Identity, IdentityFile, TrustStore};
use world::World;

/// Alice's client, for whom the realm's name server is at an address where nobody is.
fn without_names(realm: &Realm) -> Client {
    let nowhere = "127.0.0.1:1".parse().expect("an address");
    let trust = TrustStore::new();
    trust.insert(bundle(realm, vec![named(realm.home(), nowhere)], 20));
    let file = IdentityFile::read(&realm.folder("alice").identity()).expect("an identity");
    let identity: Identity = file.open(None).expect("not under a passphrase");
    Client::with(realm.folder("alice"), World::real(), Some(identity), trust)
}

#[derive(Serialize)]
struct Kept {
    learned: UnixMs,
    #[serde(with = "serde_bytes")]
    signed: Vec<u8>,
}

/// Keeps a record in alice's folder that was learned so many seconds ago and says this, signed by the home.
fn keep(realm: &Realm, address: &str, ago: i64, bend: impl FnOnce(&mut Vec<u8>)) {
    let identity = Identity::load(&realm.folder("home").identity()).expect("the home's");
    let record = VolumeRecord {
        volume: volume(),
        home: identity.principal().clone(),
        key: identity.key().public().clone(),
        address: address.into(),
        epoch: Epoch(1),
        raises: Vec::new(),
    };
    let mut signed = trust::signed::sign(&identity, VOLUME_KIND, &record).expect("signed");
    bend(&mut signed);
    let learned = UnixMs(realm.world.clock.unix().0.saturating_add_signed(-1000 * ago));
    let file = realm.folder("alice").record(&volume());
    fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    fs::write(file, wire::cbor::to_vec(&Kept { learned, signed })).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_record_spares_the_name_server_while_it_is_young_signed_and_right() {
    let realm = Realm::start().await;
    let file = realm.folder("alice").record(&volume());
    let alice = realm.client("alice");
    let files = alice.volume(&volume()).await.expect("the name server answers");
    files.put_bytes(&path("a"), PutOptions::default(), b"one".to_vec()).await.expect("put");
    assert_eq!(alice.pool().counts().handshakes, 1, "the name server is the home, and one connection is enough");
    assert!(file.exists(), "what was learned is kept");

    let again = without_names(&realm).volume(&volume()).await.expect("nobody was asked");
    assert_eq!(&again.read(&path("a"), 10).await.expect("read")[..], b"one");
    // What is learned in the meantime by other means still ends after its time.
    assert!(without_names(&realm).volume_record(&volume()).await.is_err(), "asked of a name server alone");

    let address = realm.home().address().to_string();
    let minutes = |m: i64| 60 * m;
    for (what, address, ago, bent, believed) in [
        ("young", address.as_str(), minutes(9), false, true),
        ("old", &address, minutes(11), false, false),
        ("of the future", &address, minutes(-5), false, false),
        ("altered", &address, 0, true, false),
        ("wrong by now", "127.0.0.1:2", 0, false, false),
    ] {
        let bend = |signed: &mut Vec<u8>| {
            let last = signed.len() - 1;
            signed[last] ^= u8::from(bent);
        };
        keep(&realm, address, ago, bend);
        let found = without_names(&realm).volume(&volume()).await;
        assert_eq!(found.is_ok(), believed, "{what}");
        // Who can ask does, and is none the worse.
        keep(&realm, address, ago, bend);
        let files = realm.files("alice").await;
        assert_eq!(&files.read(&path("a"), 10).await.expect(what)[..], b"one", "{what}");
    }
    fs::write(&file, "no record").expect("written");
    assert!(without_names(&realm).volume(&volume()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_record_is_dropped_with_the_first_answer_that_does_not_fit() {
    let mut realm = Realm::start().await;
    let file = realm.folder("alice").record(&volume());
    let files = realm.files("alice").await;
    assert!(file.exists());
    let missing = files.stat(&path("none")).await.expect_err("not there");
    assert_eq!((missing.code, file.exists()), (Code::NotFound, true), "the home answers for its own files");
    drop(realm.home.take());
    let problem = files.stat(&path("none")).await.expect_err("away");
    assert_eq!((problem.code, file.exists()), (Code::Unavailable, false), "{problem}");
}
