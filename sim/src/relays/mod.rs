//! The world of relays: a home, a relay below it, one below that, and holders that read through any of them and move
//! from one to another. Checked: no read is served with a value older than the last change committed before the read
//! began, whoever served it; no change waits longer than a lease; after healing everything goes on.

mod event;
mod holding;
mod serving;

use crate::dice::Dice;
use crate::machine::MachineClock;
use crate::network::{Network, Weather};
use crate::record::Record;
use crate::scheduler::{NodeId, Scheduler};
use crate::seeds::Violation;
use event::Event;
use std::collections::BTreeMap;
use terms::{BootMs, ChangeNumber, Epoch, Principal, SessionId, VolumePath};
use webfs::model::ObjectVersion;
use webfs::rules::{Checks, Hello, Holder, HomeLeases, LeaseRules, Relay};

const WORLD: NodeId = 0;
const HOME: NodeId = 1;
const NEAR: NodeId = 2;
const FAR: NodeId = 3;
const FIRST_LEAF: NodeId = 4;
const NODES: usize = 9;

/// How long things go wrong, and then go well: true milliseconds.
const FAULTS_MS: u64 = 40_000;
const CALM_MS: u64 = 35_000;
/// What may be under way at the end: true milliseconds.
const UNDER_WAY_MS: u64 = 1_000;
/// How much longer than a lease a change may wait: milliseconds of the home's clock.
const MARGIN_MS: u64 = 100;

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads served from a holder's cache.
    pub cached: u64,
    /// Reads served by an answer.
    pub answered: u64,
    /// Reads that failed because no server could be reached.
    pub failed: u64,
    /// Opens that a relay answered out of its cache, with a callback.
    pub relayed: u64,
    /// Changes committed.
    pub changes: u64,
    /// Faults.
    pub faults: u64,
    /// Events.
    pub events: u64,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.cached += other.cached;
        self.answered += other.answered;
        self.failed += other.failed;
        self.relayed += other.relayed;
        self.changes += other.changes;
        self.faults += other.faults;
        self.events += other.events;
    }
}

/// Runs one seed with these checks in the rules. A traced run tells what led to a violation.
pub fn run(seed: u64, checks: Checks, traced: bool) -> Result<Counts, Violation> {
    let mut world = World::new(seed, checks, traced);
    world.play();
    world.record.outcome(seed, world.counts)
}

#[allow(clippy::large_enum_variant)] // nine of them
enum Role {
    Home(HomeLeases),
    Relay(Relay),
    Leaf(Holder),
}

struct Node {
    clock: MachineClock,
    life: u64,
    /// Where it asks.
    server: NodeId,
    process: Option<Process>,
    /// The version of each object in the cache.
    disk: BTreeMap<VolumePath, ObjectVersion>,
}

struct Process {
    role: Role,
    /// The present stream upwards, with its number.
    stream: Option<(u64, u64)>,
    connecting: bool,
    /// The streams from below.
    streams: BTreeMap<Hello, u64>,
    opens: BTreeMap<u64, event::Open>,
    granted: BTreeMap<u64, (ChangeNumber, bool)>,
    reads: BTreeMap<u64, ReadCall>,
    answers: BTreeMap<u64, ObjectVersion>,
    /// Changes that wait at the home: since when, and whether they are admitted.
    changes: BTreeMap<u64, (VolumePath, BootMs, u64, bool)>,
    next: u64,
    tick_at: Option<u64>,
    cached_since_heal: u64,
}

struct ReadCall {
    object: VolumePath,
    since: u64,
    floor: ObjectVersion,
}

#[derive(Default)]
struct Store {
    change: ChangeNumber,
    recorded: BTreeMap<SessionId, Principal>,
    versions: BTreeMap<VolumePath, ObjectVersion>,
}

struct World {
    dice: Dice,
    scheduler: Scheduler<Event>,
    network: Network,
    rules: LeaseRules,
    objects: Vec<VolumePath>,
    nodes: Vec<Node>,
    store: Store,
    home_paused_ms: u64,
    fault_every_ms: u64,
    read_every_ms: u64,
    write_every_ms: u64,
    healed: bool,
    counts: Counts,
    record: Record,
}

impl World {
    fn new(seed: u64, checks: Checks, traced: bool) -> Self {
        let dice = Dice::new(seed);
        let weather = Weather::thrown(&dice, &[500, 4_000]);
        let node = |index: NodeId| {
            let server = match index {
                WORLD | HOME | NEAR => HOME,
                FAR => NEAR,
                _ => *dice.one_of(&[HOME, NEAR, FAR, FAR]),
            };
            let (process, disk) = Default::default();
            Node { clock: MachineClock::thrown(&dice), life: 0, server, process, disk }
        };
        let nodes = (0..NODES).map(node).collect();
        let (fault_every_ms, read_every_ms) = (dice.between(200, 4_000), dice.between(50, 300));
        Self {
            scheduler: Scheduler::default(),
            network: Network::new(weather),
            rules: LeaseRules { checks, ..LeaseRules::default() },
            objects: ["a", "b", "c"].iter().filter_map(|text| VolumePath::new(text).ok()).collect(),
            nodes,
            store: Store::default(),
            home_paused_ms: 0,
            fault_every_ms,
            read_every_ms,
            write_every_ms: dice.between(200, 2_500),
            healed: false,
            counts: Counts::default(),
            record: Record::new(traced),
            dice,
        }
    }

    fn play(&mut self) {
        (HOME..NODES).for_each(|node| self.scheduler.at(node as u64, node, Event::Start));
        (FIRST_LEAF..NODES).for_each(|node| self.scheduler.at(20, node, Event::Read));
        self.scheduler.at(30, HOME, Event::Write);
        self.scheduler.at(500, WORLD, Event::Fault);
        self.scheduler.at(FAULTS_MS, WORLD, Event::Heal);
        while self.scheduler.now() < FAULTS_MS + CALM_MS && self.record.holds() {
            let Some((node, event)) = self.scheduler.pop() else { break };
            self.counts.events += 1;
            self.record.note(self.scheduler.now(), || format!("node {node}: {event:?}"));
            self.happen(node, event);
        }
        if self.record.holds() {
            self.check_progress();
        }
    }

    fn happen(&mut self, node: NodeId, event: Event) {
        match event {
            Event::Fault => self.fault(),
            Event::Heal => {
                self.healed = true;
                self.network.heal();
                self.network.weather = Weather::CALM;
            }
            Event::Start if self.nodes[node].process.is_none() => self.start(node),
            event if event.life().is_none_or(|life| life == self.nodes[node].life) => {
                if let Some(event) = self.at_holder(node, event) {
                    self.at_server(node, event);
                }
            }
            _ => {}
        }
        self.check_waits();
    }

    fn fault(&mut self) {
        if self.healed {
            return;
        }
        self.scheduler.after(self.dice.between(1, 2 * self.fault_every_ms), WORLD, Event::Fault);
        self.counts.faults += 1;
        let node = usize::try_from(self.dice.between(1, NODES as u64 - 1)).unwrap_or(HOME);
        let for_ms = self.dice.between(10, *self.dice.one_of(&[300, 3_000, 14_000]));
        let (kind, until, server) = (self.dice.below(7), self.scheduler.now() + for_ms, self.nodes[node].server);
        self.record.note(self.scheduler.now(), || format!("FAULT {kind} at {node} for {for_ms} ms"));
        match kind {
            0 => self.network.cut(node, server, until),
            1 => self.network.cut(server, node, until),
            2 => {
                self.network.cut(node, server, until);
                self.network.cut(server, node, until);
            }
            3 => {
                let before = self.scheduler.paused_for(HOME);
                self.scheduler.pause(node, for_ms);
                self.home_paused_ms += self.scheduler.paused_for(HOME) - before;
            }
            4 => self.crash(node),
            5 => self.break_streams(node),
            _ if node >= FIRST_LEAF => {
                self.nodes[node].server = *self.dice.one_of(&[HOME, NEAR, FAR]);
                self.break_streams(node);
            }
            _ => {}
        }
    }

    fn break_streams(&mut self, node: NodeId) {
        for (stream, other) in self.network.break_all(node) {
            self.lose_stream(node, stream);
            self.lose_stream(other, stream);
        }
    }

    fn crash(&mut self, node: NodeId) {
        self.break_streams(node);
        self.nodes[node].life += 1;
        self.nodes[node].process = None;
        self.scheduler.after(self.dice.between(10, 8_000), node, Event::Start);
    }

    fn violated(&mut self, what: String) {
        self.record.violated(self.scheduler.now(), what);
    }

    /// No change waits longer than a lease, beyond what the home itself was stopped for.
    fn check_waits(&mut self) {
        let now = self.nodes[HOME].clock.boot(self.scheduler.now());
        let Some(process) = &self.nodes[HOME].process else { return };
        let allowed = u64::try_from(self.rules.lease.as_millis()).unwrap_or(u64::MAX) + MARGIN_MS;
        let late = process.changes.values().filter(|(.., admitted)| !admitted).find_map(|(_, since, paused, _)| {
            let waited = now.0 - since.0;
            (waited > allowed + (self.home_paused_ms - paused) * 11 / 10).then_some(waited)
        });
        if let Some(waited) = late {
            self.violated(format!("a change has waited {waited} ms of the home's clock"));
        }
    }

    fn check_progress(&mut self) {
        let now = self.scheduler.now();
        for node in FIRST_LEAF..NODES {
            let clock = self.nodes[node].clock.boot(now);
            let why = match &self.nodes[node].process {
                None => Some("it does not run"),
                Some(Process { role: Role::Leaf(holder), .. }) if !holder.is_trusted(clock) => {
                    Some("it has no lease")
                }
                Some(process) if process.cached_since_heal == 0 => Some("it served nothing from its cache"),
                Some(process) => {
                    let hangs = |call: &ReadCall| now - call.since > holding::ANSWER_MS + UNDER_WAY_MS;
                    process.reads.values().any(hangs).then_some("a read hangs")
                }
            };
            if let Some(why) = why {
                let server = self.nodes[node].server;
                self.violated(format!("after healing holder {node} at {server} is not well: {why}"));
            }
        }
    }
}

impl Store {
    /// The version that every read which begins now must show, or a later one.
    fn version(&self, object: &VolumePath) -> ObjectVersion {
        self.versions.get(object).copied().unwrap_or(ObjectVersion { epoch: Epoch(1), version: terms::Version(0) })
    }
}

fn principal(node: NodeId) -> Principal {
    match format!("spiffe://sim.test/server/n{node}").parse() {
        Ok(principal) => principal,
        Err(error) => unreachable!("a fixed form: {error}"),
    }
}

/// A session's id tells whose it is.
fn session_of(node: NodeId, life: u64) -> SessionId {
    let mut id = [0; 16];
    id[0] = u8::try_from(node).unwrap_or(u8::MAX);
    id[8..].copy_from_slice(&life.to_be_bytes());
    SessionId(id)
}
