//! The reverse proxy as its listener calls it: whom it answers, and that a dying server is not seen through it.

use crate::node::Manner;
use crate::world::{Realm, content};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use webos_discovery::smart::Proxy;

const HOST: &str = "site.lab.example.localhost:8470";

fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).expect("valid")).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("valid").into_parts().0
}

fn proxy(realm: &Realm) -> Proxy {
    Proxy::new(&realm.world, realm.pool(), realm.trust.clone())
}

async fn check(proxy: &Proxy, parts: Parts, expected: StatusCode) -> Vec<u8> {
    let what = format!("{} {} {:?}", parts.method, parts.uri, parts.headers);
    let response = proxy.answer(&parts).await;
    assert_eq!(response.status(), expected, "{what}");
    for (name, _) in response.headers() {
        let internal = name.as_str().starts_with("webos-") || name == http::header::SET_COOKIE;
        assert!(!internal, "{what}: {name} is passed on");
    }
    wire::read_body(response.into_body(), 64 << 20).await.expect("a whole body").to_vec()
}

#[tokio::test]
async fn it_answers_readers_of_known_services_only() {
    let realm = Realm::new(0, content(0, 1)).await;
    let proxy = proxy(&realm);
    let here = ("host", HOST);
    for (method, path, fields, status) in [
        ("GET", "/file.bin", vec![here], 200),
        ("GET", "/file.bin", vec![("host", "site.lab.example:8470")], 200),
        ("GET", "/file.bin", vec![("host", "Site.LAB.example.:8470")], 200),
        ("HEAD", "/file.bin", vec![here], 200),
        ("GET", "/file.bin", vec![here, ("origin", "http://site.lab.example.localhost:8470")], 200),
        ("GET", "/missing", vec![here], 404),
        ("GET", "/../file.bin", vec![here], 400),
        ("GET", "/%2e%2e/file.bin", vec![here], 400),
        ("POST", "/file.bin", vec![here], 501),
        ("GET", "/file.bin", vec![], 400),
        ("GET", "/file.bin", vec![("host", "127.0.0.1:8470")], 400),
        ("GET", "/file.bin", vec![("host", "localhost")], 400),
        ("GET", "/file.bin", vec![("host", "evil.example")], 400),
        ("GET", "/file.bin", vec![("host", "site.lab.example.localhost.evil.example")], 400),
        ("GET", "/file.bin", vec![here, ("origin", "http://evil.example")], 403),
        ("GET", "/file.bin", vec![here, ("origin", "null")], 403),
        ("GET", "/file.bin", vec![here, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], 403),
        ("GET", "/file.bin", vec![here, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], 200),
    ] {
        let status = StatusCode::from_u16(status).expect("valid");
        check(&proxy, request(method, path, &fields), status).await;
    }
    realm.shutdown().await;
}

#[tokio::test]
async fn ranges_and_conditions_hold_and_bodies_are_whole() {
    let file = content(9, 2);
    let realm = Realm::new(1, file.clone()).await;
    let proxy = proxy(&realm);
    let get = |fields: &[(&str, &str)]| request("GET", "/file.bin", &[&[("host", HOST)], fields].concat());
    realm.nodes[1].be(Manner::CutOnce(5_000_000));
    assert!(check(&proxy, get(&[]), StatusCode::OK).await == file, "a cut is not seen");
    let part = check(&proxy, get(&[("range", "bytes=1048570-1048580")]), StatusCode::PARTIAL_CONTENT).await;
    assert_eq!(part, file[1_048_570..=1_048_580]);
    let tail = check(&proxy, get(&[("range", "bytes=-5")]), StatusCode::PARTIAL_CONTENT).await;
    assert_eq!(tail, file[file.len() - 5..]);
    check(&proxy, get(&[("range", "bytes=99999999-")]), StatusCode::RANGE_NOT_SATISFIABLE).await;
    let response = proxy.answer(&get(&[])).await;
    let etag = response.headers()["etag"].to_str().expect("ASCII").to_string();
    drop(response);
    assert_eq!(check(&proxy, get(&[("if-none-match", &etag)]), StatusCode::NOT_MODIFIED).await, b"");
    let weak = format!("W/{etag}");
    assert_eq!(check(&proxy, get(&[("if-none-match", &weak)]), StatusCode::NOT_MODIFIED).await, b"");
    let part = [("range", "bytes=10-19"), ("if-range", &etag)];
    assert_eq!(check(&proxy, get(&part), StatusCode::PARTIAL_CONTENT).await, file[10..20]);
    for other in [&weak, "\"other\"", "Wed, 21 Oct 2015 07:28:00 GMT", ""] {
        let whole = check(&proxy, get(&[("range", "bytes=10-19"), ("if-range", other)]), StatusCode::OK).await;
        assert!(whole == file, "a part of another version is no use: {other}");
    }
    check(&proxy, get(&[("if-range", &weak)]), StatusCode::OK).await;
    realm.nodes[1].be(Manner::Flip(3_000_000));
    assert!(check(&proxy, get(&[]), StatusCode::OK).await == file, "a lie is not passed on");
    realm.shutdown().await;
}

#[tokio::test]
async fn readers_that_pause_do_not_keep_the_next_one_from_opening() {
    let file = content(12, 1);
    let realm = Realm::new(0, file.clone()).await;
    let proxy = proxy(&realm);
    let parts = request("GET", "/file.bin", &[("host", HOST)]);
    let mut paused = Vec::new();
    // Each leaves more than a block lying; together more than the window of one connection.
    for reader in 0..8 {
        let opened = tokio::time::timeout(std::time::Duration::from_secs(20), proxy.answer(&parts)).await;
        let opened = opened.unwrap_or_else(|_| panic!("reader {reader} waits for the others"));
        assert_eq!(opened.status(), StatusCode::OK, "reader {reader}");
        paused.push(opened);
    }
    for opened in paused {
        let bytes = wire::read_body(opened.into_body(), 64 << 20).await.expect("a whole body");
        assert!(bytes == file, "the file differs");
    }
    realm.shutdown().await;
}
