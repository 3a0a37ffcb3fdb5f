use super::*;
use crate::limits::{LEASE, RENEW_EVERY};
use crate::rules::admission::tests::admitted;
use world::World;

const ALL_GONE: [Action; 2] = [Action::ForgetFiles, Action::DropCache];

fn started(at: u64) -> Surrogate {
    let (run, actions) = Surrogate::start(BootMs(at), UnixMs(1_000_000), &admitted(None, false), LEASE);
    assert_eq!(actions, [Action::Prepare]);
    run
}

fn beat(ticket: Option<u64>) -> Event {
    Event::Beat { epoch: Epoch(1), ticket: ticket.map(Ticket), lease: LEASE }
}

fn serving(at: u64) -> Surrogate {
    let mut run = started(at);
    run.step(BootMs(at), Event::Healthy);
    assert!(run.step(BootMs(at), beat(Some(at))).renewed);
    assert_eq!(run.phase(BootMs(at)), Phase::Serving);
    run
}

#[test]
fn it_serves_only_after_health_and_a_renewal() {
    let mut run = started(1_000);
    assert_eq!(run.begin(BootMs(1_000)), Err(NotServing::Starting));
    assert!(run.step(BootMs(1_100), beat(Some(1_000))).renewed, "a start may take longer than a lease");
    assert_eq!(run.begin(BootMs(1_100)), Err(NotServing::Starting));
    run.step(BootMs(1_200), Event::Healthy);
    assert_eq!((run.phase(BootMs(1_200)), run.begin(BootMs(1_200))), (Phase::Ready, Err(NotServing::Starting)));
    assert!(!run.step(BootMs(1_300), beat(None)).renewed);
    assert_eq!(run.phase(BootMs(1_300)), Phase::Ready);
    assert!(run.step(BootMs(1_400), beat(Some(1_300))).renewed);
    assert_eq!(run.begin(BootMs(1_400)), Ok(()));
}

#[test]
fn not_renewed_it_fences_itself_and_ends() {
    let mut run = serving(0);
    let fence = LEASE - FENCE;
    let before = BootMs(0).plus(fence - Duration::from_millis(1));
    assert_eq!(run.begin(before), Ok(()));
    // No tick has come: time alone decides.
    assert_eq!(run.begin(BootMs(0).plus(fence)), Err(NotServing::Fenced));
    assert_eq!(run.begin(BootMs(0).plus(LEASE)), Err(NotServing::Ended));
    let step = run.step(BootMs(0).plus(LEASE), Event::Tick);
    assert_eq!(step.actions, [Action::CutOff, Action::ForgetFiles, Action::DropCache]);
    assert_eq!(run.step(BootMs(60_000), Event::Finished).actions, []);
    let late = run.step(BootMs(60_001), beat(Some(60_000)));
    assert_eq!((late.renewed, run.phase(BootMs(60_001))), (false, Phase::Ended), "what ended stays ended");
}

#[test]
fn a_renewal_brings_a_fenced_one_back() {
    let mut run = serving(0);
    assert_eq!(run.phase(BootMs(9_000)), Phase::Fenced);
    assert!(run.step(BootMs(9_000), beat(Some(8_500))).renewed);
    assert_eq!(run.phase(BootMs(9_000)), Phase::Serving);
    assert_eq!(run.phase(BootMs(8_500).plus(LEASE - FENCE)), Phase::Fenced);
}

#[test]
fn a_lease_counts_from_the_ticket_and_not_from_the_arrival() {
    let mut run = serving(0);
    assert!(run.step(BootMs(6_000), beat(Some(1_000))).renewed);
    assert_eq!(run.phase(BootMs(11_000)), Phase::Ended);
    for (now, ticket, why) in [(5_000, 5_001, "from the future"), (9_000, u64::MAX, "far from the future")] {
        let mut run = serving(0);
        assert!(!run.step(BootMs(now), beat(Some(ticket))).renewed, "{why}");
    }
    let mut later = serving(50_000);
    assert!(!later.step(BootMs(50_001), beat(Some(49_999))).renewed, "from before this run");
    assert!(later.step(BootMs(59_000), beat(Some(58_000))).renewed);
    later.step(BootMs(59_100), beat(Some(50_000)));
    assert_eq!(later.phase(BootMs(60_001)), Phase::Serving, "an older ticket takes nothing away");
    let mut greedy = serving(0);
    greedy.step(
        BootMs(1),
        Event::Beat { epoch: Epoch(1), ticket: Some(Ticket(0)), lease: Duration::from_secs(1_000) },
    );
    assert_eq!(greedy.phase(BootMs(0).plus(LEASE)), Phase::Ended, "no lease is longer than the longest");
}

#[test]
fn a_greater_epoch_takes_over_and_the_smaller_one_is_refused() {
    let mut run = serving(0);
    let take_over = Event::Beat { epoch: Epoch(4), ticket: None, lease: LEASE };
    assert_eq!(run.step(BootMs(10), take_over).refused, None);
    let stale = Some(Refused::StaleEpoch { seen: Epoch(4) });
    assert_eq!(run.step(BootMs(20), beat(Some(10))).refused, stale);
    let drain = Event::Drain { epoch: Epoch(3), within: Duration::ZERO };
    assert_eq!(run.step(BootMs(30), drain).refused, stale);
    assert_eq!(run.phase(BootMs(30)), Phase::Serving);
    let at_the_end = run.step(BootMs(20_000), beat(Some(10)));
    assert_eq!((at_the_end.refused, at_the_end.actions.as_slice()), (stale, ALL_GONE.as_slice()));
}

#[test]
fn a_drain_finishes_what_was_begun() {
    let mut run = serving(0);
    run.begin(BootMs(1)).expect("serves");
    run.begin(BootMs(1)).expect("serves");
    let drain = Event::Drain { epoch: Epoch(1), within: Duration::from_secs(5) };
    assert_eq!(run.step(BootMs(2), drain.clone()).actions, []);
    assert_eq!(run.begin(BootMs(3)), Err(NotServing::Draining));
    assert_eq!(run.step(BootMs(4), Event::Finished).actions, []);
    assert!(run.step(BootMs(5), beat(Some(4))).renewed, "files stay readable while it drains");
    assert_eq!(run.phase(BootMs(5)), Phase::Draining);
    assert_eq!(run.step(BootMs(6), Event::Finished).actions, ALL_GONE);
    assert_eq!(run.phase(BootMs(6)), Phase::Ended);

    let mut stuck = serving(0);
    stuck.begin(BootMs(1)).expect("serves");
    stuck.step(BootMs(2), drain.clone());
    stuck.step(BootMs(3), Event::Drain { epoch: Epoch(1), within: Duration::from_secs(50) });
    assert_eq!(
        stuck.step(BootMs(5_002), Event::Tick).actions[0],
        Action::CutOff,
        "a later drain gives no more time"
    );

    assert_eq!(serving(0).step(BootMs(1), drain).actions, ALL_GONE, "nothing to wait for");
}

#[test]
fn the_owner_takes_the_node_back() {
    let wall = UnixMs(1_000_000);
    let loan = admitted(Some(wall.plus(Duration::from_secs(30))), true);
    let (mut run, _) = Surrogate::start(BootMs(0), wall, &loan, LEASE);
    run.step(BootMs(0), Event::Healthy);
    for second in 0..27 {
        let now = BootMs(second * 1_000);
        assert!(run.step(now, beat(Some(now.0))).renewed || run.phase(now) >= Phase::Draining, "{second}");
        if second == 5 {
            run.begin(now).expect("serves");
        }
    }
    assert_eq!(run.begin(BootMs(26_700)), Err(NotServing::Fenced), "fenced before its loan ends");
    run.step(BootMs(26_700), Event::Tick);
    assert_eq!(run.phase(BootMs(26_700)), Phase::Draining);
    assert_eq!(run.step(BootMs(30_000), beat(Some(29_000))).actions, [Action::CutOff, Action::ForgetFiles]);

    let mut withdrawn = serving(0);
    assert_eq!(withdrawn.step(BootMs(9), Event::Withdrawn { within: Duration::from_secs(1) }).actions, ALL_GONE);
}

/// A tiny model beside the machine, under random events: after each, a request is let in exactly when the model
/// says so, and the end comes once.
#[test]
fn random_events_against_a_model() {
    for seed in 0..300 {
        let (world, _) = World::simulated(seed);
        let draw = |below: u64| world.entropy.number() % below;
        let mut run = started(1_000);
        let (mut now, mut healthy, mut lease_end, mut active) = (1_000u64, false, 11_000u64, false);
        let (mut ended, mut ends, mut open) = (false, 0, 0u32);
        for _ in 0..200 {
            now += [0, 1, 100, 1_000, 4_000][usize::try_from(draw(5)).expect("small")];
            ended |= now >= lease_end;
            let event = match draw(6) {
                0 => Event::Healthy,
                1..=3 => beat(Some(now.saturating_sub(draw(3_000)))),
                4 if open > 0 => Event::Finished,
                _ => Event::Tick,
            };
            match &event {
                Event::Healthy => healthy = true,
                Event::Finished => open -= 1,
                Event::Beat { ticket: Some(Ticket(issued)), .. } if *issued >= 1_000 && !ended => {
                    let end = issued + 10_000;
                    lease_end = if healthy && !active { end } else { lease_end.max(end) };
                    active |= healthy;
                }
                _ => {}
            }
            let step = run.step(BootMs(now), event);
            ends += step.actions.iter().filter(|action| **action == Action::ForgetFiles).count();
            let serves =
                active && !ended && now + u64::try_from(RENEW_EVERY.as_millis()).expect("small") < lease_end;
            assert_eq!(run.begin(BootMs(now)).is_ok(), serves, "seed {seed} at {now}");
            open += u32::from(serves);
            assert_eq!((ends, run.in_flight()), (usize::from(ended), open), "seed {seed} at {now}");
        }
    }
}
