//! The store by cases: preconditions, replays, paths, group commit, versions kept and collected.

use super::{
    assert_whole, cat, code, content, filled, found, list, owner, path, prepare, put, put_change, put_if, volume,
};
use crate::gate::{ChangeEnd, ChangePermit, Touched};
use crate::limits::{BLOCK_BYTES, INLINE_BYTES, LEDGER_KEPT, REPLACED_KEPT};
use crate::model::Manifest;
use crate::store::{Change, Conditions, Precondition, RecordedSession, Store, StoreError};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use terms::{Code, Digest, OperationId, SessionId, VolumePath};
use tokio::sync::oneshot;
use trust::Bucket;
use world::World;

fn operation(sequence: u64) -> OperationId {
    OperationId { session: SessionId([7; 16]), sequence }
}

#[tokio::test]
async fn content_of_every_shape_comes_back_after_reopening() {
    let (dir, store) = volume(&World::real());
    let block = usize::try_from(BLOCK_BYTES).expect("small");
    let inline = usize::try_from(INLINE_BYTES).expect("small");
    let sizes = [0, 1, inline - 1, inline, inline + 1, block - 1, block, block + 1, 3 * block, 5 * block + 77];
    for size in sizes {
        let outcome = put(&store, &format!("d/{size}"), &filled(1, size)).await.expect("stored");
        let manifest = Manifest::of(&filled(1, size)).expect("small");
        assert_eq!(outcome.entry.and_then(|entry| entry.etag), Some(manifest.root()), "{size}");
        assert_eq!(store.change(), outcome.change);
    }
    drop(store);
    let store = Store::open(&dir.path().join("v"), World::real()).expect("opens");
    for size in sizes {
        assert_eq!(cat(&store, &format!("d/{size}")).await, Some(filled(1, size)), "{size}");
        let object = found(&store, &format!("d/{size}")).await.expect("there");
        assert_eq!(object.inline().is_some(), size <= inline, "{size}");
    }
    let report = store.fsck().await.expect("the check runs");
    assert_eq!((report.files, report.directories, report.orphans), (sizes.len() as u64, 2, 0));
    assert_eq!((report.blocks, report.faults), (1 + 1 + 1 + 2 + 3 + 6, vec![]));
}

#[tokio::test]
async fn block_files_and_folders_are_private() {
    let (dir, store) = volume(&World::real());
    put(&store, "f", &filled(1, 100_000)).await.expect("stored");
    for name in ["volume.db", "volume.db-wal", "volume.db-shm", "lock"] {
        let mode = dir.path().join("v").join(name).metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let mut files = 0;
    for shard in std::fs::read_dir(dir.path().join("v/blocks")).expect("a folder") {
        for file in std::fs::read_dir(shard.expect("an entry").path()).expect("a folder") {
            let mode = file.expect("an entry").metadata().expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            files += 1;
        }
    }
    assert_eq!(files, 1);
}

#[tokio::test]
async fn preconditions_decide_in_the_transaction() {
    let (_dir, store) = volume(&World::real());
    let first = put(&store, "f", b"one").await.expect("stored").entry.and_then(|e| e.etag).expect("a file");
    let other = Digest::of(b"other");
    for (at, precondition, expected) in [
        ("f", Precondition::Absent, Some(Code::Conflict)),
        ("f", Precondition::OneOf(vec![other]), Some(Code::Conflict)),
        ("f", Precondition::OneOf(vec![]), Some(Code::Conflict)),
        ("g", Precondition::Exists, Some(Code::Conflict)),
        ("g", Precondition::OneOf(vec![first]), Some(Code::Conflict)),
        ("f", Precondition::Exists, None),
        ("f", Precondition::OneOf(vec![other, Manifest::of(b"two").expect("small").root()]), None),
        ("g", Precondition::Absent, None),
    ] {
        let shown = format!("{at} if {precondition:?}");
        let outcome = put_if(&store, at, b"two", Conditions::none().when(precondition)).await;
        assert_eq!(code(outcome), expected, "{shown}");
    }
}

#[tokio::test]
async fn of_two_writers_with_one_etag_one_wins() {
    let (_dir, store) = volume(&World::real());
    for round in 0..50u32 {
        let at = format!("f{round}");
        let etag = put(&store, &at, b"start").await.expect("stored").entry.and_then(|e| e.etag).expect("a file");
        let conditions = Conditions::none().when(Precondition::OneOf(vec![etag]));
        let (one, two) = tokio::join!(
            put_if(&store, &at, b"one", conditions.clone()),
            put_if(&store, &at, b"two", conditions.clone()),
        );
        let winner: &[u8] = if one.is_ok() { b"one" } else { b"two" };
        assert_eq!(one.is_ok(), two.is_err(), "exactly one wins");
        assert_eq!(code(one).or(code(two)), Some(Code::Conflict));
        assert_eq!(cat(&store, &at).await.as_deref(), Some(winner));
    }
}

#[tokio::test]
async fn an_operation_id_is_applied_once() {
    let (dir, store) = volume(&World::real());
    let conditions = Conditions::none().when(Precondition::Absent).operation(operation(1));
    let first = put_if(&store, "f", &filled(1, 50_000), conditions.clone()).await.expect("stored");
    put(&store, "f", b"newer").await.expect("stored");
    drop(store);
    let store = Store::open(&dir.path().join("v"), World::real()).expect("opens");
    let again = put_if(&store, "f", &filled(1, 50_000), conditions.clone()).await.expect("answered");
    assert_eq!((again.replayed, again.change, again.entry, again.created), (true, first.change, first.entry, true));
    assert_eq!(cat(&store, "f").await.as_deref(), Some(&b"newer"[..]), "the retry changes nothing");
    let reused = put_if(&store, "f", b"other", conditions.clone()).await;
    assert!(matches!(reused, Err(StoreError::OperationReused { .. })));
    let elsewhere = store.apply(Change::Remove { path: path("f") }, conditions.clone()).await;
    assert!(matches!(elsewhere, Err(StoreError::OperationReused { .. })));
    let refused = Conditions::none().when(Precondition::Absent).operation(operation(2));
    assert_eq!(code(put_if(&store, "f", b"x", refused.clone()).await), Some(Code::Conflict));
    store.apply(Change::Remove { path: path("f") }, Conditions::none()).await.expect("removed");
    assert!(put_if(&store, "f", b"x", refused).await.expect("stored").created, "a refusal is not recorded");
    assert_eq!(store.fsck().await.expect("runs").orphans, 0, "blocks of retries and refusals are removed");
}

#[tokio::test]
async fn the_shape_of_the_tree_is_kept() {
    let (_dir, store) = volume(&World::real());
    put(&store, "a/b/file", b"x").await.expect("stored");
    let apply = |change| store.apply(change, Conditions::none());
    let remove = |at| Change::Remove { path: path(at) };
    let mkdir = |at, parents| Change::MakeDirectory { path: path(at), parents };
    for (change, expected) in [
        (put_change("a/b", prepare(&store, b"").await, true), Some(Code::Exists)),
        (put_change("", prepare(&store, b"").await, true), Some(Code::Invalid)),
        (put_change("a/b/file/below", prepare(&store, b"").await, true), Some(Code::Exists)),
        (put_change("new/file", prepare(&store, b"").await, false), Some(Code::NotFound)),
        (mkdir("a/b/file", false), Some(Code::Exists)),
        (mkdir("a/b/file", true), Some(Code::Exists)),
        (mkdir("a/b", false), Some(Code::Exists)),
        (mkdir("a/b", true), None),
        (mkdir("x/y", false), Some(Code::NotFound)),
        (mkdir("x/y", true), None),
        (remove("a"), Some(Code::Exists)),
        (remove(""), Some(Code::Invalid)),
        (remove("nothing"), Some(Code::NotFound)),
        (remove("x/y"), None),
        (remove("a/b/file"), None),
    ] {
        let shown = format!("{change:?}");
        assert_eq!(code(apply(change).await), expected, "{shown}");
    }
    assert_whole(&store).await;
}

#[tokio::test]
async fn strange_names_are_names() {
    let (_dir, store) = volume(&World::real());
    let long = "x".repeat(255);
    let deep = vec!["d"; 128].join("/");
    let names = ["ü", "a b", "...", "%2e%2e", "'; DROP TABLE node; --", "\n", "\u{1b}[31m", "A", "a", &long, &deep];
    for (index, name) in names.iter().enumerate() {
        put(&store, name, name.as_bytes()).await.expect("stored");
        assert_eq!(cat(&store, name).await.as_deref(), Some(name.as_bytes()), "{index}");
    }
    let listing = store.list(&VolumePath::root(), "").await.expect("lists");
    let listed: Vec<&str> = listing.entries.iter().map(|entry| entry.name.as_str()).collect();
    let mut expected: Vec<&str> = names[..10].iter().copied().chain(["d"]).collect();
    expected.sort_unstable();
    assert_eq!(listed, expected, "ordered by bytes");
    let after = store.list(&VolumePath::root(), "a").await.expect("lists");
    assert_eq!(after.entries.first().map(|entry| entry.name.as_str()), Some("a b"));
}

#[tokio::test]
async fn what_was_decided_and_recalled_must_still_fit() {
    let (_dir, store) = volume(&World::real());
    put(&store, "a/f", b"x").await.expect("stored");
    let decided = |bucket: Bucket| Conditions { decided_on: Some(vec![bucket.hash()]), ..Conditions::none() };
    let recalled = |paths: &[&str]| Conditions {
        recalled: Touched::objects(paths.iter().map(|text| path(text))),
        ..Conditions::none()
    };
    for (at, conditions, expected) in [
        ("a/f", decided(list("another")), Some(Code::Unavailable)),
        ("a/f", decided(owner()), None),
        ("a/g", recalled(&["a/g"]), Some(Code::Unavailable)),
        ("a/g", recalled(&["a/g", "a"]), None),
        ("n/m/f", recalled(&["n/m/f", "n/m", "n"]), Some(Code::Unavailable)),
        ("n/m/f", recalled(&["n/m/f", "n/m", "n", ""]), None),
    ] {
        assert_eq!(code(put_if(&store, at, b"y", conditions.clone()).await), expected, "{at} {conditions:?}");
    }
    for (at, may_create, may_replace, expected) in [
        ("a/f", true, false, Some(Code::Denied)),
        ("a/new", false, true, Some(Code::Denied)),
        ("a/f", false, true, None),
        ("a/new", true, false, None),
    ] {
        let content = prepare(&store, b"z").await;
        let put = crate::store::Put { path: path(at), content, parents: false, may_create, may_replace };
        assert_eq!(code(store.apply(Change::Put(put), Conditions::none()).await), expected, "{at}");
    }
}

struct Told(oneshot::Sender<ChangeEnd>);

impl ChangePermit for Told {
    fn ended(self: Box<Self>, end: ChangeEnd) {
        let _ = self.0.send(end);
    }
}

#[tokio::test]
async fn the_permit_is_told_how_the_change_ended_even_if_nobody_waits() {
    let (_dir, store) = volume(&World::real());
    for (precondition, committed) in [(Precondition::Absent, true), (Precondition::Absent, false)] {
        let (sender, told) = oneshot::channel();
        let change = put_change("f", prepare(&store, b"x").await, false);
        let conditions = Conditions::none().when(precondition);
        let mut asked = Box::pin(store.change_with(change, conditions, Box::new(Told(sender))));
        // One poll sends it; then the caller goes away, whether or not the writer was faster.
        let _ = futures_util::poll!(asked.as_mut());
        drop(asked);
        let end = told.await.expect("told");
        let expected = if committed { ChangeEnd::Committed(store.change()) } else { ChangeEnd::NotCommitted };
        assert_eq!(end, expected);
    }
}

#[tokio::test]
async fn versions_rise_even_across_removal() {
    let (_dir, store) = volume(&World::real());
    let mut last = None;
    for round in 0..3u8 {
        put(&store, "f", &[round]).await.expect("stored");
        let version = found(&store, "f").await.map(|object| object.entry.version);
        assert!(version > last);
        last = version;
        let directory = found(&store, "").await.map(|object| object.entry.version);
        assert_eq!(directory, version, "the listing changed with it");
        store.apply(Change::Remove { path: path("f") }, Conditions::none()).await.expect("removed");
        assert_eq!(cat(&store, "f").await, None);
    }
}

#[tokio::test]
async fn a_replaced_version_stays_readable_for_an_hour() {
    let (world, clock) = World::simulated(3);
    let (_dir, store) = volume(&world);
    let old = filled(1, 40_000);
    put_if(&store, "f", &old, Conditions::none().operation(operation(1))).await.expect("stored");
    let open = found(&store, "f").await.expect("there");
    put(&store, "f", &filled(2, 40_000)).await.expect("stored");
    clock.advance(REPLACED_KEPT - Duration::from_secs(1));
    assert_eq!(store.collect().await.expect("collects").versions, 0);
    assert_eq!(content(&store, &open).await.expect("readable"), old);
    drop(store);
    // Reopened, so that no block is in memory.
    let store = Store::open(&_dir.path().join("v"), world).expect("opens");
    clock.advance(Duration::from_secs(2));
    let collected = store.collect().await.expect("collects");
    assert_eq!((collected.versions, collected.blocks, collected.operations), (1, 1, 0));
    let gone = content(&store, &open).await;
    assert!(matches!(gone, Err(StoreError::Gone { .. })), "{gone:?}");
    assert_eq!(cat(&store, "f").await, Some(filled(2, 40_000)));
    clock.advance(LEDGER_KEPT);
    assert_eq!(store.collect().await.expect("collects").operations, 1);
    assert_whole(&store).await;
}

#[tokio::test]
async fn uploads_under_way_are_not_collected_and_abandoned_ones_leave_nothing() {
    let (_dir, store) = volume(&World::real());
    let prepared = prepare(&store, &filled(1, 3_000_000)).await;
    assert_eq!(store.collect().await.expect("collects").blocks, 0);
    store.apply(put_change("f", prepared, false), Conditions::none()).await.expect("stored");
    assert_eq!(cat(&store, "f").await, Some(filled(1, 3_000_000)));
    drop(prepare(&store, &filled(2, 3_000_000)).await);
    assert_eq!(store.fsck().await.expect("runs").orphans, 0);
}

#[tokio::test]
async fn sessions_are_recorded_durably() {
    let (dir, store) = volume(&World::real());
    let session = |byte, seconds| RecordedSession {
        id: SessionId([byte; 16]),
        principal: "spiffe://lab.example/server/n1".parse().expect("valid"),
        lease: Duration::from_secs(seconds),
    };
    for one in [session(2, 10), session(1, 10), session(1, 20), session(3, 10)] {
        store.record_session(one).await.expect("recorded");
    }
    store.end_session(SessionId([3; 16])).await.expect("ended");
    store.end_session(SessionId([9; 16])).await.expect("it is no error");
    drop(store);
    let store = Store::open(&dir.path().join("v"), World::real()).expect("opens");
    assert_eq!(store.recorded_sessions().await.expect("reads"), [session(1, 20), session(2, 10)]);
}

#[tokio::test]
async fn a_volume_is_opened_once_and_newer_formats_are_refused() {
    let (dir, store) = volume(&World::real());
    let folder = dir.path().join("v");
    assert!(matches!(Store::open(&folder, World::real()), Err(StoreError::Locked { .. })));
    drop(store);
    let name = "data.lab.example".parse().expect("valid");
    assert!(matches!(Store::create(&folder, &name, &owner(), World::real()), Err(StoreError::VolumeExists { .. })));
    assert!(matches!(Store::open(dir.path(), World::real()), Err(StoreError::NoVolume { .. })));
    let database = rusqlite::Connection::open(folder.join("volume.db")).expect("opens");
    database.pragma_update(None, "user_version", 99).expect("set");
    drop(database);
    let refused = Store::open(&folder, World::real()).expect_err("newer");
    assert!(refused.to_string().contains("data format 99"), "{refused}");
}

#[tokio::test]
async fn a_volume_without_its_database_is_not_taken_for_a_new_one() {
    let (dir, store) = volume(&World::real());
    let folder = dir.path().join("v");
    put(&store, "a", &filled(1, 1000)).await.expect("stored");
    drop(store);
    std::fs::rename(folder.join("volume.db"), dir.path().join("aside")).expect("moved");
    let name = "data.lab.example".parse().expect("valid");
    let refused = Store::create(&folder, &name, &owner(), World::real()).expect_err("its blocks are there");
    let told = refused.for_owner();
    assert!(told.detail.contains("v/volume.db is missing"), "{told}");
    assert!(told.to_string().contains("put that file back"), "{told}");
    assert!(!folder.join("volume.db").exists(), "nothing was made");
    assert!(matches!(Store::open(&folder, World::real()), Err(StoreError::NoDatabase { .. })));
    std::fs::rename(dir.path().join("aside"), folder.join("volume.db")).expect("moved");
    let store = Store::open(&folder, World::real()).expect("opens");
    assert!(found(&store, "a").await.is_some());
    // A volume whose making was broken off is made at the next attempt.
    drop(store);
    let begun = dir.path().join("begun");
    std::fs::create_dir_all(begun.join("blocks/00")).expect("made");
    std::fs::write(begun.join("volume.db.new"), "half a database").expect("written");
    Store::create(&begun, &name, &owner(), World::real()).expect("a new volume");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_puts_at_once_share_commits() {
    let (_dir, store) = volume(&World::real());
    let world = World::real();
    let begin = world.clock.boot();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..1000u64 {
        let store = store.clone();
        tasks.spawn(async move { put(&store, &format!("d{}/{index}", index % 7), &filled(index, 1000)).await });
    }
    let mut changes = std::collections::BTreeSet::new();
    while let Some(done) = tasks.join_next().await {
        changes.insert(done.expect("no panic").expect("stored").change);
    }
    assert_eq!(changes.len(), 1000, "each change has its number");
    let took = world.clock.boot().since(begin);
    println!("1,000 puts of 1 kB at once, each durable: {took:?}");
    for index in [0u64, 499, 999] {
        assert_eq!(cat(&store, &format!("d{}/{index}", index % 7)).await, Some(filled(index, 1000)));
    }
    assert_whole(&store).await;
    let signed = found(&store, "d0/0").await.expect("there");
    let one = signed.signed_manifest(store.name(), |statement| Some(statement.root.0.to_vec())).cloned();
    let two = signed.signed_manifest(store.name(), |_| panic!("signed once")).cloned();
    assert!(one.is_some() && one == two);
    assert_eq!(Arc::strong_count(&signed), 2, "it stays in memory");
}

#[tokio::test]
async fn what_is_settled_is_neither_answered_nor_made_again() {
    let (_dir, store) = volume(&World::real());
    let session = SessionId([7; 16]);
    let under = |sequence| Conditions::none().operation(OperationId { session, sequence });
    for sequence in 1..=3 {
        put_if(&store, &format!("f{sequence}"), b"x", under(sequence)).await.expect("stored");
    }
    store.settle(session, 3).await.expect("settled");
    store.settle(session, 2).await.expect("an older word changes nothing");
    for (sequence, expected) in [(1, Some(Code::Invalid)), (2, Some(Code::Invalid)), (3, None), (4, None)] {
        store.apply(Change::Remove { path: path("f1") }, Conditions::none()).await.ok();
        let at = format!("f{sequence}");
        assert_eq!(code(put_if(&store, &at, b"x", under(sequence)).await), expected, "{sequence}");
    }
    assert!(found(&store, "f1").await.is_none(), "a retry of a settled operation does nothing");
    let other = Conditions::none().operation(OperationId { session: SessionId([8; 16]), sequence: 1 });
    put_if(&store, "other", b"x", other).await.expect("another session begins where it likes");
}

#[tokio::test]
async fn outcomes_of_a_day_ago_are_forgotten_and_their_operations_refused() {
    let (world, hand) = World::simulated(1);
    let (_dir, store) = volume(&world);
    let id = OperationId { session: SessionId([7; 16]), sequence: 5 };
    put_if(&store, "f", b"x", Conditions::none().operation(id)).await.expect("stored");
    hand.advance(LEDGER_KEPT + Duration::from_secs(1));
    assert_eq!(store.collect().await.expect("collected").operations, 1);
    let again = put_if(&store, "f", b"x", Conditions::none().operation(id)).await;
    assert!(matches!(again, Err(StoreError::OperationSettled { .. })), "{again:?}");
}
