//! What a smart client knows of its service at a moment, and who may be asked under it.
//!
//! No I/O: documents come in checked, a verdict and a plan go out.

use crate::clock::ServiceClock;
use crate::director::{Ask, Config, Director, Outcome, Plan};
use crate::eligible::{Facts, Usable, judge};
use crate::headers::TableSeen;
use crate::verified::{Certificate, CheckedRight, CheckedTable};
use std::collections::BTreeMap;
use terms::{BootMs, Epoch, Thumbprint, UnixMs};

/// The state of one service in one process.
pub(super) struct Known {
    pub(super) certificate: Certificate,
    pub(super) certificate_at: BootMs,
    pub(super) clock: ServiceClock,
    table: Option<CheckedTable>,
    rights: BTreeMap<Thumbprint, CheckedRight>,
    epoch: Epoch,
    director: Director,
    usable: Vec<Usable>,
}

impl Known {
    pub(super) fn new(certificate: Certificate, now: BootMs) -> Self {
        let config = Config { stickiness: certificate.value().stickiness, place: None };
        Self {
            epoch: certificate.value().epoch,
            certificate,
            certificate_at: now,
            clock: ServiceClock::default(),
            table: None,
            rights: BTreeMap::new(),
            director: Director::new(config),
            usable: Vec::new(),
        }
    }

    /// Takes a certificate, unless it is older than the present one.
    pub(super) fn take_certificate(&mut self, certificate: Certificate, now: BootMs) {
        if certificate.value().serial >= self.certificate.value().serial {
            self.epoch = self.epoch.max(certificate.value().epoch);
            self.certificate = certificate;
            self.certificate_at = now;
        }
    }

    /// Takes a table, unless it is older than the present one.
    pub(super) fn take_table(&mut self, table: CheckedTable) {
        let order = |table: &CheckedTable| (table.epoch, table.generation, table.signed_at);
        if self.table.as_ref().is_none_or(|present| order(&table) > order(present)) {
            self.epoch = self.epoch.max(table.epoch);
            self.table = Some(table);
        }
    }

    /// Takes rights to serve; those of servers that the table does not name any more are dropped.
    pub(super) fn take_rights(&mut self, rights: Vec<CheckedRight>) {
        for right in rights {
            self.epoch = self.epoch.max(right.epoch);
            self.rights.insert(right.key, right);
        }
        if let Some(table) = &self.table {
            self.rights.retain(|key, _| table.entries.iter().any(|entry| entry.key == *key));
        }
    }

    /// Judges anew who may be asked, and says whether fresh state could change the verdict.
    pub(super) fn judge(&mut self, now: BootMs) -> bool {
        let facts = Facts {
            certificate: &self.certificate,
            table: self.table.as_ref(),
            rights: &self.rights,
            epoch: self.epoch,
            now: self.clock.now(now),
        };
        let verdict = judge(&facts);
        let wants = verdict.wants_state(&facts);
        self.director.update(now, &verdict.usable);
        self.usable = verdict.usable;
        wants
    }

    /// A plan for one request.
    pub(super) fn plan(&mut self, now: BootMs, ask: Ask<'_>) -> Plan {
        self.director.pick(now, ask)
    }

    /// A server that may be asked now. Judged at the last [`Known::judge`].
    pub(super) fn usable(&self, key: Thumbprint) -> Option<&Usable> {
        self.usable.iter().find(|server| server.key() == key)
    }

    pub(super) fn report(&mut self, now: BootMs, server: Thumbprint, outcome: Outcome) {
        self.director.report(now, server, outcome);
    }

    pub(super) fn director(&self) -> &Director {
        &self.director
    }

    /// Which table this client has, for the request's header.
    pub(super) fn seen(&self, now: BootMs) -> Option<TableSeen> {
        let table = self.table.as_ref()?;
        let latest: UnixMs = self.clock.now(now)?.latest;
        let age = latest.since(table.signed_at).as_millis();
        Some(TableSeen { generation: table.generation, age_ms: u64::try_from(age).unwrap_or(u64::MAX) })
    }
}
