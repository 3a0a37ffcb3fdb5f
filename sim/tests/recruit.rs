//! The rules of recruiting under the seeded scheduler. `WEBOS_SEEDS=10000` runs more, `WEBOS_SEED=N` replays one.

mod promises;

use webos_sim::recruit::{Counts, Mutant, run};

/// Each rule, when taken out, is missed within so many seeds.
const ENOUGH_SEEDS: u64 = 2_000;

#[test]
fn leases_tables_and_the_group_hold_and_everything_goes_on_after_healing() {
    let counts = promises::hold(|seed, traced| run(seed, Mutant::None, traced), Counts::add);
    assert!(counts.recruited > 0 && counts.by_surrogates > 0 && counts.drained > 0, "{counts:?}");
}

#[test]
fn a_seed_replays_exactly() {
    promises::replay(|seed, traced| run(seed, Mutant::None, traced));
}

/// Seeds before `first` are known not to show it.
fn finds(mutant: Mutant, first: u64, expected: &str) {
    let run = |mutant| move |seed, traced| run(seed, mutant, traced);
    promises::are_missed(first..first + ENOUGH_SEEDS, run(mutant), run(Mutant::None), expected);
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
