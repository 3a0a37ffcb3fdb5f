//! The home's side of coherence: who holds what until when, and which changes may be committed.
//! A change is admitted when every holder of what it touches has acknowledged its recall or has lost its lease.
//! It relies on its caller to perform actions in order, `Record` durably before what follows.

mod event;
mod locking;
mod locks;
mod state;
mod table;

use super::LeaseRules;
use super::limits::{
    MAX_CALLBACKS, MAX_CALLBACKS_PER_HOLDER, MAX_CALLBACKS_PER_SESSION, MAX_FRAME_OBJECTS, MAX_PENDING_CHANGES,
    MAX_SESSIONS, MAX_SESSIONS_PER_HOLDER,
};
use super::message::{ByeReason, Down, Hello, Up};
use crate::gate::Touched;
use crate::rules::lock::LockEpoch;
pub use event::{ChangeRef, HomeAction, HomeEvent, HomeStart, Refusal, Waiting};
use locks::Locks;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use table::Table;
use terms::{BootMs, ChangeNumber, Epoch, Principal, SessionId, VolumePath};

#[derive(Debug)]
struct Pending {
    token: u64,
    touched: Touched,
    /// Unacknowledged recalls.
    waits: usize,
    lock: Option<LockEpoch>,
    admitted: bool,
}

#[derive(Debug)]
struct Restart {
    until: BootMs,
    unreported: BTreeMap<SessionId, Principal>,
}

/// The home's lease table for one volume.
#[derive(Debug)]
pub struct HomeLeases {
    rules: LeaseRules,
    epoch: Epoch,
    change: ChangeNumber,
    table: Table,
    pending: BTreeMap<ChangeNumber, Pending>,
    restart: Option<Restart>,
    locks: Locks,
    stopping: bool,
    /// What is granted ends by then: at a relay.
    grants_end: Option<BootMs>,
    depth: u8,
}

impl HomeLeases {
    /// The table after a start: without sessions, but waiting for those that were recorded.
    pub fn start(rules: LeaseRules, now: BootMs, start: HomeStart) -> Self {
        let HomeStart { epoch, change, locks, recorded } = start;
        let unreported: BTreeMap<_, _> = recorded.into_iter().collect();
        let wait = rules.checks.restart_wait && !unreported.is_empty();
        let until = now.plus(rules.lease);
        let locks = Locks::start(epoch, locks, wait.then(|| (until, unreported.keys().copied().collect())));
        let locks = if rules.checks.lock_drains { locks } else { locks.without_drain() };
        let restart = wait.then_some(Restart { until, unreported });
        let (table, pending) = Default::default();
        Self { rules, epoch, change, table, pending, restart, locks, stopping: false, grants_end: None, depth: 0 }
    }

    /// Takes one event; returns what must be done, in order.
    pub fn step(&mut self, now: BootMs, event: HomeEvent) -> Vec<HomeAction> {
        let mut actions = Vec::new();
        self.expire(now, &mut actions);
        match event {
            HomeEvent::Hello { hello, holder } => self.hello(now, hello, holder, &mut actions),
            HomeEvent::Told { stream, message } => self.told(now, stream, message, &mut actions),
            HomeEvent::Open { token, holder, stream, object } => {
                let own = self.table.get(&stream.session).is_some_and(|session| session.holder == holder);
                let callback = own && self.give_callback(stream, &object);
                actions.push(HomeAction::Granted { token, change: self.change, callback });
            }
            HomeEvent::Change { token, touched, lock } => self.begin_change(token, touched, lock, &mut actions),
            HomeEvent::Ended { change, committed } => self.end_change(change, committed, &mut actions),
            HomeEvent::Expel { holder } => self.expel(&holder, &mut actions),
            HomeEvent::Tick => {}
            HomeEvent::Stop => self.stop(&mut actions),
        }
        actions
    }

    /// From here on what is granted ends by then: at a relay, whose own lease ends.
    pub(super) fn grant_until(&mut self, end: Option<BootMs>) {
        self.grants_end = end;
    }

    /// Under which epoch, and behind how many relays a relay serves.
    pub(super) fn stand_at(&mut self, epoch: Epoch, depth: u8) {
        (self.epoch, self.depth) = (epoch, depth);
    }

    /// The end of what is granted now, and how long that is: milliseconds.
    fn term(&self, now: BootMs) -> (BootMs, u32) {
        let full = now.plus(self.rules.lease);
        let end = self.grants_end.map_or(full, |end| end.clamp(now, full));
        (end, u32::try_from(end.since(now).as_millis()).unwrap_or(u32::MAX))
    }

    /// When [`HomeEvent::Tick`] is due at the latest.
    pub fn next_deadline(&self) -> Option<BootMs> {
        let restart = self.restart.as_ref().map(|restart| restart.until);
        let recall = self.table.first_recall_end().filter(|_| self.rules.checks.strike_off).map(|(end, ..)| *end);
        let lease = self.table.first_lease_end().filter(|_| self.rules.checks.strike_off).map(|(end, _)| end);
        [restart, recall, lease, self.locks.next_deadline()].into_iter().flatten().min()
    }

    fn hello(&mut self, now: BootMs, hello: Hello, holder: Principal, actions: &mut Vec<HomeAction>) {
        let known = self.table.get(&hello.session);
        let recorded = self.restart.as_ref().and_then(|restart| restart.unreported.get(&hello.session));
        let owner = known.map(|session| &session.holder).or(recorded);
        let late = known.is_some_and(|known| self.rules.checks.connections && known.connection >= hello.connection);
        let refusal = match owner {
            _ if self.stopping => Some(ByeReason::Stopping),
            Some(owner) if *owner != holder => Some(ByeReason::Foreign),
            Some(_) if late => Some(ByeReason::Superseded),
            None if self.table.len() >= MAX_SESSIONS => Some(ByeReason::Full),
            None if self.table.share(&holder).sessions >= MAX_SESSIONS_PER_HOLDER => Some(ByeReason::FullForYou),
            _ => None,
        };
        if let Some(reason) = refusal {
            return actions.push(bye(hello, reason));
        }
        if owner.is_none() {
            actions.push(HomeAction::Record { session: hello.session, holder: holder.clone() });
        }
        // The holder trusts nothing now: that acknowledges every recall.
        let released = self.table.release_all(hello.session);
        let (end, lease_ms) = self.term(now);
        self.table.begin(hello.session, holder, hello.connection, end);
        let welcome = Down::Welcome { epoch: self.epoch, lease_ms, change: self.change, depth: self.depth };
        actions.push(HomeAction::Send { stream: hello, message: welcome });
        self.report(&hello.session);
        self.stop_waiting(released, actions);
        self.admit_ready(actions);
        self.with_locks(actions, |locks, words| locks.new_stream(hello.session, words));
    }

    fn told(&mut self, now: BootMs, stream: Hello, message: Up, actions: &mut Vec<HomeAction>) {
        if !self.is_current(stream) {
            let known = self.table.get(&stream.session).is_some();
            let reason = if known { ByeReason::Superseded } else { ByeReason::StruckOff };
            return actions.push(bye(stream, reason));
        }
        match message {
            Up::Renew { id } => self.renew(now, stream, id, actions),
            Up::Ack { change, objects } => {
                let released: Vec<_> = objects
                    .iter()
                    .flat_map(|object| self.table.acknowledge(stream.session, object, change))
                    .collect();
                self.stop_waiting(released, actions);
                self.admit_ready(actions);
            }
            Up::Register { request, mut objects } => {
                objects.truncate(MAX_FRAME_OBJECTS);
                objects.retain(|(object, _)| self.give_callback(stream, object));
                actions.push(HomeAction::Compare { stream, request, change: self.change, objects });
            }
            Up::Lock { request, wish, wait_ms } => {
                let (session, wait) = (stream.session, Duration::from_millis(wait_ms));
                self.with_locks(actions, |locks, words| locks.ask(now, session, request, wish, wait, words));
            }
            Up::Cancel { request } => {
                self.with_locks(actions, |locks, words| locks.cancel(stream.session, request, words));
            }
            Up::Unlock { epoch } => {
                self.with_locks(actions, |locks, words| locks.unlock(stream.session, epoch, words));
            }
            Up::Claim { locks } => self.claim(stream, locks, actions),
            Up::Leave => self.end_session(stream.session, actions),
        }
    }

    fn renew(&mut self, now: BootMs, stream: Hello, id: u64, actions: &mut Vec<HomeAction>) {
        let excluded = self.table.unacknowledged(&stream.session);
        let silent = self.table.get(&stream.session).is_none_or(|session| session.silent);
        // Whoever is too far behind to be told in one frame starts anew, which also acknowledges.
        if silent || self.stopping || excluded.len() > MAX_FRAME_OBJECTS {
            let reason = if self.stopping { ByeReason::Stopping } else { ByeReason::StruckOff };
            return actions.push(bye(stream, reason));
        }
        let (end, lease_ms) = self.term(now);
        self.table.extend(stream.session, end);
        let message = Down::Granted { id, lease_ms, change: self.change, excluded };
        actions.push(HomeAction::Send { stream, message });
    }

    fn is_current(&self, stream: Hello) -> bool {
        self.table
            .get(&stream.session)
            .is_some_and(|session| session.connection == stream.connection || !self.rules.checks.connections)
    }

    fn give_callback(&mut self, stream: Hello, object: &VolumePath) -> bool {
        let changing = self.pending.values().any(|pending| pending.touched.covers(object));
        let session = self.table.get(&stream.session);
        let silent = session.is_none_or(|session| session.silent);
        let held_by = |session: &table::Session| self.table.share(&session.holder).holds;
        let full = self.table.holds() >= MAX_CALLBACKS
            || self.table.holds_of(&stream.session) >= MAX_CALLBACKS_PER_SESSION
            || session.is_some_and(|session| held_by(session) >= MAX_CALLBACKS_PER_HOLDER);
        let refused = changing || silent || full || self.stopping || !self.is_current(stream);
        !refused && self.table.hold(stream.session, object)
    }

    fn begin_change(
        &mut self,
        token: u64,
        touched: Touched,
        lock: Option<LockEpoch>,
        actions: &mut Vec<HomeAction>,
    ) {
        let lock = lock.filter(|_| self.rules.checks.lock_epochs);
        let lost = lock.filter(|lock| !self.locks.awaits_claims() && !self.locks.is_held(*lock));
        let refusal = match () {
            () if self.stopping => Some(Refusal::Stopping),
            () if self.pending.len() >= MAX_PENDING_CHANGES => Some(Refusal::Busy),
            () => lost.map(Refusal::LockLost),
        };
        if let Some(reason) = refusal {
            return actions.push(HomeAction::Refuse { token, reason });
        }
        self.change = self.change.next();
        let change = self.change;
        let below = touched.subtrees.iter().flat_map(|top| self.table.held_below(top));
        let objects: BTreeSet<VolumePath> = touched.objects.iter().cloned().chain(below).collect();
        let mut told: BTreeMap<SessionId, Vec<VolumePath>> = BTreeMap::new();
        let mut waits = 0;
        for object in objects {
            for session in self.table.holders(&object) {
                waits += 1;
                if self.table.recall(session, &object, change) {
                    told.entry(session).or_default().push(object.clone());
                }
            }
        }
        for (session, objects) in told {
            let Some(connection) = self.table.get(&session).map(|session| session.connection) else { continue };
            actions.extend(objects.chunks(MAX_FRAME_OBJECTS).map(|objects| HomeAction::Send {
                stream: Hello { session, connection },
                message: Down::Recall { change, objects: objects.to_vec() },
            }));
        }
        self.pending.insert(change, Pending { token, touched, waits, lock, admitted: false });
        self.admit_ready(actions);
    }

    fn end_change(&mut self, change: ChangeRef, committed: Option<ChangeNumber>, actions: &mut Vec<HomeAction>) {
        self.change = self.change.max(committed.unwrap_or_default());
        let number = match change {
            ChangeRef::Number(number) => Some(number),
            ChangeRef::Token(token) => {
                self.pending.iter().find(|(_, pending)| pending.token == token).map(|(number, _)| *number)
            }
        };
        let ended = number.and_then(|number| self.pending.remove(&number));
        if let Some(lock) = ended.filter(|ended| ended.admitted).and_then(|ended| ended.lock) {
            self.with_locks(actions, |locks, words| locks.published(lock, words));
        }
    }

    fn stop_waiting(&mut self, released: impl IntoIterator<Item = ChangeNumber>, actions: &mut Vec<HomeAction>) {
        let mut any = false;
        for change in released {
            any = true;
            // A change that was given up is not there any more.
            if let Some(pending) = self.pending.get_mut(&change) {
                pending.waits -= 1;
            }
        }
        if any {
            self.admit_ready(actions);
        }
    }

    fn admit_ready(&mut self, actions: &mut Vec<HomeAction>) {
        if self.restart.is_some() {
            return;
        }
        let ready = self.pending.iter_mut().filter(|(_, pending)| pending.waits == 0 && !pending.admitted);
        for (change, pending) in ready {
            if pending.lock.is_some_and(|lock| self.locks.awaits_claims() || !self.locks.is_held(lock)) {
                continue;
            }
            pending.lock.into_iter().for_each(|lock| self.locks.publish(lock));
            pending.admitted = true;
            actions.push(HomeAction::Admit { token: pending.token, change: *change });
        }
    }

    /// A session of before the restart has reported, or will not any more.
    fn report(&mut self, session: &SessionId) {
        if let Some(restart) = &mut self.restart {
            restart.unreported.remove(session);
            if restart.unreported.is_empty() {
                self.restart = None;
            }
        }
    }

    fn expire(&mut self, now: BootMs, actions: &mut Vec<HomeAction>) {
        if let Some(restart) = self.restart.take_if(|restart| restart.until <= now) {
            actions.extend(restart.unreported.into_keys().map(|session| HomeAction::Forget { session }));
            self.admit_ready(actions);
        }
        self.with_locks(actions, |locks, words| locks.expire(now, words));
        if !self.rules.checks.strike_off {
            return;
        }
        while let Some((_, session, object)) =
            self.table.first_recall_end().filter(|(end, ..)| *end <= now).cloned()
        {
            self.table.silence(&session);
            let released = self.table.release(session, &object);
            self.stop_waiting(released, actions);
        }
        while let Some((_, session)) = self.table.first_lease_end().filter(|(end, _)| *end <= now) {
            self.end_session(session, actions);
        }
    }

    fn end_session(&mut self, session: SessionId, actions: &mut Vec<HomeAction>) {
        let released = self.table.release_all(session);
        self.table.remove(session);
        actions.push(HomeAction::Forget { session });
        self.stop_waiting(released, actions);
        self.with_locks(actions, |locks, words| locks.end_session(session, words));
    }

    /// Nothing is granted on the holder's streams any more; until it leaves or its lease ends it is still told.
    fn expel(&mut self, holder: &Principal, actions: &mut Vec<HomeAction>) {
        let of_holder = self.table.sessions().filter(|(_, session)| session.holder == *holder);
        let streams: Vec<_> =
            of_holder.map(|(id, session)| Hello { session: *id, connection: session.connection }).collect();
        for stream in streams {
            self.table.silence(&stream.session);
            actions.push(bye(stream, ByeReason::RightsChanged));
        }
    }

    fn stop(&mut self, actions: &mut Vec<HomeAction>) {
        self.stopping = true;
        let streams =
            self.table.sessions().map(|(id, session)| Hello { session: *id, connection: session.connection });
        actions.extend(streams.map(|stream| bye(stream, ByeReason::Stopping)));
    }
}

fn bye(stream: Hello, reason: ByeReason) -> HomeAction {
    HomeAction::Send { stream, message: Down::Bye { reason } }
}

#[cfg(test)]
mod lock_tests;
#[cfg(test)]
mod tests;
