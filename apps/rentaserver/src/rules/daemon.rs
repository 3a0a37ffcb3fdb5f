//! The load daemon as one machine: what it knows, and what it does about each event. Membership follows from the
//! servers' stages and is published when it differs from what clients were told.

mod plan;
mod publish;

use crate::limits::{
    HOME_WITHIN, MAX_EPOCH_JUMP, MAX_OFFERS, MAX_PROBATION, OFFERS_AGAIN, OFFERS_EVERY, PROBATION, RETRY_AFTER,
};
use crate::model::{Now, SavedState, Server, Settings, SettingsError};
use crate::notice::{Figures, Notice, Reason};
use crate::rules::calls::{Action, Call, Event};
use crate::rules::choice::believable;
use crate::rules::member::{Change, Due, End, Member, Stage};
use crate::rules::sizing::{Goal, Sizer};
use crate::rules::time::ServiceTime;
use client::models::lending::{DRIFT_ALLOWANCE, LEASE};
use std::collections::{BTreeMap, BTreeSet};
use terms::{BootMs, Epoch, Generation, Principal, UnixMs};

#[derive(Debug, Clone, Copy)]
struct Probation {
    until: BootMs,
    failures: u32,
}

/// What goes on with one of the home's own matters: at most one call at a time.
#[derive(Debug, Clone, Copy, Default)]
struct Errand {
    calling: bool,
    next_at: BootMs,
}

impl Errand {
    fn due(&self, now: BootMs) -> bool {
        !self.calling && now >= self.next_at
    }
}

/// Servers that are missing.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// The power of all servers then; those on their way count.
    power: f64,
    /// How many servers there should be at the least: count.
    servers: usize,
    reason: Reason,
    figures: Figures,
}

/// The load daemon of one service.
#[derive(Debug, Clone)]
pub struct Daemon {
    settings: Settings,
    epoch: Epoch,
    generation: Generation,
    members: BTreeMap<Principal, Member>,
    offered: Vec<Server>,
    probation: BTreeMap<Principal, Probation>,
    /// Nodes that were asked whether a daemon before this one had started something there.
    probed: BTreeSet<Principal>,
    /// Whether there was no state to start from: then nodes tell which epoch was in charge.
    blind: bool,
    /// From then on nothing can run that a daemon before this one renewed.
    settled_at: BootMs,
    sizer: Sizer,
    next_sample: BootMs,
    /// What the samples ask for beyond what was offered.
    unmet: Option<Wanted>,
    last_held: Option<Reason>,
    service_time: ServiceTime,
    /// The membership that this generation stands for.
    membership: Vec<Principal>,
    /// The membership that clients were told last.
    named: Vec<Principal>,
    publishing: Errand,
    stale: bool,
    in_publication: Vec<Principal>,
    saving: Errand,
    saved: Option<SavedState>,
    in_save: Option<SavedState>,
    offers: Errand,
    /// When offers were heard last.
    offers_at: BootMs,
    stopping: bool,
}

impl Daemon {
    /// A daemon that takes over from the one that saved this state, if there was one.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(now: Now, settings: Settings, before: Option<SavedState>) -> Result<Self, SettingsError> {
        settings.check()?;
        let blind = before.is_none();
        let (epoch, generation, borrowed) = before
            .map_or((Epoch(0), Generation(0), Vec::new()), |state| (state.epoch, state.generation, state.borrowed));
        let primaries = settings.primaries.iter().map(|server| (server.clone(), Stage::Primary));
        let expected = borrowed.into_iter().map(|server| (server, Stage::Adopting { expected: true }));
        // A primary that was borrowed before has become a primary.
        let mut members = BTreeMap::new();
        for (server, stage) in expected.chain(primaries) {
            members.insert(server.principal.clone(), Member::new(server, stage, now.boot));
        }
        let probed = members.keys().cloned().collect();
        Ok(Self {
            epoch: epoch.max(settings.epoch_above).next(),
            generation,
            members,
            offered: Vec::new(),
            probation: BTreeMap::new(),
            probed,
            blind,
            settled_at: now.boot.plus(LEASE).plus(DRIFT_ALLOWANCE),
            sizer: Sizer::new(Goal::from(&settings)),
            next_sample: now.boot,
            unmet: None,
            last_held: None,
            service_time: ServiceTime::new(now),
            membership: Vec::new(),
            named: Vec::new(),
            publishing: Errand::default(),
            stale: true,
            in_publication: Vec::new(),
            saving: Errand::default(),
            saved: None,
            in_save: None,
            offers: Errand::default(),
            offers_at: now.boot,
            stopping: false,
            settings,
        })
    }

    /// Moves on.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        let date = self.service_time.at(now);
        self.hear(now.boot, date, event, &mut out);
        let names: Vec<Principal> = self.members.keys().cloned().collect();
        for name in &names {
            if let Some(change) = self.members.get_mut(name).map(|member| member.pass_time(now.boot)) {
                self.apply(now.boot, date, name, change, &mut out);
            }
        }
        self.bound(now.boot, &mut out);
        self.plan(now.boot, &mut out);
        self.meet_unmet(now.boot, &mut out);
        self.keep(now.boot, &mut out);
        if self.in_charge() {
            self.tell_clients(now.boot, date, &mut out);
            self.call(now.boot, date, &mut out);
        }
        out
    }

    /// Under which epoch it acts.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The generation of its membership.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The servers that clients are to be told of, the primaries included.
    pub fn membership(&self) -> &[Principal] {
        &self.membership
    }

    /// Servers that count for the bounds: members, and those on their way.
    pub fn servers(&self) -> usize {
        self.members.values().filter(|member| member.counts()).count()
    }

    /// Whether a stopped daemon has returned all that was borrowed.
    pub fn finished(&self) -> bool {
        self.stopping && self.members.values().all(|member| member.stage == Stage::Primary)
    }

    /// Nothing is done under an epoch that is not on record.
    fn in_charge(&self) -> bool {
        self.saved.as_ref().is_some_and(|state| state.epoch == self.epoch)
    }

    fn hear(&mut self, now: BootMs, date: UnixMs, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Answered { server, sent, answer } => {
                let Some(member) = self.members.get_mut(&server) else { return };
                let change = member.answered(now, sent, answer);
                member.meet(sent, self.next_sample);
                self.apply(now, date, &server, change, out);
            }
            Event::Offers(result) => {
                let again = if self.unmet.is_some() { OFFERS_AGAIN } else { OFFERS_EVERY };
                self.offers = Errand { calling: false, next_at: now.plus(again) };
                self.offers_at = now;
                match result {
                    Ok(offered) => self.heard_offers(now, offered),
                    Err(failure) => out.push(trouble("the offers cannot be read", &failure)),
                }
            }
            Event::Published(generation, result) => {
                self.publishing.calling = false;
                let told = std::mem::take(&mut self.in_publication);
                match result {
                    Ok(()) => self.named = told,
                    Err(failure) => {
                        self.stale = true;
                        self.publishing.next_at = now.plus(RETRY_AFTER);
                        out.push(trouble(&format!("generation {generation} is not published"), &failure));
                    }
                }
            }
            Event::Saved(result) => {
                self.saving.calling = false;
                let state = self.in_save.take();
                match result {
                    Ok(()) => {
                        let news = !self.in_charge();
                        self.saved = state;
                        if news && self.in_charge() {
                            out.push(Action::Tell(Notice::InCharge { epoch: self.epoch }));
                        }
                    }
                    Err(failure) => {
                        self.saving.next_at = now.plus(RETRY_AFTER);
                        out.push(trouble("the state is not kept", &failure));
                    }
                }
            }
            Event::Stop { within } => {
                self.stopping = true;
                for member in self.members.values_mut() {
                    let held =
                        !matches!(member.stage, Stage::Primary | Stage::Draining { .. } | Stage::Leaving { .. });
                    if held {
                        member.drain(now, within, End::Drained);
                    }
                }
            }
        }
    }

    /// Takes the offers; what is offered just after the start is asked first whether it still serves.
    fn heard_offers(&mut self, now: BootMs, mut offered: Vec<Server>) {
        offered.retain(believable);
        offered.truncate(MAX_OFFERS);
        self.probation.retain(|name, probation| {
            now < probation.until.plus(MAX_PROBATION) || offered.iter().any(|server| server.principal == *name)
        });
        if now < self.settled_at && !self.stopping {
            for server in &offered {
                let name = &server.principal;
                if self.probed.insert(name.clone()) && !self.members.contains_key(name) {
                    let stage = Stage::Adopting { expected: false };
                    self.members.insert(name.clone(), Member::new(server.clone(), stage, now));
                }
            }
        }
        self.offered = offered;
    }

    fn apply(&mut self, now: BootMs, date: UnixMs, name: &Principal, change: Change, out: &mut Vec<Action>) {
        let server = name.clone();
        let Some(member) = self.members.get_mut(name) else { return };
        let took_ms = u64::try_from(now.since(member.since).as_millis()).unwrap_or(u64::MAX);
        let notice = match change {
            Change::None => return,
            Change::Serves { adopted } => {
                member.right_from = Some(date);
                self.probation.remove(name);
                if adopted { Notice::Adopted { server } } else { Notice::Recruited { server, took_ms } }
            }
            Change::Renewed => {
                member.right_from = Some(date);
                let active = member.lease.active_for(now).as_millis();
                Notice::Renewed { server, active_for_ms: u64::try_from(active).unwrap_or(u64::MAX) }
            }
            Change::Silent(why) => Notice::Silent { server, why },
            Change::Withdrawn => Notice::Draining { server, why: "its owner takes it back".into() },
            Change::Stale(seen) => {
                // Only while taking over, and only so far: a surrogate is not to be believed more than that.
                if self.epoch <= seen && seen.0 - self.epoch.0 <= MAX_EPOCH_JUMP {
                    self.epoch = seen.next();
                }
                member.stage = Stage::Adopting { expected: true };
                return;
            }
            Change::Forget => {
                self.members.remove(name);
                return;
            }
            Change::Gone { end, removed } => {
                self.members.remove(name);
                if !removed {
                    let what = format!("the removal of {} from the group was not confirmed", server.name);
                    out.push(Action::Tell(Notice::Trouble { what }));
                }
                match end {
                    End::Drained => Notice::Drained { server, took_ms },
                    End::Lost(why) => {
                        self.on_probation(now, name);
                        Notice::Lost { server, why }
                    }
                    End::NotStarted(why) => {
                        self.on_probation(now, name);
                        Notice::NotStarted { server, why }
                    }
                }
            }
        };
        out.push(Action::Tell(notice));
    }

    fn on_probation(&mut self, now: BootMs, name: &Principal) {
        let failures = self.probation.get(name).map_or(0, |probation| probation.failures);
        let lasting = PROBATION.saturating_mul(1 << failures.min(16)).min(MAX_PROBATION);
        let probation = Probation { until: now.plus(lasting), failures: failures.saturating_add(1) };
        self.probation.insert(name.clone(), probation);
    }

    /// Makes each call that is due.
    fn call(&mut self, now: BootMs, date: UnixMs, out: &mut Vec<Action>) {
        if self.offers.due(now) {
            self.offers.calling = true;
            out.push(Action::AskOffers);
        }
        let names: Vec<Principal> = self.members.keys().cloned().collect();
        for name in names {
            let named = self.named.contains(&name);
            let Some(member) = self.members.get_mut(&name) else { continue };
            let Some(due) = member.due(now, named) else { continue };
            let ticket = member.called(now, due);
            let server = member.server.clone();
            // No run obeys epoch zero: it answers which one it obeys.
            let asks = self.blind && member.stage == Stage::Adopting { expected: false };
            let (epoch, lease) = (if asks { Epoch(0) } else { self.epoch }, LEASE);
            let call = match due {
                Due::Grant => Call::Grant { lasting: LEASE },
                Due::Start => Call::Start { epoch, lease, right: self.right(&server, date) },
                Due::Beat { .. } => {
                    let right = ticket.is_some().then(|| self.right(&server, date));
                    Call::Beat { epoch, ticket, lease, right }
                }
                Due::Drain { within } => Call::Drain { epoch, within },
                Due::Remove => Call::Remove,
            };
            out.push(Action::Call { server, call: Box::new(call) });
        }
    }
}

fn trouble(what: &str, failure: &crate::model::Failure) -> Action {
    Action::Tell(Notice::Trouble { what: format!("{what}: {failure}") })
}

const _: () = assert!(OFFERS_EVERY.as_millis() <= HOME_WITHIN.as_millis());

#[cfg(test)]
#[path = "daemon/tests.rs"]
mod tests;
