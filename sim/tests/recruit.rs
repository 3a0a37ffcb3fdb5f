//! The rules of recruiting under the seeded scheduler. `WEBOS_SEEDS=10000` runs more, `WEBOS_SEED=N` replays one.

use webos_sim::recruit::{Counts, Mutant, run};
use webos_sim::seeds::{Violation, run_all, wanted};

/// Each rule, when taken out, is missed within so many seeds.
const ENOUGH_SEEDS: u64 = 2_000;

fn explore(mutant: Mutant, seeds: std::ops::Range<u64>) -> Result<Counts, Violation> {
    run_all(seeds, |seed| run(seed, mutant, false), Counts::add)
}

#[test]
fn leases_tables_and_the_group_hold_and_everything_goes_on_after_healing() {
    let counts = match explore(Mutant::None, wanted()) {
        Ok(counts) => counts,
        Err(violation) => match run(violation.seed, Mutant::None, true) {
            Err(traced) => panic!("{traced}"),
            Ok(_) => panic!("{violation}; and the seed did not replay"),
        },
    };
    println!("{counts:?}");
    assert!(counts.recruited > 0 && counts.by_surrogates > 0 && counts.drained > 0, "{counts:?}");
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 2, 3] {
        let plain = run(seed, Mutant::None, false).expect("holds");
        assert_eq!(plain, run(seed, Mutant::None, true).expect("holds"));
    }
}

/// Takes one rule out and expects the simulator to notice, with a seed that shows it again.
/// Seeds before `first` are known not to show it.
fn finds(mutant: Mutant, first: u64, expected: &str) {
    let violation = explore(mutant, first..first + ENOUGH_SEEDS).expect_err("the simulator notices nothing");
    assert!(violation.what.contains(expected), "{violation}");
    let again = run(violation.seed, mutant, true).expect_err("the seed replays");
    assert_eq!((again.at_ms, &again.what), (violation.at_ms, &violation.what));
    assert!(run(violation.seed, Mutant::None, false).is_ok(), "with the rule the same seed is harmless");
    println!("seed {} at {} ms: {}", violation.seed, violation.at_ms, violation.what);
}

#[test]
fn a_lease_counted_from_the_arrival_outlives_the_daemons_patience() {
    finds(Mutant::LeaseFromArrival, 120, "declared it gone");
}

#[test]
fn a_client_that_checks_nothing_asks_the_dead() {
    finds(Mutant::ClientChecksNothing, 0, "after its lease ended");
}

#[test]
fn without_removal_the_group_keeps_the_dead() {
    finds(Mutant::NobodyIsRemoved, 0, "member");
}
