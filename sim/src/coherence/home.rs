//! The home in the world of leases: its process may die, its store survives.

use super::event::{Event, LockedWrite, Open};
use super::policies::{History, policy, recalled};
use super::{FIRST_HOLDER, HOME, World};
use crate::dice::Dice;
use crate::machine::MachineClock;
use std::collections::{BTreeMap, BTreeSet};
use terms::{BootMs, ChangeNumber, Epoch, Principal, SessionId, Version, VolumePath};
use webfs::gate::Touched;
use webfs::model::ObjectVersion;
use webfs::rules::{Answer, ChangeRef, Down, Hello, HomeAction, HomeEvent, HomeLeases, HomeStart, Refusal};

/// How much longer than a lease a change may wait: milliseconds of the home's clock.
const MARGIN_MS: u64 = 100;
/// A home that stops waits so long for its holders.
const STOP_MS: u64 = 1_000;

/// The home's machine.
pub(super) struct HomeNode {
    pub(super) clock: MachineClock,
    pub(super) life: u64,
    pub(super) process: Option<HomeProcess>,
    pub(super) store: Store,
    pub(super) paused_ms: u64,
}

/// What survives the process.
#[derive(Default)]
pub(super) struct Store {
    change: ChangeNumber,
    recorded: BTreeMap<SessionId, Principal>,
    versions: BTreeMap<VolumePath, ObjectVersion>,
    /// Lock numbers that may have been given out.
    locks: u64,
    /// The number that each object holds, and held at each version.
    pub(super) numbers: BTreeMap<VolumePath, u64>,
    pub(super) history: History,
    numbers_at: BTreeMap<(VolumePath, ObjectVersion), u64>,
    /// Writes that were applied: by holder, life and operation.
    pub(super) operations: BTreeSet<(usize, u64, u64)>,
}

pub(super) struct HomeProcess {
    leases: HomeLeases,
    streams: BTreeMap<Hello, u64>,
    opens: BTreeMap<u64, Open>,
    changes: BTreeMap<u64, Change>,
    next_token: u64,
    tick_at: Option<u64>,
}

struct Change {
    touched: Touched,
    since_true: u64,
    since: BootMs,
    paused_before: u64,
    admitted: bool,
    write: Option<LockedWrite>,
}

impl Store {
    /// The number in an object at a version.
    pub(super) fn number(&self, object: &VolumePath, version: ObjectVersion) -> u64 {
        self.numbers_at.get(&(object.clone(), version)).copied().unwrap_or_default()
    }

    /// The version that every read which begins now must show, or a later one.
    pub(super) fn version(&self, object: &VolumePath) -> ObjectVersion {
        self.versions.get(object).copied().unwrap_or_default()
    }
}

impl HomeNode {
    pub(super) fn new(dice: &Dice) -> Self {
        let clock = MachineClock::thrown(dice);
        Self { clock, life: 0, process: None, store: Store::default(), paused_ms: 0 }
    }

    /// How long the change that waits longest has waited: true milliseconds.
    pub(super) fn longest_wait(&self, now: u64) -> Option<u64> {
        self.process.as_ref()?.changes.values().map(|change| now - change.since_true).max()
    }
}

impl World {
    pub(super) fn at_home(&mut self, event: Event) {
        let life = self.home.life;
        match event {
            Event::HomeStart if self.home.process.is_none() => self.start_home(),
            Event::HomeStopped { life: meant } if meant == life => self.end_home(),
            Event::HomeTick { life: meant } if meant == life => {
                if let Some(process) = &mut self.home.process {
                    process.tick_at = None;
                }
                self.home_step(HomeEvent::Tick);
            }
            Event::Greeted { stream, hello, holder } if self.network.is_whole(stream) => {
                if let Some(process) = &mut self.home.process {
                    process.streams.insert(hello, stream);
                }
                self.home_step(HomeEvent::Hello { hello, holder: principal(holder) });
            }
            Event::Told { stream, hello, message } if self.network.is_whole(stream) => {
                self.home_step(HomeEvent::Told { stream: hello, message });
            }
            Event::Opened(open) => self.opened(open),
            Event::ReadStore { life: meant, open, change, callback } if meant == life => {
                let version = self.home.store.version(&open.object);
                self.answer(&open, Answer::under(policy(&open.object), version, change, callback));
            }
            Event::CompareStore { life: meant, hello, request, change, mut objects } if meant == life => {
                objects.retain(|(object, version)| self.home.store.version(object) == *version);
                let current = objects.into_iter().map(|(object, _)| object).collect();
                self.send_down(hello, Down::Registered { request, change, current });
            }
            Event::Write => self.write(),
            Event::Writes(write) => self.writes(write),
            Event::Commit { life: meant, token, change, given_up } if meant == life => {
                self.commit(token, change, given_up);
            }
            Event::GiveUp { life: meant, token } if meant == life => self.give_up(token),
            _ => {}
        }
        self.check_waits();
    }

    /// Ends the home's process; streams break, each other end may notice.
    pub(super) fn end_home(&mut self) {
        self.home.life += 1;
        self.home.process = None;
        for (stream, holder) in self.network.break_all(HOME) {
            self.lose_stream(holder - FIRST_HOLDER, stream);
        }
        let away = self.dice.between(10, 8_000);
        self.scheduler.after(away, HOME, Event::HomeStart);
    }

    /// Tells the home to stop cleanly.
    pub(super) fn stop_home(&mut self) {
        self.home_step(HomeEvent::Stop);
        self.scheduler.after(STOP_MS, HOME, Event::HomeStopped { life: self.home.life });
    }

    /// A holder's rights have changed.
    pub(super) fn expel(&mut self, holder: usize) {
        self.home_step(HomeEvent::Expel { holder: principal(holder) });
    }

    fn start_home(&mut self) {
        let store = &self.home.store;
        let recorded: Vec<_> = store.recorded.iter().map(|(id, holder)| (*id, holder.clone())).collect();
        self.counts.restart_waits += u64::from(!recorded.is_empty());
        let start = HomeStart { epoch: Epoch(1), change: store.change, locks: store.locks, recorded };
        let leases = HomeLeases::start(self.rules, self.home.clock.boot(self.scheduler.now()), start);
        let (streams, opens, changes) = Default::default();
        self.home.process = Some(HomeProcess { leases, streams, opens, changes, next_token: 0, tick_at: None });
        self.home_step(HomeEvent::Tick);
    }

    fn home_step(&mut self, event: HomeEvent) {
        let now = self.scheduler.now();
        let Some(process) = &mut self.home.process else { return };
        let actions = process.leases.step(self.home.clock.boot(now), event);
        for action in actions {
            self.record.note(self.scheduler.now(), || format!("    home: {action:?}"));
            self.home_act(action);
        }
        let Some(process) = &mut self.home.process else { return };
        if let Some(at) = process.leases.next_deadline().map(|deadline| self.home.clock.true_time(deadline))
            && process.tick_at.is_none_or(|planned| at < planned)
        {
            process.tick_at = Some(at);
            self.scheduler.at(at, HOME, Event::HomeTick { life: self.home.life });
        }
    }

    fn home_act(&mut self, action: HomeAction) {
        let life = self.home.life;
        let Some(process) = &mut self.home.process else { return };
        match action {
            HomeAction::Record { session, holder } => {
                self.home.store.recorded.insert(session, holder);
            }
            HomeAction::Forget { session } => {
                self.home.store.recorded.remove(&session);
            }
            HomeAction::Send { stream, message } => self.send_down(stream, message),
            HomeAction::Compare { stream: hello, request, change, objects } => {
                let event = Event::CompareStore { life, hello, request, change, objects };
                self.scheduler.after(self.dice.below(30), HOME, event);
            }
            HomeAction::Granted { token, change, callback } => {
                let Some(open) = process.opens.remove(&token) else { return };
                let event = Event::ReadStore { life, open, change, callback };
                self.scheduler.after(self.dice.below(30), HOME, event);
            }
            HomeAction::Admit { token, change } => {
                let Some(waiting) = process.changes.get_mut(&token) else { return };
                waiting.admitted = true;
                let waited = self.home.clock.boot(self.scheduler.now()).since(waiting.since);
                self.counts.long_waits += u64::from(waited > self.rules.lease / 2);
                let given_up = self.dice.happens(50);
                let event = Event::Commit { life, token, change, given_up };
                self.scheduler.after(self.dice.below(30), HOME, event);
            }
            HomeAction::ReserveLocks { up_to } => self.home.store.locks = up_to,
            HomeAction::Refuse { token, reason } => {
                self.counts.late_writes += u64::from(matches!(reason, Refusal::LockLost(_)));
                let refused = process.changes.remove(&token);
                if let Some(write) = refused.and_then(|change| change.write) {
                    self.answer_write(&write, false);
                }
            }
        }
    }

    fn send_down(&mut self, hello: Hello, message: Down) {
        let Some(process) = &mut self.home.process else { return };
        let Some(stream) = process.streams.get(&hello).copied() else { return };
        let holder = holder_of(&hello.session);
        if matches!(message, Down::Bye { .. }) {
            self.counts.byes += 1;
            process.streams.remove(&hello);
        }
        let life = self.holders[holder].life;
        if let Some(at) = self.network.frame(&self.dice, self.scheduler.now(), stream, FIRST_HOLDER + holder) {
            self.scheduler.at(at, FIRST_HOLDER + holder, Event::HolderTold { life, stream, message });
        }
    }

    fn opened(&mut self, open: Open) {
        let Some(process) = &mut self.home.process else { return };
        let Some(stream) = open.stream.filter(|_| policy(&open.object).has_callbacks()) else {
            let (life, change) = (self.home.life, process.leases.change());
            let event = Event::ReadStore { life, open, change, callback: false };
            return self.scheduler.after(self.dice.below(30), HOME, event);
        };
        process.next_token += 1;
        let (token, object, holder) = (process.next_token, open.object.clone(), principal(open.holder));
        process.opens.insert(token, open);
        self.home_step(HomeEvent::Open { token, holder, stream, object });
    }

    fn answer(&mut self, open: &Open, answer: Answer) {
        let (from, to) = (HOME, FIRST_HOLDER + open.holder);
        for at in self.network.message(&self.dice, self.scheduler.now(), from, to) {
            self.scheduler.at(at, to, Event::Answered { life: open.life, request: open.request, answer });
        }
    }

    fn write(&mut self) {
        self.scheduler.after(self.dice.between(1, 2 * self.write_every_ms), HOME, Event::Write);
        let touched = self.thrown_touch();
        self.begin_change(touched, None);
    }

    /// A write under a lock arrives.
    fn writes(&mut self, write: LockedWrite) {
        if self.home.store.operations.contains(&(write.holder, write.life, write.operation)) {
            return self.answer_write(&write, true);
        }
        self.begin_change(Touched::objects([write.object.clone()]), Some(write));
    }

    fn begin_change(&mut self, touched: Touched, write: Option<LockedWrite>) {
        let now = self.scheduler.now();
        let paused_before = self.home.paused_ms;
        let since = self.home.clock.boot(now);
        let Some(process) = &mut self.home.process else { return };
        process.next_token += 1;
        let token = process.next_token;
        let lock = write.as_ref().map(|write| write.epoch);
        let touches = recalled(&touched);
        let change = Change { touched, since_true: now, since, paused_before, admitted: false, write };
        process.changes.insert(token, change);
        if self.dice.happens(30) {
            let event = Event::GiveUp { life: self.home.life, token };
            self.scheduler.after(self.dice.below(5_000), HOME, event);
        }
        self.home_step(HomeEvent::Change { token, touched: touches, lock });
    }

    fn thrown_touch(&self) -> Touched {
        let object = self.dice.one_of(&self.objects).clone();
        match self.dice.below(10) {
            0 => Touched::subtree(object),
            1 => Touched::objects(object.parent().into_iter().chain([object])),
            _ => Touched::objects([object]),
        }
    }

    fn commit(&mut self, token: u64, number: ChangeNumber, given_up: bool) {
        let Some(change) = self.home.process.as_mut().and_then(|process| process.changes.remove(&token)) else {
            return;
        };
        let applies = !given_up && change.write.as_ref().is_none_or(|write| self.commit_number(write));
        let committed = applies.then(|| {
            let store = &mut self.home.store;
            store.change = store.change.next();
            let version = ObjectVersion { epoch: Epoch(1), version: Version(store.change.0) };
            for object in self.objects.iter().filter(|object| change.touched.covers(object)) {
                store.versions.insert(object.clone(), version);
                store.history.committed(object, self.scheduler.now(), version);
                let number = store.numbers.get(object).copied().unwrap_or_default();
                store.numbers_at.insert((object.clone(), version), number);
            }
            self.counts.changes += 1;
            store.change
        });
        self.home_step(HomeEvent::Ended { change: ChangeRef::Number(number), committed });
        if let Some(write) = &change.write {
            self.answer_write(write, !given_up);
        }
    }

    fn give_up(&mut self, token: u64) {
        let Some(process) = &mut self.home.process else { return };
        if process.changes.get(&token).is_some_and(|change| !change.admitted) {
            process.changes.remove(&token);
            self.home_step(HomeEvent::Ended { change: ChangeRef::Token(token), committed: None });
        }
    }

    /// No change waits longer than a lease, beyond what the home itself was stopped for.
    fn check_waits(&mut self) {
        let now = self.home.clock.boot(self.scheduler.now());
        let Some(process) = &self.home.process else { return };
        let allowed = u64::try_from(self.rules.lease.as_millis()).unwrap_or(u64::MAX) + MARGIN_MS;
        let late = process.changes.values().filter(|change| !change.admitted).find_map(|change| {
            let waited = now.0 - change.since.0;
            let paused = (self.home.paused_ms - change.paused_before) * 11 / 10;
            (waited > allowed + paused).then_some(waited)
        });
        if let Some(waited) = late {
            self.violated(format!("a change has waited {waited} ms of the home's clock"));
        }
    }
}

/// The holders' principals.
fn principal(holder: usize) -> Principal {
    match format!("spiffe://sim.test/server/n{holder}").parse() {
        Ok(principal) => principal,
        Err(error) => unreachable!("a fixed form: {error}"),
    }
}

/// A session's id tells whose it is.
pub(super) fn session_of(holder: usize, life: u64) -> SessionId {
    let mut id = [0; 16];
    id[0] = u8::try_from(holder).unwrap_or(u8::MAX);
    id[8..].copy_from_slice(&life.to_be_bytes());
    SessionId(id)
}

fn holder_of(session: &SessionId) -> usize {
    session.0[0].into()
}
