//! A played world for tests of the console and for looking at its page: one home and three lent nodes made of
//! numbers, moved on a second at a time by [`Played::tick`]. It is compiled for tests only.

use crate::console::model::{
    Action, ConsoleEvent, ConsoleState, EventKind, NodeState, Phase, Point, Role, Surge, Theatre, Totals,
};
use crate::console::record::{History, Journal};
use crate::console::rights::{Revocation, RightsView};
use futures_util::future::BoxFuture;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use terms::{Code, Label, Problem, UnixMs};
use tokio::sync::broadcast;
use world::World;

/// Requests per second that one played front can answer.
const CAPACITY: f64 = 200.0;
const LEASE_MS: u64 = 10_000;
const RENEWED_AT_MS: u64 = 6_667;
const HOME_RIGHT: &str = "sequences the writes of site.demo.localhost; may recruit for its service";
/// Bytes of one played answer.
const BODY: f64 = 58_000.0;

/// The played world.
pub struct Played {
    world: World,
    play: Mutex<Play>,
}

struct Play {
    started: UnixMs,
    journal: Journal,
    history: History,
    players: Vec<Player>,
    surge: Option<Surge>,
    mean_ms: f64,
    busy_for: u32,
    calm_for: u32,
    errors: u64,
    rights: RightsView,
}

struct Player {
    state: NodeState,
    lease_end: Option<UnixMs>,
    /// Seconds in the present phase.
    age: u32,
}

impl Played {
    pub fn new(world: World) -> Self {
        let started = world.clock.unix();
        let player = |index: u16, name: &str| Player {
            state: NodeState {
                name: Label::new(name).expect("a label"),
                role: if index == 0 { Role::Home } else { Role::Lent },
                phase: if index == 0 { Phase::Home } else { Phase::Idle },
                pid: Some(41_200 + u32::from(index)),
                url: format!("https://127.0.0.1:{}", 42_000 + index),
                rps: 0.0,
                bytes_per_s: 0.0,
                latency_ms: None,
                inflight: 0.0,
                lease_remaining_ms: None,
                lease_total_ms: LEASE_MS,
                requests_total: 0,
                rights: if index == 0 { vec![HOME_RIGHT.into()] } else { Vec::new() },
            },
            lease_end: None,
            age: 0,
        };
        let mut journal = Journal::default();
        journal.record(started, EventKind::Started, None, "the world is up: 4 nodes".into());
        let players = ["home", "n1", "n2", "n3"].into_iter().zip(0..).map(|(name, i)| player(i, name)).collect();
        let play = Play {
            started,
            journal,
            history: History::default(),
            players,
            surge: None,
            mean_ms: 9.0,
            busy_for: 0,
            calm_for: 0,
            errors: 0,
            rights: super::rights::played(started),
        };
        Self { world, play: Mutex::new(play) }
    }

    fn play(&self) -> MutexGuard<'_, Play> {
        self.play.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the world on by one second.
    pub fn tick(&self) {
        let (now, noise) = (self.world.clock.unix(), self.world.entropy.fraction() - 0.5);
        self.play().tick(now, noise);
    }
}

impl Play {
    fn tick(&mut self, now: UnixMs, noise: f64) {
        self.end_surge(now);
        self.age(now);
        self.size(now);
        self.answer(noise);
        let totals = self.totals();
        let point = Point {
            t: now,
            rps: totals.rps,
            mean_ms: totals.mean_ms,
            p99_ms: totals.p99_ms,
            servers: totals.servers,
        };
        self.history.push(point);
    }

    fn note(&mut self, at: UnixMs, kind: EventKind, index: usize, text: &str) {
        let name = self.players[index].state.name.clone();
        let text = text.replace("{}", name.as_str());
        self.journal.record(at, kind, Some(name), text);
    }

    fn end_surge(&mut self, now: UnixMs) {
        if self.surge.take_if(|surge| surge.until <= now).is_some() {
            self.journal.record(now, EventKind::Calm, None, "the surge has ended".into());
        }
    }

    fn turn(&mut self, index: usize, phase: Phase) {
        let player = &mut self.players[index];
        player.state.phase = phase;
        player.age = 0;
        if matches!(phase, Phase::Ended | Phase::Idle | Phase::Down) {
            player.lease_end = None;
            player.state.rights.clear();
        }
    }

    fn home_up(&self) -> bool {
        self.players[0].state.phase != Phase::Down
    }

    fn age(&mut self, now: UnixMs) {
        for index in 1..self.players.len() {
            self.players[index].age += 1;
            let (phase, age) = (self.players[index].state.phase, self.players[index].age);
            let left = self.players[index].lease_end.map(|end| end.since(now));
            match (phase, age) {
                (Phase::Starting, 2..) => {
                    self.turn(index, Phase::Serving);
                    self.players[index].lease_end = Some(now.plus(Duration::from_millis(LEASE_MS)));
                    let until = "reads site.demo.localhost as a member of site-serving";
                    self.players[index].state.rights = vec![until.into(), "serves site.demo.localhost".into()];
                    self.note(now, EventKind::Serving, index, "{} serves, under a lease of 10 s");
                }
                (Phase::Serving, _) if left.is_some_and(|left| left.is_zero()) => {
                    self.turn(index, Phase::Ended);
                    self.note(now, EventKind::Lease, index, "the lease of {} ended: home did not renew it");
                }
                (Phase::Serving, _) if self.home_up() && left < Some(Duration::from_millis(RENEWED_AT_MS)) => {
                    self.players[index].lease_end = Some(now.plus(Duration::from_millis(LEASE_MS)));
                }
                (Phase::Draining, 2..) => {
                    self.turn(index, Phase::Ended);
                    self.note(now, EventKind::Drained, index, "{} is drained and has no rights left");
                }
                (Phase::Ended, 3..) => self.turn(index, Phase::Idle),
                _ => {}
            }
        }
    }

    fn demand(&self) -> f64 {
        4.0 + self.surge.as_ref().map_or(0.0, |surge| f64::from(surge.clients) * 9.0)
    }

    fn active(&self) -> Vec<usize> {
        let serves = |phase| matches!(phase, Phase::Home | Phase::Serving);
        (0..self.players.len()).filter(|i| serves(self.players[*i].state.phase)).collect()
    }

    fn size(&mut self, now: UnixMs) {
        let servers = f64::from(u32::try_from(self.active().len()).expect("few"));
        let load = self.demand() / (servers.max(1.0) * CAPACITY);
        let fewer = self.demand() / ((servers - 1.0).max(1.0) * CAPACITY);
        self.busy_for = if load > 0.75 { self.busy_for + 1 } else { 0 };
        self.calm_for = if fewer < 0.5 { self.calm_for + 1 } else { 0 };
        if self.home_up() && self.busy_for >= 3 {
            if let Some(index) = self.players.iter().position(|p| p.state.phase == Phase::Idle) {
                self.turn(index, Phase::Starting);
                self.note(now, EventKind::Recruited, index, "{} is recruited: the load is above 75 % of the links");
            }
            self.busy_for = 0;
        }
        if self.home_up() && self.calm_for >= 6 {
            if let Some(index) = self.players.iter().rposition(|p| p.state.phase == Phase::Serving) {
                self.turn(index, Phase::Draining);
                self.note(now, EventKind::Draining, index, "{} takes nothing new: one server fewer is enough");
            }
            self.calm_for = 0;
        }
    }

    fn answer(&mut self, noise: f64) {
        let active = self.active();
        let count = f64::from(u32::try_from(active.len()).expect("few"));
        let share = self.demand() * (1.0 + noise * 0.08) / count.max(1.0);
        let rps = share.min(CAPACITY * 0.98);
        let busy = (share / CAPACITY).min(1.4);
        let target = if busy < 0.97 { 8.0 / (1.0 - busy) } else { 260.0 + 400.0 * (busy - 0.97) };
        self.mean_ms += (target * (1.0 + noise * 0.2) - self.mean_ms) * 0.5;
        for (index, player) in self.players.iter_mut().enumerate() {
            let serves = active.contains(&index);
            let node = &mut player.state;
            node.rps = if serves { rps } else { 0.0 };
            node.bytes_per_s = node.rps * BODY;
            node.latency_ms = serves.then_some(self.mean_ms);
            node.inflight = node.rps * self.mean_ms / 1000.0;
            node.requests_total += whole(node.rps);
        }
        if let Some(surge) = &mut self.surge {
            surge.sent += whole(rps * count);
            surge.failed += if active.is_empty() { 3 } else { 0 };
        }
        self.errors += if active.is_empty() { 1 } else { 0 };
    }

    fn totals(&self) -> Totals {
        let servers = u32::try_from(self.active().len()).expect("few");
        Totals {
            rps: self.players.iter().map(|p| p.state.rps).sum(),
            bytes_per_s: self.players.iter().map(|p| p.state.bytes_per_s).sum(),
            mean_ms: (servers > 0).then_some(self.mean_ms),
            p99_ms: (servers > 0).then_some(self.mean_ms * 2.6),
            errors: self.errors,
            servers,
        }
    }

    fn act(&mut self, now: UnixMs, action: &Action) -> Result<String, Problem> {
        match action {
            Action::Surge { clients, seconds } => {
                let until = now.plus(Duration::from_secs(u64::from(*seconds)));
                self.surge = Some(Surge { clients: *clients, since: now, until, sent: 0, failed: 0 });
                let text = format!("{clients} clients send load for {seconds} s");
                self.journal.record(now, EventKind::Surge, None, text.clone());
                Ok(text)
            }
            Action::Calm => {
                self.surge = None;
                self.journal.record(now, EventKind::Calm, None, "a person stopped the surge".into());
                Ok("the surge is stopped".into())
            }
            Action::Kill(name) => {
                let index = self.find(name)?;
                self.turn(index, Phase::Down);
                self.players[index].state.pid = None;
                self.note(now, EventKind::Killed, index, "{} was killed with SIGKILL");
                Ok(format!("{name} is killed"))
            }
            Action::Revive(name) => {
                let index = self.find(name)?;
                if self.players[index].state.phase != Phase::Down {
                    return Err(Problem::new(Code::Conflict, format!("{name} is not down")));
                }
                self.turn(index, if index == 0 { Phase::Home } else { Phase::Idle });
                self.players[index].state.pid = Some(51_000);
                self.note(now, EventKind::Revived, index, "{} is back");
                Ok(format!("{name} is revived"))
            }
        }
    }

    fn find(&self, name: &Label) -> Result<usize, Problem> {
        let found = self.players.iter().position(|player| player.state.name == *name);
        found.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no node {name}")))
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // played numbers, small and positive
fn whole(number: f64) -> u64 {
    number.round() as u64
}

impl Theatre for Played {
    fn snapshot(&self) -> ConsoleState {
        let now = self.world.clock.unix();
        let play = self.play();
        let node = |player: &Player| {
            let left = |end: UnixMs| u64::try_from(end.since(now).as_millis()).unwrap_or(0);
            NodeState { lease_remaining_ms: player.lease_end.map(left), ..player.state.clone() }
        };
        ConsoleState {
            now,
            realm: terms::RealmName::new("demo.localhost").expect("a realm"),
            service: "service://site.demo.localhost".parse().expect("a service"),
            started: play.started,
            link: "100 Mbit/s".into(),
            goal_ms: Some(100.0),
            nodes: play.players.iter().map(node).collect(),
            totals: play.totals(),
            surge: play.surge.clone(),
            history: play.history.points(),
            events: play.journal.events(),
        }
    }

    fn subscribe(&self) -> broadcast::Receiver<ConsoleEvent> {
        self.play().journal.subscribe()
    }

    fn act(&self, action: Action) -> BoxFuture<'_, Result<String, Problem>> {
        Box::pin(async move { self.play().act(self.world.clock.unix(), &action) })
    }

    fn rights(&self) -> BoxFuture<'_, Result<RightsView, Problem>> {
        Box::pin(async move { Ok(RightsView { now: self.world.clock.unix(), ..self.play().rights.clone() }) })
    }

    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<String, Problem>> {
        Box::pin(async move { super::rights::take_back(&mut self.play().rights, &revocation) })
    }
}
