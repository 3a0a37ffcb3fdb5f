//! The rule which servers may be asked at this moment, with the reason for each that may not.
//!
//! Servers of the certificate need nothing more. A surrogate needs a table of at most five seconds by the service's
//! time that says it is still active, and a right to serve that names its key and address under no smaller epoch
//! than any seen. Every doubt about the time counts against the surrogate.

use crate::clock::ServiceNow;
use crate::limits::{MAX_AHEAD, MAX_TABLE_AGE};
use crate::model::{Load, Place, TableEntry};
use crate::verified::{Certificate, CheckedRight, CheckedTable};
use std::collections::BTreeMap;
use std::time::Duration;
use terms::{Epoch, Principal, Thumbprint, UnixMs};

/// All that the rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The service's certificate.
    pub certificate: &'a Certificate,
    /// The newest table.
    pub table: Option<&'a CheckedTable>,
    /// The rights to serve by the surrogate's key.
    pub rights: &'a BTreeMap<Thumbprint, CheckedRight>,
    /// The highest epoch seen in any document of this service.
    pub epoch: Epoch,
    /// The service's time.
    pub now: Option<ServiceNow>,
}

/// A server that may be asked now. Only [`judge`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Usable {
    principal: Principal,
    key: Thumbprint,
    address: String,
    certified: bool,
    primary: bool,
    /// Where it is.
    pub place: Option<Place>,
    /// Its power.
    pub power: f64,
    /// Its load and how old that report is.
    pub load: Option<(Load, Duration)>,
    /// How long it may be asked under what is known now; nothing: as long as the certificate is valid.
    pub remaining: Option<Duration>,
}

impl Usable {
    /// The server.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Its key: whoever answers must hold it.
    pub fn key(&self) -> Thumbprint {
        self.key
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the service certificate itself names it.
    pub fn certified(&self) -> bool {
        self.certified
    }

    /// Whether it holds the files.
    pub fn primary(&self) -> bool {
        self.primary
    }
}

/// Why a surrogate may not be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The service's time was never measured.
    #[error("the service's time is not known yet")]
    NoTime,
    /// The table may be older than five seconds.
    #[error("the table may be {0} ms old, 5000 ms are allowed")]
    TableOld(u64),
    /// The table claims to come from the future.
    #[error("the table is dated {0} ms ahead of the service's time")]
    TableAhead(u64),
    /// The table is of a smaller epoch than one seen before.
    #[error("the table is of epoch {0}, epoch {1} was seen")]
    TableEpoch(Epoch, Epoch),
    /// The guarantee to be active has run out.
    #[error("it is not guaranteed to be active any more")]
    NotActive,
    /// No right to serve is known.
    #[error("it shows no right to serve")]
    NoRight,
    /// The right names another server, key or address.
    #[error("its right to serve names another server, key or address")]
    RightOfAnother,
    /// The right is of a smaller epoch than one seen before.
    #[error("its right to serve is of epoch {0}, epoch {1} was seen")]
    RightEpoch(Epoch, Epoch),
    /// The right begins later.
    #[error("its right to serve has not begun")]
    RightNotYet,
    /// The right has ended.
    #[error("its right to serve has ended")]
    RightEnded,
}

/// The verdict on each server of certificate and table.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// May be asked now.
    pub usable: Vec<Usable>,
    /// May not, and why.
    pub refused: Vec<(TableEntry, Refusal)>,
}

impl Verdict {
    /// Whether fresh state could make another server usable: worth a question to a name server.
    pub fn wants_state(&self, facts: &Facts<'_>) -> bool {
        let lacking = |refusal: &Refusal| {
            let lacking = [Refusal::NoTime, Refusal::NoRight, Refusal::RightEnded].contains(refusal);
            lacking || matches!(refusal, Refusal::TableOld(_) | Refusal::TableAhead(_))
        };
        facts.table.is_none() || facts.now.is_none() || self.refused.iter().any(|(_, refusal)| lacking(refusal))
    }
}

/// Judges every server.
pub fn judge(facts: &Facts<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let entries = facts.table.map_or(&[][..], |table| &table.entries);
    for (key, server) in facts.certificate.servers() {
        let row = entries.iter().find(|entry| entry.key == key);
        verdict.usable.push(Usable {
            principal: server.principal.clone(),
            key,
            address: server.address.clone(),
            certified: true,
            primary: server.primary,
            place: server.place,
            power: server.power,
            load: row.and_then(|entry| reported(facts, entry)),
            remaining: None,
        });
    }
    for entry in entries {
        if facts.certificate.servers().any(|(key, _)| key == entry.key) {
            continue;
        }
        match surrogate(facts, entry) {
            Ok(remaining) => verdict.usable.push(Usable {
                principal: entry.server.clone(),
                key: entry.key,
                address: entry.address.clone(),
                certified: false,
                primary: false,
                place: entry.place,
                power: entry.power,
                load: reported(facts, entry),
                remaining: Some(remaining),
            }),
            Err(refusal) => verdict.refused.push((entry.clone(), refusal)),
        }
    }
    verdict
}

/// The load that a table reports, with its age by now. Load is a hint, so a doubtful time does not spoil it.
fn reported(facts: &Facts<'_>, entry: &TableEntry) -> Option<(Load, Duration)> {
    let table = facts.table?;
    let since = facts.now?.latest.since(table.signed_at);
    Some((entry.load.bounded(), since + Duration::from_millis(u64::from(entry.load_age_ms))))
}

/// How long a surrogate may still be asked, or why it may not.
fn surrogate(facts: &Facts<'_>, entry: &TableEntry) -> Result<Duration, Refusal> {
    let (Some(now), Some(table)) = (facts.now, facts.table) else { return Err(Refusal::NoTime) };
    if table.epoch < facts.epoch {
        return Err(Refusal::TableEpoch(table.epoch, facts.epoch));
    }
    let ahead = table.signed_at.since(now.latest);
    if ahead > MAX_AHEAD {
        return Err(Refusal::TableAhead(millis(ahead)));
    }
    let age = now.latest.since(table.signed_at);
    if age > MAX_TABLE_AGE {
        return Err(Refusal::TableOld(millis(age)));
    }
    let active_until = table.signed_at.plus(Duration::from_millis(u64::from(entry.active_for_ms)));
    // A table that is dated a little ahead of the time known here must not lend its lead to what had ended by then.
    if entry.active_for_ms == 0 || active_until <= now.latest {
        return Err(Refusal::NotActive);
    }
    let right = facts.rights.get(&entry.key).ok_or(Refusal::NoRight)?;
    let ends = right_end(facts, entry, right, now)?;
    let table_ends = table.signed_at.plus(MAX_TABLE_AGE);
    Ok(active_until.min(ends).min(table_ends).since(now.latest))
}

fn right_end(
    facts: &Facts<'_>,
    entry: &TableEntry,
    right: &CheckedRight,
    now: ServiceNow,
) -> Result<UnixMs, Refusal> {
    if right.key != entry.key || right.server != entry.server || right.address != entry.address {
        return Err(Refusal::RightOfAnother);
    }
    if right.epoch < facts.epoch {
        return Err(Refusal::RightEpoch(right.epoch, facts.epoch));
    }
    if right.not_before > now.latest.plus(MAX_AHEAD) {
        return Err(Refusal::RightNotYet);
    }
    if right.not_after <= now.latest {
        return Err(Refusal::RightEnded);
    }
    Ok(right.not_after)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod testing {
    use super::{Duration, Load, Thumbprint, Usable};

    /// A usable server with this key, whatever the documents say.
    pub(crate) fn usable(number: u8, power: f64, load: Option<(Load, Duration)>) -> Usable {
        Usable {
            principal: format!("spiffe://lab.example/server/n{number}").parse().expect("valid"),
            key: Thumbprint([number; 32]),
            address: format!("127.0.0.1:{}", 1000 + u16::from(number)),
            certified: number == 0,
            primary: number == 0,
            place: None,
            power,
            load,
            remaining: None,
        }
    }
}
