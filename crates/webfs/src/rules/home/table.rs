//! Sessions and their callbacks, indexed both ways, with their deadlines in order.
//! It keeps what the protocol decides and decides nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use terms::{BootMs, ChangeNumber, Principal, SessionId, VolumePath};

/// A holder's session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) holder: Principal,
    pub(super) connection: u64,
    /// When the lease ends, by the home's clock.
    pub(super) lease_end: BootMs,
    /// A recall was not acknowledged in time: the lease is not extended any more.
    pub(super) silent: bool,
    objects: BTreeSet<VolumePath>,
    recalled: BTreeSet<VolumePath>,
}

/// What a session has on an object.
#[derive(Debug)]
pub(super) enum Hold {
    /// It will be told of a change.
    Callback,
    /// It was told and has not acknowledged.
    Recalled { change: ChangeNumber, until: BootMs, awaited_by: BTreeSet<ChangeNumber> },
}

/// What one principal has of this table: counts.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Share {
    pub(super) sessions: usize,
    pub(super) holds: usize,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    sessions: BTreeMap<SessionId, Session>,
    shares: BTreeMap<Principal, Share>,
    objects: BTreeMap<VolumePath, BTreeMap<SessionId, Hold>>,
    lease_ends: BTreeSet<(BootMs, SessionId)>,
    recall_ends: BTreeSet<(BootMs, SessionId, VolumePath)>,
    holds: usize,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn holds(&self) -> usize {
        self.holds
    }

    pub(super) fn get(&self, session: &SessionId) -> Option<&Session> {
        self.sessions.get(session)
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.sessions.iter()
    }

    pub(super) fn holds_of(&self, session: &SessionId) -> usize {
        self.sessions.get(session).map_or(0, |session| session.objects.len())
    }

    /// What this principal has in all its sessions.
    pub(super) fn share(&self, holder: &Principal) -> Share {
        self.shares.get(holder).copied().unwrap_or_default()
    }

    /// Begins a session, or a new stream of one, with a lease until then and without holds.
    pub(super) fn begin(&mut self, id: SessionId, holder: Principal, connection: u64, lease_end: BootMs) {
        debug_assert_eq!(self.holds_of(&id), 0, "a new stream begins without holds");
        let (objects, recalled) = Default::default();
        if !self.sessions.contains_key(&id) {
            self.shares.entry(holder.clone()).or_default().sessions += 1;
        }
        let session = Session { holder, connection, lease_end, silent: false, objects, recalled };
        if let Some(old) = self.sessions.insert(id, session) {
            self.lease_ends.remove(&(old.lease_end, id));
        }
        self.lease_ends.insert((lease_end, id));
    }

    pub(super) fn extend(&mut self, id: SessionId, lease_end: BootMs) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        self.lease_ends.remove(&(session.lease_end, id));
        session.lease_end = lease_end.max(session.lease_end);
        self.lease_ends.insert((session.lease_end, id));
    }

    pub(super) fn silence(&mut self, id: &SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.silent = true;
        }
    }

    /// Gives a callback. An object with an unacknowledged recall gets none.
    pub(super) fn hold(&mut self, id: SessionId, object: &VolumePath) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let holders = self.objects.entry(object.clone()).or_default();
        match holders.get(&id) {
            Some(Hold::Recalled { .. }) => return false,
            Some(Hold::Callback) => return true,
            None => {}
        }
        holders.insert(id, Hold::Callback);
        session.objects.insert(object.clone());
        self.holds += 1;
        self.shares.entry(session.holder.clone()).or_default().holds += 1;
        true
    }

    /// Who has something on this object.
    pub(super) fn holders(&self, object: &VolumePath) -> Vec<SessionId> {
        self.objects.get(object).map(|holders| holders.keys().copied().collect()).unwrap_or_default()
    }

    /// The objects at and below a path on which somebody has something.
    pub(super) fn held_below(&self, top: &VolumePath) -> Vec<VolumePath> {
        let near =
            self.objects.range(top.clone()..).take_while(|(path, _)| path.as_str().starts_with(top.as_str()));
        near.filter(|(path, _)| path.below(top).is_some()).map(|(path, _)| path.clone()).collect()
    }

    /// Notes that a change waits for this hold. True if the session must be told: it was not before.
    pub(super) fn recall(&mut self, id: SessionId, object: &VolumePath, change: ChangeNumber) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let Some(hold) = self.objects.get_mut(object).and_then(|holders| holders.get_mut(&id)) else {
            return false;
        };
        if let Hold::Recalled { awaited_by, .. } = hold {
            awaited_by.insert(change);
            return false;
        }
        let until = session.lease_end;
        *hold = Hold::Recalled { change, until, awaited_by: BTreeSet::from([change]) };
        session.recalled.insert(object.clone());
        self.recall_ends.insert((until, id, object.clone()));
        true
    }

    /// The session's objects with unacknowledged recalls.
    pub(super) fn unacknowledged(&self, id: &SessionId) -> Vec<VolumePath> {
        self.sessions.get(id).map(|session| session.recalled.iter().cloned().collect()).unwrap_or_default()
    }

    /// Takes an acknowledgement of a recall up to this number; returns the changes that waited for it.
    pub(super) fn acknowledge(
        &mut self,
        id: SessionId,
        object: &VolumePath,
        up_to: ChangeNumber,
    ) -> BTreeSet<ChangeNumber> {
        match self.objects.get(object).and_then(|holders| holders.get(&id)) {
            Some(Hold::Recalled { change, .. }) if *change <= up_to => self.release(id, object),
            _ => BTreeSet::new(),
        }
    }

    /// Ends a hold; returns the changes that waited for it.
    pub(super) fn release(&mut self, id: SessionId, object: &VolumePath) -> BTreeSet<ChangeNumber> {
        let Some(holders) = self.objects.get_mut(object) else { return BTreeSet::new() };
        let hold = holders.remove(&id);
        if holders.is_empty() {
            self.objects.remove(object);
        }
        let Some(hold) = hold else { return BTreeSet::new() };
        self.holds -= 1;
        if let Some(session) = self.sessions.get_mut(&id) {
            session.objects.remove(object);
            session.recalled.remove(object);
            if let Some(share) = self.shares.get_mut(&session.holder) {
                share.holds -= 1;
            }
        }
        match hold {
            Hold::Callback => BTreeSet::new(),
            Hold::Recalled { until, awaited_by, .. } => {
                self.recall_ends.remove(&(until, id, object.clone()));
                awaited_by
            }
        }
    }

    /// Ends all holds of a session; returns the changes that waited for any, once per hold.
    pub(super) fn release_all(&mut self, id: SessionId) -> Vec<ChangeNumber> {
        let objects = self.sessions.get(&id).map(|session| session.objects.clone()).unwrap_or_default();
        objects.iter().flat_map(|object| self.release(id, object)).collect()
    }

    /// Removes a session without holds.
    pub(super) fn remove(&mut self, id: SessionId) {
        debug_assert_eq!(self.holds_of(&id), 0, "holds are released first");
        let Some(session) = self.sessions.remove(&id) else { return };
        self.lease_ends.remove(&(session.lease_end, id));
        let Some(share) = self.shares.get_mut(&session.holder) else { return };
        share.sessions -= 1;
        if share.sessions == 0 {
            self.shares.remove(&session.holder);
        }
    }

    /// The recall that ends first.
    pub(super) fn first_recall_end(&self) -> Option<&(BootMs, SessionId, VolumePath)> {
        self.recall_ends.first()
    }

    /// The lease that ends first.
    pub(super) fn first_lease_end(&self) -> Option<(BootMs, SessionId)> {
        self.lease_ends.first().copied()
    }

    /// Unacknowledged recalls, the earliest end first.
    pub(super) fn recalls(
        &self,
    ) -> impl Iterator<Item = (BootMs, SessionId, &VolumePath, &BTreeSet<ChangeNumber>)> {
        self.recall_ends.iter().filter_map(|(until, id, object)| match self.objects.get(object)?.get(id)? {
            Hold::Recalled { awaited_by, .. } => Some((*until, *id, object, awaited_by)),
            Hold::Callback => None,
        })
    }
}
