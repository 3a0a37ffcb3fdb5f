//! Once a second: the sample, the decision, and whom it concerns.

use super::{Daemon, Wanted};
use crate::limits::{OFFERS_AGAIN, REPORT_LIFE};
use crate::model::Server;
use crate::notice::{Figures, Notice, Reason};
use crate::rules::calls::Action;
use crate::rules::choice::{to_borrow, to_return};
use crate::rules::member::{End, Member, Stage};
use crate::rules::sizing::{Load, Verdict};
use client::models::lending::{DRAIN_WITHIN, TABLE_EVERY};
use terms::{BootMs, Principal};

impl Daemon {
    pub(super) fn plan(&mut self, now: BootMs, out: &mut Vec<Action>) {
        if now < self.next_sample {
            return;
        }
        self.next_sample = now.plus(TABLE_EVERY);
        self.stale = true;
        if self.stopping || !self.in_charge() {
            return;
        }
        let fresh = |member: &Member| member.report.is_some_and(|(_, at)| now.since(at) <= REPORT_LIFE);
        let members = self.members.values().filter(|member| fresh(member));
        let reports = members.filter_map(|member| Some((member.server.power, &member.report.as_ref()?.0)));
        let load = Load::gather(reports);
        let power = self.power();
        let (verdict, figures) = self.sizer.sample(now, &load, power);
        let servers = self.settings.min_servers;
        let wanted = |power, reason| Wanted { power, servers, reason, figures };
        if verdict != Verdict::Hold(Reason::FirstSampleOver) {
            self.unmet = None;
        }
        match verdict {
            Verdict::Grow { to, reason } => self.grow(now, wanted(to, reason), out),
            _ if self.servers() < servers => self.grow(now, wanted(0.0, Reason::BelowMinimum), out),
            Verdict::Shrink { to } => self.shrink(now, power - to, figures, out),
            Verdict::Hold(Reason::FirstSampleOver) => {}
            Verdict::Hold(_) => self.last_held = None,
        }
    }

    /// Takes those who were missing, as soon as there is somebody to take.
    pub(super) fn meet_unmet(&mut self, now: BootMs, out: &mut Vec<Action>) {
        if self.stopping || self.unmet.is_none() || self.free(now).is_empty() {
            return;
        }
        if let Some(wanted) = self.unmet.take() {
            self.grow(now, wanted, out);
        }
    }

    /// Returns what was taken over beyond the bound: the state on record may have been older than what runs.
    pub(super) fn bound(&mut self, now: BootMs, out: &mut Vec<Action>) {
        let extra = self.servers().saturating_sub(self.settings.max_servers);
        if extra == 0 {
            return;
        }
        let held = self.members.values().filter(|member| member.counts() && member.stage != Stage::Primary);
        let chosen = to_return(held.map(|member| &member.server).collect(), f64::INFINITY, extra);
        self.give_back(now, chosen, "more servers than the greatest number", out);
    }

    fn give_back(&mut self, now: BootMs, chosen: Vec<Principal>, why: &str, out: &mut Vec<Action>) {
        for name in chosen {
            if let Some(member) = self.members.get_mut(&name) {
                member.drain(now, DRAIN_WITHIN, End::Drained);
                out.push(Action::Tell(Notice::Draining { server: name, why: why.into() }));
            }
        }
    }

    /// What helps now or is on its way; the primaries always count.
    fn power(&self) -> f64 {
        self.members.values().filter(|member| member.helps()).map(|member| member.server.power).sum()
    }

    fn grow(&mut self, now: BootMs, wanted: Wanted, out: &mut Vec<Action>) {
        let Wanted { reason, figures, .. } = wanted;
        let servers = self.servers();
        let at_most = self.settings.max_servers.saturating_sub(servers);
        let power = wanted.power - self.power();
        let missing = wanted.servers.saturating_sub(servers).min(at_most);
        if power <= 0.0 && missing == 0 {
            return;
        }
        let free = self.free(now);
        let mut chosen = to_borrow(free.clone(), power, at_most);
        if chosen.len() < missing {
            chosen = to_borrow(free, f64::INFINITY, missing);
        }
        let found: f64 = chosen.iter().map(|server| server.power).sum();
        if chosen.len() < at_most && (found < power || chosen.len() < missing) {
            // The offers may be older than what is asked for: by those that come next it is looked at again.
            self.offers.next_at = self.offers.next_at.min(self.offers_at.plus(OFFERS_AGAIN));
            self.unmet = Some(wanted);
        }
        // A decision that nobody can carry out is told once.
        if chosen.is_empty() && self.last_held == Some(reason) {
            return;
        }
        self.last_held = chosen.is_empty().then_some(reason);
        let change = i32::try_from(chosen.len()).unwrap_or(i32::MAX);
        out.push(Action::Tell(Notice::Sized { servers, change, full: at_most == 0, reason, figures }));
        for server in chosen {
            out.push(Action::Tell(Notice::Recruiting { server: server.principal.clone() }));
            let stage = Stage::Recruiting { started: false, ready: false, adopted: false };
            self.members.insert(server.principal.clone(), Member::new(server, stage, now));
        }
    }

    /// Offered nodes that are not in use and not on probation.
    fn free(&self, now: BootMs) -> Vec<Server> {
        let tried = |name: &Principal| self.probation.get(name).is_some_and(|probation| now < probation.until);
        let free = self.offered.iter();
        free.filter(|server| !self.members.contains_key(&server.principal) && !tried(&server.principal))
            .cloned()
            .collect()
    }

    /// Returns servers, unless somebody is just coming or silent: then it is not known what remains.
    fn shrink(&mut self, now: BootMs, spare: f64, figures: Figures, out: &mut Vec<Action>) {
        self.last_held = None;
        let unsure = |member: &Member| {
            member.silent() || matches!(member.stage, Stage::Recruiting { .. } | Stage::Adopting { .. })
        };
        if self.members.values().any(unsure) {
            return;
        }
        let servers = self.servers();
        let serving = self.members.values().filter(|member| member.stage == Stage::Serving);
        let at_most = servers.saturating_sub(self.settings.min_servers);
        let chosen = to_return(serving.map(|member| &member.server).collect(), spare, at_most);
        if chosen.is_empty() {
            return;
        }
        let change = -i32::try_from(chosen.len()).unwrap_or(i32::MAX);
        let reason = Reason::Calm;
        out.push(Action::Tell(Notice::Sized { servers, change, full: false, reason, figures }));
        self.give_back(now, chosen, reason.as_str(), out);
    }
}
