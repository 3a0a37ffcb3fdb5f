//! A hostile client with every kind of chain that a forger can make, over real connections to a running home: honest
//! ones read the file, bent ones are refused there, each with a reason that is on record.

use crate::realm::{Realm, path, volume};
use client::{Client, PutOptions};
use foreign::{Case, Scene, cases};
use http::{HeaderValue, Request, StatusCode};
use std::collections::{BTreeMap, BTreeSet};
use trust::transfer::HEADER;
use wire::{Expect, Purpose, Target};
use world::World;

/// So many cases hold each kind several times.
const CASES: usize = 300;
/// The file that every honest chain may read.
const FILE: &str = "in/a/b/c/file";

/// The scene's realm with a running home, where alice has put the file.
async fn home_of(scene: &Scene) -> Realm {
    let realm = Realm::under(scene.authority.clone(), None).await;
    let alice = realm.files("alice").await;
    let put = PutOptions { parents: true, ..PutOptions::default() };
    alice.put_bytes(&path(FILE), put, b"content".to_vec()).await.expect("put");
    realm
}

fn header(case: &Case) -> HeaderValue {
    use base64::Engine as _;
    let digits = case.chain.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits");
    let bytes: Vec<u8> = digits.map(byte).collect();
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    HeaderValue::from_str(&text).expect("a header")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bent_chain_is_refused_by_a_running_home() {
    let scene = Scene::in_world(&World::real());
    let realm = home_of(&scene).await;
    let home = realm.home();
    let target = Target {
        address: home.address().to_string(),
        expect: Expect::Principal(home.principal().clone()),
        purpose: Purpose::Bulk,
    };
    let url = format!("https://{}/{}/{FILE}", home.principal().dns_twin(), volume());
    let mut hostile: BTreeMap<String, Client> = BTreeMap::new();
    let (mut read, mut kinds, mut refused) = (0, BTreeSet::new(), 0);
    // A running home has its own clock: what is bent by looking at another time is shown elsewhere.
    let now = scene.now.secs() + 60;
    for case in cases(&scene, CASES).into_iter().filter(|case| case.now == now) {
        let client = hostile.entry(case.peer.clone()).or_insert_with(|| {
            let identity = scene.find(&case.peer).expect("somebody of the scene").clone();
            let folder = realm.folder("hostile");
            Client::with(folder, realm.world.clone(), Some(identity), home.client().trust().clone())
        });
        let mut request = Request::get(&url).body(wire::body::empty()).expect("a request");
        request.headers_mut().insert(HEADER, header(&case));
        let answer = client.pool().request(&target, request).await.expect("an answer");
        let status = answer.status();
        if case.expected && status == StatusCode::OK {
            read += 1;
            continue;
        }
        let problem = wire::problem_from(answer).await;
        if case.expected {
            // Honest, and for something else than this file.
            assert!(problem.detail.contains("does not grant it there"), "{}: {problem}", case.name);
            continue;
        }
        assert!(status.is_client_error() && status != StatusCode::NOT_FOUND, "{}: {status} {problem}", case.name);
        assert!(!problem.detail.is_empty() && !problem.detail.contains("does not grant it there"), "{}", case.name);
        refused += 1;
        kinds.insert(case.name.split(" (").next().unwrap_or_default().to_string());
    }
    println!("{read} honest chains read, {refused} bent ones of {} kinds refused", kinds.len());
    assert!(read >= 5 && kinds.len() >= 50, "{read} read, {} kinds: {kinds:?}", kinds.len());
}
