//! What `cargo xtask counts` counts the instructions of: `counted decision|chain TIMES`.

use std::hint::black_box;
use terms::{Right, Who};
use trust::transfer::verify;
use trust::{AllStand, Asker, Bucket, Chain, Decision, NoGroups, Question, decide};
use webos_foreign::{Scene, honest_chain};

fn decision(scene: &Scene, times: usize) {
    let at = "data.lab.example/in/a".parse().expect("a place");
    let entries = ["server/n1", "server/n2", "user/alice", "user/mallory"]
        .map(|name| (Who::Principal(scene.identity(name).principal().clone()), "rw".parse().expect("rights")));
    let bucket = Bucket::new(entries).expect("a list");
    let asker = Asker { peer: Some(scene.peer("user/alice")), chain: None, token: None };
    let (now, right) = (scene.now, Right::Read);
    let question =
        Question { now, asker, location: &at, right, bucket: &bucket, groups: &NoGroups, standing: &AllStand };
    for _ in 0..times {
        assert!(matches!(decide(black_box(&question)), Decision::Granted { .. }));
    }
}

fn chain(scene: &Scene, times: usize) {
    let (bytes, last) = honest_chain(scene, 4);
    let chain = Chain::decode(&bytes).expect("a chain");
    for _ in 0..times {
        verify(black_box(&chain), scene.peer(last), &scene.store, scene.now).expect("an honest chain");
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let times = words.get(1).and_then(|times| times.parse().ok()).expect("how many times");
    let scene = Scene::new();
    match words.first().map(String::as_str) {
        Some("decision") => decision(&scene, times),
        Some("chain") => chain(&scene, times),
        _ => panic!("decision or chain"),
    }
}
