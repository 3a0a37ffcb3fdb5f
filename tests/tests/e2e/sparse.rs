//! A file above 1 GiB, mostly holes: put, read back through a relay, and sparse again where it lands.

use std::os::unix::fs::{FileExt, MetadataExt};
use webos_tests::Realm;

const SIZE: u64 = (1 << 30) + (5 << 20) + 17;

#[test]
fn a_file_above_1_gib_goes_up_and_comes_back_through_a_relay_with_its_holes() {
    let realm = Realm::start();
    let r1 = realm.node("r1");
    let alice = &realm.alice;
    let (up, down) = (alice.beside().join("up"), alice.beside().join("down"));
    let file = std::fs::File::create(&up).expect("made");
    file.set_len(SIZE).expect("sparse");
    let parts: Vec<(u64, Vec<u8>)> = [0, SIZE / 2, SIZE - 3000].map(|at| (at, filled(at, 3000))).into();
    for (at, bytes) in &parts {
        file.write_all_at(bytes, *at).expect("written");
    }
    let path = realm.path("large");
    alice.ok(["put", "up", &path]);
    alice.ok(["acl", "grant", "server/r1", "r+relay", Realm::VOLUME, "-r"]);
    alice.ok(["get", "--from", &format!("r1@{}", r1.address), &path, "down"]);
    let landed = std::fs::File::open(&down).expect("landed");
    for (at, bytes) in &parts {
        let mut found = vec![1; bytes.len() + 9];
        let start = at.saturating_sub(9);
        let len = landed.read_at(&mut found, start).expect("readable");
        let before = usize::try_from(at - start).expect("small");
        assert!(len >= before + bytes.len() && found[..before].iter().all(|byte| *byte == 0), "before {at}");
        assert!(found[before..before + bytes.len()] == bytes[..], "at {at}");
    }
    let metadata = landed.metadata().expect("there");
    assert_eq!(metadata.len(), SIZE);
    assert!(metadata.blocks() * 512 < 16 << 20, "{} blocks on disk", metadata.blocks());
}

/// Bytes that differ by place and are not zero.
fn filled(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| u8::try_from((at * 31 + seed) % 250 + 1).expect("a byte")).collect()
}
