//! What holds for every plan of the director, under seeded random groups, loads and failures.

use super::*;
use crate::eligible::testing::usable;
use world::World;

const CALM: Config = Config { stickiness: 0.0, place: None };

fn load(inflight: f64, rps: f64) -> Load {
    Load { inflight, rps, latency_ms: 20.0, waiting: inflight as u32, ..Load::default() }
}

fn key(number: u8) -> Thumbprint {
    Thumbprint([number; 32])
}

fn ask<'a>(world: &World, excluded: &'a [Thumbprint]) -> Ask<'a> {
    Ask { random: [world.entropy.fraction(), world.entropy.fraction()], excluded }
}

/// How often each of the first `servers` is picked first in so many plans.
fn frequencies(director: &mut Director, now: BootMs, servers: u8, rounds: u32) -> Vec<f64> {
    let (world, _) = World::simulated(5);
    let mut counts = vec![0u32; usize::from(servers)];
    for _ in 0..rounds {
        let first = director.pick(now, ask(&world, &[])).attempts[0].server;
        counts[usize::from(first.0[0])] += 1;
    }
    counts.iter().map(|count| f64::from(*count) / f64::from(rounds)).collect()
}

fn check_shares(found: &[f64], expected: &[f64], what: &str) {
    let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.02);
    assert!(near, "{what}: {found:?}, expected {expected:?}");
}

#[test]
fn only_usable_servers_are_picked_and_never_one_twice() {
    for seed in 0..300 {
        let (world, _) = World::simulated(seed);
        let random = |below: u64| world.entropy.number() % below;
        let mut director = Director::new(Config { stickiness: world.entropy.fraction(), place: None });
        let mut now = BootMs(10_000);
        let mut group: Vec<Usable> = Vec::new();
        for step in 0..60 {
            now = now.plus(Duration::from_millis(random(800)));
            if random(4) == 0 {
                let size = 1 + random(7);
                group = (0..size)
                    .map(|_| {
                        usable(
                            random(12) as u8,
                            0.5 + world.entropy.fraction() * 3.0,
                            Some((load(world.entropy.fraction() * 9.0, 50.0), Duration::from_millis(random(4000)))),
                        )
                    })
                    .collect();
                group.sort_by_key(Usable::key);
                group.dedup_by_key(|server| server.key());
                for server in &mut group {
                    server.remaining = (random(3) == 0).then(|| Duration::from_millis(random(1000)));
                }
                director.update(now, &group);
            }
            let at = now;
            let excluded: Vec<Thumbprint> = (0..random(3)).map(|_| key(random(12) as u8)).collect();
            let plan = director.pick(at, ask(&world, &excluded));
            let mut seen = Vec::new();
            for (index, attempt) in plan.attempts.iter().enumerate() {
                let known = group.iter().find(|server| server.key() == attempt.server).expect("in the group");
                assert!(director.servers[&known.key()].usable_until > at, "seed {seed} step {step}: expired");
                assert!(!excluded.contains(&attempt.server) && !seen.contains(&attempt.server));
                assert_eq!(index == 0, attempt.after.is_zero());
                seen.push(attempt.server);
            }
            if let Some(attempt) = plan.attempts.first() {
                let failures = [
                    Failure::Connect,
                    Failure::Reset,
                    Failure::Stall,
                    Failure::Elsewhere,
                    Failure::Wrong,
                    Failure::Lied,
                ];
                director.report(now, attempt.server, Outcome::Began);
                if random(3) == 0 {
                    let failure = failures[random(6) as usize];
                    director.report(now, attempt.server, Outcome::Failed(failure));
                }
            }
            let counted = || director.servers.values().filter(|known| !known.health.excluded(now));
            let ejected = counted().filter(|known| known.health.ejected(now).is_some()).count();
            assert!(ejected <= counted().count() / 2, "seed {seed} step {step}: more than half is ejected");
        }
    }
}

#[test]
fn shares_follow_power_load_and_age() {
    let now = BootMs(100_000);
    let with = |first: Load, second: Load, age_ms: u64, powers: [f64; 2]| {
        let age = Duration::from_millis(age_ms);
        let group = [usable(0, powers[0], Some((first, age))), usable(1, powers[1], Some((second, age)))];
        let mut director = Director::new(CALM);
        director.update(now, &group);
        frequencies(&mut director, now, 2, 4000)
    };
    check_shares(&with(load(1.0, 10.0), load(1.0, 10.0), 100, [1.0, 1.0]), &[0.5, 0.5], "equal");
    check_shares(&with(load(1.0, 10.0), load(3.0, 30.0), 1000, [1.0, 3.0]), &[0.25, 0.75], "by power");
    check_shares(&with(load(0.0, 10.0), load(9.0, 10.0), 100, [1.0, 1.0]), &[1.0, 0.0], "a fresh difference");
    check_shares(&with(load(0.0, 200.0), load(9.0, 200.0), 5000, [1.0, 1.0]), &[0.502, 0.498], "a stale one");
}

#[test]
fn own_requests_count_before_the_next_report() {
    let now = BootMs(100_000);
    let group: Vec<Usable> = (0..4).map(|n| usable(n, 1.0, Some((load(0.0, 1.0), Duration::ZERO)))).collect();
    let mut director = Director::new(CALM);
    director.update(now, &group);
    let (world, _) = World::simulated(1);
    let mut counts = [0u32; 4];
    for _ in 0..400 {
        let server = director.pick(now, ask(&world, &[])).attempts[0].server;
        director.report(now, server, Outcome::Began);
        counts[usize::from(server.0[0])] += 1;
    }
    assert!(counts.iter().all(|count| (98..=102).contains(count)), "{counts:?}");
}

#[test]
fn a_far_server_is_used_only_when_the_near_ones_are_busy() {
    let now = BootMs(100_000);
    let shares = |near_queue: f64| {
        let group = [
            usable(0, 1.0, Some((load(near_queue, 10.0), Duration::ZERO))),
            usable(1, 1.0, Some((load(0.0, 10.0), Duration::ZERO))),
        ];
        let mut director = Director::new(CALM);
        director.update(now, &group);
        for (server, ms) in [(0, 1), (1, 100)] {
            director.report(now, key(server), Outcome::Began);
            director.report(now, key(server), Outcome::Head(Duration::from_millis(ms), None));
            director.report(now, key(server), Outcome::Ended);
        }
        director.shares(now).iter().map(|(_, share)| *share).collect::<Vec<_>>()
    };
    check_shares(&shares(1.0), &[1.0, 0.0], "near and idle");
    check_shares(&shares(150.0), &[0.0, 1.0], "near and overrun");
}

#[test]
fn a_new_server_ramps_to_its_share_within_two_seconds() {
    let start = BootMs(100_000);
    let age = Duration::from_millis(500);
    let old: Vec<Usable> = (0..3).map(|n| usable(n, 1.0, Some((load(6.0, 80.0), age)))).collect();
    let mut director = Director::new(CALM);
    director.update(start, &old);
    let mut group = old.clone();
    group.push(usable(3, 1.0, Some((load(0.0, 0.0), age))));
    let mut shares = Vec::new();
    for ms in [0u64, 500, 1000, 1999] {
        director.update(start.plus(Duration::from_millis(ms)), &group);
        shares.push(frequencies(&mut director, start.plus(Duration::from_millis(ms)), 4, 4000)[3]);
    }
    assert!(shares[0] > 0.02 && shares[0] <= 0.07, "gently at first: {shares:?}");
    assert!(shares[1] <= 0.14 && shares[2] <= 0.21, "never above the ramp: {shares:?}");
    assert!(shares[3] >= 0.8 * 0.25, "80 % of a quarter within two seconds: {shares:?}");
}

#[test]
fn at_the_start_everybody_is_new_and_nobody_is_slowed() {
    let group: Vec<Usable> = (0..3).map(|n| usable(n, 1.0, None)).collect();
    let mut director = Director::new(CALM);
    director.update(BootMs(5), &group);
    check_shares(&frequencies(&mut director, BootMs(5), 3, 6000), &[1.0 / 3.0; 3], "first update");
}

#[test]
fn failures_eject_and_probation_ends_gently() {
    let now = BootMs(100_000);
    let group: Vec<Usable> = (0..4).map(|n| usable(n, 1.0, Some((load(1.0, 10.0), Duration::ZERO)))).collect();
    let mut director = Director::new(CALM);
    director.update(now, &group);
    let (world, _) = World::simulated(2);
    let plan = director.resume(now, key(2), Failure::Reset, ask(&world, &[]));
    assert!(plan.attempts.iter().all(|attempt| attempt.server != key(2)));
    check_shares(&frequencies(&mut director, now, 4, 12_000), &[1.0 / 3.0, 1.0 / 3.0, 0.0, 1.0 / 3.0], "ejected");
    let later = now.plus(FIRST_EJECTION);
    let share = frequencies(&mut director, later, 4, 3000)[2];
    assert!(share > 0.0 && share < 0.1, "tried gently: {share}");
    for _ in 0..3 {
        director.report(later, key(0), Outcome::Failed(Failure::Connect));
        director.report(later, key(1), Outcome::Failed(Failure::Connect));
        director.report(later, key(3), Outcome::Failed(Failure::Connect));
    }
    let ejected = director.servers.values().filter(|known| known.health.ejected(later).is_some()).count();
    assert_eq!(ejected, 2, "never more than half");
}

#[test]
fn a_liar_is_shut_out_even_if_it_is_alone() {
    let now = BootMs(100_000);
    let group: Vec<Usable> = (0..2).map(|n| usable(n, 1.0, None)).collect();
    let mut director = Director::new(CALM);
    director.update(now, &group);
    let (world, _) = World::simulated(2);
    director.report(now, key(1), Outcome::Failed(Failure::Lied));
    for _ in 0..200 {
        let plan = director.pick(now, ask(&world, &[]));
        assert!(plan.attempts.iter().all(|attempt| attempt.server == key(0)), "{plan:?}");
    }
    director.report(now, key(0), Outcome::Failed(Failure::Connect));
    assert_eq!(director.pick(now, ask(&world, &[])).attempts.len(), 1, "the last honest one is tried all the same");
    assert!(director.explain(now).contains("sent wrong bytes"));
}

#[test]
fn stickiness_keeps_the_server_without_bending_the_shares() {
    let now = BootMs(100_000);
    let age = Duration::from_millis(1000);
    let group = [usable(0, 1.0, Some((load(1.0, 50.0), age))), usable(1, 3.0, Some((load(3.0, 50.0), age)))];
    let mut director = Director::new(Config { stickiness: 0.6, place: None });
    director.update(now, &group);
    let (world, _) = World::simulated(9);
    let (mut stays, mut first, rounds) = (0u32, 0u32, 20_000u32);
    let mut last = None;
    for _ in 0..rounds {
        let server = director.pick(now, ask(&world, &[])).attempts[0].server;
        stays += u32::from(last == Some(server));
        first += u32::from(server == key(0));
        last = Some(server);
    }
    check_shares(&[f64::from(first) / f64::from(rounds)], &[0.25], "shares");
    assert!(f64::from(stays) / f64::from(rounds) > 0.8, "{stays} of {rounds} stay");
}

#[test]
fn memory_survives_a_restart_and_a_damaged_one_does_no_harm() {
    let now = BootMs(100_000);
    let group = [usable(0, 1.0, None), usable(1, 1.0, None)];
    let mut director = Director::new(CALM);
    director.update(now, &group);
    director.report(now, key(1), Outcome::Began);
    director.report(now, key(1), Outcome::Head(Duration::from_millis(40), None));
    director.report(now, key(1), Outcome::Failed(Failure::Reset));
    let mut snapshot = director.snapshot();
    snapshot.servers.push(SnapshotEntry { key: key(0), round_trip_ms: Some(f64::NAN), failures: 1 });
    let mut again = Director::new(CALM);
    again.restore(&snapshot);
    again.update(BootMs(7), &group);
    assert_eq!(again.servers[&key(1)].round_trip_ms, Some(40.0));
    assert_eq!(again.servers[&key(1)].health.failures(), 1);
    assert_eq!(again.servers[&key(0)].round_trip_ms, None);
}
