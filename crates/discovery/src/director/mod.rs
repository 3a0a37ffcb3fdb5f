//! The built-in director: which server to ask first, which next and when, from what servers said about their load.
//!
//! Pure: time comes in as an argument, randomness with each request, and nothing goes out but plans. It picks only
//! among the servers of its last [`Director::update`], whose eligibility [`crate::eligible`] has judged. It never
//! opens a connection and never reads a clock.

mod choose;
mod gaps;
mod health;
mod interpret;
mod report;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use health::{ELSEWHERE_PAUSE, FIRST_EJECTION, Failure, LONGEST_EJECTION};
pub use interpret::{Queue, probabilities};
pub use report::{Outcome, Snapshot, SnapshotEntry};

use crate::eligible::Usable;
use crate::limits::{BODY_DEADLINE, FIRST_STALL, MIN_STALL};
use crate::model::{Load, Place};
use choose::{draw, normalise};
use gaps::Gaps;
use health::Health;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use terms::{BootMs, Principal, Thumbprint};

/// Attempts of one plan: count.
pub const PLAN_ATTEMPTS: usize = 3;
/// A new server reaches its full share in this time; 80 % of it before two seconds are over.
pub const RAMP: Duration = Duration::from_millis(1500);
/// The part of its fair share that a new server gets at once.
pub const RAMP_START: f64 = 0.2;

/// What a director is made with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// How much a client stays with its last server, 0 to 1. From the service certificate.
    pub stickiness: f64,
    /// Where this client is, if its user says.
    pub place: Option<Place>,
}

/// One request to plan for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Two random numbers in `[0, 1)`: the director has no randomness of its own.
    pub random: [f64; 2],
    /// Servers that were tried for this request already, or must not be used.
    pub excluded: &'a [Thumbprint],
}

/// One attempt of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Whom to ask.
    pub server: Thumbprint,
    /// When to start, counted from the start of the plan, unless all earlier attempts have failed before.
    pub after: Duration,
}

/// Attempts in order. Empty: there is nobody to ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The attempts.
    pub attempts: Vec<Attempt>,
}

#[derive(Debug, Clone)]
struct Known {
    principal: Principal,
    place: Option<Place>,
    power: f64,
    /// May be picked until then.
    usable_until: BootMs,
    since: BootMs,
    load: Load,
    measured_at: Option<BootMs>,
    /// Whether the load came with an answer of its own to us, and not with the table that all have.
    private: bool,
    /// Requests of ours that are on their way.
    own: u32,
    /// Requests of ours begun since the load was measured.
    own_since: f64,
    round_trip_ms: Option<f64>,
    heads: Gaps,
    bodies: Gaps,
    health: Health,
}

/// The director of one service in one process; all requests of the process share it.
#[derive(Debug, Clone)]
pub struct Director {
    config: Config,
    servers: BTreeMap<Thumbprint, Known>,
    last: Option<Thumbprint>,
    /// What a restored director knew, for servers that have not been seen again yet.
    remembered: BTreeMap<Thumbprint, SnapshotEntry>,
    began: bool,
}

impl Director {
    /// A director that knows no servers yet.
    pub fn new(config: Config) -> Self {
        Self { config, servers: BTreeMap::new(), last: None, remembered: BTreeMap::new(), began: false }
    }

    /// Takes the servers that may be used now. Those that are missing are forgotten, except their record.
    pub fn update(&mut self, now: BootMs, usable: &[Usable]) {
        self.servers.retain(|key, known| {
            let stays = usable.iter().any(|server| server.key() == *key);
            if !stays {
                let entry = SnapshotEntry::of(*key, known);
                self.remembered.insert(*key, entry);
            }
            stays
        });
        while self.remembered.len() > crate::limits::MAX_TABLE_ENTRIES {
            self.remembered.pop_first();
        }
        for server in usable {
            self.take(now, server);
        }
        // Whom the first table names is not new to the group, only to this client.
        self.began |= usable.iter().any(|server| server.load.is_some());
        self.keep_half(now);
    }

    fn take(&mut self, now: BootMs, server: &Usable) {
        let since = if self.began { now } else { now.minus(RAMP) };
        let remembered = self.remembered.remove(&server.key());
        let known = self.servers.entry(server.key()).or_insert_with(|| Known {
            principal: server.principal().clone(),
            place: server.place,
            power: server.power,
            usable_until: now,
            since,
            load: Load::default(),
            measured_at: None,
            private: false,
            own: 0,
            own_since: 0.0,
            round_trip_ms: remembered.as_ref().and_then(|entry| entry.round_trip_ms),
            heads: Gaps::default(),
            bodies: Gaps::default(),
            health: Health::with_failures(remembered.map_or(0, |entry| entry.failures)),
        });
        known.place = server.place;
        known.power = server.power;
        known.usable_until = server.remaining.map_or(BootMs(u64::MAX), |remaining| now.plus(remaining));
        if let Some((load, age)) = server.load {
            let measured_at = now.minus(age);
            if known.measured_at.is_none_or(|old| old < measured_at) {
                known.set_load(load, measured_at, false);
            }
        }
    }

    /// Lets time pass: ejections end, and their servers begin anew, gently.
    pub fn tick(&mut self, now: BootMs) {
        for known in self.servers.values_mut() {
            if known.health.take_return(now) {
                known.since = now;
            }
        }
        self.keep_half(now);
    }

    /// Plans a request.
    pub fn pick(&mut self, now: BootMs, ask: Ask<'_>) -> Plan {
        self.tick(now);
        let mut candidates = self.candidates(now, ask.excluded);
        let mut plan = Plan::default();
        let mut after = Duration::ZERO;
        let [mut first, second] = ask.random;
        while plan.attempts.len() < PLAN_ATTEMPTS && !candidates.is_empty() {
            let chosen = match self.sticks(&candidates, second, plan.attempts.is_empty()) {
                Some(index) => index,
                None => draw(&candidates, first),
            };
            let server = candidates.swap_remove(chosen).key;
            plan.attempts.push(Attempt { server, after });
            after += self.head_patience(server);
            // The next draw uses the other number's digits: independent enough, and still replayable.
            first = (first * 7919.0 + second).fract();
            normalise(&mut candidates);
        }
        if let Some(first) = plan.attempts.first() {
            self.last = Some(first.server);
        }
        plan
    }

    /// Takes a failed attempt and plans what remains of the request without that server.
    pub fn resume(&mut self, now: BootMs, failed: Thumbprint, failure: Failure, ask: Ask<'_>) -> Plan {
        self.report(now, failed, Outcome::Failed(failure));
        let mut excluded = ask.excluded.to_vec();
        excluded.push(failed);
        self.pick(now, Ask { excluded: &excluded, ..ask })
    }

    /// How long a silence in a body of this server must be to count as a stall: three times what 99 of 100 of its
    /// silences are, at least [`MIN_STALL`]; [`FIRST_STALL`] before the first.
    pub fn body_patience(&self, server: Thumbprint) -> Duration {
        self.servers.get(&server).map_or(FIRST_STALL, |known| patience(&known.bodies))
    }

    /// The same for the time until the head of an answer.
    pub fn head_patience(&self, server: Thumbprint) -> Duration {
        self.servers.get(&server).map_or(FIRST_STALL, |known| patience(&known.heads))
    }

    /// Why a request would go where: one line a server, for people.
    pub fn explain(&self, now: BootMs) -> String {
        let candidates = self.candidates(now, &[]);
        let mut text = String::new();
        for (key, known) in &self.servers {
            let found = candidates.iter().find(|candidate| candidate.key == *key);
            let state = if known.health.excluded(now) {
                "shut out: it sent wrong bytes".to_string()
            } else if let Some(until) = known.health.ejected(now) {
                format!("left alone for {} ms after failures", until.since(now).as_millis())
            } else if known.health.paused(now) {
                "left alone: it said elsewhere".to_string()
            } else if known.usable_until <= now {
                "not to be used any more".to_string()
            } else {
                "usable".to_string()
            };
            let age =
                known.measured_at.map_or("never".into(), |at| format!("{} ms ago", now.since(at).as_millis()));
            let trip = known.round_trip_ms.map_or("unknown".into(), |ms| format!("{ms:.1} ms"));
            let (share, jobs) = found.map_or((0.0, known.jobs(now)), |c| (c.probability, c.jobs));
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{}: {:.1} % of requests; queue {jobs:.2} at power {:.2}, reported {age}; round trip {trip}; {state}",
                known.principal,
                share * 100.0,
                known.power,
            );
        }
        text
    }

    /// The probability with which each server would be picked now, without stickiness.
    pub fn shares(&self, now: BootMs) -> Vec<(Principal, f64)> {
        let name = |key| self.servers.get(&key).map(|known| known.principal.clone());
        self.candidates(now, &[]).into_iter().filter_map(|c| Some((name(c.key)?, c.probability))).collect()
    }

    /// Never more than half the group is ejected: the ejections that end first end now.
    fn keep_half(&mut self, now: BootMs) {
        loop {
            let group = self.servers.values().filter(|known| !known.health.excluded(now)).count();
            let ejected = self
                .servers
                .values_mut()
                .filter(|known| !known.health.excluded(now) && known.health.ejected(now).is_some());
            let mut ejected: Vec<&mut Known> = ejected.collect();
            if ejected.len() <= group / 2 {
                return;
            }
            if let Some(first) = ejected.iter_mut().min_by_key(|known| known.health.ejected(now)) {
                first.health.release();
            }
        }
    }
}

impl Known {
    fn set_load(&mut self, load: Load, measured_at: BootMs, private: bool) {
        self.load = load;
        self.measured_at = Some(measured_at);
        self.private = private;
        self.own_since = 0.0;
    }

    /// The limit on its probability, in fair shares; no limit once it is not new.
    fn ramp(&self, now: BootMs) -> f64 {
        let age = now.since(self.since);
        if age >= RAMP {
            return f64::INFINITY;
        }
        RAMP_START + (1.0 - RAMP_START) * age.as_secs_f64() / RAMP.as_secs_f64()
    }
}

fn patience(gaps: &Gaps) -> Duration {
    gaps.p99().map_or(FIRST_STALL, |p99| (p99 * 3).clamp(MIN_STALL, BODY_DEADLINE))
}
