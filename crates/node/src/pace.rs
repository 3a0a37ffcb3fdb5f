//! How fast one realm's pages are taken: as fast as they come while a list is read, and slowly if there is no end of news.
//! A pure machine: it is told the time, and says how long to wait.

use crate::limits::{FEED_PAGES_AT_ONCE, FEED_PAGES_PER_SECOND};
use std::time::Duration;
use terms::BootMs;

/// What a reader has taken of one realm lately.
#[derive(Debug, Default)]
pub struct Pace {
    /// Until then what was taken is spread out at the rate: milliseconds of the boot clock.
    paid_until: u64,
}

impl Pace {
    /// A page is about to be asked for; how long that has to wait.
    pub fn turn(&mut self, now: BootMs) -> Duration {
        let each = 1000 / FEED_PAGES_PER_SECOND;
        let paid_until = self.paid_until.max(now.0);
        self.paid_until = paid_until.saturating_add(each);
        let wait = (paid_until - now.0).saturating_sub(each * (FEED_PAGES_AT_ONCE - 1));
        Duration::from_millis(wait.min(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_list_is_read_at_once_and_endless_news_at_the_rate() {
        let (mut pace, mut now) = (Pace::default(), BootMs(5000));
        assert!((0..FEED_PAGES_AT_ONCE).all(|_| pace.turn(now).is_zero()));
        for _ in 0..100 {
            let wait = pace.turn(now);
            assert_eq!(wait.as_millis(), u128::from(1000 / FEED_PAGES_PER_SECOND));
            now = BootMs(now.0 + u64::try_from(wait.as_millis()).expect("short"));
        }
        let later = BootMs(now.0 + 1000 * FEED_PAGES_AT_ONCE / FEED_PAGES_PER_SECOND);
        assert!((0..FEED_PAGES_AT_ONCE).all(|_| pace.turn(later).is_zero()), "after a quiet time");
    }
}
