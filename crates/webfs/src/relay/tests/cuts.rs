//! Cuts, crashes and restarts: nothing stale, nothing lost, nobody waited for longer than a lease.

use super::world::{HomeWorld, cat, content, filled, holder, open_file, path, until};
use std::sync::atomic::Ordering;
use std::time::Duration;
use terms::Code;

const MIB: usize = 1 << 20;

#[tokio::test]
async fn cut_off_it_serves_until_two_thirds_of_the_lease_and_then_fails_with_the_homes_name() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    let bytes = filled(1, 2 * MIB);
    home.put("a", &bytes).await;
    home.put("unread", b"x").await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    assert_eq!(cat(&replica, "a").await, Ok(bytes.clone()));
    link.cut();
    home.advance(6);
    assert_eq!(cat(&replica, "a").await, Ok(bytes.clone()));
    assert_eq!(replica.open(&path("unread")).await.expect_err("not cached").code, Code::Unavailable);
    let opened = open_file(&replica, "a").await.expect("opens");

    home.advance(1);
    for refused in [cat(&replica, "a").await, content(&opened).await] {
        let problem = refused.expect_err("the lease has ended");
        assert_eq!(problem.code, Code::Unavailable);
        assert!(problem.detail.contains("spiffe://lab.example/server/home"), "{problem}");
    }

    link.mend();
    replica.connected().await.expect("connects again");
    assert_eq!(cat(&replica, "a").await, Ok(bytes));
    let counts = replica.state().await.expect("runs").counts;
    assert_eq!(counts.blocks_fetched, 2, "the blocks were still good");
}

#[tokio::test]
async fn a_writer_waits_for_a_lost_holder_by_name_and_at_most_one_lease() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("a", b"old").await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    cat(&replica, "a").await.expect("reads");
    link.cut();
    let coherence = home.coherence();
    let mut writing = Box::pin(home.put("a", b"new"));
    let waits = async { until(async || !coherence.state().await.expect("runs").waiting.is_empty()).await };
    tokio::select! {
        () = &mut writing => panic!("the holder may still trust its copy"),
        () = waits => {}
    }
    let waiting = coherence.state().await.expect("runs").waiting;
    assert_eq!((waiting[0].holder.clone(), waiting[0].object.clone()), (holder("n1"), path("a")));
    assert_eq!(cat(&replica, "a").await, Ok(b"old".to_vec()), "the change is not committed yet");

    home.advance(10);
    assert_eq!(coherence.state().await.expect("runs").sessions, 0, "struck off");
    writing.await;
    assert_eq!(cat(&replica, "a").await.expect_err("its lease ended long before").code, Code::Unavailable);
    tokio::time::timeout(Duration::from_secs(5), home.put("a", b"newer")).await.expect("nobody is waited for");

    link.mend();
    replica.connected().await.expect("connects again");
    assert_eq!(cat(&replica, "a").await, Ok(b"newer".to_vec()));
}

#[tokio::test]
async fn after_a_crash_of_the_home_changes_wait_for_recorded_holders_who_keep_what_is_current() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("a", b"kept").await;
    home.put("b", b"old").await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    for at in ["a", "b"] {
        cat(&replica, at).await.expect("reads");
    }
    link.cut();
    home.crash().await;
    assert_eq!(cat(&replica, "a").await, Ok(b"kept".to_vec()), "the lease goes on");
    home.start().await;
    let waiting = home.coherence().state().await.expect("runs");
    assert_eq!(waiting.sessions, 1, "recorded");
    let opens = link.opened.load(Ordering::SeqCst);
    let change = home.put("b", b"new");
    let back = async {
        until(async || !home.coherence().state().await.expect("runs").waiting.is_empty()).await;
        link.mend();
    };
    tokio::join!(change, back);
    until(async || replica.state().await.expect("runs").callbacks > 0).await;
    assert_eq!(cat(&replica, "a").await, Ok(b"kept".to_vec()));
    assert_eq!(link.opened.load(Ordering::SeqCst), opens, "registered in bulk, not opened again");
    assert_eq!(cat(&replica, "b").await, Ok(b"new".to_vec()));
}

#[tokio::test]
async fn a_clean_stop_leaves_no_session_to_wait_for() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("a", b"old").await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    cat(&replica, "a").await.expect("reads");
    home.coherence().stop().await;
    assert_eq!(home.store().recorded_sessions().await.expect("readable"), []);
    assert!(!replica.is_trusted());
    link.cut();
    home.crash().await;
    home.start().await;
    tokio::time::timeout(Duration::from_secs(5), home.put("a", b"new")).await.expect("nobody is waited for");
    link.mend();
    replica.connected().await.expect("connects again");
    assert_eq!(cat(&replica, "a").await, Ok(b"new".to_vec()));
}

#[tokio::test]
async fn a_restarted_replica_registers_what_it_has_on_disk() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    let (kept, old, new) = (filled(1, 2 * MIB), filled(2, MIB), filled(3, MIB));
    home.put("kept", &kept).await;
    home.put("changed", &old).await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    for at in ["kept", "changed"] {
        cat(&replica, at).await.expect("reads");
    }
    until(async || {
        std::fs::read_dir(dir.path().join("data.lab.example")).is_ok_and(|files| {
            files.flatten().filter(|file| file.path().extension().is_some_and(|kind| kind == "record")).count() == 2
        })
    })
    .await;
    replica.close().await;
    drop(replica);
    assert_eq!(home.coherence().state().await.expect("runs").sessions, 0, "it took its leave");
    home.put("changed", &new).await;

    let link = home.link("n1");
    let replica = restarted(&home, &link, dir.path()).await;
    until(async || replica.state().await.expect("runs").callbacks == 1).await;
    assert_eq!(cat(&replica, "kept").await, Ok(kept));
    let counts = replica.state().await.expect("runs").counts;
    assert_eq!((counts.opens_asked, counts.blocks_fetched), (0, 0), "all from disk");
    assert_eq!(cat(&replica, "changed").await, Ok(new));

    replica.close_and_drop_cache().await.expect("dropped");
    assert!(!dir.path().join("data.lab.example").exists());
    assert_eq!(replica.open(&path("kept")).await.expect_err("closed").code, Code::Unavailable);
}

#[tokio::test]
async fn whoever_loses_its_rights_loses_what_it_has_cached() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("a", b"secret").await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    assert_eq!(cat(&replica, "a").await, Ok(b"secret".to_vec()));
    home.expelled.store(true, Ordering::SeqCst);
    home.coherence().expel(holder("n1")).await.expect("runs");
    until(async || cat(&replica, "a").await.is_err()).await;
    let denied = cat(&replica, "a").await.expect_err("no rights");
    assert_eq!(denied.code, Code::Denied);
    until(async || home.coherence().state().await.expect("runs").callbacks == 1).await;
    assert_eq!(cat(&replica, "a").await.expect_err("registering gives nothing back").code, Code::Denied);
}

/// The cache's lock goes with the last of the earlier replica's tasks.
async fn restarted(
    home: &HomeWorld,
    link: &std::sync::Arc<super::world::TestLink>,
    dir: &std::path::Path,
) -> crate::relay::Replica {
    until(async || crate::cache::Cache::open(dir, 0).is_ok()).await;
    home.replica(link, dir).await
}
