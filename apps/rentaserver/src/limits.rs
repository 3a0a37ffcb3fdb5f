//! Times and counts of the load daemon. What it shares with surrogates and clients stands in
//! [`client::models::lending`].

use client::models::lending::{LEASE, TABLE_EVERY};
use std::time::Duration;

/// How often the shell lets time pass when nothing else happens.
pub const TICK_EVERY: Duration = Duration::from_millis(100);
/// How often the offers are read.
pub const OFFERS_EVERY: Duration = Duration::from_secs(2);
/// How often a surrogate that is getting ready, or drains, is asked.
pub const POLL_EVERY: Duration = Duration::from_millis(100);
/// How soon they are read again when they do not suffice.
pub const OFFERS_AGAIN: Duration = Duration::from_millis(500);
/// How long before a sample the servers are asked for their load: what is decided on is as old as this.
pub const BEAT_LEAD: Duration = Duration::from_millis(200);
/// How soon a failed call is repeated.
pub const RETRY_AFTER: Duration = Duration::from_millis(500);
/// The deadline of a beat or a drain. Above it the surrogate counts as silent for this beat.
pub const BEAT_WITHIN: Duration = Duration::from_secs(1);
/// The deadline of a start message. Getting ready goes on after it.
pub const START_WITHIN: Duration = Duration::from_secs(3);
/// The deadline of a change of the group, a publication, a save or a list of offers.
pub const HOME_WITHIN: Duration = Duration::from_secs(3);
/// How long a surrogate may take from the decision to recruit it until it serves; then another one is tried.
pub const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a drain waits for clients to have been told first.
pub const TELL_FIRST_WITHIN: Duration = Duration::from_secs(2);
/// How long the removal of a member is tried. Its membership ends by itself long before.
pub const REMOVE_WITHIN: Duration = Duration::from_secs(60);
/// So many beats without an answer and a server counts as no help until it answers.
pub const SILENT_BEATS: u32 = 2;
/// How old a report may be to count in a sample.
pub const REPORT_LIFE: Duration = Duration::from_secs(3);

/// A server counts as busy above this share of its capacity; only then is its service time learned.
pub const BUSY: f64 = 0.6;
/// The share of their capacity up to which servers are to be used.
pub const UTILIZATION: f64 = 0.75;
/// A sample above the goal by this factor makes the group grow at once.
pub const SEVERE: f64 = 1.5;
/// So many samples in a row over the goal make the group grow.
pub const SAMPLES_OVER: u32 = 2;
/// What remains after shrinking must have carried the busiest moment of the window with this share of itself.
pub const SHRINK_FIT: f64 = 0.85;
/// The stabilization window: only load that has been gone for so long is gone.
pub const STABILIZATION: Duration = Duration::from_secs(60);
/// What service times and answer sizes are averaged over: samples.
pub const LEARN_SAMPLES: f64 = 10.0;
/// How long a learned service time is preferred to one from the stated link.
pub const LEARNED_LIFE: Duration = Duration::from_secs(60);
/// The time that an answer takes besides waiting for the server, if the service does not say: milliseconds.
pub const BASE_MS: f64 = 5.0;

/// How long a server that failed is not tried again; doubles with each failure.
pub const PROBATION: Duration = Duration::from_secs(10);
/// The longest probation.
pub const MAX_PROBATION: Duration = Duration::from_secs(300);
/// Servers of one service: count. The settings may not ask for more.
pub const MAX_SERVERS: usize = 256;
/// Offers that are looked at: count. Further ones are left out.
pub const MAX_OFFERS: usize = 4096;
/// How far a surrogate may push the epoch of a daemon that lost its state: a bound on what one liar can do.
pub const MAX_EPOCH_JUMP: u64 = 1 << 16;

const _: () = assert!(SHRINK_FIT < 1.0 && BUSY < UTILIZATION && SEVERE > 1.0);
const _: () = assert!(BEAT_WITHIN.as_millis() * 3 < LEASE.as_millis(), "a lease outlasts two silent beats");
const _: () = assert!(REPORT_LIFE.as_millis() >= 2 * TABLE_EVERY.as_millis());
const _: () = assert!(STABILIZATION.as_millis() > 2 * LEASE.as_millis());
const _: () = assert!(REMOVE_WITHIN.as_millis() > 3 * LEASE.as_millis());
const _: () =
    assert!(BEAT_LEAD.as_millis() > TICK_EVERY.as_millis() && BEAT_LEAD.as_millis() < TABLE_EVERY.as_millis());
const _: () = assert!(TICK_EVERY.as_millis() <= POLL_EVERY.as_millis());

/// The daemon's saved state: bytes.
pub const MAX_STATE_BYTES: usize = 256 * 1024;
