//! Relays below relays when things break: who waits, for how long, and who serves until when.

use super::chain::Under;
use super::world::{HomeWorld, cat, path, until};
use crate::relay::Replica;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use terms::Code;

/// A relay `n1` on `dir` whose home has the files `a` and `b`.
async fn relayed(dir: &std::path::Path) -> (Arc<HomeWorld>, Arc<super::world::TestLink>, Replica) {
    let home = HomeWorld::new().await;
    home.put("a", b"old").await;
    home.put("b", b"b").await;
    let link = home.link("n1");
    let relay = home.replica(&link, dir).await;
    relay.connected().await.expect("connects");
    (home, link, relay)
}

/// Lets the relay do what is due, and waits until it has renewed.
async fn renews(relay: &Replica) {
    until(async || relay.state().await.expect("runs").trusted_for > Duration::from_secs(6)).await;
}

#[tokio::test]
async fn a_hung_holder_below_delays_a_change_at_most_one_lease_and_the_relay_keeps_its_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let (home, link, relay) = relayed(dir.path()).await;
    let below = Under::connected(&home, &relay, ("n2", "n1")).await;
    for at in ["a", "b"] {
        cat(&below.replica, at).await.expect("reads");
    }
    let asked = link.opened.load(Ordering::SeqCst);
    below.link.says.forget_permits(usize::MAX);
    home.advance(4);
    renews(&relay).await;
    let coherence = home.coherence();
    let mut change = Box::pin(home.put("a", b"new"));
    let recalled = async {
        until(async || !coherence.state().await.expect("runs").waiting.is_empty()).await;
        home.advance(5);
        renews(&relay).await;
        // Nine seconds after the hung holder was granted ten.
        until(async || relay.state().await.expect("runs").callbacks_below > 0).await;
    };
    tokio::select! {
        () = &mut change => panic!("the holder below may still trust its copy"),
        () = recalled => {}
    }
    assert_eq!(coherence.state().await.expect("runs").changes, 1);
    home.advance(1);
    let lease_of_the_relay = async {
        until(async || relay.state().await.expect("runs").callbacks_below == 0).await;
    };
    tokio::join!(change, lease_of_the_relay);
    assert_eq!(coherence.state().await.expect("runs").sessions, 1, "the relay was not struck off");
    assert!(relay.is_trusted());
    assert_eq!(cat(&relay, "b").await, Ok(b"b".to_vec()));
    assert_eq!(link.opened.load(Ordering::SeqCst), asked, "what did not change is still held");
    assert_eq!(cat(&relay, "a").await, Ok(b"new".to_vec()));
}

#[tokio::test]
async fn below_a_relay_that_is_cut_off_a_holder_stops_at_two_thirds_of_what_it_was_granted() {
    let dir = tempfile::tempdir().expect("a folder");
    let (home, link, relay) = relayed(dir.path()).await;
    cat(&relay, "a").await.expect("reads");
    home.advance(1);
    // Nine of ten seconds are left, and so the holder is granted nine.
    let below = Under::connected(&home, &relay, ("n2", "n1")).await;
    link.cut();
    assert_eq!(cat(&below.replica, "a").await, Ok(b"old".to_vec()), "a relay serves what it holds");
    let ms = |state: crate::relay::ReplicaState| state.trusted_for.as_millis();
    assert_eq!(ms(below.replica.state().await.expect("runs")), 6_000);
    home.clock.advance(Duration::from_millis(5_900));
    assert_eq!(relay.open(&path("a")).await.expect_err("its own time is over").code, Code::Unavailable);
    assert_eq!(cat(&below.replica, "a").await, Ok(b"old".to_vec()));
    home.clock.advance(Duration::from_millis(100));
    let problem = cat(&below.replica, "a").await.expect_err("the lease has ended");
    assert_eq!(problem.code, Code::Unavailable);
    assert!(problem.detail.contains("spiffe://lab.example/server/home"), "{problem}");

    link.mend();
    relay.connected().await.expect("connects again");
    until(async || cat(&below.replica, "a").await.is_ok()).await;
    home.put("a", b"new").await;
    assert_eq!(cat(&below.replica, "a").await, Ok(b"new".to_vec()));
}

#[tokio::test]
async fn a_relay_that_is_killed_and_comes_back_shows_nothing_old() {
    let dir = tempfile::tempdir().expect("a folder");
    let (home, link, relay) = relayed(dir.path()).await;
    let below = Under::connected(&home, &relay, ("n2", "n1")).await;
    for at in ["a", "b"] {
        cat(&below.replica, at).await.expect("reads");
    }
    // Nothing is said to anybody any more.
    link.cut();
    below.link.cut();
    drop(relay);
    assert_eq!(cat(&below.replica, "a").await, Ok(b"old".to_vec()), "its lease goes on");
    let coherence = home.coherence();
    let mut change = Box::pin(home.put("a", b"new"));
    let waits = async { until(async || !coherence.state().await.expect("runs").waiting.is_empty()).await };
    tokio::select! {
        () = &mut change => panic!("a holder below the dead relay may trust its copy"),
        () = waits => {}
    }
    assert_eq!(cat(&below.replica, "a").await, Ok(b"old".to_vec()), "the change is not committed yet");
    home.advance(10);
    coherence.state().await.expect("runs");
    change.await;
    assert_eq!(cat(&below.replica, "a").await.expect_err("its lease has ended").code, Code::Unavailable);

    until(async || crate::cache::Cache::open(dir.path(), 0).is_ok()).await;
    let relay = home.replica(&home.link("n1"), dir.path()).await;
    below.link.lead_to(&relay);
    below.replica.connected().await.expect("connects again");
    assert_eq!(cat(&below.replica, "a").await, Ok(b"new".to_vec()));
    assert_eq!(cat(&below.replica, "b").await, Ok(b"b".to_vec()));
}

#[tokio::test]
async fn a_relay_that_ends_in_order_leaves_nobody_to_wait_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let (home, _, relay) = relayed(dir.path()).await;
    let second = Under::connected(&home, &relay, ("n2", "n1")).await;
    let below = Under::connected(&home, &second.replica, ("n3", "n2")).await;
    cat(&below.replica, "a").await.expect("reads");
    relay.close().await;
    assert_eq!(home.store().recorded_sessions().await.expect("readable"), []);
    let changed = tokio::time::timeout(Duration::from_secs(5), home.put("a", b"new"));
    changed.await.expect("nobody is waited for");
    assert_eq!(cat(&below.replica, "a").await.expect_err("nobody is above").code, Code::Unavailable);
}

#[tokio::test]
async fn a_holder_moves_from_one_relay_to_another() {
    let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (home, _, first) = relayed(dir.path()).await;
    let second = home.replica(&home.link("n2"), other.path()).await;
    second.connected().await.expect("connects");
    let below = Under::connected(&home, &first, ("n3", "n1")).await;
    for at in ["a", "b"] {
        cat(&below.replica, at).await.expect("reads");
    }
    below.link.cut();
    let coherence = home.coherence();
    let ends = async {
        until(async || !coherence.state().await.expect("runs").waiting.is_empty()).await;
        home.advance(10);
        until(async || coherence.state().await.expect("runs").changes == 0).await;
    };
    tokio::join!(home.put("a", b"new"), ends);
    renews(&second).await;
    cat(&second, "b").await.expect("reads");
    let asked = below.link.opened.load(Ordering::SeqCst);
    below.link.lead_to(&second);
    below.replica.connected().await.expect("connects");
    until(async || below.replica.state().await.expect("runs").callbacks == 1).await;
    assert_eq!(cat(&below.replica, "b").await, Ok(b"b".to_vec()));
    assert_eq!(below.link.opened.load(Ordering::SeqCst), asked, "registered there, and not asked for again");
    assert_eq!(cat(&below.replica, "a").await, Ok(b"new".to_vec()));
}
