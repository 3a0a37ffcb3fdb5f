//! Stories of one daemon over nodes that answer at once, or not at all. The seeded scheduler with loss, delay and
//! the surrogates' real machine is in `sim`.

use super::*;
use crate::model::Failure;
use crate::rules::calls::Answer;
use client::models::lending::{FENCE, TABLE_EVERY};
use client::models::{BeatAnswer, BeatReply, Phase, Report, StartAnswer, StartRefusal, StartReply, Ticket};
use std::time::Duration;
use terms::{ServiceName, Thumbprint};

#[path = "surge_tests.rs"]
mod surge;

fn service() -> ServiceName {
    "service://site.lab.example".parse().expect("valid")
}

fn server(name: &str) -> Server {
    Server {
        principal: format!("spiffe://lab.example/server/{name}").parse().expect("valid"),
        key: Thumbprint([7; 32]),
        address: format!("{name}.lab.example:443"),
        place: None,
        power: 1.0,
        price: 0.0,
    }
}

/// A lent node: honest, quick, and without a clock of its own.
#[derive(Debug, Clone)]
struct Node {
    phase: Option<Phase>,
    reachable: bool,
    refuses: bool,
    stale: Option<Epoch>,
    member: bool,
    renewals: usize,
}

struct World {
    now: Now,
    daemon: Daemon,
    nodes: BTreeMap<Principal, Node>,
    load: Report,
    saved: Option<SavedState>,
    tables: Vec<crate::model::Publication>,
    notices: Vec<Notice>,
    home_works: bool,
    nodes_offer: bool,
}

impl World {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new(service(), vec![server("home")], 200.0, 4);
        change(&mut settings);
        let now = Now { boot: BootMs(5_000), unix: UnixMs(1_000_000) };
        let node = Node { phase: None, reachable: true, refuses: false, stale: None, member: false, renewals: 0 };
        Self {
            now,
            daemon: Daemon::new(now, settings, None).expect("good settings"),
            nodes: ["n1", "n2", "n3"].iter().map(|name| (server(name).principal, node.clone())).collect(),
            load: Report::default(),
            saved: None,
            tables: Vec::new(),
            notices: Vec::new(),
            home_works: true,
            nodes_offer: true,
        }
    }

    fn restart(&mut self) {
        let settings = self.daemon.settings.clone();
        self.daemon = Daemon::new(self.now, settings, self.saved.clone()).expect("good settings");
    }

    fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(&server(name).principal).expect("one of three")
    }

    fn event(&mut self, event: Event) {
        let mut actions: std::collections::VecDeque<Action> = self.daemon.step(self.now, event).into();
        let mut steps = 0;
        while let Some(action) = actions.pop_front() {
            steps += 1;
            assert!(steps < 1_000, "a busy loop: {action:?}");
            let answer = match action {
                Action::Tell(notice) => {
                    self.notices.push(notice);
                    continue;
                }
                Action::AskOffers => {
                    let offering = self.nodes.keys().filter(|_| self.nodes_offer);
                    Event::Offers(Ok(offering.map(|name| server(name.name.as_str())).collect()))
                }
                Action::Publish(publication) => {
                    let generation = publication.table.generation;
                    self.tables.push(publication);
                    Event::Published(generation, self.home())
                }
                Action::Save(state) => {
                    if self.home_works {
                        self.saved = Some(state);
                    }
                    Event::Saved(self.home())
                }
                Action::Call { server, call } => {
                    assert!(self.saved.is_some(), "nothing before the epoch is on record");
                    let answer = self.answer(&server, &call);
                    Event::Answered { server: server.principal, sent: self.now.boot, answer }
                }
            };
            actions.extend(self.daemon.step(self.now, answer));
        }
    }

    fn home(&self) -> Result<(), Failure> {
        if self.home_works { Ok(()) } else { Err(Failure("no space".into())) }
    }

    fn answer(&mut self, server: &Server, call: &Call) -> Answer {
        let (now, load) = (self.now.boot, self.load);
        let helping = self.daemon.membership.len().max(1);
        let busy = load.busy.map(|busy| (busy / helping as f64).min(1.0));
        let share = |whole: f64| whole / helping as f64;
        let report = Report { busy, inflight: share(load.inflight), rps: share(load.rps), ..load };
        let reply = |phase, renewed| {
            let reply = BeatReply { phase, ticket: Ticket(now.0), renewed, lease_left_ms: 0, in_flight: 0, report };
            BeatAnswer::Running(reply)
        };
        let Some(node) = self.nodes.get_mut(&server.principal) else {
            return Answer::Beat(Ok(reply(Phase::Serving, false)));
        };
        let silent = || Failure("connection refused".into());
        match call {
            Call::Grant { .. } => node.member = true,
            Call::Remove => node.member = false,
            _ => {}
        }
        match call {
            Call::Grant { .. } => Answer::Granted(Ok(())),
            Call::Remove => Answer::Removed(Ok(())),
            Call::Start { .. } if !node.reachable => Answer::Started(Err(silent())),
            Call::Start { .. } if node.refuses => {
                Answer::Started(Ok(StartAnswer::Refused(StartRefusal::HoldsRelay { service: service() })))
            }
            Call::Start { .. } => {
                node.phase = Some(Phase::Ready);
                let ticket = Ticket(now.0);
                Answer::Started(Ok(StartAnswer::Accepted(StartReply { phase: Phase::Ready, ticket })))
            }
            Call::Beat { .. } if !node.reachable => Answer::Beat(Err(silent())),
            Call::Beat { epoch, ticket, .. } => {
                if let Some(seen) = node.stale.filter(|seen| epoch < seen) {
                    return Answer::Beat(Ok(BeatAnswer::StaleEpoch { seen }));
                }
                let Some(phase) = node.phase else { return Answer::Beat(Ok(BeatAnswer::NotRunning)) };
                node.renewals += usize::from(ticket.is_some());
                let phase = if phase == Phase::Ready && ticket.is_some() { Phase::Serving } else { phase };
                node.phase = Some(phase);
                Answer::Beat(Ok(reply(phase, ticket.is_some())))
            }
            Call::Drain { .. } if !node.reachable => Answer::Drained(Err(silent())),
            Call::Drain { .. } => {
                node.phase = None;
                Answer::Drained(Ok(reply(Phase::Ended, false)))
            }
        }
    }

    fn run(&mut self, seconds: u64) {
        self.tick(seconds * 10);
    }

    /// Tenths of a second.
    fn tick(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.now = Now {
                boot: self.now.boot.plus(Duration::from_millis(100)),
                unix: self.now.unix.plus(Duration::from_millis(100)),
            };
            self.event(Event::Tick);
        }
    }

    /// Twelve requests in flight, 20 ms each for a server: 240 ms at one, within 200 ms at two.
    fn surge(&mut self) {
        self.load = Report {
            inflight: 12.0,
            rps: 50.0,
            latency_ms: 240.0,
            bytes_per_s: 1e6,
            busy: Some(1.0),
            ..Report::default()
        };
    }

    fn calm(&mut self) {
        self.load = Report { inflight: 0.02, rps: 1.0, latency_ms: 20.0, busy: Some(0.02), ..Report::default() };
    }

    fn serving(&self) -> Vec<&str> {
        self.daemon.membership().iter().map(|name| name.name.as_str()).collect()
    }

    fn told(&self, what: impl Fn(&Notice) -> bool) -> usize {
        self.notices.iter().filter(|notice| what(notice)).count()
    }
}

#[test]
fn a_silent_one_is_not_renewed_and_gone_at_the_end_of_its_lease() {
    let mut world = World::new(|settings| settings.min_servers = 3);
    world.run(3);
    assert_eq!(world.serving(), ["home", "n1", "n2"]);
    world.node("n1").reachable = false;
    world.run(8);
    assert_eq!(world.told(|notice| matches!(notice, Notice::Silent { .. })), 1);
    let table = &world.tables.last().expect("published").table;
    let active: BTreeMap<_, _> = table.entries.iter().map(|e| (e.server.name.as_str(), e.active_for_ms)).collect();
    assert_eq!(active["n1"], 0, "clients are told that it is not guaranteed any more");
    assert!(active["n2"] > 0, "the silence of one delays no other");
    world.run(5);
    assert_eq!(world.serving(), ["home", "n2", "n3"]);
    assert!(!world.node("n1").member);
    assert_eq!(world.told(|notice| matches!(notice, Notice::Lost { .. })), 1);
    world.node("n1").reachable = true;
    world.node("n2").phase = None;
    world.run(1);
    assert!(!world.serving().contains(&"n2"), "a node that was restarted is gone at once");
}

#[test]
fn what_does_not_start_is_tried_again_later_and_others_instead() {
    let mut world = World::new(|settings| settings.min_servers = 3);
    world.node("n1").refuses = true;
    world.node("n2").reachable = false;
    world.run(13);
    assert!(world.serving().contains(&"n3"));
    assert!(world.told(|notice| matches!(notice, Notice::NotStarted { .. })) >= 2, "{:?}", world.notices);
    assert!(world.nodes.values().filter(|node| node.member).count() <= 1, "no rights without service");
    let starts = world.told(|notice| matches!(notice, Notice::Recruiting { .. }));
    world.run(5);
    assert!(world.told(|notice| matches!(notice, Notice::Recruiting { .. })) <= starts + 2, "probation");
    world.node("n1").refuses = false;
    world.run(60);
    assert_eq!(world.serving(), ["home", "n1", "n3"]);
}

#[test]
fn a_successor_adopts_what_still_serves() {
    for (state_survives, name) in [(true, "with its state"), (false, "by asking the nodes")] {
        let mut world = World::new(|settings| settings.min_servers = 3);
        world.run(3);
        assert_eq!(world.serving(), ["home", "n1", "n2"]);
        let (epoch, renewals) = (world.daemon.epoch(), world.node("n1").renewals);
        for name in ["n1", "n2"] {
            world.node(name).stale = Some(epoch);
        }
        if !state_survives {
            world.saved = None;
        }
        world.notices.clear();
        world.restart();
        world.run(3);
        assert_eq!(world.serving(), ["home", "n1", "n2"], "{name}");
        assert!(world.daemon.epoch() > epoch, "{name}");
        assert!(world.node("n1").renewals > renewals && world.node("n1").member, "{name}");
        let adopted = world.told(|notice| matches!(notice, Notice::Adopted { .. }));
        assert_eq!((adopted, world.told(|n| matches!(n, Notice::Recruited { .. }))), (2, 0), "{name}");
    }
}

#[test]
fn a_successor_looks_after_the_dead() {
    let mut world = World::new(|settings| settings.min_servers = 2);
    world.run(3);
    world.node("n1").reachable = false;
    world.daemon.settings.min_servers = 1;
    world.restart();
    world.run(8);
    assert!(world.node("n1").member, "its lease may still run");
    world.run(4);
    assert!(!world.node("n1").member);
    assert_eq!(world.serving(), ["home"]);
    assert_eq!(world.saved.as_ref().map(|state| state.borrowed.len()), Some(0));
}

#[test]
fn a_successor_takes_over_no_more_than_the_bound_allows() {
    let mut world = World::new(|settings| settings.min_servers = 3);
    world.run(3);
    assert_eq!(world.serving(), ["home", "n1", "n2"]);
    world.saved = None;
    world.daemon.settings.min_servers = 1;
    world.daemon.settings.max_servers = 2;
    world.restart();
    world.run(3);
    assert_eq!(world.serving(), ["home", "n1"]);
    assert!(world.node("n2").phase.is_none() && !world.node("n2").member);
}

#[test]
fn a_liar_does_not_dethrone_the_daemon() {
    let mut world = World::new(|settings| settings.min_servers = 3);
    world.run(3);
    let epoch = world.daemon.epoch();
    world.node("n1").stale = Some(Epoch(u64::MAX));
    world.run(2);
    assert_eq!(world.daemon.epoch(), epoch);
    assert!(world.serving().contains(&"n2") && !world.serving().contains(&"n1"));
    world.restart();
    world.run(2);
    assert_eq!(world.daemon.epoch(), epoch.next(), "too far a jump is not believed");
}

#[test]
fn an_offer_that_cannot_be_true_does_not_count() {
    let mut world = World::new(|_| {});
    for (power, price, counts) in [(1e300, 0.0, 0), (1e-300, 0.0, 0), (1.0, 1e300, 0), (1000.0, 1.0, 1)] {
        world.event(Event::Offers(Ok(vec![Server { power, price, ..server("n1") }])));
        assert_eq!(world.daemon.offered.len(), counts, "power {power}, price {price}");
    }
}

#[test]
fn the_owner_takes_a_node_back() {
    let mut world = World::new(|settings| settings.min_servers = 2);
    world.run(3);
    world.node("n1").phase = Some(Phase::Draining);
    world.node("n2").refuses = true;
    world.node("n3").refuses = true;
    world.run(1);
    assert_eq!(world.serving(), ["home"]);
    assert!(world.node("n1").member, "what is in flight may still read");
    world.node("n1").phase = Some(Phase::Ended);
    world.node("n1").refuses = true;
    world.run(1);
    assert!(!world.node("n1").member);
}

#[test]
fn a_stop_returns_everything() {
    let mut world = World::new(|settings| settings.min_servers = 4);
    world.run(3);
    assert_eq!(world.serving().len(), 4);
    world.event(Event::Stop { within: Duration::from_secs(1) });
    assert!(!world.daemon.finished() || world.serving().len() == 1);
    world.run(2);
    assert!(world.daemon.finished());
    assert!(world.nodes.values().all(|node| !node.member && node.phase.is_none()));
}

#[test]
fn nothing_is_done_while_home_cannot_keep_the_epoch() {
    let mut world = World::new(|settings| settings.min_servers = 2);
    world.home_works = false;
    world.run(5);
    assert_eq!((world.tables.len(), world.serving().len()), (0, 1));
    assert!(world.told(|notice| matches!(notice, Notice::Trouble { .. })) > 1);
    world.home_works = true;
    world.run(3);
    assert_eq!(world.serving(), ["home", "n1"]);
}

#[test]
fn tables_come_each_second_with_rising_dates_and_generations() {
    let mut world = World::new(|settings| settings.min_servers = 2);
    world.run(5);
    world.now.unix = UnixMs(0);
    world.run(25);
    let tables: Vec<_> = world.tables.iter().map(|publication| &publication.table).collect();
    assert!((28..=40).contains(&tables.len()), "{}", tables.len());
    for pair in tables.windows(2) {
        assert!(pair[0].signed_at <= pair[1].signed_at, "the wall clock went back, the service's time did not");
        assert!((pair[0].epoch, pair[0].generation) <= (pair[1].epoch, pair[1].generation));
        assert!(pair[1].signed_at.since(pair[0].signed_at) <= TABLE_EVERY * 2);
    }
    let last = tables.last().expect("some");
    let surrogate = last.entries.iter().find(|entry| !entry.primary).expect("one");
    assert!(Duration::from_millis(surrogate.active_for_ms.into()) <= LEASE - FENCE);
}
