//! The rules of coherence as state machines without I/O: the home's lease table and the holder's trust in its
//! cache. Time is an argument, events go in, actions come out in the order in which they must be performed.
//! Nothing here reads a clock, waits, or knows how messages travel.

mod holder;
mod home;
pub mod limits;
mod lock;
mod message;
mod relay;

pub use holder::{Answer, Believed, Holder, HolderAction, HolderEvent, LockFailure, Raised, ReadFailure};
pub use home::{ChangeRef, HomeAction, HomeEvent, HomeLeases, HomeStart, Refusal, Waiting};
pub use lock::{LockClaim, LockEpoch, LockMode, LockRefusal, LockSpan, LockWish};
pub use message::{ByeReason, Down, Hello, Up};

pub use relay::{Relay, RelayAction, RelayEvent};

use std::time::Duration;

/// The times of a lease, and the checks that make it safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRules {
    /// How long a grant lasts, counted at the home.
    pub lease: Duration,
    /// When a holder renews.
    pub renew_every: Duration,
    /// All on, but in the simulator, which must notice when one is off.
    pub checks: Checks,
}

impl Default for LeaseRules {
    fn default() -> Self {
        Self { lease: limits::LEASE, renew_every: limits::RENEW_EVERY, checks: Checks::ALL }
    }
}

impl LeaseRules {
    /// How long a holder trusts its cache after sending the renewal: two thirds of the granted term, so that no
    /// drift of clocks below one half makes it outlive the home's count.
    pub fn trusted_for(&self, granted: Duration) -> Duration {
        granted.min(self.lease) * 2 / 3
    }
}

/// Checks that the simulator takes out one at a time, to show that it would find what they prevent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// A holder does not keep an answer that a recall has overtaken.
    pub change_numbers: bool,
    /// A holder stops trusting its cache at two thirds of the lease.
    pub self_fencing: bool,
    /// A home stops waiting for a silent holder when its lease ends.
    pub strike_off: bool,
    /// A home that restarts waits for the sessions recorded before.
    pub restart_wait: bool,
    /// Late frames of an older stream of the same session are ignored, and its answers not kept.
    pub connections: bool,
    /// A change under a lock is refused when that lock is not held any more.
    pub lock_epochs: bool,
    /// A lost lock passes on only when the changes admitted under it have ended.
    pub lock_drains: bool,
    /// A relay acknowledges a recall only after its own holders have, or their leases have ended.
    pub acknowledges_last: bool,
    /// What a relay grants ends with its own lease.
    pub grants_within_lease: bool,
    /// On a new stream a holder trusts only what it has registered there.
    pub registers_anew: bool,
    /// A holder stops using what it was given for a time when that time is over.
    pub times_to_live: bool,
    /// Whoever has something open under `strong` looks at each read whether it is still the valid version.
    pub strong_reads: bool,
    /// A holder believes a higher epoch only with the volume's signed record.
    pub proved_epochs: bool,
}

impl Checks {
    /// Every check is made.
    pub const ALL: Self = Self {
        change_numbers: true,
        self_fencing: true,
        strike_off: true,
        restart_wait: true,
        connections: true,
        lock_epochs: true,
        lock_drains: true,
        acknowledges_last: true,
        grants_within_lease: true,
        registers_anew: true,
        times_to_live: true,
        strong_reads: true,
        proved_epochs: true,
    };
}
