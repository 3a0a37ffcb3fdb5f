//! What the director learns from requests, and what of it is kept on disk.

use super::{Director, Failure, Known};
use crate::model::Load;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use terms::{BootMs, Thumbprint};

/// How fast a measured round trip is forgotten: the part of the difference that each slower one adds.
const ROUND_TRIP_DECAY: f64 = 0.02;

/// What happened with a request at a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// It was sent.
    Began,
    /// The head of the answer came, after so long, with the server's own load if it said it.
    Head(Duration, Option<Load>),
    /// So long passed between two parts of a body.
    Gap(Duration),
    /// It ended well.
    Ended,
    /// It failed.
    Failed(Failure),
    /// It was given up by the client for reasons of its own.
    Dropped,
}

/// What is kept of one server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SnapshotEntry {
    /// The server.
    pub key: Thumbprint,
    /// Its round trip as measured, milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Its failures in a row.
    pub failures: u32,
}

impl SnapshotEntry {
    pub(super) fn of(key: Thumbprint, known: &Known) -> Self {
        Self { key, round_trip_ms: known.round_trip_ms, failures: known.health.failures() }
    }
}

/// A director's memory. Ejections themselves are not kept: their times mean nothing after a restart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// One entry a server.
    pub servers: Vec<SnapshotEntry>,
}

impl Director {
    /// Takes what happened. Servers that are not in the group any more are ignored.
    pub fn report(&mut self, now: BootMs, server: Thumbprint, outcome: Outcome) {
        let Some(known) = self.servers.get_mut(&server) else { return };
        match outcome {
            Outcome::Began => {
                known.own = known.own.saturating_add(1);
                known.own_since += 1.0;
            }
            Outcome::Head(after, load) => {
                known.heads.add(after);
                known.learn_round_trip(after, load.as_ref());
                if let Some(load) = load {
                    known.set_load(load.bounded(), now, true);
                }
            }
            Outcome::Gap(gap) => known.bodies.add(gap),
            Outcome::Ended => {
                known.own = known.own.saturating_sub(1);
                known.health.succeeded();
            }
            Outcome::Dropped => known.own = known.own.saturating_sub(1),
            Outcome::Failed(failure) => {
                known.own = known.own.saturating_sub(1);
                if known.health.failed(now, failure) {
                    self.eject(now, server);
                }
                // A liar leaves the group, and half of the smaller group is less.
                self.keep_half(now);
            }
        }
    }

    /// Ejects unless more than half of the group would be.
    fn eject(&mut self, now: BootMs, server: Thumbprint) {
        let counted = || self.servers.values().filter(|known| !known.health.excluded(now));
        let group = counted().count();
        let ejected = counted().filter(|known| known.health.ejected(now).is_some()).count();
        let Some(known) = self.servers.get_mut(&server) else { return };
        if known.health.ejected(now).is_some() || ejected < group / 2 {
            known.health.eject(now);
        }
    }

    /// What is worth keeping on disk.
    pub fn snapshot(&self) -> Snapshot {
        let present = self.servers.iter().map(|(key, known)| SnapshotEntry::of(*key, known));
        Snapshot { servers: present.chain(self.remembered.values().copied()).collect() }
    }

    /// Takes a memory back. It counts for servers that [`Director::update`] brings later.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let sane = |entry: &&SnapshotEntry| entry.round_trip_ms.is_none_or(|ms| (0.0..=60_000.0).contains(&ms));
        let kept = snapshot.servers.iter().filter(sane).take(crate::limits::MAX_TABLE_ENTRIES);
        self.remembered.extend(kept.map(|entry| (entry.key, *entry)));
    }
}

impl Known {
    /// The round trip is the least that an answer took, without the time that the server says it needed; it is
    /// forgotten slowly, so that a server that moved away is noticed.
    fn learn_round_trip(&mut self, after: Duration, load: Option<&Load>) {
        let total_ms = after.as_secs_f64() * 1000.0;
        let own_ms = load.map_or(0.0, |load| load.latency_ms / load.inflight.max(1.0)).min(total_ms / 2.0);
        let sample = total_ms - own_ms;
        self.round_trip_ms = Some(match self.round_trip_ms {
            Some(least) if sample > least => least + (sample - least) * ROUND_TRIP_DECAY,
            _ => sample,
        });
    }
}
