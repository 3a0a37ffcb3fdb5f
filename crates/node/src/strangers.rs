//! How much peers without a certificate may ask of the open routes: so many requests a second in all and from one source,
//! and so many waiting for news. Peers with a certificate have places of their own, so that no stranger keeps a node from
//! hearing what a realm takes back.

use crate::limits::{
    MAX_SOURCE_READERS, MAX_WAITING_READERS, OPEN_REQUESTS_OF_ONE_SOURCE, OPEN_REQUESTS_PER_SECOND,
};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use terms::{BootMs, Code, Problem};
use wire::{Crowd, Seat};

/// Requests of the second that runs, by source. It never remembers more sources than it admits requests.
#[derive(Debug, Default)]
pub struct OpenRequests(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    second: u64,
    all: u32,
    by_source: HashMap<IpAddr, u32>,
}

impl OpenRequests {
    /// Counts a request; one too many is refused.
    ///
    /// # Errors
    /// [`Code::Busy`].
    pub fn admit(&self, now: BootMs, from: IpAddr) -> Result<(), Problem> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.0 / 1000;
        if counted.second != second {
            *counted = Second { second, ..Second::default() };
        }
        let busy = |most: u32, whose: &str| {
            let what = format!("more than {most} requests a second without a certificate{whose}");
            Err(Problem::new(Code::Busy, what).next("try again in a second"))
        };
        if counted.all >= OPEN_REQUESTS_PER_SECOND {
            return busy(OPEN_REQUESTS_PER_SECOND, "");
        }
        let own = counted.by_source.entry(wire::source(from)).or_default();
        if *own >= OPEN_REQUESTS_OF_ONE_SOURCE {
            return busy(OPEN_REQUESTS_OF_ONE_SOURCE, " from your network");
        }
        *own += 1;
        counted.all += 1;
        Ok(())
    }
}

/// The places of readers that wait for news.
#[derive(Debug)]
pub struct WaitingReaders {
    members: Arc<Crowd>,
    strangers: Arc<Crowd>,
}

impl WaitingReaders {
    /// All places are free.
    pub fn new() -> Self {
        Self {
            members: Arc::new(Crowd::new(MAX_WAITING_READERS, MAX_WAITING_READERS)),
            strangers: Arc::new(Crowd::new(MAX_WAITING_READERS, MAX_SOURCE_READERS)),
        }
    }

    /// A place, if there is one.
    pub fn enter(&self, certified: bool, from: IpAddr) -> Option<Seat> {
        let crowd = if certified { &self.members } else { &self.strangers };
        crowd.enter(from).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_source_of_strangers_keeps_no_other_from_asking() {
        let open = OpenRequests::default();
        let ask = |at: u64, from: &str| open.admit(BootMs(at), address(from));
        assert!((0..OPEN_REQUESTS_OF_ONE_SOURCE).all(|_| ask(5000, "2001:db8::1").is_ok()));
        assert_eq!(ask(5999, "2001:db8::2").map_err(|busy| busy.code), Err(Code::Busy), "the same /64");
        ask(5999, "192.0.2.1").expect("another source");
        ask(6000, "2001:db8::1").expect("the next second");
    }

    #[test]
    fn all_strangers_together_are_bounded_and_so_is_what_is_remembered() {
        let open = OpenRequests::default();
        let ask = |n: u32| open.admit(BootMs(5000), std::net::Ipv4Addr::from_bits(n).into());
        assert_eq!((0..2 * OPEN_REQUESTS_PER_SECOND).filter(|n| ask(*n).is_ok()).count(), 2000);
        assert_eq!(open.0.lock().expect("counted").by_source.len(), 2000);
    }

    #[test]
    fn strangers_that_wait_take_no_place_of_peers_with_a_certificate() {
        let (readers, one) = (WaitingReaders::new(), address("192.0.2.1"));
        let seats: Vec<_> = std::iter::from_fn(|| readers.enter(false, one)).collect();
        assert_eq!(seats.len(), MAX_SOURCE_READERS);
        assert!(readers.enter(false, address("192.0.2.2")).is_some(), "another stranger");
        assert!(readers.enter(true, one).is_some(), "a peer with a certificate");
    }
}
