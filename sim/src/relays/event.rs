//! What can happen in the world of relays.

use crate::scheduler::NodeId;
use terms::{ChangeNumber, VolumePath};
use webfs::model::ObjectVersion;
use webfs::rules::{Answer, Down, Hello, Up};

/// An event, at the node that the scheduler names with it.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Fault,
    Heal,
    Write,
    Read,
    Start,
    Tick {
        life: u64,
    },
    Connect {
        life: u64,
    },
    StreamOpened {
        life: u64,
        stream: u64,
    },
    StreamLost {
        life: u64,
        stream: u64,
    },
    /// A frame from above.
    FromAbove {
        life: u64,
        stream: u64,
        message: Down,
    },
    Dropped {
        life: u64,
        connection: u64,
        change: ChangeNumber,
        objects: Vec<VolumePath>,
    },
    Answered {
        life: u64,
        request: u64,
        answer: Answer,
    },
    /// Frames from below.
    Greeted {
        stream: u64,
        hello: Hello,
        from: NodeId,
    },
    Told {
        stream: u64,
        hello: Hello,
        message: Up,
    },
    Opened(Open),
    ReadStore {
        life: u64,
        open: Open,
        change: ChangeNumber,
        callback: bool,
    },
    Compare {
        life: u64,
        hello: Hello,
        request: u64,
        change: ChangeNumber,
        objects: Vec<(VolumePath, ObjectVersion)>,
    },
    Commit {
        life: u64,
        token: u64,
    },
}

/// A request of a holder for an object.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) from: NodeId,
    pub(super) life: u64,
    pub(super) request: u64,
    pub(super) stream: Option<Hello>,
    pub(super) object: VolumePath,
}

impl Event {
    /// The process that it is meant for; what was meant for an earlier one is dropped.
    pub(super) fn life(&self) -> Option<u64> {
        match self {
            Self::Tick { life }
            | Self::Connect { life }
            | Self::StreamOpened { life, .. }
            | Self::StreamLost { life, .. }
            | Self::FromAbove { life, .. }
            | Self::Dropped { life, .. }
            | Self::Answered { life, .. }
            | Self::ReadStore { life, .. }
            | Self::Compare { life, .. }
            | Self::Commit { life, .. } => Some(*life),
            _ => None,
        }
    }
}
