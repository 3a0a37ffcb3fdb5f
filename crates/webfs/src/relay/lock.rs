//! Advisory locks of those who use a replica: a guard for each, and the owner's book of them.

use super::owner::Order;
use crate::rules::{LockEpoch, LockFailure, LockRefusal};
use std::collections::HashMap;
use terms::{Code, Problem, VolumePath};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

/// A lock that is held until this is dropped. Whatever is to be seen under it is opened after it was granted, and
/// published, naming its epoch, before it is dropped.
#[derive(Debug)]
pub struct LockGuard {
    path: VolumePath,
    epoch: LockEpoch,
    lost: watch::Receiver<bool>,
    _ticket: Ticket,
}

impl LockGuard {
    pub(super) fn new(path: VolumePath, granted: Granted, ticket: Ticket) -> Self {
        Self { path, epoch: granted.epoch, lost: granted.lost, _ticket: ticket }
    }

    /// What is locked.
    pub fn path(&self) -> &VolumePath {
        &self.path
    }

    /// To be named by changes under the lock ([`crate::model::LOCK_HEADER`]): the home refuses them when it is lost.
    pub fn epoch(&self) -> LockEpoch {
        self.epoch
    }

    /// Whether it is known to be lost: whatever relied on it must be read again under a new lock.
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow() || self.lost.has_changed().is_err()
    }

    /// Waits until it is lost.
    pub async fn lost(&mut self) {
        // A replica that is gone has left its session, and with it all locks.
        let _ = self.lost.wait_for(|lost| *lost).await;
    }
}

/// A request for a lock, or a lock: told to the owner when it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// A place in the owner's inbox, reserved before the lock was asked for: giving it back must never have to wait.
    pub(super) place: Option<mpsc::OwnedPermit<Order>>,
    pub(super) _room: OwnedSemaphorePermit,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            place.send(Order::Unlock { ticket: self.number });
        }
    }
}

/// What the owner answers.
pub(super) struct Granted {
    epoch: LockEpoch,
    lost: watch::Receiver<bool>,
}

pub(super) type LockAnswered = oneshot::Sender<Result<Granted, Problem>>;

/// What a ticket stands for.
pub(super) enum Stands {
    Waiting,
    Held(LockEpoch),
    Nothing,
}

/// The owner's book.
#[derive(Default)]
pub(super) struct LockBook {
    asked: HashMap<u64, (VolumePath, LockAnswered)>,
    held: HashMap<u64, (LockEpoch, watch::Sender<bool>)>,
}

impl LockBook {
    pub(super) fn asked(&mut self, ticket: u64, path: VolumePath, answer: LockAnswered) {
        self.asked.insert(ticket, (path, answer));
    }

    pub(super) fn locked(&mut self, ticket: u64, epoch: LockEpoch) {
        let Some((_, answer)) = self.asked.remove(&ticket) else { return };
        let (tell, lost) = watch::channel(false);
        self.held.insert(ticket, (epoch, tell));
        // Whoever has gone away has dropped its ticket, which unlocks.
        let _ = answer.send(Ok(Granted { epoch, lost }));
    }

    pub(super) fn not_locked(&mut self, ticket: u64, failure: LockFailure, home: &dyn std::fmt::Display) {
        let Some((path, answer)) = self.asked.remove(&ticket) else { return };
        let _ = answer.send(Err(match failure {
            LockFailure::Refused(reason) => {
                let code = match reason {
                    LockRefusal::Held => Code::Timeout,
                    LockRefusal::Yours => Code::Exists,
                    LockRefusal::Full => Code::Busy,
                    LockRefusal::Denied => Code::Denied,
                    LockRefusal::Relay => Code::Unsupported,
                    LockRefusal::Empty => Code::Invalid,
                };
                Problem::new(code, format!("/{path} is not locked: {reason}"))
            }
            LockFailure::Unreachable => {
                let what = format!("/{path} is not locked: its home, {home}, did not answer");
                Problem::new(Code::Unavailable, what).next("try again when it can be reached")
            }
        }));
    }

    pub(super) fn lost(&mut self, lost: LockEpoch) {
        for (epoch, tell) in self.held.values() {
            if *epoch == lost {
                tell.send_replace(true);
            }
        }
    }

    /// A ticket is given back.
    pub(super) fn dropped(&mut self, ticket: u64) -> Stands {
        match (self.asked.remove(&ticket), self.held.remove(&ticket)) {
            (Some(_), _) => Stands::Waiting,
            (None, Some((epoch, _))) => Stands::Held(epoch),
            (None, None) => Stands::Nothing,
        }
    }
}
