//! What a client asks of a volume's home beside opens and plain HTTP: many changes in one request, and many folders in
//! one answer. Everything here is foreign until the node has decided rights on it.

use crate::model::{Entry, Listing, Policy, SignedManifest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use terms::{ChangeNumber, Digest, Problem, SessionId, VolumePath};

/// POST [`Batch`], answered with [`BatchReply`]: `/.webos/batch/NAME.REALM`.
pub const BATCH_ROUTE: &str = "/.webos/batch";
/// POST [`Look`], answered with [`LookReply`]: `/.webos/look/NAME.REALM`.
pub const LOOK_ROUTE: &str = "/.webos/look";

/// In which state an object must be for an operation to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Any.
    #[default]
    Always,
    /// It does not exist.
    Absent,
    /// It is a file with this root.
    Root(Digest),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Create or replace a file of at most [`crate::limits::MAX_BATCH_FILE_BYTES`].
    Put {
        /// Where.
        path: VolumePath,
        /// What.
        #[serde(with = "serde_bytes")]
        content: Vec<u8>,
        /// Whether missing directories above it are made.
        parents: bool,
        /// Under which circumstances.
        when: When,
    },
    /// Put bytes at the end of a file, or make a file of them. The home places them; [`Done::offset`] tells where.
    Append {
        /// Which.
        path: VolumePath,
        /// What: at most [`crate::limits::MAX_APPEND_BYTES`].
        #[serde(with = "serde_bytes")]
        content: Vec<u8>,
    },
    /// Make a directory.
    Mkdir {
        /// Which.
        path: VolumePath,
        /// Whether missing directories above it are made, and its own existence is no error.
        parents: bool,
    },
    /// Remove a file, a link or an empty directory.
    Remove {
        /// Which.
        path: VolumePath,
        /// Under which circumstances.
        when: When,
    },
    /// Make a symbolic link.
    Symlink {
        /// Where.
        path: VolumePath,
        /// Where it leads.
        target: String,
    },
    /// Give a file another name.
    Link {
        /// The file.
        from: VolumePath,
        /// The new name.
        to: VolumePath,
    },
    /// Move an object with all below it.
    Rename {
        /// What.
        from: VolumePath,
        /// Where it goes.
        to: VolumePath,
        /// Whether something may be replaced there.
        replace: bool,
    },
    /// Give an object its policy: what is promised of its copies. What is made below later takes it over.
    Policy {
        /// Which.
        path: VolumePath,
        /// The policy.
        policy: Policy,
        /// Everything below as well, as one change.
        recursive: bool,
    },
}

impl Operation {
    /// The object that it is about.
    pub fn path(&self) -> &VolumePath {
        match self {
            Self::Put { path, .. }
            | Self::Append { path, .. }
            | Self::Mkdir { path, .. }
            | Self::Remove { path, .. }
            | Self::Symlink { path, .. }
            | Self::Policy { path, .. }
            | Self::Link { from: path, .. }
            | Self::Rename { from: path, .. } => path,
        }
    }

    /// The other end of a link or a move.
    pub fn target(&self) -> Option<&VolumePath> {
        match self {
            Self::Link { to, .. } | Self::Rename { to, .. } => Some(to),
            _ => None,
        }
    }
}

/// Many changes in one request. Each happens or fails on its own; one that depends on an earlier one comes after it, and
/// those that do not are committed together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The session of the operation ids.
    pub session: SessionId,
    /// The client has the outcomes of all operations below this number: the home may forget them.
    pub settled: u64,
    /// Number and change, at most [`crate::limits::MAX_BATCH`].
    pub operations: Vec<(u64, Operation)>,
}

/// What became of a batch, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchReply {
    /// One for each operation.
    pub outcomes: Vec<Result<Done, Problem>>,
}

/// A change that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The change number.
    pub change: ChangeNumber,
    /// The object now; nothing if it was removed.
    pub entry: Option<Entry>,
    /// Where an append was placed: bytes before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Whether something came to stand where nothing was.
    pub created: bool,
}

/// Asks for what lies in folders, and below them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Folders with the name after which to begin (empty: with the first), at most [`crate::limits::MAX_LOOK_FOLDERS`].
    pub folders: Vec<(VolumePath, String)>,
    /// Also what lies in the folders below, breadth first, as far as the answer has room.
    pub deep: bool,
    /// Also the content of small files, as far as the answer has room.
    pub contents: bool,
}

/// What lies in a folder, after the name that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The folder.
    pub path: VolumePath,
    /// Its entries, or why they are not shown.
    pub listing: Result<Listing, Problem>,
}

/// A small file with its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmallFile {
    /// Its path.
    pub path: VolumePath,
    /// What the home signed of it.
    pub manifest: SignedManifest,
    /// Its bytes.
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
}

/// The answer to a look. A folder that was asked for, or stands in a listing, and has no page here is to be asked for
/// again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LookReply {
    /// Breadth first, those that were asked for at the beginning.
    pub pages: Vec<Page>,
    /// The content of small files in them.
    pub files: Vec<SmallFile>,
}

/// The ranges of a batch that may run at once, in order: in none is there an operation that meets an earlier one in a
/// path, at it, above it or below it. So none depends on whether another one happened before.
pub fn waves(operations: &[(u64, Operation)]) -> Vec<std::ops::Range<usize>> {
    let (mut waves, mut begin, mut taken) = (Vec::new(), 0, BTreeSet::new());
    for (index, (_, operation)) in operations.iter().enumerate() {
        let paths = || [Some(operation.path()), operation.target()].into_iter().flatten();
        if paths().any(|path| meets(&taken, path)) {
            waves.push(begin..index);
            begin = index;
            taken.clear();
        }
        taken.extend(paths().map(|path| path.as_str()));
    }
    if begin < operations.len() {
        waves.push(begin..operations.len());
    }
    waves
}

/// Whether one of these paths is this one, or lies above or below it.
fn meets(taken: &BTreeSet<&str>, path: &VolumePath) -> bool {
    let mut up = std::iter::successors(Some(path.clone()), VolumePath::parent);
    if up.any(|above| taken.contains(above.as_str())) {
        return true;
    }
    let below = if path.is_root() { String::new() } else { format!("{path}/") };
    taken.range(&*below..).next().is_some_and(|next| next.starts_with(&below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> VolumePath {
        VolumePath::new(text).expect("valid")
    }

    fn put(at: &str) -> Operation {
        Operation::Put { path: path(at), content: Vec::new(), parents: false, when: When::Always }
    }

    fn numbered(operations: Vec<Operation>) -> Vec<(u64, Operation)> {
        (1..).zip(operations).collect()
    }

    #[test]
    fn only_what_does_not_meet_runs_at_once() {
        let mkdir = |at: &str, parents| Operation::Mkdir { path: path(at), parents };
        let rename = |from: &str, to: &str| Operation::Rename { from: path(from), to: path(to), replace: true };
        for (operations, expected) in [
            (vec![], vec![]),
            (vec![put("a"), put("b"), put("c")], vec![(0, 3)]),
            (vec![mkdir("d", false), put("d/a"), put("d/b")], vec![(0, 1), (1, 3)]),
            (vec![put("a"), put("a")], vec![(0, 1), (1, 2)]),
            (vec![put("a"), put("b"), rename("a", "c"), put("c"), put("d")], vec![(0, 2), (2, 3), (3, 5)]),
            (vec![mkdir("x/y", true), mkdir("x/z", true)], vec![(0, 2)]),
            (vec![put("a!"), put("a"), put("a/b")], vec![(0, 2), (2, 3)]),
            (vec![put("a/b"), put("a!"), put("a")], vec![(0, 2), (2, 3)]),
            (vec![put("a"), mkdir("", true)], vec![(0, 1), (1, 2)]),
        ] {
            let found = waves(&numbered(operations.clone())).into_iter().map(|wave| (wave.start, wave.end));
            assert_eq!(found.collect::<Vec<_>>(), expected, "{operations:?}");
        }
    }
}
