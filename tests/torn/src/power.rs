//! The loss of power: a seed decides what of the unsynced state the disk had written by itself.

use world::{Entropy, SimulatedEntropy};

/// How likely something unsynced is kept, in eighths: all and nothing are as likely as the mixtures.
const LIKELIHOODS: [u64; 6] = [0, 0, 1, 4, 7, 8];

/// The dice of one loss of power.
#[derive(Debug)]
pub struct Loss {
    dice: SimulatedEntropy,
}

impl Loss {
    /// The loss that this seed stands for.
    pub fn new(seed: u64) -> Self {
        Self { dice: SimulatedEntropy::new(seed) }
    }

    /// What becomes of one file or folder: each has its own luck.
    pub(crate) fn luck(&self) -> Luck<'_> {
        let likelihood = LIKELIHOODS[(self.dice.number() % LIKELIHOODS.len() as u64) as usize];
        Luck { dice: &self.dice, likelihood, ordered: self.dice.number().is_multiple_of(2) }
    }
}

/// The dice of one file or folder.
pub(crate) struct Luck<'a> {
    dice: &'a SimulatedEntropy,
    likelihood: u64,
    ordered: bool,
}

impl Luck<'_> {
    /// A number below `bound`; zero if that is zero.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.dice.number() % bound.max(1)
    }

    /// Whether the next unsynced thing is kept.
    pub(crate) fn keeps(&self) -> bool {
        self.below(8) < self.likelihood
    }

    /// Whether a folder's changes survive in their order, as on a file system that logs them.
    pub(crate) fn keeps_order(&self) -> bool {
        self.ordered
    }

    /// Whether a page that is kept was caught in the middle.
    pub(crate) fn tears(&self) -> bool {
        self.below(4) == 0
    }
}
