//! Watching: what is told, from where, and to whom.

use super::{Fixture, filled, path, proof};
use crate::gate::Ungated;
use crate::limits::BLOCK_BYTES;
use crate::serve::MayShow;
use crate::session::FrameReader;
use crate::store::{Change, Conditions};
use crate::watch::{Heard, Seen, Watch};
use std::sync::Arc;
use terms::{ChangeNumber, Code, Epoch, Location, Problem, Right};
use trust::{Authorised, Bucket};

/// Shows everything but what is called `secret`.
struct NoSecrets;

impl MayShow for NoSecrets {
    async fn may_show(&self, location: &Location, _: &Bucket, _: bool) -> Result<Authorised, Problem> {
        match location.path.as_str().contains("secret") {
            true => Err(Problem::new(Code::Denied, "it is secret")),
            false => Ok(proof(location.path.as_str(), Right::Read)),
        }
    }
}

async fn ask(fixture: &Fixture, at: &str, since: Option<Heard>, tail: Option<u64>) -> Result<FrameReader, Problem> {
    let watch = Watch { path: path(at), since, tail };
    fixture.home.watch(None, watch, NoSecrets).await.map(FrameReader::new)
}

async fn next(frames: &mut FrameReader) -> Seen {
    frames.next().await.expect("a whole frame").expect("not the end")
}

/// Paths, with `-` before those that are gone.
fn told(seen: &Seen) -> Vec<String> {
    let Seen::Changed { events, .. } = seen else { panic!("no changes: {seen:?}") };
    let gone = |there: bool| if there { "" } else { "-" };
    events.iter().map(|event| format!("{}{}", gone(event.entry.is_some()), event.path.as_str())).collect()
}

async fn remove(fixture: &Fixture, at: &str) {
    let change = Change::Remove { path: path(at) };
    fixture.store().apply(change, Conditions::none()).await.expect("removed");
}

#[tokio::test]
async fn a_watcher_is_told_of_each_change_and_of_nothing_that_it_may_not_read() {
    let fixture = Fixture::new(Arc::new(Ungated));
    let mut frames = ask(&fixture, "", None, None).await.expect("watches");
    assert!(matches!(next(&mut frames).await, Seen::From { missed: false, .. }));
    fixture.store_file("a/b/f", b"1").await;
    assert_eq!(told(&next(&mut frames).await), ["a/b/f"]);
    fixture.store_file("secret", b"s").await;
    fixture.store_file("a/g", b"2").await;
    assert_eq!(told(&next(&mut frames).await), ["a/g"]);
    remove(&fixture, "a/g").await;
    assert_eq!(told(&next(&mut frames).await), ["-a/g"]);
    let moved = Change::Rename { from: path("a/b"), to: path("c"), replace: false };
    fixture.store().apply(moved, Conditions::none()).await.expect("moved");
    assert_eq!(told(&next(&mut frames).await), ["-a/b", "c"]);
}

#[tokio::test]
async fn whoever_was_away_hears_what_came_after_or_that_it_has_missed_something() {
    let fixture = Fixture::new(Arc::new(Ungated));
    fixture.store_file("a", b"1").await;
    let heard = Heard { epoch: fixture.store().epoch(), change: fixture.store().change() };
    fixture.store_file("b", b"2").await;
    fixture.store_file("c", b"3").await;
    let mut frames = ask(&fixture, "", Some(heard), None).await.expect("watches");
    assert_eq!(next(&mut frames).await, Seen::From { heard, missed: false });
    assert_eq!(told(&next(&mut frames).await), ["b", "c"]);
    for lost in [
        Heard { epoch: Epoch(heard.epoch.0 + 1), ..heard },
        Heard { change: ChangeNumber(heard.change.0 + 100), ..heard },
        Heard { change: ChangeNumber(0), ..heard },
    ] {
        let mut frames = ask(&fixture, "", Some(lost), None).await.expect("watches");
        assert!(matches!(next(&mut frames).await, Seen::From { missed: true, .. }), "{lost:?}");
        fixture.store_file("d", b"4").await;
        assert_eq!(told(&next(&mut frames).await), ["d"]);
    }
}

#[tokio::test]
async fn a_followed_file_is_told_to_its_last_byte_in_order() {
    let fixture = Fixture::new(Arc::new(Ungated));
    let long = filled(BLOCK_BYTES as usize + 100);
    fixture.store_file("log", &long).await;
    let mut frames = ask(&fixture, "log", None, Some(10)).await.expect("follows");
    assert!(matches!(next(&mut frames).await, Seen::From { .. }));
    let mut heard = long[..10].to_vec();
    while heard.len() < long.len() {
        let Seen::Appended { offset, bytes } = next(&mut frames).await else { panic!("no bytes") };
        assert_eq!(offset, heard.len() as u64);
        heard.extend(bytes);
    }
    assert_eq!(heard, long);
    fixture.store_file("other", b"no matter").await;
    let longer = [&long[..], b"more"].concat();
    fixture.store_file("log", &longer).await;
    let expected = Seen::Appended { offset: long.len() as u64, bytes: b"more".to_vec() };
    assert_eq!(next(&mut frames).await, expected);
    fixture.store_file("log", b"new").await;
    assert_eq!(next(&mut frames).await, Seen::Shorter { size: 3 });
    assert_eq!(next(&mut frames).await, Seen::Appended { offset: 0, bytes: b"new".to_vec() });
    remove(&fixture, "log").await;
    let Seen::Ended { problem } = next(&mut frames).await else { panic!("it goes on") };
    assert_eq!((problem.code, problem.detail.contains("is gone")), (Code::NotFound, true));
    assert!(frames.next::<Seen>().await.expect("whole").is_none());
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused_at_once() {
    let fixture = Fixture::new(Arc::new(Ungated));
    fixture.store_file("d/f", b"1").await;
    for (at, tail, code) in
        [("none", None, Code::NotFound), ("d", Some(0), Code::Invalid), ("secret", None, Code::Denied)]
    {
        let refused = ask(&fixture, at, None, tail).await.map(drop).expect_err("refused");
        assert_eq!(refused.code, code, "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_so_that_a_watcher_knows_that_it_is_not_cut_off() {
    let fixture = Fixture::new(Arc::new(Ungated));
    let mut frames = ask(&fixture, "", None, None).await.expect("watches");
    assert!(matches!(next(&mut frames).await, Seen::From { .. }));
    assert!(matches!(next(&mut frames).await, Seen::Alive { .. }));
}
