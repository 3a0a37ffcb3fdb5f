//! The service's time at this machine: an offset with its error, measured by questions to home and name servers.
//!
//! It counts on the boot clock, so a wall clock that jumps changes nothing. Only answers of servers that the
//! certificate or the trust bundle names are measurements, never those of a surrogate: a surrogate that could move
//! this clock could make its own table look young.

use terms::{BootMs, UnixMs};

/// How much the error grows: parts per million of the time since the measurement (two bad quartz clocks).
const DRIFT_PPM: u64 = 200;

/// The bounds within which the service's time lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceNow {
    /// It is not earlier than this.
    pub earliest: UnixMs,
    /// It is not later than this.
    pub latest: UnixMs,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    at: BootMs,
    /// Service time when the boot clock stood at `at`.
    time: UnixMs,
    error_ms: u64,
}

/// The clock; unknown until the first measurement.
#[derive(Debug, Clone, Default)]
pub struct ServiceClock(Option<Measured>);

impl ServiceClock {
    /// Takes the time that a server stated in an answer to a question sent and answered at these boot times.
    /// The error is half the round trip; the more exact of old and new measurement stays, unless they
    /// contradict each other: then the new one counts.
    pub fn observe(&mut self, sent: BootMs, received: BootMs, stated: UnixMs) {
        let round_trip_ms = received.0.saturating_sub(sent.0);
        let new = Measured {
            at: received,
            time: UnixMs(stated.0.saturating_add(round_trip_ms / 2)),
            error_ms: round_trip_ms.div_ceil(2) + 1,
        };
        let keeps_old = self.0.is_some_and(|old| {
            let (old, new) = (span(old, received), span(new, received));
            let overlap = old.earliest <= new.latest && new.earliest <= old.latest;
            overlap && old.latest.0 - old.earliest.0 <= new.latest.0 - new.earliest.0
        });
        if !keeps_old {
            self.0 = Some(new);
        }
    }

    /// The bounds of the service's time now; nothing before the first measurement.
    pub fn now(&self, boot: BootMs) -> Option<ServiceNow> {
        self.0.map(|measured| span(measured, boot))
    }
}

fn span(measured: Measured, boot: BootMs) -> ServiceNow {
    let elapsed = boot.0.saturating_sub(measured.at.0);
    let error = measured
        .error_ms
        .saturating_add(elapsed / 1_000_000 * DRIFT_PPM + elapsed % 1_000_000 * DRIFT_PPM / 1_000_000);
    let middle = measured.time.0.saturating_add(elapsed);
    ServiceNow { earliest: UnixMs(middle.saturating_sub(error)), latest: UnixMs(middle.saturating_add(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_round_trip_is_the_error() {
        let mut clock = ServiceClock::default();
        assert_eq!(clock.now(BootMs(5)), None);
        clock.observe(BootMs(1000), BootMs(1040), UnixMs(500_000));
        assert_eq!(
            clock.now(BootMs(1040)),
            Some(ServiceNow { earliest: UnixMs(499_999), latest: UnixMs(500_041) })
        );
    }

    #[test]
    fn the_more_exact_measurement_stays_until_drift_or_contradiction() {
        let mut clock = ServiceClock::default();
        clock.observe(BootMs(0), BootMs(2), UnixMs(10_000));
        clock.observe(BootMs(100), BootMs(200), UnixMs(10_150));
        let now = clock.now(BootMs(200)).expect("measured");
        assert!(now.latest.0 - now.earliest.0 <= 6, "{now:?}");
        clock.observe(BootMs(300), BootMs(400), UnixMs(90_000));
        assert!(clock.now(BootMs(400)).expect("measured").earliest.0 > 89_000, "a contradiction is believed");
        let hour = BootMs(3_600_000);
        let drifted = clock.now(hour).expect("measured");
        assert!(drifted.latest.0 - drifted.earliest.0 > 1000);
        clock.observe(hour, BootMs(hour.0 + 100), UnixMs(90_000 + hour.0 - 400));
        let fresh = clock.now(BootMs(hour.0 + 100)).expect("measured");
        assert!(fresh.latest.0 - fresh.earliest.0 < 200, "a fresh one is more exact than a drifted one");
    }
}
