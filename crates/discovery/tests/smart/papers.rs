//! Documents decide who is asked: with a paper missing, ended, forged or old, a surrogate gets no request at all.

use crate::world::{Papers, Realm, content};
use http::HeaderMap;
use std::time::Duration;
use terms::{Code, Epoch, Serial, VolumePath};
use webos_discovery::smart::SmartClient;

async fn asked_of_surrogate(papers: Papers) -> (usize, bool) {
    let realm = Realm::new(1, content(0, 1)).await;
    realm.publish(Serial(2), papers);
    let client = realm.client().await;
    let mut answered = true;
    for _ in 0..5 {
        answered &= get(&client).await;
    }
    let asked = realm.nodes[1].asked();
    realm.shutdown().await;
    (asked, answered)
}

async fn get(client: &SmartClient) -> bool {
    let path = VolumePath::new("file.bin").expect("valid");
    client.request(&path, &HeaderMap::new(), &mut Vec::new()).await.is_ok()
}

#[tokio::test]
async fn a_surrogate_with_good_papers_is_asked() {
    let (asked, answered) = asked_of_surrogate(Papers::default()).await;
    assert!(asked == 5 && answered, "{asked} of 5");
}

#[tokio::test]
async fn a_surrogate_with_bad_papers_gets_no_request() {
    let good = Papers::default();
    for (what, papers) in [
        ("a right that has ended", Papers { right_left: Duration::ZERO, ..good }),
        ("a table of six seconds", Papers { table_age: Duration::from_secs(6), ..good }),
        ("a right of an old epoch", Papers { right_epoch: Epoch(0), ..good }),
        ("a right that it signed itself", Papers { self_signed: true, ..good }),
        ("not active any more", Papers { active_for: Duration::ZERO, ..good }),
    ] {
        assert_eq!(asked_of_surrogate(papers).await, (0, true), "{what}: the home answers all");
    }
}

#[tokio::test]
async fn a_hostile_surrogate_is_left_when_its_papers_end() {
    let realm = Realm::new(1, content(0, 1)).await;
    realm.publish(Serial(2), Papers { active_for: Duration::from_millis(600), ..Papers::default() });
    let client = realm.client().await;
    assert!(get(&client).await);
    assert_eq!(realm.nodes[1].asked(), 1);
    let began = realm.world.clock.boot();
    while realm.world.clock.boot().since(began) < Duration::from_millis(650) {
        assert!(get(&client).await);
    }
    let asked = realm.nodes[1].asked();
    for _ in 0..5 {
        assert!(get(&client).await);
    }
    assert_eq!(realm.nodes[1].asked(), asked, "the surrogate still answers, but nobody asks it");
    assert!(realm.nodes[0].asked() >= 5);
    realm.shutdown().await;
}

#[tokio::test]
async fn a_lower_serial_never_replaces_a_higher_one_and_a_damaged_cache_is_dropped() {
    let realm = Realm::new(0, content(0, 1)).await;
    realm.publish(Serial(7), Papers::default());
    assert_eq!(realm.client().await.certificate().value().serial, Serial(7));
    realm.silence_names();
    assert_eq!(realm.client().await.certificate().value().serial, Serial(7), "from the cache");
    std::fs::write(realm.cache(), b"damaged").expect("valid");
    let problem = realm.try_client().await.err().expect("no names and no cache");
    assert_eq!(problem.code, Code::Unavailable);
    assert!(!realm.cache().exists(), "the damaged entry is gone");
    realm.publish(Serial(3), Papers::default());
    assert_eq!(realm.client().await.certificate().value().serial, Serial(3));
    realm.publish(Serial(9), Papers::default());
    let client = realm.client().await;
    assert_eq!(client.certificate().value().serial, Serial(9));
    realm.publish(Serial(8), Papers::default());
    assert_eq!(realm.client().await.certificate().value().serial, Serial(9), "the cache knows a newer one");
    realm.shutdown().await;
}

#[tokio::test]
async fn a_certificate_of_another_signer_is_refused() {
    let realm = Realm::new(0, content(0, 1)).await;
    let other: terms::Principal = "spiffe://lab.example/service/other".parse().expect("valid");
    let own = realm.authority().issue_identity(&other, None, realm.world.clock.unix()).expect("valid");
    realm.publish_signed_by(&own);
    let problem = realm.try_client().await.err().expect("refused");
    assert!(problem.detail.contains("signed by nobody who may"), "{problem}");
    realm.shutdown().await;
}
