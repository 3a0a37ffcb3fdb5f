//! The rules of coherence under the seeded scheduler. `WEBOS_SEEDS=10000` runs more, `WEBOS_SEED=N` replays one.

mod promises;

use webfs::rules::Checks;
use webos_sim::coherence::{Counts, run};

/// Each check, when taken out, is missed within so many seeds.
const ENOUGH_SEEDS: u64 = 3_000;

#[test]
fn no_stale_read_no_endless_wait_and_progress_after_healing() {
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
fn without_an_end_a_time_to_live_is_for_ever() {
    finds(Checks { times_to_live: false, ..Checks::ALL }, "from its cache");
}

#[test]
fn without_looking_again_an_open_strong_file_shows_what_was_replaced() {
    finds(Checks { strong_reads: false, ..Checks::ALL }, "through an open handle");
}

#[test]
fn without_lock_epochs_a_late_write_loses_the_next_holders_work() {
    finds(Checks { lock_epochs: false, ..Checks::ALL }, "work was lost");
}

#[test]
fn without_drain_the_next_holder_reads_before_an_admitted_write_is_there() {
    finds(Checks { lock_drains: false, ..Checks::ALL }, "work was lost");
}
