//! Points in time. The wall clock (certificates) and the boot clock (leases) are different types on purpose.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Milliseconds since 1970-01-01 UTC by the wall clock: for certificates and documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMs(pub u64);

/// Milliseconds of CLOCK_BOOTTIME of one machine: for leases. It goes on in suspend and never jumps; it means
/// nothing on another machine, so it never crosses the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BootMs(pub u64);

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

macro_rules! point {
    ($name:ident) => {
        impl $name {
            /// This time and so much later; saturates.
            #[must_use]
            pub fn plus(self, duration: Duration) -> Self {
                Self(self.0.saturating_add(millis(duration)))
            }

            /// This time and so much earlier; saturates at zero.
            #[must_use]
            pub fn minus(self, duration: Duration) -> Self {
                Self(self.0.saturating_sub(millis(duration)))
            }

            /// How long this time is after `earlier`; zero if it is not.
            pub fn since(self, earlier: Self) -> Duration {
                Duration::from_millis(self.0.saturating_sub(earlier.0))
            }
        }
    };
}
point!(UnixMs);
point!(BootMs);

impl UnixMs {
    /// Whole seconds since 1970.
    pub fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// From whole seconds since 1970.
    pub fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }
}

/// Parses `30s`, `5m`, `8h`, `7d`, `250ms`: a whole number with its unit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || {
        format!("'{}' is not a time span: use a number with ms, s, m, h or d, such as 30s", text.escape_default())
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
    let number: u64 = text[..digits].parse().map_err(|_| refuse())?;
    let unit_ms: u64 = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refuse()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, ms) in [("30s", 30_000), ("250ms", 250), ("1h", 3_600_000), ("7d", 604_800_000), ("2m", 120_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)));
        }
        for bad in ["", "s", "30", "-1s", "1.5s", "30 s", "99999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn points_saturate() {
        assert_eq!(UnixMs(5).minus(Duration::from_secs(1)), UnixMs(0));
        assert_eq!(BootMs(u64::MAX).plus(Duration::from_secs(1)), BootMs(u64::MAX));
        assert_eq!(UnixMs(1500).since(UnixMs(500)), Duration::from_secs(1));
        assert_eq!(UnixMs(500).since(UnixMs(1500)), Duration::ZERO);
    }
}
