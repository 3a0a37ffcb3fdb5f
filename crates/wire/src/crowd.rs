//! How many of a bounded number of places one source may take: whoever may come in may not keep all others out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// So many are taken, and that is all.
    All(usize),
    /// The source has so many, which is its share.
    Source(usize),
}

#[derive(Debug, Default)]
struct Present {
    all: usize,
    by_source: BTreeMap<IpAddr, usize>,
}

/// Places, and who has them. A source is an IPv4 address, or a /64 of IPv6.
#[derive(Debug)]
pub struct Crowd {
    at_most: usize,
    of_one_source: usize,
    present: Mutex<Present>,
}

/// One place: free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    crowd: Arc<Crowd>,
    source: IpAddr,
}

/// What one party usually holds: an IPv4 address, or the /64 of an IPv6 address.
pub fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Crowd {
    /// So many places, of which one source may have so many: counts.
    pub fn new(at_most: usize, of_one_source: usize) -> Self {
        Self { at_most, of_one_source, present: Mutex::default() }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for somebody at this address.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Seat, Full> {
        let source = source(address);
        let mut present = self.present();
        if present.all >= self.at_most {
            return Err(Full::All(self.at_most));
        }
        let own = present.by_source.entry(source).or_default();
        if *own >= self.of_one_source {
            return Err(Full::Source(self.of_one_source));
        }
        *own += 1;
        present.all += 1;
        Ok(Seat { crowd: self.clone(), source })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut present = self.crowd.present();
        present.all -= 1;
        if let Some(own) = present.by_source.get_mut(&self.source) {
            *own -= 1;
            if *own == 0 {
                present.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = 40;
    const SHARE: usize = 10;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn fill(crowd: &Arc<Crowd>, from: &str, count: usize) -> Vec<Seat> {
        (0..count).map(|_| crowd.enter(address(from)).expect("a place")).collect()
    }

    #[test]
    fn one_source_cannot_take_all_places() {
        let crowd = Arc::new(Crowd::new(ALL, SHARE));
        let mut greedy = fill(&crowd, "192.0.2.1", SHARE);
        assert_eq!(crowd.enter(address("192.0.2.1")).expect_err("its share"), Full::Source(SHARE));
        assert_eq!(crowd.enter(address("::ffff:192.0.2.1")).expect_err("the same address"), Full::Source(SHARE));
        let _other = crowd.enter(address("192.0.2.2")).expect("others still have places");
        greedy.pop();
        assert!(crowd.enter(address("192.0.2.1")).is_ok(), "what has ended does not count");

        let _wide = fill(&crowd, "2001:db8:1:2::1", SHARE);
        assert_eq!(crowd.enter(address("2001:db8:1:2:ffff::9")).expect_err("one /64"), Full::Source(SHARE));
        assert!(crowd.enter(address("2001:db8:1:3::1")).is_ok(), "another /64");
    }

    #[test]
    fn there_is_an_end_for_all_together_and_nobody_is_remembered() {
        let crowd = Arc::new(Crowd::new(ALL, SHARE));
        let sources = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
        let seats: Vec<_> = sources.iter().map(|from| fill(&crowd, from, SHARE)).collect();
        assert_eq!(crowd.enter(address("192.0.2.5")).expect_err("full"), Full::All(ALL));
        drop(seats);
        assert!(crowd.present().by_source.is_empty() && crowd.present().all == 0);
    }
}
