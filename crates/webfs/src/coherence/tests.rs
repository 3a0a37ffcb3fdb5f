//! The owner of a volume's leases, spoken to as a holder of bad manners would: frame by frame.

use super::Coherence;
use crate::gate::{ChangeEnd, ChangeGate, Touched};
use crate::rules::{ByeReason, Down, Hello, LeaseRules, Up};
use crate::session::{FrameReader, encode};
use crate::store::{RecordedSession, Store};
use bytes::Bytes;
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use terms::{ChangeNumber, Code, Principal, SessionId, VolumePath};
use tokio::sync::mpsc;
use trust::Bucket;
use world::{SimulatedClock, World};

fn path(text: &str) -> VolumePath {
    VolumePath::new(text).expect("valid")
}

fn holder(name: &str) -> Principal {
    format!("spiffe://lab.example/server/{name}").parse().expect("valid")
}

fn hello(session: u8, connection: u64) -> Hello {
    Hello { session: SessionId([session; 16]), connection }
}

struct Fixture {
    _dir: TempDir,
    store: Store,
    coherence: Coherence,
    clock: Arc<SimulatedClock>,
}

impl Fixture {
    async fn new() -> Self {
        Self::recorded(&[]).await
    }

    async fn recorded(sessions: &[u8]) -> Self {
        let (world, clock) = World::simulated(3);
        let dir = tempfile::tempdir().expect("a folder");
        let name = "data.lab.example".parse().expect("valid");
        let store = Store::create(&dir.path().join("v"), &name, &Bucket::empty(), world.clone()).expect("made");
        for session in sessions {
            let (id, lease) = (SessionId([*session; 16]), Duration::from_secs(10));
            store.record_session(RecordedSession { id, principal: holder("n1"), lease }).await.expect("recorded");
        }
        let coherence = Coherence::start(store.clone(), world, LeaseRules::default()).await.expect("starts");
        Self { _dir: dir, store, coherence, clock }
    }

    async fn stream(&self, who: &str) -> Stream {
        let (up, mut frames) = mpsc::channel::<Bytes>(16);
        let body = wire::body::stream(futures_util::stream::poll_fn(move |context| {
            frames.poll_recv(context).map(|frame| frame.map(Ok::<_, Infallible>))
        }));
        let down = self.coherence.stream(holder(who), Arc::new(|_, _| true), body).await.expect("taken");
        Stream { up, down: FrameReader::new(down) }
    }

    async fn welcomed(&self, who: &str, hello: Hello) -> Stream {
        let mut stream = self.stream(who).await;
        stream.say(&hello).await;
        assert!(matches!(stream.hear().await, Some(Down::Welcome { lease_ms: 10_000, .. })));
        stream
    }
}

struct Stream {
    up: mpsc::Sender<Bytes>,
    down: FrameReader,
}

impl Stream {
    async fn say<T: Serialize>(&self, message: &T) {
        self.up.send(encode(message)).await.expect("heard");
    }

    async fn hear(&mut self) -> Option<Down> {
        self.down.next().await.expect("whole frames")
    }
}

fn bye(reason: ByeReason) -> Option<Down> {
    Some(Down::Bye { reason })
}

#[tokio::test]
async fn a_session_is_recorded_before_it_is_welcomed_and_forgotten_when_it_leaves() {
    let fixture = Fixture::new().await;
    let mut stream = fixture.welcomed("n1", hello(1, 1)).await;
    let recorded = fixture.store.recorded_sessions().await.expect("readable");
    assert_eq!(recorded.iter().map(|session| session.principal.clone()).collect::<Vec<_>>(), [holder("n1")]);
    stream.say(&Up::Leave).await;
    drop(stream.up);
    assert_eq!(stream.down.next::<Down>().await.expect("an orderly end"), None);
    assert_eq!(fixture.store.recorded_sessions().await.expect("readable"), []);
}

#[tokio::test]
async fn bad_manners_end_the_stream_with_a_reason() {
    let fixture = Fixture::new().await;
    let _present = fixture.welcomed("n1", hello(1, 5)).await;

    let mut thief = fixture.stream("thief").await;
    thief.say(&hello(1, 6)).await;
    assert_eq!((thief.hear().await, thief.hear().await), (bye(ByeReason::Foreign), None));

    let mut twin = fixture.stream("n1").await;
    twin.say(&hello(1, 5)).await;
    assert_eq!((twin.hear().await, twin.hear().await), (bye(ByeReason::Superseded), None));

    let mut mumbler = fixture.stream("n2").await;
    mumbler.say(&Up::Leave).await;
    assert_eq!((mumbler.hear().await, mumbler.hear().await), (bye(ByeReason::Malformed), None));

    let mut late = fixture.welcomed("n2", hello(2, 1)).await;
    late.say(&hello(2, 2)).await;
    assert_eq!((late.hear().await, late.hear().await), (bye(ByeReason::Malformed), None));
    let state = fixture.coherence.state().await.expect("runs");
    assert_eq!(state.sessions, 2, "nobody lost anything by it");
}

#[tokio::test]
async fn a_foreign_session_gets_no_callback() {
    let fixture = Fixture::new().await;
    let _stream = fixture.welcomed("n1", hello(1, 1)).await;
    for (who, stream, expected) in [
        ("n1", Some(hello(1, 1)), true),
        ("n2", Some(hello(1, 1)), false),
        ("n1", Some(hello(1, 2)), false),
        ("n1", None, false),
    ] {
        let grant = fixture.coherence.open(holder(who), stream, path("a")).await.expect("runs");
        assert_eq!(grant.callback, expected, "{who} {stream:?}");
    }
}

#[tokio::test]
async fn a_change_waits_and_one_that_is_given_up_is_forgotten() {
    let fixture = Fixture::new().await;
    let mut stream = fixture.welcomed("n1", hello(1, 1)).await;
    let (coherence, touched) = (&fixture.coherence, Touched::objects([path("a")]));
    coherence.open(holder("n1"), Some(hello(1, 1)), path("a")).await.expect("runs");
    let recalled;
    {
        let mut change = coherence.before_change(touched.clone());
        let recall = tokio::select! {
            _ = &mut change => panic!("the holder has not answered"),
            recall = stream.hear() => recall,
        };
        match recall {
            Some(Down::Recall { change, objects }) if objects == [path("a")] => recalled = change,
            other => panic!("{other:?}"),
        }
        assert_eq!(coherence.state().await.expect("runs").changes, 1);
    }
    assert_eq!(coherence.state().await.expect("runs").changes, 0, "its caller went away");

    stream.say(&Up::Ack { change: recalled, objects: vec![path("a")] }).await;
    let permit = coherence.before_change(touched.clone()).await.expect("admitted");
    let during = coherence.open(holder("n1"), Some(hello(1, 1)), path("a")).await.expect("runs");
    assert!(!during.callback, "it is being changed");
    permit.ended(ChangeEnd::Committed(ChangeNumber(40)));
    let after = coherence.open(holder("n1"), Some(hello(1, 1)), path("a")).await.expect("runs");
    assert_eq!((after.callback, after.change), (true, ChangeNumber(40)));
    assert_eq!(coherence.state().await.expect("runs").changes, 0);
}

#[tokio::test]
async fn a_restart_waits_for_the_recorded_and_at_most_one_lease() {
    let fixture = Fixture::recorded(&[1]).await;
    let mut change = fixture.coherence.before_change(Touched::everything());
    let waits = async {
        while fixture.coherence.state().await.expect("runs").waiting.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut change => panic!("a recorded session has not reported"),
        () = waits => {}
    }
    fixture.clock.advance(Duration::from_secs(10));
    fixture.coherence.state().await.expect("runs");
    change.await.expect("admitted");
    assert_eq!(fixture.store.recorded_sessions().await.expect("readable"), []);
}

#[tokio::test]
async fn a_stopped_home_admits_nothing() {
    let fixture = Fixture::new().await;
    let mut stream = fixture.welcomed("n1", hello(1, 1)).await;
    let stopped = fixture.coherence.stop();
    let leave = async {
        assert_eq!(stream.hear().await, bye(ByeReason::Stopping));
        stream.say(&Up::Leave).await;
    };
    tokio::join!(stopped, leave);
    assert_eq!(fixture.store.recorded_sessions().await.expect("readable"), []);
    let refused = fixture.coherence.before_change(Touched::everything()).await.err().expect("refused");
    assert_eq!(refused.code, Code::Unavailable);
}
