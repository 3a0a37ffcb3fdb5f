//! The home's side of coherence: who holds what until when, and which changes may be committed.
//! A change is admitted when every holder of what it touches has acknowledged its recall or has lost its lease.
//! It relies on its caller to perform actions in order, `Record` durably before what follows.

mod event;
mod table;

use super::LeaseRules;
use super::limits::{
    MAX_CALLBACKS, MAX_CALLBACKS_PER_HOLDER, MAX_CALLBACKS_PER_SESSION, MAX_FRAME_OBJECTS, MAX_PENDING_CHANGES,
    MAX_SESSIONS, MAX_SESSIONS_PER_HOLDER, MAX_SHOWN_WAITS,
};
use super::message::{ByeReason, Down, Hello, Up};
use crate::gate::Touched;
pub use event::{ChangeRef, HomeAction, HomeEvent, HomeStart, Refusal, Waiting};
use std::collections::{BTreeMap, BTreeSet};
use table::Table;
use terms::{BootMs, ChangeNumber, Epoch, Principal, SessionId, VolumePath};

#[derive(Debug)]
struct Pending {
    token: u64,
    touched: Touched,
    /// Unacknowledged recalls.
    waits: usize,
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
    stopping: bool,
}

impl HomeLeases {
    /// The table after a start: without sessions, but waiting for those that were recorded.
    pub fn start(rules: LeaseRules, now: BootMs, start: HomeStart) -> Self {
        let HomeStart { epoch, change, recorded } = start;
        let unreported: BTreeMap<_, _> = recorded.into_iter().collect();
        let wait = rules.checks.restart_wait && !unreported.is_empty();
        let restart = wait.then(|| Restart { until: now.plus(rules.lease), unreported });
        let (table, pending) = Default::default();
        Self { rules, epoch, change, table, pending, restart, stopping: false }
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
            HomeEvent::Change { token, touched } => self.begin_change(token, touched, &mut actions),
            HomeEvent::Ended { change, committed } => self.end_change(change, committed),
            HomeEvent::Expel { holder } => self.expel(&holder, &mut actions),
            HomeEvent::Tick => {}
            HomeEvent::Stop => self.stop(&mut actions),
        }
        actions
    }

    /// When [`HomeEvent::Tick`] is due at the latest.
    pub fn next_deadline(&self) -> Option<BootMs> {
        let restart = self.restart.as_ref().map(|restart| restart.until);
        let recall = self.table.first_recall_end().filter(|_| self.rules.checks.strike_off).map(|(end, ..)| *end);
        let lease = self.table.first_lease_end().filter(|_| self.rules.checks.strike_off).map(|(end, _)| end);
        [restart, recall, lease].into_iter().flatten().min()
    }

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
        let holders: std::collections::BTreeSet<_> =
            self.table.sessions().map(|(_, session)| session.holder.clone()).collect();
        holders.into_iter().collect()
    }

    /// Callbacks, including unacknowledged recalls: count.
    pub fn callbacks(&self) -> usize {
        self.table.holds()
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
        self.table.begin(hello.session, holder, hello.connection, now.plus(self.rules.lease));
        let lease_ms = u32::try_from(self.rules.lease.as_millis()).unwrap_or(u32::MAX);
        let welcome = Down::Welcome { epoch: self.epoch, lease_ms, change: self.change };
        actions.push(HomeAction::Send { stream: hello, message: welcome });
        self.report(&hello.session);
        self.stop_waiting(released, actions);
        self.admit_ready(actions);
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
        self.table.extend(stream.session, now.plus(self.rules.lease));
        let message = Down::Granted { id, change: self.change, excluded };
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

    fn begin_change(&mut self, token: u64, touched: Touched, actions: &mut Vec<HomeAction>) {
        let refusal = match () {
            () if self.stopping => Some(Refusal::Stopping),
            () if self.pending.len() >= MAX_PENDING_CHANGES => Some(Refusal::Busy),
            () => None,
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
        self.pending.insert(change, Pending { token, touched, waits, admitted: false });
        self.admit_ready(actions);
    }

    fn end_change(&mut self, change: ChangeRef, committed: Option<ChangeNumber>) {
        match change {
            ChangeRef::Number(number) => {
                self.pending.remove(&number);
            }
            ChangeRef::Token(token) => self.pending.retain(|_, pending| pending.token != token),
        }
        self.change = self.change.max(committed.unwrap_or_default());
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
mod tests;
