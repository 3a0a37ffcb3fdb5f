//! The seam between writing and coherence: before a change is committed, its objects are recalled from their
//! holders, and until the commit has ended nobody is given a callback on them.
//! It relies on the store to tell the permit how the commit ended; it never decides rights.

use crate::rules::LockEpoch;
use futures_util::future::{BoxFuture, FutureExt};
use std::collections::BTreeSet;
use terms::{ChangeNumber, Code, Problem, VolumePath};

/// The objects that a change may touch: what must have been recalled when it is committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// Single objects.
    pub objects: BTreeSet<VolumePath>,
    /// Each of these and all below it.
    pub subtrees: BTreeSet<VolumePath>,
}

impl Touched {
    /// These objects.
    pub fn objects(paths: impl IntoIterator<Item = VolumePath>) -> Self {
        Self { objects: paths.into_iter().collect(), subtrees: BTreeSet::new() }
    }

    /// This object and all below it.
    pub fn subtree(top: VolumePath) -> Self {
        Self { objects: BTreeSet::new(), subtrees: BTreeSet::from([top]) }
    }

    /// The whole volume: for callers to whom nobody holds callbacks.
    pub fn everything() -> Self {
        Self::subtree(VolumePath::root())
    }

    /// Whether this object is among them.
    pub fn covers(&self, path: &VolumePath) -> bool {
        self.objects.contains(path) || self.subtrees.iter().any(|top| path.below(top).is_some())
    }

    /// Whether all that the other touches is among them.
    pub fn covers_all(&self, other: &Self) -> bool {
        let subtree_covered = |top: &VolumePath| self.subtrees.iter().any(|own| top.below(own).is_some());
        other.objects.iter().all(|path| self.covers(path)) && other.subtrees.iter().all(subtree_covered)
    }
}

/// How a permitted change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeEnd {
    /// It is durable, under this number.
    Committed(ChangeNumber),
    /// It did not happen.
    NotCommitted,
}

/// Held while a change is committed. The store calls [`ChangePermit::ended`] on its writer thread after the
/// transaction; it must not block. Dropped without that call, nothing was or will be committed.
pub trait ChangePermit: Send + 'static {
    /// The change has ended.
    fn ended(self: Box<Self>, end: ChangeEnd);
}

/// Recalls before changes.
pub trait ChangeGate: Send + Sync + 'static {
    /// Resolves when no holder trusts its copy of any of these objects any more; until the permit ends, none is
    /// given a callback on them.
    fn before_change(&self, touched: Touched) -> BoxFuture<'_, Result<Box<dyn ChangePermit>, Problem>>;

    /// The same for a change under an advisory lock: refused when the lock is not held any more. Until the permit
    /// ends the lock passes to nobody else. A gate that grants no locks refuses all.
    fn before_locked_change(
        &self,
        _touched: Touched,
        lock: LockEpoch,
    ) -> BoxFuture<'_, Result<Box<dyn ChangePermit>, Problem>> {
        std::future::ready(Err(lock_lost(lock))).boxed()
    }
}

/// The gate of a volume that nobody caches: lets everything pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ungated;

impl ChangePermit for Ungated {
    fn ended(self: Box<Self>, _end: ChangeEnd) {}
}

impl ChangeGate for Ungated {
    fn before_change(&self, _touched: Touched) -> BoxFuture<'_, Result<Box<dyn ChangePermit>, Problem>> {
        let permit: Box<dyn ChangePermit> = Box::new(Self);
        std::future::ready(Ok(permit)).boxed()
    }
}

/// What a change is told whose lock is not held any more.
pub fn lock_lost(lock: LockEpoch) -> Problem {
    Problem::new(Code::LockLost, format!("the lock {lock} was lost")).next("lock it again, read again, then write")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_covered() {
        let path = |text: &str| VolumePath::new(text).expect("valid");
        let mut touched = Touched::objects([path("a/b")]);
        touched.subtrees.insert(path("t"));
        for (text, expected) in
            [("a/b", true), ("a", false), ("a/b/c", false), ("t", true), ("t/x/y", true), ("tt", false)]
        {
            assert_eq!(touched.covers(&path(text)), expected, "{text}");
        }
        assert!(Touched::everything().covers_all(&touched));
        assert!(!touched.covers_all(&Touched::everything()));
        assert!(touched.covers_all(&Touched::subtree(path("t/x"))));
    }
}
