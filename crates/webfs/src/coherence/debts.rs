//! What a home owes its store: records of sessions to be removed, and lock numbers to be recorded as used. Until it
//! is paid no lock is granted, because a restart would believe the records.

use crate::store::Store;
use std::collections::BTreeSet;
use terms::SessionId;

/// Writes that have failed and are to be tried again.
#[derive(Debug, Default)]
pub(super) struct Debts {
    forget: BTreeSet<SessionId>,
    reserve: Option<u64>,
}

impl Debts {
    /// Removes a session's record. One too many costs a restart a lease of waiting, and its holder could claim locks
    /// that it has lost.
    pub(super) async fn forget(&mut self, store: &Store, session: SessionId) {
        self.forget.insert(session);
        self.settle(store).await;
    }

    /// Records that lock numbers up to this one may have been granted.
    pub(super) async fn reserve(&mut self, store: &Store, up_to: u64) {
        self.reserve = Some(up_to);
        self.settle(store).await;
    }

    /// Whether nothing is owed any more.
    pub(super) async fn settle(&mut self, store: &Store) -> bool {
        while let Some(session) = self.forget.first().copied() {
            if let Err(error) = store.end_session(session).await {
                tracing::warn!(%error, "a session's record could not be removed");
                return false;
            }
            self.forget.remove(&session);
        }
        if let Some(up_to) = self.reserve {
            if let Err(error) = store.reserve_locks(up_to).await {
                tracing::warn!(%error, "no locks are granted: their numbers could not be recorded");
                return false;
            }
            self.reserve = None;
        }
        true
    }
}
