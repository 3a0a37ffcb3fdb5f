//! What is expected of every simulated world: its promises hold, a seed replays, and a rule that is taken out is missed.

use std::fmt::Debug;
use std::ops::Range;
use webos_sim::seeds::{Violation, run_all, wanted};

/// Runs the wanted seeds and expects all promises to hold; a violation is shown with what led to it.
pub fn hold<T: Send + Default + Debug>(
    run: impl Fn(u64, bool) -> Result<T, Violation> + Sync,
    add: impl Fn(&mut T, T) + Sync,
) -> T {
    match run_all(wanted(), |seed| run(seed, false), add) {
        Ok(counts) => {
            println!("{counts:?}");
            counts
        }
        Err(violation) => match run(violation.seed, true) {
            Err(traced) => panic!("{traced}"),
            Ok(_) => panic!("{violation}; and the seed did not replay"),
        },
    }
}

/// Expects a seed to replay its run exactly.
pub fn replay<T: PartialEq + Debug>(run: impl Fn(u64, bool) -> Result<T, Violation>) {
    for seed in [1, 2, 3] {
        assert_eq!(run(seed, false).expect("holds"), run(seed, true).expect("holds"));
    }
}

/// Expects the simulator to notice within these seeds that a rule is taken out, with a seed that shows it again and is
/// harmless with the rule.
pub fn are_missed<T: Send + Default + Debug>(
    seeds: Range<u64>,
    without: impl Fn(u64, bool) -> Result<T, Violation> + Sync,
    with: impl Fn(u64, bool) -> Result<T, Violation>,
    expected: &str,
) {
    let found = run_all(seeds, |seed| without(seed, false), |_, _| {});
    let violation = found.expect_err("the simulator notices nothing");
    assert!(violation.what.contains(expected), "{violation}");
    let again = without(violation.seed, true).expect_err("the seed replays");
    assert_eq!((again.at_ms, &again.what), (violation.at_ms, &violation.what));
    assert!(with(violation.seed, false).is_ok(), "with the rule the same seed is harmless");
    println!("{violation}");
}
