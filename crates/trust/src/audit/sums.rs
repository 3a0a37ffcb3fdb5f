//! Refusals of callers without a certificate, summed per source prefix and minute: whoever knocks a million
//! times fills a line, not the disk.

use super::record::{AuditOutcome, AuditRecord};
use crate::limits::MAX_ANONYMOUS_SUMS;
use std::collections::BTreeMap;
use std::net::IpAddr;
use terms::UnixMs;

const MINUTE_MS: u64 = 60_000;

/// The sums of the minute that runs.
#[derive(Debug, Default)]
pub(super) struct Sums {
    minute: u64,
    by_source: BTreeMap<String, Sum>,
    rest: Option<Sum>,
}

#[derive(Debug, Clone)]
struct Sum {
    count: u64,
    example: AuditRecord,
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
    /// Takes a refusal without a peer; answers whether it did. Sums of earlier minutes were written before.
    pub fn take(&mut self, record: &AuditRecord) -> bool {
        if record.outcome != AuditOutcome::Refused || record.peer.is_some() {
            return false;
        }
        // A wall clock that went back does not open a minute anew.
        self.minute = self.minute.max(record.at.0 / MINUTE_MS);
        let source = prefix(record.address);
        if let Some(sum) = self.by_source.get_mut(&source) {
            sum.count += 1;
        } else if self.by_source.len() < MAX_ANONYMOUS_SUMS {
            self.by_source.insert(source, Sum { count: 1, example: record.clone() });
        } else {
            let rest = self.rest.get_or_insert_with(|| Sum { count: 0, example: record.clone() });
            rest.count += 1;
        }
        true
    }

    /// The records of a minute that is over at this time, if it is.
    pub fn over(&mut self, now: UnixMs) -> Vec<AuditRecord> {
        if now.0 / MINUTE_MS <= self.minute {
            return Vec::new();
        }
        let sums = std::mem::take(&mut self.by_source);
        let rest = self.rest.take().map(|sum| ("further sources".to_string(), sum));
        let record =
            |(source, sum): (String, Sum)| AuditRecord { source: Some(source), count: sum.count, ..sum.example };
        sums.into_iter().chain(rest).map(record).collect()
    }
}
