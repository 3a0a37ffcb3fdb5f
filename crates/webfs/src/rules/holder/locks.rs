//! Advisory locks at a holder: asked for on the session stream, claimed again on a new one, lost with the session.
//! A read that begins after a lock was granted sees what was published under the lock before: every recall of that
//! came earlier on the same stream.

use super::{Holder, HolderAction, Link, LockFailure};
use crate::rules::lock::{LockClaim, LockEpoch, LockWish};
use crate::rules::message::Up;
use std::collections::BTreeMap;
use std::time::Duration;
use terms::BootMs;

#[derive(Debug)]
struct Asked {
    waiter: u64,
    wish: LockWish,
    until: BootMs,
}

/// The locks of a holder, and those it waits for.
#[derive(Debug, Default)]
pub(super) struct HeldLocks {
    asked: BTreeMap<u64, Asked>,
    held: BTreeMap<LockEpoch, LockWish>,
    /// The present stream has not answered yet which of them stand.
    claiming: bool,
}

impl Holder {
    /// Whether a lock is held, as far as the holder can know now: its changes may still be refused.
    pub fn holds_lock(&self, now: BootMs, epoch: LockEpoch) -> bool {
        !self.locks.claiming && self.is_trusted(now) && self.locks.held.contains_key(&epoch)
    }

    pub(super) fn lock(
        &mut self,
        now: BootMs,
        waiter: u64,
        wish: LockWish,
        wait: Duration,
        actions: &mut Vec<HolderAction>,
    ) {
        let request = self.fresh_id();
        self.locks.asked.insert(request, Asked { waiter, wish, until: now.plus(wait) });
        if let Link::Up { connection } = self.link {
            self.ask_for_lock(now, connection, request, actions);
        }
    }

    fn ask_for_lock(&self, now: BootMs, connection: u64, request: u64, actions: &mut Vec<HolderAction>) {
        let Some(asked) = self.locks.asked.get(&request) else { return };
        let wait_ms = u64::try_from(asked.until.since(now).as_millis()).unwrap_or(u64::MAX);
        let message = Up::Lock { request, wish: asked.wish.clone(), wait_ms };
        actions.push(HolderAction::Send { connection, message });
    }

    pub(super) fn unlock(&mut self, epoch: LockEpoch, actions: &mut Vec<HolderAction>) {
        self.locks.held.remove(&epoch);
        self.tell_unlocked(epoch, actions);
    }

    /// Without a stream nothing need be said: what the next one does not claim is released.
    fn tell_unlocked(&self, epoch: LockEpoch, actions: &mut Vec<HolderAction>) {
        if let Link::Up { connection } = self.link {
            actions.push(HolderAction::Send { connection, message: Up::Unlock { epoch } });
        }
    }

    /// Nobody waits for it any more.
    pub(super) fn cancel_lock(&mut self, waiter: u64, actions: &mut Vec<HolderAction>) {
        let request = self.locks.asked.iter().find(|(_, asked)| asked.waiter == waiter).map(|(id, _)| *id);
        let Some(request) = request else { return };
        self.locks.asked.remove(&request);
        if let Link::Up { connection } = self.link {
            actions.push(HolderAction::Send { connection, message: Up::Cancel { request } });
        }
    }

    /// On a new stream: says what is held, and asks again for what is waited for.
    pub(super) fn claim_locks(&mut self, now: BootMs, connection: u64, actions: &mut Vec<HolderAction>) {
        let claim = |(epoch, wish): (&LockEpoch, &LockWish)| LockClaim { epoch: *epoch, wish: wish.clone() };
        let locks = self.locks.held.iter().map(claim).collect();
        self.locks.claiming = true;
        actions.push(HolderAction::Send { connection, message: Up::Claim { locks } });
        for request in self.locks.asked.keys() {
            self.ask_for_lock(now, connection, *request, actions);
        }
    }

    /// Which locks stand, as the home says.
    pub(super) fn claimed(&mut self, held: &[LockEpoch], actions: &mut Vec<HolderAction>) {
        self.locks.claiming = false;
        let lost: Vec<_> = self.locks.held.keys().filter(|epoch| !held.contains(epoch)).copied().collect();
        lost.into_iter().for_each(|epoch| self.lock_lost(epoch, actions));
    }

    pub(super) fn locked(&mut self, request: u64, epoch: LockEpoch, actions: &mut Vec<HolderAction>) {
        let Some(Asked { waiter, wish, .. }) = self.locks.asked.remove(&request) else {
            return self.tell_unlocked(epoch, actions);
        };
        self.locks.held.insert(epoch, wish);
        actions.push(HolderAction::Locked { waiter, epoch });
    }

    pub(super) fn not_locked(&mut self, request: u64, failure: LockFailure, actions: &mut Vec<HolderAction>) {
        let asked = self.locks.asked.remove(&request);
        actions.extend(asked.map(|asked| HolderAction::NotLocked { waiter: asked.waiter, failure }));
    }

    pub(super) fn lock_lost(&mut self, epoch: LockEpoch, actions: &mut Vec<HolderAction>) {
        if self.locks.held.remove(&epoch).is_some() {
            actions.push(HolderAction::LockLost { epoch });
        }
    }

    /// The session has ended.
    pub(super) fn lose_all_locks(&mut self, actions: &mut Vec<HolderAction>) {
        self.locks.claiming = false;
        let held: Vec<_> = self.locks.held.keys().copied().collect();
        held.into_iter().for_each(|epoch| self.lock_lost(epoch, actions));
    }

    /// Ends waits for locks that are over: the home says so too, if it can be heard.
    pub(super) fn end_lock_waits(&mut self, now: BootMs, actions: &mut Vec<HolderAction>) {
        let over = |asked: &&Asked| self.first_lock_end(asked) <= now;
        let over: Vec<_> = self.locks.asked.values().filter(over).map(|asked| asked.waiter).collect();
        for waiter in over {
            self.cancel_lock(waiter, actions);
            actions.push(HolderAction::NotLocked { waiter, failure: LockFailure::Unreachable });
        }
    }

    pub(super) fn lock_deadline(&self) -> Option<BootMs> {
        self.locks.asked.values().map(|asked| self.first_lock_end(asked)).min()
    }

    /// The home's answer is given a moment longer than the wait.
    fn first_lock_end(&self, asked: &Asked) -> BootMs {
        asked.until.plus(self.rules.renew_every)
    }
}
