//! Reads while all is well: what travels, what is shared, what is refused.

use super::world::{HomeWorld, cat, content, filled, holder, open_file, path, until, usual_bucket, volume};
use crate::manifest::NodePlace;
use crate::model::FileKind;
use crate::relay::ReplicaObject;
use crate::serve::FileSource;
use crate::store::{Change, Conditions, Lookup};
use futures_util::future::join_all;
use std::sync::atomic::Ordering;
use terms::{Code, Right, Rights, Who};
use trust::{Bucket, KeyPair};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_reopen_sends_nothing_and_a_change_is_seen_at_the_next_open() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    let (old, new) = (filled(1, 2 * MIB + 5), filled(2, 3 * MIB));
    home.put("d/a", &old).await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    for _ in 0..3 {
        assert_eq!(cat(&replica, "d/a").await, Ok(old.clone()));
    }
    let counts = replica.state().await.expect("runs").counts;
    assert_eq!((counts.opens_asked, counts.opens_cached), (1, 2));
    assert_eq!((counts.blocks_fetched, counts.blocks_cached), (3, 6));
    assert_eq!(counts.bytes_fetched, old.len() as u64);

    home.put("d/a", &new).await;
    assert_eq!(cat(&replica, "d/a").await, Ok(new));
    assert_eq!(replica.state().await.expect("runs").callbacks, 1);
}

#[tokio::test]
async fn a_small_file_comes_with_the_open() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("a", b"hello").await;
    home.put("empty", b"").await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    assert_eq!(cat(&replica, "a").await, Ok(b"hello".to_vec()));
    assert_eq!(cat(&replica, "empty").await, Ok(vec![]));
    assert_eq!(replica.state().await.expect("runs").counts.blocks_fetched, 0);
    let file = open_file(&replica, "a").await.expect("opens");
    assert!(file.signed_manifest().is_some());
    assert_eq!((file.volume(), file.path(), file.entry().size), (&volume(), &path("a"), 5));
}

#[tokio::test]
async fn directories_and_what_is_not_there() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("d/a", b"1").await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    let names = async || match replica.open(&path("d")).await.expect("opens") {
        ReplicaObject::Directory(directory) => {
            let listing = directory.listing("").expect("short");
            listing.entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
        }
        other => panic!("no directory: {other:?}"),
    };
    assert_eq!(names().await, ["a"]);
    home.put("d/b", b"2").await;
    assert_eq!(names().await, ["a", "b"]);
    assert_eq!(replica.open(&path("d/c")).await.expect_err("absent").code, Code::NotFound);
    home.delete("d/a").await;
    assert_eq!(replica.open(&path("d/a")).await.expect_err("removed").code, Code::NotFound);
    home.put("d/a", b"again").await;
    assert_eq!(cat(&replica, "d/a").await, Ok(b"again".to_vec()));
    assert_eq!(replica.open(&path("")).await.expect("opens").entry().kind, FileKind::Directory);
}

#[tokio::test]
async fn many_at_once_cost_one_open_and_one_fetch_a_block() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    let bytes = filled(1, 2 * MIB);
    home.put("a", &bytes).await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    let (opens, reads) = (link.opens.forget_permits(usize::MAX), link.reads.forget_permits(usize::MAX));
    let readers = async { join_all((0..40).map(|_| cat(&replica, "a"))).await };
    let release = async {
        until(async || link.opened.load(Ordering::SeqCst) > 0).await;
        // Whoever comes after this sees what the others wait for.
        until(async || replica.state().await.is_ok()).await;
        link.opens.add_permits(opens);
        link.reads.add_permits(reads);
    };
    let (read, ()) = tokio::join!(readers, release);
    assert!(read.into_iter().all(|one| one == Ok(bytes.clone())));
    let counts = replica.state().await.expect("runs").counts;
    assert_eq!((counts.opens_asked, counts.blocks_fetched), (1, 2));
}

#[tokio::test]
async fn an_answer_that_its_recall_overtook_is_used_once() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("a", b"old").await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    let held_up = link.opens.forget_permits(usize::MAX);
    let first = cat(&replica, "a");
    let change = async {
        until(async || link.opened.load(Ordering::SeqCst) == 1).await;
        // Acknowledged by the holder while the answer that it recalls is still on its way.
        home.put("a", b"new").await;
        link.opens.add_permits(held_up);
    };
    let (first, ()) = tokio::join!(first, change);
    assert_eq!(first, Ok(b"old".to_vec()), "it was right when the read began");
    assert_eq!(replica.state().await.expect("runs").callbacks, 0);
    assert_eq!(cat(&replica, "a").await, Ok(b"new".to_vec()));
}

#[tokio::test]
async fn false_content_and_foreign_signatures_are_refused() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("small", b"hello").await;
    home.put("large", &filled(1, MIB)).await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    let large = open_file(&replica, "large").await.expect("opens");
    link.lies.store(true, Ordering::SeqCst);
    for refused in [cat(&replica, "small").await, content(&large).await] {
        let problem = refused.expect_err("not what was signed");
        assert!(problem.detail.contains("match"), "{problem}");
    }
    link.lies.store(false, Ordering::SeqCst);
    assert_eq!(content(&large).await, Ok(filled(1, MIB)));

    let other = KeyPair::generate().expect("a key");
    let answer = crate::session::OpenRequest { relays: 0, stream: None, path: path("small") };
    let answer = crate::relay::HomeLink::open(link.as_ref(), answer).await.expect("answers");
    let checked = crate::relay::held::Held::check(&volume(), &path("small"), answer.clone(), other.public());
    assert!(checked.expect_err("another key").detail.contains("not its own"));
    let checked = crate::relay::held::Held::check(&volume(), &path("large"), answer, home.key.public());
    assert!(checked.expect_err("another path").detail.contains("does not agree"));
}

#[tokio::test]
async fn the_access_list_comes_with_the_open_and_its_change_is_a_change() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("d/a", b"x").await;
    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    assert_eq!(*replica.open(&path("d/a")).await.expect("opens").bucket(), usual_bucket());

    let read = Rights::of(&[Right::Read]);
    let wider = usual_bucket().grant(Who::Principal(holder("n9")), read).expect("small");
    change_bucket(&home, wider.clone()).await;
    assert_eq!(*replica.open(&path("d/a")).await.expect("opens").bucket(), wider);

    change_bucket(&home, wider.revoke(&Who::Principal(holder("n1")), read)).await;
    assert_eq!(replica.open(&path("d/a")).await.expect_err("revoked").code, Code::Denied);
}

async fn change_bucket(home: &HomeWorld, bucket: Bucket) {
    let below = home.store().buckets_below(&path("d")).await.expect("reads");
    let lists = below.into_iter().map(|hash| (hash, bucket.clone())).collect();
    let change = Change::AmendLists { path: path("d"), lists };
    let recalled = change.touches(&path("d"), &[]);
    let gate: &dyn crate::gate::ChangeGate = &home.coherence();
    let permit = gate.before_change(recalled.clone()).await.expect("admitted");
    let conditions = Conditions { recalled, ..Conditions::none() };
    home.store().change_with(change, conditions, permit).await.expect("committed");
}

#[tokio::test]
async fn a_sparse_file_is_read_through_its_tree_and_holes_cost_nothing() {
    let (home, dir) = (HomeWorld::new().await, tempfile::tempdir().expect("a folder"));
    home.put("a", b"").await;
    let (store, bytes) = (home.store(), filled(1, 2 * MIB));
    let object = async || match store.lookup(&path("a")).await.expect("works") {
        Lookup::Found(object) => object,
        Lookup::Missing(_) => panic!("it is there"),
    };
    let resized = store.resize(object().await.as_ref(), 100 << 30).await.expect("made");
    store.apply(Change::Patch(resized), Conditions::none()).await.expect("stored");
    let mut patching = store.patch(object().await, 50 << 30).await.expect("begins");
    patching.write(bytes.clone().into()).await.expect("takes content");
    let patch = patching.finish().await.expect("made");
    store.apply(Change::Patch(patch), Conditions::none()).await.expect("stored");

    let link = home.link("n1");
    let replica = home.replica(&link, dir.path()).await;
    replica.connected().await.expect("connects");
    let file = open_file(&replica, "a").await.expect("opens");
    assert_eq!(file.entry().size, 100 << 30);
    let first = (50 << 30) / MIB;
    for (index, expected) in [(0, &vec![0; MIB][..]), (first, &bytes[..MIB]), (first + 1, &bytes[MIB..])] {
        for _ in 0..2 {
            assert!(file.read_block(index).await.expect("readable") == expected, "block {index}");
        }
    }
    let counts = replica.state().await.expect("runs").counts;
    assert_eq!((counts.blocks_fetched, counts.nodes_fetched), (2, 2), "one node a level, but the top");
    let (leaf, hole) = (NodePlace::above(first as u64), NodePlace::above(0));
    assert!(file.read_node(leaf).await.expect("known").is_some(), "it gives on what it has");
    assert_eq!(file.read_node(hole).await.expect("known"), None);

    let liar = home.link("n2");
    let other = tempfile::tempdir().expect("a folder");
    let replica = home.replica(&liar, other.path()).await;
    replica.connected().await.expect("connects");
    let file = open_file(&replica, "a").await.expect("opens");
    liar.lies.store(true, Ordering::SeqCst);
    let refused = file.read_block(first).await.expect_err("its node is wrong");
    assert!(refused.detail.contains("node 2.0"), "{refused}");
}
