//! Clocks as real machines have them: the boot clock is off by a little, the wall clock may be anywhere. The rules
//! of recruiting allow for real drift only, so this is not the wilder `machine::MachineClock`.

use crate::dice::Dice;
use terms::{BootMs, UnixMs};

/// The most that a boot clock is fast or slow: parts per million. Two such clocks drift apart by half of what
/// leases allow for.
const MOST_DRIFT_PPM: u64 = 100;
/// 2026-01-01 UTC.
const START_MS: u64 = 1_767_225_600_000;

#[derive(Debug, Clone, Copy)]
pub(super) struct SteadyClock {
    offset_ms: u64,
    rate_ppm: u64,
    wall_offset_ms: i64,
}

impl SteadyClock {
    pub(super) fn thrown(dice: &Dice) -> Self {
        let rate_ppm = dice.between(1_000_000 - MOST_DRIFT_PPM, 1_000_000 + MOST_DRIFT_PPM);
        Self { offset_ms: dice.below(1 << 40), rate_ppm, wall_offset_ms: 0 }
    }

    pub(super) fn boot(&self, true_ms: u64) -> BootMs {
        BootMs(self.offset_ms + true_ms * self.rate_ppm / 1_000_000)
    }

    /// The true time at which the boot clock has reached a reading: rounded up.
    pub(super) fn true_time(&self, boot: BootMs) -> u64 {
        (boot.0.saturating_sub(self.offset_ms) * 1_000_000).div_ceil(self.rate_ppm)
    }

    pub(super) fn wall(&self, true_ms: u64) -> UnixMs {
        UnixMs((START_MS + true_ms).saturating_add_signed(self.wall_offset_ms))
    }

    pub(super) fn jump_wall(&mut self, by_ms: i64) {
        self.wall_offset_ms += by_ms;
    }
}
