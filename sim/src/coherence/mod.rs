//! The world of leases: one home, some holders and writers, and everything that can go wrong between them.
//! Checked: no read is served with a value older than the last change committed before the read began (or, of what has
//! a time to live, so long before); no change
//! waits longer than a lease; of numbers counted up under locks none is lost; no honest home is taken for a liar;
//! after healing everything goes on.

mod event;
mod faults;
mod holder;
mod home;
mod locks;
mod policies;

use crate::dice::Dice;
use crate::network::{Network, Weather};
use crate::record::Record;
use crate::scheduler::{NodeId, Scheduler};
use crate::seeds::Violation;
use event::Event;
use faults::Faults;
use holder::HolderNode;
use home::HomeNode;
use terms::VolumePath;
use webfs::rules::{Checks, LeaseRules};

const WORLD: NodeId = 0;
const HOME: NodeId = 1;
const FIRST_HOLDER: NodeId = 2;

/// How long things go wrong: true milliseconds.
const FAULTS_MS: u64 = 40_000;
/// How long they then go well: long enough for a restart wait and a lease on the slowest clocks.
const CALM_MS: u64 = 30_000;
/// What may be under way at the end: true milliseconds.
const UNDER_WAY_MS: u64 = 1_000;

/// What a run did, so that one can see that it was not empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads served from a cache.
    pub cached: u64,
    /// Reads served by an answer that the cache kept.
    pub kept: u64,
    /// Reads served by an answer that was used once.
    pub once: u64,
    /// Reads that failed because the home could not be reached.
    pub failed: u64,
    /// Changes committed.
    pub changes: u64,
    /// Changes that waited longer than half a lease.
    pub long_waits: u64,
    /// Starts of a home that waited for recorded sessions.
    pub restart_waits: u64,
    /// Locks granted.
    pub locks: u64,
    /// Locks that their holder was told to have lost.
    pub locks_lost: u64,
    /// Changes refused because their lock was lost.
    pub late_writes: u64,
    /// Numbers committed under locks.
    pub numbers: u64,
    /// Reads through an open handle under `strong`.
    pub handle_reads: u64,
    /// Open handles that were found to be replaced.
    pub handles_replaced: u64,
    /// Streams that the home ended.
    pub byes: u64,
    /// Faults.
    pub faults: u64,
    /// Events.
    pub events: u64,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.cached += other.cached;
        self.kept += other.kept;
        self.once += other.once;
        self.failed += other.failed;
        self.changes += other.changes;
        self.long_waits += other.long_waits;
        self.restart_waits += other.restart_waits;
        self.locks += other.locks;
        self.locks_lost += other.locks_lost;
        self.late_writes += other.late_writes;
        self.numbers += other.numbers;
        self.handle_reads += other.handle_reads;
        self.handles_replaced += other.handles_replaced;
        self.byes += other.byes;
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

struct World {
    dice: Dice,
    scheduler: Scheduler<Event>,
    network: Network,
    faults: Faults,
    rules: LeaseRules,
    objects: Vec<VolumePath>,
    home: HomeNode,
    holders: Vec<HolderNode>,
    read_every_ms: u64,
    write_every_ms: u64,
    lock_every_ms: u64,
    healed: bool,
    counts: Counts,
    record: Record,
}

impl World {
    fn new(seed: u64, checks: Checks, traced: bool) -> Self {
        let dice = Dice::new(seed);
        let rules = LeaseRules { checks, ..LeaseRules::default() };
        let weather = Weather::thrown(&dice, &[500, 4_000]);
        let names = ["a", "b", "d", "d/x", "d/y"].into_iter().chain(policies::OBJECTS);
        let objects = names.filter_map(|text| VolumePath::new(text).ok()).collect();
        let count = dice.between(1, 4);
        let holders = (0..count).map(|index| HolderNode::new(index, &dice)).collect();
        let (read_every_ms, write_every_ms) = (dice.between(30, 300), dice.between(200, 2500));
        let lock_every_ms = dice.between(100, 2_000);
        let (faults, home) = (Faults::thrown(&dice), HomeNode::new(&dice));
        Self {
            scheduler: Scheduler::default(),
            network: Network::new(weather),
            faults,
            rules,
            objects,
            home,
            holders,
            read_every_ms,
            write_every_ms,
            lock_every_ms,
            healed: false,
            counts: Counts::default(),
            record: Record::new(traced),
            dice,
        }
    }

    fn play(&mut self) {
        self.scheduler.at(0, HOME, Event::HomeStart);
        for index in 0..self.holders.len() {
            self.scheduler.at(1, FIRST_HOLDER + index, Event::HolderStart);
            self.scheduler.at(2, FIRST_HOLDER + index, Event::Read);
            self.scheduler.at(2, FIRST_HOLDER + index, Event::Work);
        }
        self.scheduler.at(3, HOME, Event::Write);
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
        match (event, node.checked_sub(FIRST_HOLDER)) {
            (Event::Fault, _) => self.fault(),
            (Event::Heal, _) => self.heal(),
            (event, Some(holder)) => self.at_holder(holder, event),
            (event, None) => self.at_home(event),
        }
    }

    /// A promise does not hold.
    fn violated(&mut self, what: String) {
        self.record.violated(self.scheduler.now(), what);
    }

    /// After the calm: streams are up, leases run, reads come from caches and nothing hangs.
    fn check_progress(&mut self) {
        let now = self.scheduler.now();
        let stuck_change = self.home.longest_wait(now).filter(|waited| *waited > UNDER_WAY_MS);
        if let Some(waited) = stuck_change {
            self.violated(format!("after healing a change has waited {waited} ms"));
        }
        for index in 0..self.holders.len() {
            if let Err(why) = self.holders[index].is_well(now) {
                self.violated(format!("after healing holder {index} is not well: {why}"));
            }
        }
    }
}
