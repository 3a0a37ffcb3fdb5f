//! A clock that moves only when told, and randomness from a seed.

use crate::{Clock, Entropy};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use terms::{BootMs, UnixMs};

/// Where simulated wall clocks start: 2026-01-01 UTC.
const START: UnixMs = UnixMs(1_767_225_600_000);

/// A clock moved by hand. The wall clock may be pushed apart from the boot clock.
#[derive(Debug, Default)]
pub struct SimulatedClock {
    boot_ms: AtomicU64,
    wall_offset_ms: AtomicI64,
}

impl SimulatedClock {
    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.boot_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Makes the wall clock jump; the boot clock does not notice.
    pub fn jump_wall(&self, by_ms: i64) {
        self.wall_offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn unix(&self) -> UnixMs {
        let elapsed = self.boot_ms.load(Ordering::Relaxed);
        UnixMs((START.0 + elapsed).saturating_add_signed(self.wall_offset_ms.load(Ordering::Relaxed)))
    }

    fn boot(&self) -> BootMs {
        BootMs(self.boot_ms.load(Ordering::Relaxed))
    }
}

/// Replayable randomness. Never for keys outside a simulation.
#[derive(Debug)]
pub struct SimulatedEntropy(Mutex<ChaCha8Rng>);

impl SimulatedEntropy {
    /// The sequence that belongs to this seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))
    }
}

impl Entropy for SimulatedEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fill_bytes(buffer);
    }
}

#[cfg(test)]
mod tests {
    use crate::World;
    use std::time::Duration;

    #[test]
    fn a_seed_replays() {
        let (one, _) = World::simulated(7);
        let (two, _) = World::simulated(7);
        let (three, _) = World::simulated(8);
        let number = one.entropy.number();
        assert_eq!(number, two.entropy.number());
        assert_ne!(number, three.entropy.number());
        assert!((0.0..1.0).contains(&one.entropy.fraction()));
    }

    #[test]
    fn the_wall_jumps_alone() {
        let (world, clock) = World::simulated(1);
        clock.advance(Duration::from_secs(2));
        let (wall, boot) = (world.clock.unix(), world.clock.boot());
        clock.jump_wall(-3_600_000);
        assert_eq!(world.clock.boot(), boot);
        assert_eq!(wall.since(world.clock.unix()), Duration::from_secs(3600));
    }
}
