//! Blocks at a replica: from memory, from the disk cache, from the home; each checked against the manifest before
//! anybody gets it, each fetched once however many want it. What is cached is used only under the lease.

use super::limits::{FETCHES_IN_FLIGHT, HOT_BLOCK_BYTES};
use super::link::{HomeLink, LinkError};
use crate::cache::{Cache, CacheError, CachedFile, Sieve};
use crate::manifest::NodePlace;
use crate::model::{BlockRef, ObjectVersion};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, Shared};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terms::{BootMs, Code, Digest, Problem, VolumeName, VolumePath};
use tokio::sync::Semaphore;
use world::World;

/// What a replica has done since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaCounts {
    /// Opens answered from the cache, without a message.
    pub opens_cached: u64,
    /// Opens answered by the home.
    pub opens_asked: u64,
    /// Blocks from memory or disk.
    pub blocks_cached: u64,
    /// Blocks fetched from the home.
    pub blocks_fetched: u64,
    /// Bytes of these.
    pub bytes_fetched: u64,
    /// Nodes of trees of blocks fetched from the home.
    pub nodes_fetched: u64,
    /// Objects that a new epoch of the volume has undone.
    pub undone: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) opens_cached: AtomicU64,
    pub(super) opens_asked: AtomicU64,
    blocks_cached: AtomicU64,
    blocks_fetched: AtomicU64,
    bytes_fetched: AtomicU64,
    nodes_fetched: AtomicU64,
    pub(super) undone: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> ReplicaCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReplicaCounts {
            opens_cached: get(&self.opens_cached),
            opens_asked: get(&self.opens_asked),
            blocks_cached: get(&self.blocks_cached),
            blocks_fetched: get(&self.blocks_fetched),
            bytes_fetched: get(&self.bytes_fetched),
            nodes_fetched: get(&self.nodes_fetched),
            undone: get(&self.undone),
        }
    }
}

/// Blocks are named by where they stand, not by their hash alone: knowing a hash grants nothing.
type BlockKey = (VolumePath, Digest, usize);
type Fetch = Shared<BoxFuture<'static, Result<Bytes, Problem>>>;

#[derive(Default)]
struct Hot {
    sieve: Sieve<BlockKey>,
    blocks: HashMap<BlockKey, Bytes>,
}

/// What the files of a replica share.
pub(super) struct Blocks {
    pub(super) volume: VolumeName,
    pub(super) link: Arc<dyn HomeLink>,
    pub(super) cache: Cache,
    pub(super) world: World,
    pub(super) counters: Counters,
    /// Until when the lease covers what is cached: [`BootMs`].
    pub(super) trusted_until: AtomicU64,
    /// The epoch that the home has shown without proof: [`terms::Epoch`]; none is zero.
    pub(super) unproven: AtomicU64,
    fetching: Mutex<HashMap<BlockKey, Fetch>>,
    hot: Mutex<Hot>,
    slots: Semaphore,
}

/// What lets a copy be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Covered {
    /// The lease.
    ByLease,
    /// Its time to live.
    Until(BootMs),
    /// What it is: it never changes.
    Always,
}

/// Which block of which file.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) path: VolumePath,
    pub(super) root: Digest,
    pub(super) index: usize,
    pub(super) bytes: Range<u64>,
    pub(super) expected: BlockRef,
    /// Where it may be kept.
    pub(super) file: Option<Arc<CachedFile>>,
    /// What lets it be used from there.
    pub(super) covered: Covered,
    /// Whether the file only grows: the bytes are the same in each later version.
    pub(super) grows: bool,
}

impl Wanted {
    fn key(&self) -> BlockKey {
        (self.path.clone(), self.root, self.index)
    }
}

impl Blocks {
    pub(super) fn new(volume: VolumeName, link: Arc<dyn HomeLink>, cache: Cache, world: World) -> Self {
        Self {
            volume,
            link,
            cache,
            world,
            counters: Counters::default(),
            trusted_until: AtomicU64::new(0),
            unproven: AtomicU64::new(0),
            fetching: Mutex::default(),
            hot: Mutex::default(),
            slots: Semaphore::new(FETCHES_IN_FLIGHT),
        }
    }

    /// Whether the lease covers this moment.
    pub(super) fn is_trusted(&self) -> bool {
        self.world.clock.boot() < BootMs(self.trusted_until.load(Ordering::Acquire))
    }

    /// Whether a copy may be used at this moment.
    pub(super) fn covers(&self, covered: Covered) -> bool {
        match covered {
            Covered::ByLease => self.is_trusted(),
            Covered::Until(end) => self.world.clock.boot() < end,
            Covered::Always => true,
        }
    }

    /// The home was not reached, and the lease does not cover what is cached.
    pub(super) fn cut_off(&self) -> Problem {
        let (home, server) = (self.link.home(), self.link.server());
        let through = if server == home { String::new() } else { format!(" through the relay {server}") };
        let detail = format!(
            "{} is not served here: its home {} ({home}) cannot be reached{through}, and the lease on the copies has \
             ended",
            self.volume, home.name
        );
        Problem::new(Code::Unavailable, detail).next("try again when the home is back, or ask another server")
    }

    /// The server above went back to an older version.
    pub(super) fn rolled_back(&self, seen: ObjectVersion, offered: ObjectVersion) -> Problem {
        let server = self.link.server();
        let detail = format!("{server} offered version {offered} after {seen} of a file of {}", self.volume);
        tracing::warn!(%detail, "refused");
        Problem::new(Code::Internal, detail).next("ask the volume's administrator")
    }

    /// Forgets what is in memory, and fetches that nobody waits for.
    pub(super) fn clear(&self) {
        *self.hot() = Hot::default();
        self.fetching().clear();
    }

    /// The block, if it is in memory and may be used.
    pub(super) fn now(&self, wanted: &Wanted) -> Option<Bytes> {
        if !self.covers(wanted.covered) || wanted.file.is_none() {
            return None;
        }
        let mut hot = self.hot();
        let block = hot.blocks.get(&wanted.key())?.clone();
        hot.sieve.touch(&wanted.key());
        Counters::add(&self.counters.blocks_cached, 1);
        Some(block)
    }

    /// The block, from wherever it may be had.
    pub(super) async fn read(self: &Arc<Self>, wanted: Wanted) -> Result<Bytes, Problem> {
        if let Some(block) = self.now(&wanted) {
            return Ok(block);
        }
        if let Some(file) = wanted.file.clone().filter(|_| self.covers(wanted.covered)) {
            let (index, expected) = (wanted.index, wanted.expected);
            match blocking(move || file.read(index, &expected)).await {
                Ok(Some(block)) if self.covers(wanted.covered) => {
                    Counters::add(&self.counters.blocks_cached, 1);
                    self.cache.touch(&self.volume, &wanted.path);
                    self.keep_hot(&wanted, &block);
                    return Ok(block);
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(path = ?wanted.path, %error, "the cache could not be read"),
            }
        }
        self.fetch(wanted).await
    }

    /// A node of the tree of a file's blocks, from the home. The caller checks it.
    pub(super) async fn node(&self, path: &VolumePath, root: Digest, place: NodePlace) -> Result<Bytes, Problem> {
        let _slot = self.slots.acquire().await.map_err(|_| self.cut_off())?;
        let node = self.link.node(path, root, place).await.map_err(|error| self.explain(error, path))?;
        Counters::add(&self.counters.nodes_fetched, 1);
        Ok(node)
    }

    /// Fetches the block, or joins who does already.
    fn fetch(self: &Arc<Self>, wanted: Wanted) -> Fetch {
        let key = wanted.key();
        let mut fetching = self.fetching();
        if let Some(fetch) = fetching.get(&key) {
            return fetch.clone();
        }
        // It may have come since the caller looked.
        if let Some(block) = self.now(&wanted) {
            return std::future::ready(Ok(block)).boxed().shared();
        }
        let blocks = self.clone();
        let fetch = async move {
            let fetched = blocks.fetch_alone(&wanted).await;
            blocks.fetching().remove(&wanted.key());
            fetched
        };
        let fetch = fetch.boxed().shared();
        // Whoever was given up half way leaves no entry behind for ever: nobody else polls it.
        fetching.retain(|_, fetch| fetch.strong_count().is_some_and(|count| count > 1));
        fetching.insert(key, fetch.clone());
        fetch
    }

    async fn fetch_alone(&self, wanted: &Wanted) -> Result<Bytes, Problem> {
        let _slot = self.slots.acquire().await.map_err(|_| self.cut_off())?;
        let root = (!wanted.grows).then_some(wanted.root);
        let answer = self.link.read(&wanted.path, root, wanted.bytes.clone()).await;
        let block = answer.map_err(|error| self.explain(error, &wanted.path))?;
        if !wanted.expected.matches(&block) {
            let what = format!("block {} of {}/{}", wanted.index, self.volume, wanted.path);
            let server = self.link.server();
            tracing::warn!(%what, %server, "what was sent does not match the manifest that the home signed");
            return Err(Problem::new(
                Code::Internal,
                format!("{what} does not match the manifest that the home signed"),
            ));
        }
        Counters::add(&self.counters.blocks_fetched, 1);
        Counters::add(&self.counters.bytes_fetched, block.len() as u64);
        if let Some(file) = wanted.file.clone() {
            self.keep_hot(wanted, &block);
            self.land(wanted, file, block.clone()).await;
        }
        Ok(block)
    }

    /// Puts a block on disk. If the disk fails the reader has it none the less.
    async fn land(&self, wanted: &Wanted, file: Arc<CachedFile>, block: Bytes) {
        let (cache, volume, path, index) =
            (self.cache.clone(), self.volume.clone(), wanted.path.clone(), wanted.index);
        let landed = blocking(move || cache.land(&volume, &path, &file, index, &block)).await;
        if let Err(error) = landed {
            tracing::warn!(path = ?wanted.path, %error, "a block could not be cached");
        }
    }

    pub(super) fn explain(&self, error: LinkError, path: &VolumePath) -> Problem {
        match error {
            LinkError::Unreachable(problem) => {
                tracing::debug!(%problem, "the home was not reached");
                self.cut_off()
            }
            LinkError::Refused(problem) if problem.code == Code::Conflict => {
                let detail = format!("{}/{path} was replaced while it was being read", self.volume);
                Problem::new(Code::Conflict, detail).next("open it again")
            }
            LinkError::Refused(problem) => problem,
        }
    }

    fn keep_hot(&self, wanted: &Wanted, block: &Bytes) {
        let mut hot = self.hot();
        hot.sieve.put(wanted.key(), block.len() as u64);
        hot.blocks.insert(wanted.key(), block.clone());
        for key in hot.sieve.shrink_to(HOT_BLOCK_BYTES, None) {
            hot.blocks.remove(&key);
        }
    }

    fn hot(&self) -> MutexGuard<'_, Hot> {
        self.hot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetching(&self) -> MutexGuard<'_, HashMap<BlockKey, Fetch>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs what waits for the disk apart from what waits for the network.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CacheError> + Send + 'static,
) -> Result<T, CacheError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(CacheError::io("waiting for", std::path::Path::new("the disk"), error.into())),
    }
}
