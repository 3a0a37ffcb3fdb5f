//! A node of a tree of blocks: the hashes of its children, with empty places for holes. It is encoded in one way
//! only, does not depend on the file's length, and is at most 8 KiB.

use super::block_count;
use crate::limits::NODE_CHILDREN;
use std::fmt;
use std::str::FromStr;
use terms::Digest;

/// Which places are taken, one bit each: bytes.
const BITMAP_BYTES: usize = NODE_CHILDREN / 8;
const HASH_BYTES: usize = 32;
const FANOUT: u64 = NODE_CHILDREN as u64;
/// The longest encoding of a node: bytes.
pub const MAX_NODE_BYTES: usize = BITMAP_BYTES + NODE_CHILDREN * HASH_BYTES;
pub(super) const NODE_WEIGHT: usize = NODE_CHILDREN * (HASH_BYTES + 1) + 64;

/// Why bytes are no node, or not the one that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// It is shorter or longer than its own bitmap says.
    #[error("a node of {0} bytes does not fit its own bitmap")]
    Length(usize),
    /// It has a child behind the end of the file.
    #[error("the node has a child at place {place}, behind the end of the file")]
    BehindEnd {
        /// The place in the node.
        place: usize,
    },
    /// It has no children: then it is a hole, and its parent has none.
    #[error("the node has no children")]
    Empty,
    /// It is not the one that its parent names.
    #[error("the node has the hash {found}, its parent names {expected}")]
    Hash {
        /// What the parent says.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
}

/// Where a node stands: how many levels above the blocks, and the how-manieth of them. As text `LEVEL.NUMBER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodePlace {
    /// 1 for a node whose children are blocks.
    pub level: u8,
    /// From the start of the file.
    pub number: u64,
}

impl NodePlace {
    /// The node above a block.
    pub fn above(block: u64) -> Self {
        Self { level: 1, number: block / FANOUT }
    }

    /// The top of the tree of a file of this size: bytes.
    pub fn top(size: u64) -> Self {
        let (mut level, mut reach) = (1, FANOUT);
        while reach < block_count(size) {
            (level, reach) = (level + 1, reach * FANOUT);
        }
        Self { level, number: 0 }
    }

    /// The node above this one.
    pub fn parent(self) -> Self {
        Self { level: self.level + 1, number: self.number / FANOUT }
    }

    /// Nodes of a level (at level 0 blocks) in a file of this size: count.
    pub fn count(level: u8, size: u64) -> u64 {
        count_at(level, size)
    }

    /// Whether a file of this size has such a node.
    pub fn is_in(self, size: u64) -> bool {
        (1..=Self::top(size).level).contains(&self.level) && self.number < count_at(self.level, size)
    }

    /// Its place in its parent.
    #[allow(clippy::cast_possible_truncation)] // below 256
    pub fn place_in_parent(self) -> usize {
        (self.number % FANOUT) as usize
    }

    /// The numbers of its children on the level below, as far as a file of this size has them.
    pub fn children(self, size: u64) -> std::ops::Range<u64> {
        let start = self.number.saturating_mul(FANOUT);
        start..start.saturating_add(FANOUT).min(count_at(self.level.saturating_sub(1), size)).max(start)
    }
}

/// Nodes (or at level 0 blocks) of a level in a file of this size: count.
pub(super) fn count_at(level: u8, size: u64) -> u64 {
    (0..level).fold(block_count(size), |count, _| count.div_ceil(FANOUT))
}

impl fmt::Display for NodePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.level, self.number)
    }
}

impl FromStr for NodePlace {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('.')
            .and_then(|(level, number)| Some(Self { level: level.parse().ok()?, number: number.parse().ok()? }));
        parsed
            .filter(|place| (1..=3).contains(&place.level))
            .ok_or_else(|| format!("'{}' is not the place of a node: LEVEL.NUMBER", text.escape_default()))
    }
}

/// The hashes of up to [`NODE_CHILDREN`] children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node(Box<[Option<Digest>]>);

impl Default for Node {
    fn default() -> Self {
        Self(vec![None; NODE_CHILDREN].into())
    }
}

impl Node {
    /// The child at a place; nothing for a hole.
    pub fn child(&self, place: usize) -> Option<Digest> {
        self.0.get(place).copied().flatten()
    }

    /// Puts a child at a place.
    ///
    /// # Panics
    /// If a node has no such place.
    pub fn set(&mut self, place: usize, child: Option<Digest>) {
        self.0[place] = child;
    }

    /// Whether it is all holes.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Makes what lies behind the end of the file holes.
    pub(super) fn cut(&mut self, place: NodePlace, size: u64) {
        let children = place.children(size);
        self.0.iter_mut().skip((children.end - children.start) as usize).for_each(|child| *child = None);
    }

    /// The bitmap of places taken, lowest bit first, then the hashes in order.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; BITMAP_BYTES];
        for (place, child) in self.0.iter().enumerate() {
            if let Some(hash) = child {
                bytes[place / 8] |= 1 << (place % 8);
                bytes.extend_from_slice(&hash.0);
            }
        }
        bytes
    }

    /// Reads what [`Node::encode`] wrote, from anybody.
    pub fn decode(bytes: &[u8]) -> Result<Self, NodeError> {
        let wrong = NodeError::Length(bytes.len());
        let (bitmap, hashes) = bytes.split_at_checked(BITMAP_BYTES).ok_or(wrong)?;
        let taken: u32 = bitmap.iter().map(|byte| byte.count_ones()).sum();
        if hashes.len() != taken as usize * HASH_BYTES {
            return Err(wrong);
        }
        let mut hashes = hashes.chunks_exact(HASH_BYTES).filter_map(|hash| hash.try_into().ok().map(Digest));
        let mut node = Self::default();
        for (place, child) in node.0.iter_mut().enumerate() {
            if bitmap[place / 8] & (1 << (place % 8)) != 0 {
                *child = hashes.next();
            }
        }
        Ok(node)
    }

    /// Reads the node that stands at a place of a file and that its parent names.
    pub fn read(bytes: &[u8], place: NodePlace, size: u64, expected: Digest) -> Result<Self, NodeError> {
        let found = Digest::of(bytes);
        if found != expected {
            return Err(NodeError::Hash { expected, found });
        }
        let node = Self::decode(bytes)?;
        node.check(place, size)?;
        if node.is_empty() { Err(NodeError::Empty) } else { Ok(node) }
    }

    /// Whether it has no child behind the end of the file.
    pub(super) fn check(&self, place: NodePlace, size: u64) -> Result<(), NodeError> {
        let children = place.children(size);
        #[allow(clippy::cast_possible_truncation)] // at most 256
        let room = (children.end - children.start) as usize;
        match self.0.iter().skip(room).position(Option::is_some) {
            Some(behind) => Err(NodeError::BehindEnd { place: room + behind }),
            None => Ok(()),
        }
    }

    /// Its name: the hash of its encoding.
    pub fn hash(&self) -> Digest {
        Digest::of(&self.encode())
    }
}
