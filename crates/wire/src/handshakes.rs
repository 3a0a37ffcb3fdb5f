//! Handshakes that are not finished: bounded, and the one begun longest ago gives way to a new one.
//!
//! An honest handshake takes a few round trips, so a flood of silent connections loses its own. Were new ones to
//! wait instead, a few silent connections would keep everybody out.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct Waiting {
    next: u64,
    begun: BTreeMap<u64, CancellationToken>,
}

/// The unfinished handshakes of one listener.
pub(crate) struct Handshakes {
    at_most: usize,
    waiting: Mutex<Waiting>,
}

impl Handshakes {
    /// None yet.
    pub fn new(at_most: usize) -> Self {
        Self { at_most, waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handshake begins; another may have to end for it.
    pub fn begin(&self) -> Begun<'_> {
        let ended = CancellationToken::new();
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        waiting.begun.insert(number, ended.clone());
        if waiting.begun.len() > self.at_most
            && let Some((_, oldest)) = waiting.begun.pop_first()
        {
            oldest.cancel();
        }
        Begun { all: self, number, ended }
    }
}

/// One handshake; it counts as unfinished until this is dropped.
pub(crate) struct Begun<'a> {
    all: &'a Handshakes,
    number: u64,
    ended: CancellationToken,
}

impl Begun<'_> {
    /// Resolves when this handshake has to give way.
    pub async fn must_end(&self) {
        self.ended.cancelled().await;
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.all.waiting().begun.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way_and_what_is_finished_does_not_count() {
        let all = Handshakes::new(2);
        let (first, second) = (all.begin(), all.begin());
        assert!(!first.ended.is_cancelled());
        let third = all.begin();
        assert!(first.ended.is_cancelled() && !second.ended.is_cancelled() && !third.ended.is_cancelled());
        drop(third);
        let fourth = all.begin();
        assert!(!second.ended.is_cancelled() && !fourth.ended.is_cancelled());
    }
}
