//! A file at a replica, opened at one version: what serving needs of it.

use super::blocks::{Blocks, Covered, Wanted};
use super::held::{Held, HeldContent};
use super::owner::Order;
use crate::cache::CachedFile;
use crate::coherence::Grant;
use crate::limits::{BLOCK_BYTES, NODE_CHILDREN};
use crate::manifest::{NodePlace, Seeker, Step, zeros};
use crate::model::{BlockRef, Entry, Listing, Manifest, ObjectVersion, Policy, SignedManifest, link_target};
use crate::serve::FileSource;
use crate::session::OpenAnswer;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, join};
use std::sync::{Arc, MutexGuard, PoisonError};
use terms::{BootMs, ChangeNumber, Code, Digest, Problem, VolumeName, VolumePath};
use tokio::sync::{mpsc, oneshot};
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
        &self.held().bucket
    }

    /// Its attributes.
    pub fn entry(&self) -> &Entry {
        &self.held().entry
    }

    /// Where it stands: the path that was opened, or that of the link on the way.
    pub fn path(&self) -> &VolumePath {
        match self {
            Self::Link(link) => link.at(),
            Self::File(_) | Self::Directory(_) => &self.held().path,
        }
    }

    /// What a holder below is answered.
    pub(super) fn answer(&self, grant: Grant) -> OpenAnswer {
        let held = self.held();
        let Grant { change, callback } = grant;
        OpenAnswer { change, callback, takes_in: Some(held.change), ..held.answer() }
    }

    fn held(&self) -> &Held {
        match self {
            Self::File(file) => &file.held,
            Self::Directory(directory) => &directory.0,
            Self::Link(link) => &link.0,
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
    covered: Covered,
    opener: Opener,
}

/// Opens the same path again.
struct Opener {
    inbox: mpsc::WeakSender<Order>,
    path: VolumePath,
}

impl Opener {
    /// The version that is valid now: without a message while lease and callback stand.
    async fn version(&self) -> Option<Result<ObjectVersion, Problem>> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Open { path: self.path.clone(), answer };
        self.inbox.upgrade()?.send(order).await.ok()?;
        Some(answered.await.ok()?.map(|opened| opened.object.entry().version))
    }
}

impl std::fmt::Debug for ReplicaFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicaFile").field("path", &self.held.path).field("entry", &self.held.entry).finish()
    }
}

impl ReplicaObject {
    pub(super) fn new(
        blocks: &Arc<Blocks>,
        held: Arc<Held>,
        (kept, until): (bool, Option<BootMs>),
        inbox: mpsc::WeakSender<Order>,
    ) -> Self {
        let covered = match held.policy() {
            Policy::Log | Policy::Immutable => Covered::Always,
            Policy::Ttl(_) => Covered::Until(until.unwrap_or_default()),
            Policy::Cto | Policy::Strong => Covered::ByLease,
        };
        let opener = Opener { inbox, path: held.path.clone() };
        match held.manifest().cloned() {
            None if matches!(held.content, HeldContent::Link(_)) => Self::Link(ReplicaLink(held)),
            None => Self::Directory(ReplicaDirectory(held)),
            Some(manifest) => {
                let grows = held.policy() == Policy::Log;
                let cached = match held.has_blocks() {
                    true if grows => Some(blocks.cache.growing(&blocks.volume, &held.path, &manifest)),
                    true if kept => Some(blocks.cache.file(&blocks.volume, &held.path, &manifest)),
                    _ => None,
                };
                Self::File(ReplicaFile { blocks: blocks.clone(), held, manifest, cached, covered, opener })
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

    fn wanted(&self, index: usize, expected: BlockRef) -> Wanted {
        Wanted {
            path: self.held.path.clone(),
            root: self.manifest.root(),
            index,
            bytes: self.manifest.bytes_of(index),
            expected,
            file: self.cached.clone(),
            covered: self.covered,
            grows: self.held.policy() == Policy::Log,
        }
    }

    fn seeker(&self) -> Option<MutexGuard<'_, Seeker>> {
        match &self.held.content {
            HeldContent::File { seeker, .. } => Some(seeker.lock().unwrap_or_else(PoisonError::into_inner)),
            HeldContent::Directory(_) | HeldContent::Link(_) => None,
        }
    }

    /// What a block is, as far as the nodes on the way are known.
    fn known(&self, index: usize) -> Option<Step> {
        self.seeker().map(|mut seeker| seeker.block(index))
    }

    /// What a block is; fetches the nodes on the way. A hole is given out as cached content is: under the lease.
    async fn find(&self, index: usize) -> Result<Step, Problem> {
        loop {
            match self.known(index).ok_or_else(|| self.no_file())? {
                Step::Need(place, expected) => self.learn(place, expected).await?,
                Step::Hole(len) if self.cached.is_none() || !self.blocks.covers(self.covered) => {
                    return Ok(Step::Block(BlockRef::zeros(len)));
                }
                found => return Ok(found),
            }
        }
    }

    async fn learn(&self, place: NodePlace, expected: Digest) -> Result<(), Problem> {
        let bytes = self.blocks.node(&self.held.path, self.manifest.root(), place).await?;
        let learnt = self.seeker().ok_or_else(|| self.no_file())?.learn(place, expected, &bytes);
        learnt.map_err(|error| {
            let what = format!("node {place} of {}/{}", self.blocks.volume, self.held.path);
            let server = self.blocks.link.server();
            tracing::warn!(%what, %error, %server, "a node does not match the manifest that the home signed");
            Problem::new(Code::Internal, format!("{what} does not match the manifest that the home signed"))
        })
    }

    /// Who reads on will want the next node: it is fetched while there is time.
    async fn look_ahead(&self, index: usize) {
        if index % NODE_CHILDREN != LOOK_AHEAD_AT || self.manifest.top().is_none() {
            return;
        }
        if let Some(next) = self.seeker().and_then(|seeker| seeker.next_leaf(index)) {
            // Whoever comes to that block hears what went wrong.
            let _ = self.find(next).await;
        }
    }

    /// Under `strong` each read shows the last completed write: what was opened must be that still.
    async fn still_valid(&self) -> Result<(), Problem> {
        if self.held.policy() != Policy::Strong {
            return Ok(());
        }
        let here = || format!("{}/{}", self.blocks.volume, self.held.path);
        match self.opener.version().await {
            Some(Ok(version)) if version == self.held.entry.version => Ok(()),
            Some(Ok(_)) => Err(replaced(&here())),
            Some(Err(problem)) => Err(problem),
            None => Err(Problem::new(Code::Unavailable, format!("{} is not served here any more", here()))),
        }
    }

    fn no_file(&self) -> Problem {
        Problem::new(Code::Internal, format!("{}/{} is no file", self.blocks.volume, self.held.path))
    }

    async fn block(&self, index: usize) -> Result<Bytes, Problem> {
        match self.find(index).await? {
            Step::Hole(len) => Ok(zeros(len)),
            Step::Block(expected) => self.blocks.read(self.wanted(index, expected)).await,
            Step::Need(..) => Err(self.no_file()),
        }
    }
}

/// What a reader is told whose version is no more the one that a read has to show.
pub(crate) fn replaced(what: &str) -> Problem {
    Problem::new(Code::Conflict, format!("{what} was replaced while it was being read")).next("open it again")
}

/// At which block of a node the next node is fetched.
const LOOK_AHEAD_AT: usize = NODE_CHILDREN / 2;

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
        if self.held.policy() == Policy::Strong {
            return None;
        }
        if let Some(block) = self.inline(index) {
            return Some(block);
        }
        match self.known(index)? {
            Step::Block(expected) => self.blocks.now(&self.wanted(index, expected)),
            Step::Hole(len) => (self.cached.is_some() && self.blocks.covers(self.covered)).then(|| zeros(len)),
            Step::Need(..) => None,
        }
    }

    fn read_block(&self, index: usize) -> BoxFuture<'_, Result<Bytes, Problem>> {
        async move {
            self.still_valid().await?;
            match self.inline(index) {
                Some(block) => Ok(block),
                None => join(self.block(index), self.look_ahead(index)).await.0,
            }
        }
        .boxed()
    }

    fn read_node(&self, place: NodePlace) -> BoxFuture<'_, Result<Option<Bytes>, Problem>> {
        async move {
            let size = self.manifest.size();
            let Some(top) = self.manifest.top() else { return Ok(None) };
            if place == NodePlace::top(size) {
                return Ok(Some(top.encode().into()));
            }
            if !place.is_in(size) {
                return Ok(None);
            }
            loop {
                let needed = {
                    let mut seeker = self.seeker().ok_or_else(|| self.no_file())?;
                    match seeker.node(place) {
                        Ok(None) => return Ok(None),
                        Ok(Some(hash)) => match seeker.known(place) {
                            Some(bytes) => return Ok(Some(bytes.into())),
                            None => (place, hash),
                        },
                        Err(needed) => needed,
                    }
                };
                self.learn(needed.0, needed.1).await?;
            }
        }
        .boxed()
    }
}

const _: () = assert!(crate::session::limits::OPEN_INLINE_BYTES <= BLOCK_BYTES, "inline content is one block");
