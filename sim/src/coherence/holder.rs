//! A holder in the world of leases: its process may die, its cache survives. Here the reads are checked.

use super::event::{Event, Open};
use super::home::session_of;
use super::locks::LockWork;
use super::policies::policy;
use super::{FIRST_HOLDER, HOME, UNDER_WAY_MS, World};
use crate::dice::Dice;
use crate::machine::MachineClock;
use std::collections::BTreeMap;
use terms::VolumePath;
use webfs::model::ObjectVersion;
use webfs::rules::{Answer, Holder, HolderAction, HolderEvent, ReadFailure};

/// A request that is not answered by then has failed: true milliseconds.
const ANSWER_MS: u64 = 3_000;

/// A holder's machine.
pub(super) struct HolderNode {
    index: usize,
    pub(super) clock: MachineClock,
    pub(super) life: u64,
    pub(super) process: Option<HolderProcess>,
    /// The version of each object in the cache.
    disk: BTreeMap<VolumePath, ObjectVersion>,
}

pub(super) struct HolderProcess {
    rules: Holder,
    /// The present stream and its number.
    stream: Option<(u64, u64)>,
    connecting: bool,
    reads: BTreeMap<u64, ReadCall>,
    answers: BTreeMap<u64, ObjectVersion>,
    pub(super) next_waiter: u64,
    /// What is done under a lock.
    pub(super) work: Option<LockWork>,
    pub(super) written_since_heal: u64,
    tick_at: Option<u64>,
    cached_since_heal: u64,
    /// The version of the object under `strong` that somebody has open.
    pub(super) handle: Option<ObjectVersion>,
}

pub(super) struct ReadCall {
    pub(super) object: VolumePath,
    since: u64,
    /// What the read must show, or something later.
    pub(super) floor: ObjectVersion,
}

impl HolderNode {
    pub(super) fn new(index: u64, dice: &Dice) -> Self {
        let index = usize::try_from(index).unwrap_or(0);
        Self { index, clock: MachineClock::thrown(dice), life: 0, process: None, disk: BTreeMap::new() }
    }

    /// Whether reads go on as they should when nothing is wrong.
    pub(super) fn is_well(&self, now: u64) -> Result<(), String> {
        let process = self.process.as_ref().ok_or("it does not run")?;
        if !process.rules.is_connected() || !process.rules.is_trusted(self.clock.boot(now)) {
            return Err("it has no lease".into());
        }
        if let Some(call) = process.reads.values().find(|call| now - call.since > ANSWER_MS + UNDER_WAY_MS) {
            return Err(format!("a read of {} hangs since {} ms", call.object, call.since));
        }
        if process.cached_since_heal == 0 {
            return Err("it served nothing from its cache".into());
        }
        if process.written_since_heal == 0 {
            return Err("it wrote nothing under a lock".into());
        }
        Ok(())
    }
}

impl World {
    pub(super) fn at_holder(&mut self, index: usize, event: Event) {
        let life = self.holders[index].life;
        match event {
            Event::HolderStart if self.holders[index].process.is_none() => self.start_holder(index),
            Event::HolderTick { life: meant } if meant == life => {
                if let Some(process) = &mut self.holders[index].process {
                    process.tick_at = None;
                }
                self.holder_step(index, HolderEvent::Tick);
            }
            Event::Connect { life: meant } if meant == life => self.connect(index),
            Event::StreamOpened { life: meant, stream } if meant == life => {
                let Some(process) = &mut self.holders[index].process else { return };
                process.connecting = false;
                // The number is the machine's to choose, in `Greet`.
                process.stream = Some((stream, 0));
                self.holder_step(index, HolderEvent::Connected);
            }
            Event::StreamLost { life: meant, stream } if meant == life => {
                if let Some(connection) = self.connection(index, stream) {
                    self.holder_step(index, HolderEvent::Lost { connection });
                    self.reconnect(index);
                }
            }
            Event::HolderTold { life: meant, stream, message }
                if meant == life && self.network.is_whole(stream) =>
            {
                if let Some(connection) = self.connection(index, stream) {
                    self.holder_step(index, HolderEvent::Told { connection, message });
                }
            }
            Event::Dropped { life: meant, connection, change, objects } if meant == life => {
                self.holder_step(index, HolderEvent::Dropped { connection, change, objects });
            }
            Event::Read => self.read(index),
            Event::Work => self.begin_work(index),
            Event::CancelLock { life: meant, waiter } if meant == life => self.cancel_lock(index, waiter),
            Event::SendWrite(write) if write.life == life => self.send_write(index, write),
            Event::Written { life: meant, epoch, done } if meant == life => self.written(index, epoch, done),
            Event::Answered { life: meant, request, answer } if meant == life => {
                if let (Answer::Found { version, .. } | Answer::Unasked { version, .. }, Some(process)) =
                    (answer, &mut self.holders[index].process)
                {
                    process.answers.insert(request, version);
                }
                self.holder_step(index, HolderEvent::Answered { request, answer });
                if let Some(process) = &mut self.holders[index].process {
                    process.answers.remove(&request);
                }
            }
            _ => {}
        }
    }

    /// Ends a holder's process: its streams break, and a part of what it has on disk may be lost.
    pub(super) fn end_holder(&mut self, index: usize) {
        for (stream, _) in self.network.break_all(FIRST_HOLDER + index) {
            let _ = stream;
        }
        let holder = &mut self.holders[index];
        holder.life += 1;
        holder.process = None;
        holder.disk.retain(|_, _| self.dice.happens(700));
        let away = self.dice.between(1, 8_000);
        self.scheduler.after(away, FIRST_HOLDER + index, Event::HolderStart);
    }

    /// A stream broke at the home's end: the holder may notice.
    pub(super) fn lose_stream(&mut self, index: usize, stream: u64) {
        if self.dice.happens(800) {
            let event = Event::StreamLost { life: self.holders[index].life, stream };
            self.scheduler.after(self.dice.below(300), FIRST_HOLDER + index, event);
        }
    }

    /// The cache needs room.
    pub(super) fn evict(&mut self, index: usize) {
        let object = self.dice.one_of(&self.objects).clone();
        self.holders[index].disk.remove(&object);
        self.holder_step(index, HolderEvent::Evict { object });
    }

    /// The holder ends its session cleanly, and begins another stream later.
    pub(super) fn leave(&mut self, index: usize) {
        self.holder_step(index, HolderEvent::Leave);
    }

    fn start_holder(&mut self, index: usize) {
        let life = self.holders[index].life;
        let rules = Holder::new(self.rules, session_of(index, life));
        let (reads, answers) = Default::default();
        self.holders[index].process = Some(HolderProcess {
            rules,
            stream: None,
            connecting: false,
            reads,
            answers,
            next_waiter: 0,
            work: None,
            written_since_heal: 0,
            tick_at: None,
            cached_since_heal: 0,
            handle: None,
        });
        for (object, version) in self.holders[index].disk.clone() {
            if !policy(&object).has_callbacks() {
                continue;
            }
            self.holder_step(index, HolderEvent::Load { object, version });
        }
        self.reconnect(index);
    }

    fn connection(&self, index: usize, stream: u64) -> Option<u64> {
        let (present, connection) = self.holders[index].process.as_ref()?.stream?;
        (present == stream).then_some(connection)
    }

    fn reconnect(&mut self, index: usize) {
        let life = self.holders[index].life;
        let Some(process) = &mut self.holders[index].process else { return };
        process.stream = None;
        if !process.connecting {
            process.connecting = true;
            self.scheduler.after(self.dice.between(50, 1_000), FIRST_HOLDER + index, Event::Connect { life });
        }
    }

    fn connect(&mut self, index: usize) {
        let (now, node) = (self.scheduler.now(), FIRST_HOLDER + index);
        let life = self.holders[index].life;
        let cut = self.network.is_cut(now, node, HOME) || self.network.is_cut(now, HOME, node);
        if self.home.process.is_none() || cut {
            return self.scheduler.after(self.dice.between(200, 1_500), node, Event::Connect { life });
        }
        let stream = self.network.open(node, HOME);
        self.scheduler.after(self.dice.between(1, 100), node, Event::StreamOpened { life, stream });
    }

    pub(super) fn holder_step(&mut self, index: usize, event: HolderEvent) {
        let now = self.scheduler.now();
        let holder = &mut self.holders[index];
        let Some(process) = &mut holder.process else { return };
        let actions = process.rules.step(holder.clock.boot(now), event);
        for action in actions {
            self.record.note(self.scheduler.now(), || format!("    holder {index}: {action:?}"));
            self.holder_act(index, action);
        }
        let holder = &mut self.holders[index];
        let Some(process) = &mut holder.process else { return };
        if let Some(at) = process.rules.next_deadline().map(|deadline| holder.clock.true_time(deadline))
            && process.tick_at.is_none_or(|planned| at < planned)
        {
            process.tick_at = Some(at);
            self.scheduler.at(at, FIRST_HOLDER + index, Event::HolderTick { life: holder.life });
        }
    }

    fn holder_act(&mut self, index: usize, action: HolderAction) {
        let life = self.holders[index].life;
        let node = FIRST_HOLDER + index;
        let Some(process) = &mut self.holders[index].process else { return };
        match action {
            HolderAction::Greet(hello) => {
                let Some((stream, _)) = process.stream else { return };
                process.stream = Some((stream, hello.connection));
                self.send_up(index, stream, Event::Greeted { stream, hello, holder: index });
            }
            HolderAction::Send { connection, message } => {
                let Some((stream, number)) = process.stream.filter(|(_, number)| *number == connection) else {
                    return;
                };
                let hello = webfs::rules::Hello { session: session_of(index, life), connection: number };
                self.send_up(index, stream, Event::Told { stream, hello, message });
            }
            HolderAction::Close { connection, .. } => {
                // Frames sent before may still arrive: the stream is only forgotten here.
                if process.stream.is_some_and(|(_, number)| number == connection) {
                    self.reconnect(index);
                }
            }
            HolderAction::Drop { connection, change, objects } => {
                let event = Event::Dropped { life, connection, change, objects };
                self.scheduler.after(self.dice.below(20), node, event);
            }
            HolderAction::Ask { request, stream, object } => {
                let open = Open { holder: index, life, request, stream, object };
                for at in self.network.message(&self.dice, self.scheduler.now(), node, HOME) {
                    self.scheduler.at(at, HOME, Event::Opened(open.clone()));
                }
                self.scheduler.after(ANSWER_MS, node, Event::Answered { life, request, answer: Answer::Failed });
            }
            HolderAction::ServeCached { waiter, object, version } => {
                self.serve_cached(index, waiter, &object, version)
            }
            HolderAction::Locked { waiter, epoch } => self.locked(index, waiter, epoch),
            HolderAction::NotLocked { waiter, .. } => self.not_locked(index, waiter),
            HolderAction::LockLost { epoch } => self.lock_lost(index, epoch),
            HolderAction::ServeAnswer { waiter, request, keep } => self.serve_answer(index, waiter, request, keep),
            HolderAction::Fail { waiter, failure } => {
                process.reads.remove(&waiter);
                self.counts.failed += 1;
                self.read_under_lock(index, waiter, None);
                if let ReadFailure::RolledBack { seen, offered } = failure {
                    self.violated(format!("holder {index} refused {offered} after {seen}, and the home is honest"));
                }
            }
        }
    }

    fn send_up(&mut self, index: usize, stream: u64, event: Event) {
        match self.network.frame(&self.dice, self.scheduler.now(), stream, HOME) {
            Some(at) => self.scheduler.at(at, HOME, event),
            None => self.lose_stream(index, stream),
        }
    }

    fn read(&mut self, index: usize) {
        self.scheduler.after(self.dice.between(1, 2 * self.read_every_ms), FIRST_HOLDER + index, Event::Read);
        let object = self.dice.one_of(&self.objects).clone();
        let Some(process) = &mut self.holders[index].process else { return };
        process.next_waiter += 1;
        let waiter = process.next_waiter;
        self.read_as(index, waiter, object);
    }

    pub(super) fn read_as(&mut self, index: usize, waiter: u64, object: VolumePath) {
        let (now, floor) = (self.scheduler.now(), self.floor(index, &object));
        let Some(process) = &mut self.holders[index].process else { return };
        process.reads.insert(waiter, ReadCall { object: object.clone(), since: now, floor });
        self.holder_step(index, HolderEvent::Read { waiter, object });
    }

    fn serve_cached(&mut self, index: usize, waiter: u64, object: &VolumePath, version: ObjectVersion) {
        let healed = self.healed;
        let holder = &mut self.holders[index];
        let on_disk = holder.disk.get(object).copied();
        let Some(process) = &mut holder.process else { return };
        let Some(call) = process.reads.remove(&waiter) else { return };
        process.cached_since_heal += u64::from(healed);
        self.counts.cached += 1;
        if version < call.floor {
            let floor = call.floor;
            self.violated(format!(
                "holder {index} served {object} {version} from its cache, {floor} was committed before the read began"
            ));
        }
        self.served(index, &call, version);
        if on_disk != Some(version) {
            self.violated(format!("holder {index} takes {object} {version} for cached, the disk has {on_disk:?}"));
        }
        self.read_under_lock(index, waiter, Some(version));
    }

    fn serve_answer(&mut self, index: usize, waiter: u64, request: u64, keep: bool) {
        let holder = &mut self.holders[index];
        let Some(process) = &mut holder.process else { return };
        let Some(call) = process.reads.remove(&waiter) else { return };
        let version = process.answers.get(&request).copied().unwrap_or_default();
        if keep {
            holder.disk.insert(call.object.clone(), version);
            self.counts.kept += 1;
        } else {
            self.counts.once += 1;
        }
        self.served(index, &call, version);
        if version < call.floor {
            let ReadCall { object, floor, .. } = call;
            self.violated(format!(
                "holder {} served {object} {version} from an answer, {floor} was committed before the read began",
                self.holders[index].index
            ));
        }
        self.read_under_lock(index, waiter, Some(version));
    }
}
