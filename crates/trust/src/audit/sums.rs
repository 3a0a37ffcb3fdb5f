//! Refusals that are summed per minute: of callers without a certificate by source prefix, of others by principal,
//! subject and right, after the first few. Whoever knocks a million times fills some lines, not the disk.

use super::record::{AuditOutcome, AuditRecord};
use crate::limits::{MAX_ANONYMOUS_SUMS, MAX_PEER_REFUSALS, MAX_PEER_SUMS, MAX_UNWRITTEN_SUMS};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use terms::{Principal, UnixMs};

const MINUTE_MS: u64 = 60_000;

/// The sums of the minute that runs.
#[derive(Debug, Default)]
pub(super) struct Sums {
    minute: u64,
    by_source: BTreeMap<String, Sum>,
    rest: Option<Sum>,
    by_peer: BTreeMap<PeerKey, OfPeer>,
    rest_of_peers: Option<Sum>,
}

/// Who asked, for whom, and for which right: a server that acts for many is told apart by whom it acts for.
type PeerKey = (Principal, Option<Principal>, Option<String>);

/// The refusals of one principal for one subject and right.
#[derive(Debug, Default)]
struct OfPeer {
    recorded: u64,
    summed: Option<Sum>,
}

#[derive(Debug, Clone)]
struct Sum {
    count: u64,
    example: AuditRecord,
}

/// One more, alike the one that stands for all.
fn add(sum: &mut Option<Sum>, record: &AuditRecord) {
    sum.get_or_insert_with(|| Sum { count: 0, example: record.clone() }).count += 1;
}

/// The record that stands for all of a sum: the first one, and how many.
fn alike(sum: Sum) -> AuditRecord {
    AuditRecord { count: sum.count, ..sum.example }
}

/// Keeps the sums of a minute until they are written. Beyond two minutes' worth they are counted into the last one:
/// a disk that stays full costs no more memory than that, and the count is still true.
pub(super) fn keep(unwritten: &mut VecDeque<AuditRecord>, over: Vec<AuditRecord>) {
    for record in over {
        if unwritten.len() < MAX_UNWRITTEN_SUMS {
            unwritten.push_back(record);
        } else if let Some(last) = unwritten.back_mut() {
            last.source = Some("further sources and principals".into());
            (last.peer, last.subject) = (None, None);
            last.count += record.count;
        }
    }
}

/// The network of an address: /24 or /48, what one party usually holds.
fn prefix(address: Option<IpAddr>) -> String {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        Some(IpAddr::V6(address)) => {
            let [a, b, c, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
        None => "unknown".into(),
    }
}

impl Sums {
    /// Takes a refusal that is not recorded by itself; answers whether it did. Sums of earlier minutes were written
    /// before.
    pub fn take(&mut self, record: &AuditRecord) -> bool {
        if record.outcome != AuditOutcome::Refused {
            return false;
        }
        // A wall clock that went back does not open a minute anew.
        self.minute = self.minute.max(record.at.0 / MINUTE_MS);
        // A subject without a peer was named by a token.
        match record.peer.as_ref().or(record.subject.as_ref()) {
            Some(peer) => self.take_of_peer((peer.clone(), record.subject.clone(), record.right.clone()), record),
            None => {
                self.take_of_source(prefix(record.address), record);
                true
            }
        }
    }

    fn take_of_source(&mut self, source: String, record: &AuditRecord) {
        if let Some(sum) = self.by_source.get_mut(&source) {
            sum.count += 1;
        } else if self.by_source.len() < MAX_ANONYMOUS_SUMS {
            self.by_source.insert(source, Sum { count: 1, example: record.clone() });
        } else {
            add(&mut self.rest, record);
        }
    }

    fn take_of_peer(&mut self, key: PeerKey, record: &AuditRecord) -> bool {
        if !self.by_peer.contains_key(&key) && self.by_peer.len() >= MAX_PEER_SUMS {
            add(&mut self.rest_of_peers, record);
            return true;
        }
        let of_peer = self.by_peer.entry(key).or_default();
        if of_peer.recorded < MAX_PEER_REFUSALS {
            of_peer.recorded += 1;
            return false;
        }
        add(&mut of_peer.summed, record);
        true
    }

    /// The records of a minute that is over at this time, if it is.
    pub fn over(&mut self, now: UnixMs) -> Vec<AuditRecord> {
        let minute = now.0 / MINUTE_MS;
        // A little back is a clock that was set right; far back, the minute that runs would hardly ever end.
        if minute <= self.minute && self.minute <= minute + 1 {
            return Vec::new();
        }
        self.minute = minute;
        let sums = std::mem::take(&mut self.by_source);
        let rest = self.rest.take().map(|sum| ("further sources".to_string(), sum));
        let record = |(source, sum): (String, Sum)| AuditRecord { source: Some(source), ..alike(sum) };
        let peers = std::mem::take(&mut self.by_peer).into_values().filter_map(|of_peer| of_peer.summed);
        let peers = peers.map(alike);
        let further = self.rest_of_peers.take().map(|sum| AuditRecord {
            source: Some("further principals".into()),
            peer: None,
            subject: None,
            ..alike(sum)
        });
        sums.into_iter().chain(rest).map(record).chain(peers).chain(further).collect()
    }
}
