//! The lists of a volume: inherited, set below, amended.

use super::{code, found, list, owner, path, put, set_all, volume};
use crate::model::FileKind;
use crate::store::{Change, Conditions, Lookup};
use terms::Code;
use world::World;

#[tokio::test]
async fn a_missing_path_names_what_governs_it() {
    let (_dir, store) = volume(&World::real());
    put(&store, "a/f", b"x").await.expect("stored");
    let another = list("another");
    let set = Change::SetBucket { path: path("a"), bucket: another.clone() };
    store.apply(set, Conditions::none()).await.expect("set");
    for (at, nearest, kind, bucket) in [
        ("a/x/y", "a", FileKind::Directory, another.hash()),
        ("b", "", FileKind::Directory, owner().hash()),
        ("a/f/x", "a/f", FileKind::File, owner().hash()),
    ] {
        let Lookup::Missing(missing) = store.lookup(&path(at)).await.expect("works") else { panic!("{at} exists") };
        assert_eq!((missing.nearest, missing.kind, missing.bucket), (path(nearest), kind, bucket), "{at}");
    }
    assert_eq!(*store.bucket(another.hash()).await.expect("there"), another);
}

#[tokio::test]
async fn lists_are_inherited_and_set_below() {
    let (_dir, store) = volume(&World::real());
    put(&store, "a/b/f", b"x").await.expect("stored");
    put(&store, "c", b"x").await.expect("stored");
    let before = found(&store, "a/b/f").await.expect("there");
    let narrow = list("narrow");
    let set = set_all(&store, "a", &narrow).await;
    store.apply(set, Conditions::none()).await.expect("set");
    put(&store, "a/b/new", b"x").await.expect("stored");
    for (at, expected) in
        [("a", &narrow), ("a/b", &narrow), ("a/b/f", &narrow), ("a/b/new", &narrow), ("c", &owner())]
    {
        let object = found(&store, at).await.expect("there");
        assert_eq!(object.bucket, expected.hash(), "{at}");
    }
    let mut below = store.buckets_below(&path("")).await.expect("reads");
    below.sort_unstable();
    let mut expected = vec![narrow.hash(), owner().hash()];
    expected.sort_unstable();
    assert_eq!(below, expected);
    for (decided_on, expected) in [(vec![owner().hash()], Some(Code::Unavailable)), (below, None)] {
        let set = set_all(&store, "", &owner()).await;
        let conditions = Conditions { decided_on: Some(decided_on), ..Conditions::none() };
        assert_eq!(code(store.apply(set, conditions).await), expected, "a list below that nobody decided on");
    }
    let after = found(&store, "a/b/f").await.expect("there");
    assert!(after.entry.version > before.entry.version, "who knows the version knows the list");
    assert_eq!((after.entry.modified, after.entry.etag), (before.entry.modified, before.entry.etag));
}

#[tokio::test]
async fn amended_lists_do_not_run_into_each_other() {
    let (_dir, store) = volume(&World::real());
    for at in ["d/one", "d/two", "other"] {
        put(&store, at, b"x").await.expect("stored");
    }
    let (one, two) = (list("one"), list("two"));
    for (at, bucket) in [("d/one", &one), ("d/two", &two)] {
        let set = Change::SetBucket { path: path(at), bucket: bucket.clone() };
        store.apply(set, Conditions::none()).await.expect("set");
    }
    // What takes the place of `one` is `two`, and what takes the place of `two` is `one`.
    let lists = vec![(one.hash(), two.clone()), (two.hash(), one.clone())];
    let amend = |lists| Change::AmendLists { path: path("d"), lists };
    store.apply(amend(lists), Conditions::none()).await.expect("amended");
    for (at, bucket) in [("d", &owner()), ("d/one", &two), ("d/two", &one), ("other", &owner())] {
        assert_eq!(found(&store, at).await.expect("there").bucket, bucket.hash(), "{at}");
    }
    let undecided = Conditions { decided_on: Some(vec![one.hash()]), ..Conditions::none() };
    let said = store.apply(amend(vec![(one.hash(), owner())]), undecided).await;
    assert_eq!(code(said), Some(Code::Unavailable), "a list below that nobody decided on");
}
