//! What can happen in the world of leases.

use terms::{ChangeNumber, VolumePath};
use webfs::model::ObjectVersion;
use webfs::rules::{Answer, Down, Hello, LockEpoch, Up};

/// An event, at the node that the scheduler names with it. `life` numbers a process of a node: what was meant for
/// an earlier one is dropped.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// Something breaks.
    Fault,
    /// Faults end; from here on there must be progress.
    Heal,
    /// A writer asks for a change.
    Write,
    /// The home's process starts.
    HomeStart,
    /// A home that was told to stop gives up waiting for its holders.
    HomeStopped {
        life: u64,
    },
    HomeTick {
        life: u64,
    },
    /// A frame arrives at the home.
    Greeted {
        stream: u64,
        hello: Hello,
        holder: usize,
    },
    Told {
        stream: u64,
        hello: Hello,
        message: Up,
    },
    /// An open arrives at the home.
    Opened(Open),
    /// The home reads its store for an open that was granted.
    ReadStore {
        life: u64,
        open: Open,
        change: ChangeNumber,
        callback: bool,
    },
    CompareStore {
        life: u64,
        hello: Hello,
        request: u64,
        change: ChangeNumber,
        objects: Vec<(VolumePath, ObjectVersion)>,
    },
    /// The home commits an admitted change, or gives it up.
    Commit {
        life: u64,
        token: u64,
        change: ChangeNumber,
        given_up: bool,
    },
    /// A writer gives up while its change waits.
    GiveUp {
        life: u64,
        token: u64,
    },
    HolderStart,
    HolderTick {
        life: u64,
    },
    /// A holder without a stream tries to open one.
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
    /// A frame arrives at a holder.
    HolderTold {
        life: u64,
        stream: u64,
        message: Down,
    },
    /// Below the holder nobody uses the recalled objects any more.
    Dropped {
        life: u64,
        connection: u64,
        change: ChangeNumber,
        objects: Vec<VolumePath>,
    },
    /// A reader comes to a holder.
    Read,
    /// Somebody at a holder begins work under a lock.
    Work,
    CancelLock {
        life: u64,
        waiter: u64,
    },
    /// The number to be written under a lock is known.
    SendWrite(LockedWrite),
    /// It arrives at the home.
    Writes(LockedWrite),
    /// It is answered, or given up.
    Written {
        life: u64,
        epoch: LockEpoch,
        done: bool,
    },
    Answered {
        life: u64,
        request: u64,
        answer: Answer,
    },
}

/// The next number for an object, written under a lock.
#[derive(Debug, Clone)]
pub(super) struct LockedWrite {
    pub(super) holder: usize,
    pub(super) life: u64,
    /// Names it: it is applied once.
    pub(super) operation: u64,
    pub(super) epoch: LockEpoch,
    pub(super) object: VolumePath,
    pub(super) value: u64,
}

/// A request of a holder for an object.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) holder: usize,
    pub(super) life: u64,
    pub(super) request: u64,
    pub(super) stream: Option<Hello>,
    pub(super) object: VolumePath,
}
