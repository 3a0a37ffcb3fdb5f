//! The rules of coherence under the seeded scheduler. `WEBOS_SEEDS=10000` runs more, `WEBOS_SEED=N` replays one.

use webfs::rules::Checks;
use webos_sim::coherence::{Counts, run};
use webos_sim::seeds::{Violation, run_all, wanted};

/// Each check, when taken out, is missed within so many seeds.
const ENOUGH_SEEDS: u64 = 3_000;

fn explore(checks: Checks, seeds: std::ops::Range<u64>) -> Result<Counts, Violation> {
    run_all(seeds, |seed| run(seed, checks, false), Counts::add)
}

#[test]
fn no_stale_read_no_endless_wait_and_progress_after_healing() {
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
fn without_change_numbers_an_overtaken_answer_is_served_stale() {
    finds(Checks { change_numbers: false, ..Checks::ALL }, "from its cache");
}

#[test]
fn without_self_fencing_a_cut_off_holder_serves_stale() {
    finds(Checks { self_fencing: false, ..Checks::ALL }, "from its cache");
}

#[test]
fn without_strike_off_a_dead_holder_delays_changes_for_ever() {
    finds(Checks { strike_off: false, ..Checks::ALL }, "a change has waited");
}

#[test]
fn without_the_restart_wait_a_holder_of_before_the_crash_serves_stale() {
    finds(Checks { restart_wait: false, ..Checks::ALL }, "from its cache");
}

#[test]
fn without_stream_numbers_a_late_answer_is_kept_without_a_callback() {
    finds(Checks { connections: false, ..Checks::ALL }, "from its cache");
}

#[test]
fn without_lock_epochs_a_late_write_loses_the_next_holders_work() {
    finds(Checks { lock_epochs: false, ..Checks::ALL }, "work was lost");
}

#[test]
fn without_drain_the_next_holder_reads_before_an_admitted_write_is_there() {
    finds(Checks { lock_drains: false, ..Checks::ALL }, "work was lost");
}
