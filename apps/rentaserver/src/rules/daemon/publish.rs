//! What is told to clients and what is kept: the table, rights to serve, the saved state.

use super::Daemon;
use crate::model::{Publication, SavedState, Server};
use crate::rules::calls::Action;
use crate::rules::member::{Member, Stage};
use client::models::lending::{LEASE, RIGHT_TO_SERVE};
use client::models::{Load, Report, RightToServe, Table, TableEntry};
use std::time::Duration;
use terms::{BootMs, Principal, UnixMs};

impl Daemon {
    /// Keeps the epoch before it is used, and whom the next daemon has to look after.
    pub(super) fn keep(&mut self, now: BootMs, out: &mut Vec<Action>) {
        let membership: Vec<Principal> = self.public().map(|member| member.server.principal.clone()).collect();
        if membership != self.membership {
            self.membership = membership;
            self.generation = self.generation.next();
            self.stale = true;
        }
        let state = SavedState {
            epoch: self.epoch,
            generation: self.generation,
            borrowed: self.members.values().filter(|m| m.borrowed()).map(|m| m.server.clone()).collect(),
        };
        if self.saving.due(now) && self.saved.as_ref() != Some(&state) {
            self.saving.calling = true;
            self.in_save = Some(state.clone());
            out.push(Action::Save(state));
        }
    }

    /// Publishes each second, and at once when the membership has changed.
    pub(super) fn tell_clients(&mut self, now: BootMs, date: UnixMs, out: &mut Vec<Action>) {
        if !self.stale || !self.publishing.due(now) {
            return;
        }
        self.stale = false;
        self.publishing.calling = true;
        self.in_publication.clone_from(&self.membership);
        let surrogates = self.public().filter(|member| member.stage == Stage::Serving);
        let rights = surrogates.map(|m| self.right(&m.server, m.right_from.unwrap_or(date))).collect();
        let table = Table {
            service: self.settings.service.clone(),
            epoch: self.epoch,
            generation: self.generation,
            signed_at: date,
            entries: self.public().map(|member| entry(now, member)).collect(),
        };
        out.push(Action::Publish(Publication { table, rights }));
    }

    /// The right of this server to serve, dated from then.
    pub(super) fn right(&self, server: &Server, from: UnixMs) -> RightToServe {
        RightToServe {
            service: self.settings.service.clone(),
            server: server.principal.clone(),
            key: server.key,
            address: server.address.clone(),
            epoch: self.epoch,
            not_before: from,
            not_after: from.plus(RIGHT_TO_SERVE),
        }
    }

    /// Primaries, and surrogates that serve.
    fn public(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| matches!(member.stage, Stage::Primary | Stage::Serving))
    }
}

fn entry(now: BootMs, member: &Member) -> TableEntry {
    let primary = member.stage == Stage::Primary;
    let active_for = if primary { LEASE } else { member.lease.active_for(now) };
    let (report, age) =
        member.report.map_or((Report::default(), now.since(member.since)), |(report, at)| (report, now.since(at)));
    TableEntry {
        server: member.server.principal.clone(),
        key: member.server.key,
        address: member.server.address.clone(),
        place: member.server.place,
        power: member.server.power,
        load: Load {
            inflight: report.inflight,
            rps: report.rps,
            bytes_per_s: report.bytes_per_s,
            latency_ms: report.latency_ms,
            waiting: report.waiting,
        },
        load_age_ms: ms(age),
        active_for_ms: ms(active_for),
        primary,
    }
}

fn ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
