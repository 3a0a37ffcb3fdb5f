//! The outside of the program: clocks and entropy, real or simulated from a seed.
//!
//! Promise: every other crate takes time and randomness from a [`World`] and from nowhere else (clippy's
//! disallowed methods hold it), so that a seed replays a run. This crate never decides anything.

mod clock;
mod entropy;
mod simulated;

pub use clock::{CLOCK_OFFSET_VARIABLE, Clock, RealClock};
pub use entropy::{Entropy, RealEntropy};
pub use simulated::{SimulatedClock, SimulatedEntropy};

use std::sync::Arc;
use terms::Problem;

/// The outside that a part of the program is given.
#[derive(Clone)]
pub struct World {
    /// Both clocks.
    pub clock: Arc<dyn Clock>,
    /// Randomness fit for keys (real) or replayable (simulated).
    pub entropy: Arc<dyn Entropy>,
}

impl World {
    /// The machine's own clocks and entropy.
    pub fn real() -> Self {
        Self { clock: Arc::new(RealClock::default()), entropy: Arc::new(RealEntropy) }
    }

    /// The same with the wall clock shifted as [`CLOCK_OFFSET_VARIABLE`] says; an error if that is no number.
    pub fn from_environment() -> Result<Self, Problem> {
        let offset = std::env::var_os(CLOCK_OFFSET_VARIABLE).unwrap_or_default();
        Ok(Self { clock: Arc::new(RealClock::shifted(&offset.to_string_lossy())?), ..Self::real() })
    }

    /// A world from a seed, and its clock to move forward by hand.
    pub fn simulated(seed: u64) -> (Self, Arc<SimulatedClock>) {
        let clock = Arc::new(SimulatedClock::default());
        (Self { clock: clock.clone(), entropy: Arc::new(SimulatedEntropy::new(seed)) }, clock)
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}
