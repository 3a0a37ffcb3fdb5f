//! Runs many seeds on all cores and reports the first violation of a promise with the seed that replays it.

use std::fmt;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Names the environment variable with the number of seeds to run.
pub const SEEDS_VARIABLE: &str = "WEBOS_SEEDS";
/// Names the environment variable with the first seed (the only one, unless [`SEEDS_VARIABLE`] is set too).
pub const SEED_VARIABLE: &str = "WEBOS_SEED";
/// Seeds of a run that asks for no number: as in CI.
pub const USUAL_SEEDS: u64 = 200;

/// A promise that did not hold.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The seed of the run.
    pub seed: u64,
    /// The true time: milliseconds.
    pub at_ms: u64,
    /// What happened.
    pub what: String,
    /// What led to it, if the run was traced.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} at {} ms: {}", self.seed, self.at_ms, self.what)?;
        self.trace.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// The seeds that the environment asks for.
pub fn wanted() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number(SEED_VARIABLE), number(SEEDS_VARIABLE)) {
        (Some(first), count) => first..first.saturating_add(count.unwrap_or(1)),
        (None, count) => 0..count.unwrap_or(USUAL_SEEDS),
    }
}

/// Runs these seeds, on all cores; returns the sum of what the runs counted, or a violation.
pub fn run_all<T: Send + Default>(
    seeds: std::ops::Range<u64>,
    run: impl Fn(u64) -> Result<T, Violation> + Sync,
    add: impl Fn(&mut T, T) + Sync,
) -> Result<T, Violation> {
    println!("seeds {seeds:?}; {SEED_VARIABLE}=N replays one");
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let sum = Mutex::new(Ok(T::default()));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = run(seed);
            let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match (outcome, sum.as_mut()) {
                (Ok(counted), Ok(sum)) => add(sum, counted),
                (Err(violation), Ok(_)) => {
                    stop.store(true, Ordering::Relaxed);
                    *sum = Err(violation);
                }
                (_, Err(_)) => {}
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
