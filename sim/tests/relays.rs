//! The rules of relays under the seeded scheduler. `WEBOS_SEEDS=10000` runs more, `WEBOS_SEED=N` replays one.

use webfs::rules::Checks;
use webos_sim::relays::{Counts, run};
use webos_sim::seeds::{Violation, run_all, wanted};

/// Each check, when taken out, is missed within so many seeds.
const ENOUGH_SEEDS: u64 = 3_000;

fn explore(checks: Checks, seeds: std::ops::Range<u64>) -> Result<Counts, Violation> {
    run_all(seeds, |seed| run(seed, checks, false), Counts::add)
}

#[test]
fn no_stale_read_through_relays_and_progress_after_healing() {
    let seeds = wanted();
    let counts = match explore(Checks::ALL, seeds.clone()) {
        Ok(counts) => counts,
        Err(violation) => match run(violation.seed, Checks::ALL, true) {
            Err(traced) => panic!("{traced}"),
            Ok(_) => panic!("{violation}; and the seed did not replay"),
        },
    };
    println!("{counts:?}");
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 2, 3] {
        assert_eq!(run(seed, Checks::ALL, false).expect("holds"), run(seed, Checks::ALL, true).expect("holds"));
    }
}

/// Takes one check out and expects the simulator to notice, with a seed that shows it again.
fn finds(without: Checks, expected: &str) {
    let violation = explore(without, 0..ENOUGH_SEEDS).expect_err("the simulator notices nothing");
    assert!(violation.what.contains(expected), "{violation}");
    let again = run(violation.seed, without, true).expect_err("the seed replays");
    assert_eq!((again.at_ms, &again.what), (violation.at_ms, &violation.what));
    assert!(run(violation.seed, Checks::ALL, false).is_ok(), "with the check the same seed is harmless");
    println!("{violation}");
}

#[test]
fn without_acknowledging_last_a_holder_below_serves_stale() {
    finds(Checks { acknowledges_last: false, ..Checks::ALL }, "committed before the read began");
}

#[test]
fn without_an_end_within_the_relays_lease_a_holder_below_serves_stale() {
    finds(Checks { grants_within_lease: false, ..Checks::ALL }, "committed before the read began");
}

#[test]
fn without_registering_anew_at_another_server_a_holder_serves_stale() {
    finds(Checks { registers_anew: false, ..Checks::ALL }, "committed before the read began");
}
