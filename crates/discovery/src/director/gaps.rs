//! The last silences of one server, to tell a stall from its usual pace.

use std::time::Duration;

/// How many are remembered.
const KEPT: usize = 128;

/// A ring of durations.
#[derive(Debug, Clone, Default)]
pub struct Gaps {
    millis: Vec<u32>,
    next: usize,
}

impl Gaps {
    /// Adds one.
    pub fn add(&mut self, gap: Duration) {
        let millis = u32::try_from(gap.as_millis()).unwrap_or(u32::MAX);
        if self.millis.len() < KEPT {
            self.millis.push(millis);
        } else {
            self.millis[self.next] = millis;
        }
        self.next = (self.next + 1) % KEPT;
    }

    /// The duration that 99 of 100 do not exceed; nothing before the first.
    pub fn p99(&self) -> Option<Duration> {
        let mut sorted = self.millis.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * 99).div_ceil(100).checked_sub(1)?;
        sorted.get(rank).map(|millis| Duration::from_millis(u64::from(*millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_of_100() {
        let mut gaps = Gaps::default();
        assert_eq!(gaps.p99(), None);
        gaps.add(Duration::from_millis(7));
        assert_eq!(gaps.p99(), Some(Duration::from_millis(7)));
        for ms in 1..=300u64 {
            gaps.add(Duration::from_millis(ms));
        }
        assert_eq!(gaps.p99(), Some(Duration::from_millis(299)), "only the last 128 count: 173..=300");
    }
}
