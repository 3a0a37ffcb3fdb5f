//! Whole worlds in one process, from a seed: the rules of the crates run as state machines among random faults,
//! and checkers look whether their promises hold.
//!
//! Promise: a seed replays its run exactly. A new world needs its own module with events, nodes and a checker;
//! order, network, clocks and throws are in `scheduler`, `network`, `machine` and `dice`; what a run writes down is in `record`.

pub mod coherence;
pub mod dice;
pub mod machine;
pub mod network;
pub mod record;
pub mod recruit;
pub mod relays;
pub mod scheduler;
pub mod seeds;
