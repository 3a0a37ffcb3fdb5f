//! How a daemon follows the load: up at once, down slowly.

use super::*;

#[test]
fn a_surge_recruits_and_calm_drains() {
    let mut world = World::new(|_| {});
    world.run(3);
    assert_eq!(world.serving(), ["home"]);
    let before = world.daemon.generation();
    world.surge();
    world.run(4);
    assert_eq!(world.serving(), ["home", "n1"], "{:?}", world.notices);
    assert!(world.node("n1").member && world.daemon.generation() > before);
    let table = world.tables.last().expect("published");
    let entry = table.table.entries.iter().find(|entry| entry.server == server("n1").principal).expect("named");
    assert!(entry.active_for_ms > 0 && entry.active_for_ms < 10_000 && !entry.primary);
    assert_eq!((table.rights.len(), &table.rights[0].server), (1, &entry.server));

    world.load.latency_ms = 120.0;
    world.run(30);
    assert!((8..=14).contains(&world.node("n1").renewals), "about each third of a lease");
    world.calm();
    world.run(58);
    assert_eq!(world.serving(), ["home", "n1"], "the load has not been gone for long enough");
    world.run(8);
    assert_eq!(world.serving(), ["home"]);
    assert!(!world.node("n1").member && world.node("n1").phase.is_none());
    assert_eq!(world.told(|notice| matches!(notice, Notice::Drained { .. })), 1);
    assert_eq!(world.saved.as_ref().map(|state| state.borrowed.len()), Some(0));
}

#[test]
fn what_is_decided_on_is_never_older_than_the_lead() {
    for phase in 0..10 {
        let mut world = World::new(|_| {});
        world.run(3);
        world.tick(phase);
        world.surge();
        world.load.latency_ms = 400.0;
        // The report comes once a second, and the sample right after it.
        world.tick(10 + 3);
        assert_eq!(world.serving(), ["home", "n1"], "{phase}: {:?}", world.notices);
    }
}

#[test]
fn who_offers_while_somebody_is_missing_is_taken_at_once() {
    let mut world = World::new(|_| {});
    world.nodes_offer = false;
    world.run(3);
    world.surge();
    world.run(4);
    assert_eq!(world.serving(), ["home"]);
    assert_eq!(world.told(|notice| matches!(notice, Notice::Sized { .. })), 1, "told once: {:?}", world.notices);
    world.nodes_offer = true;
    // The offers are read again, those who offer are asked whether they still serve, and then are taken.
    world.tick(5 + 3);
    assert_eq!(world.serving(), ["home", "n1"], "{:?}", world.notices);
}
