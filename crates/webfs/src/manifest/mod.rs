//! A file's content as blocks: a list, or above [`FLAT_BLOCKS`] a tree of nodes named by their hashes.
//!
//! The form follows from the length alone and the root from the content alone, so that every server of a version has
//! the same `ETag`. A hole is a block of zeros that is not stored: in a list it has the hash of zeros, in a tree it is
//! an empty place, as is a whole subtree of them. Nothing here does I/O.

mod edit;
mod node;
mod seek;

#[cfg(test)]
mod tests;

pub use edit::{Before, Edit, Edited};
pub use node::{MAX_NODE_BYTES, Node, NodeError, NodePlace};
pub use seek::{Seeker, Step};

use crate::limits::{BLOCK_BYTES, FLAT_BLOCKS, MAX_FILE_BYTES};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use terms::Digest;

#[allow(clippy::cast_possible_truncation)] // 1 MiB
static ZEROS: LazyLock<Bytes> = LazyLock::new(|| vec![0; BLOCK_BYTES as usize].into());
static ZERO_BLOCK: LazyLock<Digest> = LazyLock::new(|| Digest::of(&ZEROS));

/// So many zeros, at most a block of them: one page for all who read holes.
///
/// # Panics
/// If more than a block is asked for.
pub fn zeros(len: u64) -> Bytes {
    assert!(len <= BLOCK_BYTES, "a hole is at most a block at a time");
    #[allow(clippy::cast_possible_truncation)] // 1 MiB
    ZEROS.slice(..len as usize)
}

/// Whether these bytes, at most a block, are all zero.
pub fn is_zeros(bytes: &[u8]) -> bool {
    bytes == &ZEROS[..bytes.len().min(ZEROS.len())]
}

/// One block of a manifest: its length in bytes and its BLAKE3 hash. On the wire an array of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, Digest)", into = "(u32, Digest)")]
pub struct BlockRef {
    /// Length: bytes.
    pub len: u32,
    /// The hash of the block's bytes.
    pub hash: Digest,
}

impl BlockRef {
    /// The reference to a block with this content.
    ///
    /// # Panics
    /// If it is longer than [`BLOCK_BYTES`]: only our own cutting makes blocks.
    pub fn of(bytes: &[u8]) -> Self {
        assert!(bytes.len() as u64 <= BLOCK_BYTES, "a block is at most {BLOCK_BYTES} bytes");
        #[allow(clippy::cast_possible_truncation)] // asserted above
        let len = bytes.len() as u32;
        Self { len, hash: Digest::of(bytes) }
    }

    /// The reference to so many zeros.
    pub fn zeros(len: u64) -> Self {
        #[allow(clippy::cast_possible_truncation)] // 1 MiB
        let full = Self { len: BLOCK_BYTES as u32, hash: *ZERO_BLOCK };
        if len == BLOCK_BYTES { full } else { Self::of(&zeros(len)) }
    }

    /// Whether these bytes are the block.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == u64::from(self.len) && Digest::of(bytes) == self.hash
    }

    /// Whether it is a whole block of zeros, which nobody needs to fetch. A shorter one is told by its content.
    pub fn is_hole(&self) -> bool {
        u64::from(self.len) == BLOCK_BYTES && self.hash == *ZERO_BLOCK
    }
}

impl From<(u32, Digest)> for BlockRef {
    fn from((len, hash): (u32, Digest)) -> Self {
        Self { len, hash }
    }
}

impl From<BlockRef> for (u32, Digest) {
    fn from(block: BlockRef) -> Self {
        (block.len, block.hash)
    }
}

/// Why something is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More blocks than a list may have.
    #[error("a manifest of {0} blocks is too long: a list has at most {FLAT_BLOCKS}")]
    TooManyBlocks(usize),
    /// Longer than a file may be.
    #[error("a file of {0} bytes is too long: at most {MAX_FILE_BYTES}")]
    TooLarge(u64),
    /// A block is empty, too long, or short before the end.
    #[error(
        "block {index} of the manifest has {len} bytes: all but the last have {BLOCK_BYTES}, the last 1 to that"
    )]
    BlockLength {
        /// Which block.
        index: usize,
        /// Its length as stated.
        len: u32,
    },
    /// A tree of so few blocks that they are listed.
    #[error("a file of {0} bytes has a list of blocks and no tree")]
    NoTree(u64),
    /// Both forms at once.
    #[error("the manifest has a list of blocks and a tree")]
    Both,
    /// The top node is none.
    #[error("the top of the manifest's tree is wrong")]
    Node(#[from] NodeError),
    /// The stated size or root is not what the blocks give.
    #[error(
        "the manifest states size {size} and root {root}, its blocks give size {found_size} and root {found_root}"
    )]
    Disagrees {
        /// Size as stated: bytes.
        size: u64,
        /// Root as stated.
        root: Digest,
        /// Size of the blocks: bytes.
        found_size: u64,
        /// Root of the blocks.
        found_root: Digest,
    },
}

/// A file's content as blocks. Valid by construction; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    size: u64,
    root: Digest,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Flat(Arc<[BlockRef]>),
    Tree(Arc<Node>),
}

impl Manifest {
    /// The manifest of these blocks, in order: a list of them, or their tree.
    pub fn new(blocks: Vec<BlockRef>) -> Result<Self, ManifestError> {
        for (index, block) in blocks.iter().enumerate() {
            let len = u64::from(block.len);
            let last = index + 1 == blocks.len();
            if len == 0 || len > BLOCK_BYTES || (!last && len != BLOCK_BYTES) {
                return Err(ManifestError::BlockLength { index, len: block.len });
            }
        }
        let size = blocks.iter().map(|block| u64::from(block.len)).sum();
        if size > MAX_FILE_BYTES {
            return Err(ManifestError::TooLarge(size));
        }
        if blocks.len() <= FLAT_BLOCKS {
            return Ok(Self { size, root: root_of_list(size, &blocks), form: Form::Flat(blocks.into()) });
        }
        let tail = BlockRef::zeros(blocks.last().map_or(0, |last| last.len.into()));
        let holes = |block: &BlockRef| block.is_hole() || *block == tail;
        let changes = (0..).zip(blocks.iter().map(|block| (!holes(block)).then_some(block.hash))).collect();
        Ok(Edit { from: 0, to: size, blocks: &changes }
            .apply(&Nothing)
            .unwrap_or_else(|never| match never {})
            .manifest)
    }

    /// The manifest of this content, which is in memory.
    pub fn of(content: &[u8]) -> Result<Self, ManifestError> {
        #[allow(clippy::cast_possible_truncation)] // 1 MiB
        Self::new(content.chunks(BLOCK_BYTES as usize).map(BlockRef::of).collect())
    }

    /// The manifest of a file whose blocks form a tree with this top.
    pub fn tree(size: u64, top: Node) -> Result<Self, ManifestError> {
        if size > MAX_FILE_BYTES {
            return Err(ManifestError::TooLarge(size));
        }
        if block_count(size) <= FLAT_BLOCKS as u64 {
            return Err(ManifestError::NoTree(size));
        }
        top.check(NodePlace::top(size), size)?;
        Ok(Self { size, root: root_of_tree(size, &top), form: Form::Tree(Arc::new(top)) })
    }

    /// The file's length: bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hash over length and block hashes: what the strong `ETag` shows.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The blocks in order, unless they form a tree.
    pub fn flat(&self) -> Option<&[BlockRef]> {
        match &self.form {
            Form::Flat(blocks) => Some(blocks),
            Form::Tree(_) => None,
        }
    }

    /// The top node of the tree, if the blocks form one.
    pub fn top(&self) -> Option<&Node> {
        match &self.form {
            Form::Flat(_) => None,
            Form::Tree(top) => Some(top),
        }
    }

    /// How many blocks the file has, holes included.
    #[allow(clippy::cast_possible_truncation)] // at most 2^20
    pub fn block_count(&self) -> usize {
        block_count(self.size) as usize
    }

    /// Which bytes of the file a block holds.
    pub fn bytes_of(&self, index: usize) -> Range<u64> {
        bytes_of(self.size, index as u64)
    }

    /// Which blocks hold these bytes of the file.
    #[allow(clippy::cast_possible_truncation)] // at most 2^20
    pub fn blocks_of(&self, bytes: &Range<u64>) -> Range<usize> {
        let end = bytes.end.min(self.size);
        if bytes.start >= end {
            return 0..0;
        }
        (bytes.start / BLOCK_BYTES) as usize..block_count(end) as usize
    }

    /// What it costs in memory: bytes, roughly.
    pub fn weight(&self) -> usize {
        match &self.form {
            Form::Flat(blocks) => 40 * blocks.len(),
            Form::Tree(_) => node::NODE_WEIGHT,
        }
    }
}

/// Blocks of a file of this size: count.
pub fn block_count(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES)
}

/// Which bytes of a file of this size a block holds.
pub fn bytes_of(size: u64, index: u64) -> Range<u64> {
    let start = index.saturating_mul(BLOCK_BYTES).min(size);
    start..start.saturating_add(BLOCK_BYTES).min(size)
}

/// `BLAKE3("webos-manifest-v1" || size u64 LE || for each block: len u32 LE, hash)`.
fn root_of_list(size: u64, blocks: &[BlockRef]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"webos-manifest-v1");
    hasher.update(&size.to_le_bytes());
    for block in blocks {
        hasher.update(&block.len.to_le_bytes());
        hasher.update(&block.hash.0);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// `BLAKE3("webos-manifest-tree-v1" || size u64 LE || hash of the top node)`. The size gives each block its length.
fn root_of_tree(size: u64, top: &Node) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"webos-manifest-tree-v1");
    hasher.update(&size.to_le_bytes());
    hasher.update(&top.hash().0);
    Digest(*hasher.finalize().as_bytes())
}

/// A file of which nothing is known yet, because it is empty.
struct Nothing;

impl Before for Nothing {
    type Error = Infallible;
    fn node(&self, _: NodePlace) -> Result<Node, Infallible> {
        Ok(Node::default())
    }
}

/// The changed blocks of an edit: their hashes; nothing for a hole.
pub type ChangedBlocks = BTreeMap<u64, Option<Digest>>;
