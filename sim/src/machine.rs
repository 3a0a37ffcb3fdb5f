//! A simulated machine's clocks: a boot clock that runs a little fast or slow and never jumps, and a wall clock
//! that may be anywhere.

use crate::dice::Dice;
use terms::{BootMs, UnixMs};

/// Where simulated wall clocks start: 2026-01-01 UTC.
const START: UnixMs = UnixMs(1_767_225_600_000);
/// How far the rate of a boot clock may be off: parts per million. Real ones stay within 500.
const MOST_DRIFT_PPM: u64 = 50_000;

/// The clocks of one machine.
#[derive(Debug, Clone, Copy)]
pub struct MachineClock {
    offset_ms: u64,
    rate_ppm: u64,
    wall_offset_ms: i64,
}

impl MachineClock {
    /// Clocks as the dice have them.
    pub fn thrown(dice: &Dice) -> Self {
        let rate_ppm = dice.between(1_000_000 - MOST_DRIFT_PPM, 1_000_000 + MOST_DRIFT_PPM);
        Self { offset_ms: dice.below(1 << 40), rate_ppm, wall_offset_ms: 0 }
    }

    /// The boot clock at a true time.
    pub fn boot(&self, true_ms: u64) -> BootMs {
        BootMs(self.offset_ms + self.elapsed(true_ms))
    }

    /// The true time at which the boot clock has reached a reading: rounded up.
    pub fn true_time(&self, boot: BootMs) -> u64 {
        (boot.0.saturating_sub(self.offset_ms) * 1_000_000).div_ceil(self.rate_ppm)
    }

    /// The wall clock at a true time.
    pub fn wall(&self, true_ms: u64) -> UnixMs {
        UnixMs((START.0 + self.elapsed(true_ms)).saturating_add_signed(self.wall_offset_ms))
    }

    /// Makes the wall clock jump.
    pub fn jump_wall(&mut self, by_ms: i64) {
        self.wall_offset_ms = self.wall_offset_ms.saturating_add(by_ms);
    }

    fn elapsed(&self, true_ms: u64) -> u64 {
        true_ms * self.rate_ppm / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_when_it_says() {
        for seed in 0..50 {
            let dice = Dice::new(seed);
            let clock = MachineClock::thrown(&dice);
            let deadline = BootMs(clock.boot(0).0 + dice.below(1_000_000));
            assert!(clock.boot(clock.true_time(deadline)) >= deadline, "seed {seed}");
        }
    }
}
