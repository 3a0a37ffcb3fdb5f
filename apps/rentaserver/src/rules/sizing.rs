//! How many servers a load needs: M = max(N·τ/(R*−R0), X·τ/0.75), from time-averaged concurrency N, throughput X,
//! service time τ, goal R* and base latency R0. Grows when the goal is missed; shrinks only when the whole
//! stabilization window would have fitted into what remains, so that it never flaps.

use crate::limits::{BUSY, LEARN_SAMPLES, LEARNED_LIFE, SAMPLES_OVER, SEVERE, SHRINK_FIT, TICK_EVERY, UTILIZATION};
use crate::model::Settings;
use crate::notice::{Figures, Reason};
use client::models::Report;
use std::collections::VecDeque;
use std::time::Duration;
use terms::BootMs;

/// What is to be kept, and what is known beforehand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// R*: the mean response time: milliseconds.
    pub latency_ms: f64,
    /// R0: the part of it that no server shortens: milliseconds, below `latency_ms`.
    pub base_ms: f64,
    /// How long load must have been gone to be gone.
    pub stabilization: Duration,
    /// What a server of power 1 can send: bits per second, where that is stated.
    pub link_bits_per_s: Option<u64>,
}

impl From<&Settings> for Goal {
    fn from(settings: &Settings) -> Self {
        Self {
            latency_ms: settings.goal_ms,
            base_ms: settings.base_ms,
            stabilization: settings.stabilization,
            link_bits_per_s: settings.link_bits_per_s,
        }
    }
}

/// One sample: all servers' load together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// N: requests in flight, averaged over time.
    pub inflight: f64,
    /// X: requests answered in a second.
    pub rps: f64,
    /// Body bytes sent in a second.
    pub bytes_per_s: f64,
    /// Mean response time; of long answers, their age: milliseconds.
    pub latency_ms: f64,
    /// The power in use at servers that are busy.
    pub busy_power: f64,
    /// Requests answered in a second by these.
    pub busy_rps: f64,
}

impl Load {
    /// Adds up the reports of servers of these powers.
    pub fn gather<'a>(reports: impl Iterator<Item = (f64, &'a Report)>) -> Self {
        let (mut sum, mut latency, mut age) = (Self::default(), 0.0, 0.0);
        for (power, report) in reports {
            sum.inflight += report.inflight;
            sum.rps += report.rps;
            sum.bytes_per_s += report.bytes_per_s;
            latency += report.latency_ms * report.rps;
            age += report.age_ms * report.inflight;
            if let Some(busy) = report.busy.filter(|busy| *busy > BUSY) {
                sum.busy_power += busy * power;
                sum.busy_rps += report.rps;
            }
        }
        let mean = |total: f64, weight: f64| if weight > 0.0 { total / weight } else { 0.0 };
        sum.latency_ms = mean(latency, sum.rps).max(mean(age, sum.inflight));
        sum
    }
}

/// What to do about the number of servers. Power 1 is a usual server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Nothing.
    Hold(Reason),
    /// Have at least this much power.
    Grow {
        /// How much.
        to: f64,
        /// Why.
        reason: Reason,
    },
    /// This much power is enough.
    Shrink {
        /// How much.
        to: f64,
    },
}

/// Two sums whose ratio is learned, older samples fading.
#[derive(Debug, Clone, Copy, Default)]
struct Ratio {
    above: f64,
    below: f64,
}

impl Ratio {
    fn learn(&mut self, above: f64, below: f64) {
        let keep = 1.0 - 1.0 / LEARN_SAMPLES;
        *self = Self { above: self.above * keep + above, below: self.below * keep + below };
    }

    /// The ratio; a quantity that was seen to be spent for nothing finished is large, not unknown.
    fn value(self) -> Option<f64> {
        const LEAST: f64 = 0.02;
        (self.above > 0.0).then(|| self.above / self.below.max(LEAST))
    }
}

/// Decides from one sample a second.
#[derive(Debug, Clone)]
pub struct Sizer {
    goal: Goal,
    over: u32,
    first: Option<BootMs>,
    /// Demands within the window, each greater than all after it: its front is the peak.
    peaks: VecDeque<(BootMs, f64)>,
    service_s: Ratio,
    learned: Option<BootMs>,
    answer_bytes: Ratio,
}

impl Sizer {
    /// Knows nothing yet, and so does not shrink before a whole window has passed.
    pub fn new(goal: Goal) -> Self {
        Self {
            goal,
            over: 0,
            first: None,
            peaks: VecDeque::new(),
            service_s: Ratio::default(),
            learned: None,
            answer_bytes: Ratio::default(),
        }
    }

    /// Takes a sample. `power` is what helps now or is on its way.
    pub fn sample(&mut self, now: BootMs, load: &Load, power: f64) -> (Verdict, Figures) {
        self.learn(now, load);
        let service_s = self.service_s(now);
        let demand = self.demand(load, service_s, power);
        let peak = self.remember(now, demand);
        let figures = Figures {
            inflight: load.inflight,
            rps: load.rps,
            latency_ms: load.latency_ms,
            service_ms: service_s.map(|seconds| seconds * 1000.0),
            demand,
            peak,
            power,
        };
        (self.judge(now, &figures), figures)
    }

    fn judge(&mut self, now: BootMs, figures: &Figures) -> Verdict {
        let (latency, goal) = (figures.latency_ms, self.goal.latency_ms);
        self.over = if latency > goal { self.over + 1 } else { 0 };
        if self.over > 0 {
            let severe = latency > goal * SEVERE;
            if self.over < SAMPLES_OVER && !severe {
                return Verdict::Hold(Reason::FirstSampleOver);
            }
            if figures.demand <= figures.power {
                return Verdict::Hold(Reason::EnoughComing);
            }
            self.over = 0;
            let reason = if severe { Reason::FarOverGoal } else { Reason::OverGoal };
            return Verdict::Grow { to: figures.demand, reason };
        }
        // Ticks come a little late: the window counts as whole when all but one tick of it has passed.
        let seen = self.first.map_or(Duration::ZERO, |first| now.since(first)) + TICK_EVERY;
        let enough = figures.peak / SHRINK_FIT;
        if seen >= self.goal.stabilization && enough < figures.power {
            return Verdict::Shrink { to: enough };
        }
        Verdict::Hold(Reason::WithinGoal)
    }

    fn learn(&mut self, now: BootMs, load: &Load) {
        if load.busy_power > 0.0 {
            self.service_s.learn(load.busy_power, load.busy_rps);
            self.learned = Some(now);
        }
        if load.rps > 0.0 {
            self.answer_bytes.learn(load.bytes_per_s, load.rps);
        }
    }

    /// What one request costs a server of power 1: seconds.
    fn service_s(&self, now: BootMs) -> Option<f64> {
        let learned = self.service_s.value();
        let fresh = self.learned.is_some_and(|at| now.since(at) <= LEARNED_LIFE);
        #[allow(clippy::cast_precision_loss)] // a rate
        let by_link = || Some(self.answer_bytes.value()? * 8.0 / self.goal.link_bits_per_s? as f64);
        if fresh { learned } else { by_link().or(learned) }
    }

    /// The formula. No request is served by two servers, so it asks for at most as many servers as there are
    /// requests in flight: that matters for long answers. Without any service time the response time itself has to do.
    fn demand(&self, load: &Load, service_s: Option<f64>, power: f64) -> f64 {
        let room_ms = self.goal.latency_ms - self.goal.base_ms;
        let at_most = load.inflight.ceil();
        let Some(service_s) = service_s else {
            let over = (load.latency_ms - self.goal.base_ms).max(0.0) / room_ms;
            return (power * over).min(at_most);
        };
        let by_latency = load.inflight * service_s * 1000.0 / room_ms;
        by_latency.max(load.rps * service_s / UTILIZATION).min(at_most)
    }

    fn remember(&mut self, now: BootMs, demand: f64) -> f64 {
        self.first.get_or_insert(now);
        while self.peaks.back().is_some_and(|(_, smaller)| *smaller <= demand) {
            self.peaks.pop_back();
        }
        self.peaks.push_back((now, demand));
        while self.peaks.front().is_some_and(|(at, _)| now.since(*at) > self.goal.stabilization) {
            self.peaks.pop_front();
        }
        self.peaks.front().map_or(demand, |(_, peak)| *peak)
    }
}

#[cfg(test)]
#[path = "sizing_tests.rs"]
mod tests;
