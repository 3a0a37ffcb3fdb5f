//! Who has requests in flight at a front: how many in all, and how many from one source. Whoever may read a service
//! may not keep all others from it.

use crate::limits::{MAX_FRONT_REQUESTS, MAX_SOURCE_REQUESTS};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// All are taken.
    #[error("{MAX_FRONT_REQUESTS} requests are in flight here, and no more are served at once")]
    Front,
    /// The source has its share.
    #[error("{MAX_SOURCE_REQUESTS} requests from your address are in flight here, and no more are served at once")]
    Source,
}

#[derive(Debug, Default)]
struct Present {
    all: usize,
    by_source: BTreeMap<IpAddr, usize>,
}

/// The requests in flight at one front.
#[derive(Debug, Default)]
pub struct Crowd(Mutex<Present>);

/// One request in flight: its place is free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    crowd: Arc<Crowd>,
    source: IpAddr,
}

/// What one party usually holds: an IPv4 address, or the /64 of an IPv6 address.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Crowd {
    fn present(&self) -> MutexGuard<'_, Present> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a request from this address.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Seat, Full> {
        let source = source(address);
        let mut present = self.present();
        if present.all >= MAX_FRONT_REQUESTS {
            return Err(Full::Front);
        }
        let own = present.by_source.entry(source).or_default();
        if *own >= MAX_SOURCE_REQUESTS {
            return Err(Full::Source);
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

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn fill(crowd: &Arc<Crowd>, from: &str, count: usize) -> Vec<Seat> {
        (0..count).map(|_| crowd.enter(address(from)).expect("a place")).collect()
    }

    #[test]
    fn one_source_cannot_take_all_places() {
        let crowd = Arc::new(Crowd::default());
        let mut greedy = fill(&crowd, "192.0.2.1", MAX_SOURCE_REQUESTS);
        assert_eq!(crowd.enter(address("192.0.2.1")).expect_err("its share"), Full::Source);
        assert_eq!(crowd.enter(address("::ffff:192.0.2.1")).expect_err("the same address"), Full::Source);
        let _other = crowd.enter(address("192.0.2.2")).expect("others still have places");
        greedy.pop();
        assert!(crowd.enter(address("192.0.2.1")).is_ok(), "what has ended does not count");

        let _wide = fill(&crowd, "2001:db8:1:2::1", MAX_SOURCE_REQUESTS);
        assert_eq!(crowd.enter(address("2001:db8:1:2:ffff::9")).expect_err("one /64"), Full::Source);
        assert!(crowd.enter(address("2001:db8:1:3::1")).is_ok(), "another /64");
    }

    #[test]
    fn there_is_an_end_for_all_together_and_nobody_is_remembered() {
        let crowd = Arc::new(Crowd::default());
        let sources = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
        let seats: Vec<_> = sources.iter().map(|from| fill(&crowd, from, MAX_SOURCE_REQUESTS)).collect();
        assert_eq!(crowd.enter(address("192.0.2.5")).expect_err("full"), Full::Front);
        drop(seats);
        assert!(crowd.present().by_source.is_empty() && crowd.present().all == 0);
    }
}
