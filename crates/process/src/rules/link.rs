//! A stated link: how long the next bytes have to wait so that a rate is kept. Virtual scheduling (the generic
//! cell rate algorithm of ATM): one number, the time at which the link is free again.

use crate::limits::{LINK_BURST, MIN_LINK_BITS_PER_S};
use std::time::Duration;
use terms::BootMs;

/// A link of a rate. Whoever sends takes first and then waits; several senders share it in turn.
#[derive(Debug, Clone)]
pub struct Link {
    bits_per_s: u64,
    free_at_ns: u64,
}

fn ns(time: BootMs) -> u64 {
    time.0.saturating_mul(1_000_000)
}

impl Link {
    /// A link of so many bits per second, at least [`MIN_LINK_BITS_PER_S`].
    pub fn new(bits_per_s: u64) -> Self {
        Self { bits_per_s: bits_per_s.max(MIN_LINK_BITS_PER_S), free_at_ns: 0 }
    }

    /// The rate: bits per second.
    pub fn bits_per_s(&self) -> u64 {
        self.bits_per_s
    }

    /// Takes so many bytes now and says how long to wait before sending them.
    pub fn take(&mut self, now: BootMs, bytes: u64) -> Duration {
        let burst_ns = u64::try_from(LINK_BURST.as_nanos()).unwrap_or(u64::MAX);
        let earliest = ns(now).saturating_sub(burst_ns);
        let nanos = u128::from(bytes) * 8_000_000_000;
        let cost = u64::try_from(nanos.div_ceil(u128::from(self.bits_per_s))).unwrap_or(u64::MAX);
        self.free_at_ns = self.free_at_ns.max(earliest).saturating_add(cost);
        Duration::from_nanos(self.free_at_ns.saturating_sub(ns(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::World;

    /// A closed loop that waits as told, in whole milliseconds as timers do, for one second.
    fn sent_in_a_second(link: &mut Link, chunk: u64, start: u64) -> u64 {
        let (mut now, mut sent) = (start, 0);
        while now < start + 1_000 {
            let wait = link.take(BootMs(now), chunk);
            now += u64::try_from(wait.as_nanos().div_ceil(1_000_000)).expect("small");
            sent += chunk;
        }
        sent
    }

    #[test]
    fn the_rate_is_kept_whatever_the_chunk() {
        for (rate, chunk) in
            [(100_000_000, 16 << 10), (100_000_000, 1 << 20), (10_000_000, 1_400), (1_000_000_000, 1)]
        {
            let mut link = Link::new(rate);
            if chunk == 1 {
                // Many small sends at one moment cost what one large one does.
                let total: Duration = (0..1_000).map(|_| link.take(BootMs(1_000), 1)).last().expect("some");
                assert!(total <= Duration::from_micros(8), "{total:?}");
                continue;
            }
            let sent = sent_in_a_second(&mut link, chunk, 5_000);
            let allowed = rate / 8 + rate / 8 / 100 + 2 * chunk;
            assert!(sent <= allowed && sent + 2 * chunk >= rate / 8, "{rate} {chunk}: {sent}");
        }
    }

    #[test]
    fn a_pause_gives_a_burst_and_no_more() {
        let mut link = Link::new(8_000_000);
        link.take(BootMs(1_000), 1_000_000);
        assert_eq!(link.take(BootMs(60_000), 10_000), Duration::ZERO, "ten milliseconds of 1 MB/s");
        assert_eq!(link.take(BootMs(60_000), 10_000), Duration::from_millis(10));
    }

    #[test]
    fn senders_share_it() {
        let (world, _) = World::simulated(3);
        let mut link = Link::new(100_000_000);
        let mut ready: Vec<(u64, u64)> = (0..4).map(|_| (0, 0)).collect();
        for now in 0..1_000 {
            let first = usize::try_from(world.entropy.number() % 4).expect("small");
            for index in (0..4).map(|step| (first + step) % 4) {
                let (at, sent) = &mut ready[index];
                if *at <= now {
                    *at = now + u64::try_from(link.take(BootMs(now), 16 << 10).as_millis()).expect("small").max(1);
                    *sent += 16 << 10;
                }
            }
        }
        let (least, most) = (ready.iter().map(|r| r.1).min(), ready.iter().map(|r| r.1).max());
        assert!(least.zip(most).is_some_and(|(least, most)| least * 3 >= most), "{ready:?}");
    }
}
