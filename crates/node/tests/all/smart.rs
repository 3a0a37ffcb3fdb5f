//! The smart client against a real home: a download is whole, resumes, and notices a change.

use crate::realm::{Realm, path};
use crate::service::{published, service};
use client::{Condition, PutOptions};
use discovery::smart::{Fetch, FetchEvent, SmartClient, part_of};
use std::time::Duration;
use terms::Code;

async fn smart(realm: &Realm) -> SmartClient {
    let alice = realm.client("alice");
    let pool = wire::Pool::new(&realm.world, None, std::sync::Arc::new(alice.trust().clone()));
    SmartClient::open(&realm.world, pool, alice.trust().clone(), service(), None).await.expect("a service")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_whole_and_resumes_what_is_there() {
    let realm = Realm::start().await;
    published(&realm).await;
    let content: Vec<u8> = (0..20_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let put = PutOptions { condition: Condition::None, parents: true, operation: None };
    realm.files("alice").await.put_bytes(&path("www/large"), put, content.clone()).await.expect("put");
    let client = smart(&realm).await;
    let to = realm.folder("large").path().to_path_buf();
    let what = Fetch { path: path("large"), to: to.clone(), patience: Duration::from_secs(5) };
    // What an earlier download left: three whole blocks, and one that is damaged.
    let mut part = content[..(4 << 20)].to_vec();
    part[(3 << 20) + 7] ^= 1;
    std::fs::write(part_of(&to), part).expect("written");
    let mut events = Vec::new();
    let fetched = client.fetch(&what, &mut |event| events.push(event)).await.expect("fetched");
    assert_eq!((fetched.size, fetched.resumed), (20_000_000, 3 << 20));
    assert_eq!(std::fs::read(&to).expect("there"), content);
    let received: u64 = fetched.counts.iter().map(|count| count.received - count.discarded).sum();
    assert!(received <= 20_000_000, "{:?}", fetched.counts);
    assert!(events.contains(&FetchEvent::Began { size: 20_000_000, have: 3 << 20 }));
    let missing = Fetch { path: path("none"), ..what };
    assert_eq!(client.fetch(&missing, &mut |_| {}).await.expect_err("nothing there").code, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_any_server_is_waited_for_and_then_named() {
    let mut realm = Realm::start().await;
    published(&realm).await;
    let client = smart(&realm).await;
    realm.home.take().expect("runs").stop().await;
    let to = realm.folder("x").path().to_path_buf();
    let what = Fetch { path: path("big"), to, patience: Duration::from_millis(800) };
    let mut waited = false;
    let ended = client.fetch(&what, &mut |event| waited |= matches!(event, FetchEvent::Waiting { .. })).await;
    assert_eq!(ended.expect_err("nobody serves").code, Code::Unavailable);
    assert!(waited);
}
