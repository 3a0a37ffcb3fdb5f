//! The last changes of a volume, in memory: which paths each touched, for those who watch.
//! It is bounded; whoever asks for more than is kept is told that something is missing. It knows nothing of before the
//! store was opened.

use crate::gate::Touched;
use crate::limits::{HISTORY_BYTES, HISTORY_CHANGES};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terms::{ChangeNumber, VolumePath};
use tokio::sync::watch;

/// What one path costs beside its text: bytes, roughly.
const PATH_BYTES: usize = 64;

/// What one commit touched, up to this change number.
#[derive(Debug)]
struct Commit {
    upto: ChangeNumber,
    touched: Arc<[Touched]>,
    bytes: usize,
}

#[derive(Debug)]
struct Ring {
    commits: VecDeque<Commit>,
    bytes: usize,
    /// All changes above this number are here.
    from: ChangeNumber,
    present: ChangeNumber,
}

/// What happened after a change number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// What was touched, in order.
    pub touched: Vec<Arc<[Touched]>>,
    /// The change number that this takes in.
    pub upto: ChangeNumber,
    /// Something before these was forgotten already.
    pub missed: bool,
}

/// The last changes.
#[derive(Debug)]
pub(super) struct History {
    ring: Mutex<Ring>,
    tell: watch::Sender<ChangeNumber>,
}

impl History {
    /// Nothing is known of how this number was reached.
    pub(super) fn new(change: ChangeNumber) -> Self {
        let ring = Ring { commits: VecDeque::new(), bytes: 0, from: change, present: change };
        Self { ring: Mutex::new(ring), tell: watch::Sender::new(change) }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction has committed, and every lookup from here on shows it.
    pub(super) fn note(&self, upto: ChangeNumber, touched: Vec<Touched>) {
        {
            let mut ring = self.ring();
            ring.present = upto;
            let bytes = touched.iter().map(weight).sum::<usize>();
            ring.bytes += bytes;
            ring.commits.push_back(Commit { upto, touched: touched.into(), bytes });
            while ring.commits.len() > HISTORY_CHANGES || ring.bytes > HISTORY_BYTES {
                let Some(oldest) = ring.commits.pop_front() else { break };
                ring.bytes -= oldest.bytes;
                ring.from = oldest.upto;
            }
        }
        // With nobody who watches there is nobody to tell.
        self.tell.send_replace(upto);
    }

    /// What happened after this number. One from the future is of another history: something is missing.
    pub(super) fn since(&self, after: ChangeNumber) -> Since {
        let ring = self.ring();
        let first = ring.commits.partition_point(|commit| commit.upto <= after);
        let touched = ring.commits.range(first..).map(|commit| commit.touched.clone()).collect();
        Since { touched, upto: ring.present, missed: after < ring.from || after > ring.present }
    }

    /// Changes whenever something was committed.
    pub(super) fn follow(&self) -> watch::Receiver<ChangeNumber> {
        self.tell.subscribe()
    }
}

fn weight(touched: &Touched) -> usize {
    let cost = |path: &VolumePath| PATH_BYTES + path.as_str().len();
    touched.objects.iter().chain(&touched.subtrees).map(cost).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(path: &str) -> Vec<Touched> {
        vec![Touched::objects([VolumePath::new(path).expect("valid")])]
    }

    #[test]
    fn what_is_kept_and_what_is_missed() {
        let history = History::new(ChangeNumber(5));
        assert_eq!(history.since(ChangeNumber(5)), Since { touched: vec![], upto: ChangeNumber(5), missed: false });
        assert!(history.since(ChangeNumber(4)).missed, "of before the start nothing is known");
        history.note(ChangeNumber(7), touched("a"));
        history.note(ChangeNumber(8), touched("b"));
        for (after, count, missed) in [(4, 2, true), (5, 2, false), (6, 2, false), (7, 1, false), (8, 0, false)] {
            let since = history.since(ChangeNumber(after));
            assert_eq!((since.touched.len(), since.missed), (count, missed), "after {after}");
            assert_eq!(since.upto, ChangeNumber(8));
        }
        assert!(history.since(ChangeNumber(9)).missed, "nobody can have seen what did not happen");
    }

    #[test]
    fn it_is_bounded_by_count_and_by_bytes() {
        let history = History::new(ChangeNumber(0));
        let most = HISTORY_CHANGES as u64;
        (1..=most + 10).for_each(|number| history.note(ChangeNumber(number), touched("a")));
        assert_eq!(history.ring().commits.len(), HISTORY_CHANGES);
        assert!(history.since(ChangeNumber(9)).missed);
        assert!(!history.since(ChangeNumber(10)).missed);
        let long = vec!["n".repeat(200); 5].join("/");
        let many = HISTORY_BYTES / 1000 + 10;
        (1..=many as u64).for_each(|number| history.note(ChangeNumber(most + 10 + number), touched(&long)));
        assert!(history.ring().bytes <= HISTORY_BYTES);
        assert!(history.ring().commits.len() < HISTORY_CHANGES);
    }
}
