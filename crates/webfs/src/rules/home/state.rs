//! What a home's table looks like now, for those who want to see it.

use super::{HomeLeases, Waiting};
use crate::rules::limits::MAX_SHOWN_WAITS;
use std::collections::BTreeSet;
use terms::{ChangeNumber, Principal, VolumePath};

impl HomeLeases {
    /// The volume's change number: the highest that was given to a change.
    pub fn change(&self) -> ChangeNumber {
        self.change
    }

    /// Sessions with a lease, and those of before a restart that may still have one: count.
    pub fn sessions(&self) -> usize {
        self.table.len() + self.restart.as_ref().map_or(0, |restart| restart.unreported.len())
    }

    /// Who holds a session, each once.
    pub fn holders(&self) -> Vec<Principal> {
        let holders: BTreeSet<_> = self.table.sessions().map(|(_, session)| session.holder.clone()).collect();
        holders.into_iter().collect()
    }

    /// Callbacks, including unacknowledged recalls: count.
    pub fn callbacks(&self) -> usize {
        self.table.holds()
    }

    /// Advisory locks that are held: count.
    pub fn locks(&self) -> usize {
        self.locks.len()
    }

    /// For whom changes wait now; at most [`MAX_SHOWN_WAITS`].
    pub fn waiting(&self) -> Vec<Waiting> {
        let before = self.restart.iter().flat_map(|restart| {
            restart.unreported.values().map(|holder| Waiting {
                holder: holder.clone(),
                object: VolumePath::root(),
                until: restart.until,
            })
        });
        let recalls = self.table.recalls().filter_map(|(until, session, object, awaited_by)| {
            let holder = self.table.get(&session)?.holder.clone();
            let awaited = awaited_by.iter().any(|change| self.pending.contains_key(change));
            awaited.then(|| Waiting { holder, object: object.clone(), until })
        });
        before.filter(|_| !self.pending.is_empty()).chain(recalls).take(MAX_SHOWN_WAITS).collect()
    }
}
