//! The wall clock and the boot clock. Leases count on CLOCK_BOOTTIME, which Rust's `Instant` does not.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use terms::{BootMs, Code, Problem, UnixMs};

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn unix(&self) -> UnixMs;
    /// The boot clock of this machine: monotonic, goes on in suspend.
    fn boot(&self) -> BootMs;
}

/// Names the environment variable that shifts the wall clock of one process by so many seconds (may be
/// negative). For tests of expiry and of clocks that are off; it gives its owner nothing that setting the
/// machine's clock would not.
pub const CLOCK_OFFSET_VARIABLE: &str = "WEBOS_CLOCK_OFFSET_S";

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock {
    offset_s: i64,
}

impl RealClock {
    /// The machine's clocks, the wall clock shifted by what [`CLOCK_OFFSET_VARIABLE`] says; empty counts as nothing.
    pub(crate) fn shifted(offset: &str) -> Result<Self, Problem> {
        if offset.is_empty() {
            return Ok(Self::default());
        }
        let offset_s = offset.parse().map_err(|error| {
            let shown = offset.escape_default();
            let what = format!("environment variable {CLOCK_OFFSET_VARIABLE}: it cannot be '{shown}': {error}");
            Problem::new(Code::Invalid, what).next("set it to whole seconds, such as 3600 or -60, or unset it")
        })?;
        Ok(Self { offset_s })
    }
}

fn read(id: ClockId) -> u64 {
    let time = clock_gettime(id);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    u64::try_from(Duration::new(secs, 0).as_millis()).unwrap_or(u64::MAX).saturating_add(nanos / 1_000_000)
}

impl Clock for RealClock {
    fn unix(&self) -> UnixMs {
        UnixMs(read(ClockId::Realtime).saturating_add_signed(self.offset_s.saturating_mul(1000)))
    }

    fn boot(&self) -> BootMs {
        BootMs(read(ClockId::Boottime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_run_and_the_offset_shifts_only_the_wall_clock() {
        let (here, there) = (RealClock::default(), RealClock::shifted("3600").expect("a number"));
        assert!(there.unix().since(here.unix()) > Duration::from_secs(3590));
        assert!(here.boot() <= there.boot());
        assert!(here.unix().secs() > 1_700_000_000);
    }

    #[test]
    fn a_damaged_offset_is_no_offset_of_nothing() {
        for (text, offset_s) in [("", Some(0)), ("-60", Some(-60)), ("+5", Some(5)), ("abc", None), ("1.5", None)] {
            assert_eq!(RealClock::shifted(text).ok().map(|clock| clock.offset_s), offset_s, "'{text}'");
        }
    }
}
