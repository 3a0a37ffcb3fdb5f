//! Who would be chosen with which probability: queues as they should be by now, distances as queues, and the draw.

use super::interpret::{Queue, probabilities};
use super::{Director, Known};
use std::time::Duration;
use terms::{BootMs, Thumbprint};

/// A client may stay with a server that gets at least this part of its fair share.
const NEAR_SHARE: f64 = 0.9;
/// A job's service time before anything is known, milliseconds.
const UNKNOWN_SERVICE_MS: f64 = 20.0;
/// Differences of round trips below this are noise, milliseconds.
const ROUND_TRIP_NOISE_MS: f64 = 2.0;
/// Round trip per kilometre of distance where nothing was measured: light in glass, there and back.
const MS_PER_KM: f64 = 0.01;

/// A server that may be chosen.
pub(super) struct Candidate {
    pub(super) key: Thumbprint,
    pub(super) probability: f64,
    pub(super) jobs: f64,
}

impl Director {
    /// Usable servers with their probabilities. Ejected and paused ones only if there is nobody else.
    pub(super) fn candidates(&self, now: BootMs, excluded: &[Thumbprint]) -> Vec<Candidate> {
        let may = |(key, known): &(&Thumbprint, &Known)| {
            known.usable_until > now && !known.health.excluded(now) && !excluded.contains(key)
        };
        let all: Vec<_> = self.servers.iter().filter(may).collect();
        let calm = |known: &Known| known.health.ejected(now).is_none() && !known.health.paused(now);
        let healthy: Vec<_> = all.iter().filter(|(_, known)| calm(known)).copied().collect();
        let chosen = if healthy.is_empty() { all } else { healthy };
        let power: f64 = chosen.iter().map(|(_, known)| known.power).sum();
        let service_ms = service_time_ms(&chosen);
        let trips: Vec<f64> = self.trips(&chosen);
        let nearest = trips.iter().copied().fold(f64::INFINITY, f64::min);
        let queues: Vec<Queue> = chosen
            .iter()
            .zip(&trips)
            .map(|((_, known), trip)| {
                let detour = (trip - nearest - ROUND_TRIP_NOISE_MS).max(0.0);
                Queue {
                    jobs: known.jobs(now) + known.power * detour / service_ms,
                    weight: known.power,
                    cap: known.ramp(now) * known.power / power,
                }
            })
            .collect();
        let shares = probabilities(&queues, arrivals(now, &chosen));
        let made = chosen.iter().zip(&queues).zip(shares);
        made.map(|(((key, _), queue), probability)| Candidate { key: **key, probability, jobs: queue.jobs })
            .collect()
    }

    /// Round trips, measured or guessed from the distance; the nearest known one where nothing is known.
    fn trips(&self, servers: &[(&Thumbprint, &Known)]) -> Vec<f64> {
        let known = |known: &Known| {
            let distance = || Some(self.config.place?.distance_km(known.place?) * MS_PER_KM);
            known.round_trip_ms.or_else(distance)
        };
        let found: Vec<Option<f64>> = servers.iter().map(|(_, server)| known(server)).collect();
        let least = found.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        let least = if least.is_finite() { least } else { 0.0 };
        found.into_iter().map(|trip| trip.unwrap_or(least)).collect()
    }

    /// Stays with the last server, with the chance that the service asks for, while that server's queue is not
    /// above the group's mean: a server that is sought less than its power deserves is left.
    pub(super) fn sticks(&self, candidates: &[Candidate], random: f64, first: bool) -> Option<usize> {
        if !first || random >= self.config.stickiness {
            return None;
        }
        let power = |key: Thumbprint| self.servers.get(&key).map_or(0.0, |known| known.power);
        let group: f64 = candidates.iter().map(|candidate| power(candidate.key)).sum();
        let stays = |candidate: &Candidate| candidate.probability >= NEAR_SHARE * power(candidate.key) / group;
        candidates.iter().position(|candidate| Some(candidate.key) == self.last && stays(candidate))
    }
}

impl Known {
    /// Its queue by now. The report has the queue of its moment and the mean of the seconds before: a queue
    /// relaxes towards its mean. To that comes what this process has sent since.
    pub(super) fn jobs(&self, now: BootMs) -> f64 {
        let age = self.measured_at.map_or(Duration::ZERO, |at| now.since(at));
        let kept = (-age.as_secs_f64() / self.relaxation_s()).exp();
        let instant = f64::from(self.load.waiting);
        let expected = self.load.inflight + (instant - self.load.inflight) * kept;
        (expected + self.own_since).max(f64::from(self.own))
    }

    /// The time in which a queue forgets two thirds of what made it long or short: that of an M/M/1 queue, a
    /// service time over (1 - utilisation) squared, with the utilisation that its mean length tells.
    fn relaxation_s(&self) -> f64 {
        let service_ms = self.load.latency_ms / self.load.inflight.max(1.0);
        let service_ms = if service_ms > 0.0 { service_ms } else { UNKNOWN_SERVICE_MS };
        (service_ms / 1000.0 * (1.0 + self.load.inflight).powi(2)).clamp(0.001, 10.0)
    }
}

/// Requests that others have sent since the group's loads were measured, knowing the same table as we. What a
/// server said in an answer to us alone draws nobody else there.
fn arrivals(now: BootMs, servers: &[(&Thumbprint, &Known)]) -> f64 {
    let shared_age = |known: &Known| match known.measured_at {
        Some(at) if !known.private => now.since(at).as_secs_f64(),
        _ => 0.0,
    };
    let measured = servers.iter().filter(|(_, known)| known.measured_at.is_some()).count();
    let ages: f64 = servers.iter().map(|(_, known)| shared_age(known)).sum();
    let rate: f64 = servers.iter().map(|(_, known)| known.load.rps).sum();
    #[allow(clippy::cast_precision_loss)] // at most some hundred servers
    let age = ages / measured.max(1) as f64;
    (rate * age).max(1.0)
}

/// A job's time on a server of power 1, in the middle of what the servers say.
fn service_time_ms(servers: &[(&Thumbprint, &Known)]) -> f64 {
    let told = servers.iter().filter(|(_, known)| known.load.latency_ms > 0.0);
    let mut times: Vec<f64> =
        told.map(|(_, known)| known.load.latency_ms * known.power / known.load.inflight.max(1.0)).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(UNKNOWN_SERVICE_MS).clamp(0.5, 1000.0)
}

pub(super) fn draw(candidates: &[Candidate], random: f64) -> usize {
    let mut rest = random;
    for (index, candidate) in candidates.iter().enumerate() {
        rest -= candidate.probability;
        if rest < 0.0 {
            return index;
        }
    }
    // Rounding left a crumb: the likeliest gets it.
    let by_probability =
        |a: &(usize, &Candidate), b: &(usize, &Candidate)| a.1.probability.total_cmp(&b.1.probability);
    candidates.iter().enumerate().max_by(by_probability).map_or(0, |(index, _)| index)
}

pub(super) fn normalise(candidates: &mut [Candidate]) {
    let sum: f64 = candidates.iter().map(|candidate| candidate.probability).sum();
    #[allow(clippy::cast_precision_loss)] // at most some hundred servers
    let even = 1.0 / candidates.len().max(1) as f64;
    for candidate in candidates {
        candidate.probability = if sum > 1e-12 { candidate.probability / sum } else { even };
    }
}
