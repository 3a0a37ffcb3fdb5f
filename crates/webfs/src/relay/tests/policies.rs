//! Policies at a replica: what is kept without a callback and for how long, what is asked for each time.

use super::world::{HomeWorld, cat, content, filled, open_file, path};
use crate::model::Policy;
use crate::serve::FileSource;
use crate::store::{Change, Conditions};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use terms::Code;

const MIB: usize = 1 << 20;

/// Sets a policy as a home does that nobody has anything of yet.
async fn set(home: &Arc<HomeWorld>, at: &str, policy: Policy) {
    let change = Change::SetPolicy { path: path(at), policy, recursive: false };
    home.store().apply(change, Conditions::none()).await.expect("set");
}

async fn append(home: &Arc<HomeWorld>, at: &str, bytes: &[u8]) {
    for part in bytes.chunks(60_000) {
        let append = home.store().append(&path(at), part.to_vec().into());
        let change = Change::Append { append, may_create: true, may_append: true };
        home.store().apply(change, Conditions::none()).await.expect("appended");
    }
}

#[tokio::test]
async fn a_copy_with_a_time_to_live_is_used_for_that_time_and_no_longer() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    let (old, new) = (filled(1, 2 * MIB), filled(2, 2 * MIB));
    home.put("t", &old).await;
    set(&home, "t", Policy::Ttl(60)).await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    assert_eq!(cat(&replica, "t").await, Ok(old.clone()));
    assert_eq!(home.coherence().state().await.expect("runs").callbacks, 0, "it is told of nothing");
    home.put("t", &new).await;
    home.advance(59);
    assert_eq!(cat(&replica, "t").await, Ok(old.clone()), "its time is not over");
    link.cut();
    assert_eq!(cat(&replica, "t").await, Ok(old), "it needs no lease either");
    assert_eq!(link.opened.load(Ordering::SeqCst), 1);
    home.advance(2);
    assert_eq!(cat(&replica, "t").await.map_err(|problem| problem.code), Err(Code::Unavailable));
    link.mend();
    assert_eq!(cat(&replica, "t").await, Ok(new));
}

#[tokio::test]
async fn what_is_immutable_is_kept_without_a_callback_and_looked_up_after_an_hour() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    let bytes = filled(1, 2 * MIB);
    home.put("i", &bytes).await;
    set(&home, "i", Policy::Immutable).await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    for _ in 0..3 {
        assert_eq!(cat(&replica, "i").await, Ok(bytes.clone()));
        home.advance(1_100);
    }
    let opened = link.opened.load(Ordering::SeqCst);
    assert_eq!(opened, 1);
    home.advance(400);
    assert_eq!(cat(&replica, "i").await, Ok(bytes), "rights and name are asked for again");
    assert_eq!(link.opened.load(Ordering::SeqCst), 2);
    assert_eq!(replica.state().await.expect("runs").counts.blocks_fetched, 2, "its content is not");
}

#[tokio::test]
async fn a_log_is_asked_for_at_each_open_and_its_full_blocks_are_fetched_once() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    let mut expected = filled(1, 3 * MIB + 1_000);
    append(&home, "l", &expected[..10]).await;
    set(&home, "l", Policy::Log).await;
    append(&home, "l", &expected[10..]).await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    assert_eq!(cat(&replica, "l").await, Ok(expected.clone()));
    let earlier = open_file(&replica, "l").await.expect("opens");
    for round in 0..5 {
        let more = filled(10 + round, 5_000);
        append(&home, "l", &more).await;
        expected.extend_from_slice(&more);
        assert_eq!(cat(&replica, "l").await, Ok(expected.clone()), "all that was acknowledged before the open");
    }
    let counts = replica.state().await.expect("runs").counts;
    assert_eq!((counts.opens_asked, counts.opens_cached), (7, 0));
    assert_eq!(counts.blocks_fetched, 3 + 6, "full blocks once, the end each time");
    assert_eq!(content(&earlier).await, Ok(expected[..3 * MIB + 1_000].to_vec()), "an open version is a prefix");
    link.cut();
    assert_eq!(cat(&replica, "l").await.map_err(|problem| problem.code), Err(Code::Unavailable));
    link.mend();
    home.delete("l").await;
    let other = filled(99, 2 * MIB);
    append(&home, "l", &other[..10]).await;
    set(&home, "l", Policy::Log).await;
    append(&home, "l", &other[10..]).await;
    assert_eq!(cat(&replica, "l").await, Ok(other), "another file under the name is not mixed with it");
}

#[tokio::test]
async fn a_strong_file_that_is_open_shows_no_older_content() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    let (old, new) = (filled(1, 2 * MIB), filled(2, 2 * MIB));
    for (at, small) in [("s", false), ("small", true)] {
        let (old, new) = if small { (&old[..10], &new[..10]) } else { (&old[..], &new[..]) };
        home.put(at, old).await;
        set(&home, at, Policy::Strong).await;
        let link = home.link("n1");
        let replica = home.replica(&link, &dir.path().join(at)).await;
        replica.connected().await.expect("connects");
        let file = open_file(&replica, at).await.expect("opens");
        assert!(file.read_block(0).await.is_ok());
        let asked = link.opened.load(Ordering::SeqCst);
        assert!(file.read_block(0).await.is_ok());
        assert_eq!(link.opened.load(Ordering::SeqCst), asked, "while lease and callback stand nothing is sent");
        assert_eq!(file.block_now(0), None, "nothing passes by the check");
        home.put(at, new).await;
        let problem = file.read_block(0).await.expect_err("it was replaced");
        assert_eq!(problem.code, Code::Conflict, "{problem}");
        assert_eq!(cat(&replica, at).await, Ok(new.to_vec()));
        let file = open_file(&replica, at).await.expect("opens");
        link.cut();
        home.advance(20);
        assert_eq!(file.read_block(0).await.map_err(|problem| problem.code), Err(Code::Unavailable));
    }
}
