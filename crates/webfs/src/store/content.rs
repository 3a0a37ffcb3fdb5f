//! Reading blocks of files: from memory, from disk, each checked against its hash. Of a tree the nodes on the way are
//! made of rows and checked too, so that a row that is lost is an error and not a hole.

use super::Store;
use super::append::{self, EndBlock};
use super::blocks::BlockName;
use super::error::StoreError;
use super::placed::Placed;
use super::read::{Content, Object};
use crate::limits::BLOCK_BYTES;
use crate::manifest::{Manifest, Node, NodePlace, Seeker, Step, zeros};
use crate::model::BlockRef;
use crate::recent::Recent;
use bytes::Bytes;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terms::Digest;

/// Lowest nodes of one tree whose block files are kept in memory: count.
const LEAVES_KEPT: usize = 16;

/// Block files by the numbers of their blocks: of one lowest node.
type Names = Arc<BTreeMap<u64, BlockName>>;

/// What is known of a tree of blocks.
pub(super) struct Tree {
    pub(super) manifest: Manifest,
    placed: Placed,
    known: Mutex<Known>,
}

struct Known {
    seeker: Seeker,
    names: Recent<u64, Names>,
}

/// Where a block is.
enum Found {
    Hole(u64),
    Block(BlockName, BlockRef),
    /// This node must be read first, and its parent names it so.
    Node(NodePlace, Digest),
    /// The names of the blocks below this node must be read first.
    Names(NodePlace),
}

impl Tree {
    pub(super) fn new(manifest: Manifest, placed: Placed) -> Self {
        let known = Known { seeker: Seeker::new(manifest.clone()), names: Recent::new(LEAVES_KEPT) };
        Self { manifest, placed, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, index: usize) -> Found {
        let mut known = self.known();
        let block = match known.seeker.block(index) {
            Step::Hole(len) => return Found::Hole(len),
            Step::Need(place, hash) => return Found::Node(place, hash),
            Step::Block(block) => block,
        };
        let (number, leaf) = (index as u64, NodePlace::above(index as u64));
        let name = known.names.get(&leaf.number).and_then(|names| names.get(&number).copied());
        name.map_or(Found::Names(leaf), |name| Found::Block(name, block))
    }
}

impl Store {
    /// A block of a file, if it is in memory: without waiting.
    ///
    /// # Panics
    /// If the file has no such block.
    pub fn block_now(&self, object: &Object, index: usize) -> Option<Bytes> {
        match &object.content {
            Content::Directory | Content::Link { .. } => panic!("only a file has blocks"),
            Content::Inline { bytes, .. } => Some(bytes.clone()),
            Content::Blocks { manifest, names, .. } => match names[index] {
                Some(name) => self.0.memory.block(name),
                None => Some(hole(manifest, index)),
            },
            Content::Tree(tree) => match tree.find(index) {
                Found::Hole(len) => Some(zeros(len)),
                Found::Block(name, _) => self.0.memory.block(name),
                Found::Node(..) | Found::Names(_) => None,
            },
        }
    }

    /// A block of a file, checked against its hash.
    ///
    /// # Panics
    /// If the file has no such block.
    pub async fn read_block(&self, object: &Object, index: usize) -> Result<Bytes, StoreError> {
        if let Some(bytes) = self.block_now(object, index) {
            return Ok(bytes);
        }
        let (name, expected) = match &object.content {
            Content::Blocks { manifest, names, .. } => match (names[index], manifest.flat()) {
                (Some(name), Some(blocks)) => (name, blocks[index]),
                _ => return Ok(hole(manifest, index)),
            },
            Content::Tree(tree) => match self.find_block(object, tree, index).await? {
                Ok(found) => found,
                Err(len) => return Ok(zeros(len)),
            },
            Content::Directory | Content::Link { .. } | Content::Inline { .. } => return Err(StoreError::Closed),
        };
        if let Some(bytes) = self.0.memory.block(name) {
            return Ok(bytes);
        }
        let blocks = self.0.blocks.clone();
        let task = tokio::task::spawn_blocking(move || blocks.read(name, &expected));
        let bytes = match task.await.map_err(|_| StoreError::Closed)?? {
            Some(bytes) => bytes,
            None => self.read_end(object, index, name, expected).await?,
        };
        self.0.memory.keep_block(name, bytes.clone());
        Ok(bytes)
    }

    /// A node of the tree of a file's blocks, encoded. Nothing if it is a hole, or the file has no such node.
    pub async fn read_node(&self, object: &Object, place: NodePlace) -> Result<Option<Vec<u8>>, StoreError> {
        let Content::Tree(tree) = &object.content else { return Ok(None) };
        let size = tree.manifest.size();
        if place == NodePlace::top(size) {
            return Ok(tree.manifest.top().map(Node::encode));
        }
        if !place.is_in(size) {
            return Ok(None);
        }
        loop {
            let (needed, hash) = {
                let mut known = tree.known();
                match known.seeker.node(place) {
                    Ok(None) => return Ok(None),
                    Ok(Some(hash)) => match known.seeker.known(place) {
                        Some(bytes) => return Ok(Some(bytes)),
                        None => (place, hash),
                    },
                    Err(needed) => needed,
                }
            };
            self.learn(object, tree, needed, Some(hash)).await?;
        }
    }

    /// The file of a block with what it must hold; or how long the hole is.
    async fn find_block(
        &self,
        object: &Object,
        tree: &Tree,
        index: usize,
    ) -> Result<Result<(BlockName, BlockRef), u64>, StoreError> {
        // Each step learns a node, or the names below the last one; names that are not there are found out at once.
        for _ in 0..8 {
            match tree.find(index) {
                Found::Hole(len) => return Ok(Err(len)),
                Found::Block(name, block) => return Ok(Ok((name, block))),
                Found::Node(place, hash) => self.learn(object, tree, place, Some(hash)).await?,
                Found::Names(place) => self.learn(object, tree, place, None).await?,
            }
        }
        let why = format!("the row of its block {index} is missing");
        Err(StoreError::Damaged { what: format!("/{}", object.path), why })
    }

    /// Reads a node from its rows, and for a lowest one the names of its blocks.
    async fn learn(
        &self,
        object: &Object,
        tree: &Tree,
        place: NodePlace,
        expected: Option<Digest>,
    ) -> Result<(), StoreError> {
        let placed = tree.placed;
        let read = move |database: &Connection| {
            let failed = |error| StoreError::database("reading the tree of a file's blocks", error);
            let there = database
                .prepare_cached("SELECT 1 FROM content WHERE id = ?1")
                .and_then(|mut query| query.exists([placed.content]))
                .map_err(failed)?;
            let mut names = BTreeMap::new();
            if there && place.level == 1 {
                let blocks = placed.blocks(database, place.children(placed.size)).map_err(failed)?;
                names = blocks.into_iter().map(|(number, (name, _))| (number, name)).collect();
            }
            Ok((there, placed.node(database, place).map_err(failed)?, names))
        };
        let (there, node, names) = self.0.readers.read("reading the tree of a file's blocks", read).await?;
        if !there {
            return Err(StoreError::Gone { path: object.path.clone() });
        }
        let mut known = tree.known();
        if let Some(expected) = expected {
            known.seeker.learn(place, expected, &node.encode()).map_err(|error| StoreError::Damaged {
                what: format!("node {place} of the tree of /{}", object.path),
                why: error.to_string(),
            })?;
        }
        if place.level == 1 {
            known.names.insert(place.number, Arc::new(names), 1);
        }
        Ok(())
    }

    /// A block that has no file: the unfinished end of a log, which may have grown since.
    async fn read_end(
        &self,
        object: &Object,
        index: usize,
        name: BlockName,
        expected: BlockRef,
    ) -> Result<Bytes, StoreError> {
        let line = match &object.content {
            Content::Blocks { line, .. } => *line,
            Content::Tree(tree) => tree.placed.line,
            Content::Directory | Content::Link { .. } | Content::Inline { .. } => return Err(StoreError::Closed),
        };
        let number = index as u64;
        let look = move |database: &Connection| append::read_end(database, (line, number), name, expected);
        let found = match self.0.readers.read("reading the end of a log", look).await? {
            Some(EndBlock::Bytes(bytes)) => Some(bytes),
            Some(EndBlock::File(file, hash)) if file != name => {
                let blocks = self.0.blocks.clone();
                #[allow(clippy::cast_possible_truncation)] // 1 MiB
                let whole = BlockRef { len: BLOCK_BYTES as u32, hash };
                let read = tokio::task::spawn_blocking(move || blocks.read(file, &whole));
                // What is not a whole block has been replaced and not appended to.
                let read = read.await.map_err(|_| StoreError::Closed)?.ok().flatten();
                read.and_then(|bytes| append::cut(bytes.into(), expected))
            }
            _ => None,
        };
        match found {
            Some(bytes) => Ok(bytes),
            None => Err(self.missing_block(object, name).await),
        }
    }

    /// A block file is gone: collected with its version, or lost.
    async fn missing_block(&self, object: &Object, name: BlockName) -> StoreError {
        match self.block_in_use(name).await {
            Ok(false) => StoreError::Gone { path: object.path.clone() },
            Ok(true) => StoreError::Damaged { what: format!("block {name}"), why: "its file is missing".into() },
            Err(error) => error,
        }
    }

    async fn block_in_use(&self, name: BlockName) -> Result<bool, StoreError> {
        let doing = "looking for a block";
        let query = move |database: &Connection| {
            let mut query = database
                .prepare_cached("SELECT 1 FROM block WHERE file = ?1")
                .map_err(|error| StoreError::database(doing, error))?;
            query.exists([name.0]).map_err(|error| StoreError::database(doing, error))
        };
        self.0.readers.read(doing, query).await
    }
}

fn hole(manifest: &Manifest, index: usize) -> Bytes {
    let held = manifest.bytes_of(index);
    zeros(held.end - held.start)
}
