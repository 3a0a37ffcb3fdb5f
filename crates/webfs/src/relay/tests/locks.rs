//! Advisory locks over real sessions: who waits, what is seen after, what a lost one may not do.

use super::world::{HomeWorld, cat, path};
use crate::rules::LockMode;
use http::StatusCode;
use std::time::Duration;
use terms::Code;

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_next_holder_of_a_lock_sees_what_was_published_under_it() {
    let (home, one, two) =
        (HomeWorld::new().await, tempfile::tempdir().expect("1"), tempfile::tempdir().expect("2"));
    home.put("a", b"0").await;
    let (first, second) = (home.link("n1"), home.link("n2"));
    let (first, second) = (home.replica(&first, one.path()).await, home.replica(&second, two.path()).await);
    assert_eq!(cat(&second, "a").await, Ok(b"0".to_vec()));

    let lock = first.lock(&path("a"), LockMode::Exclusive, LONG).await.expect("free");
    let taken = second.lock(&path("a"), LockMode::Shared, Duration::ZERO).await.expect_err("taken");
    assert_eq!(
        (taken.code, taken.detail.as_str()),
        (Code::Timeout, "/a is not locked: somebody else holds the lock")
    );

    let at = path("a");
    let next = second.lock(&at, LockMode::Exclusive, LONG);
    let work = async {
        assert_eq!(home.put_under(&lock.epoch().to_string(), "a", b"1").await, StatusCode::NO_CONTENT);
        drop(lock);
        first.state().await.expect("runs")
    };
    let (next, _) = tokio::join!(next, work);
    let next = next.expect("it was given back");
    assert_eq!(cat(&second, "a").await, Ok(b"1".to_vec()));
    assert!(!next.is_lost());
}

#[tokio::test]
async fn a_lock_that_was_lost_publishes_nothing() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("a", b"0").await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    let mut lock = replica.lock(&path("a"), LockMode::Exclusive, LONG).await.expect("free");
    link.cut();
    home.advance(11);
    assert_eq!(home.put_under(&lock.epoch().to_string(), "a", b"late").await, StatusCode::LOCKED);
    assert_eq!(home.put_under("nonsense", "a", b"late").await, StatusCode::BAD_REQUEST);
    link.mend();
    lock.lost().await;
    assert!(lock.is_lost());
    assert_eq!(cat(&replica, "a").await, Ok(b"0".to_vec()));
    let again = replica.lock(&path("a"), LockMode::Exclusive, LONG).await.expect("free");
    assert!(again.epoch() > lock.epoch());
}

#[tokio::test]
async fn a_lock_survives_a_crash_of_the_home_and_a_broken_stream() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("a", b"0").await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    let lock = replica.lock(&path("a"), LockMode::Exclusive, LONG).await.expect("free");
    link.cut();
    home.crash().await;
    home.start().await;
    link.mend();
    assert_eq!(home.put_under(&lock.epoch().to_string(), "a", b"1").await, StatusCode::NO_CONTENT);
    link.cut();
    link.mend();
    assert_eq!(home.put_under(&lock.epoch().to_string(), "a", b"2").await, StatusCode::NO_CONTENT);
    assert!(!lock.is_lost());
    drop(lock);
    let next = replica.lock(&path("a"), LockMode::Exclusive, LONG).await.expect("free");
    assert_eq!(home.put_under(&next.epoch().to_string(), "a", b"3").await, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn whoever_may_not_read_may_not_lock_and_whoever_goes_away_waits_no_more() {
    let (home, one, two) =
        (HomeWorld::new().await, tempfile::tempdir().expect("1"), tempfile::tempdir().expect("2"));
    let (first, stranger) = (home.link("n1"), home.link("n9"));
    let (first, stranger) = (home.replica(&first, one.path()).await, home.replica(&stranger, two.path()).await);
    let refused = stranger.lock(&path("a"), LockMode::Shared, LONG).await.expect_err("no rights");
    assert_eq!(refused.code, Code::Denied);
    let lock = first.lock(&path("a"), LockMode::Exclusive, LONG).await.expect("free");
    {
        let at = path("a");
        tokio::select! {
            _ = first.lock(&at, LockMode::Exclusive, LONG) => panic!("it is held"),
            () = async { first.state().await.map(drop).expect("runs") } => {}
        }
    }
    drop(lock);
    first.lock(&path("a"), LockMode::Exclusive, LONG).await.expect("nobody holds it or waits for it");
}
