//! How locks meet sessions and changes: what the table of locks wants said goes out on the sessions' streams, and
//! changes made under a lock that was lost are refused.

use super::locks::{Locks, Word};
use super::{HomeAction, HomeLeases, Refusal};
use crate::rules::lock::LockClaim;
use crate::rules::message::{Down, Hello};

impl HomeLeases {
    /// Does something to the locks and performs what follows from it.
    pub(super) fn with_locks(
        &mut self,
        actions: &mut Vec<HomeAction>,
        act: impl FnOnce(&mut Locks, &mut Vec<Word>),
    ) {
        let awaited = self.locks.awaits_claims();
        let mut words = Vec::new();
        act(&mut self.locks, &mut words);
        for word in words {
            let (session, message) = match word {
                Word::Reserve { up_to } => {
                    actions.push(HomeAction::ReserveLocks { up_to });
                    continue;
                }
                Word::Granted { session, request, epoch } => (session, Down::Locked { request, epoch }),
                Word::Refused { session, request, reason } => (session, Down::NotLocked { request, reason }),
                Word::Lost { session, epoch } => (session, Down::LockLost { epoch }),
            };
            if let Some(connection) = self.table.get(&session).map(|session| session.connection) {
                actions.push(HomeAction::Send { stream: Hello { session, connection }, message });
            }
        }
        self.refuse_lost(actions);
        if awaited && !self.locks.awaits_claims() {
            self.admit_ready(actions);
        }
    }

    pub(super) fn claim(&mut self, stream: Hello, claimed: Vec<LockClaim>, actions: &mut Vec<HomeAction>) {
        let mut held = Vec::new();
        self.with_locks(actions, |locks, words| held = locks.claim(stream.session, claimed, words));
        actions.push(HomeAction::Send { stream, message: Down::Locks { held } });
    }

    /// Refuses the changes that wait under a lock that is not held any more.
    fn refuse_lost(&mut self, actions: &mut Vec<HomeAction>) {
        if self.locks.awaits_claims() {
            return;
        }
        let locks = &self.locks;
        self.pending.retain(|_, pending| {
            let lost = pending.lock.filter(|lock| !pending.admitted && !locks.is_held(*lock));
            let reason = lost.map(Refusal::LockLost);
            actions.extend(reason.map(|reason| HomeAction::Refuse { token: pending.token, reason }));
            lost.is_none()
        });
    }
}
