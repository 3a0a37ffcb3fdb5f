//! The world of recruiting: one home with its load daemon, lent nodes, clients, and everything that can go wrong
//! between them. Checked: no honest surrogate serves after its lease, or after the daemon declared it gone; no
//! client sends to a surrogate, honest or not, later than five seconds after its lease ended; who ended loses the
//! group; the bounds hold; after healing a surge recruits and calm returns everything.

mod client;
mod documents;
mod event;
mod faults;
mod home;
mod lent;
mod load;
mod steady;

use crate::dice::Dice;
use crate::network::{Network, Weather};
use crate::record::Record;
use crate::scheduler::{NodeId, Scheduler};
use crate::seeds::Violation;
use client::ClientNode;
use event::{Event, principal};
use faults::Faults;
use home::HomeNode;
use lent::LentNode;
use process::model::Phase;
use rentaserver::model::{Server, Settings};
use std::time::Duration;

const WORLD: NodeId = 0;
const HOME: NodeId = 1;

/// How long things go wrong: true milliseconds.
const FAULTS_MS: u64 = 60_000;
/// How long they then go well under load: longer than the probation that a minute of faults can earn.
const BUSY_MS: u64 = 120_000;
/// How long nothing is to do then: longer than the stabilization window, a drain, and the slowest request.
const IDLE_MS: u64 = 70_000;
/// The stabilization window of this world.
const STABILIZATION: Duration = Duration::from_secs(20);
/// How late a client may send to a surrogate after its lease ended: the promise, and a little drift.
const SENT_LATE_MS: u64 = 5_000 + 10;
/// How long one may be a member without running: a lease, and the deadline of a change at home.
const MEMBER_LATE_MS: u64 = 10_000 + 3_000 + 500;
const CHECK_EVERY_MS: u64 = 500;

fn lent_node(index: usize) -> NodeId {
    2 + index
}

fn client_node(lent: usize, index: usize) -> NodeId {
    2 + lent + index
}

/// A rule taken out, so that one sees that its absence is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// All rules are there.
    None,
    /// A surrogate counts its lease from a renewal's arrival.
    LeaseFromArrival,
    /// A client asks everybody in the newest table.
    ClientChecksNothing,
    /// The daemon removes nobody from the group, and members have no end.
    NobodyIsRemoved,
}

/// What a run did, so that one can see that it was not empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Surrogates that came to serve.
    pub recruited: u64,
    /// Surrogates that a new daemon took over.
    pub adopted: u64,
    /// Surrogates returned.
    pub drained: u64,
    /// Surrogates lost.
    pub lost: u64,
    /// Runs started at nodes.
    pub starts: u64,
    /// Runs ended at nodes, by themselves or by a drain.
    pub ends: u64,
    /// Starts of a daemon.
    pub daemons: u64,
    /// Tables signed.
    pub tables: u64,
    /// Requests served by the home.
    pub by_home: u64,
    /// Requests served by surrogates.
    pub by_surrogates: u64,
    /// Requests sent elsewhere by an honest surrogate.
    pub elsewhere: u64,
    /// Faults.
    pub faults: u64,
    /// Events.
    pub events: u64,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.recruited += other.recruited;
        self.adopted += other.adopted;
        self.drained += other.drained;
        self.lost += other.lost;
        self.starts += other.starts;
        self.ends += other.ends;
        self.daemons += other.daemons;
        self.tables += other.tables;
        self.by_home += other.by_home;
        self.by_surrogates += other.by_surrogates;
        self.elsewhere += other.elsewhere;
        self.faults += other.faults;
        self.events += other.events;
    }
}

/// Runs one seed. A traced run tells what led to a violation.
///
/// # Errors
/// The first promise that did not hold.
pub fn run(seed: u64, mutant: Mutant, traced: bool) -> Result<Counts, Violation> {
    let mut world = World::new(seed, mutant, traced);
    world.play();
    world.record.outcome(seed, world.counts)
}

struct World {
    dice: Dice,
    scheduler: Scheduler<Event>,
    network: Network,
    faults: Faults,
    mutant: Mutant,
    settings: Settings,
    home: HomeNode,
    lent: Vec<LentNode>,
    clients: Vec<ClientNode>,
    /// Which lent nodes the daemon has declared gone.
    gone: Vec<bool>,
    /// Since when a lent node has been a member without running.
    idle_member: Vec<Option<u64>>,
    /// Requests in flight, in the mean.
    load: f64,
    healed: bool,
    counts: Counts,
    record: Record,
}

impl World {
    fn new(seed: u64, mutant: Mutant, traced: bool) -> Self {
        let dice = Dice::new(seed);
        let count = dice.between(1, 4);
        let lent: Vec<_> = (0..count).map(|_| LentNode::new(&dice, dice.happens(200))).collect();
        let primary = Server {
            principal: documents::server_principal("home"),
            key: documents::documents().home_key(),
            address: "home.lab.example:443".into(),
            place: None,
            power: 1.0,
            price: 0.0,
        };
        let max_servers = usize::try_from(dice.between(2, 5)).unwrap_or(2);
        let mut settings = Settings::new(documents::service(), vec![primary], 200.0, max_servers);
        settings.min_servers = usize::try_from(dice.between(1, 2)).unwrap_or(1);
        settings.stabilization = STABILIZATION;
        Self {
            scheduler: Scheduler::default(),
            network: Network::new(Weather::thrown(&dice, &[500, 4_000, 12_000])),
            faults: Faults::thrown(&dice),
            mutant,
            settings,
            home: HomeNode::new(&dice),
            gone: vec![false; lent.len()],
            idle_member: vec![None; lent.len()],
            lent,
            clients: (0..2).map(|_| ClientNode::new(&dice)).collect(),
            load: 12.0,
            healed: false,
            counts: Counts::default(),
            record: Record::new(traced),
            dice,
        }
    }

    fn play(&mut self) {
        self.scheduler.at(0, HOME, Event::DaemonStart);
        for index in 0..self.clients.len() {
            self.scheduler.at(1, client_node(self.lent.len(), index), Event::Want);
        }
        self.scheduler.at(2, WORLD, Event::Check);
        self.scheduler.at(3_000, WORLD, Event::Fault);
        self.scheduler.at(FAULTS_MS, WORLD, Event::Heal);
        self.play_until(FAULTS_MS + BUSY_MS);
        if self.record.holds() {
            self.check_busy();
        }
        self.load = 0.02;
        self.play_until(FAULTS_MS + BUSY_MS + IDLE_MS);
        if self.record.holds() {
            self.check_idle();
        }
    }

    fn play_until(&mut self, end_ms: u64) {
        while self.scheduler.now() < end_ms && self.record.holds() {
            let Some((node, event)) = self.scheduler.pop() else { break };
            self.counts.events += 1;
            self.happen(node, event);
        }
    }

    fn happen(&mut self, node: NodeId, event: Event) {
        let (first_lent, first_client) = (lent_node(0), client_node(self.lent.len(), 0));
        match (node, event) {
            (_, Event::Fault) => self.fault(),
            (_, Event::Heal) => self.heal(),
            (_, Event::Check) => self.check(),
            (HOME, event) => self.at_home(event),
            (node, event) if node >= first_client => self.at_client(node - first_client, event),
            (node, event) => self.at_lent(node - first_lent, event),
        }
    }

    fn at_client(&mut self, index: usize, event: Event) {
        match event {
            Event::Want => {
                let delay = self.dice.between(50, 500);
                self.scheduler.after(delay, client_node(self.lent.len(), index), Event::Want);
                self.want(index);
            }
            Event::Served { piggyback } | Event::Elsewhere { piggyback } => self.clients[index].learn(&piggyback),
            Event::State { asked, now, piggyback } => {
                let received = self.clients[index].clock.boot(self.scheduler.now());
                self.clients[index].observe(asked, received, now);
                self.clients[index].learn(&piggyback);
            }
            _ => {}
        }
    }

    fn want(&mut self, index: usize) {
        let (true_ms, from) = (self.scheduler.now(), client_node(self.lent.len(), index));
        let now = self.clients[index].clock.boot(true_ms);
        let (verdict, ask) = self.clients[index].verdict(now);
        if ask {
            self.send(from, HOME, Event::AskState { client: index, asked: now });
        }
        let mut usable: Vec<_> = verdict.usable.iter().map(|server| server.principal().clone()).collect();
        if self.mutant == Mutant::ClientChecksNothing {
            usable = self.clients[index].everybody();
        }
        usable.sort();
        let lent = (0..self.lent.len()).filter(|lent| usable.contains(&principal(*lent)));
        let lent: Vec<usize> = lent.collect();
        if lent.is_empty() || self.dice.happens(300) {
            self.send(from, HOME, Event::PrimaryRequest { client: index });
            return;
        }
        let chosen = *self.dice.one_of(&lent);
        let ended = self.lent[chosen].lease_ends;
        if true_ms > ended + SENT_LATE_MS {
            let late = true_ms - ended;
            self.violated(format!("a client sends to {} {late} ms after its lease ended", event::name(chosen)));
        }
        self.send(from, lent_node(chosen), Event::Request { client: index });
    }

    fn send(&mut self, from: NodeId, to: NodeId, event: Event) {
        let arrivals = self.network.message(&self.dice, self.scheduler.now(), from, to);
        arrivals.into_iter().for_each(|at| self.scheduler.at(at, to, event.clone()));
    }

    /// A promise does not hold.
    fn violated(&mut self, what: String) {
        self.record.violated(self.scheduler.now(), what);
    }

    fn runs(&self, index: usize) -> bool {
        let node = &self.lent[index];
        node.up && node.phase(self.scheduler.now()).is_some_and(|phase| phase != Phase::Ended)
    }

    /// Nobody stays a member of the group for long who does not run and is not being recruited.
    fn check(&mut self) {
        let true_ms = self.scheduler.now();
        self.scheduler.after(CHECK_EVERY_MS, WORLD, Event::Check);
        for index in 0..self.lent.len() {
            let given_up = self.gone[index] || self.home.daemon.is_none();
            let idle = self.home.is_member(index, true_ms) && !self.runs(index) && given_up;
            let since = self.idle_member[index].filter(|_| idle).unwrap_or(true_ms);
            self.idle_member[index] = idle.then_some(since);
            if self.faults.walls_are_steady() && true_ms - since > MEMBER_LATE_MS {
                let late = true_ms - since;
                self.violated(format!("{} does not run and has been a member for {late} ms", event::name(index)));
            }
        }
    }

    /// Under load: as many servers as are needed and there are, and clients use them.
    fn check_busy(&mut self) {
        let true_ms = self.scheduler.now();
        let wanted = 2.min(self.lent.len()).min(self.settings.max_servers - 1);
        let members = self.home.daemon.as_ref().map_or(0, |daemon| daemon.membership().len());
        if members < 1 + wanted {
            self.violated(format!("after healing, under load, there are {members} servers and not {}", 1 + wanted));
        }
        for index in 0..self.clients.len() {
            let now = self.clients[index].clock.boot(true_ms);
            let (verdict, _) = self.clients[index].verdict(now);
            if verdict.usable.len() < 2 {
                self.violated(format!("after healing client {index} uses no surrogate: {:?}", verdict.refused));
            }
        }
    }

    /// With nothing to do: only the least number is left, and whoever is not needed holds nothing.
    fn check_idle(&mut self) {
        let Some(daemon) = self.home.daemon.as_ref() else {
            return self.violated("after healing there is no daemon".into());
        };
        let least = self.settings.min_servers.min(1 + self.lent.len());
        let (membership, true_ms) = (daemon.membership().to_vec(), self.scheduler.now());
        if membership.len() != least {
            self.violated(format!("after calm there are {} servers and not {least}", membership.len()));
        }
        let saved = self.home.saved.as_ref().map_or(0, |state| state.borrowed.len());
        if saved + 1 != least {
            self.violated(format!("after calm {saved} borrowed servers are on record"));
        }
        for index in 0..self.lent.len() {
            let needed = membership.contains(&principal(index));
            let (member, runs) = (self.home.is_member(index, true_ms), self.runs(index));
            // A wall clock that jumped may make a change of the group that came too late look like one to come.
            let member = if self.faults.walls_are_steady() { member } else { needed };
            if needed != member || needed != runs {
                let name = event::name(index);
                self.violated(format!("after calm {name}: needed {needed}, member {member}, runs {runs}"));
            }
        }
    }
}
