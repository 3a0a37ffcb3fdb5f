//! What happens to a holder, and what it must do: the events and actions of its machine.

use crate::model::{ObjectVersion, Policy};
use crate::rules::lock::{LockEpoch, LockRefusal, LockWish};
use crate::rules::message::{ByeReason, Down, Hello, Up};
use std::time::Duration;
use terms::{ChangeNumber, VolumePath};

/// What happens to a holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HolderEvent {
    /// A new stream to the home is open.
    Connected,
    /// The stream has ended.
    Lost {
        /// The stream.
        connection: u64,
    },
    /// A frame from the home.
    Told {
        /// The stream.
        connection: u64,
        /// The frame.
        message: Down,
    },
    /// What a recall named is trusted nowhere below this holder any more.
    Dropped {
        /// The stream on which the recall came.
        connection: u64,
        /// The recall's number.
        change: ChangeNumber,
        /// Its objects.
        objects: Vec<VolumePath>,
    },
    /// Somebody wants to read an object.
    Read {
        /// Returned in the answer.
        waiter: u64,
        /// The object.
        object: VolumePath,
    },
    /// A request has been answered, or has failed.
    Answered {
        /// The request.
        request: u64,
        /// What came.
        answer: Answer,
    },
    /// The cache holds this from before: to be re-registered.
    Load {
        /// The object.
        object: VolumePath,
        /// What the cache holds.
        version: ObjectVersion,
    },
    /// The cache does not hold this any more.
    Evict {
        /// The object.
        object: VolumePath,
    },
    /// Somebody wants a lock.
    Lock {
        /// Returned in the answer.
        waiter: u64,
        /// What is wanted.
        wish: LockWish,
        /// How long to wait while others hold it.
        wait: Duration,
    },
    /// Whoever wanted a lock waits no more.
    CancelLock {
        /// The request's waiter.
        waiter: u64,
    },
    /// Whoever held a lock gives it back.
    Unlock {
        /// The grant.
        epoch: LockEpoch,
    },
    /// The lease is to be renewed now, if no renewal is under way.
    Renew,
    /// A deadline may have passed.
    Tick,
    /// The holder gives up its session.
    Leave,
}

/// What a holder must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HolderAction {
    /// Send the first frame of a stream.
    Greet(Hello),
    /// Send a frame on this stream, if it is still the present one.
    Send {
        /// The stream.
        connection: u64,
        /// The frame.
        message: Up,
    },
    /// End this stream and open another one.
    Close {
        /// The stream.
        connection: u64,
        /// Why, if the home said so.
        reason: Option<ByeReason>,
    },
    /// Stop using copies of these below this holder, then say [`HolderEvent::Dropped`].
    Drop {
        /// The stream on which the recall came.
        connection: u64,
        /// The recall's number.
        change: ChangeNumber,
        /// Its objects.
        objects: Vec<VolumePath>,
    },
    /// Ask the home for an object. The stream is to be named in the request.
    Ask {
        /// Returned with the answer.
        request: u64,
        /// The stream on which the holder wants to be told of changes, if there is one.
        stream: Option<Hello>,
        /// The object.
        object: VolumePath,
    },
    /// The cached copy is valid: serve it.
    ServeCached {
        /// The read.
        waiter: u64,
        /// The object.
        object: VolumePath,
        /// The version of the valid copy.
        version: ObjectVersion,
    },
    /// Serve what the request's answer brought.
    ServeAnswer {
        /// The read.
        waiter: u64,
        /// The request whose answer it is.
        request: u64,
        /// Whether the cache may keep it.
        keep: bool,
    },
    /// The lock is held. What is read from now on shows what was published under it before.
    Locked {
        /// Who wanted it.
        waiter: u64,
        /// The grant.
        epoch: LockEpoch,
    },
    /// The lock is not granted.
    NotLocked {
        /// Who wanted it.
        waiter: u64,
        /// Why.
        failure: LockFailure,
    },
    /// A lock is held no more: whoever relied on it must not write.
    LockLost {
        /// The grant.
        epoch: LockEpoch,
    },
    /// The read fails.
    Fail {
        /// The read.
        waiter: u64,
        /// Why.
        failure: ReadFailure,
    },
}

/// What a request brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The object.
    Found {
        /// Its version.
        version: ObjectVersion,
        /// The change number of the grant.
        change: ChangeNumber,
        /// Whether the home gave a callback.
        callback: bool,
    },
    /// The object, which may be used for a time without asking: nobody tells of its changes.
    Unasked {
        /// Its version.
        version: ObjectVersion,
        /// The change number of the answer.
        change: ChangeNumber,
        /// For how long, counted from asking.
        kept: Duration,
    },
    /// The home answered, but there is nothing to keep: no such object, or refused.
    Nothing,
    /// The home did not answer.
    Failed,
}

impl Answer {
    /// An object that was found, under its policy: what has a time is used unasked for so long, a log is asked for at
    /// each open, everything else stands by its callback.
    pub fn under(policy: Policy, version: ObjectVersion, change: ChangeNumber, callback: bool) -> Self {
        match policy.kept_unasked() {
            Some(kept) => Self::Unasked { version, change, kept },
            None => Self::Found { version, change, callback: callback && policy.has_callbacks() },
        }
    }
}

/// Why a lock is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockFailure {
    /// The home said so.
    Refused(LockRefusal),
    /// The home did not answer in time.
    Unreachable,
}

/// Why a read fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFailure {
    /// The home did not answer, and the cache is not to be trusted.
    Unreachable,
    /// The home offered an older version than it had shown before.
    RolledBack {
        /// The highest version seen.
        seen: ObjectVersion,
        /// What was offered.
        offered: ObjectVersion,
    },
}
