//! Manifests, statements and their texts, in tables.

use super::*;
use crate::limits::BLOCK_BYTES;

fn block(len: u64) -> BlockRef {
    BlockRef { len: u32::try_from(len).expect("small"), hash: Digest::of(&len.to_le_bytes()) }
}

#[test]
fn lengths_of_blocks_are_checked() {
    let full = BLOCK_BYTES;
    for (lengths, ok) in [
        (vec![], true),
        (vec![1], true),
        (vec![full], true),
        (vec![full, 1], true),
        (vec![0], false),
        (vec![full, 0], false),
        (vec![1, 1], false),
        (vec![full + 1], false),
        (vec![full; FLAT_BLOCKS], true),
        (vec![full; FLAT_BLOCKS + 1], true),
    ] {
        let count = lengths.len();
        let made = Manifest::new(lengths.iter().map(|len| block(*len)).collect());
        assert_eq!(made.is_ok(), ok, "{count} blocks");
        if let Ok(manifest) = made {
            assert_eq!(manifest.size(), lengths.iter().sum::<u64>());
        }
    }
}

#[test]
fn bytes_and_blocks_correspond() {
    let manifest = Manifest::new(vec![block(BLOCK_BYTES), block(BLOCK_BYTES), block(5)]).expect("valid");
    let size = manifest.size();
    for (bytes, blocks) in [
        (0..size, 0..3),
        (0..1, 0..1),
        (BLOCK_BYTES - 1..BLOCK_BYTES + 1, 0..2),
        (BLOCK_BYTES..BLOCK_BYTES + 1, 1..2),
        (size - 1..size, 2..3),
        (size..size + 9, 0..0),
        (3..3, 0..0),
        (0..u64::MAX, 0..3),
    ] {
        assert_eq!(manifest.blocks_of(&bytes), blocks, "{bytes:?}");
    }
    assert_eq!(manifest.bytes_of(2), 2 * BLOCK_BYTES..size);
}

#[test]
fn a_statement_must_agree_with_itself() {
    let manifest = Manifest::of(b"hello").expect("small");
    let entry = Entry {
        kind: FileKind::File,
        size: 5,
        etag: Some(manifest.root()),
        version: ObjectVersion { epoch: Epoch(1), version: Version(7) },
        modified: UnixMs(9),
        policy: Policy::Ttl(9),
    };
    let volume = "data.lab.example".parse().expect("valid");
    let statement = ManifestStatement::new(&volume, &VolumePath::new("a").expect("valid"), &entry, &manifest);
    assert_eq!(statement.manifest().as_ref(), Ok(&manifest));
    assert_eq!(statement.entry(), entry);
    for altered in [
        ManifestStatement { size: 6, ..statement.clone() },
        ManifestStatement { root: Digest::of(b""), ..statement.clone() },
        ManifestStatement { blocks: vec![BlockRef::of(b"hellO")], ..statement.clone() },
        ManifestStatement { top: Some(Node::default().encode()), ..statement.clone() },
        ManifestStatement { top: Some(Node::default().encode()), blocks: vec![], ..statement.clone() },
    ] {
        assert!(altered.manifest().is_err());
    }
    let mut bytes = Vec::new();
    ciborium::into_writer(&statement, &mut bytes).expect("encodes");
    let back: ManifestStatement = ciborium::from_reader(&bytes[..]).expect("decodes");
    assert_eq!(back, statement);
}

#[test]
fn etags_and_versions_as_text() {
    let root = Digest::of(b"x");
    assert_eq!(etag_root(&etag_text(root)), Some(root));
    for other in ["", "\"\"", "W/\"00\"", "\"00\"", "*"] {
        assert_eq!(etag_root(other), None, "{other}");
    }
    let version = ObjectVersion { epoch: Epoch(2), version: Version(40) };
    assert_eq!(version.to_string().parse(), Ok(version));
    assert!("2".parse::<ObjectVersion>().is_err());
    assert!(version > ObjectVersion { epoch: Epoch(1), version: Version(99) });
}

#[test]
fn links_stay_in_the_volume() {
    for (at, target, expected) in [
        ("a/l", "x", Some("a/x")),
        ("a/l", "./x//y/", Some("a/x/y")),
        ("a/l", "../x", Some("x")),
        ("a/l", "/x/y", Some("x/y")),
        ("a/l", "..", Some("")),
        ("a/l", "/", Some("")),
        ("a/l", "../..", None),
        ("l", "../x", None),
        ("l", "a/../../x", None),
        ("l", "/..", None),
        ("l", "", None),
        ("l", "a\0b", None),
    ] {
        let found = link_target(&VolumePath::new(at).expect("valid"), target);
        assert_eq!(found.as_ref().map(VolumePath::as_str), expected, "{at} -> {target:?}");
    }
    assert_eq!(link_target(&VolumePath::new("l").expect("valid"), &"a/".repeat(MAX_LINK_BYTES)), None);
}
