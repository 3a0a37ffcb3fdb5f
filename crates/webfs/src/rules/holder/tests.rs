//! Stories of a holder, with the clock in seconds.

use super::{Answer, Believed, Holder, HolderAction, HolderEvent, Raised, ReadFailure};
use crate::model::{ObjectVersion, Policy};
use crate::rules::LeaseRules;
use crate::rules::message::{ByeReason, Down, Up};
use terms::{BootMs, ChangeNumber, Epoch, SessionId, Version, VolumePath};

fn path(text: &str) -> VolumePath {
    VolumePath::new(text).expect("valid")
}

fn version(number: u64) -> ObjectVersion {
    ObjectVersion { epoch: Epoch(1), version: Version(number) }
}

struct Reader(Holder);

impl Reader {
    /// Connected, welcomed and trusted since second 0.
    fn new() -> Self {
        let mut reader = Self(Holder::new(LeaseRules::default(), SessionId([1; 16])));
        reader.connect(0, 100);
        reader
    }

    fn at(&mut self, secs: u64, event: HolderEvent) -> Vec<HolderAction> {
        self.0.step(BootMs(secs * 1000), event)
    }

    fn connect(&mut self, secs: u64, change: u64) -> Vec<HolderAction> {
        self.at(secs, HolderEvent::Connected);
        let connection = self.0.last_connection;
        let message = Down::Welcome { epoch: Epoch(1), lease_ms: 10_000, change: ChangeNumber(change), depth: 0 };
        self.at(secs, HolderEvent::Told { connection, message })
    }

    fn told(&mut self, secs: u64, message: Down) -> Vec<HolderAction> {
        let connection = self.0.last_connection;
        self.at(secs, HolderEvent::Told { connection, message })
    }

    fn read(&mut self, secs: u64, waiter: u64, object: &str) -> Vec<HolderAction> {
        self.at(secs, HolderEvent::Read { waiter, object: path(object) })
    }

    /// Asks and returns the request's number.
    fn ask(&mut self, secs: u64, waiter: u64, object: &str) -> u64 {
        asked(&self.read(secs, waiter, object)).expect("asks")
    }

    fn answer(&mut self, secs: u64, request: u64, number: u64, change: u64, callback: bool) -> Vec<HolderAction> {
        let answer = Answer::Found { version: version(number), change: ChangeNumber(change), callback };
        self.at(secs, HolderEvent::Answered { request, answer })
    }

    fn recall(&mut self, secs: u64, change: u64, object: &str) -> Vec<HolderAction> {
        self.told(secs, Down::Recall { change: ChangeNumber(change), objects: vec![path(object)] })
    }

    fn is_valid(&self, secs: u64, object: &str) -> bool {
        self.0.valid(BootMs(secs * 1000), &path(object)).is_some()
    }
}

fn asked(actions: &[HolderAction]) -> Option<u64> {
    actions.iter().find_map(|action| match action {
        HolderAction::Ask { request, .. } => Some(*request),
        _ => None,
    })
}

fn serve(waiter: u64, request: u64, keep: bool) -> HolderAction {
    HolderAction::ServeAnswer { waiter, request, keep }
}

#[test]
fn a_reopen_sends_nothing_until_two_thirds_of_the_lease() {
    let mut reader = Reader::new();
    let request = reader.ask(1, 1, "a");
    assert_eq!(reader.answer(1, request, 5, 100, true), [serve(1, request, true)]);
    let cached = HolderAction::ServeCached { waiter: 2, object: path("a"), version: version(5) };
    assert_eq!(reader.read(2, 2, "a"), [cached]);
    assert!(reader.is_valid(6, "a"));
    assert!(!reader.is_valid(7, "a"), "6,667 ms after the greeting was sent");
}

#[test]
fn trust_counts_from_sending_the_renewal() {
    let mut reader = Reader::new();
    let request = reader.ask(1, 1, "a");
    reader.answer(1, request, 5, 100, true);
    let id = match reader.at(3, HolderEvent::Tick).as_slice() {
        [HolderAction::Send { message: Up::Renew { id }, .. }] => *id,
        other => panic!("{other:?}"),
    };
    reader.told(6, Down::Granted { id, lease_ms: 10_000, change: ChangeNumber(100), excluded: vec![] });
    assert!(reader.is_valid(9, "a"));
    assert!(!reader.is_valid(10, "a"), "3 s + 6.667 s");
    let again =
        reader.told(10, Down::Granted { id, lease_ms: 10_000, change: ChangeNumber(100), excluded: vec![] });
    assert!(asked(&again).is_none() && !reader.is_valid(10, "a"), "an answer counts once");
}

#[test]
fn an_answer_that_its_recall_has_overtaken_is_used_once() {
    let mut reader = Reader::new();
    let request = reader.ask(1, 1, "a");
    reader.recall(1, 101, "a");
    assert_eq!(reader.answer(2, request, 5, 100, true), [serve(1, request, false)]);
    assert!(!reader.is_valid(2, "a"));
    let request = reader.ask(2, 2, "a");
    assert_eq!(reader.answer(2, request, 6, 101, true), [serve(2, request, true)], "not below the recall");
}

#[test]
fn a_late_recall_spares_a_newer_grant() {
    let mut reader = Reader::new();
    let request = reader.ask(1, 1, "a");
    reader.answer(1, request, 6, 102, true);
    reader.recall(2, 102, "a");
    assert!(reader.is_valid(2, "a"), "the recall is of before the grant");
    reader.recall(2, 103, "a");
    assert!(!reader.is_valid(2, "a"));
}

#[test]
fn a_recall_is_acknowledged_when_it_is_dropped_below() {
    let mut reader = Reader::new();
    let (connection, change, objects) = (1, ChangeNumber(101), vec![path("a")]);
    let dropping = HolderAction::Drop { connection, change, objects: objects.clone() };
    assert_eq!(reader.recall(1, 101, "a"), [dropping]);
    let acknowledged = reader.at(1, HolderEvent::Dropped { connection, change, objects: objects.clone() });
    assert_eq!(acknowledged, [HolderAction::Send { connection, message: Up::Ack { change, objects } }]);
}

#[test]
fn excluded_objects_are_recalled_objects() {
    let mut reader = Reader::new();
    let request = reader.ask(1, 1, "a");
    reader.answer(1, request, 5, 100, true);
    reader.at(3, HolderEvent::Tick);
    let excluded = vec![path("a")];
    let actions = reader.told(3, Down::Granted { id: 2, lease_ms: 10_000, change: ChangeNumber(101), excluded });
    assert!(matches!(actions.as_slice(), [HolderAction::Drop { .. }]), "{actions:?}");
    assert!(!reader.is_valid(3, "a"));
}

#[test]
fn joined_readers_get_only_what_was_kept() {
    let mut reader = Reader::new();
    let request = reader.ask(1, 1, "a");
    assert!(reader.read(1, 2, "a").is_empty(), "it joins");
    assert_eq!(reader.answer(1, request, 5, 100, true), [serve(1, request, true), serve(2, request, true)]);

    let request = reader.ask(1, 1, "b");
    reader.read(1, 2, "b");
    reader.read(1, 3, "b");
    let actions = reader.answer(1, request, 5, 100, false);
    assert_eq!(actions.first(), Some(&serve(1, request, false)));
    let second = asked(&actions).expect("the others ask on their own, together");
    let served = reader.answer(1, second, 5, 100, true);
    assert_eq!(served, [serve(2, second, true), serve(3, second, true)]);
}

#[test]
fn nothing_from_before_a_new_stream_is_trusted_until_registered() {
    let mut reader = Reader::new();
    for object in ["a", "b", "c"] {
        let request = reader.ask(1, 1, object);
        reader.answer(1, request, 5, 100, true);
    }
    let under_way = reader.ask(1, 1, "d");
    reader.at(2, HolderEvent::Lost { connection: 1 });
    assert!(reader.is_valid(2, "a"), "a lost stream alone changes nothing");
    let actions = reader.connect(3, 110);
    assert!(!reader.is_valid(3, "a"));
    let Some(HolderAction::Send { message: Up::Register { request, objects }, .. }) = actions.first() else {
        panic!("{actions:?}")
    };
    assert_eq!(objects.len(), 3);
    reader.recall(3, 111, "b");
    let current = vec![path("a"), path("b"), path("x")];
    reader.told(3, Down::Registered { request: *request, change: ChangeNumber(110), current });
    let valid = ["a", "b", "c", "x"].map(|object| reader.is_valid(3, object));
    assert_eq!(valid, [true, false, false, false], "b was recalled meanwhile, c has changed, x is not ours");
    assert_eq!(reader.answer(3, under_way, 5, 120, true), [serve(1, under_way, false)], "of the old stream");
}

#[test]
fn a_home_that_goes_back_is_refused() {
    let mut reader = Reader::new();
    let request = reader.ask(1, 1, "a");
    reader.answer(1, request, 5, 100, true);
    reader.recall(2, 101, "a");
    let request = reader.ask(2, 2, "a");
    let failure = ReadFailure::RolledBack { seen: version(5), offered: version(4) };
    assert_eq!(reader.answer(2, request, 4, 101, true), [HolderAction::Fail { waiter: 2, failure }]);

    let connection = reader.0.last_connection + 1;
    reader.at(3, HolderEvent::Connected);
    let message = Down::Welcome { epoch: Epoch(0), lease_ms: 10_000, change: ChangeNumber(9), depth: 0 };
    let actions = reader.at(3, HolderEvent::Told { connection, message });
    assert_eq!(actions, [HolderAction::Close { connection, reason: None }], "a lower epoch");
}

#[test]
fn a_later_answer_that_came_first_makes_the_earlier_one_ask_again() {
    let mut reader = Reader::new();
    let early = reader.ask(1, 1, "a");
    reader.recall(1, 101, "a");
    let late = reader.ask(1, 2, "a");
    assert_eq!(reader.answer(1, late, 6, 101, true), [serve(2, late, true)]);
    let again = asked(&reader.answer(1, early, 5, 100, true)).expect("nobody goes back");
    assert_eq!(reader.answer(1, again, 6, 101, true), [serve(1, again, true)]);
}

#[test]
fn a_goodbye_ends_all_trust_and_is_acknowledged() {
    let mut reader = Reader::new();
    let request = reader.ask(1, 1, "a");
    reader.answer(1, request, 5, 100, true);
    let actions = reader.told(2, Down::Bye { reason: ByeReason::Stopping });
    let left = HolderAction::Send { connection: 1, message: Up::Leave };
    let closed = HolderAction::Close { connection: 1, reason: Some(ByeReason::Stopping) };
    assert_eq!(actions, [left, closed]);
    assert!(!reader.is_valid(2, "a"));
    assert!(!reader.0.is_connected());
}

#[test]
fn a_home_that_does_not_answer_is_given_up_and_readers_fail() {
    let mut reader = Reader::new();
    let request = reader.ask(1, 1, "a");
    reader.read(1, 2, "a");
    let failure = ReadFailure::Unreachable;
    let failed = [1, 2].map(|waiter| HolderAction::Fail { waiter, failure });
    assert_eq!(reader.at(2, HolderEvent::Answered { request, answer: Answer::Failed }), failed);
    for secs in [3, 6, 9] {
        assert!(matches!(reader.at(secs, HolderEvent::Tick).as_slice(), [HolderAction::Send { .. }]), "renews");
    }
    assert!(
        matches!(reader.at(12, HolderEvent::Tick).as_slice(), [HolderAction::Close { .. }]),
        "one lease unanswered"
    );
}

#[test]
fn a_time_to_live_counts_from_asking_and_needs_no_lease() {
    let unasked = |number, change| Answer::under(Policy::Ttl(30), version(number), ChangeNumber(change), true);
    let mut reader = Reader::new();
    let request = reader.ask(1, 1, "a");
    let answered = reader.at(4, HolderEvent::Answered { request, answer: unasked(7, 100) });
    assert!(answered.contains(&serve(1, request, true)), "{answered:?}");
    reader.at(20, HolderEvent::Lost { connection: 1 });
    for (secs, valid) in [(5, true), (30, true), (31, false)] {
        assert_eq!(reader.is_valid(secs, "a"), valid, "{secs}");
    }
    let late = reader.ask(40, 2, "a");
    let answered = reader.at(70, HolderEvent::Answered { request: late, answer: unasked(8, 101) });
    assert!(
        answered.contains(&serve(2, late, false)),
        "it took as long as its time, and is used once: {answered:?}"
    );
    assert!(!reader.is_valid(70, "a"));
}

#[test]
fn what_is_used_unasked_is_not_registered_and_given_up_when_it_is_recalled() {
    let mut reader = Reader::new();
    let request = reader.ask(1, 1, "a");
    let answer = Answer::under(Policy::Immutable, version(7), ChangeNumber(100), false);
    reader.at(1, HolderEvent::Answered { request, answer });
    let actions = reader.connect(2, 100);
    let registers =
        |action: &HolderAction| matches!(action, HolderAction::Send { message: Up::Register { .. }, .. });
    assert!(!actions.iter().any(registers), "{actions:?}");
    assert!(reader.is_valid(3, "a"));
    reader.recall(4, 101, "a");
    assert!(!reader.is_valid(4, "a"));
}

#[test]
fn a_log_is_never_served_from_the_cache() {
    let mut reader = Reader::new();
    let request = reader.ask(1, 1, "l");
    let answer = Answer::under(Policy::Log, version(7), ChangeNumber(100), true);
    assert_eq!(reader.at(1, HolderEvent::Answered { request, answer }), [serve(1, request, false)]);
    assert!(asked(&reader.read(2, 2, "l")).is_some());
}

fn believed(epoch: u64, raises: &[(u64, u64)]) -> Believed {
    let raised = |(epoch, change): &(u64, u64)| Raised { epoch: Epoch(*epoch), change: ChangeNumber(*change) };
    Believed { epoch: Epoch(epoch), raises: raises.iter().map(raised).collect(), shortened: false }
}

#[test]
fn a_higher_epoch_counts_only_with_the_signed_record() {
    let mut reader = Reader::new();
    let welcome =
        |epoch| Down::Welcome { epoch: Epoch(epoch), lease_ms: 10_000, change: ChangeNumber(1), depth: 0 };
    assert!(reader.0.believe(&believed(1, &[])).is_empty());
    reader.at(1, HolderEvent::Connected);
    let actions = reader.told(1, welcome(2));
    assert!(matches!(actions[..], [HolderAction::Close { .. }]), "{actions:?}");
    assert_eq!((reader.0.unproven(), reader.0.epoch()), (Some(Epoch(2)), Epoch(1)));
    reader.0.believe(&believed(2, &[(2, 1)]));
    assert_eq!(reader.0.unproven(), None);
    reader.at(2, HolderEvent::Connected);
    reader.told(2, welcome(2));
    assert!(reader.0.is_connected());
    reader.at(3, HolderEvent::Connected);
    let actions = reader.told(3, welcome(1));
    assert!(matches!(actions[..], [HolderAction::Close { .. }]), "never lower again: {actions:?}");
    assert!(reader.0.believe(&believed(1, &[])).is_empty(), "an older word changes nothing");
    assert_eq!(reader.0.epoch(), Epoch(2));
}

#[test]
fn what_is_above_the_restored_change_is_dropped_and_no_measure_any_more() {
    let mut reader = Reader::new();
    for (waiter, object, number) in [(1, "kept", 4), (2, "lost", 9)] {
        let request = reader.ask(1, waiter, object);
        reader.answer(1, request, number, 100, true);
    }
    assert_eq!(reader.0.believe(&believed(2, &[(2, 5)])), [path("lost")]);
    assert_eq!(reader.0.objects(), 1);
    // The home shows the version of before, and is not taken for one that rolls back.
    let request = reader.ask(2, 3, "lost");
    let actions = reader.answer(2, request, 3, 6, false);
    assert!(matches!(actions[..], [HolderAction::ServeAnswer { waiter: 3, .. }]), "{actions:?}");
}

#[test]
fn every_raise_since_a_version_counts() {
    let seen = |epoch, number| ObjectVersion { epoch: Epoch(epoch), version: Version(number) };
    let record = believed(4, &[(2, 10), (4, 30)]);
    let shortened = Believed { shortened: true, ..believed(4, &[(4, 30)]) };
    for (version, kept, kept_shortened) in [
        (seen(1, 10), true, false),
        (seen(1, 11), false, false),
        (seen(2, 11), true, false),
        (seen(3, 30), true, false),
        (seen(3, 31), false, false),
        (seen(4, 99), true, true),
    ] {
        assert_eq!(record.keeps(version), kept, "{version}");
        assert_eq!(shortened.keeps(version), kept_shortened, "{version}, shortened");
    }
}
