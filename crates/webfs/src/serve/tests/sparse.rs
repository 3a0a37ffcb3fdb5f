//! Long files with holes over HTTP: written in parts, read in ranges, with the nodes of their trees.

use super::{Fixture, filled, path, request};
use crate::gate::Ungated;
use crate::manifest::{NodePlace, Seeker, Step};
use crate::model::{MANIFEST_KIND, MANIFEST_TYPE, ManifestStatement, NODE_TYPE};
use http::request::Parts;
use std::sync::Arc;
use terms::Digest;

fn node_request(place: &str, root: &str) -> Parts {
    let mut parts = request("GET", &[("accept", NODE_TYPE), ("if-match", root)]);
    parts.uri = format!("https://node/data.lab.example/x?node={place}").parse().expect("a uri");
    parts
}

#[tokio::test]
async fn parts_of_a_file_are_written_and_read() {
    let home = Fixture::new(Arc::new(Ungated));
    assert_eq!(home.put("f", &[("content-range", "bytes 0-0/*")], b"x").await.status, 404, "a part of nothing");
    home.put("f", &[], b"hello").await;
    let put = async |range: &str, bytes: &[u8]| home.put("f", &[("content-range", range)], bytes).await;
    for (range, bytes, status) in [
        ("bytes 1-2/*", &b"EL"[..], 204),
        ("bytes 1-2/*", b"toolong", 400),
        ("bytes 1-9/*", b"short", 400),
        ("bytes 2-1/*", b"", 400),
        ("bytes 1-2/5", b"el", 400),
        ("bytes */5", b"x", 400),
        ("lines 1-2/*", b"el", 400),
        ("bytes +1-2/*", b"el", 400),
        ("bytes */7", b"", 204),
    ] {
        assert_eq!(put(range, bytes).await.status, status, "{range}");
    }
    assert_eq!(home.get("f", &[]).await.bytes(), b"hELlo\0\0");
    let stale = [("content-range", "bytes 0-0/*"), ("if-match", "\"00\"")];
    assert_eq!(home.put("f", &stale, b"x").await.status, 412);
    let again = [("content-range", "bytes 0-0/*"), ("webos-operation", "000102030405060708090a0b0c0d0e0f.7")];
    let etag = home.put("f", &again, b"x").await.header("etag").to_string();
    home.put("f", &[("content-range", "bytes */3")], b"").await;
    assert_eq!(home.put("f", &again, b"x").await.header("etag"), etag, "a retry is answered and not repeated");
    assert_eq!(home.get("f", &[]).await.bytes(), b"xEL");
}

#[tokio::test]
async fn ranges_and_nodes_of_a_sparse_file() {
    let home = Fixture::new(Arc::new(Ungated));
    home.put("f", &[], b"").await;
    let (size, middle, bytes) = (100_000_000_000u64, 50_000_000_000u64, filled(1_500_000));
    home.put("f", &[("content-range", &format!("bytes */{size}"))], b"").await;
    let part = format!("bytes {middle}-{}/*", middle + bytes.len() as u64 - 1);
    let root = home.put("f", &[("content-range", &part)], &bytes).await.header("etag").to_string();
    for (start, end, expected) in [
        (0, 9, vec![0; 10]),
        (middle - 3, middle + 1, [&[0, 0, 0][..], &bytes[..2]].concat()),
        (middle, middle + 1_499_999, bytes.clone()),
        (middle + 1_499_999, middle + 3_000_000, [&bytes[1_499_999..], &[0; 1_500_001]].concat()),
        (size - 2, size - 1, vec![0, 0]),
    ] {
        let answer = home.get("f", &[("range", &format!("bytes={start}-{end}"))]).await;
        assert_eq!((answer.status.as_u16(), answer.header("etag")), (206, &root[..]));
        assert!(answer.bytes() == expected, "{start}-{end}");
    }

    let signed = home.get("f", &[("accept", MANIFEST_TYPE)]).await;
    assert!(signed.bytes().len() < 9 << 10, "the root alone");
    let opened = trust::signed::open_with(signed.bytes(), MANIFEST_KIND, home.key.public());
    let statement: ManifestStatement = opened.expect("signed by the home");
    let mut seeker = Seeker::new(statement.manifest().expect("agrees with itself"));
    let index = usize::try_from(middle >> 20).expect("small");
    let mut fetched = Vec::new();
    let block = loop {
        match seeker.block(index) {
            Step::Block(block) => break block,
            Step::Hole(_) => panic!("it is written"),
            Step::Need(place, hash) => {
                let node = home.read("f", &node_request(&place.to_string(), &root)).await;
                seeker.learn(place, hash, node.bytes()).expect("the right node");
                fetched.push(place);
            }
        }
    };
    assert_eq!(fetched, [NodePlace { level: 2, number: 0 }, NodePlace::above(index as u64)]);
    let start = index << 20;
    let range = format!("bytes={start}-{}", start + (1 << 20) - 1);
    assert!(block.matches(home.get("f", &[("range", &range)]).await.bytes()));

    let other = format!("\"{}\"", Digest::of(b"another"));
    for (place, tag, status) in [
        ("3.0", &root, 200),
        ("1.0", &root, 404),
        ("1.999999", &root, 404),
        ("x", &root, 400),
        ("2.0", &other, 412),
    ] {
        assert_eq!(home.read("f", &node_request(place, tag)).await.status, status, "{place}");
    }
    home.put("g", &[], b"short").await;
    assert_eq!(home.read("g", &node_request("1.0", "*")).await.status, 404);
    assert!(home.store().lookup(&path("f")).await.is_ok());
}
