//! What an advisory lock is: who wants which bytes of what, and the epoch under which it was granted.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use terms::{Code, Epoch, Problem, VolumePath};

/// Names one grant of a lock. Later grants of a volume are greater, also after a restart of its home and under a new
/// epoch of the volume. A change that names one is refused when that lock is not held any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LockEpoch {
    /// The volume's epoch.
    pub epoch: Epoch,
    /// Rises with each grant.
    pub number: u64,
}

impl fmt::Display for LockEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch.0, self.number)
    }
}

impl FromStr for LockEpoch {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let parsed = text.split_once('.').and_then(|(epoch, number)| {
            Some(Self { epoch: Epoch(epoch.parse().ok()?), number: number.parse().ok()? })
        });
        parsed.ok_or_else(|| Problem::new(Code::Invalid, "a lock's epoch is two numbers with a '.' between them"))
    }
}

/// Whether others may hold the same lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// With others that share it.
    Shared,
    /// Alone.
    Exclusive,
}

/// Bytes of a file: from the first to the one before the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockSpan {
    /// The first byte.
    pub from: u64,
    /// The byte after the last.
    pub to: u64,
}

impl LockSpan {
    /// All of a file, whatever its length becomes.
    pub const WHOLE: Self = Self { from: 0, to: u64::MAX };

    fn overlaps(self, other: Self) -> bool {
        self.from < other.to && other.from < self.to
    }
}

/// What somebody wants to lock, or has locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockWish {
    /// The name that is locked; whether something lies there is no matter.
    pub path: VolumePath,
    /// Whether others may share it.
    pub mode: LockMode,
    /// Which bytes.
    pub span: LockSpan,
    /// Tells the owners within one session apart.
    pub owner: u64,
}

impl LockWish {
    /// The whole of a file.
    pub fn whole(path: VolumePath, mode: LockMode, owner: u64) -> Self {
        Self { path, mode, span: LockSpan::WHOLE, owner }
    }

    /// Whether both cannot be held at once by different owners.
    pub fn conflicts(&self, other: &Self) -> bool {
        let shared = self.mode == LockMode::Shared && other.mode == LockMode::Shared;
        !shared && self.overlaps(other)
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.path == other.path && self.span.overlaps(other.span)
    }
}

/// A lock that a holder had before its stream ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockClaim {
    /// The grant.
    pub epoch: LockEpoch,
    /// What was granted.
    pub wish: LockWish,
}

/// Why a lock was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum LockRefusal {
    /// Others held it as long as the asker would wait.
    #[error("somebody else holds the lock")]
    Held,
    /// The same owner holds a lock on some of these bytes.
    #[error("this owner holds the lock already: unlock it first")]
    Yours,
    /// Too many locks, or too many that wait.
    #[error("there are as many locks, or as many that wait for this one, as there may be")]
    Full,
    /// The asker may not read the object.
    #[error("the right r is needed to lock it")]
    Denied,
    /// The answering server is no home.
    #[error("a relay grants no locks: ask the volume's home")]
    Relay,
    /// The bytes end before they begin.
    #[error("a lock must cover at least one byte")]
    Empty,
}
