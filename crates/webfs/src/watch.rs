//! What a watcher and a volume's home say to each other: which changes there were below a path, or what was added to a
//! file. The answer is a stream of frames that goes on until one of both ends it; whoever was away names the change up to
//! which it has heard, and hears what came after.

use crate::model::Entry;
use serde::{Deserialize, Serialize};
use terms::{ChangeNumber, Epoch, Problem, VolumePath};

/// POST [`Watch`], answered with [`Seen`] frames: `/.webos/watch/NAME.REALM`.
pub const WATCH_ROUTE: &str = "/.webos/watch";

/// Asks to be told of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// This object and all below it.
    pub path: VolumePath,
    /// Up to where the watcher has heard: what came after is told first. From now on, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Heard>,
    /// The path is a file: its bytes from this offset on are told, and no changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u64>,
}

/// Up to where a watcher has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Heard {
    /// The volume's epoch.
    pub epoch: Epoch,
    /// The change number.
    pub change: ChangeNumber,
}

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// The watch begins, or goes on behind something that is not known any more.
    From {
        /// What is told from here on came after this.
        heard: Heard,
        /// Between what the watcher had heard and this there may have been changes that nobody can tell it.
        missed: bool,
    },
    /// These are not what they were.
    Changed {
        /// What the watcher has heard with this.
        heard: Heard,
        /// At most [`crate::limits::WATCH_EVENTS`].
        events: Vec<Event>,
    },
    /// The file goes on.
    Appended {
        /// Where.
        offset: u64,
        /// With what, at most [`crate::limits::WATCH_BYTES`].
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The file is shorter than what was told of it: it is told anew from its beginning.
    Shorter {
        /// Its length now: bytes.
        size: u64,
    },
    /// Nothing has happened; the home is there.
    Alive {
        /// What the watcher has heard.
        heard: Heard,
    },
    /// Nothing more is told.
    Ended {
        /// Why.
        problem: Problem,
    },
}

/// One path, as it is when this is told: at least as new as the change that is told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Which path.
    pub path: VolumePath,
    /// What is there; nothing if it is gone.
    pub entry: Option<Entry>,
}
