//! Tests of the store: against a small model, under failing disks, and by cases.

mod append;
mod cases;
mod damage;
mod dump;
mod late;
mod lists;
mod names;
mod policies;
mod random;
mod sparse;
pub(super) mod torn;

use super::{Change, Conditions, Lookup, Object, Outcome, Prepared, Put, Store, StoreError};
use bytes::Bytes;
use std::sync::Arc;
use tempfile::TempDir;
use terms::{Code, VolumePath};
use trust::Bucket;
use world::World;

/// A list that gives everything to the user with this name.
pub(super) fn list(user: &str) -> Bucket {
    let user = format!("spiffe://lab.example/user/{user}").parse().expect("valid");
    Bucket::new([(user, terms::Rights::OWNER)]).expect("a small list")
}

pub(super) fn code<T: std::fmt::Debug>(result: Result<T, StoreError>) -> Option<Code> {
    result.err().map(|error| error.code())
}

pub(super) fn owner() -> Bucket {
    list("owner")
}

/// One list for everything at and below a path, as one operation.
pub(super) async fn set_all(store: &Store, at: &str, list: &Bucket) -> Change {
    // Of what is not there: the change is refused.
    let below = store.buckets_below(&path(at)).await.unwrap_or_default();
    Change::AmendLists { path: path(at), lists: below.into_iter().map(|hash| (hash, list.clone())).collect() }
}

pub(super) fn path(text: &str) -> VolumePath {
    VolumePath::new(text).expect("a valid path")
}

/// A new volume in a folder of its own.
pub(super) fn volume(world: &World) -> (TempDir, Store) {
    let dir = tempfile::tempdir().expect("a folder");
    let name = "data.lab.example".parse().expect("valid");
    let store = Store::create(&dir.path().join("v"), &name, &owner(), world.clone()).expect("a new volume");
    (dir, store)
}

pub(super) async fn prepare(store: &Store, content: &[u8]) -> Prepared {
    let mut upload = store.upload();
    // In uneven pieces, as a network delivers.
    for piece in content.chunks(300_001) {
        upload.write(Bytes::copy_from_slice(piece)).await.expect("takes content");
    }
    upload.finish().await.expect("synced")
}

pub(super) fn put_change(at: &str, content: Prepared, parents: bool) -> Change {
    Change::Put(Put { path: path(at), content, parents, may_create: true, may_replace: true })
}

pub(super) async fn put(store: &Store, at: &str, content: &[u8]) -> Result<Outcome, StoreError> {
    put_if(store, at, content, Conditions::none()).await
}

pub(super) async fn put_if(
    store: &Store,
    at: &str,
    content: &[u8],
    conditions: Conditions,
) -> Result<Outcome, StoreError> {
    let prepared = prepare(store, content).await;
    store.apply(put_change(at, prepared, true), conditions).await
}

pub(super) async fn found(store: &Store, at: &str) -> Option<Arc<Object>> {
    match store.lookup(&path(at)).await.expect("lookup works") {
        Lookup::Found(object) => Some(object),
        Lookup::Missing(_) => None,
    }
}

pub(super) async fn content(store: &Store, object: &Object) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    for index in 0..object.manifest().expect("a file").block_count() {
        bytes.extend_from_slice(&store.read_block(object, index).await?);
    }
    Ok(bytes)
}

pub(super) async fn cat(store: &Store, at: &str) -> Option<Vec<u8>> {
    let object = found(store, at).await?;
    Some(content(store, &object).await.expect("readable"))
}

/// Content that differs by seed and position.
pub(super) fn filled(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) async fn assert_whole(store: &Store) {
    let report = store.fsck().await.expect("the check runs");
    assert_eq!(report.faults, []);
}
