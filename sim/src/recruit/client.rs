//! A client: it holds certificate, table and rights, and asks whom the rule of `discovery` lets it ask.

use super::documents::documents;
use super::steady::SteadyClock;
use crate::dice::Dice;
use discovery::clock::ServiceClock;
use discovery::eligible::{Facts, Verdict, judge};
use discovery::verified::{CheckedRight, CheckedTable};
use std::collections::BTreeMap;
use terms::{BootMs, Epoch, Principal, Thumbprint, UnixMs};

/// Signed state that comes along with an answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Piggyback {
    pub(super) table: Option<Vec<u8>>,
    pub(super) rights: Vec<Vec<u8>>,
}

pub(super) struct ClientNode {
    pub(super) clock: SteadyClock,
    table: Option<CheckedTable>,
    rights: BTreeMap<Thumbprint, CheckedRight>,
    epoch: Epoch,
    service_time: ServiceClock,
    asked: Option<BootMs>,
    /// What was opened last: the same bytes need not be opened again.
    last_table: Vec<u8>,
    last_rights: Vec<Vec<u8>>,
}

impl ClientNode {
    pub(super) fn new(dice: &Dice) -> Self {
        Self {
            clock: SteadyClock::thrown(dice),
            table: None,
            rights: BTreeMap::new(),
            epoch: Epoch(0),
            service_time: ServiceClock::default(),
            asked: None,
            last_table: Vec::new(),
            last_rights: Vec::new(),
        }
    }

    /// Believes what is signed and newer.
    pub(super) fn learn(&mut self, piggyback: &Piggyback) {
        let certificate = &documents().certificate;
        let unseen = piggyback.table.as_ref().filter(|bytes| **bytes != self.last_table);
        if let Some(bytes) = unseen {
            self.last_table.clone_from(bytes);
        }
        if let Some(table) = unseen.and_then(|bytes| certificate.open_table(bytes).ok()) {
            let order = |table: &CheckedTable| (table.epoch, table.generation, table.signed_at);
            self.epoch = self.epoch.max(table.epoch);
            if self.table.as_ref().is_none_or(|old| order(old) < order(&table)) {
                self.table = Some(table);
            }
        }
        let unseen = piggyback.rights.iter().filter(|bytes| !self.last_rights.contains(bytes));
        let opened: Vec<_> = unseen.filter_map(|bytes| certificate.open_right(bytes).ok()).collect();
        self.last_rights.clone_from(&piggyback.rights);
        for right in opened {
            self.epoch = self.epoch.max(right.epoch);
            let order = |right: &CheckedRight| (right.epoch, right.not_after);
            if self.rights.get(&right.key).is_none_or(|old| order(old) < order(&right)) {
                self.rights.insert(right.key, right);
            }
        }
    }

    /// Takes the time that the home stated.
    pub(super) fn observe(&mut self, asked: BootMs, received: BootMs, stated: UnixMs) {
        self.service_time.observe(asked, received, stated);
    }

    /// Whom it may ask now, and whether it should ask the home for the state: at most each half second.
    pub(super) fn verdict(&mut self, now: BootMs) -> (Verdict, bool) {
        let facts = Facts {
            certificate: &documents().certificate,
            table: self.table.as_ref(),
            rights: &self.rights,
            epoch: self.epoch,
            now: self.service_time.now(now),
        };
        let verdict = judge(&facts);
        // Also when nobody but the home is known.
        let alone = self.table.as_ref().is_some_and(|table| table.entries.len() < 2);
        let ask = verdict.wants_state(&facts) || alone;
        let ask = ask && self.asked.is_none_or(|asked| now.0 >= asked.0 + 500);
        if ask {
            self.asked = Some(now);
        }
        (verdict, ask)
    }

    /// Everybody whom the table names, whatever the rule says: the client that checks nothing.
    pub(super) fn everybody(&self) -> Vec<Principal> {
        self.table.iter().flat_map(|table| table.entries.iter().map(|entry| entry.server.clone())).collect()
    }
}
