//! Who is a volume's home: told to the realm's first node, moved between nodes, and streamed.

use serde::{Deserialize, Serialize};
use terms::{ByteCount, ChangeNumber, Epoch, Principal, Problem, VolumeName};
use trust::PublicKey;

/// POST [`HomeRequest`], answered with [`HomeEntry`]: at the realm's first node, by the homes themselves.
pub const HOMES_ROUTE: &str = "/.webos/homes";
/// POST [`MoveRequest`], answered with [`MoveReply`].
pub const MOVE_ROUTE: &str = "/.webos/move";
/// POST [`DumpRequest`], answered with the stream of a dump, under the headers [`EPOCH_HEADER`] and that of the change.
pub const DUMP_ROUTE: &str = "/.webos/dump";
/// The epoch of what is streamed, or that a client has seen.
pub const EPOCH_HEADER: &str = "webos-epoch";

/// What a node says of a volume of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HomeClaim {
    /// The volume.
    pub volume: VolumeName,
    /// The key with which the node signs.
    pub key: PublicKey,
    /// `host:port` where it answers.
    pub address: String,
    /// In which epoch it has the volume.
    pub epoch: Epoch,
    /// The last change that the epoch took over, if it is not the first.
    pub change: ChangeNumber,
}

/// Asked of the realm's first node about the home of a volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HomeRequest {
    /// The caller is the home.
    Register(HomeClaim),
    /// The caller is the home, and hands the volume over, if nothing was entered since this number.
    Hand {
        /// The number of the entry that the caller saw last.
        number: u64,
        /// Who is the home from now on.
        to: Principal,
        /// What it says of the volume.
        claim: HomeClaim,
    },
    /// The caller is the home: whatever it sent before and has not arrived yet must not count any more.
    Fence(VolumeName),
}

/// What the first node has entered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HomeEntry {
    /// The home.
    pub home: Principal,
    /// Where it answers.
    pub address: String,
    /// In which epoch.
    pub epoch: Epoch,
    /// Rises with each change of the entry.
    pub number: u64,
}

/// The steps of a move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveRequest {
    /// To the home, by who may administer the volume: this node may take it.
    Offer {
        /// The volume.
        volume: VolumeName,
        /// Who may take it.
        to: Principal,
    },
    /// To the new home, by its owners: take the volume.
    Take {
        /// The volume.
        volume: VolumeName,
        /// Its home.
        from: Principal,
        /// Where that answers.
        address: String,
    },
    /// To the new home, by its owners: how does it go?
    Look(VolumeName),
    /// To the home, by the new home: all of it is on disk here.
    Confirm(HomeClaim),
}

/// The answer to a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveReply {
    /// The home waits for the other node to come.
    Offered,
    /// The new home has it under way, or has ended it.
    Stands(MoveProgress),
    /// The volume was handed over.
    Handed(HomeEntry),
}

/// How a move stands at the new home.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveProgress {
    /// It is copied while the old home serves: so many bytes so far.
    Copying(ByteCount),
    /// The old home has stopped, and the rest is on its way.
    Finishing(ByteCount),
    /// It is at home here.
    Done {
        /// In which epoch.
        epoch: Epoch,
        /// Up to which change.
        change: ChangeNumber,
        /// All that was sent.
        bytes: ByteCount,
        /// How long nobody served: milliseconds.
        stopped_ms: u64,
    },
    /// It was given up. The old home serves, unless it says otherwise.
    Failed(Problem),
}

/// Which stream of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpRequest {
    /// The volume.
    pub volume: VolumeName,
    /// For what.
    pub purpose: DumpPurpose,
}

/// For what a volume is streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DumpPurpose {
    /// To be kept. For the node's owners.
    Backup,
    /// The first stream of a move: all of it. For whom the volume is offered, as all that follow.
    Copy,
    /// What came since the last stream.
    CatchUp,
    /// The same, and from here on the home does not serve.
    Last,
}
