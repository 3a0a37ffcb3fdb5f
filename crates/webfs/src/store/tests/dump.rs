//! A volume written out and made again: the same files under a higher epoch, or nothing at all. And a disk that is
//! really full.

use super::{assert_whole, cat, filled, put, volume};
use crate::limits::REPLACED_KEPT;
use crate::store::{Store, StoreError};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use terms::{Code, Epoch, VolumeName};
use world::World;

/// A dump kept in memory.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says when the first bytes come, and takes them when it is told.
struct Waiting {
    kept: Kept,
    hold: Option<(SyncSender<()>, Receiver<()>)>,
}

impl Write for Waiting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((started, go)) = self.hold.take() {
            started.send(()).expect("somebody waits");
            go.recv().expect("told");
        }
        self.kept.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn name() -> VolumeName {
    "data.lab.example".parse().expect("valid")
}

fn restore(dir: &Path, dump: &[u8], seen: u64) -> Result<(Store, super::super::Restored), StoreError> {
    Store::restore(dir, dump, &name(), Epoch(seen), World::real())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_is_of_one_moment_while_files_change_and_old_ones_are_collected() {
    let (world, clock) = World::simulated(1);
    let (dir, store) = volume(&world);
    put(&store, "a/small", b"one").await.expect("put");
    let before = put(&store, "a/large", &filled(1, 2_500_000)).await.expect("put");
    let ((started, has_started), (go, may_go)) = (sync_channel(1), sync_channel(1));
    let kept = Kept::default();
    let out = Waiting { kept: kept.clone(), hold: Some((started, may_go)) };
    let dumping = tokio::spawn({
        let store = store.clone();
        async move { store.dump(out).await }
    });
    tokio::task::spawn_blocking(move || has_started.recv()).await.expect("no panic").expect("started");
    put(&store, "a/small", b"two").await.expect("put");
    put(&store, "a/large", &filled(2, 2_500_000)).await.expect("put");
    clock.advance(REPLACED_KEPT);
    clock.advance(REPLACED_KEPT);
    let mut collecting = tokio::spawn({
        let store = store.clone();
        async move { store.collect().await }
    });
    // A chance to collect what the dump still needs.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(100), &mut collecting).await;
    go.send(()).expect("it waits");
    let dumped = dumping.await.expect("no panic").expect("dumped");
    assert_eq!((dumped.change, dumped.blocks), (before.change, 3));
    assert_eq!(dumped.bytes, kept.0.lock().expect("no panic").len() as u64);
    collecting.await.expect("no panic").expect("collected");

    let again = dir.path().join("again");
    let (restored, report) = restore(&again, &kept.0.lock().expect("no panic"), 0).expect("restored");
    assert_eq!((report.epoch, report.change, restored.epoch()), (Epoch(2), before.change, Epoch(2)));
    assert_eq!(cat(&restored, "a/small").await, Some(b"one".to_vec()));
    assert_eq!(cat(&restored, "a/large").await, Some(filled(1, 2_500_000)));
    assert_whole(&restored).await;
    let changed = put(&restored, "a/small", b"three").await.expect("put");
    assert!(changed.change > before.change);
}

#[tokio::test]
async fn a_restored_volume_is_above_every_epoch_seen() {
    let (dir, store) = volume(&World::real());
    let kept = Kept::default();
    store.dump(kept.clone()).await.expect("dumped");
    for (seen, expected) in [(0, 2), (1, 2), (7, 8)] {
        let again = dir.path().join(format!("again{seen}"));
        let (restored, _) = restore(&again, &kept.0.lock().expect("no panic"), seen).expect("restored");
        assert_eq!(restored.epoch(), Epoch(expected), "after {seen} was seen");
    }
    assert_eq!(restore(&dir.path().join("v"), b"", 0).expect_err("it is in use").code(), Code::Unavailable);
    drop(store);
    let refused = restore(&dir.path().join("v"), b"", 0).expect_err("there is a volume");
    assert!(matches!(refused, StoreError::VolumeExists { .. }), "{refused}");
}

#[tokio::test]
async fn a_dump_that_is_cut_short_or_altered_leaves_nothing() {
    let (dir, store) = volume(&World::real());
    put(&store, "f", &filled(1, 1_200_000)).await.expect("put");
    let kept = Kept::default();
    store.dump(kept.clone()).await.expect("dumped");
    let whole = kept.0.lock().expect("no panic").clone();
    let again = dir.path().join("again");
    let refused = |dump: &[u8], what: &str| {
        let error = restore(&again, dump, 0).expect_err(what);
        assert!(matches!(error, StoreError::Damaged { .. }), "{what}: {error}");
        assert!(!again.exists(), "{what}: something is left");
    };
    for length in [0, 5, 20, 30, 46, 5_000, whole.len() - 1_000_000, whole.len() - 57, whole.len() - 1] {
        refused(&whole[..length], &format!("the first {length} bytes"));
    }
    for at in [0, 20, 44, 300, whole.len() - 500_000, whole.len() - 57, whole.len() - 1] {
        let mut altered = whole.clone();
        altered[at] ^= 4;
        refused(&altered, &format!("byte {at} altered"));
    }
    let (restored, _) = restore(&again, &whole, 0).expect("the whole one is taken");
    assert_eq!(cat(&restored, "f").await, Some(filled(1, 1_200_000)));
}

#[tokio::test]
async fn a_damaged_block_ends_a_dump_with_its_name() {
    let (dir, store) = volume(&World::real());
    put(&store, "f", &filled(1, 100_000)).await.expect("put");
    for shard in std::fs::read_dir(dir.path().join("v/blocks")).expect("there") {
        for block in std::fs::read_dir(shard.expect("an entry").path()).expect("there") {
            std::fs::write(block.expect("an entry").path(), b"other").expect("written");
        }
    }
    let error = store.dump(io::sink()).await.expect_err("a damaged block");
    assert!(error.to_string().starts_with("block "), "{error}");
    assert!(!dir.path().join("v/volume.db.dump").exists());
}

/// A small tmpfs, unmounted with its handle.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(bytes: u64) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder");
        let (flags, options) = (rustix::mount::MountFlags::empty(), format!("size={bytes}"));
        let options = std::ffi::CString::new(options).expect("no zero");
        rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, options.as_c_str()).ok()?;
        Some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_disk_that_is_really_full_is_named_loses_nothing_and_works_again_with_space() {
    let Some(disk) = SmallDisk::new(12 << 20) else {
        return eprintln!(
            "SKIPPED: a_disk_that_is_really_full_is_named_loses_nothing_and_works_again_with_space: no tmpfs can be mounted"
        );
    };
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; 3 << 20]).expect("written");
    let name = name();
    let store = Store::create(&disk.0.path().join("v"), &name, &super::owner(), World::real()).expect("made");
    let mut kept = Vec::new();
    let refused = loop {
        // Large and small ones: now the blocks, now the database is what does not fit.
        let number = kept.len() as u64;
        let length = if number.is_multiple_of(2) { 700_000 } else { 12_000 };
        let mut upload = store.upload();
        let stored = async {
            upload.write(filled(number, length).into()).await?;
            let change = super::put_change(&format!("f{number}"), upload.finish().await?, true);
            store.apply(change, super::Conditions::none()).await
        };
        match stored.await {
            Ok(_) => kept.push(length),
            Err(error) => break error,
        }
        assert!(kept.len() < 100, "the disk is never full");
    };
    assert_eq!(refused.code(), Code::NoSpace, "{refused}");
    for (number, length) in (0..).zip(&kept) {
        assert_eq!(cat(&store, &format!("f{number}")).await, Some(filled(number, *length)), "f{number}");
    }
    assert_whole(&store).await;
    std::fs::remove_file(&ballast).expect("removed");
    put(&store, "after", &filled(99, 700_000)).await.expect("there is space again");
    drop(store);
    let store = Store::open(&disk.0.path().join("v"), World::real()).expect("opens");
    assert_eq!(cat(&store, "after").await, Some(filled(99, 700_000)));
    assert_eq!(cat(&store, "f0").await, Some(filled(0, kept[0])));
    assert_whole(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_comes_in_parts_and_only_the_last_one_counts() {
    let (world, _) = World::simulated(1);
    let (dir, store) = volume(&world);
    put(&store, "a/large", &filled(1, 2_500_000)).await.expect("put");
    let (mut sent, mut parts) = (crate::store::Sent::default(), Vec::new());
    for number in 2..4 {
        let mut part = Vec::new();
        let dumping = store.begin_dump().await.expect("begun").after(&mut sent);
        let dumped = dumping.write(&mut part).expect("written");
        // The blocks of before are not sent again.
        assert_eq!(dumped.blocks, if number == 2 { 3 } else { 2 });
        parts.push(part);
        put(&store, "a/second", &filled(number, 1_500_000)).await.expect("put");
    }
    let again = dir.path().join("again");
    let begin = || crate::store::Receiving::begin(&again, world.clone());
    let mut cut = begin().expect("room");
    cut.take(&parts[0][..]).expect("whole");
    assert!(cut.take(&parts[1][..1000]).is_err());
    drop(cut);
    assert!(!crate::store::is_volume(&again), "what broke off is no volume");
    let mut incomplete = begin().expect("what was begun goes");
    incomplete.take(&parts[1][..]).expect("whole by itself");
    assert!(incomplete.finish(&name(), Epoch(0)).is_err(), "blocks of the first part are missing");
    let mut whole = begin().expect("room");
    parts.iter().for_each(|part| whole.take(&part[..]).expect("whole"));
    let (came, report) = whole.finish(&name(), Epoch(0)).expect("all is there");
    assert_eq!(report.epoch, Epoch(2));
    assert_eq!(cat(&came, "a/large").await, Some(filled(1, 2_500_000)));
    assert_eq!(cat(&came, "a/second").await, Some(filled(2, 1_500_000)));
    assert_whole(&came).await;
}
