//! The home: the real load daemon over calls that are lost, late and doubled; the group with its expiries; the
//! name server.

use super::client::Piggyback;
use super::documents::documents;
use super::event::{Arrival, Event, name, principal};
use super::steady::SteadyClock;
use super::{HOME, Mutant, World, client_node, lent_node};
use crate::dice::Dice;
use discovery::model::RightToServe;
use process::model::StartRequest;
use rentaserver::limits::{BEAT_WITHIN, HOME_WITHIN, START_WITHIN, TICK_EVERY};
use rentaserver::model::{Failure, Now, Publication, SavedState, Server};
use rentaserver::notice::Notice;
use rentaserver::rules::{Action, Answer, Call, Daemon, Event as Heard};
use std::collections::BTreeMap;
use std::time::Duration;
use terms::{BootMs, Epoch, Generation, Principal, UnixMs};

pub(super) struct Pending {
    server: Principal,
    sent: BootMs,
}

pub(super) struct HomeNode {
    pub(super) clock: SteadyClock,
    pub(super) daemon: Option<Daemon>,
    pub(super) incarnation: u64,
    pub(super) saved: Option<SavedState>,
    pub(super) group: BTreeMap<Principal, UnixMs>,
    /// How many of a thousand of the home's own errands go wrong.
    pub(super) trouble_permille: u64,
    calls: BTreeMap<u64, Pending>,
    next_call: u64,
    table: Option<(Vec<u8>, UnixMs, BootMs)>,
    rights: BTreeMap<Principal, (RightToServe, Vec<u8>)>,
    published: (Epoch, Generation, UnixMs, u64),
}

impl HomeNode {
    pub(super) fn new(dice: &Dice) -> Self {
        Self {
            clock: SteadyClock::thrown(dice),
            daemon: None,
            incarnation: 0,
            saved: None,
            group: BTreeMap::new(),
            trouble_permille: 0,
            calls: BTreeMap::new(),
            next_call: 0,
            table: None,
            rights: BTreeMap::new(),
            published: (Epoch(0), Generation(0), UnixMs(0), 0),
        }
    }

    pub(super) fn is_member(&self, index: usize, true_ms: u64) -> bool {
        self.group.get(&principal(index)).is_some_and(|until| self.clock.wall(true_ms) < *until)
    }

    pub(super) fn crash_daemon(&mut self) {
        self.daemon = None;
        self.incarnation += 1;
        self.calls.clear();
    }

    /// The service's time: the wall clock, but never behind what the newest table carries on.
    fn service_time(&self, true_ms: u64) -> UnixMs {
        let (boot, wall) = (self.clock.boot(true_ms), self.clock.wall(true_ms));
        self.table.as_ref().map_or(wall, |(_, signed, at)| signed.plus(boot.since(*at)).max(wall))
    }

    fn piggyback(&self) -> Piggyback {
        Piggyback {
            table: self.table.as_ref().map(|(bytes, ..)| bytes.clone()),
            rights: self.rights.values().map(|(_, bytes)| bytes.clone()).collect(),
        }
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn failure() -> Failure {
    Failure("trouble at home".into())
}

impl World {
    pub(super) fn at_home(&mut self, event: Event) {
        let current = self.home.incarnation;
        match event {
            Event::DaemonStart => self.start_daemon(),
            Event::Tick { daemon } if daemon == current => {
                self.scheduler.after(ms(TICK_EVERY), HOME, Event::Tick { daemon });
                self.hear(Heard::Tick);
            }
            Event::Errand { daemon, heard } if daemon == current => self.hear(heard),
            Event::Group { server, member_until: Some(until) } => {
                let end = self.home.group.entry(server.principal).or_insert(until);
                *end = until.max(*end);
            }
            Event::Group { server, member_until: None } => {
                self.home.group.remove(&server.principal);
            }
            Event::Answer { call, answer } => self.answered(call, answer),
            Event::Deadline { call, late } => self.answered(call, late),
            Event::AskState { client, asked } => {
                let (now, piggyback) = (self.home.service_time(self.scheduler.now()), self.home.piggyback());
                let to = client_node(self.lent.len(), client);
                self.send(HOME, to, Event::State { asked, now, piggyback });
            }
            Event::PrimaryRequest { client } => {
                self.counts.by_home += 1;
                let (to, piggyback) = (client_node(self.lent.len(), client), self.home.piggyback());
                self.send(HOME, to, Event::Served { piggyback });
            }
            _ => {}
        }
    }

    fn start_daemon(&mut self) {
        if self.home.daemon.is_some() {
            return;
        }
        let true_ms = self.scheduler.now();
        let now = Now { boot: self.home.clock.boot(true_ms), unix: self.home.clock.wall(true_ms) };
        match Daemon::new(now, self.settings.clone(), self.home.saved.clone()) {
            Ok(daemon) => {
                self.gone.iter_mut().for_each(|gone| *gone = false);
                self.home.daemon = Some(daemon);
                self.home.incarnation += 1;
                self.counts.daemons += 1;
                let daemon = self.home.incarnation;
                self.scheduler.after(0, HOME, Event::Tick { daemon });
            }
            Err(error) => self.violated(format!("the settings of this world are refused: {error}")),
        }
    }

    fn answered(&mut self, call: u64, answer: Answer) {
        if let Some(Pending { server, sent }) = self.home.calls.remove(&call) {
            self.hear(Heard::Answered { server, sent, answer });
        }
    }

    fn hear(&mut self, heard: Heard) {
        let true_ms = self.scheduler.now();
        let now = Now { boot: self.home.clock.boot(true_ms), unix: self.home.clock.wall(true_ms) };
        let Some(daemon) = self.home.daemon.as_mut() else { return };
        let actions = daemon.step(now, heard);
        let (servers, membership) = (daemon.servers(), daemon.membership());
        let home_named = membership.is_empty() || membership.iter().any(|name| name.name.as_str() == "home");
        if servers > self.settings.max_servers {
            self.violated(format!("{servers} servers, more than {}", self.settings.max_servers));
        }
        if !home_named {
            self.violated("the primary is no member".into());
        }
        for action in actions {
            self.perform(action, now);
        }
    }

    fn perform(&mut self, action: Action, now: Now) {
        match action {
            Action::Tell(notice) => self.told(&notice),
            Action::AskOffers => {
                let offered = (0..self.lent.len()).filter(|index| self.lent[*index].offered);
                let offers = offered.map(server).collect();
                let result = if self.trouble() { Err(failure()) } else { Ok(offers) };
                self.errand(Heard::Offers(result));
            }
            Action::Publish(publication) => {
                let generation = publication.table.generation;
                let result = if self.trouble() {
                    Err(failure())
                } else {
                    self.publish(&publication, now);
                    Ok(())
                };
                self.errand(Heard::Published(generation, result));
            }
            Action::Save(state) => {
                let trouble = self.trouble();
                // What failed may have been kept all the same.
                if !trouble || self.dice.happens(500) {
                    self.home.saved = Some(state);
                }
                self.errand(Heard::Saved(if trouble { Err(failure()) } else { Ok(()) }));
            }
            Action::Call { server, call } => self.call(server, *call, now),
        }
    }

    fn trouble(&self) -> bool {
        self.dice.happens(self.home.trouble_permille)
    }

    fn errand(&mut self, heard: Heard) {
        let daemon = self.home.incarnation;
        let delay = self.dice.between(0, 5);
        self.scheduler.after(delay, HOME, Event::Errand { daemon, heard });
    }

    fn call(&mut self, server: Server, call: Call, now: Now) {
        self.home.next_call += 1;
        let id = self.home.next_call;
        self.home.calls.insert(id, Pending { server: server.principal.clone(), sent: now.boot });
        match call {
            Call::Grant { lasting } => {
                let for_ever = self.mutant == Mutant::NobodyIsRemoved;
                let member_until = Some(if for_ever { UnixMs(u64::MAX) } else { now.unix.plus(lasting) });
                self.change_group(id, server, member_until, Answer::Granted);
            }
            Call::Remove if self.mutant == Mutant::NobodyIsRemoved => {
                let answer = Answer::Removed(Ok(()));
                self.scheduler.after(1, HOME, Event::Answer { call: id, answer });
            }
            Call::Remove => self.change_group(id, server, None, Answer::Removed),
            call => self.call_there(id, &server, call),
        }
    }

    /// A change of the group is done a little later; in trouble much later or never, and the answer is late.
    fn change_group(
        &mut self,
        call: u64,
        server: Server,
        member_until: Option<UnixMs>,
        answer: fn(Result<(), Failure>) -> Answer,
    ) {
        let (trouble, delay) = (self.trouble(), self.dice.between(0, 5));
        if !trouble {
            self.scheduler.after(delay, HOME, Event::Group { server, member_until });
            self.scheduler.after(delay, HOME, Event::Answer { call, answer: answer(Ok(())) });
            return;
        }
        if self.dice.happens(500) {
            let late = self.dice.between(0, 2 * ms(HOME_WITHIN));
            self.scheduler.after(late, HOME, Event::Group { server, member_until });
        }
        let late = answer(Err(failure()));
        self.scheduler.after(ms(HOME_WITHIN), HOME, Event::Deadline { call, late });
    }

    fn call_there(&mut self, id: u64, server: &Server, call: Call) {
        let Some(index) = (0..self.lent.len()).find(|index| principal(*index) == server.principal) else {
            // The primary answers itself.
            let report = self.report_of_home();
            let answer = Answer::Beat(Ok(super::load::primary_answer(report)));
            self.scheduler.after(1, HOME, Event::Answer { call: id, answer });
            return;
        };
        let table = self.home.table.as_ref().map(|(bytes, ..)| bytes.clone());
        let silent = |why: &str| Failure(why.into());
        let (within, refused, late) = match &call {
            Call::Start { .. } => {
                (START_WITHIN, Answer::Started(Err(silent("refused"))), Answer::Started(Err(silent("late"))))
            }
            Call::Drain { .. } => {
                (BEAT_WITHIN, Answer::Drained(Err(silent("refused"))), Answer::Drained(Err(silent("late"))))
            }
            _ => (BEAT_WITHIN, Answer::Beat(Err(silent("refused"))), Answer::Beat(Err(silent("late")))),
        };
        self.scheduler.after(ms(within), HOME, Event::Deadline { call: id, late });
        if !self.lent[index].up && !self.network.is_cut(self.scheduler.now(), HOME, lent_node(index)) {
            self.scheduler.after(2, HOME, Event::Answer { call: id, answer: refused });
            return;
        }
        let arrival = match call {
            Call::Start { epoch, lease, .. } => Arrival::Start(StartRequest {
                service: super::documents::service(),
                epoch,
                lease_ms: u32::try_from(lease.as_millis()).unwrap_or(u32::MAX),
                certificate: Vec::new(),
                right: Vec::new(),
                table: table.unwrap_or_default(),
            }),
            call => Arrival::Other { call, table },
        };
        self.send(HOME, lent_node(index), Event::Call { call: id, arrival });
    }

    fn publish(&mut self, publication: &Publication, now: Now) {
        let (table, incarnation) = (&publication.table, self.home.incarnation);
        let (epoch, generation, signed, by) = self.home.published;
        let before = (epoch, generation);
        let rises = before <= (table.epoch, table.generation) && (by == incarnation || epoch < table.epoch);
        if !rises || (by == incarnation && table.signed_at < signed) {
            self.violated(format!("table {before:?} of {signed:?} is followed by {table:?}"));
        }
        self.home.published = (table.epoch, table.generation, table.signed_at, incarnation);
        self.home.table = Some((documents().sign_table(table), table.signed_at, now.boot));
        let old = std::mem::take(&mut self.home.rights);
        for right in &publication.rights {
            let kept = old.get(&right.server).filter(|(value, _)| value == right);
            let signed = kept.map_or_else(|| documents().sign_right(right), |(_, bytes)| bytes.clone());
            self.home.rights.insert(right.server.clone(), (right.clone(), signed));
        }
        self.counts.tables += 1;
    }

    fn told(&mut self, notice: &Notice) {
        if !matches!(notice, Notice::Renewed { .. }) {
            self.record.note(self.scheduler.now(), || notice.to_string());
        }
        let index = notice.server().and_then(|server| (0..self.lent.len()).find(|i| principal(*i) == *server));
        if let Some(index) = index {
            match notice {
                Notice::Lost { .. } | Notice::Drained { .. } | Notice::NotStarted { .. } => {
                    self.gone[index] = true;
                }
                Notice::Recruiting { .. } => self.gone[index] = false,
                _ => {}
            }
        }
        match notice {
            Notice::Recruited { .. } => self.counts.recruited += 1,
            Notice::Adopted { .. } => self.counts.adopted += 1,
            Notice::Drained { .. } => self.counts.drained += 1,
            Notice::Lost { .. } => self.counts.lost += 1,
            Notice::Sized { servers, change, .. } if *change < 0 => {
                let left = servers.saturating_sub(usize::try_from(change.unsigned_abs()).unwrap_or(usize::MAX));
                if left < self.settings.min_servers {
                    self.violated(format!("of {servers} servers {change} are drained, below the least number"));
                }
            }
            _ => {}
        }
    }
}

/// A lent node as the daemon sees it.
pub(super) fn server(index: usize) -> Server {
    let number = u8::try_from(index + 1).unwrap_or(u8::MAX);
    Server {
        principal: principal(index),
        key: terms::Thumbprint([number; 32]),
        address: format!("{}.lab.example:443", name(index)),
        place: None,
        power: 1.0,
        price: 0.0,
    }
}
