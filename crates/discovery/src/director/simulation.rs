//! A small queueing world: servers with one queue each, many clients that know only what servers told them.
//!
//! It shows what load interpretation is for: at 85 % load it must be clearly better than random choice and than
//! running to the stale minimum, with equal and with unequal servers. Service times are exponential; loads are
//! averaged over a second; tables come once a second and arrive with each tenth answer, as on the wire.

use super::*;
use crate::eligible::testing::usable;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use world::World;

#[derive(Clone, Copy, PartialEq)]
enum Policy {
    Random,
    StaleMinimum,
    Interpretation,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    Finish(usize),
    Sign,
}

struct Server {
    power: f64,
    /// Start time and client of each request; the first is being served.
    queue: VecDeque<(u64, usize)>,
    average: f64,
    rate: f64,
    at: u64,
}

struct Client {
    director: Director,
    answers: u64,
    seen: u64,
}

struct Run {
    world: World,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    number: u64,
    servers: Vec<Server>,
    clients: Vec<Client>,
    table: Vec<Load>,
    table_at: u64,
    waits_us: Vec<u64>,
}

const SERVICE_US: f64 = 20_000.0;

impl Server {
    /// Exponential averages over a second, kept at each change.
    fn observe(&mut self, now: u64, arrived: bool) {
        #[allow(clippy::cast_precision_loss)]
        let elapsed = (now - self.at) as f64 / 1e6;
        let keep = (-elapsed).exp();
        #[allow(clippy::cast_precision_loss)]
        let present = self.queue.len() as f64;
        self.average = self.average * keep + present * (1.0 - keep);
        self.rate = self.rate * keep + f64::from(u8::from(arrived));
        self.at = now;
    }

    fn load(&self) -> Load {
        let latency_ms = SERVICE_US / 1000.0 / self.power * self.average.max(1.0);
        let waiting = u32::try_from(self.queue.len().saturating_sub(1)).expect("small");
        Load { inflight: self.average, rps: self.rate, latency_ms, waiting, ..Load::default() }
    }
}

impl Run {
    fn new(seed: u64, powers: &[f64], clients: usize) -> Self {
        let (world, _) = World::simulated(seed);
        let server = |power: &f64| Server { power: *power, queue: VecDeque::new(), average: 0.0, rate: 0.0, at: 0 };
        let client =
            |_| Client { director: Director::new(Config { stickiness: 0.2, place: None }), answers: 0, seen: 0 };
        Self {
            world,
            now: 0,
            events: BinaryHeap::new(),
            number: 0,
            servers: powers.iter().map(server).collect(),
            clients: (0..clients).map(client).collect(),
            table: vec![Load::default(); powers.len()],
            table_at: 0,
            waits_us: Vec::new(),
        }
    }

    fn at(&mut self, after_us: f64, event: Event) {
        self.number += 1;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let time = self.now + after_us.max(1.0) as u64;
        self.events.push(Reverse((time, self.number, event)));
    }

    fn exponential(&self, mean: f64) -> f64 {
        -mean * (1.0 - self.world.entropy.fraction()).ln()
    }

    fn boot(&self) -> BootMs {
        BootMs(100_000 + self.now / 1000)
    }

    fn learn_table(&mut self, client: usize) {
        let age = Duration::from_micros(self.now - self.table_at);
        let entry =
            |(index, load): (usize, &Load)| usable(index as u8, self.servers[index].power, Some((*load, age)));
        let group: Vec<Usable> = self.table.iter().enumerate().map(entry).collect();
        let now = self.boot();
        self.clients[client].seen = self.table_at;
        self.clients[client].director.update(now, &group);
    }

    fn choose(&mut self, policy: Policy, client: usize) -> usize {
        let count = self.servers.len();
        let random = [self.world.entropy.fraction(), self.world.entropy.fraction()];
        match policy {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Policy::Random => (random[0] * count as f64) as usize,
            Policy::StaleMinimum => {
                let height = |index: &usize| self.table[*index].inflight / self.servers[*index].power;
                (0..count).min_by(|a, b| height(a).total_cmp(&height(b))).unwrap_or(0)
            }
            Policy::Interpretation => {
                let now = self.boot();
                let director = &mut self.clients[client].director;
                let server = director.pick(now, Ask { random, excluded: &[] }).attempts[0].server;
                director.report(now, server, Outcome::Began);
                usize::from(server.0[0])
            }
        }
    }

    fn finish(&mut self, index: usize) {
        let now = self.now;
        self.servers[index].observe(now, false);
        let (load, boot) = (self.servers[index].load(), self.boot());
        let (began, client) = self.servers[index].queue.pop_front().expect("somebody was served");
        self.waits_us.push(now - began);
        let key = Thumbprint([index as u8; 32]);
        let head = Duration::from_micros(now - began);
        self.clients[client].director.report(boot, key, Outcome::Head(head, Some(load)));
        self.clients[client].director.report(boot, key, Outcome::Ended);
        self.clients[client].answers += 1;
        if self.clients[client].answers.is_multiple_of(crate::limits::TABLE_EVERY)
            || now > self.clients[client].seen + 3_000_000
        {
            self.learn_table(client);
        }
        self.serve(index);
    }

    fn serve(&mut self, index: usize) {
        if !self.servers[index].queue.is_empty() {
            let time = self.exponential(SERVICE_US / self.servers[index].power);
            self.at(time, Event::Finish(index));
        }
    }

    /// The mean response time in milliseconds over the last three quarters of the run.
    fn mean_ms(mut self, policy: Policy, load: f64, requests: usize) -> f64 {
        let power: f64 = self.servers.iter().map(|server| server.power).sum();
        let between_us = SERVICE_US / power / load;
        (0..self.clients.len()).for_each(|client| self.learn_table(client));
        self.at(0.0, Event::Arrive);
        self.at(0.0, Event::Sign);
        while self.waits_us.len() < requests {
            let Some(Reverse((time, _, event))) = self.events.pop() else { break };
            self.now = time;
            match event {
                Event::Arrive => {
                    let count = self.clients.len() as u64;
                    let client = usize::try_from(self.world.entropy.number() % count).expect("small");
                    let index = self.choose(policy, client);
                    self.servers[index].observe(time, true);
                    self.servers[index].queue.push_back((time, client));
                    if self.servers[index].queue.len() == 1 {
                        self.serve(index);
                    }
                    let next = self.exponential(between_us);
                    self.at(next, Event::Arrive);
                }
                Event::Finish(index) => self.finish(index),
                Event::Sign => {
                    self.servers.iter_mut().for_each(|server| server.observe(time, false));
                    self.table = self.servers.iter().map(Server::load).collect();
                    self.table_at = time;
                    self.at(1e6, Event::Sign);
                }
            }
        }
        let steady = &self.waits_us[requests / 4..];
        #[allow(clippy::cast_precision_loss)]
        let mean = steady.iter().sum::<u64>() as f64 / steady.len() as f64 / 1000.0;
        mean
    }
}

/// Mean milliseconds with random choice, the stale minimum and ours, over three seeds.
fn compare(powers: &[f64], load: f64, clients: usize) -> [f64; 3] {
    let run = |policy, seed| Run::new(seed, powers, clients).mean_ms(policy, load, 12_000);
    let means = [Policy::Random, Policy::StaleMinimum, Policy::Interpretation]
        .map(|policy| (0..3).map(|seed| run(policy, seed)).sum::<f64>() / 3.0);
    let [random, minimum, ours] = means;
    println!(
        "{clients} clients, power {powers:?}, load {load}: random {random:.1}, stale minimum {minimum:.1}, ours {ours:.1} ms"
    );
    means
}

#[test]
fn interpretation_beats_random_and_the_stale_minimum() {
    for (clients, at_most) in [(4, 0.5), (20, 0.8), (200, 1.0)] {
        let [random, minimum, ours] = compare(&[1.0; 8], 0.85, clients);
        assert!(ours < at_most * random, "{ours:.0} against {random:.0} ms at random, {clients} clients");
        assert!(ours < 0.5 * minimum, "{ours:.0} against {minimum:.0} ms at the stale minimum");
    }
}

#[test]
fn unequal_servers_get_work_by_their_power() {
    let [random, _, ours] = compare(&[0.5, 0.5, 1.0, 1.0, 2.0, 4.0], 0.7, 20);
    assert!(ours < 0.1 * random, "{ours:.0} against {random:.0} ms at random");
}

#[test]
fn light_load_is_not_made_worse() {
    let [random, _, ours] = compare(&[1.0; 8], 0.3, 20);
    assert!(ours < 1.05 * random, "{ours:.1} against {random:.1} ms at random");
}
