//! The rules of relays under the seeded scheduler. `WEBOS_SEEDS=10000` runs more, `WEBOS_SEED=N` replays one.

mod promises;

use webfs::rules::Checks;
use webos_sim::relays::{Counts, run};

/// Each check, when taken out, is missed within so many seeds.
const ENOUGH_SEEDS: u64 = 3_000;

#[test]
fn no_stale_read_through_relays_and_progress_after_healing() {
    promises::hold(|seed, traced| run(seed, Checks::ALL, traced), Counts::add);
}

#[test]
fn a_seed_replays_exactly() {
    promises::replay(|seed, traced| run(seed, Checks::ALL, traced));
}

fn finds(without: Checks, expected: &str) {
    let run = |checks| move |seed, traced| run(seed, checks, traced);
    promises::are_missed(0..ENOUGH_SEEDS, run(without), run(Checks::ALL), expected);
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
