//! What happens to a home, and what it must do: the events and actions of its lease table.

use crate::gate::Touched;
use crate::model::ObjectVersion;
use crate::rules::limits::MAX_PENDING_CHANGES;
use crate::rules::lock::LockEpoch;
use crate::rules::message::{Down, Hello, Up};
use terms::{BootMs, ChangeNumber, Epoch, Principal, SessionId, VolumePath};

/// What happens to the home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HomeEvent {
    /// A stream's first frame, from this authenticated holder.
    Hello {
        /// The frame.
        hello: Hello,
        /// Who sent it.
        holder: Principal,
    },
    /// A later frame of a stream.
    Told {
        /// The stream.
        stream: Hello,
        /// The frame.
        message: Up,
    },
    /// A holder opens an object: it wants the content, and a callback. Answered by [`HomeAction::Granted`]; the
    /// content must be read after that.
    Open {
        /// Returned in the answer.
        token: u64,
        /// Who asks: only the session's own holder gets a callback.
        holder: Principal,
        /// The stream on which it wants to be told of changes.
        stream: Hello,
        /// The object.
        object: VolumePath,
    },
    /// A change is about to happen. Answered by [`HomeAction::Admit`] or [`HomeAction::Refuse`].
    Change {
        /// Returned in the answer.
        token: u64,
        /// What it may touch.
        touched: Touched,
        /// The lock under which it is made, if any.
        lock: Option<LockEpoch>,
    },
    /// The change is durable, or will not happen.
    Ended {
        /// Its number, as admitted; or its token, if it was given up before.
        change: ChangeRef,
        /// The volume's change number in the store, if the change is durable.
        committed: Option<ChangeNumber>,
    },
    /// The rights of a holder have changed in a way that no recall tells: its sessions are to end.
    Expel {
        /// The holder.
        holder: Principal,
    },
    /// A deadline may have passed.
    Tick,
    /// The home stops cleanly: all leases are to end.
    Stop,
}

/// Names a change under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeRef {
    /// By the number it was admitted under.
    Number(ChangeNumber),
    /// By the token it was asked for with.
    Token(u64),
}

/// What the home must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HomeAction {
    /// Record the session durably, before any later action.
    Record {
        /// The session.
        session: SessionId,
        /// Whose it is.
        holder: Principal,
    },
    /// The session is over: its record may go.
    Forget {
        /// The session.
        session: SessionId,
    },
    /// Send a frame on this stream, if it is still there. After a `Bye` the stream is closed.
    Send {
        /// The stream.
        stream: Hello,
        /// The frame.
        message: Down,
    },
    /// Compare these with the store and answer [`Down::Registered`] with those that are current.
    Compare {
        /// The stream to answer on.
        stream: Hello,
        /// The request to name.
        request: u64,
        /// The change number to name.
        change: ChangeNumber,
        /// What the holder has.
        objects: Vec<(VolumePath, ObjectVersion)>,
    },
    /// Answers [`HomeEvent::Open`]: the content may be read now.
    Granted {
        /// The open.
        token: u64,
        /// The change number to name in the answer.
        change: ChangeNumber,
        /// Whether the holder has a callback; if not it may use the answer once.
        callback: bool,
    },
    /// Record durably, before any later action, that locks up to this number may have been granted.
    ReserveLocks {
        /// The number.
        up_to: u64,
    },
    /// Nobody trusts a copy of what the change touches any more: commit it.
    Admit {
        /// The change, as it was asked for.
        token: u64,
        /// Its number.
        change: ChangeNumber,
    },
    /// The change will not be admitted.
    Refuse {
        /// The change, as it was asked for.
        token: u64,
        /// Why.
        reason: Refusal,
    },
}

/// Why a change was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too many wait already.
    #[error("{MAX_PENDING_CHANGES} changes of this volume wait already")]
    Busy,
    /// The home stops.
    #[error("the volume's home is stopping")]
    Stopping,
    /// The lock under which it was to be made is not held.
    #[error("the lock {0} was lost")]
    LockLost(LockEpoch),
}

/// For whom a change waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The holder; its session was recorded by the home.
    pub holder: Principal,
    /// What it has not given back; the root for a session of before a restart.
    pub object: VolumePath,
    /// When the home stops waiting, by its own clock.
    pub until: BootMs,
}

/// What a home knows when it starts.
#[derive(Debug, Clone)]
pub struct HomeStart {
    /// The volume's epoch.
    pub epoch: Epoch,
    /// The volume's change number in the store.
    pub change: ChangeNumber,
    /// The highest number that [`HomeAction::ReserveLocks`] has recorded.
    pub locks: u64,
    /// The sessions that were recorded and not forgotten.
    pub recorded: Vec<(SessionId, Principal)>,
}
