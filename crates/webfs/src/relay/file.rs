//! A file at a replica, opened at one version: what serving needs of it.

use super::blocks::{Blocks, Wanted};
use super::held::{Held, HeldContent};
use crate::cache::CachedFile;
use crate::limits::BLOCK_BYTES;
use crate::model::{Entry, Listing, Manifest, SignedManifest, link_target};
use crate::serve::FileSource;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use std::sync::Arc;
use terms::{ChangeNumber, Problem, VolumeName, VolumePath};
use trust::Bucket;

/// What an open at a replica gives.
#[derive(Debug)]
pub enum ReplicaObject {
    /// A file.
    File(ReplicaFile),
    /// A directory.
    Directory(ReplicaDirectory),
    /// A symbolic link, here or above the path that was opened: to be followed.
    Link(ReplicaLink),
}

impl ReplicaObject {
    /// Who may do what with it: whoever serves it to others decides on this.
    pub fn bucket(&self) -> &Bucket {
        match self {
            Self::File(file) => &file.held.bucket,
            Self::Directory(directory) => &directory.0.bucket,
            Self::Link(link) => &link.0.bucket,
        }
    }

    /// Its attributes.
    pub fn entry(&self) -> &Entry {
        match self {
            Self::File(file) => &file.held.entry,
            Self::Directory(directory) => &directory.0.entry,
            Self::Link(link) => &link.0.entry,
        }
    }
}

/// A symbolic link, as it was at the open.
#[derive(Debug)]
pub struct ReplicaLink(Arc<Held>);

impl ReplicaLink {
    /// Its own path.
    pub fn at(&self) -> &VolumePath {
        match &self.0.content {
            HeldContent::Link(link) => &link.at,
            HeldContent::File { .. } | HeldContent::Directory(_) => &self.0.path,
        }
    }

    /// Where the path that was opened leads through it; nothing if that is no place in the volume.
    pub fn leads_to(&self) -> Option<VolumePath> {
        let HeldContent::Link(link) = &self.0.content else { return None };
        let rest = self.0.path.below(&link.at)?;
        link_target(&link.at, &link.target)?.under(&rest).ok()
    }
}

/// A directory, as it was at the open.
#[derive(Debug)]
pub struct ReplicaDirectory(Arc<Held>);

impl ReplicaDirectory {
    /// Its path in the volume.
    pub fn path(&self) -> &VolumePath {
        &self.0.path
    }

    /// The change number that the listing takes in.
    pub fn change(&self) -> ChangeNumber {
        self.0.change
    }

    /// Its entries after the name `after` (empty: from the first); nothing if they lie beyond the first page, which
    /// only the home has.
    pub fn listing(&self, after: &str) -> Option<Listing> {
        let HeldContent::Directory(listing) = &self.0.content else { return None };
        let entries: Vec<_> = listing.entries.iter().filter(|entry| entry.name.as_str() > after).cloned().collect();
        (!listing.more || !entries.is_empty()).then_some(Listing { entries, more: listing.more })
    }
}

/// A file of a volume whose home is elsewhere.
pub struct ReplicaFile {
    blocks: Arc<Blocks>,
    held: Arc<Held>,
    manifest: Manifest,
    /// Where its blocks are kept; nothing if the home gave no callback and it is used once.
    cached: Option<Arc<CachedFile>>,
}

impl std::fmt::Debug for ReplicaFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicaFile").field("path", &self.held.path).field("entry", &self.held.entry).finish()
    }
}

impl ReplicaObject {
    pub(super) fn new(blocks: &Arc<Blocks>, held: Arc<Held>, kept: bool) -> Self {
        match held.manifest().cloned() {
            None if matches!(held.content, HeldContent::Link(_)) => Self::Link(ReplicaLink(held)),
            None => Self::Directory(ReplicaDirectory(held)),
            Some(manifest) => {
                let keep = kept && held.has_blocks();
                let cached = keep.then(|| blocks.cache.file(&blocks.volume, &held.path, &manifest));
                Self::File(ReplicaFile { blocks: blocks.clone(), held, manifest, cached })
            }
        }
    }
}

impl ReplicaFile {
    /// Who may do what with it.
    pub fn bucket(&self) -> &Bucket {
        &self.held.bucket
    }

    /// A part of content that came whole with the open.
    fn inline(&self, index: usize) -> Option<Bytes> {
        let HeldContent::File { inline: Some(content), .. } = &self.held.content else { return None };
        let bytes = self.manifest.bytes_of(index);
        #[allow(clippy::cast_possible_truncation)] // it is in memory
        Some(content.slice(bytes.start as usize..bytes.end as usize))
    }

    fn wanted(&self, index: usize) -> Wanted {
        Wanted {
            path: self.held.path.clone(),
            root: self.manifest.root(),
            index,
            bytes: self.manifest.bytes_of(index),
            expected: self.manifest.blocks()[index],
            file: self.cached.clone(),
        }
    }
}

impl FileSource for ReplicaFile {
    fn volume(&self) -> &VolumeName {
        &self.blocks.volume
    }

    fn path(&self) -> &VolumePath {
        &self.held.path
    }

    fn entry(&self) -> &Entry {
        &self.held.entry
    }

    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn signed_manifest(&self) -> Option<&SignedManifest> {
        match &self.held.content {
            HeldContent::File { signed, .. } => Some(signed),
            HeldContent::Directory(_) | HeldContent::Link(_) => None,
        }
    }

    fn change(&self) -> ChangeNumber {
        self.held.change
    }

    fn block_now(&self, index: usize) -> Option<Bytes> {
        self.inline(index).or_else(|| self.blocks.now(&self.wanted(index)))
    }

    fn read_block(&self, index: usize) -> BoxFuture<'_, Result<Bytes, Problem>> {
        async move {
            match self.inline(index) {
                Some(block) => Ok(block),
                None => self.blocks.read(self.wanted(index)).await,
            }
        }
        .boxed()
    }
}

const _: () = assert!(crate::session::limits::OPEN_INLINE_BYTES <= BLOCK_BYTES, "inline content is one block");
