//! Relays below relays while all is well: what is seen at the bottom, what travels, who may have it, how deep it goes.

use super::chain::{RelayLink, Under, start};
use super::world::{HomeWorld, cat, filled, holder, open_file, path, until};
use crate::relay::{Replica, ReplicaObject};
use crate::rules::{ByeReason, Down, Hello};
use crate::serve::FileSource;
use crate::session::{FrameReader, OpenRequest, encode};
use bytes::Bytes;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use terms::{Code, Location, SessionId};
use tokio::sync::mpsc;
use trust::Bucket;

const MIB: usize = 1 << 20;

/// Says hello to a relay and gives what it answers.
async fn greet(relay: &Replica, who: &str, hello: Hello) -> (mpsc::Sender<Bytes>, FrameReader, Option<Down>) {
    let (up, mut frames) = mpsc::channel::<Bytes>(16);
    let body = wire::body::stream(futures_util::stream::poll_fn(move |context| {
        frames.poll_recv(context).map(|frame| frame.map(Ok::<_, Infallible>))
    }));
    let down = relay.stream(holder(who), Arc::new(|_: &Location, _: &Bucket| true), body).await.expect("taken");
    let mut down = FrameReader::new(down);
    up.send(encode(&hello)).await.expect("heard");
    let said = down.next::<Down>().await.expect("whole frames");
    (up, down, said)
}

#[tokio::test]
async fn a_change_at_the_home_shows_below_two_relays_at_the_next_open() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    let (old, new) = (filled(1, 2 * MIB + 5), filled(2, 3 * MIB));
    home.put("d/a", &old).await;
    home.put("d/small", b"1").await;
    let first = home.replica(&home.link("n1"), dir.path()).await;
    first.connected().await.expect("connects");
    let second = Under::connected(&home, &first, ("n2", "n1")).await;
    let reader = Under::connected(&home, &second.replica, ("n3", "n2")).await;
    for _ in 0..3 {
        assert_eq!(cat(&reader.replica, "d/a").await, Ok(old.clone()));
        assert_eq!(cat(&reader.replica, "d/small").await, Ok(b"1".to_vec()));
    }
    assert_eq!(reader.link.opened.load(Ordering::SeqCst), 2, "a re-open sends nothing");
    let counts = reader.replica.state().await.expect("runs").counts;
    assert_eq!((counts.opens_asked, counts.opens_cached), (2, 4));
    let states = (first.state().await.expect("runs"), second.replica.state().await.expect("runs"));
    for state in [states.0, states.1] {
        assert_eq!((state.sessions_below, state.callbacks_below, state.callbacks), (1, 2, 2));
        assert_eq!(state.counts.blocks_fetched, 3, "each relay fetches a block once");
    }

    for round in 0..5 {
        let new = [&new[..], &[round]].concat();
        let changed = tokio::time::timeout(Duration::from_secs(5), home.put("d/a", &new));
        changed.await.expect("holders that live delay nobody for a lease");
        assert_eq!(cat(&reader.replica, "d/a").await, Ok(new));
    }
    assert_eq!(cat(&reader.replica, "d/small").await, Ok(b"1".to_vec()));
    let counts = reader.replica.state().await.expect("runs").counts;
    assert_eq!(counts.opens_asked, 2 + 5, "what did not change was not asked for again");

    home.delete("d/a").await;
    assert_eq!(reader.replica.open(&path("d/a")).await.expect_err("removed").code, Code::NotFound);
    let ReplicaObject::Directory(folder) = reader.replica.open(&path("d")).await.expect("opens") else {
        panic!("a folder")
    };
    let names: Vec<_> = folder.listing("").expect("short").entries.into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["small"]);
    assert_eq!(folder.change(), home.store().change(), "the home's count, not that of a relay");
    let small = open_file(&reader.replica, "d/small").await.expect("opens");
    assert!(small.change() <= home.store().change() && small.signed_manifest().is_some());
}

#[tokio::test]
async fn a_session_at_a_relay_belongs_to_its_holder() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("a", b"x").await;
    let relay = home.replica(&home.link("n1"), dir.path()).await;
    relay.connected().await.expect("connects");
    let hello = Hello { session: SessionId([9; 16]), connection: 1 };
    let (_up, _down, said) = greet(&relay, "n2", hello).await;
    assert!(matches!(said, Some(Down::Welcome { depth: 1, .. })), "{said:?}");
    let (.., said) = greet(&relay, "thief", Hello { connection: 2, ..hello }).await;
    assert_eq!(said, Some(Down::Bye { reason: ByeReason::Foreign }));
    let decide = |who: &'static str| {
        let now = home.world.clock.unix();
        move |at: &Location, bucket: &Bucket| super::world::proof(&holder(who), at, terms::Right::Read, bucket, now)
    };
    for (who, stream, callback) in [
        ("n3", Some(hello), false),
        ("n2", None, false),
        ("n2", Some(Hello { connection: 2, ..hello }), false),
        ("n2", Some(hello), true),
    ] {
        let request = OpenRequest { relays: 0, stream, path: path("a") };
        let looked_at = relay.look_below(holder(who), request).await.expect("there");
        let answer = relay.open_below(looked_at, decide(who)).await.expect("opens");
        assert_eq!(answer.callback, callback, "{who} {stream:?}");
    }
}

#[tokio::test]
async fn whoever_may_not_read_gets_nothing_from_a_relay_and_loses_what_it_has() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("a", b"secret").await;
    let relay = home.replica(&home.link("n1"), dir.path()).await;
    relay.connected().await.expect("connects");
    let stranger = Under::connected(&home, &relay, ("n9", "n1")).await;
    assert_eq!(stranger.replica.open(&path("a")).await.expect_err("no rights").code, Code::Denied);
    assert_eq!(relay.state().await.expect("runs").callbacks_below, 0, "whom a change would wait for");

    let below = Under::connected(&home, &relay, ("n2", "n1")).await;
    assert_eq!(cat(&below.replica, "a").await, Ok(b"secret".to_vec()));
    below.link.denied.store(true, Ordering::SeqCst);
    assert_eq!(relay.holders().await.expect("runs"), [holder("n2"), holder("n9")]);
    relay.expel(holder("n2")).await.expect("runs");
    until(async || cat(&below.replica, "a").await.is_err()).await;
    assert_eq!(cat(&below.replica, "a").await.expect_err("no rights").code, Code::Denied);
    // It has come again and has registered what it holds: that gives nothing back.
    until(async || relay.state().await.expect("runs").sessions_below == 2).await;
    below.replica.connected().await.expect("connects again");
    assert_eq!(cat(&below.replica, "a").await.expect_err("no rights").code, Code::Denied);
    assert_eq!(below.replica.state().await.expect("runs").callbacks, 0);
    below.link.denied.store(false, Ordering::SeqCst);
    assert_eq!(cat(&below.replica, "a").await, Ok(b"secret".to_vec()));
    assert_eq!(cat(&relay, "a").await, Ok(b"secret".to_vec()), "the relay has lost nothing");
}

#[tokio::test]
async fn who_comes_again_registers_what_it_may_read_in_one_request() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    for at in ["a", "b", "c"] {
        home.put(at, at.as_bytes()).await;
    }
    let relay = home.replica(&home.link("n1"), dir.path()).await;
    relay.connected().await.expect("connects");
    let below = Under::connected(&home, &relay, ("n2", "n1")).await;
    for at in ["a", "b", "c"] {
        cat(&below.replica, at).await.expect("reads");
    }
    let asked = below.link.opened.load(Ordering::SeqCst);
    below.link.cut();
    let coherence = home.coherence();
    let back = async {
        until(async || !coherence.state().await.expect("runs").waiting.is_empty()).await;
        below.link.lead_to(&relay);
    };
    tokio::join!(home.put("b", b"new"), back);
    below.replica.connected().await.expect("connects again");
    until(async || below.replica.state().await.expect("runs").callbacks == 2).await;
    for (at, bytes) in [("a", &b"a"[..]), ("c", b"c"), ("b", b"new")] {
        assert_eq!(cat(&below.replica, at).await, Ok(bytes.to_vec()));
    }
    assert_eq!(below.link.opened.load(Ordering::SeqCst), asked + 1);
}

#[tokio::test]
async fn a_fourth_relay_is_too_deep_and_says_so() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("a", b"x").await;
    let first = home.replica(&home.link("n1"), dir.path()).await;
    first.connected().await.expect("connects");
    let second = Under::connected(&home, &first, ("n2", "n1")).await;
    let third = Under::connected(&home, &second.replica, ("n3", "n2")).await;
    let fourth = Under::connected(&home, &third.replica, ("n4", "n3")).await;
    assert_eq!(cat(&fourth.replica, "a").await, Ok(b"x".to_vec()), "three relays stand before it");

    let hello = Hello { session: SessionId([9; 16]), connection: 1 };
    let (.., said) = greet(&fourth.replica, "n5", hello).await;
    assert_eq!(said, Some(Down::Bye { reason: ByeReason::TooDeep }));
    let fifth = Under::new(&home, &fourth.replica, ("n5", "n4")).await;
    let problem = fifth.replica.open(&path("a")).await.expect_err("too deep");
    assert_eq!(problem.code, Code::Unsupported);
    assert!(problem.detail.contains("more than 3 relays") && problem.detail.contains("server/n3"), "{problem}");
}

#[tokio::test]
async fn relays_that_were_led_in_a_circle_answer_with_an_error_and_not_for_ever() {
    let (home, dirs) = (HomeWorld::new().await, [(); 2].map(|()| tempfile::tempdir().expect("a folder")));
    let nobody = home.replica(&home.link("n1"), dirs[0].path()).await;
    let link = RelayLink::new(&home, &nobody, ("n1", "n2"));
    link.cut();
    let first = start(&home, &link, dirs[1].path()).await;
    let second = Under::new(&home, &first, ("n2", "n1")).await;
    link.lead_to(&second.replica);
    let problem = first.open(&path("a")).await.expect_err("there is no home");
    assert_eq!(problem.code, Code::Unsupported, "{problem}");
    let asked = (first.state().await.expect("runs"), second.replica.state().await.expect("runs"));
    assert_eq!(
        (asked.0.counts.opens_asked, asked.1.counts.opens_asked),
        (2, 2),
        "each relay is passed once or twice"
    );
}

#[tokio::test]
async fn what_nobody_can_keep_is_asked_for_once_at_each_relay() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("a", b"x").await;
    let link = home.link("n1");
    let first = home.replica(&link, dir.path()).await;
    first.connected().await.expect("connects");
    let second = Under::connected(&home, &first, ("n2", "n1")).await;
    let third = Under::connected(&home, &second.replica, ("n3", "n2")).await;
    let reader = Under::connected(&home, &third.replica, ("n4", "n3")).await;
    // Whatever the first relay is given, it is given without a callback.
    link.keeps.store(false, Ordering::SeqCst);
    for asked in 1..4 {
        assert_eq!(cat(&reader.replica, "a").await, Ok(b"x".to_vec()));
        assert_eq!(link.opened.load(Ordering::SeqCst), asked);
    }
    home.put("a", b"y").await;
    assert_eq!(cat(&reader.replica, "a").await, Ok(b"y".to_vec()));
}
