//! How often one source may begin a handshake: a bucket of tokens for each source that is remembered. A pure machine:
//! it is told the time, and says who waits how long.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;
use terms::BootMs;

/// How often somebody is told of the same source.
const SAID_AGAIN: Duration = Duration::from_secs(60);

/// What one source may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// Count a second, in the long run.
    pub per_second: u32,
    /// Count at once, after a quiet time.
    pub burst: u32,
    /// The longest that somebody waits for a turn.
    pub patience: Duration,
}

/// There is no turn: it would come after [`Rate::patience`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOften {
    /// Whether that is news about this source.
    pub news: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// Until then the handshakes that it began are spread out at its rate: microseconds of the boot clock.
    paid_until: u64,
    /// Until then it is no news that it comes too often: microseconds of the boot clock.
    said_until: u64,
}

impl Known {
    /// From then on the source is like one that was never seen.
    fn over(&self) -> u64 {
        self.paid_until.max(self.said_until)
    }
}

/// The sources that came lately.
#[derive(Debug)]
pub(crate) struct Rates {
    rate: Rate,
    at_most: usize,
    known: BTreeMap<IpAddr, Known>,
    by_end: BTreeSet<(u64, IpAddr)>,
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Rates {
    /// Nobody came yet. So many sources are remembered: count.
    pub fn new(rate: Rate, at_most: usize) -> Self {
        Self { rate, at_most, known: BTreeMap::new(), by_end: BTreeSet::new() }
    }

    /// Somebody from this source wants to begin; after the returned time it is its turn.
    ///
    /// # Errors
    /// [`TooOften`] if it would have to wait too long; then it did not count.
    pub fn turn(&mut self, source: IpAddr, now: BootMs) -> Result<Duration, TooOften> {
        let now = now.0.saturating_mul(1000);
        let each = 1_000_000 / u64::from(self.rate.per_second.max(1));
        let at_once = each.saturating_mul(u64::from(self.rate.burst.saturating_sub(1)));
        let mut known = self.known.get(&source).copied().unwrap_or_default();
        let paid_until = known.paid_until.max(now);
        let wait = (paid_until - now).saturating_sub(at_once);
        let answer = if wait <= microseconds(self.rate.patience) {
            known.paid_until = paid_until.saturating_add(each);
            Ok(Duration::from_micros(wait))
        } else {
            let news = known.said_until <= now;
            if news {
                known.said_until = now.saturating_add(microseconds(SAID_AGAIN));
            }
            Err(TooOften { news })
        };
        self.remember(source, known, now);
        answer
    }

    /// Whoever owes nothing is forgotten; of too many the one that owes least.
    fn remember(&mut self, source: IpAddr, known: Known, now: u64) {
        if let Some(former) = self.known.insert(source, known) {
            self.by_end.remove(&(former.over(), source));
        }
        self.by_end.insert((known.over(), source));
        while let Some((end, first)) = self.by_end.first().copied()
            && (end <= now || self.known.len() > self.at_most)
        {
            self.by_end.remove(&(end, first));
            self.known.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 100, burst: 5, patience: Duration::from_millis(30) };

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn at_once(rates: &mut Rates, source: IpAddr, now: BootMs) -> Vec<Result<u128, bool>> {
        let turn = |_| rates.turn(source, now).map(|wait| wait.as_millis()).map_err(|too_often| too_often.news);
        (0..10).map(turn).collect()
    }

    #[test]
    fn a_burst_then_a_queue_then_no_more_and_only_for_who_comes_too_often() {
        let mut rates = Rates::new(RATE, 10);
        let first: Vec<_> =
            [0, 0, 0, 0, 0, 10, 20, 30].map(Ok).into_iter().chain([Err(true), Err(false)]).collect();
        assert_eq!(at_once(&mut rates, source(1), BootMs(1000)), first);
        assert_eq!(rates.turn(source(2), BootMs(1000)), Ok(Duration::ZERO), "another source");
        assert_eq!(rates.turn(source(1), BootMs(1010)), Ok(Duration::from_millis(30)), "one has had its turn");
        assert_eq!(rates.turn(source(1), BootMs(1010)), Err(TooOften { news: false }), "refusals do not count");
    }

    #[test]
    fn who_was_quiet_has_a_burst_again_and_is_news_again_after_a_minute() {
        let mut rates = Rates::new(RATE, 10);
        let first = at_once(&mut rates, source(1), BootMs(0));
        let second = at_once(&mut rates, source(1), BootMs(59_999));
        assert_eq!((second[7], second[8]), (Ok(30), Err(false)), "said less than a minute ago");
        assert_eq!(at_once(&mut rates, source(1), BootMs(120_000)), first);
    }

    #[test]
    fn in_the_long_run_a_source_has_its_rate() {
        let mut rates = Rates::new(RATE, 10);
        let admitted = (0..10_000).filter(|ms| rates.turn(source(1), BootMs(*ms)).is_ok()).count();
        assert!((1000..=1008).contains(&admitted), "{admitted} in 10 s: the rate, a burst and a queue");
    }

    #[test]
    fn of_too_many_sources_those_that_owe_least_are_forgotten() {
        let mut rates = Rates::new(RATE, 3);
        at_once(&mut rates, source(1), BootMs(0));
        for other in 2..200 {
            assert_eq!(rates.turn(source(other), BootMs(0)), Ok(Duration::ZERO));
            assert!(rates.known.len() <= 3 && rates.by_end.len() == rates.known.len());
        }
        assert!(rates.turn(source(1), BootMs(0)).is_err(), "the greedy one is not forgotten for them");
        rates.turn(source(1), BootMs(600_000)).expect("long after");
        assert_eq!((rates.known.len(), rates.by_end.len()), (1, 1), "who owes nothing is not remembered");
    }
}
