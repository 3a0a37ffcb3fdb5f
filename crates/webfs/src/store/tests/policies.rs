//! Policies: who has which, what each refuses, and that they come along in dumps.

use super::{assert_whole, cat, code, found, path, prepare, put, put_change, volume};
use crate::gate::Touched;
use crate::model::Policy;
use crate::store::{Change, Conditions, Store, StoreError};
use bytes::Bytes;
use terms::{Code, Epoch};
use world::World;

pub(super) async fn set(store: &Store, at: &str, policy: Policy, recursive: bool) -> Result<(), StoreError> {
    let change = Change::SetPolicy { path: path(at), policy, recursive };
    store.apply(change, Conditions::none()).await.map(drop)
}

async fn policy(store: &Store, at: &str) -> Policy {
    found(store, at).await.expect("it is there").entry.policy
}

#[tokio::test]
async fn what_is_made_in_a_folder_takes_over_its_policy() {
    let (_dir, store) = volume(&World::real());
    put(&store, "d/before", b"1").await.expect("stored");
    set(&store, "d", Policy::Ttl(30), false).await.expect("set");
    put(&store, "d/e/after", b"2").await.expect("stored");
    for (at, expected) in [
        ("", Policy::Cto),
        ("d", Policy::Ttl(30)),
        ("d/before", Policy::Cto),
        ("d/e", Policy::Ttl(30)),
        ("d/e/after", Policy::Ttl(30)),
    ] {
        assert_eq!(policy(&store, at).await, expected, "/{at}");
    }
    let before = found(&store, "d/e/after").await.expect("there").entry.version;
    set(&store, "d", Policy::Strong, true).await.expect("set");
    for at in ["d", "d/before", "d/e", "d/e/after"] {
        assert_eq!(policy(&store, at).await, Policy::Strong, "/{at}");
    }
    assert!(found(&store, "d/e/after").await.expect("there").entry.version > before);
    let listed = store.list(&path("d"), "").await.expect("listed");
    assert!(listed.entries.iter().all(|entry| entry.policy == Policy::Strong));
    store
        .apply(Change::Rename { from: path("d/before"), to: path("moved"), replace: false }, Conditions::none())
        .await
        .expect("moved");
    assert_eq!(policy(&store, "moved").await, Policy::Strong, "it goes along");
    assert_eq!(code(set(&store, "gone", Policy::Log, false).await), Some(Code::NotFound));
    assert_whole(&store).await;
}

#[tokio::test]
async fn a_change_of_policy_is_recalled_first() {
    let (_dir, store) = volume(&World::real());
    put(&store, "d/f", b"1").await.expect("stored");
    for recursive in [false, true] {
        let change = || Change::SetPolicy { path: path("d"), policy: Policy::Ttl(9), recursive };
        let touched = store.touched(&change()).await.expect("looked at");
        assert!(touched.covers(&path("d")) && touched.covers(&path("")));
        assert_eq!(touched.covers(&path("d/f")), recursive);
        let too_little = Conditions { recalled: Touched::objects([path("d")]), ..Conditions::none() };
        assert!(matches!(store.apply(change(), too_little).await, Err(StoreError::Moved { .. })));
    }
}

#[tokio::test]
async fn a_log_and_what_is_immutable_are_not_changed_in_place() {
    let (_dir, store) = volume(&World::real());
    for (at, policy) in [("l", Policy::Log), ("i", Policy::Immutable)] {
        put(&store, at, b"first").await.expect("stored");
        put(&store, "other", b"other").await.expect("stored");
        set(&store, at, policy, false).await.expect("set");
        let object = found(&store, at).await.expect("there");
        let refused = |result| matches!(result, Err(StoreError::Policy { policy: named, .. }) if named == policy);
        assert!(refused(put(&store, at, b"second").await), "{policy}");
        let shorter = store.resize(&object, 1).await.expect("made");
        assert!(refused(store.apply(Change::Patch(shorter), Conditions::none()).await), "{policy}");
        let mut part = store.patch(object, 1).await.expect("begun");
        part.write(Bytes::from_static(b"x")).await.expect("taken");
        let part = part.finish().await.expect("made");
        assert!(refused(store.apply(Change::Patch(part), Conditions::none()).await), "{policy}");
        let over = Change::Rename { from: path("other"), to: path(at), replace: true };
        assert!(refused(store.apply(over, Conditions::none()).await), "{policy}");
        assert_eq!(cat(&store, at).await.as_deref(), Some(&b"first"[..]));
        store.apply(Change::Remove { path: path(at) }, Conditions::none()).await.expect("removed");
        put(&store, at, b"anew").await.expect("stored: its policy went with it");
    }
    let content = prepare(&store, b"once").await;
    set(&store, "", Policy::Immutable, false).await.expect("set");
    store.apply(put_change("once", content, false), Conditions::none()).await.expect("made in an immutable folder");
    assert!(matches!(put(&store, "once", b"twice").await, Err(StoreError::Policy { .. })));
    assert_whole(&store).await;
}

#[tokio::test]
async fn a_dump_carries_policies() {
    let world = World::real();
    let (dir, store) = volume(&world);
    put(&store, "d/f", b"1").await.expect("stored");
    set(&store, "d", Policy::Ttl(7), true).await.expect("set");
    let file = dir.path().join("dump");
    store.dump(std::fs::File::create(&file).expect("made")).await.expect("dumped");
    let name = "other.lab.example".parse().expect("valid");
    let dump = std::fs::File::open(&file).expect("there");
    let (restored, _) =
        Store::restore(&dir.path().join("w"), dump, &name, Epoch(0), world.clone()).expect("restored");
    assert_eq!(policy(&restored, "d/f").await, Policy::Ttl(7));
}
