//! What holder and home say to each other on the session stream, in the order of the stream.
//! The first frame upwards is a [`Hello`]; every grant and every recall carries the volume's change number.

use super::lock::{LockClaim, LockEpoch, LockRefusal, LockWish};
use crate::model::ObjectVersion;
use serde::{Deserialize, Serialize};
use std::fmt;
use terms::{ChangeNumber, Epoch, SessionId, VolumePath};

/// The first frame of a stream: from here on its sender trusts nothing that it was granted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hello {
    /// The holder's session, chosen at random.
    pub session: SessionId,
    /// Rises with each stream of the session, so that a late frame of an older stream is known as such.
    pub connection: u64,
}

/// From holder to home, after the [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Up {
    /// Asks for the lease to be extended.
    Renew {
        /// Names the renewal; rises.
        id: u64,
    },
    /// The holder trusts none of these any more.
    Ack {
        /// The recall's number.
        change: ChangeNumber,
        /// At most [`super::limits::MAX_FRAME_OBJECTS`].
        objects: Vec<VolumePath>,
    },
    /// Asks for callbacks on what the holder has, if it is still current.
    Register {
        /// Names the request.
        request: u64,
        /// At most [`super::limits::MAX_FRAME_OBJECTS`].
        objects: Vec<(VolumePath, ObjectVersion)>,
    },
    /// Asks for an advisory lock.
    Lock {
        /// Names the request.
        request: u64,
        /// What is wanted.
        wish: LockWish,
        /// How long the asker waits while others hold it: milliseconds. None at all asks whether it is free.
        wait_ms: u64,
    },
    /// The asker waits no more. If it was granted meanwhile, the holder unlocks it.
    Cancel {
        /// The request.
        request: u64,
    },
    /// Gives a lock back. What was changed under it has been published before.
    Unlock {
        /// The grant.
        epoch: LockEpoch,
    },
    /// All locks that the holder has, once on each new stream. Answered by [`Down::Locks`].
    Claim {
        /// At most [`super::limits::MAX_LOCKS_PER_SESSION`].
        locks: Vec<LockClaim>,
    },
    /// The holder trusts nothing any more: the session has ended.
    Leave,
}

/// From home to holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Down {
    /// Answers the [`Hello`] and grants the first lease.
    Welcome {
        /// The home's epoch.
        epoch: Epoch,
        /// The lease: milliseconds.
        lease_ms: u32,
        /// The server's change number.
        change: ChangeNumber,
        /// How many relays stand between the holder and the home.
        #[serde(default)]
        depth: u8,
    },
    /// The lease is extended.
    Granted {
        /// The renewal that is answered.
        id: u64,
        /// The lease: milliseconds. A relay's is no longer than what is left of its own.
        lease_ms: u32,
        /// The volume's change number.
        change: ChangeNumber,
        /// Objects with an unacknowledged recall: the lease is not extended for these.
        excluded: Vec<VolumePath>,
    },
    /// These are about to change: stop trusting them and acknowledge.
    Recall {
        /// The change's number.
        change: ChangeNumber,
        /// At most [`super::limits::MAX_FRAME_OBJECTS`].
        objects: Vec<VolumePath>,
    },
    /// Answers [`Up::Register`]: the holder has callbacks on these, the others have changed.
    Registered {
        /// The request that is answered.
        request: u64,
        /// The volume's change number.
        change: ChangeNumber,
        /// A part of the objects asked for.
        current: Vec<VolumePath>,
    },
    /// The lock is the holder's. What it knows of the object after this frame is what the last holder published, or
    /// later: each recall of before was sent on the same stream.
    Locked {
        /// The request that is answered.
        request: u64,
        /// The grant, to be named by changes under it.
        epoch: LockEpoch,
    },
    /// The lock is not granted.
    NotLocked {
        /// The request that is answered.
        request: u64,
        /// Why.
        reason: LockRefusal,
    },
    /// Answers [`Up::Claim`]: the holder has these, and no others.
    Locks {
        /// The grants.
        held: Vec<LockEpoch>,
    },
    /// A lock is the holder's no more.
    LockLost {
        /// The grant.
        epoch: LockEpoch,
    },
    /// The home grants nothing on this stream any more; what was granted ends.
    Bye {
        /// Why.
        reason: ByeReason,
    },
}

/// Why a home ends a session's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByeReason {
    /// The home stops.
    Stopping,
    /// A recall was not acknowledged in time, or the lease ended: come again with a new [`Hello`].
    StruckOff,
    /// A newer stream of the same session exists.
    Superseded,
    /// The session belongs to another principal.
    Foreign,
    /// The holder's rights have changed: come again with a new [`Hello`], and everything is checked anew.
    RightsChanged,
    /// The home has as many sessions as it can hold.
    Full,
    /// The holder has as many sessions as one principal may have.
    FullForYou,
    /// There are as many relays between the home and here as there may be: ask one that is nearer to it.
    TooDeep,
    /// A frame broke a limit or an order of the protocol.
    Malformed,
}

impl fmt::Display for ByeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopping => "the home stops",
            Self::StruckOff => "the lease ended or a recall was not acknowledged in time",
            Self::Superseded => "a newer stream of this session exists",
            Self::Foreign => "the session belongs to another principal",
            Self::RightsChanged => "the holder's rights have changed",
            Self::Full => "the home has as many sessions as it can hold",
            Self::FullForYou => "this principal has as many sessions with the volume as one may have",
            Self::TooDeep => "too many relays stand between this one and the home",
            Self::Malformed => "a frame was not understood",
        })
    }
}
