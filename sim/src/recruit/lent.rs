//! A lent node: the real admission and the real lease machine, in a body that crashes, sleeps and lies.

use super::client::Piggyback;
use super::event::{Arrival, Event, principal};
use super::steady::SteadyClock;
use super::{HOME, Mutant, World, client_node, lent_node};
use crate::dice::Dice;
use process::limits::LEASE;
use process::model::{BeatAnswer, Offer, Phase, Report, StartAnswer, StartReply, StartRequest, Ticket};
use process::rules::{Action, Event as Run, Refused, StartFacts, Step, Surrogate, admit};
use rentaserver::rules::{Answer, Call};
use terms::{BootMs, ByteCount, Epoch};

pub(super) struct LentNode {
    pub(super) clock: SteadyClock,
    pub(super) up: bool,
    /// Ignores its lease and shows whatever table names it.
    pub(super) hostile: bool,
    pub(super) offered: bool,
    run: Option<Surrogate>,
    /// Which run this is; rises also with crashes.
    pub(super) runs: u64,
    seen: Epoch,
    table: Option<Vec<u8>>,
    /// A table that named it, kept by a hostile node.
    kept: Option<Vec<u8>>,
    /// When its last lease ends by its own clock, or ended: true time. Renewals move it on.
    pub(super) lease_ends: u64,
    /// The newest moment from which a granted lease counts: the world's own bookkeeping.
    counted_from: Option<BootMs>,
}

impl LentNode {
    pub(super) fn new(dice: &Dice, hostile: bool) -> Self {
        Self {
            clock: SteadyClock::thrown(dice),
            up: true,
            hostile,
            offered: true,
            run: None,
            runs: 0,
            seen: Epoch(0),
            table: None,
            kept: None,
            lease_ends: 0,
            counted_from: None,
        }
    }

    pub(super) fn phase(&self, true_ms: u64) -> Option<Phase> {
        self.run.as_ref().map(|run| run.phase(self.clock.boot(true_ms)))
    }

    pub(super) fn crash(&mut self) {
        self.up = false;
        self.runs += 1;
        self.run = None;
    }

    fn offer(&self) -> Option<Offer> {
        self.offered.then(|| Offer {
            service: super::documents::service(),
            cpu_milli: 1000,
            memory_bytes: ByteCount(1 << 30),
            price: 0.0,
            power: 1.0,
            until: None,
            keep_cache: false,
        })
    }

    fn piggyback(&self) -> Piggyback {
        let table = if self.hostile { self.kept.clone().or(self.table.clone()) } else { self.table.clone() };
        Piggyback { table, rights: Vec::new() }
    }
}

impl World {
    pub(super) fn at_lent(&mut self, index: usize, event: Event) {
        if let Event::Restart = event {
            self.lent[index].up = true;
            return;
        }
        if !self.lent[index].up {
            return;
        }
        match event {
            Event::Call { call, arrival } => self.lent_call(index, call, arrival),
            Event::Prepared { run, healthy } if run == self.lent[index].runs => {
                self.run_step(index, if healthy { Run::Healthy } else { Run::Failed });
            }
            Event::Finished { run } if run == self.lent[index].runs => {
                self.run_step(index, Run::Finished);
            }
            Event::Wake => {
                self.run_step(index, Run::Tick);
            }
            Event::Request { client } => self.lent_request(index, client),
            _ => {}
        }
    }

    fn lent_call(&mut self, index: usize, call: u64, arrival: Arrival) {
        let answer = match arrival {
            Arrival::Start(request) => Answer::Started(Ok(self.lent_start(index, &request))),
            Arrival::Other { call: Call::Beat { epoch, ticket, lease, .. }, table } => {
                self.keep_table(index, table);
                let now = self.lent[index].clock.boot(self.scheduler.now());
                let ticket = match self.mutant {
                    Mutant::LeaseFromArrival => ticket.map(|_| Ticket(now.0)),
                    _ => ticket,
                };
                Answer::Beat(Ok(self.lent_answer(index, Run::Beat { epoch, ticket, lease })))
            }
            Arrival::Other { call: Call::Drain { epoch, within }, .. } => {
                Answer::Drained(Ok(self.lent_answer(index, Run::Drain { epoch, within })))
            }
            Arrival::Other { .. } => return,
        };
        self.send(lent_node(index), HOME, Event::Answer { call, answer });
    }

    fn keep_table(&mut self, index: usize, table: Option<Vec<u8>>) {
        let Some(table) = table else { return };
        let node = &mut self.lent[index];
        if node.hostile {
            let opened = super::documents::documents().certificate.open_table(&table);
            let named =
                opened.is_ok_and(|table| table.entries.iter().any(|entry| entry.server == principal(index)));
            if named {
                node.kept = Some(table.clone());
            }
        }
        node.table = Some(table);
    }

    fn lent_start(&mut self, index: usize, request: &StartRequest) -> StartAnswer {
        let true_ms = self.scheduler.now();
        let node = &mut self.lent[index];
        let (now, wall) = (node.clock.boot(true_ms), node.clock.wall(true_ms));
        let reply = |phase| StartAnswer::Accepted(StartReply { phase, ticket: Ticket(now.0) });
        let live = node.run.as_ref().filter(|run| run.phase(now) != Phase::Ended);
        if let Some(run) = live
            && request.epoch >= run.epoch()
        {
            return reply(run.phase(now));
        }
        let (home, authorities) =
            (super::documents::server_principal("home"), [super::documents::server_principal("home")]);
        let offer = node.offer();
        let facts = StartFacts {
            now: wall,
            caller: &home,
            service: &request.service,
            epoch: request.epoch,
            authorities: &authorities,
            certificate_valid: (terms::UnixMs(0), terms::UnixMs(u64::MAX)),
            seen: node.seen,
            offer: offer.as_ref(),
            holds_relay: false,
            ending: node.run.as_ref().is_some_and(|run| run.in_flight() > 0),
            running: 0,
        };
        let admitted = match admit(&facts) {
            Ok(admitted) => admitted,
            Err(refusal) => return StartAnswer::Refused(refusal),
        };
        node.seen = request.epoch;
        node.runs += 1;
        node.counted_from = None;
        let (run, _) = Surrogate::start(now, wall, &admitted, LEASE);
        node.run = Some(run);
        self.counts.starts += 1;
        let (run, takes) = (self.lent[index].runs, self.dice.between(5, *self.dice.one_of(&[50, 2_000])));
        let healthy = self.healed || !self.dice.happens(50);
        self.scheduler.after(takes, lent_node(index), Event::Prepared { run, healthy });
        self.run_step(index, Run::Tick);
        reply(Phase::Starting)
    }

    fn lent_answer(&mut self, index: usize, event: Run) -> BeatAnswer {
        let Some(step) = self.run_step(index, event) else { return BeatAnswer::NotRunning };
        if let Some(Refused::StaleEpoch { seen }) = step.refused {
            return BeatAnswer::StaleEpoch { seen };
        }
        let report = self.report_of(index);
        let node = &self.lent[index];
        let now = node.clock.boot(self.scheduler.now());
        node.run.as_ref().map_or(BeatAnswer::NotRunning, |run| BeatAnswer::Running(run.reply(now, &step, report)))
    }

    /// One step of the run, with the world's own bookkeeping of its lease.
    fn run_step(&mut self, index: usize, event: Run) -> Option<Step> {
        let true_ms = self.scheduler.now();
        let node = &mut self.lent[index];
        let now = node.clock.boot(true_ms);
        let run = node.run.as_mut()?;
        let before = run.phase(now);
        let ticket = if let Run::Beat { ticket, .. } = &event { *ticket } else { None };
        let step = run.step(now, event);
        if let Some(Ticket(from)) = ticket.filter(|_| step.renewed) {
            node.counted_from = node.counted_from.max(Some(BootMs(from)));
        }
        node.seen = node.seen.max(run.epoch());
        if run.phase(now) == Phase::Ended {
            node.lease_ends = node.lease_ends.min(true_ms);
        } else {
            let left = run.reply(now, &step, Report::default()).lease_left_ms;
            node.lease_ends = node.clock.true_time(BootMs(now.0 + u64::from(left)));
        }
        if let Some(at) = run.wakes_at() {
            self.scheduler.at(node.clock.true_time(at), lent_node(index), Event::Wake);
        }
        self.counts.ends += step.actions.iter().filter(|action| **action == Action::ForgetFiles).count() as u64;
        let after = self.lent[index].phase(true_ms);
        if after != Some(before) {
            self.record.note(true_ms, || format!("{} is {after:?}", super::event::name(index)));
        }
        Some(step)
    }

    fn lent_request(&mut self, index: usize, client: usize) {
        let true_ms = self.scheduler.now();
        let (from, to) = (lent_node(index), client_node(self.lent.len(), client));
        let node = &mut self.lent[index];
        let (now, piggyback) = (node.clock.boot(true_ms), node.piggyback());
        let served = node.run.as_mut().is_some_and(|run| run.begin(now).is_ok());
        if served {
            let (run, counted_from) = (node.runs, node.counted_from);
            let held = counted_from.is_some_and(|from| now < from.plus(LEASE));
            if !held {
                self.violated(format!("{} serves without a lease", super::event::name(index)));
            }
            if self.gone[index] && !self.lent[index].hostile {
                self.violated(format!("{} serves though the daemon declared it gone", super::event::name(index)));
            }
            let takes = self.dice.between(5, *self.dice.one_of(&[50, 8_000]));
            self.scheduler.after(takes, from, Event::Finished { run });
        }
        if served || self.lent[index].hostile {
            self.counts.by_surrogates += 1;
            self.send(from, to, Event::Served { piggyback });
        } else {
            self.counts.elsewhere += 1;
            self.send(from, to, Event::Elsewhere { piggyback });
        }
    }
}
