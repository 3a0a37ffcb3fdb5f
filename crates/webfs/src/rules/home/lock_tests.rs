//! Stories of advisory locks at a home, with the clock in seconds.

use super::tests::{Home, admitted, holder, path, stream};
use super::{ChangeRef, HomeAction, HomeEvent, Refusal};
use crate::gate::Touched;
use crate::rules::limits::{LOCK_EPOCHS_AT_ONCE, MAX_LOCKS_PER_SESSION};
use crate::rules::lock::{LockClaim, LockEpoch, LockMode, LockRefusal, LockSpan, LockWish};
use crate::rules::message::{Down, Hello, Up};
use terms::{ChangeNumber, Epoch};

const EXCLUSIVE: LockMode = LockMode::Exclusive;
const SHARED: LockMode = LockMode::Shared;

fn epoch(number: u64) -> LockEpoch {
    LockEpoch { epoch: Epoch(3), number }
}

/// What became of which lock: for each session, requests that were granted under a number, or refused.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Locked(u8, u64, u64),
    Not(u8, u64, LockRefusal),
    Lost(u8, u64),
    Has(u8, Vec<u64>),
}

fn said(actions: &[HomeAction]) -> Vec<Said> {
    let one = |action: &HomeAction| {
        let HomeAction::Send { stream, message } = action else { return None };
        let session = stream.session.0[0];
        Some(match message {
            Down::Locked { request, epoch } => Said::Locked(session, *request, epoch.number),
            Down::NotLocked { request, reason } => Said::Not(session, *request, *reason),
            Down::LockLost { epoch } => Said::Lost(session, epoch.number),
            Down::Locks { held } => Said::Has(session, held.iter().map(|epoch| epoch.number).collect()),
            _ => return None,
        })
    };
    actions.iter().filter_map(one).collect()
}

fn ask(request: u64, mode: LockMode, owner: u64, wait_secs: u64) -> Up {
    Up::Lock { request, wish: LockWish::whole(path("a"), mode, owner), wait_ms: wait_secs * 1000 }
}

fn claim(numbers: &[u64]) -> Up {
    let wish = LockWish::whole(path("a"), EXCLUSIVE, 1);
    Up::Claim {
        locks: numbers.iter().map(|number| LockClaim { epoch: epoch(*number), wish: wish.clone() }).collect(),
    }
}

impl Home {
    fn greeted(sessions: &[u8]) -> Self {
        let mut home = Self::new(&[]);
        for session in sessions {
            home.hello(0, *session, 1);
        }
        home
    }

    fn lock(&mut self, secs: u64, session: u8, message: Up) -> Vec<Said> {
        said(&self.told(secs, stream(session, 1), message))
    }

    fn locked_change(&mut self, secs: u64, token: u64, lock: u64) -> Vec<HomeAction> {
        let touched = Touched::objects([path("a")]);
        self.at(secs, HomeEvent::Change { token, touched, lock: Some(epoch(lock)) })
    }
}

fn lost(token: u64, lock: u64) -> HomeAction {
    HomeAction::Refuse { token, reason: Refusal::LockLost(epoch(lock)) }
}

#[test]
fn locks_are_granted_in_the_order_in_which_they_were_asked_for() {
    let mut home = Home::greeted(&[1, 2, 3]);
    let first = home.told(1, stream(1, 1), ask(1, SHARED, 1, 0));
    assert_eq!(first.first(), Some(&HomeAction::ReserveLocks { up_to: 41 + LOCK_EPOCHS_AT_ONCE }), "on disk first");
    assert_eq!(said(&first), [Said::Locked(1, 1, 41)]);
    assert_eq!(home.lock(1, 2, ask(1, SHARED, 1, 0)), [Said::Locked(2, 1, 42)]);
    assert_eq!(home.lock(1, 3, ask(1, EXCLUSIVE, 1, 5)), []);
    assert_eq!(home.lock(1, 1, ask(2, SHARED, 2, 5)), [], "nobody passes those who wait");
    assert_eq!(home.lock(2, 1, Up::Unlock { epoch: epoch(42) }), [], "another's");
    assert_eq!(home.lock(2, 1, Up::Unlock { epoch: epoch(41) }), []);
    assert_eq!(home.lock(2, 2, Up::Unlock { epoch: epoch(42) }), [Said::Locked(3, 1, 43)]);
    assert_eq!(home.lock(3, 3, Up::Unlock { epoch: epoch(43) }), [Said::Locked(1, 2, 44)]);
    assert_eq!(home.0.locks(), 1);
}

#[test]
fn waits_end_by_deadline_or_when_given_up() {
    let mut home = Home::greeted(&[1, 2]);
    home.lock(1, 1, ask(1, EXCLUSIVE, 1, 0));
    assert_eq!(home.lock(1, 2, ask(1, EXCLUSIVE, 1, 0)), [Said::Not(2, 1, LockRefusal::Held)], "not at all");
    home.lock(1, 2, ask(2, EXCLUSIVE, 1, 4));
    home.lock(1, 2, ask(3, SHARED, 2, 6));
    assert_eq!(said(&home.at(4, HomeEvent::Tick)), []);
    assert_eq!(said(&home.at(5, HomeEvent::Tick)), [Said::Not(2, 2, LockRefusal::Held)]);
    home.lock(5, 2, Up::Cancel { request: 3 });
    assert_eq!(home.lock(6, 1, Up::Unlock { epoch: epoch(41) }), [], "nobody waits any more");
    assert_eq!(home.0.locks(), 0);
}

#[test]
fn what_cannot_be_locked() {
    let mut home = Home::greeted(&[1, 2]);
    home.lock(1, 1, ask(1, SHARED, 1, 0));
    assert_eq!(home.lock(1, 1, ask(2, EXCLUSIVE, 1, 9)), [Said::Not(1, 2, LockRefusal::Yours)]);
    assert_eq!(home.lock(1, 1, ask(3, EXCLUSIVE, 2, 0)), [Said::Not(1, 3, LockRefusal::Held)], "another owner");
    let span = |from, to| LockWish { span: LockSpan { from, to }, ..LockWish::whole(path("b"), EXCLUSIVE, 1) };
    let part = |request, from, to| Up::Lock { request, wish: span(from, to), wait_ms: 0 };
    assert_eq!(home.lock(1, 1, part(4, 5, 5)), [Said::Not(1, 4, LockRefusal::Empty)]);
    assert_eq!(home.lock(1, 1, part(5, 0, 10)), [Said::Locked(1, 5, 42)]);
    assert_eq!(home.lock(1, 2, part(6, 9, 20)), [Said::Not(2, 6, LockRefusal::Held)]);
    assert_eq!(home.lock(1, 2, part(7, 10, 20)), [Said::Locked(2, 7, 43)]);
    for owner in 100..98 + MAX_LOCKS_PER_SESSION as u64 {
        assert_eq!(home.lock(1, 1, ask(owner, SHARED, owner, 0)).len(), 1);
    }
    assert_eq!(home.lock(1, 1, ask(8, SHARED, 8, 0)), [Said::Not(1, 8, LockRefusal::Full)]);
}

#[test]
fn a_change_under_a_lost_lock_is_refused() {
    let mut home = Home::greeted(&[1, 2]);
    home.lock(1, 1, ask(1, EXCLUSIVE, 1, 0));
    assert_eq!(admitted(&home.locked_change(1, 1, 41)), [1]);
    home.ended(1, 101);
    assert_eq!(home.locked_change(1, 2, 40), [lost(2, 40)], "never held");
    home.open(1, stream(2, 1), "a");
    assert!(admitted(&home.locked_change(2, 3, 41)).is_empty(), "it waits for the recall");
    let left = home.told(3, stream(1, 1), Up::Unlock { epoch: epoch(41) });
    assert_eq!(left, [lost(3, 41)], "and is refused when the lock goes");
    assert_eq!(home.locked_change(3, 4, 41), [lost(4, 41)]);
}

#[test]
fn a_lock_passes_on_when_what_was_admitted_under_it_has_ended() {
    let mut home = Home::greeted(&[1, 2]);
    home.lock(1, 1, ask(1, EXCLUSIVE, 1, 0));
    home.lock(1, 2, ask(1, EXCLUSIVE, 1, 60));
    assert_eq!(admitted(&home.locked_change(2, 1, 41)), [1]);
    for secs in [5, 9] {
        home.told(secs, stream(2, 1), Up::Renew { id: secs });
    }
    let struck = home.at(10, HomeEvent::Tick);
    assert!(matches!(struck.as_slice(), [HomeAction::Forget { .. }]), "its lease ends, its change does not");
    assert_eq!(home.locked_change(11, 2, 41), [lost(2, 41)]);
    let ended = HomeEvent::Ended { change: ChangeRef::Token(1), committed: Some(ChangeNumber(101)) };
    assert_eq!(said(&home.at(12, ended)), [Said::Locked(2, 1, 42)]);
}

#[test]
fn a_lock_outlives_its_stream_if_it_is_claimed() {
    let mut home = Home::greeted(&[1, 2]);
    home.lock(1, 1, ask(1, EXCLUSIVE, 1, 0));
    home.lock(1, 2, ask(1, EXCLUSIVE, 1, 60));
    home.hello(2, 1, 2);
    let on = |home: &mut Home, secs, connection, message| said(&home.told(secs, stream(1, connection), message));
    assert_eq!(on(&mut home, 2, 2, claim(&[41, 7])), [Said::Has(1, vec![41])], "and nothing that it never had");
    assert_eq!(admitted(&home.locked_change(2, 1, 41)), [1]);
    home.ended(2, 101);
    home.hello(3, 1, 3);
    let said = on(&mut home, 3, 3, claim(&[]));
    assert_eq!(said, [Said::Locked(2, 1, 42), Said::Has(1, vec![])], "a grant that never arrived");
    let again = Hello { session: stream(1, 3).session, connection: 3 };
    let ended = home.told(4, again, Up::Leave);
    assert!(!ended.is_empty() && home.0.locks() == 1);
}

#[test]
fn after_a_crash_locks_come_back_by_claim_or_not_at_all() {
    let mut home = Home::new(&[(1, "n1"), (2, "n2"), (3, "n3")]);
    home.hello(1, 4, 1);
    assert_eq!(home.lock(1, 4, claim(&[12])), [Said::Has(4, vec![])], "it was not there before");
    assert_eq!(home.lock(1, 4, ask(1, EXCLUSIVE, 1, 60)), [], "somebody may still claim it");
    for session in [1, 2, 3] {
        home.hello(2, session, 9);
    }
    assert!(admitted(&home.locked_change(2, 1, 12)).is_empty(), "not before all have claimed");
    let on = |home: &mut Home, session, message| home.told(3, stream(session, 9), message);
    assert_eq!(said(&on(&mut home, 1, claim(&[11]))), [Said::Has(1, vec![11])]);
    let later = said(&on(&mut home, 2, claim(&[12, 999])));
    assert_eq!(later, [Said::Lost(1, 11), Said::Has(2, vec![12])], "the later grant is right");
    assert_eq!(admitted(&on(&mut home, 3, claim(&[]))), [1]);
    let next = on(&mut home, 2, Up::Unlock { epoch: epoch(12) });
    assert_eq!(said(&next), [], "its change is being committed");
    home.ended(3, 101);
    assert_eq!(home.0.locks(), 1);
}

#[test]
fn a_restart_waits_for_claims_at_most_one_lease() {
    let mut home = Home::new(&[(1, "n1"), (2, "n2")]);
    home.at(1, HomeEvent::Hello { hello: stream(1, 9), holder: holder("n1") });
    home.at(1, HomeEvent::Hello { hello: stream(4, 1), holder: holder("n4") });
    home.lock(1, 4, ask(1, EXCLUSIVE, 1, 60));
    home.told(6, stream(4, 1), Up::Renew { id: 1 });
    assert_eq!(said(&home.at(9, HomeEvent::Tick)), []);
    assert_eq!(said(&home.at(10, HomeEvent::Tick)), [Said::Locked(4, 1, 41)]);
}
