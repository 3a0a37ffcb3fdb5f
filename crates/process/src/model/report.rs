//! What a front says about its own load.

use serde::{Deserialize, Serialize};

/// A front's own load, averaged over the last second ([`crate::limits::REPORT_WINDOW`]), and its totals.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Requests in flight, averaged over time.
    pub inflight: f64,
    /// Requests answered in a second.
    pub rps: f64,
    /// Body bytes sent in a second.
    pub bytes_per_s: f64,
    /// Mean time from a request to the end of its answer: milliseconds. The last known one when nothing ended.
    pub latency_ms: f64,
    /// Mean age of the requests now in flight: milliseconds. Tells of long answers before they end.
    pub age_ms: f64,
    /// Requests now in flight beyond the one that is being answered.
    pub waiting: u32,
    /// The share of its capacity in use, where the front knows one (a stated link): 0 to 1.
    #[serde(default)]
    pub busy: Option<f64>,
    /// The stated link: bits per second.
    #[serde(default)]
    pub link_bits_per_s: Option<u64>,
    /// Requests answered since the front started.
    pub served: u64,
    /// Body bytes sent since the front started.
    pub sent_bytes: u64,
}

impl Report {
    /// The same report with what is not a sensible number taken as zero: reports come from other machines.
    #[must_use]
    pub fn sane(self) -> Self {
        let number = |value: f64| if value.is_finite() { value.clamp(0.0, 1e12) } else { 0.0 };
        Self {
            inflight: number(self.inflight),
            rps: number(self.rps),
            bytes_per_s: number(self.bytes_per_s),
            latency_ms: number(self.latency_ms),
            age_ms: number(self.age_ms),
            busy: self.busy.map(|busy| number(busy).min(1.0)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_numbers_are_tamed() {
        let report = Report { inflight: f64::NAN, rps: -3.0, busy: Some(7.0), ..Report::default() }.sane();
        assert_eq!((report.inflight, report.rps, report.busy), (0.0, 0.0, Some(1.0)));
    }
}
