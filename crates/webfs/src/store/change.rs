//! Changes as values: what is asked, under which conditions, and how it ended.

use super::append::Append;
use super::blocks::{BlockName, UploadFiles};
use super::names::Reach;
use super::patch::Patch;
use crate::gate::Touched;
use crate::model::{BlockRef, Entry, Manifest, Policy};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use terms::{BootMs, ChangeNumber, Digest, OperationId, VolumePath};
use trust::Bucket;

/// In which state an object must be for a change to happen (`If-Match`, `If-None-Match: *`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Any.
    #[default]
    None,
    /// It does not exist.
    Absent,
    /// It exists.
    Exists,
    /// It is a file with one of these `ETag`s.
    OneOf(Vec<Digest>),
}

/// What must still be so when a change is committed. All of it is checked in the change's own transaction.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// The state that the client named.
    pub precondition: Precondition,
    /// The access control lists that the rights were decided on: the object's, or that of the nearest one above;
    /// for a change of a subtree those of all below it. Another one by now means [`super::StoreError::Moved`].
    /// `None` asks for nothing.
    pub decided_on: Option<Vec<Digest>>,
    /// The lists that the rights on the place that a move or a link goes to were decided on. `None` asks for nothing.
    pub decided_on_target: Option<TargetLists>,
    /// What has been recalled. A change that touches more means [`super::StoreError::Moved`].
    pub recalled: Touched,
    /// Names the change, so that a retry is answered with the first outcome.
    pub operation: Option<OperationId>,
    /// When whoever asks for the change gives up: later it is not made any more.
    pub until: Option<BootMs>,
}

/// The access control lists that govern the place that a move or a link goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetLists {
    /// That of the directory.
    pub directory: Digest,
    /// That of the object that stands there, if there is one.
    pub replaced: Option<Digest>,
}

impl Conditions {
    /// None: for a volume that nobody else uses.
    pub fn none() -> Self {
        Self {
            precondition: Precondition::None,
            decided_on: None,
            decided_on_target: None,
            recalled: Touched::everything(),
            operation: None,
            until: None,
        }
    }

    /// The same with this precondition.
    #[must_use]
    pub fn when(mut self, precondition: Precondition) -> Self {
        self.precondition = precondition;
        self
    }

    /// The same under this operation id.
    #[must_use]
    pub fn operation(mut self, operation: OperationId) -> Self {
        self.operation = Some(operation);
        self
    }
}

/// Content whose blocks are on disk, synced, and in no manifest yet. Dropped, it removes them.
pub struct Prepared {
    pub(super) manifest: Manifest,
    pub(super) content: PreparedContent,
}

pub(super) enum PreparedContent {
    Inline(Bytes),
    /// Each block's file; nothing for a hole.
    Blocks {
        blocks: Vec<(Option<BlockName>, BlockRef)>,
        files: Arc<UploadFiles>,
    },
}

impl Prepared {
    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Leaves the block files to the database, or after a failed commit to the collector: a failed commit may
    /// still be found durable after a crash, so its blocks are never removed at once.
    pub(super) fn hand_over(&self) {
        if let PreparedContent::Blocks { files, .. } = &self.content {
            files.hand_over();
        }
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("size", &self.manifest.size()).finish_non_exhaustive()
    }
}

/// Create or replace a file.
#[derive(Debug)]
pub struct Put {
    /// Where.
    pub path: VolumePath,
    /// What.
    pub content: Prepared,
    /// Whether missing directories above it are made.
    pub parents: bool,
    /// Whether the caller may create it.
    pub may_create: bool,
    /// Whether the caller may replace it.
    pub may_replace: bool,
}

/// One change of a volume.
#[derive(Debug)]
pub enum Change {
    /// Create or replace a file.
    Put(Put),
    /// Write a part of a file, or change its length.
    Patch(Patch),
    /// Put bytes at the end of a log, or make a file of them.
    Append {
        /// Which, and what.
        append: Append,
        /// Whether the caller may create it.
        may_create: bool,
        /// Whether the caller may append to a log that is there.
        may_append: bool,
    },
    /// Make a directory. One that exists is an error, unless `parents` is set.
    MakeDirectory {
        /// Which.
        path: VolumePath,
        /// Whether missing directories above it are made, and its own existence is no error.
        parents: bool,
    },
    /// Remove a file, a link or an empty directory. A file with several names keeps the others.
    Remove {
        /// Which.
        path: VolumePath,
    },
    /// Make a symbolic link. What it leads to need not exist.
    MakeLink {
        /// Where.
        path: VolumePath,
        /// Where it leads: a relative path, or one from the volume's root with `/` at its beginning.
        target: String,
    },
    /// Give a file another name.
    Link {
        /// The file.
        from: VolumePath,
        /// The new name, at which nothing stands.
        to: VolumePath,
    },
    /// Move an object with all below it. A file or link may take the place of another one, a directory that of an empty
    /// one.
    Rename {
        /// What.
        from: VolumePath,
        /// Where it goes.
        to: VolumePath,
        /// Whether something may be replaced there.
        replace: bool,
    },
    /// Replace the access control list.
    SetBucket {
        /// Of which object.
        path: VolumePath,
        /// The new list.
        bucket: Bucket,
    },
    /// Replace each access control list of an object and all below it by one of its own: a list that is narrower
    /// than that of the object stays so.
    AmendLists {
        /// The top of the tree.
        path: VolumePath,
        /// The hash of each present list, and what takes its place.
        lists: Vec<(Digest, Bucket)>,
    },
    /// Give an object its policy, and all below it if `recursive` says so.
    SetPolicy {
        /// Which.
        path: VolumePath,
        /// The new policy.
        policy: Policy,
        /// Everything below as well.
        recursive: bool,
    },
}

impl Change {
    /// The object that the change is about.
    pub fn path(&self) -> &VolumePath {
        match self {
            Self::Put(Put { path, .. })
            | Self::Patch(Patch { path, .. })
            | Self::Append { append: Append { path, .. }, .. }
            | Self::MakeDirectory { path, .. }
            | Self::Remove { path }
            | Self::MakeLink { path, .. }
            | Self::SetBucket { path, .. }
            | Self::AmendLists { path, .. }
            | Self::SetPolicy { path, .. }
            | Self::Link { from: path, .. }
            | Self::Rename { from: path, .. } => path,
        }
    }

    /// Of which files it concerns the other names.
    pub(super) fn reach(&self) -> Reach {
        match self {
            Self::Put(_)
            | Self::Patch(_)
            | Self::Append { .. }
            | Self::SetBucket { .. }
            | Self::SetPolicy { recursive: false, .. } => Reach::File,
            Self::AmendLists { .. } | Self::SetPolicy { .. } => Reach::Below,
            Self::MakeDirectory { .. }
            | Self::Remove { .. }
            | Self::MakeLink { .. }
            | Self::Link { .. }
            | Self::Rename { .. } => Reach::Place,
        }
    }

    /// The other end of a move or a link.
    pub fn target(&self) -> Option<&VolumePath> {
        match self {
            Self::Link { to, .. } | Self::Rename { to, .. } => Some(to),
            _ => None,
        }
    }

    /// What the change touches, if it is made while `nearest` is the nearest existing object at or above its
    /// path: the object, the directory that lists it, and directories made on the way. `names` are further paths of
    /// files that it changes.
    pub fn touches(&self, nearest: &VolumePath, names: &[VolumePath]) -> Touched {
        let mut touched = match self {
            Self::AmendLists { path, .. } => Touched::subtree(path.clone()),
            Self::SetBucket { path, .. } => Touched::objects([path.clone()]),
            // A directory shows the policies of what it lists.
            Self::SetPolicy { path, recursive, .. } => {
                let mut touched = Touched::objects(path.parent().into_iter().chain([path.clone()]));
                touched.subtrees.extend(recursive.then(|| path.clone()));
                touched
            }
            // What a log's directory shows of it may be older, and its version does not rise.
            Self::Append { append, .. } if *nearest == append.path => Touched::objects([append.path.clone()]),
            Self::Put(Put { path, .. })
            | Self::Patch(Patch { path, .. })
            | Self::Append { append: Append { path, .. }, .. }
            | Self::MakeDirectory { path, .. }
            | Self::MakeLink { path, .. }
            | Self::Remove { path } => {
                let up = std::iter::successors(path.parent(), VolumePath::parent);
                let made = up.clone().take_while(|dir| dir.below(nearest).is_some());
                Touched::objects(up.take(1).chain(made).chain([path.clone()]))
            }
            Self::Link { to, .. } => Touched::objects(to.parent().into_iter().chain([to.clone()])),
            Self::Rename { from, to, .. } => {
                let mut touched = Touched::objects(from.parent().into_iter().chain(to.parent()));
                touched.subtrees.extend([from.clone(), to.clone()]);
                touched
            }
        };
        // A directory shows the length and the time of what it lists.
        let shown = names.iter().flat_map(|name| name.parent().into_iter().chain([name.clone()]));
        touched.objects.extend(shown);
        touched
    }

    /// What of all that the change touches holders must have given back before: an append to a log takes nothing from
    /// them.
    pub(super) fn recalls(&self, nearest: &VolumePath, names: &[VolumePath]) -> Touched {
        match self {
            Self::Append { append, .. } if *nearest == append.path => Touched::default(),
            _ => self.touches(nearest, names),
        }
    }

    /// How much is put at the end, if that is what it does: bytes.
    pub(super) fn appended(&self) -> Option<u64> {
        match self {
            Self::Append { append, .. } => Some(append.bytes.len() as u64),
            Self::Patch(patch) => patch.appended,
            _ => None,
        }
    }

    /// Identifies the request for the ledger: the same id with another fingerprint is refused.
    pub(super) fn fingerprint(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        let (tag, flag, content) = match self {
            Self::Put(put) => (0u8, put.parents, put.content.manifest.root()),
            Self::MakeDirectory { parents, .. } => (1, *parents, Digest::of(b"")),
            Self::Remove { .. } => (2, false, Digest::of(b"")),
            Self::SetBucket { bucket, .. } => (3, false, bucket.hash()),
            Self::AmendLists { lists, .. } => (4, true, hash_of_all(lists)),
            Self::MakeLink { target, .. } => (5, false, Digest::of(target.as_bytes())),
            Self::Link { to, .. } => (6, false, Digest::of(to.as_str().as_bytes())),
            Self::Rename { to, replace, .. } => (7, *replace, Digest::of(to.as_str().as_bytes())),
            // The same, whatever the policy was when it was tried.
            Self::Append { append, .. } => (10, false, Digest::of(&append.bytes)),
            Self::Patch(patch) => (if patch.appended.is_some() { 10 } else { 8 }, false, patch.request),
            Self::SetPolicy { policy, recursive, .. } => (9, *recursive, Digest::of(policy.to_string().as_bytes())),
        };
        hasher.update(&[tag, u8::from(flag)]);
        hasher.update(&content.0);
        hasher.update(self.path().as_str().as_bytes());
        Digest(*hasher.finalize().as_bytes())
    }
}

/// The new lists, whatever they replace: a retry finds them in place already and asks for the same ones.
fn hash_of_all(lists: &[(Digest, Bucket)]) -> Digest {
    let new: BTreeSet<Digest> = lists.iter().map(|(_, bucket)| bucket.hash()).collect();
    Digest::of(&new.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>())
}

/// How a change ended, durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The volume's change number of this change.
    pub change: ChangeNumber,
    /// The object now; nothing if it was removed.
    pub entry: Option<Entry>,
    /// Where an append was placed: bytes before it.
    pub offset: Option<u64>,
    /// Whether the change created the object.
    pub created: bool,
    /// Whether this is the recorded outcome of an earlier request with the same operation id.
    pub replayed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_change_touches() {
        let path = |text: &str| VolumePath::new(text).expect("valid");
        let remove = |text: &str| Change::Remove { path: path(text) };
        for (at, nearest, expected) in [
            ("f", "f", vec!["", "f"]),
            ("f", "", vec!["", "f"]),
            ("a/b/f", "a/b/f", vec!["a/b", "a/b/f"]),
            ("a/b/f", "a/b", vec!["a/b", "a/b/f"]),
            ("a/b/f", "a", vec!["a", "a/b", "a/b/f"]),
            ("a/b/f", "", vec!["", "a", "a/b", "a/b/f"]),
        ] {
            let expected = Touched::objects(expected.into_iter().map(path));
            assert_eq!(remove(at).touches(&path(nearest), &[]), expected, "{at} under {nearest}");
        }
        let set = Change::SetBucket { path: path("a"), bucket: Bucket::empty() };
        assert_eq!(set.touches(&path("a"), &[]), Touched::objects([path("a")]));
        let amend = Change::AmendLists { path: path("a"), lists: Vec::new() };
        assert_eq!(set.touches(&path("a"), &[path("b/n")]), Touched::objects(["a", "b", "b/n"].map(path)));
        let moved =
            Change::Rename { from: path("a/x"), to: path("b/y"), replace: false }.touches(&path("a/x"), &[]);
        assert_eq!(moved.objects, ["a", "b"].map(path).into());
        assert_eq!(moved.subtrees, ["a/x", "b/y"].map(path).into());
        assert_eq!(amend.touches(&path("a"), &[]), Touched::subtree(path("a")));
    }
}
