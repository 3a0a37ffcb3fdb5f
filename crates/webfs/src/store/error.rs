//! What can go wrong in a store, and the one mapping of it to what the other side sees.

use super::DATABASE;
use crate::limits::MAX_NAMES;
use crate::model::Policy;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use terms::{ByteCount, Code, Digest, OperationId, Problem, VolumePath};

/// An error of a store operation. Cheap to clone, because one failed commit answers many callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("/{path} does not exist")]
    NotFound {
        /// What was asked for.
        path: VolumePath,
    },
    /// The directory that would hold the object does not exist.
    #[error("/{path} cannot be made because /{parent} does not exist")]
    NoParent {
        /// What was to be made.
        path: VolumePath,
        /// What is missing.
        parent: VolumePath,
    },
    /// The object exists already.
    #[error("/{path} exists already")]
    Exists {
        /// Which.
        path: VolumePath,
    },
    /// The object is not in the state that the request names.
    // The tag stays out of the sentence: who may write need not be one who may read.
    #[error("/{path} is not in the state that the request names")]
    Precondition {
        /// Which.
        path: VolumePath,
        /// The `ETag` it has, if it exists and is a file.
        found: Option<Digest>,
    },
    /// A file stands where a directory is needed.
    #[error("/{path} is not a directory")]
    NotDirectory {
        /// Which.
        path: VolumePath,
    },
    /// A directory stands where a file is needed.
    #[error("/{path} is a directory")]
    IsDirectory {
        /// Which.
        path: VolumePath,
    },
    /// A symbolic link stands where a file or directory is needed.
    #[error("/{path} is a symbolic link")]
    IsLink {
        /// Which.
        path: VolumePath,
    },
    /// A symbolic link would lead out of the volume.
    #[error("a link at /{path} to '{}' would lead out of the volume", target.escape_debug())]
    LeadsOut {
        /// Where the link was to be.
        path: VolumePath,
        /// Where it was to lead.
        target: String,
    },
    /// A directory would come to lie in itself.
    #[error("/{path} cannot be moved below itself, to /{target}")]
    IntoItself {
        /// What was to be moved.
        path: VolumePath,
        /// Where.
        target: VolumePath,
    },
    /// What lies below would have paths that are too long.
    #[error("/{path} cannot be moved to /{target}: paths below it would become too long")]
    TooDeep {
        /// What was to be moved.
        path: VolumePath,
        /// Where.
        target: VolumePath,
    },
    /// The file has as many names as a file may have.
    #[error("/{path} has {MAX_NAMES} names already")]
    TooManyNames {
        /// Which.
        path: VolumePath,
    },
    /// The directory has entries.
    #[error("/{path} is a directory that is not empty")]
    NotEmpty {
        /// Which.
        path: VolumePath,
    },
    /// The root can be neither removed nor replaced.
    #[error("the root of a volume can be neither removed nor replaced")]
    Root,
    /// What the caller decided on has changed before the commit: decide again.
    #[error("/{path}, a directory above it or its access control list changed while the request ran")]
    Moved {
        /// Which.
        path: VolumePath,
    },
    /// The caller may create but the file exists, or may replace but it does not.
    #[error("/{path} may not be {}", if *.create { "created" } else { "replaced" })]
    NotAllowed {
        /// Which.
        path: VolumePath,
        /// Whether creating is what is not allowed.
        create: bool,
    },
    /// The operation id was used before for something else.
    #[error("operation {}.{} was used before for another request", id.session, id.sequence)]
    OperationReused {
        /// The id.
        id: OperationId,
    },
    /// The operation's outcome was forgotten, because its client has it or a day has passed: it is not made again.
    #[error("operation {}.{} was settled before, and its outcome is forgotten", id.session, id.sequence)]
    OperationSettled {
        /// The id.
        id: OperationId,
    },
    /// Whoever asked for the change has given up meanwhile: it is not made behind its back.
    #[error("the change of /{path} came too late: whoever asked for it had given up")]
    TooLate {
        /// What was to be changed.
        path: VolumePath,
    },
    /// The object's policy does not admit this change.
    #[error("/{path} is not changed in place: its policy is {policy}")]
    Policy {
        /// Which.
        path: VolumePath,
        /// Its policy.
        policy: Policy,
    },
    /// The content is longer than a file may be.
    #[error("the content is longer than a file may be: {}", ByteCount(*.limit))]
    TooLarge {
        /// The limit: bytes.
        limit: u64,
    },
    /// The disk or the database is full.
    #[error("no space is left while {doing}")]
    NoSpace {
        /// What was being done.
        doing: &'static str,
    },
    /// Stored bytes are not what was stored.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// What.
        what: String,
        /// How one can tell.
        why: String,
    },
    /// The version was replaced so long ago that its blocks are gone.
    #[error("this version of /{path} was replaced more than an hour ago")]
    Gone {
        /// The path that it had.
        path: VolumePath,
    },
    /// The folder holds a volume in a newer format.
    #[error("{} holds a volume of data format {found}; this build knows formats up to {known}", dir.display())]
    NewerFormat {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: i64,
        /// The newest known format.
        known: i64,
    },
    /// Another process, or another handle, has the volume open.
    #[error("the volume in {} is open already", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder holds no volume.
    #[error("{} holds no volume", dir.display())]
    NoVolume {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder holds a volume already.
    #[error("{} holds a volume already", dir.display())]
    VolumeExists {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder holds the blocks of a volume, and not its database.
    #[error("{} holds blocks of a volume, but {} is missing", dir.display(), dir.join(DATABASE).display())]
    NoDatabase {
        /// The folder.
        dir: PathBuf,
    },
    /// A system call on a file failed.
    #[error("{doing} failed on {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// The database failed.
    #[error("the volume's database failed while {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The store is being closed, or its writer ended.
    #[error("the volume is closed")]
    Closed,
}

impl StoreError {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { doing },
            _ => Self::Io { doing, path: path.into(), source: Arc::new(source) },
        }
    }

    pub(crate) fn database(doing: &'static str, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::NoSpace { doing },
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                Self::Damaged { what: "the volume's database".into(), why: source.to_string() }
            }
            _ => Self::Database { doing, source: Arc::new(source) },
        }
    }

    /// What the owner of this machine is told: with the names of files and the cause.
    pub fn for_owner(&self) -> Problem {
        let cause = std::error::Error::source(self).map(|cause| format!(": {cause}")).unwrap_or_default();
        let next = match self {
            Self::NoDatabase { .. } => {
                "put that file back from a copy, or move the folder away to begin with an empty volume"
            }
            Self::VolumeExists { .. } => "give the new volume another name",
            Self::Locked { .. } => "end the program that has it open",
            Self::NoSpace { .. } => "free some space there",
            Self::NewerFormat { .. } => "use the newer build, or move the folder away",
            _ => "put back a copy of that folder, or move it away",
        };
        Problem::new(self.code(), format!("{self}{cause}")).next(next)
    }

    /// The code that this error has on the wire.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound { .. } | Self::NoParent { .. } => Code::NotFound,
            Self::Exists { .. }
            | Self::NotEmpty { .. }
            | Self::IsDirectory { .. }
            | Self::IsLink { .. }
            | Self::NotDirectory { .. } => Code::Exists,
            Self::Precondition { .. } => Code::Conflict,
            Self::Root
            | Self::OperationReused { .. }
            | Self::OperationSettled { .. }
            | Self::LeadsOut { .. }
            | Self::IntoItself { .. } => Code::Invalid,
            Self::NotAllowed { .. } => Code::Denied,
            Self::TooLate { .. } => Code::Timeout,
            Self::TooLarge { .. } | Self::TooManyNames { .. } | Self::TooDeep { .. } => Code::TooLarge,
            Self::NoSpace { .. } => Code::NoSpace,
            Self::Moved { .. } | Self::Gone { .. } | Self::Closed | Self::Locked { .. } => Code::Unavailable,
            Self::NewerFormat { .. } | Self::Policy { .. } => Code::Unsupported,
            Self::Damaged { .. }
            | Self::NoVolume { .. }
            | Self::VolumeExists { .. }
            | Self::NoDatabase { .. }
            | Self::Io { .. }
            | Self::Database { .. } => Code::Internal,
        }
    }
}

/// What the other side sees: faults of this side without the names of its files.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let next = match &error {
            StoreError::NoParent { .. } => {
                "have missing directories made: `webos put -p`, or the header `webos-parents: ?1`"
            }
            StoreError::Moved { .. } => "try again",
            StoreError::Gone { .. } => "open the file again",
            StoreError::TooLate { .. } => "ask again; nothing was changed",
            StoreError::NotEmpty { .. } => "remove its entries first",
            StoreError::OperationSettled { .. } => "look at what is there now, and ask under a new number",
            StoreError::Policy { policy: Policy::Log, .. } => {
                "append to it: `webos append PATH FILE`; or remove it first"
            }
            StoreError::Policy { .. } => "store the new content under another name, or remove it first",
            StoreError::IsLink { .. } => "name what it leads to, or remove the link first",
            StoreError::LeadsOut { .. } => "name a path of the same volume",
            StoreError::Precondition { .. } => "read the present version and decide again",
            StoreError::NoSpace { .. } => "free some space at the volume's home",
            _ => "",
        };
        let detail = match &error {
            StoreError::Io { doing, .. } => format!("the volume's storage failed while {doing}"),
            StoreError::Locked { .. }
            | StoreError::NoVolume { .. }
            | StoreError::NoDatabase { .. }
            | StoreError::VolumeExists { .. } => "the volume cannot be opened".into(),
            other => other.to_string(),
        };
        Problem::new(error.code(), detail).next(next)
    }
}
