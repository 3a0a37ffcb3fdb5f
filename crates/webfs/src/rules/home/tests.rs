//! Stories of a home's lease table, with the clock in seconds.

use super::{ChangeRef, HomeAction, HomeEvent, HomeLeases, HomeStart, Refusal};
use crate::gate::Touched;
use crate::rules::limits::{LEASE, MAX_FRAME_OBJECTS, MAX_PENDING_CHANGES, MAX_SESSIONS_PER_HOLDER};
use crate::rules::message::{ByeReason, Down, Hello, Up};
use crate::rules::{Checks, LeaseRules};
use terms::{BootMs, ChangeNumber, Epoch, Principal, SessionId, VolumePath};

pub(super) fn path(text: &str) -> VolumePath {
    VolumePath::new(text).expect("valid")
}

pub(super) fn holder(name: &str) -> Principal {
    format!("spiffe://lab.example/server/{name}").parse().expect("valid")
}

pub(super) fn stream(session: u8, connection: u64) -> Hello {
    Hello { session: SessionId([session; 16]), connection }
}

pub(super) struct Home(pub(super) HomeLeases);

impl Home {
    pub(super) fn new(recorded: &[(u8, &str)]) -> Self {
        let recorded = recorded.iter().map(|(id, name)| (SessionId([*id; 16]), holder(name))).collect();
        let start = HomeStart { epoch: Epoch(3), change: ChangeNumber(100), locks: 40, recorded };
        Self(HomeLeases::start(LeaseRules::default(), BootMs(0), start))
    }

    pub(super) fn at(&mut self, secs: u64, event: HomeEvent) -> Vec<HomeAction> {
        self.0.step(BootMs(secs * 1000), event)
    }

    pub(super) fn hello(&mut self, secs: u64, session: u8, connection: u64) -> Vec<HomeAction> {
        let name = format!("n{session}");
        self.at(secs, HomeEvent::Hello { hello: stream(session, connection), holder: holder(&name) })
    }

    pub(super) fn told(&mut self, secs: u64, stream: Hello, message: Up) -> Vec<HomeAction> {
        self.at(secs, HomeEvent::Told { stream, message })
    }

    pub(super) fn open(&mut self, secs: u64, stream: Hello, object: &str) -> (u64, bool) {
        let holder = holder(&format!("n{}", stream.session.0[0]));
        match self.at(secs, HomeEvent::Open { token: 1, holder, stream, object: path(object) }).as_slice() {
            [.., HomeAction::Granted { change, callback, .. }] => (change.0, *callback),
            other => panic!("{other:?}"),
        }
    }

    fn change(&mut self, secs: u64, token: u64, object: &str) -> Vec<HomeAction> {
        self.at(secs, HomeEvent::Change { token, touched: Touched::objects([path(object)]), lock: None })
    }

    pub(super) fn ended(&mut self, secs: u64, change: u64) {
        let change = ChangeNumber(change);
        self.at(secs, HomeEvent::Ended { change: ChangeRef::Number(change), committed: Some(change) });
    }
}

pub(super) fn admitted(actions: &[HomeAction]) -> Vec<u64> {
    let token = |action: &HomeAction| match action {
        HomeAction::Admit { token, .. } => Some(*token),
        _ => None,
    };
    actions.iter().filter_map(token).collect()
}

fn recalled(actions: &[HomeAction]) -> usize {
    actions.iter().filter(|action| matches!(action, HomeAction::Send { message: Down::Recall { .. }, .. })).count()
}

fn goodbye(actions: &[HomeAction]) -> Option<ByeReason> {
    actions.iter().find_map(|action| match action {
        HomeAction::Send { message: Down::Bye { reason }, .. } => Some(*reason),
        _ => None,
    })
}

fn ack(change: u64, object: &str) -> Up {
    Up::Ack { change: ChangeNumber(change), objects: vec![path(object)] }
}

#[test]
fn a_change_waits_for_the_acknowledgement_and_no_longer() {
    let mut home = Home::new(&[]);
    home.hello(0, 1, 1);
    assert_eq!(home.open(1, stream(1, 1), "a"), (100, true));
    let begun = home.change(2, 7, "a");
    assert_eq!((admitted(&begun), recalled(&begun)), (vec![], 1));
    assert_eq!(home.open(2, stream(1, 1), "a"), (101, false), "what is changing gets no callback");
    assert_eq!(home.0.waiting().first().map(|wait| wait.holder.clone()), Some(holder("n1")));
    assert_eq!(admitted(&home.told(3, stream(1, 1), ack(100, "a"))), [] as [u64; 0], "an older recall's");
    assert_eq!(admitted(&home.told(3, stream(1, 1), ack(101, "a"))), [7]);
    home.ended(4, 101);
    assert_eq!(home.open(4, stream(1, 1), "a"), (101, true));
    assert_eq!(admitted(&home.change(5, 8, "b")), [8], "nobody holds b");
}

#[test]
fn a_silent_holder_is_waited_for_once_and_then_owes_a_new_start() {
    let mut home = Home::new(&[]);
    home.hello(0, 1, 1);
    home.open(0, stream(1, 1), "a");
    home.open(0, stream(1, 1), "b");
    assert!(admitted(&home.change(4, 1, "a")).is_empty());
    assert!(admitted(&home.change(5, 2, "b")).is_empty());
    assert_eq!(home.0.next_deadline(), Some(BootMs(10_000)));
    let struck = home.at(10, HomeEvent::Tick);
    assert_eq!(admitted(&struck), [1, 2]);
    assert!(struck.contains(&HomeAction::Forget { session: SessionId([1; 16]) }));
    assert_eq!(goodbye(&home.told(11, stream(1, 1), Up::Renew { id: 9 })), Some(ByeReason::StruckOff));
    assert_eq!(admitted(&home.change(12, 3, "b")), [3], "it delays nobody again");
}

#[test]
fn renewing_without_acknowledging_extends_all_but_the_recalled() {
    let mut home = Home::new(&[]);
    home.hello(0, 1, 1);
    home.open(0, stream(1, 1), "a");
    home.open(0, stream(1, 1), "b");
    home.change(4, 1, "a");
    let granted = home.told(6, stream(1, 1), Up::Renew { id: 2 });
    let excluded = vec![path("a")];
    let expected = Down::Granted { id: 2, lease_ms: 10_000, change: ChangeNumber(101), excluded };
    assert_eq!(granted, [HomeAction::Send { stream: stream(1, 1), message: expected }]);
    assert_eq!(admitted(&home.at(10, HomeEvent::Tick)), [1], "the term of the last renewal before the recall");
    // It may still trust b under its last renewal, so that is waited for; but nothing is extended any more.
    assert_eq!(goodbye(&home.told(11, stream(1, 1), Up::Renew { id: 3 })), Some(ByeReason::StruckOff));
    assert!(admitted(&home.change(12, 2, "b")).is_empty());
    assert_eq!(admitted(&home.at(16, HomeEvent::Tick)), [2]);
    assert_eq!(home.0.sessions(), 0);
}

#[test]
fn a_new_stream_gives_everything_back() {
    let mut home = Home::new(&[]);
    home.hello(0, 1, 1);
    home.open(0, stream(1, 1), "a");
    home.change(1, 1, "a");
    assert_eq!(admitted(&home.hello(2, 1, 2)), [1]);
    assert_eq!(goodbye(&home.hello(3, 1, 1)), Some(ByeReason::Superseded), "a late greeting of the old stream");
    assert_eq!(goodbye(&home.told(3, stream(1, 1), Up::Leave)), Some(ByeReason::Superseded));
    assert!(!home.open(3, stream(1, 1), "b").1, "an open that names the old stream");
    assert_eq!(home.0.sessions(), 1);
}

#[test]
fn a_session_belongs_to_its_holder() {
    let mut home = Home::new(&[(2, "n2")]);
    home.hello(0, 1, 1);
    for session in [1, 2] {
        let foreign = HomeEvent::Hello { hello: stream(session, 5), holder: holder("thief") };
        assert_eq!(goodbye(&home.at(1, foreign)), Some(ByeReason::Foreign), "session {session}");
    }
    let foreign = HomeEvent::Open { token: 1, holder: holder("thief"), stream: stream(1, 1), object: path("a") };
    let granted = HomeAction::Granted { token: 1, change: ChangeNumber(100), callback: false };
    assert_eq!(home.at(1, foreign), [granted]);
}

#[test]
fn after_a_crash_changes_wait_for_the_recorded_sessions_or_one_lease() {
    let mut home = Home::new(&[(1, "n1"), (2, "n2")]);
    assert!(admitted(&home.change(1, 1, "a")).is_empty());
    assert_eq!(home.0.waiting().len(), 2);
    assert!(admitted(&home.hello(2, 1, 7)).is_empty());
    assert_eq!(admitted(&home.hello(3, 2, 4)), [1], "all have reported");

    let mut home = Home::new(&[(1, "n1")]);
    home.change(1, 1, "a");
    let over = home.at(10, HomeEvent::Tick);
    assert_eq!(admitted(&over), [1]);
    assert!(over.contains(&HomeAction::Forget { session: SessionId([1; 16]) }));

    assert_eq!(admitted(&Home::new(&[]).change(0, 1, "a")), [1], "nobody was recorded");
}

#[test]
fn a_clean_stop_forgets_those_who_left_and_only_those() {
    let mut home = Home::new(&[]);
    home.hello(0, 1, 1);
    home.hello(0, 2, 1);
    let byes = home.at(1, HomeEvent::Stop);
    assert_eq!(byes.len(), 2);
    assert_eq!(goodbye(&byes), Some(ByeReason::Stopping));
    let left = home.told(1, stream(1, 1), Up::Leave);
    assert_eq!(left, [HomeAction::Forget { session: SessionId([1; 16]) }]);
    assert_eq!(home.0.sessions(), 1, "the other stays recorded");
    let refused = home.change(1, 1, "a");
    assert_eq!(refused, [HomeAction::Refuse { token: 1, reason: Refusal::Stopping }]);
    assert_eq!(goodbye(&home.hello(1, 3, 1)), Some(ByeReason::Stopping));
}

#[test]
fn a_subtree_recalls_all_below_in_frames_of_bounded_length() {
    let mut home = Home::new(&[]);
    home.hello(0, 1, 1);
    for index in 0..=MAX_FRAME_OBJECTS {
        home.open(0, stream(1, 1), &format!("d/{index}"));
    }
    home.open(0, stream(1, 1), "d-not");
    let begun = home.at(1, HomeEvent::Change { token: 1, touched: Touched::subtree(path("d")), lock: None });
    assert_eq!(recalled(&begun), 2);
    assert!(!home.open(1, stream(1, 1), "d/new").1, "what appears below gets no callback meanwhile");
    assert!(home.open(1, stream(1, 1), "d-not").1);
    let behind = home.told(2, stream(1, 1), Up::Renew { id: 1 });
    assert_eq!(goodbye(&behind), Some(ByeReason::StruckOff), "too much to list in one frame");
    assert_eq!(admitted(&home.hello(3, 1, 2)), [1]);
}

#[test]
fn changes_are_bounded_and_may_be_given_up() {
    let mut home = Home::new(&[]);
    home.hello(0, 1, 1);
    home.open(0, stream(1, 1), "a");
    for token in 0..MAX_PENDING_CHANGES as u64 {
        assert!(admitted(&home.change(1, token, "a")).is_empty(), "all wait for the one holder");
    }
    let refused = home.change(1, 5000, "a");
    assert_eq!(refused, [HomeAction::Refuse { token: 5000, reason: Refusal::Busy }]);
    home.at(1, HomeEvent::Ended { change: ChangeRef::Token(0), committed: None });
    assert_eq!(admitted(&home.change(2, 5001, "b")), [5001]);
    let rest = admitted(&home.told(2, stream(1, 1), ack(101, "a")));
    assert_eq!(rest.len(), MAX_PENDING_CHANGES - 1, "one acknowledgement serves all that waited");
}

#[test]
fn a_home_without_strike_off_waits_for_ever() {
    let rules = LeaseRules { checks: Checks { strike_off: false, ..Checks::ALL }, ..LeaseRules::default() };
    let start = HomeStart { epoch: Epoch(1), change: ChangeNumber(0), locks: 0, recorded: vec![] };
    let mut home = Home(HomeLeases::start(rules, BootMs(0), start));
    home.hello(0, 1, 1);
    home.open(0, stream(1, 1), "a");
    home.change(1, 1, "a");
    assert!(home.at(1000, HomeEvent::Tick).is_empty());
}

#[test]
fn whose_rights_have_changed_must_come_again_and_is_waited_for_until_it_leaves() {
    let mut home = Home::new(&[]);
    home.hello(0, 1, 1);
    home.hello(0, 2, 1);
    home.open(0, stream(1, 1), "a");
    let expelled = home.at(1, HomeEvent::Expel { holder: holder("n1") });
    assert_eq!((expelled.len(), goodbye(&expelled)), (1, Some(ByeReason::RightsChanged)));
    assert!(!home.open(1, stream(1, 1), "b").1);
    assert!(admitted(&home.change(2, 7, "a")).is_empty(), "it may not have heard yet");
    assert_eq!(goodbye(&home.told(2, stream(1, 1), Up::Renew { id: 1 })), Some(ByeReason::StruckOff));
    assert_eq!(admitted(&home.hello(3, 1, 2)), [7]);
    assert!(home.open(3, stream(1, 2), "b").1, "a new stream is as any other");
}

#[test]
fn one_principal_does_not_take_the_sessions_of_all() {
    let mut home = Home::new(&[]);
    let greet = |home: &mut Home, secs, name: &str, session: u8, connection| {
        home.at(secs, HomeEvent::Hello { hello: stream(session, connection), holder: holder(name) })
    };
    for session in 0..u8::try_from(MAX_SESSIONS_PER_HOLDER).expect("small") {
        assert_eq!(goodbye(&greet(&mut home, 1, "greedy", session, 1)), None, "session {session}");
    }
    assert_eq!(goodbye(&greet(&mut home, 1, "greedy", 200, 1)), Some(ByeReason::FullForYou));
    assert_eq!(goodbye(&greet(&mut home, 1, "greedy", 0, 2)), None, "a new stream of a session is no new session");
    assert_eq!(goodbye(&greet(&mut home, 1, "modest", 201, 1)), None, "another one has its own");
    home.told(1, stream(1, 1), Up::Leave);
    assert_eq!(goodbye(&greet(&mut home, 1, "greedy", 200, 1)), None, "one has left");
    assert_eq!(goodbye(&greet(&mut home, 1, "greedy", 202, 1)), Some(ByeReason::FullForYou));
    let later = 2 + LEASE.as_secs();
    assert_eq!(goodbye(&greet(&mut home, later, "greedy", 202, 1)), None, "those of before have ended");
}
