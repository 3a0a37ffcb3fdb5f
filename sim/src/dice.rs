//! All randomness of a run, from its seed.

use world::{Entropy, SimulatedEntropy};

/// Throws that a seed replays.
#[derive(Debug)]
pub struct Dice(SimulatedEntropy);

impl Dice {
    /// The throws that belong to this seed.
    pub fn new(seed: u64) -> Self {
        Self(SimulatedEntropy::new(seed))
    }

    /// A number.
    pub fn number(&self) -> u64 {
        self.0.number()
    }

    /// A number in `0..bound`; zero if there is none.
    pub fn below(&self, bound: u64) -> u64 {
        self.number().checked_rem(bound).unwrap_or(0)
    }

    /// A number in `low..=high`.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Whether something with a chance of so many in a thousand happens.
    pub fn happens(&self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    /// One of these.
    ///
    /// # Panics
    /// If there are none.
    pub fn one_of<'a, T>(&self, choices: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        &choices[index]
    }
}
