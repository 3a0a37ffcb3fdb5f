//! Trees of blocks against a plain list of them, under random changes; and nodes from strangers.

use super::edit::Edited;
use super::*;
use crate::limits::NODE_CHILDREN;
use std::collections::BTreeMap;
use world::World;

/// A plain list of hashes, and beside it the nodes as a store would keep them.
#[derive(Default)]
struct Model {
    size: u64,
    blocks: Vec<Option<Digest>>,
    nodes: BTreeMap<NodePlace, Digest>,
    asked: std::cell::Cell<usize>,
}

impl Before for Model {
    type Error = Infallible;
    fn node(&self, place: NodePlace) -> Result<Node, Infallible> {
        self.asked.set(self.asked.get() + 1);
        let mut node = Node::default();
        for (slot, child) in place.children(self.size).enumerate() {
            let hash = match place.level {
                1 => self.blocks[usize::try_from(child).expect("small")],
                level => self.nodes.get(&NodePlace { level: level - 1, number: child }).copied(),
            };
            node.set(slot, hash);
        }
        Ok(node)
    }
}

impl Model {
    fn change(&mut self, size: u64, blocks: &ChangedBlocks) -> Edited {
        self.asked.set(0);
        let edited = Edit { from: self.size, to: size, blocks }.apply(self).unwrap_or_else(|never| match never {});
        self.size = size;
        self.blocks.resize(usize::try_from(block_count(size)).expect("small"), None);
        for (index, hash) in blocks {
            self.blocks[usize::try_from(*index).expect("small")] = *hash;
        }
        for (place, hash) in &edited.nodes {
            match hash {
                Some(hash) => drop(self.nodes.insert(*place, *hash)),
                None => drop(self.nodes.remove(place)),
            }
        }
        let top = NodePlace::top(size);
        self.nodes.retain(|place, _| place.level <= top.level && place.number < node::count_at(place.level, size));
        edited
    }

    /// The same content made at once.
    fn anew(&self) -> Manifest {
        let blocks = (0..).zip(self.blocks.iter().copied()).collect();
        Edit { from: 0, to: self.size, blocks: &blocks }
            .apply(&Nothing)
            .unwrap_or_else(|never| match never {})
            .manifest
    }

    fn reads(&self, manifest: &Manifest, index: usize) -> usize {
        let mut seeker = Seeker::new(manifest.clone());
        for fetched in 0.. {
            let expected = self.blocks[index];
            match seeker.block(index) {
                Step::Block(block) => {
                    assert_eq!((Some(block.hash), block.len.into()), (expected, length(manifest, index)));
                    return fetched;
                }
                Step::Hole(len) => {
                    assert_eq!((expected, len), (None, length(manifest, index)));
                    return fetched;
                }
                Step::Need(place, hash) => {
                    let bytes = self.node(place).unwrap_or_else(|never| match never {}).encode();
                    seeker.learn(place, hash, &bytes).expect("the right node");
                }
            }
        }
        unreachable!("each step learns a node")
    }
}

fn length(manifest: &Manifest, index: usize) -> u64 {
    let held = manifest.bytes_of(index);
    held.end - held.start
}

const TIB: u64 = 1 << 40;

#[test]
fn random_changes_give_what_is_made_at_once() {
    for seed in 0..6 {
        println!("seed {seed}");
        let (world, _) = World::simulated(seed);
        let below = |limit: u64| {
            let mut bytes = [0; 8];
            world.entropy.fill(&mut bytes);
            u64::from_le_bytes(bytes) % limit
        };
        let mut model = Model::default();
        for step in 0..40u64 {
            let end = [2_000, 3_000, 66_000, 140_000][usize::try_from(below(4)).expect("small")];
            let size = match below(3) {
                0 => (1025 + below(end)) * BLOCK_BYTES - below(BLOCK_BYTES),
                _ => model.size.max(1025 * BLOCK_BYTES),
            };
            let count = block_count(size);
            let mut blocks = ChangedBlocks::new();
            let tail = block_count(model.size).saturating_sub(1);
            if size != model.size && tail < count {
                blocks.insert(tail, Some(Digest::of(&[1, 2, 3])));
            }
            if size < model.size {
                blocks.insert(count - 1, None);
            }
            let start = below(count);
            for index in start..(start + below(600)).min(count) {
                blocks.insert(index, (below(4) > 0).then(|| Digest::of(&(step, index).0.to_le_bytes())));
            }
            let edited = model.change(size, &blocks);
            assert_eq!(edited.manifest, model.anew(), "seed {seed}, step {step}");
            for index in [0, count - 1, start, below(count), below(count)] {
                assert!(model.reads(&edited.manifest, usize::try_from(index).expect("small")) <= 2);
            }
            let top = edited.manifest.top().expect("a tree").clone();
            assert_eq!(Manifest::tree(size, top), Ok(edited.manifest));
        }
    }
}

#[test]
fn a_change_touches_one_node_a_level() {
    let mut model = Model::default();
    let size = 100_000 * BLOCK_BYTES - 17;
    let all = (0..100_000).map(|index: u64| (index, Some(Digest::of(&index.to_le_bytes())))).collect();
    let full = model.change(size, &all);
    assert_eq!(full.nodes.len(), 391 + 2 + 1);
    assert_eq!(full.manifest.block_count(), 100_000);
    for index in [0, 255, 256, 65_535, 65_536, 99_999] {
        let edited = model.change(size, &BTreeMap::from([(index, Some(Digest::of(b"new")))]));
        assert_eq!((edited.nodes.len(), model.asked.get()), (3, 3), "block {index}");
        assert_eq!(edited.manifest, model.anew());
        assert_eq!(model.reads(&edited.manifest, usize::try_from(index).expect("small")), 2);
    }
}

#[test]
fn holes_cost_nothing() {
    let mut model = Model::default();
    let empty = model.change(TIB, &ChangedBlocks::new());
    assert_eq!((empty.nodes.len(), model.asked.get()), (2, 2), "the top, and its first child, which is a hole");
    let written = Some(Digest::of(b"written"));
    let last = TIB / BLOCK_BYTES - 1;
    let sparse = model.change(TIB, &BTreeMap::from([(0, written), (last / 2, written), (last, written)]));
    assert_eq!(sparse.nodes.len(), 3 + 3 + 1);
    assert_eq!(model.nodes.len(), sparse.nodes.len());
    let back = model.change(TIB, &BTreeMap::from([(0, None), (last / 2, None), (last, None)]));
    assert_eq!(back.manifest, empty.manifest, "what is all zeros again has the root of zeros");
    assert!(Manifest::tree(TIB + 1, Node::default()).is_err());
    assert_eq!(Manifest::tree(BLOCK_BYTES, Node::default()), Err(ManifestError::NoTree(BLOCK_BYTES)));
}

#[test]
fn a_list_of_zeros_and_a_hole_are_the_same() {
    let mut blocks = vec![BlockRef::of(b"unlike"); 1];
    blocks[0].len = u32::try_from(BLOCK_BYTES).expect("fits");
    blocks.resize(1030, BlockRef::zeros(BLOCK_BYTES));
    blocks.push(BlockRef::zeros(5));
    let listed = Manifest::new(blocks.clone()).expect("valid");
    let edited = Model::default().change(listed.size(), &BTreeMap::from([(0, Some(blocks[0].hash))]));
    assert_eq!(listed, edited.manifest);
    let short = Manifest::new(blocks[1..4].to_vec()).expect("valid");
    assert_eq!(Seeker::new(short).block(1), Step::Hole(BLOCK_BYTES));
    assert!(is_zeros(&zeros(7)) && is_zeros(b"") && !is_zeros(b"\0a"));
}

#[test]
fn nodes_from_strangers() {
    let size = 2_000 * BLOCK_BYTES;
    let place = NodePlace { level: 1, number: 7 };
    let room = 2_000 - 7 * NODE_CHILDREN;
    let mut node = Node::default();
    node.set(3, Some(Digest::of(b"3")));
    node.set(room - 1, Some(Digest::of(b"last")));
    let bytes = node.encode();
    assert_eq!(bytes.len(), 32 + 64);
    let read = |bytes: &[u8]| Node::read(bytes, place, size, Digest::of(bytes));
    assert_eq!(read(&bytes), Ok(node.clone()));
    assert!(matches!(Node::read(&bytes, place, size, Digest::of(b"")), Err(NodeError::Hash { .. })));
    for wrong in
        [&bytes[..95], &[&bytes[..], b"x"].concat(), &bytes[..31], b"", &[&[0xff][..], &bytes[1..]].concat()]
    {
        assert_eq!(read(wrong), Err(NodeError::Length(wrong.len())));
    }
    assert_eq!(read(&Node::default().encode()), Err(NodeError::Empty));
    node.set(room, Some(Digest::of(b"behind")));
    assert_eq!(read(&node.encode()), Err(NodeError::BehindEnd { place: room }));
    for (text, expected) in [("1.7", Some(place)), ("0.1", None), ("4.0", None), ("1", None), ("1.-1", None)] {
        assert_eq!(text.parse().ok(), expected, "{text}");
    }
    assert_eq!(place.to_string(), "1.7");
}
