//! Full disks and damaged files: named errors, nothing half, never wrong bytes.

use super::{assert_whole, cat, content, filled, found, put, volume};
use crate::store::blocks::{Disk, RealDisk};
use crate::store::{Store, StoreError};
use bytes::Bytes;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use terms::{Code, Problem};
use world::World;

/// A disk on which so many more operations succeed, then none.
struct Failing {
    left: Arc<AtomicI64>,
    kind: io::ErrorKind,
}

impl Failing {
    fn spend(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) > 0 { Ok(()) } else { Err(self.kind.into()) }
    }
}

impl Disk for Failing {
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.spend()?;
        RealDisk.write_new(path, bytes)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.spend()?;
        RealDisk.sync_folder(path)
    }
}

async fn try_put(store: &Store, at: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let mut upload = store.upload();
    upload.write(Bytes::copy_from_slice(bytes)).await?;
    let prepared = upload.finish().await?;
    store.apply(super::put_change(at, prepared, true), super::Conditions::none()).await.map(|_| ())
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing() {
    let (dir, store) = volume(&World::real());
    drop(store);
    let left = Arc::new(AtomicI64::new(0));
    let disk = Failing { left: left.clone(), kind: io::ErrorKind::StorageFull };
    let store = Store::open_on(&dir.path().join("v"), World::real(), Box::new(disk)).expect("opens");
    let bytes = filled(1, 6_500_000);
    // Seven blocks and one folder: the disk fills up at each of the eight operations in turn.
    for operations in 0..8 {
        left.store(operations, Ordering::Relaxed);
        let refused = try_put(&store, "f", &bytes).await.expect_err("the disk is full");
        assert_eq!(refused.code(), Code::NoSpace, "{refused}");
        assert_eq!(cat(&store, "f").await, None);
    }
    left.store(8, Ordering::Relaxed);
    try_put(&store, "f", &bytes).await.expect("eight operations are enough");
    assert_eq!(cat(&store, "f").await, Some(bytes));
    // Blocks that were still being written when their upload failed may remain as orphans, never in a manifest.
    store.collect().await.expect("collects");
    assert_eq!(store.fsck().await.expect("runs").orphans, 0);
    assert_whole(&store).await;
}

#[tokio::test]
async fn a_full_database_fails_the_commit_whole() {
    let (_dir, store) = volume(&World::real());
    put(&store, "first", b"x").await.expect("stored");
    let limit = |pages: i64| {
        store.write(move |database, _| {
            // An answer with the limit in force comes back; a limit below the present size means the present size.
            database
                .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
                .map_err(|error| StoreError::database("limiting", error))
        })
    };
    limit(1).await.expect("limited");
    let mut refused = None;
    for index in 0..200u64 {
        if let Err(error) = put(&store, &format!("d/{index}"), &filled(index, 16_000)).await {
            refused = Some((index, error));
            break;
        }
    }
    let (index, error) = refused.expect("the database fills up");
    assert_eq!(error.code(), Code::NoSpace, "{error}");
    assert_eq!(cat(&store, &format!("d/{index}")).await, None);
    limit(1 << 30).await.expect("a larger disk");
    put(&store, &format!("d/{index}"), b"now").await.expect("stored");
    assert_whole(&store).await;
}

fn block_files(dir: &Path) -> Vec<PathBuf> {
    let folder = |path: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
    };
    folder(&dir.join("v/blocks")).iter().flat_map(|shard| folder(shard)).collect()
}

#[tokio::test]
async fn a_damaged_block_is_an_error_and_never_wrong_bytes() {
    let whole = filled(1, 100_000);
    let mut flipped = whole.clone();
    flipped[70_000] ^= 1;
    let mut longer = whole.clone();
    longer.push(0);
    for (what, bytes) in
        [("flipped", Some(flipped)), ("short", Some(whole[1..].to_vec())), ("longer", Some(longer)), ("lost", None)]
    {
        let (dir, store) = volume(&World::real());
        put(&store, "f", &whole).await.expect("stored");
        let files = block_files(dir.path());
        assert_eq!(files.len(), 1);
        match bytes {
            Some(bytes) => std::fs::write(&files[0], bytes).expect("written"),
            None => std::fs::remove_file(&files[0]).expect("removed"),
        }
        let object = found(&store, "f").await.expect("there");
        let refused = content(&store, &object).await.expect_err("damaged");
        assert!(matches!(refused, StoreError::Damaged { .. }), "{what}: {refused}");
        assert_eq!(Problem::from(refused).code, Code::Internal, "{what}");
        let report = store.fsck().await.expect("the check runs");
        assert_eq!(report.faults.len(), 1, "{what}: {:?}", report.faults);
    }
}

#[tokio::test]
async fn the_check_finds_planted_faults() {
    for (sql, word) in [
        ("DELETE FROM block WHERE number = 1", "content"),
        ("UPDATE content SET size = size + 1 WHERE inline IS NULL", "content"),
        ("UPDATE content SET inline = x'00' WHERE inline IS NOT NULL", "content"),
        ("UPDATE content SET replaced = 1", "content"),
        ("UPDATE bucket SET body = x'00'", "access control list"),
        ("UPDATE name SET parent = (SELECT node FROM name WHERE name = 'f') WHERE name = 'g'", "tree"),
        ("DELETE FROM name WHERE name = 'g'", "tree"),
        ("INSERT INTO name VALUES (1, 'root', 1, 1, 1)", "tree"),
        ("UPDATE node SET version = 9999 WHERE kind = 0", "tree"),
        ("UPDATE name SET version = 9999", "tree"),
    ] {
        let (_dir, store) = volume(&World::real());
        put(&store, "f", &filled(1, 2_000_000)).await.expect("stored");
        put(&store, "g", b"inline").await.expect("stored");
        assert_whole(&store).await;
        let plant = store.write(move |database, _| {
            database.execute(sql, []).map_err(|error| StoreError::database("planting", error))
        });
        assert!(plant.await.expect("planted") > 0, "{sql}");
        let faults = store.fsck().await.expect("the check runs").faults;
        assert!(faults.iter().any(|fault| fault.what.contains(word)), "{sql}: {faults:?}");
    }
}
