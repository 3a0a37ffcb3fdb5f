//! A holder's side of coherence: what of its cache it may trust, and what it must ask the home again.
//! Cached objects are valid while their callback stands and the lease, counted from sending its renewal, has not
//! passed two thirds. It relies on its caller to deliver each stream's frames in order and answers whenever.

mod epochs;
mod event;
mod locks;
mod reads;

use super::LeaseRules;
use super::limits::{GREETING_DEADLINE, MAX_CALLBACKS_PER_SESSION, MAX_FRAME_OBJECTS};
use super::message::{ByeReason, Down, Hello, Up};
use crate::model::ObjectVersion;
pub use epochs::{Believed, Raised};
pub use event::{Answer, HolderAction, HolderEvent, LockFailure, ReadFailure};
use locks::HeldLocks;
use reads::Request;
use std::collections::BTreeMap;
use std::time::Duration;
use terms::{BootMs, ChangeNumber, Epoch, SessionId, VolumePath};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    Greeting { connection: u64, since: BootMs },
    Up { connection: u64 },
}

#[derive(Debug, Clone, Copy)]
struct Cached {
    /// The version of the copy.
    version: ObjectVersion,
    /// The highest version that the home has shown.
    seen: ObjectVersion,
    /// The change number of the grant.
    granted: ChangeNumber,
    /// A callback stands.
    valid: bool,
    /// Until when it may be used without a callback, and without a lease.
    unasked: Option<BootMs>,
}

/// A holder of cached objects of one volume.
#[derive(Debug)]
pub struct Holder {
    rules: LeaseRules,
    session: SessionId,
    link: Link,
    last_connection: u64,
    epoch: Epoch,
    /// What the volume's signed record says, once it was told.
    believed: Option<Epoch>,
    unproven: Option<Epoch>,
    lease: Duration,
    lease_end: BootMs,
    depth: u8,
    trusted_until: BootMs,
    renewals: BTreeMap<u64, BootMs>,
    next_renewal: BootMs,
    last_granted: BootMs,
    highest_recall: ChangeNumber,
    next_id: u64,
    cached: BTreeMap<VolumePath, Cached>,
    requests: BTreeMap<u64, Request>,
    /// The request that a further reader of the object may join.
    open: BTreeMap<VolumePath, u64>,
    locks: HeldLocks,
}

impl Holder {
    /// A holder without a stream and with nothing cached.
    pub fn new(rules: LeaseRules, session: SessionId) -> Self {
        Self {
            rules,
            session,
            link: Link::Down,
            last_connection: 0,
            epoch: Epoch::default(),
            believed: None,
            unproven: None,
            lease: rules.lease,
            lease_end: BootMs::default(),
            depth: 0,
            trusted_until: BootMs::default(),
            renewals: BTreeMap::new(),
            next_renewal: BootMs::default(),
            last_granted: BootMs::default(),
            highest_recall: ChangeNumber::default(),
            next_id: 0,
            cached: BTreeMap::new(),
            requests: BTreeMap::new(),
            open: BTreeMap::new(),
            locks: HeldLocks::default(),
        }
    }

    /// Takes one event; returns what must be done, in order.
    pub fn step(&mut self, now: BootMs, event: HolderEvent) -> Vec<HolderAction> {
        let mut actions = Vec::new();
        match event {
            HolderEvent::Connected => self.connected(now, &mut actions),
            HolderEvent::Lost { connection } if self.connection() == Some(connection) => self.link = Link::Down,
            HolderEvent::Told { connection, message } if self.connection() == Some(connection) => {
                self.told(now, connection, message, &mut actions);
            }
            HolderEvent::Dropped { connection, change, objects } if self.connection() == Some(connection) => {
                actions.push(HolderAction::Send { connection, message: Up::Ack { change, objects } });
            }
            HolderEvent::Lost { .. } | HolderEvent::Told { .. } | HolderEvent::Dropped { .. } => {}
            HolderEvent::Read { waiter, object } => self.read(now, waiter, object, &mut actions),
            HolderEvent::Answered { request, answer } => self.answered(now, request, answer, &mut actions),
            HolderEvent::Load { object, version } => self.load(object, version),
            HolderEvent::Evict { object } => {
                self.cached.remove(&object);
            }
            HolderEvent::Lock { waiter, wish, wait } => self.lock(now, waiter, wish, wait, &mut actions),
            HolderEvent::CancelLock { waiter } => self.cancel_lock(waiter, &mut actions),
            HolderEvent::Unlock { epoch } => self.unlock(epoch, &mut actions),
            HolderEvent::Renew if self.renewals.is_empty() => self.next_renewal = now.min(self.next_renewal),
            HolderEvent::Renew | HolderEvent::Tick => {}
            HolderEvent::Leave => {
                if let Link::Up { connection } = self.link {
                    actions.push(HolderAction::Send { connection, message: Up::Leave });
                    self.close(connection, None, &mut actions);
                }
                self.distrust();
                self.lose_all_locks(&mut actions);
            }
        }
        self.end_lock_waits(now, &mut actions);
        self.keep_alive(now, &mut actions);
        actions
    }

    /// When [`HolderEvent::Tick`] is due at the latest.
    pub fn next_deadline(&self) -> Option<BootMs> {
        let link = match self.link {
            Link::Down => None,
            Link::Greeting { since, .. } => Some(since.plus(GREETING_DEADLINE)),
            Link::Up { .. } => Some(self.next_renewal),
        };
        link.into_iter().chain(self.lock_deadline()).min()
    }

    /// Whether the lease covers this moment.
    pub fn is_trusted(&self, now: BootMs) -> bool {
        now < self.trusted_until
    }

    /// Until when the lease covers valid objects, without another renewal.
    pub fn trusted_until(&self) -> BootMs {
        self.trusted_until
    }

    /// When the last lease ends at the server above, at the earliest: counted from asking for it.
    pub fn lease_end(&self) -> BootMs {
        self.lease_end
    }

    /// How many relays stand between this holder and the home.
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// The highest epoch of the volume that was seen.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether a stream is open and greeted.
    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// The version of an object's copy that may be used now without asking.
    pub fn valid(&self, now: BootMs, object: &VolumePath) -> Option<ObjectVersion> {
        let cached = self.cached.get(object)?;
        let usable = match cached.unasked {
            Some(until) => now < until || !self.rules.checks.times_to_live,
            None => cached.valid && self.is_trusted(now),
        };
        usable.then_some(cached.version)
    }

    /// Until when an object's copy may be used without a callback and without a lease, if that was said of it.
    pub fn unasked_until(&self, object: &VolumePath) -> Option<BootMs> {
        self.cached.get(object)?.unasked
    }

    /// Objects known, valid or not: count.
    pub fn objects(&self) -> usize {
        self.cached.len()
    }

    /// Objects with a callback: count.
    pub fn callbacks(&self) -> usize {
        self.cached.values().filter(|cached| cached.valid).count()
    }

    fn connection(&self) -> Option<u64> {
        match self.link {
            Link::Down => None,
            Link::Greeting { connection, .. } | Link::Up { connection } => Some(connection),
        }
    }

    fn stream(&self) -> Option<Hello> {
        match self.link {
            Link::Up { connection } => Some(Hello { session: self.session, connection }),
            Link::Down | Link::Greeting { .. } => None,
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// From here on nothing that was granted before counts; the home may rely on it.
    fn distrust(&mut self) {
        if self.rules.checks.registers_anew {
            self.cached.values_mut().for_each(|cached| cached.valid = false);
        }
        self.trusted_until = BootMs::default();
        self.renewals.clear();
    }

    fn connected(&mut self, now: BootMs, actions: &mut Vec<HolderAction>) {
        if let Some(connection) = self.connection() {
            self.close(connection, None, actions);
        }
        self.distrust();
        self.last_connection += 1;
        self.link = Link::Greeting { connection: self.last_connection, since: now };
        actions.push(HolderAction::Greet(Hello { session: self.session, connection: self.last_connection }));
    }

    fn close(&mut self, connection: u64, reason: Option<ByeReason>, actions: &mut Vec<HolderAction>) {
        self.link = Link::Down;
        actions.push(HolderAction::Close { connection, reason });
    }

    fn told(&mut self, now: BootMs, connection: u64, message: Down, actions: &mut Vec<HolderAction>) {
        match (message, self.link) {
            (Down::Welcome { epoch, lease_ms, change, depth }, Link::Greeting { since, .. }) => {
                if epoch < self.epoch || !self.is_proved(epoch) {
                    return self.close(connection, None, actions);
                }
                (self.epoch, self.depth) = (epoch, depth);
                self.lease = Duration::from_millis(lease_ms.into());
                self.link = Link::Up { connection };
                self.highest_recall = change;
                (self.next_renewal, self.last_granted) = (now.plus(self.rules.renew_every), now);
                self.trust_from(since);
                self.register(actions);
                self.claim_locks(now, connection, actions);
            }
            (Down::Granted { id, lease_ms, change, excluded }, Link::Up { .. }) => {
                if !excluded.is_empty() {
                    self.recalled(connection, change, excluded, actions);
                }
                let Some(sent) = self.renewals.remove(&id) else { return };
                self.renewals.retain(|earlier, _| *earlier > id);
                self.last_granted = now;
                self.lease = Duration::from_millis(lease_ms.into());
                self.trust_from(sent);
            }
            (Down::Recall { change, objects }, Link::Up { .. }) => {
                self.recalled(connection, change, objects, actions);
            }
            (Down::Registered { request, change, current }, Link::Up { .. }) => {
                self.registered(request, change, current);
            }
            (Down::Locked { request, epoch }, Link::Up { .. }) => self.locked(request, epoch, actions),
            (Down::NotLocked { request, reason }, Link::Up { .. }) => {
                self.not_locked(request, LockFailure::Refused(reason), actions);
            }
            (Down::Locks { held }, Link::Up { .. }) => self.claimed(&held, actions),
            (Down::LockLost { epoch }, Link::Up { .. }) => self.lock_lost(epoch, actions),
            (Down::Bye { reason }, _) => {
                self.distrust();
                self.lose_all_locks(actions);
                actions.push(HolderAction::Send { connection, message: Up::Leave });
                self.close(connection, Some(reason), actions);
            }
            // Out of order: the home is not what it should be.
            _ => self.close(connection, None, actions),
        }
    }

    fn trust_from(&mut self, sent: BootMs) {
        self.lease_end = self.lease_end.max(sent.plus(self.lease.min(self.rules.lease)));
        let until = match self.rules.checks.self_fencing {
            true => sent.plus(self.rules.trusted_for(self.lease)),
            false => BootMs(u64::MAX),
        };
        self.trusted_until = self.trusted_until.max(until);
    }

    fn recalled(
        &mut self,
        connection: u64,
        change: ChangeNumber,
        objects: Vec<VolumePath>,
        actions: &mut Vec<HolderAction>,
    ) {
        self.highest_recall = self.highest_recall.max(change);
        for object in &objects {
            if let Some(cached) = self.cached.get_mut(object).filter(|cached| cached.granted < change) {
                (cached.valid, cached.unasked) = (false, None);
            }
            self.requests.values_mut().for_each(|request| request.recalled(object, change));
        }
        actions.push(HolderAction::Drop { connection, change, objects });
    }

    /// Asks for callbacks on all that is cached, in as few frames as the limit allows.
    fn register(&mut self, actions: &mut Vec<HolderAction>) {
        let Some(stream) = self.stream() else { return };
        // What is used unasked for a time has no callback, and needs none.
        let asked = self.cached.iter().filter(|(_, cached)| cached.unasked.is_none());
        let all: Vec<_> = asked.map(|(object, cached)| (object.clone(), cached.version)).collect();
        for objects in all.chunks(MAX_FRAME_OBJECTS) {
            let request = self.fresh_id();
            let asked = objects.iter().map(|(object, _)| object.clone());
            self.requests.insert(request, Request::registration(stream.connection, asked));
            let message = Up::Register { request, objects: objects.to_vec() };
            actions.push(HolderAction::Send { connection: stream.connection, message });
        }
    }

    fn registered(&mut self, request: u64, change: ChangeNumber, current: Vec<VolumePath>) {
        let Some(asked) = self.requests.remove(&request) else { return };
        for object in current {
            let keep = asked.names(&object) && !self.is_overtaken(&asked, &object, change);
            if let Some(cached) = self.cached.get_mut(&object).filter(|cached| keep && !cached.valid) {
                (cached.valid, cached.granted) = (true, change);
            }
        }
    }

    fn load(&mut self, object: VolumePath, version: ObjectVersion) {
        if self.cached.len() < MAX_CALLBACKS_PER_SESSION {
            let granted = ChangeNumber::default();
            self.cached.entry(object).or_insert(Cached {
                version,
                seen: version,
                granted,
                valid: false,
                unasked: None,
            });
        }
    }

    fn keep_alive(&mut self, now: BootMs, actions: &mut Vec<HolderAction>) {
        match self.link {
            Link::Greeting { connection, since } if now >= since.plus(GREETING_DEADLINE) => {
                self.close(connection, None, actions);
            }
            Link::Up { connection }
                if now >= self.last_granted.plus(self.rules.lease) && now >= self.next_renewal =>
            {
                self.close(connection, None, actions);
            }
            Link::Up { connection } if now >= self.next_renewal => {
                self.next_renewal = now.plus(self.rules.renew_every);
                let id = self.fresh_id();
                self.renewals.insert(id, now);
                actions.push(HolderAction::Send { connection, message: Up::Renew { id } });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
