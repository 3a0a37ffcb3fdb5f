//! A front's measurements over the last second, in a ring of small buckets, so that it does not matter who asks
//! when. Pure: the front says what began, was sent and ended, and at what time.

use crate::limits::REPORT_WINDOW;
use crate::model::Report;
use terms::BootMs;

const BUCKETS: usize = 10;
const BUCKET_MS: u64 = REPORT_WINDOW.as_millis() as u64 / BUCKETS as u64;

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    number: u64,
    inflight_ms: u64,
    ended: u64,
    latency_ms: u64,
    bytes: u64,
}

/// Measures one front.
#[derive(Debug, Clone)]
pub struct Meter {
    started: BootMs,
    at: BootMs,
    inflight: u32,
    /// The sum of the start times of the requests in flight, counted from `started`.
    began_sum_ms: u64,
    ring: [Bucket; BUCKETS],
    last_latency_ms: f64,
    served: u64,
    sent_bytes: u64,
}

impl Meter {
    /// A front that starts now.
    pub fn new(now: BootMs) -> Self {
        Self {
            started: now,
            at: now,
            inflight: 0,
            began_sum_ms: 0,
            ring: [Bucket::default(); BUCKETS],
            last_latency_ms: 0.0,
            served: 0,
            sent_bytes: 0,
        }
    }

    /// A request began. Its end must be told with [`Meter::ended`] and this same time.
    pub fn began(&mut self, now: BootMs) {
        self.advance(now);
        self.inflight += 1;
        self.began_sum_ms += self.offset(now);
    }

    /// Body bytes were sent.
    pub fn sent(&mut self, now: BootMs, bytes: u64) {
        self.advance(now);
        self.bucket().bytes += bytes;
        self.sent_bytes += bytes;
    }

    /// The request that began then is over: answered whole, or given up.
    pub fn ended(&mut self, now: BootMs, began: BootMs, answered: bool) {
        self.advance(now);
        debug_assert!(self.inflight > 0, "an end without a beginning");
        self.inflight = self.inflight.saturating_sub(1);
        self.began_sum_ms = self.began_sum_ms.saturating_sub(self.offset(began));
        if answered {
            let took = self.at.0.saturating_sub(began.0);
            let bucket = self.bucket();
            bucket.ended += 1;
            bucket.latency_ms += took;
            self.served += 1;
        }
    }

    /// Requests in flight now.
    pub fn in_flight(&self) -> u32 {
        self.inflight
    }

    /// The load over the last second. `link` is the stated link: bits per second.
    #[allow(clippy::cast_precision_loss)] // sums of one second
    pub fn report(&mut self, now: BootMs, link: Option<u64>) -> Report {
        self.advance(now);
        let (newest, window_ms) = (self.at.0 / BUCKET_MS, self.window_ms());
        let live = self.ring.iter().filter(|bucket| bucket.number + BUCKETS as u64 > newest);
        let sum = live.fold(Bucket::default(), |sum, bucket| Bucket {
            number: 0,
            inflight_ms: sum.inflight_ms + bucket.inflight_ms,
            ended: sum.ended + bucket.ended,
            latency_ms: sum.latency_ms + bucket.latency_ms,
            bytes: sum.bytes + bucket.bytes,
        });
        if sum.ended > 0 {
            self.last_latency_ms = sum.latency_ms as f64 / sum.ended as f64;
        }
        let window = window_ms as f64;
        let bytes_per_s = sum.bytes as f64 * 1000.0 / window;
        let ages = u64::from(self.inflight) * self.offset(self.at);
        Report {
            inflight: sum.inflight_ms as f64 / window,
            rps: sum.ended as f64 * 1000.0 / window,
            bytes_per_s,
            latency_ms: self.last_latency_ms,
            age_ms: ages.saturating_sub(self.began_sum_ms) as f64 / f64::from(self.inflight.max(1)),
            waiting: self.inflight.saturating_sub(1),
            busy: link.map(|bits| (bytes_per_s * 8.0 / bits as f64).min(1.0)),
            link_bits_per_s: link,
            served: self.served,
            sent_bytes: self.sent_bytes,
        }
    }

    fn offset(&self, time: BootMs) -> u64 {
        time.0.saturating_sub(self.started.0)
    }

    /// What the live buckets cover: nine whole ones and the begun one; less just after the start.
    fn window_ms(&self) -> u64 {
        let begun = self.at.0 % BUCKET_MS;
        ((BUCKETS as u64 - 1) * BUCKET_MS + begun).min(self.offset(self.at)).max(1)
    }

    fn bucket(&mut self) -> &mut Bucket {
        let number = self.at.0 / BUCKET_MS;
        let bucket = &mut self.ring[(number % BUCKETS as u64) as usize];
        if bucket.number != number {
            *bucket = Bucket { number, ..Bucket::default() };
        }
        bucket
    }

    /// Spreads the requests in flight over the time since the last call. A clock that stands still or goes back
    /// moves nothing.
    fn advance(&mut self, now: BootMs) {
        let oldest = now.0.saturating_sub(BUCKETS as u64 * BUCKET_MS);
        if self.at.0 < oldest {
            self.at = BootMs(oldest);
        }
        while self.at.0 < now.0 {
            let end = ((self.at.0 / BUCKET_MS + 1) * BUCKET_MS).min(now.0);
            let spent = (end - self.at.0) * u64::from(self.inflight);
            self.bucket().inflight_ms += spent;
            self.at = BootMs(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() <= expected.abs() * 0.02 + 1e-9, "{value} is not {expected}");
    }

    #[test]
    fn a_steady_load_reads_as_what_it_is() {
        let mut meter = Meter::new(BootMs(777));
        // Two in flight at any time; each takes 40 ms and sends 5,000 bytes: 50 a second.
        for round in 0..100u64 {
            let start = BootMs(777 + round * 40);
            meter.began(start);
            meter.began(start);
            let end = BootMs(start.0 + 40);
            meter.sent(end, 10_000);
            meter.ended(end, start, true);
            meter.ended(end, start, true);
        }
        let report = meter.report(BootMs(777 + 4_000), Some(8_000_000));
        near(report.inflight, 2.0);
        assert!((report.rps - 50.0).abs() <= 3.0, "{}", report.rps);
        assert!((report.bytes_per_s - 250_000.0).abs() <= 15_000.0, "{}", report.bytes_per_s);
        near(report.latency_ms, 40.0);
        assert_eq!((report.served, report.sent_bytes, report.waiting), (200, 1_000_000, 0));
        near(report.busy.expect("a link"), report.bytes_per_s / 1_000_000.0);
    }

    #[test]
    fn long_answers_show_before_they_end() {
        let mut meter = Meter::new(BootMs(0));
        meter.began(BootMs(0));
        meter.began(BootMs(2_000));
        let report = meter.report(BootMs(5_000), None);
        near(report.inflight, 2.0);
        near(report.age_ms, 4_000.0);
        assert_eq!((report.rps, report.waiting, report.busy), (0.0, 1, None));
        meter.ended(BootMs(5_000), BootMs(0), true);
        near(meter.report(BootMs(5_000), None).age_ms, 3_000.0);
    }

    #[test]
    fn silence_reads_as_nothing_but_the_last_latency() {
        let mut meter = Meter::new(BootMs(0));
        meter.began(BootMs(10));
        meter.ended(BootMs(30), BootMs(10), true);
        meter.report(BootMs(100), None);
        let report = meter.report(BootMs(1_000_000), None);
        assert_eq!((report.inflight, report.rps, report.latency_ms), (0.0, 0.0, 20.0));
        meter.began(BootMs(999_000));
        assert_eq!(meter.report(BootMs(999_500), None).inflight, 0.0, "a clock that goes back moves nothing");
    }

    #[test]
    fn what_was_given_up_is_not_served() {
        let mut meter = Meter::new(BootMs(0));
        meter.began(BootMs(0));
        meter.ended(BootMs(10), BootMs(0), false);
        let report = meter.report(BootMs(500), None);
        assert_eq!((report.served, report.rps, meter.in_flight()), (0, 0.0, 0));
    }
}
