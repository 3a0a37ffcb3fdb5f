//! Changing a tree: from the changed blocks and the new length to the new root, through the nodes above them only.

use super::node::{Node, NodePlace, count_at};
use super::{ChangedBlocks, Form, Manifest, block_count, root_of_tree};
use crate::limits::FLAT_BLOCKS;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use terms::Digest;

/// The nodes as they were before a change.
pub trait Before {
    /// Why one could not be had.
    type Error;
    /// The node at a place: empty if there is none. Where the file was a list, nodes above the first level are not
    /// asked for what they do not have: they are empty.
    fn node(&self, place: NodePlace) -> Result<Node, Self::Error>;
}

/// A change of a file's blocks.
#[derive(Debug)]
pub struct Edit<'a> {
    /// The length before: bytes.
    pub from: u64,
    /// The length after: bytes. More than [`FLAT_BLOCKS`] blocks.
    pub to: u64,
    /// The blocks that change, below the new length. A last block whose length changes is one of them.
    pub blocks: &'a ChangedBlocks,
}

/// What a change gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The manifest after it.
    pub manifest: Manifest,
    /// The nodes that are new: their hashes; nothing for what has become a hole. What stood behind the new end is
    /// not listed.
    pub nodes: BTreeMap<NodePlace, Option<Digest>>,
}

impl Edit<'_> {
    /// Makes the new nodes, from the lowest level up.
    ///
    /// # Panics
    /// If the new length asks for a list, or a change lies behind it.
    pub fn apply<B: Before>(&self, before: &B) -> Result<Edited, B::Error> {
        assert!(block_count(self.to) > FLAT_BLOCKS as u64, "short files have lists");
        let end = block_count(self.to);
        assert!(self.blocks.last_key_value().is_none_or(|(last, _)| *last < end), "changes lie within the file");
        let was_tree = block_count(self.from) > FLAT_BLOCKS as u64;
        let old_top = if was_tree { NodePlace::top(self.from).level } else { 0 };
        let top = NodePlace::top(self.to);
        let mut below = self.blocks.clone();
        let mut nodes = BTreeMap::new();
        let mut last = Node::default();
        for level in 1..=top.level {
            let mut made = ChangedBlocks::new();
            for number in self.dirty(level, old_top, &below) {
                let place = NodePlace { level, number };
                let mut node = before.node(place)?;
                let children = place.children(self.to);
                for (child, hash) in below.range(children.clone()) {
                    #[allow(clippy::cast_possible_truncation)] // at most 256
                    node.set((child - children.start) as usize, *hash);
                }
                node.cut(place, self.to);
                let hash = (place == top || !node.is_empty()).then(|| node.hash());
                nodes.insert(place, hash);
                made.insert(number, hash);
                last = node;
            }
            below = made;
        }
        let root = root_of_tree(self.to, &last);
        let manifest = Manifest { size: self.to, root, form: Form::Tree(Arc::new(last)) };
        Ok(Edited { manifest, nodes })
    }

    /// The nodes of a level that are made anew: those above what changed, the one at the new end if the file was
    /// longer, the tops, and all above the blocks if the file was a list.
    fn dirty(&self, level: u8, old_top: u8, below: &ChangedBlocks) -> BTreeSet<u64> {
        let mut dirty: BTreeSet<u64> =
            below.keys().map(|child| NodePlace { level: level - 1, number: *child }.parent().number).collect();
        if old_top == 0 && level == 1 {
            dirty.extend(0..count_at(1, self.from.min(self.to)));
        }
        let ends = count_at(level, self.to);
        if self.to < self.from {
            dirty.insert(ends - 1);
        }
        // An old top may be empty, which no other node is; so it is made anew when it gets a parent.
        if level > old_top.max(1) || level == old_top || ends == 1 {
            dirty.insert(0);
        }
        dirty
    }
}
