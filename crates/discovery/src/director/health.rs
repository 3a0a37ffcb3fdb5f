//! Ejection: a server that fails is left alone for a time that grows with each failure in a row, then tried gently.
//!
//! A server that sent a block which does not agree with the signed manifest is shut out for longer, and does not
//! count in the group. The bound of half the group is kept by the director, which sees all servers.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use terms::BootMs;

/// The first ejection; each further failure in a row doubles it.
pub const FIRST_EJECTION: Duration = Duration::from_secs(1);
/// The longest ejection.
pub const LONGEST_EJECTION: Duration = Duration::from_secs(60);
/// The first exclusion of a server that sent wrong bytes; doubles too.
pub const FIRST_EXCLUSION: Duration = Duration::from_secs(60);
/// The longest exclusion.
pub const LONGEST_EXCLUSION: Duration = Duration::from_secs(3600);
/// A server that said "elsewhere" is left alone so long.
pub const ELSEWHERE_PAUSE: Duration = Duration::from_millis(500);
/// Stalls in a row that count as a failure.
pub const STALLS_TO_FAIL: u32 = 2;

/// How a request failed at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// No connection, or somebody else was there.
    Connect,
    /// The connection broke, or the answer ended early.
    Reset,
    /// Silence for longer than this server's silences are.
    Stall,
    /// It said "elsewhere" or that it does not serve now.
    Elsewhere,
    /// An answer that a server of this service does not give (5xx, another length or version).
    Wrong,
    /// A block or manifest that the home did not sign.
    Lied,
}

/// A server's record. Times are of this machine's boot clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    failures: u32,
    stalls: u32,
    ejected_until: Option<BootMs>,
    excluded_until: Option<BootMs>,
    paused_until: Option<BootMs>,
    lies: u32,
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1u32 << times.min(16)).min(longest)
}

impl Health {
    /// Takes a failure. Answers whether the server should be ejected now; the caller may deny it.
    pub fn failed(&mut self, now: BootMs, failure: Failure) -> bool {
        match failure {
            Failure::Connect | Failure::Reset | Failure::Wrong => self.count_failure(),
            Failure::Stall => {
                self.stalls += 1;
                self.stalls >= STALLS_TO_FAIL && {
                    self.stalls = 0;
                    self.count_failure()
                }
            }
            Failure::Elsewhere => {
                self.paused_until = Some(now.plus(ELSEWHERE_PAUSE));
                false
            }
            Failure::Lied => {
                self.excluded_until = Some(now.plus(doubled(FIRST_EXCLUSION, self.lies, LONGEST_EXCLUSION)));
                self.lies = self.lies.saturating_add(1);
                false
            }
        }
    }

    fn count_failure(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        true
    }

    /// Ejects the server for as long as its failures in a row ask for.
    pub fn eject(&mut self, now: BootMs) {
        let span = doubled(FIRST_EJECTION, self.failures.saturating_sub(1), LONGEST_EJECTION);
        self.ejected_until = Some(now.plus(span));
    }

    /// Ends an ejection early; the failures stay counted.
    pub fn release(&mut self) {
        self.ejected_until = None;
    }

    /// Takes a success: probation shortens.
    pub fn succeeded(&mut self) {
        self.failures /= 2;
        self.stalls = 0;
        self.paused_until = None;
    }

    /// When its ejection ends, if it is ejected now.
    pub fn ejected(&self, now: BootMs) -> Option<BootMs> {
        self.ejected_until.filter(|until| *until > now)
    }

    /// Whether it said "elsewhere" a moment ago.
    pub fn paused(&self, now: BootMs) -> bool {
        self.paused_until.is_some_and(|until| until > now)
    }

    /// Whether it is shut out for wrong bytes.
    pub fn excluded(&self, now: BootMs) -> bool {
        self.excluded_until.is_some_and(|until| until > now)
    }

    /// Whether an ejection has ended since the last call: the server begins anew, gently.
    pub fn take_return(&mut self, now: BootMs) -> bool {
        let ended = self.ejected_until.is_some_and(|until| until <= now);
        if ended {
            self.ejected_until = None;
        }
        ended
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A record with so many failures, for a director that was restored.
    pub fn with_failures(failures: u32) -> Self {
        Self { failures, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probation_grows_and_shrinks() {
        let mut health = Health::default();
        let mut spans = Vec::new();
        for _ in 0..8 {
            assert!(health.failed(BootMs(0), Failure::Reset));
            health.eject(BootMs(0));
            spans.push(health.ejected(BootMs(0)).expect("ejected").0);
        }
        assert_eq!(spans, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        for _ in 0..4 {
            health.succeeded();
        }
        health.failed(BootMs(0), Failure::Connect);
        health.eject(BootMs(0));
        assert_eq!(health.ejected(BootMs(0)), Some(BootMs(1000)));
        assert!(!health.take_return(BootMs(999)));
        assert!(health.take_return(BootMs(1000)));
        assert!(!health.take_return(BootMs(1001)));
    }

    #[test]
    fn kinds_of_failure_differ() {
        let mut health = Health::default();
        assert!(!health.failed(BootMs(0), Failure::Stall), "one stall is no failure");
        assert!(health.failed(BootMs(0), Failure::Stall));
        assert!(!health.failed(BootMs(0), Failure::Elsewhere));
        assert!(health.paused(BootMs(499)) && !health.paused(BootMs(500)));
        assert!(!health.failed(BootMs(0), Failure::Lied));
        assert!(health.excluded(BootMs(59_999)) && !health.excluded(BootMs(60_000)));
        health.failed(BootMs(60_000), Failure::Lied);
        assert!(health.excluded(BootMs(179_999)), "the second lie costs twice as much");
    }
}
