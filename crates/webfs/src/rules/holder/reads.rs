//! Reads at a holder: from the cache while it is valid, else by a request to the home that later readers may join.
//! An answer that a recall has overtaken is used once and not kept; a joiner is given only what was kept.

use super::{Answer, Cached, Holder, HolderAction, ReadFailure};
use crate::model::ObjectVersion;
use crate::rules::limits::{MAX_CALLBACKS_PER_SESSION, MAX_JOINED};
use std::collections::BTreeMap;
use terms::{BootMs, ChangeNumber, VolumePath};

/// A request in flight, and what was recalled meanwhile of what it asks for.
#[derive(Debug)]
pub(super) struct Request {
    connection: Option<u64>,
    objects: BTreeMap<VolumePath, ChangeNumber>,
    /// The reader for whom it was sent; nobody for a registration.
    leader: Option<u64>,
    joined: Vec<u64>,
    /// The version seen before it was sent: the home can only answer with that or a later one.
    floor: Option<ObjectVersion>,
    /// When it was sent.
    sent: BootMs,
}

impl Request {
    pub(super) fn registration(connection: u64, objects: impl Iterator<Item = VolumePath>) -> Self {
        let objects = objects.map(|object| (object, ChangeNumber::default())).collect();
        Self {
            connection: Some(connection),
            objects,
            leader: None,
            joined: Vec::new(),
            floor: None,
            sent: BootMs(0),
        }
    }

    pub(super) fn names(&self, object: &VolumePath) -> bool {
        self.objects.contains_key(object)
    }

    /// A version that the volume has lost with a new epoch is no measure of what it shows now.
    pub(super) fn forget_floor(&mut self, keeps: impl Fn(ObjectVersion) -> bool) {
        self.floor = self.floor.filter(|seen| keeps(*seen));
    }

    pub(super) fn recalled(&mut self, object: &VolumePath, change: ChangeNumber) {
        if let Some(highest) = self.objects.get_mut(object) {
            *highest = change.max(*highest);
        }
    }
}

impl Holder {
    pub(super) fn read(&mut self, now: BootMs, waiter: u64, object: VolumePath, actions: &mut Vec<HolderAction>) {
        if let Some(version) = self.valid(now, &object) {
            return actions.push(HolderAction::ServeCached { waiter, object, version });
        }
        match self.joinable(now, &object) {
            Some(request) => request.joined.push(waiter),
            None => self.ask(now, waiter, Vec::new(), object, actions),
        }
    }

    pub(super) fn answered(&mut self, now: BootMs, request: u64, answer: Answer, actions: &mut Vec<HolderAction>) {
        let Some(asked) = self.requests.remove(&request) else { return };
        let (Some(leader), Some(object)) = (asked.leader, asked.objects.keys().next().cloned()) else { return };
        if self.open.get(&object) == Some(&request) {
            self.open.remove(&object);
        }
        match answer {
            Answer::Found { version, change, callback } => {
                let grant = Grant { version, change, callback, unasked: None };
                self.found(now, Asked { request, leader, object, asked }, grant, actions);
            }
            Answer::Unasked { version, change, kept } => {
                let grant = Grant { version, change, callback: false, unasked: Some(asked.sent.plus(kept)) };
                self.found(now, Asked { request, leader, object, asked }, grant, actions);
            }
            Answer::Nothing => {
                actions.push(HolderAction::ServeAnswer { waiter: leader, request, keep: false });
                self.ask_for_joined(now, asked.joined, object, actions);
            }
            Answer::Failed => {
                let failure = ReadFailure::Unreachable;
                let readers = [leader].into_iter().chain(asked.joined);
                actions.extend(readers.map(|waiter| HolderAction::Fail { waiter, failure }));
            }
        }
    }

    /// Whether a recall that was sent after the grant has arrived before it.
    pub(super) fn is_overtaken(&self, asked: &Request, object: &VolumePath, change: ChangeNumber) -> bool {
        let highest = asked.objects.get(object).copied().unwrap_or(self.highest_recall);
        self.rules.checks.change_numbers && change < highest
    }

    fn found(&mut self, now: BootMs, asked: Asked, grant: Grant, actions: &mut Vec<HolderAction>) {
        let Asked { request, leader, object, asked } = asked;
        if let Some(seen) = asked.floor.filter(|seen| grant.version < *seen) {
            let failure = ReadFailure::RolledBack { seen, offered: grant.version };
            let readers = [leader].into_iter().chain(asked.joined);
            return actions.extend(readers.map(|waiter| HolderAction::Fail { waiter, failure }));
        }
        // A later answer came first: this one was right when it was given, but readers must not go back.
        if self.cached.get(&object).is_some_and(|cached| grant.version < cached.seen) {
            return self.ask(now, leader, asked.joined, object, actions);
        }
        let overtaken = self.is_overtaken(&asked, &object, grant.change);
        let same_stream = !self.rules.checks.connections || asked.connection == self.stream().map(|s| s.connection);
        // An answer that took longer than its time is used once.
        let in_time = |until| now < until;
        let stands = grant.unasked.map_or(grant.callback && same_stream, in_time);
        let keep = stands && !overtaken && self.has_room(&object);
        if keep {
            let Grant { version, change: granted, unasked, .. } = grant;
            let valid = unasked.is_none();
            self.cached.insert(object.clone(), Cached { version, seen: version, granted, valid, unasked });
        } else if let Some(cached) = self.cached.get_mut(&object).filter(|cached| cached.seen < grant.version) {
            (cached.seen, cached.valid, cached.unasked) = (grant.version, false, None);
        }
        actions.push(HolderAction::ServeAnswer { waiter: leader, request, keep });
        if keep && self.is_trusted(now) {
            let joined = asked.joined.into_iter();
            actions.extend(joined.map(|waiter| HolderAction::ServeAnswer { waiter, request, keep }));
        } else {
            self.ask_for_joined(now, asked.joined, object, actions);
        }
    }

    /// Room for one more; what has no callback goes first.
    fn has_room(&mut self, object: &VolumePath) -> bool {
        if self.cached.len() >= MAX_CALLBACKS_PER_SESSION && !self.cached.contains_key(object) {
            self.cached.retain(|_, cached| cached.valid || cached.unasked.is_some());
        }
        self.cached.len() < MAX_CALLBACKS_PER_SESSION
    }

    /// The request in flight whose answer, if it can be kept, is also right for a read that begins now.
    fn joinable(&mut self, now: BootMs, object: &VolumePath) -> Option<&mut Request> {
        let (connection, trusted) = (self.stream()?.connection, self.is_trusted(now));
        let request = self.requests.get_mut(self.open.get(object)?)?;
        let overtaken = request.objects.values().any(|recalled| *recalled > ChangeNumber::default());
        let joinable = trusted && !overtaken && request.connection == Some(connection);
        (joinable && request.joined.len() < MAX_JOINED).then_some(request)
    }

    fn ask(
        &mut self,
        now: BootMs,
        leader: u64,
        joined: Vec<u64>,
        object: VolumePath,
        actions: &mut Vec<HolderAction>,
    ) {
        let (request, stream) = (self.fresh_id(), self.stream());
        let objects = BTreeMap::from([(object.clone(), ChangeNumber::default())]);
        let connection = stream.map(|stream| stream.connection);
        let floor = self.cached.get(&object).map(|cached| cached.seen);
        self.requests
            .insert(request, Request { connection, objects, leader: Some(leader), joined, floor, sent: now });
        self.open.insert(object.clone(), request);
        actions.push(HolderAction::Ask { request, stream, object });
    }

    fn ask_for_joined(
        &mut self,
        now: BootMs,
        joined: Vec<u64>,
        object: VolumePath,
        actions: &mut Vec<HolderAction>,
    ) {
        let mut joined = joined.into_iter();
        if let Some(leader) = joined.next() {
            self.ask(now, leader, joined.collect(), object, actions);
        }
    }
}

struct Asked {
    request: u64,
    leader: u64,
    object: VolumePath,
    asked: Request,
}

struct Grant {
    version: ObjectVersion,
    change: ChangeNumber,
    callback: bool,
    unasked: Option<BootMs>,
}
