//! Amounts of bytes with their unit, as people write them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why an amount was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a size: use a number with B, KiB, MiB or GiB, such as 64MiB")]
pub struct SizeError(String);

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteCount(pub u64);

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = UNITS.into_iter().find(|(_, size)| self.0 >= *size).unwrap_or(("B", 1));
        if self.0.is_multiple_of(size) {
            write!(f, "{} {unit}", self.0 / size)
        } else {
            #[allow(clippy::cast_precision_loss)]
            let amount = self.0 as f64 / size as f64;
            write!(f, "{amount:.1} {unit}")
        }
    }
}

impl FromStr for ByteCount {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let refuse = || SizeError(text.chars().take(40).flat_map(char::escape_default).collect());
        let (digits, unit) =
            UNITS.into_iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size))).unwrap_or((text, 1));
        let number: u64 = digits.trim_end().parse().map_err(|_| refuse())?;
        number.checked_mul(unit).map(Self).ok_or_else(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1 KiB", 1024), ("12", 12), ("12B", 12)] {
            assert_eq!(text.parse(), Ok(ByteCount(bytes)));
        }
        for bad in ["", "MiB", "-1", "1TB", "99999999999999999999"] {
            assert!(bad.parse::<ByteCount>().is_err(), "{bad}");
        }
        assert_eq!(ByteCount(1536).to_string(), "1.5 KiB");
        assert_eq!(ByteCount(0).to_string(), "0 B");
    }
}
