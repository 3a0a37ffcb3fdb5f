//! What the clients of a surge measure: counts without locks, taken once a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets for each doubling of the latency: values within one differ by at most an eighth.
const STEPS: u64 = 8;
/// The shortest latency told apart: microseconds.
const FIRST_US: u64 = 100;
/// Doublings from [`FIRST_US`]: up to 100 s.
const DOUBLINGS: u64 = 20;
#[allow(clippy::cast_possible_truncation)] // a small constant
const BUCKETS: usize = (STEPS * DOUBLINGS) as usize + 1;

/// Latencies and outcomes, from any number of tasks.
#[derive(Debug)]
pub struct Meter {
    buckets: Box<[AtomicU64]>,
    sum_us: AtomicU64,
    sent: AtomicU64,
    failed: AtomicU64,
}

impl Default for Meter {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, sum_us: AtomicU64::new(0), sent: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }
}

/// What was measured since the last time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Mean: milliseconds.
    pub mean_ms: f64,
    /// 99th percentile, at most an eighth too long: milliseconds.
    pub p99_ms: f64,
}

fn bucket(us: u64) -> usize {
    let (mut low, mut index) = (FIRST_US, 0);
    for _ in 0..DOUBLINGS {
        if us < 2 * low {
            let step = us.saturating_sub(low) * STEPS / low;
            return usize::try_from(index + step).unwrap_or(BUCKETS - 1);
        }
        (low, index) = (2 * low, index + STEPS);
    }
    BUCKETS - 1
}

/// The longest latency of a bucket: microseconds.
fn longest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let low = FIRST_US << (bucket / STEPS);
    low + low * (bucket % STEPS + 1) / STEPS
}

impl Meter {
    /// A request was answered.
    pub fn answered(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
        self.buckets[bucket(us)].fetch_add(1, Ordering::Relaxed);
    }

    /// A request failed.
    pub fn failed(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests sent, and those that failed, since the beginning.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// What was measured since the last call; nothing if no request was answered.
    #[allow(clippy::cast_precision_loss)] // latencies and counts of one second
    pub fn take(&self) -> Option<Sample> {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.swap(0, Ordering::Relaxed)).collect();
        let sum_us = self.sum_us.swap(0, Ordering::Relaxed);
        let count: u64 = counts.iter().sum();
        if count == 0 {
            return None;
        }
        let rank = count - count / 100;
        let mut seen = 0;
        let at = counts.iter().position(|in_bucket| {
            seen += in_bucket;
            seen >= rank
        });
        let p99_us = longest(at.unwrap_or(BUCKETS - 1));
        Some(Sample { mean_ms: sum_us as f64 / count as f64 / 1000.0, p99_ms: p99_us as f64 / 1000.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_ordered_and_close() {
        let mut last = 0;
        for us in (0..200_000).chain((200_000..200_000_000).step_by(9973)) {
            let bucket = bucket(us);
            assert!(bucket >= last && bucket < BUCKETS, "{us}");
            last = bucket;
            if (FIRST_US..100_000_000).contains(&us) {
                let longest = longest(bucket);
                assert!(longest >= us && longest <= us + us / 8 + 1, "{us}: {longest}");
            }
        }
    }

    #[test]
    fn mean_and_percentile_of_what_came_since() {
        let meter = Meter::default();
        assert_eq!(meter.take(), None);
        for ms in 1..=200 {
            meter.answered(Duration::from_millis(ms));
        }
        meter.failed();
        let sample = meter.take().expect("measured");
        assert!((sample.mean_ms - 100.5).abs() < 0.01, "{sample:?}");
        assert!((198.0..=224.0).contains(&sample.p99_ms), "{sample:?}");
        assert_eq!((meter.take(), meter.counts()), (None, (201, 1)));
    }
}
