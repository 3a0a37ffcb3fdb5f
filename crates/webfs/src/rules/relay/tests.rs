//! Stories of a relay between a home and a holder, with the clock in milliseconds.

use super::{Relay, RelayAction, RelayEvent};
use crate::model::ObjectVersion;
use crate::rules::{
    Answer, ByeReason, Down, Hello, HolderAction, HolderEvent, HomeAction, HomeEvent, LeaseRules, LockMode,
    LockRefusal, LockWish, Up,
};
use terms::{BootMs, ChangeNumber, Epoch, Principal, SessionId, Version, VolumePath};

const VERSION: ObjectVersion = ObjectVersion { epoch: Epoch(1), version: Version(5) };

fn path(text: &str) -> VolumePath {
    VolumePath::new(text).expect("valid")
}

fn below() -> Hello {
    Hello { session: SessionId([9; 16]), connection: 1 }
}

fn holder() -> Principal {
    "spiffe://lab.example/server/n9".parse().expect("valid")
}

struct Story(Relay);

impl Story {
    /// Welcomed above at 0 ms by a server behind so many relays; nobody is below.
    fn behind(depth: u8) -> Self {
        let mut story = Self(Relay::new(LeaseRules::default(), BootMs(0), SessionId([1; 16])));
        story.connect(0, 1, depth);
        story
    }

    /// The same, with a holder that has opened `a` and keeps it.
    fn with_holder() -> Self {
        let mut story = Self::behind(0);
        assert!(matches!(story.greet(100).as_slice(), [Down::Welcome { lease_ms: 9_900, depth: 1, .. }]));
        assert_eq!(story.open(200, 1), Some(true));
        story
    }

    fn above(&mut self, ms: u64, event: HolderEvent) -> Vec<RelayAction> {
        self.0.step(BootMs(ms), RelayEvent::Above(event))
    }

    fn told(&mut self, ms: u64, connection: u64, message: Down) -> Vec<RelayAction> {
        self.above(ms, HolderEvent::Told { connection, message })
    }

    fn below(&mut self, ms: u64, event: HomeEvent) -> Vec<RelayAction> {
        self.0.step(BootMs(ms), RelayEvent::Below(event))
    }

    fn said(&mut self, ms: u64, message: Up) -> Vec<RelayAction> {
        self.below(ms, HomeEvent::Told { stream: below(), message })
    }

    fn connect(&mut self, ms: u64, connection: u64, depth: u8) -> Vec<RelayAction> {
        self.above(ms, HolderEvent::Connected);
        let change = ChangeNumber(100);
        self.told(ms, connection, Down::Welcome { epoch: Epoch(1), lease_ms: 10_000, change, depth })
    }

    fn greet(&mut self, ms: u64) -> Vec<Down> {
        down(&self.below(ms, HomeEvent::Hello { hello: below(), holder: holder() }))
    }

    /// Opens `a` for the holder; the home gives the relay a callback. Whether the holder got one.
    fn open(&mut self, ms: u64, token: u64) -> Option<bool> {
        let open = HomeEvent::Open { token, holder: holder(), stream: below(), object: path("a") };
        let asked = self.below(ms, open);
        let request = asked.iter().find_map(|action| match action {
            RelayAction::Above(HolderAction::Ask { request, .. }) => Some(*request),
            _ => None,
        });
        let answer = Answer::Found { version: VERSION, change: ChangeNumber(100), callback: true };
        let answered = match request {
            Some(request) => self.above(ms, HolderEvent::Answered { request, answer }),
            None => asked,
        };
        answered.iter().find_map(|action| match action {
            RelayAction::Opened { callback, .. } => Some(*callback),
            _ => None,
        })
    }

    fn recall(&mut self, ms: u64, change: u64) -> Vec<RelayAction> {
        self.told(ms, 1, Down::Recall { change: ChangeNumber(change), objects: vec![path("a")] })
    }
}

fn up(actions: &[RelayAction]) -> Vec<Up> {
    let said = |action: &RelayAction| match action {
        RelayAction::Above(HolderAction::Send { message, .. }) => Some(message.clone()),
        _ => None,
    };
    actions.iter().filter_map(said).collect()
}

fn down(actions: &[RelayAction]) -> Vec<Down> {
    let said = |action: &RelayAction| match action {
        RelayAction::Below(HomeAction::Send { message, .. }) => Some(message.clone()),
        _ => None,
    };
    actions.iter().filter_map(said).collect()
}

fn greets(actions: &[RelayAction]) -> bool {
    actions.iter().any(|action| matches!(action, RelayAction::Above(HolderAction::Greet(_))))
}

#[test]
fn a_recall_is_acknowledged_when_the_holders_below_have() {
    let mut story = Story::with_holder();
    let recalled = story.recall(300, 101);
    let [Down::Recall { change, objects }] = &down(&recalled)[..] else { panic!("{recalled:?}") };
    assert_eq!((up(&recalled), objects.as_slice()), (vec![], [path("a")].as_slice()));
    let acknowledged = up(&story.said(400, Up::Ack { change: *change, objects: objects.clone() }));
    assert_eq!(acknowledged, [Up::Ack { change: ChangeNumber(101), objects: vec![path("a")] }]);
    assert_eq!(story.open(500, 2), Some(true), "the relay asks again, and so may the holder");
}

#[test]
fn or_when_their_leases_have_ended() {
    let mut story = Story::with_holder();
    story.recall(300, 101);
    let acks = |actions: &[RelayAction]| up(actions).iter().any(|said| matches!(said, Up::Ack { .. }));
    assert!(!acks(&story.0.step(BootMs(9_999), RelayEvent::Tick)));
    assert!(acks(&story.0.step(BootMs(10_000), RelayEvent::Tick)), "the end of the relay's own lease");
}

#[test]
fn a_renewal_from_below_waits_for_a_fresh_lease_and_ends_with_it() {
    let mut story = Story::with_holder();
    let fresh = down(&story.said(900, Up::Renew { id: 1 }));
    assert!(matches!(fresh.as_slice(), [Down::Granted { id: 1, lease_ms: 9_100, .. }]), "{fresh:?}");
    let asked = story.said(1_100, Up::Renew { id: 2 });
    let (renewals, answers) = (up(&asked), down(&asked));
    let ([Up::Renew { id }], []) = (renewals.as_slice(), answers.as_slice()) else { panic!("{asked:?}") };
    assert_eq!(up(&story.said(1_200, Up::Renew { id: 3 })), [], "one is under way");
    let granted = Down::Granted { id: *id, lease_ms: 10_000, change: ChangeNumber(100), excluded: vec![] };
    let answered = down(&story.told(1_500, 1, granted));
    assert!(matches!(answered.as_slice(), [Down::Granted { id: 3, lease_ms: 9_600, .. }]), "{answered:?}");
}

#[test]
fn nothing_is_greeted_or_left_above_while_something_is_held_below() {
    let mut story = Story::with_holder();
    story.above(300, HolderEvent::Lost { connection: 1 });
    let waits = story.above(400, HolderEvent::Connected);
    let [Down::Recall { change, objects }] = &down(&waits)[..] else { panic!("{waits:?}") };
    assert!(!greets(&waits), "the home would take everything for given back");
    assert!(greets(&story.said(500, Up::Ack { change: *change, objects: objects.clone() })));

    let mut story = Story::with_holder();
    let waits = story.told(300, 1, Down::Bye { reason: ByeReason::Stopping });
    let [Down::Recall { change, objects }] = &down(&waits)[..] else { panic!("{waits:?}") };
    assert_eq!(up(&waits), []);
    assert_eq!(up(&story.said(500, Up::Ack { change: *change, objects: objects.clone() })), [Up::Leave]);
}

#[test]
fn a_fourth_relay_sends_its_holders_away() {
    assert!(matches!(Story::behind(2).greet(100).as_slice(), [Down::Welcome { depth: 3, .. }]));
    assert_eq!(Story::behind(3).greet(100), [Down::Bye { reason: ByeReason::TooDeep }]);
}

#[test]
fn who_moves_here_registers_what_the_relay_has_too() {
    let mut story = Story::with_holder();
    let other = ObjectVersion { version: Version(4), ..VERSION };
    let registered = |story: &mut Story, version| {
        let said = story.said(300, Up::Register { request: 7, objects: vec![(path("a"), version)] });
        match said.as_slice() {
            [RelayAction::Below(HomeAction::Compare { request: 7, objects, .. })] => {
                objects.iter().map(|(object, _)| object.clone()).collect::<Vec<_>>()
            }
            _ => panic!("{said:?}"),
        }
    };
    assert_eq!(registered(&mut story, VERSION), [path("a")]);
    assert_eq!(registered(&mut story, other), []);
}

#[test]
fn a_relay_grants_no_locks() {
    let mut story = Story::with_holder();
    let wish = LockWish::whole(path("a"), LockMode::Shared, 1);
    let said = down(&story.said(300, Up::Lock { request: 7, wish, wait_ms: 0 }));
    assert_eq!(said, [Down::NotLocked { request: 7, reason: LockRefusal::Relay }]);
}
