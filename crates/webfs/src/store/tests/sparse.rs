//! Files changed in parts, with holes, short and long: against a small model, and by what a change costs.

use super::{Conditions, assert_whole, code, filled, found, put, volume};
use crate::limits::{BLOCK_BYTES, FLAT_BLOCKS, INLINE_BYTES, MAX_FILE_BYTES, REPLACED_KEPT};
use crate::model::Manifest;
use crate::store::{Change, Object, Outcome, Store, StoreError};
use bytes::Bytes;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::Arc;
use terms::{Code, VolumePath};
use world::World;

const GIB: u64 = 1 << 30;

async fn write(store: &Store, at: &str, offset: u64, bytes: &[u8]) -> Result<Outcome, StoreError> {
    let object = found(store, at).await.expect("there");
    let mut patching = store.patch(object, offset).await?;
    for piece in bytes.chunks(300_001) {
        patching.write(Bytes::copy_from_slice(piece)).await?;
    }
    let patch = patching.finish().await?;
    store.apply(Change::Patch(patch), Conditions::none()).await
}

async fn resize(store: &Store, at: &str, size: u64) -> Result<Outcome, StoreError> {
    let object = found(store, at).await.expect("there");
    let patch = store.resize(&object, size).await?;
    store.apply(Change::Patch(patch), Conditions::none()).await
}

/// A file as a length and the bytes that are not zero, in pages.
#[derive(Clone, Default)]
struct Model {
    size: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

const PAGE: u64 = 4096;

impl Model {
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (at, byte) in (offset..).zip(bytes) {
            let page = self.pages.entry(at / PAGE).or_insert_with(|| vec![0; PAGE as usize]);
            page[(at % PAGE) as usize] = *byte;
        }
        self.size = self.size.max(offset + bytes.len() as u64);
    }

    fn resize(&mut self, size: u64) {
        self.pages.retain(|page, _| page * PAGE < size);
        if let Some(page) = self.pages.get_mut(&(size / PAGE)) {
            page[(size % PAGE) as usize..].fill(0);
        }
        self.size = size;
    }

    fn block(&self, index: u64) -> Vec<u8> {
        let end = (index * BLOCK_BYTES + BLOCK_BYTES).min(self.size);
        let mut bytes = vec![0; usize::try_from(end - index * BLOCK_BYTES).expect("small")];
        for (number, page) in self.pages.range(index * BLOCK_BYTES / PAGE..end.div_ceil(PAGE)) {
            let at = usize::try_from(number * PAGE - index * BLOCK_BYTES).expect("small");
            let len = page.len().min(bytes.len() - at);
            bytes[at..at + len].copy_from_slice(&page[..len]);
        }
        bytes
    }

    async fn assert_is(&self, store: &Store, object: &Object) {
        assert_eq!(object.entry.size, self.size);
        let blocks = self.size.div_ceil(BLOCK_BYTES);
        let near = self.pages.keys().map(|page| page * PAGE / BLOCK_BYTES);
        let all: std::collections::BTreeSet<u64> =
            near.flat_map(|block| [block, block + 1]).chain([0, blocks.saturating_sub(1)]).collect();
        for index in all.into_iter().filter(|index| *index < blocks) {
            let block = store.read_block(object, usize::try_from(index).expect("small")).await.expect("readable");
            assert!(block == self.block(index), "block {index} of {blocks}");
        }
    }
}

#[tokio::test]
async fn random_writes_and_lengths_against_a_model() {
    for seed in 0..3 {
        println!("seed {seed}");
        let (world, clock) = World::simulated(seed);
        let (_dir, store) = volume(&world);
        let below = |limit: u64| {
            let mut bytes = [0; 8];
            world.entropy.fill(&mut bytes);
            u64::from_le_bytes(bytes) % limit
        };
        put(&store, "f", b"").await.expect("made");
        let mut model = Model::default();
        let mut earlier: Vec<(Arc<Object>, Model)> = Vec::new();
        let flat = FLAT_BLOCKS as u64 * BLOCK_BYTES;
        let places = [0, INLINE_BYTES, BLOCK_BYTES, 3 * BLOCK_BYTES, flat, flat + BLOCK_BYTES, 70 * GIB];
        for step in 0..40u64 {
            let place = places[usize::try_from(below(7)).expect("small")];
            let place = (place + below(9_000)).saturating_sub(4_500);
            if below(3) == 0 {
                let size = place;
                resize(&store, "f", size).await.expect("resized");
                model.resize(size);
            } else {
                let mut bytes = filled(step, usize::try_from(1 + below(3) * below(600_000)).expect("small"));
                if below(5) == 0 {
                    bytes.fill(0);
                }
                write(&store, "f", place, &bytes).await.expect("written");
                model.write(place, &bytes);
            }
            let object = found(&store, "f").await.expect("there");
            model.assert_is(&store, &object).await;
            if below(6) == 0 {
                earlier.push((object, model.clone()));
            }
            if below(15) == 0 {
                store.collect().await.expect("collects");
            }
        }
        for (object, model) in &earlier {
            model.assert_is(&store, object).await;
        }
        assert_whole(&store).await;
        clock.advance(REPLACED_KEPT + std::time::Duration::from_secs(1));
        assert!(store.collect().await.expect("collects").versions > 0);
        assert_whole(&store).await;
        model.assert_is(&store, &found(&store, "f").await.expect("there")).await;
        resize(&store, "f", 5).await.expect("resized");
        clock.advance(REPLACED_KEPT + std::time::Duration::from_secs(1));
        store.collect().await.expect("collects");
        assert_eq!(store.fsck().await.expect("runs").blocks, 0, "nothing of it stays");
    }
}

fn rows(dir: &tempfile::TempDir, sql: &str) -> i64 {
    let database = Connection::open(dir.path().join("v/volume.db")).expect("opens");
    database.query_row(sql, [], |row| row.get(0)).expect("a number")
}

#[tokio::test]
async fn a_sparse_file_of_100_gb_with_data_at_both_ends_and_in_the_middle() {
    let (dir, store) = volume(&World::real());
    let size = 100_000_000_000;
    put(&store, "f", b"").await.expect("made");
    resize(&store, "f", size).await.expect("resized");
    let mut model = Model { size, ..Model::default() };
    for (seed, offset) in [(1, 0), (2, size / 2), (3, size - 3_000_000)] {
        let bytes = filled(seed, 3_000_000);
        write(&store, "f", offset, &bytes).await.expect("written");
        model.write(offset, &bytes);
    }
    model.assert_is(&store, &found(&store, "f").await.expect("there")).await;
    let report = store.fsck().await.expect("runs");
    assert!(report.faults.is_empty() && report.blocks <= 12, "{report:?}");
    let (before, nodes) =
        (rows(&dir, "SELECT count(*) FROM block"), rows(&dir, "SELECT count(*) FROM manifest_node"));
    let outcome = write(&store, "f", 10_000_000_000, &filled(4, 4096)).await.expect("written");
    assert_eq!(rows(&dir, "SELECT count(*) FROM block") - before, 1);
    assert_eq!(rows(&dir, "SELECT count(*) FROM manifest_node") - nodes, 3, "one a level");
    model.write(10_000_000_000, &filled(4, 4096));
    let object = found(&store, "f").await.expect("there");
    assert_eq!(object.entry.etag, outcome.entry.and_then(|entry| entry.etag));
    model.assert_is(&store, &object).await;
    assert_eq!(code(resize(&store, "f", MAX_FILE_BYTES + 1).await), Some(Code::TooLarge));
}

#[tokio::test]
async fn a_lost_row_is_damage_and_no_hole() {
    for (sql, at) in [
        ("DELETE FROM block WHERE number = 1500", 1500),
        ("DELETE FROM manifest_node WHERE level = 1 AND number = 5", 1500),
        ("UPDATE manifest_node SET hash = zeroblob(32) WHERE level = 1", 1500),
    ] {
        let (dir, store) = volume(&World::real());
        put(&store, "f", b"").await.expect("made");
        write(&store, "f", 1500 * BLOCK_BYTES + 7, b"written").await.expect("written");
        resize(&store, "f", 70 * GIB).await.expect("resized");
        assert_whole(&store).await;
        let name = dir.path().join("v");
        drop(store);
        Connection::open(name.join("volume.db")).expect("opens").execute_batch(sql).expect("damaged");
        let store = Store::open(&name, World::real()).expect("opens");
        let read = async {
            let object = match store.lookup(&VolumePath::new("f").expect("a path")).await? {
                super::Lookup::Found(object) => object,
                super::Lookup::Missing(_) => panic!("it is there"),
            };
            store.read_block(&object, at).await
        };
        let refused = read.await.map(|bytes| bytes.len());
        assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{sql}: {refused:?}");
        assert!(!store.fsck().await.expect("runs").faults.is_empty(), "{sql}");
    }
}

#[tokio::test]
async fn a_change_of_what_was_replaced_meanwhile_is_refused() {
    let (_dir, store) = volume(&World::real());
    put(&store, "f", &filled(1, 3_000_000)).await.expect("made");
    let object = found(&store, "f").await.expect("there");
    let patch = store.resize(&object, 2_500_000).await.expect("made");
    write(&store, "f", 5, b"between").await.expect("written");
    let refused = store.apply(Change::Patch(patch), Conditions::none()).await;
    assert_eq!(code(refused), Some(Code::Unavailable));
    let report = store.fsck().await.expect("runs");
    assert_eq!((report.faults.len(), report.orphans), (0, 0));
    put(&store, "g", b"").await.expect("made");
    let stored = resize(&store, "g", 1_025 * BLOCK_BYTES).await.expect("resized");
    let zeros = vec![crate::model::BlockRef::zeros(BLOCK_BYTES); 1_025];
    assert_eq!(stored.entry.and_then(|entry| entry.etag), Some(Manifest::new(zeros).expect("valid").root()));
}
