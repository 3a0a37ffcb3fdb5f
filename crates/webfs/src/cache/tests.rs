//! The disk cache across restarts, damage and want of room.

use super::limits::MIN_CACHE_BYTES;
use super::{Cache, CacheError};
use crate::limits::BLOCK_BYTES;
use crate::model::{BlockRef, Manifest};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use terms::{VolumeName, VolumePath};

fn volume() -> VolumeName {
    "data.lab.example".parse().expect("valid")
}

fn path(text: &str) -> VolumePath {
    VolumePath::new(text).expect("valid")
}

/// Content of so many full blocks and one byte, different for each letter.
fn content(blocks: usize, letter: u8) -> (Manifest, Vec<Bytes>) {
    let size = usize::try_from(BLOCK_BYTES).expect("small");
    let bytes = Bytes::from(vec![letter; blocks * size + 1]);
    let manifest = Manifest::of(&bytes).expect("not too long");
    let cut = (0..=blocks).map(|index| bytes.slice(index * size..(index * size + size).min(bytes.len())));
    (manifest, cut.collect())
}

/// A record is the path, a blank, and the letter and number of blocks that make the manifest.
fn read(record: &[u8]) -> Option<(VolumePath, Option<Manifest>)> {
    let (at, rest) = std::str::from_utf8(record).ok()?.split_once(' ')?;
    let [letter, blocks] = rest.as_bytes() else { return None };
    Some((VolumePath::new(at).ok()?, Some(content(usize::from(blocks - b'0'), *letter).0)))
}

fn fill(cache: &Cache, at: &str, blocks: usize, letter: char) {
    let (manifest, parts) = content(blocks, letter as u8);
    let record = format!("{at} {letter}{blocks}");
    cache.keep(&volume(), &path(at), record.as_bytes(), Some(&manifest)).expect("kept");
    let file = cache.file(&volume(), &path(at), &manifest);
    for (index, part) in parts.iter().enumerate() {
        cache.land(&volume(), &path(at), &file, index, part).expect("landed");
    }
}

fn landed(cache: &Cache, at: &str, blocks: usize, letter: char) -> Vec<bool> {
    let (manifest, parts) = content(blocks, letter as u8);
    let file = cache.file(&volume(), &path(at), &manifest);
    let whole = |(index, part): (usize, &Bytes)| {
        let read = file.read(index, &BlockRef::of(part)).expect("readable");
        assert!(read.is_none() || read.as_ref() == Some(part), "never wrong bytes");
        read.is_some()
    };
    parts.iter().enumerate().map(whole).collect()
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(dir.join(volume().to_string())).expect("a folder");
    let paths = folder.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[test]
fn blocks_and_records_survive_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = Cache::open(dir.path(), 0).expect("opens");
    fill(&cache, "a/b", 2, 'x');
    assert!(matches!(Cache::open(dir.path(), 0), Err(CacheError::Locked(_))));
    let used = cache.used();
    drop(cache);
    let cache = Cache::open(dir.path(), 0).expect("opens");
    cache.load(&volume(), read).expect("loads");
    assert_eq!(cache.used(), used);
    assert_eq!(landed(&cache, "a/b", 2, 'x'), [true, true, true]);
}

#[test]
fn damage_is_dropped_and_the_block_can_land_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = Cache::open(dir.path(), 0).expect("opens");
    fill(&cache, "a", 2, 'x');
    let data = files(dir.path(), "data").remove(0);
    let mut bytes = std::fs::read(&data).expect("readable");
    bytes[5] ^= 1;
    bytes.pop();
    std::fs::write(&data, bytes).expect("written");
    assert_eq!(landed(&cache, "a", 2, 'x'), [false, true, false]);
    fill(&cache, "a", 2, 'x');
    assert_eq!(landed(&cache, "a", 2, 'x'), [true, true, true]);
}

#[test]
fn damaged_and_foreign_files_are_removed_at_the_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = Cache::open(dir.path(), 0).expect("opens");
    fill(&cache, "a", 1, 'x');
    fill(&cache, "b", 1, 'y');
    drop(cache);
    let record = files(dir.path(), "record").into_iter().find(|path| std::fs::read(path).expect("read")[0] == b'a');
    std::fs::write(record.expect("a's record"), b"\xff").expect("written");
    std::fs::write(dir.path().join(volume().to_string()).join("stray.data"), b"?").expect("written");
    let cache = Cache::open(dir.path(), 0).expect("opens");
    cache.load(&volume(), read).expect("loads");
    assert_eq!(landed(&cache, "b", 1, 'y'), [true, true]);
    assert_eq!((files(dir.path(), "record").len(), files(dir.path(), "data").len()), (1, 1));
}

#[test]
fn a_new_version_replaces_the_old_one_which_open_readers_keep() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = Cache::open(dir.path(), 0).expect("opens");
    fill(&cache, "a", 1, 'x');
    let old = cache.file(&volume(), &path("a"), &content(1, b'x').0);
    fill(&cache, "a", 1, 'y');
    assert_eq!(landed(&cache, "a", 1, 'y'), [true, true]);
    assert!(old.read(1, &BlockRef::of(b"x")).expect("readable").is_some());
    assert_eq!(files(dir.path(), "data").len(), 1);
}

#[test]
fn the_cache_is_bounded_and_spares_what_is_used() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = Cache::open(dir.path(), 0).expect("opens");
    fill(&cache, "hot", 3, 'h');
    for index in 0..10 {
        cache.touch(&volume(), &path("hot"));
        fill(&cache, &format!("cold{index}"), 3, 'c');
        assert!(cache.used() <= MIN_CACHE_BYTES);
    }
    assert_eq!(landed(&cache, "hot", 3, 'h'), [true; 4]);
    assert_eq!(landed(&cache, "cold0", 3, 'c'), [false; 4]);
    let on_disk: u64 = files(dir.path(), "data").iter().map(|path| path.metadata().expect("there").len()).sum();
    assert!(on_disk <= MIN_CACHE_BYTES, "{on_disk}");
}

#[test]
fn a_dropped_volume_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = Cache::open(dir.path(), 0).expect("opens");
    fill(&cache, "a", 1, 'x');
    cache.drop_volume(&volume()).expect("dropped");
    cache.drop_volume(&volume()).expect("nothing to drop");
    assert_eq!(cache.used(), 0);
    assert!(!dir.path().join(volume().to_string()).exists());
    fill(&cache, "a", 1, 'x');
    assert_eq!(landed(&cache, "a", 1, 'x'), [true, true]);
}
