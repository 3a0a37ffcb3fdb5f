//! Looking up blocks in a manifest whose nodes come from elsewhere: says which node it needs next, checks what comes,
//! and keeps the nodes used last.

use super::node::{Node, NodeError, NodePlace};
use super::{BlockRef, Manifest, block_count};
use crate::limits::NODES_KEPT;
use crate::recent::Recent;
use std::ops::Range;
use std::sync::Arc;
use terms::Digest;

/// What a lookup says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The block.
    Block(BlockRef),
    /// So many zeros: bytes. Nothing is stored.
    Hole(u64),
    /// This node is needed; its parent names it so.
    Need(NodePlace, Digest),
}

/// A manifest with the nodes that are known of its tree.
pub struct Seeker {
    manifest: Manifest,
    nodes: Recent<NodePlace, Arc<Node>>,
}

impl Seeker {
    /// Knows no more than the manifest itself.
    pub fn new(manifest: Manifest) -> Self {
        Self { manifest, nodes: Recent::new(NODES_KEPT) }
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A block of the file, or the next node on the way to it.
    ///
    /// # Panics
    /// If the file has no such block.
    pub fn block(&mut self, index: usize) -> Step {
        assert!(index < self.manifest.block_count(), "the file has such a block");
        let held = self.manifest.bytes_of(index);
        let len = held.end - held.start;
        if let Some(blocks) = self.manifest.flat() {
            return if blocks[index].is_hole() { Step::Hole(len) } else { Step::Block(blocks[index]) };
        }
        match self.child_at(0, index as u64) {
            #[allow(clippy::cast_possible_truncation)] // 1 MiB
            Ok(Some(hash)) => Step::Block(BlockRef { len: len as u32, hash }),
            Ok(None) => Step::Hole(len),
            Err((place, hash)) => Step::Need(place, hash),
        }
    }

    /// The hash of a node (at level 0: of a block); nothing for a hole; else the node that is needed to tell.
    fn child_at(&mut self, level: u8, number: u64) -> Result<Option<Digest>, (NodePlace, Digest)> {
        let Some(top) = self.manifest.top() else { return Ok(None) };
        let place = NodePlace { level, number };
        let (above, slot) = (place.parent(), place.place_in_parent());
        if above == NodePlace::top(self.manifest.size()) {
            return Ok(top.child(slot));
        }
        if let Some(node) = self.nodes.get(&above) {
            return Ok(node.child(slot));
        }
        match self.child_at(above.level, above.number)? {
            Some(hash) => Err((above, hash)),
            None => Ok(None),
        }
    }

    /// The hash of a node other than the top; nothing for a hole; else the node that is needed first.
    pub fn node(&mut self, place: NodePlace) -> Result<Option<Digest>, (NodePlace, Digest)> {
        self.child_at(place.level, place.number)
    }

    /// The encoding of a node that is known.
    pub fn known(&mut self, place: NodePlace) -> Option<Vec<u8>> {
        self.nodes.get(&place).map(|node| node.encode())
    }

    /// Takes in a node that was needed.
    pub fn learn(&mut self, place: NodePlace, expected: Digest, bytes: &[u8]) -> Result<(), NodeError> {
        let node = Node::read(bytes, place, self.manifest.size(), expected)?;
        self.nodes.insert(place, Arc::new(node), 1);
        Ok(())
    }

    /// The blocks behind which the next node begins, for whoever reads on: none at the end of the file.
    pub fn next_leaf(&self, index: usize) -> Option<usize> {
        let leaf: Range<u64> = NodePlace::above(index as u64).children(self.manifest.size());
        #[allow(clippy::cast_possible_truncation)] // at most 2^20
        (leaf.end < block_count(self.manifest.size())).then_some(leaf.end as usize)
    }
}

impl std::fmt::Debug for Seeker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seeker").field("root", &self.manifest.root()).finish_non_exhaustive()
    }
}
