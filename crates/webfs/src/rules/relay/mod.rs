//! A relay's side of coherence: a [`Holder`] towards the server above and a [`HomeLeases`] towards the holders below.
//!
//! What is granted below ends no later than the relay's own lease, and what the relay gives back above its holders
//! have given back before, or their leases have ended. So the home need know nothing of who is below a relay.
//! It relies on its caller as its two parts do, and on numbers for reads and opens that are never used twice.

mod event;

use super::LeaseRules;
use super::holder::{Believed, Holder, HolderAction, HolderEvent};
use super::home::{ChangeRef, HomeAction, HomeEvent, HomeLeases, HomeStart};
use super::limits::{FRESH_LEASE, MAX_RELAYS_NESTED, MAX_SESSIONS};
use super::lock::LockRefusal;
use super::message::{ByeReason, Down, Hello, Up};
use crate::gate::Touched;
pub use event::{RelayAction, RelayEvent};
use std::collections::{BTreeMap, VecDeque};
use terms::{BootMs, ChangeNumber, Epoch, SessionId, VolumePath};

/// What is done above when the holders below have given something back.
#[derive(Debug)]
enum Then {
    Dropped { connection: u64, change: ChangeNumber, objects: Vec<VolumePath> },
    Above(HolderEvent),
}

/// An open from below, with what its answer will say.
#[derive(Debug)]
struct Opening {
    change: ChangeNumber,
    callback: bool,
}

/// A relay of one volume.
#[derive(Debug)]
pub struct Relay {
    rules: LeaseRules,
    above: Holder,
    below: HomeLeases,
    handing_back: BTreeMap<u64, Then>,
    next_token: u64,
    /// Opens whose object is being read.
    opening: BTreeMap<u64, Opening>,
    /// Greetings and renewals that wait for the relay's own lease to be renewed.
    held_up: VecDeque<HomeEvent>,
    /// A new stream waits until nothing is held below under the old one.
    connecting: bool,
}

impl Relay {
    /// A relay without a stream, with nothing cached and nobody below it.
    pub fn new(rules: LeaseRules, now: BootMs, session: SessionId) -> Self {
        let start = HomeStart { epoch: Epoch::default(), change: ChangeNumber(1), locks: 0, recorded: Vec::new() };
        let below = HomeLeases::start(rules, now, start);
        let (handing_back, opening, held_up) = Default::default();
        let above = Holder::new(rules, session);
        Self { rules, above, below, handing_back, next_token: 0, opening, held_up, connecting: false }
    }

    /// The relay as a holder.
    pub fn above(&self) -> &Holder {
        &self.above
    }

    /// The relay's holders.
    pub fn below(&self) -> &HomeLeases {
        &self.below
    }

    /// How many servers a change passes to reach this relay's holders: one more than the server above says.
    pub fn depth(&self) -> u8 {
        self.above.depth().saturating_add(1)
    }

    /// When [`RelayEvent::Tick`] is due at the latest.
    pub fn next_deadline(&self) -> Option<BootMs> {
        self.above.next_deadline().into_iter().chain(self.below.next_deadline()).min()
    }

    /// Takes one event; returns what must be done, in order.
    pub fn step(&mut self, now: BootMs, event: RelayEvent) -> Vec<RelayAction> {
        let mut actions = Vec::new();
        match event {
            RelayEvent::Above(event) => self.hear_above(now, event, &mut actions),
            RelayEvent::Below(event) => self.hear_below(now, event, &mut actions),
            RelayEvent::Tick => {}
        }
        self.step_above(now, HolderEvent::Tick, &mut actions);
        self.step_below(now, HomeEvent::Tick, &mut actions);
        actions
    }

    /// Takes the word of the volume's signed record. Gives what it undid of the cache, and what must be done: nobody
    /// below keeps what is undone.
    pub fn believe(&mut self, now: BootMs, believed: &Believed) -> (Vec<VolumePath>, Vec<RelayAction>) {
        let (undone, mut actions) = (self.above.believe(believed), Vec::new());
        if !undone.is_empty() {
            let touched = Touched::objects(undone.iter().cloned());
            self.hand_back(now, touched, Then::Above(HolderEvent::Tick), &mut actions);
        }
        (undone, actions)
    }

    fn hear_above(&mut self, now: BootMs, event: HolderEvent, actions: &mut Vec<RelayAction>) {
        // A greeting and a leave tell the server above that nothing is trusted here: so it must be below.
        let gives_all_back = match &event {
            HolderEvent::Connected if self.connecting => return,
            HolderEvent::Connected => {
                self.connecting = true;
                true
            }
            HolderEvent::Told { message, .. } => matches!(message, Down::Bye { .. }),
            HolderEvent::Leave => true,
            _ => false,
        };
        if gives_all_back {
            self.hand_back(now, Touched::everything(), Then::Above(event), actions);
        } else {
            self.step_above(now, event, actions);
        }
    }

    fn hear_below(&mut self, now: BootMs, event: HomeEvent, actions: &mut Vec<RelayAction>) {
        match event {
            HomeEvent::Hello { .. } | HomeEvent::Told { message: Up::Renew { .. }, .. } => {
                self.hold_up(event);
                if self.is_fresh(now) || !self.rules.checks.grants_within_lease {
                    self.answer_held_up(now, actions);
                } else {
                    self.step_above(now, HolderEvent::Renew, actions);
                }
            }
            HomeEvent::Told { stream, message: Up::Lock { request, .. } } => {
                let message = Down::NotLocked { request, reason: LockRefusal::Relay };
                actions.push(RelayAction::Below(HomeAction::Send { stream, message }));
            }
            event => self.step_below(now, event, actions),
        }
    }

    /// Whether so much of the lease is left that it can be shared.
    fn is_fresh(&self, now: BootMs) -> bool {
        self.above.is_connected() && self.above.is_trusted(now) && self.above.lease_end() >= now.plus(FRESH_LEASE)
    }

    /// Keeps the last word of each stream.
    fn hold_up(&mut self, event: HomeEvent) {
        let stream = stream_of(&event);
        self.held_up.retain(|held| stream_of(held) != stream);
        if self.held_up.len() >= MAX_SESSIONS {
            self.held_up.pop_front();
        }
        self.held_up.push_back(event);
    }

    fn answer_held_up(&mut self, now: BootMs, actions: &mut Vec<RelayAction>) {
        for event in std::mem::take(&mut self.held_up) {
            match event {
                HomeEvent::Hello { hello, .. } if self.depth() > MAX_RELAYS_NESTED => {
                    let message = Down::Bye { reason: ByeReason::TooDeep };
                    actions.push(RelayAction::Below(HomeAction::Send { stream: hello, message }));
                }
                event => self.step_below(now, event, actions),
            }
        }
    }

    /// Recalls this from the holders below; when it is back, goes on above.
    fn hand_back(&mut self, now: BootMs, touched: Touched, then: Then, actions: &mut Vec<RelayAction>) {
        self.next_token += 1;
        let token = self.next_token;
        if !self.rules.checks.acknowledges_last {
            self.go_on(now, then, actions);
        } else {
            self.handing_back.insert(token, then);
        }
        self.step_below(now, HomeEvent::Change { token, touched, lock: None }, actions);
    }

    fn go_on(&mut self, now: BootMs, then: Then, actions: &mut Vec<RelayAction>) {
        let event = match then {
            Then::Dropped { connection, change, objects } => HolderEvent::Dropped { connection, change, objects },
            Then::Above(event) => event,
        };
        self.connecting &= event != HolderEvent::Connected;
        self.step_above(now, event, actions);
    }

    fn step_above(&mut self, now: BootMs, event: HolderEvent, actions: &mut Vec<RelayAction>) {
        let lease_end = self.above.lease_end();
        for action in self.above.step(now, event) {
            match action {
                HolderAction::Drop { connection, change, objects } => {
                    let touched = Touched::objects(objects.iter().cloned());
                    self.hand_back(now, touched, Then::Dropped { connection, change, objects }, actions);
                }
                HolderAction::ServeCached { waiter, .. } => {
                    self.opened(waiter, true, actions);
                    actions.push(RelayAction::Above(action));
                }
                HolderAction::ServeAnswer { waiter, keep, .. } => {
                    self.opened(waiter, keep, actions);
                    actions.push(RelayAction::Above(action));
                }
                HolderAction::Fail { waiter, .. } => {
                    self.opening.remove(&waiter);
                    actions.push(RelayAction::Above(action));
                }
                action => actions.push(RelayAction::Above(action)),
            }
        }
        if self.above.lease_end() > lease_end && self.above.is_connected() {
            self.below.stand_at(self.above.epoch(), self.depth());
            self.answer_held_up(now, actions);
        }
    }

    /// What was read for an open is there: its holder may keep it if the relay may.
    fn opened(&mut self, waiter: u64, kept: bool, actions: &mut Vec<RelayAction>) {
        if let Some(Opening { change, callback }) = self.opening.remove(&waiter) {
            actions.push(RelayAction::Opened { token: waiter, change, callback: callback && kept });
        }
    }

    fn step_below(&mut self, now: BootMs, event: HomeEvent, actions: &mut Vec<RelayAction>) {
        let end = self.rules.checks.grants_within_lease.then(|| self.above.lease_end());
        self.below.grant_until(end);
        let opened = match &event {
            HomeEvent::Open { object, .. } => Some(object.clone()),
            _ => None,
        };
        for action in self.below.step(now, event) {
            match (action, &opened) {
                (HomeAction::Admit { token, .. }, _) => {
                    // Nothing is changed here: what was recalled is only not held any more.
                    self.step_below(
                        now,
                        HomeEvent::Ended { change: ChangeRef::Token(token), committed: None },
                        actions,
                    );
                    if let Some(then) = self.handing_back.remove(&token) {
                        self.go_on(now, then, actions);
                    }
                }
                // Too many recalls at once. What is not acknowledged the server above waits for; a stream that is
                // not greeted it ends, and the next one tries again.
                (HomeAction::Refuse { token, .. }, _) => {
                    if let Some(Then::Above(HolderEvent::Connected)) = self.handing_back.remove(&token) {
                        self.connecting = false;
                    }
                }
                (HomeAction::Granted { token, change, callback }, Some(object)) => {
                    self.opening.insert(token, Opening { change, callback });
                    self.step_above(now, HolderEvent::Read { waiter: token, object: object.clone() }, actions);
                }
                (HomeAction::Compare { stream, request, change, mut objects }, _) => {
                    objects.retain(|(path, held)| self.above.valid(now, path) == Some(*held));
                    let compare = HomeAction::Compare { stream, request, change, objects };
                    actions.push(RelayAction::Below(compare));
                }
                // The home waits for the relay as long as the relay's holders could trust anything, also after a
                // restart of the relay: it need remember nobody.
                (HomeAction::Record { .. } | HomeAction::Forget { .. }, _) => {}
                (action, _) => actions.push(RelayAction::Below(action)),
            }
        }
    }
}

fn stream_of(event: &HomeEvent) -> Option<Hello> {
    match event {
        HomeEvent::Hello { hello, .. } => Some(*hello),
        HomeEvent::Told { stream, .. } => Some(*stream),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
