//! Reading: ranges, conditions, manifests, listings, damage, and proofs of other rights.

use super::{Answer, Fixture, filled, path, proof, request};
use crate::gate::Ungated;
use crate::limits::{BLOCK_BYTES, HEADER_MANIFEST_BLOCKS};
use crate::model::{
    FileKind, Listing, MANIFEST_KIND, MANIFEST_TYPE, Manifest, ManifestStatement, SignedManifest, etag_text,
};
use crate::serve::{Face, HomeFile, file};
use crate::store::Lookup;
use std::sync::Arc;
use terms::{Right, UnixMs};

const BLOCK: usize = BLOCK_BYTES as usize;

fn fixture() -> Fixture {
    Fixture::new(Arc::new(Ungated))
}

#[tokio::test]
async fn ranges_give_exactly_their_bytes() {
    let home = fixture();
    let whole = filled(3 * BLOCK + 500);
    home.store_file("f", &whole).await;
    let size = whole.len();
    for (range, expected) in [
        ("", Some(0..size)),
        ("bytes=0-0", Some(0..1)),
        ("bytes=0-", Some(0..size)),
        (&format!("bytes={}-{}", BLOCK - 1, BLOCK), Some(BLOCK - 1..BLOCK + 1)),
        (&format!("bytes={}-{}", BLOCK, 2 * BLOCK - 1), Some(BLOCK..2 * BLOCK)),
        (&format!("bytes={}-", 2 * BLOCK + 7), Some(2 * BLOCK + 7..size)),
        ("bytes=-500", Some(3 * BLOCK..size)),
        ("bytes=-1", Some(size - 1..size)),
        (&format!("bytes={size}-"), None),
    ] {
        let lines: Vec<_> = [("range", range)].into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let answer = home.get("f", &lines).await;
        let Some(bytes) = expected else {
            assert_eq!(
                (answer.status.as_u16(), answer.header("content-range")),
                (416, &*format!("bytes */{size}"))
            );
            continue;
        };
        assert_eq!(answer.status, if range.is_empty() { 200 } else { 206 }, "{range}");
        assert!(answer.bytes() == &whole[bytes.clone()], "{range}: other bytes");
        assert_eq!(answer.header("content-length"), bytes.len().to_string(), "{range}");
        if !range.is_empty() {
            let expected = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
            assert_eq!(answer.header("content-range"), expected, "{range}");
        }
    }
}

#[tokio::test]
async fn conditions_are_answered() {
    let home = fixture();
    home.store_file("f.txt", b"hello").await;
    let etag = etag_text(Manifest::of(b"hello").expect("small").root());
    let other = etag_text(Manifest::of(b"other").expect("small").root());
    for (lines, status, body) in [
        (vec![], 200, "hello"),
        (vec![("if-none-match", &*etag)], 304, ""),
        (vec![("if-none-match", &*other)], 200, "hello"),
        (vec![("if-match", &*etag)], 200, "hello"),
        (vec![("range", "bytes=1-2"), ("if-range", &*etag)], 206, "el"),
        (vec![("range", "bytes=1-2"), ("if-range", &*other)], 200, "hello"),
        (vec![("range", "bytes=9-"), ("if-range", &*other)], 200, "hello"),
        (vec![("range", "bytes=1-2"), ("if-none-match", &*etag)], 304, ""),
    ] {
        let answer = home.get("f.txt", &lines).await;
        assert_eq!((answer.status.as_u16(), answer.bytes()), (status, body.as_bytes()), "{lines:?}");
        assert_eq!(answer.header("etag"), etag, "{lines:?}");
    }
    let failed = home.get("f.txt", &[("if-match", &*other)]).await;
    assert_eq!((failed.status.as_u16(), failed.header("content-type")), (412, "application/problem+json"));
}

#[tokio::test]
async fn answers_describe_the_file_and_keep_it_powerless() {
    let home = fixture();
    home.store_file("d/page.html", b"<p>hello</p>").await;
    let answer = home.get("d/page.html", &[]).await;
    for (name, expected) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", "sandbox"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "private, no-cache"),
        ("accept-ranges", "bytes"),
        ("webos-version", "1.2"),
        ("webos-change", "2"),
        ("content-length", "12"),
    ] {
        assert_eq!(answer.header(name), expected, "{name}");
    }
    assert!(httpdate::parse_http_date(answer.header("last-modified")).is_ok());
    let head = home.read("d/page.html", &request("HEAD", &[("range", "bytes=1-2")])).await;
    assert_eq!((head.status.as_u16(), head.header("content-length"), head.bytes()), (200, "12", &b""[..]));
    assert_eq!(head.header("etag"), answer.header("etag"));
    let wrong = home.read("d/page.html", &request("POST", &[])).await;
    assert_eq!((wrong.status.as_u16(), wrong.header("allow")), (405, "GET, HEAD, PUT, DELETE"));

    let Lookup::Found(object) = home.store().lookup(&path("d/page.html")).await.expect("works") else { panic!() };
    let source = Arc::new(HomeFile::new(&home.home, object, home.store().change()).expect("a file"));
    let now = UnixMs(1);
    let service = file(&proof("d/page.html", Right::Read), source, &request("GET", &[]), Face::Service, now).await;
    let service = Answer::of(service).await;
    assert_eq!((service.status.as_u16(), service.header("content-security-policy")), (200, ""));
}

#[tokio::test]
async fn the_signed_manifest_travels_as_header_or_alone() {
    let home = fixture();
    let long = filled(HEADER_MANIFEST_BLOCKS * BLOCK + 1);
    for (at, bytes, in_header) in
        [("empty", &b""[..], true), ("short", b"x", true), ("full", &long[1..], true), ("long", &long, false)]
    {
        home.store_file(at, bytes).await;
        let answer = home.get(at, &[]).await;
        let header = SignedManifest::from_header(answer.header("webos-manifest")).filter(|m| !m.0.is_empty());
        assert_eq!(header.is_some(), in_header, "{at}");
        let alone = home.get(at, &[("accept", MANIFEST_TYPE)]).await;
        assert_eq!((alone.header("content-type"), alone.header("etag")), (MANIFEST_TYPE, ""), "{at}");
        assert_eq!(alone.header("content-length"), alone.bytes().len().to_string());
        if let Some(header) = header {
            assert_eq!(header.0, alone.bytes(), "{at}: signed once");
        }
        let opened = trust::signed::open_with(alone.bytes(), MANIFEST_KIND, home.key.public());
        let statement: ManifestStatement = opened.expect("signed by the home");
        assert_eq!((statement.path.as_str(), statement.size), (at, bytes.len() as u64));
        assert_eq!(statement.manifest(), Manifest::of(bytes), "{at}");
        assert_eq!(answer.header("webos-version"), statement.object_version().to_string());
        assert_eq!(answer.header("etag"), etag_text(statement.root));
    }
}

#[tokio::test]
async fn a_proof_of_something_else_is_no_proof() {
    let home = fixture();
    home.store_file("f", b"secret").await;
    home.store_file("g", b"open").await;
    let Lookup::Found(object) = home.store().lookup(&path("f")).await.expect("works") else { panic!() };
    for wrong in [proof("g", Right::Read), proof("f", Right::Write), proof("", Right::Read)] {
        let answer = home.home.get(&wrong, object.clone(), home.store().change(), &request("GET", &[])).await;
        let answer = Answer::of(answer).await;
        assert_eq!(answer.status, 403);
        assert!(!String::from_utf8_lossy(answer.bytes()).contains("secret"));
    }
    let Lookup::Found(root) = home.store().lookup(&path("")).await.expect("works") else { panic!() };
    let answer = home.home.get(&proof("f", Right::Read), root, home.store().change(), &request("GET", &[])).await;
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn listings_in_three_forms() {
    let home = fixture();
    for name in ["d/<script>\"'&", "d/\u{1b}[31m", "d/sub/x", "d/a b%?#"] {
        home.store_file(name, b"12345").await;
    }
    let cbor = home.get("d", &[("accept", "application/cbor")]).await;
    let listing: Listing = wire::cbor::from_slice(cbor.bytes()).expect("a listing");
    let names: Vec<_> = listing.entries.iter().map(|e| (e.name.as_str(), e.kind, e.size)).collect();
    let file = FileKind::File;
    let expected =
        [("\u{1b}[31m", file, 5), ("<script>\"'&", file, 5), ("a b%?#", file, 5), ("sub", FileKind::Directory, 0)];
    assert_eq!((names.as_slice(), listing.more), (&expected[..], false));
    assert_eq!((cbor.header("etag"), cbor.header("content-security-policy")), ("", "sandbox"));

    let json = home.get("d", &[("accept", "*/*")]).await;
    assert_eq!(json.header("content-type"), "application/json");
    assert_eq!(serde_json::from_slice::<Listing>(json.bytes()).ok(), Some(listing));

    let html = home.get("d", &[("accept", "text/html,application/xhtml+xml;q=0.9")]).await;
    let page = String::from_utf8_lossy(html.bytes()).into_owned();
    for (text, there) in [
        ("&lt;script&gt;&quot;&#39;&amp;", true),
        ("<script>", false),
        ("\u{1b}", false),
        ("href=\"/data.lab.example/d/a%20b%25%3F%23\"", true),
        ("href=\"/data.lab.example/\"", true),
        ("sub/</a>", true),
    ] {
        assert_eq!(page.contains(text), there, "{text:?} in {page}");
    }
    let mut after = request("GET", &[("accept", "application/cbor")]);
    after.uri = "https://node/data.lab.example/d?x=1&after=%3Cscript%3E%22%27%26".parse().expect("a URI");
    let rest: Listing = wire::cbor::from_slice(home.read("d", &after).await.bytes()).expect("a listing");
    assert_eq!(rest.entries.first().map(|entry| entry.name.as_str()), Some("a b%?#"));
    after.uri = "https://node/data.lab.example/d?after=%ff".parse().expect("a URI");
    assert_eq!(home.read("d", &after).await.status, 400);
}

#[tokio::test]
async fn damage_is_an_error_or_a_broken_body_and_never_wrong_bytes() {
    for (damaged, status, breaks) in [(0, 500, false), (1, 200, true)] {
        let home = fixture();
        let whole = filled(2 * BLOCK + 9);
        home.store_file("f", &whole).await;
        let blocks = home.dir.path().join("v/blocks");
        let victim = &whole[damaged * BLOCK..(damaged + 1) * BLOCK];
        for shard in std::fs::read_dir(blocks).expect("a folder") {
            for file in std::fs::read_dir(shard.expect("an entry").path()).expect("a folder") {
                let file = file.expect("an entry").path();
                let mut bytes = std::fs::read(&file).expect("readable");
                if bytes == victim {
                    bytes[77] ^= 1;
                    std::fs::write(&file, bytes).expect("written");
                }
            }
        }
        let answer = home.get("f", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.body.is_err()), (status, breaks), "block {damaged}");
        let text = answer.body.map_or_else(|error| error, |body| String::from_utf8_lossy(&body).into_owned());
        assert!(text.contains("is damaged"), "{text}");
        let after = home.get("f", &[("range", &*format!("bytes={}-", 2 * BLOCK))]).await;
        assert_eq!(after.bytes(), &whole[2 * BLOCK..], "the rest can still be read");
    }
}
