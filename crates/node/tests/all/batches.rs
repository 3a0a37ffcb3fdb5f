//! A batch that is sent again, because its answer was lost: it is answered again, whatever its rights fit by now.

use crate::realm::{Realm, path, principal, volume};
use client::PutOptions;
use client::protocol::AclChange;
use terms::{Code, PrincipalKind, Right, Rights, SessionId, Who};
use webfs::protocol::{BATCH_ROUTE, Batch, BatchReply, Operation, When};

fn batch(number: u64, operation: Operation) -> Batch {
    Batch { session: SessionId([7; 16]), settled: 1, operations: vec![(number, operation)] }
}

async fn send(files: &client::Volume, batch: &Batch) -> BatchReply {
    files.node().post(&format!("{BATCH_ROUTE}/{}", volume()), batch).await.expect("an answer")
}

fn put(content: &[u8]) -> Operation {
    Operation::Put { path: path("in/a"), content: content.to_vec(), parents: false, when: When::Always }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_whose_rights_no_longer_fit_is_answered_again() {
    let realm = Realm::start().await;
    realm.issue("bob", PrincipalKind::User);
    let (alice, bob) = (realm.files("alice").await, realm.files("bob").await);
    let parents = PutOptions { parents: true, ..PutOptions::default() };
    alice.put_bytes(&path("in/there"), parents, b"x".to_vec()).await.expect("put");
    let who = Who::Principal(principal(PrincipalKind::User, "bob"));
    let rights = Rights::of(&[Right::Write]);
    let change = AclChange { who, rights, grant: true, recursive: true };
    alice.change_acl(&path("in"), &change).await.expect("granted");

    // To create takes less than to replace: the same put may not happen a second time.
    let first = batch(1, put(b"hello"));
    let done = send(&bob, &first).await;
    assert!(done.outcomes[0].as_ref().is_ok_and(|done| done.created), "{done:?}");
    assert_eq!(send(&bob, &first).await, done, "the lost answer");
    assert_eq!(alice.read(&path("in/a"), 100).await.expect("read"), b"hello"[..]);
    let anew = send(&bob, &batch(2, put(b"hello"))).await;
    assert_eq!(anew.outcomes[0].as_ref().expect_err("no right to replace").code, Code::Denied);
    let other = send(&bob, &batch(1, put(b"other"))).await;
    assert!(other.outcomes[0].is_err(), "another change under the same number: {other:?}");
    let foreign = send(&alice, &batch(1, Operation::Remove { path: path("in/none"), when: When::Always })).await;
    assert_eq!(foreign.outcomes[0].as_ref().expect_err("alice asked nothing yet").code, Code::NotFound);
    assert_eq!(alice.read(&path("in/a"), 100).await.expect("read"), b"hello"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_what_is_gone_by_it_is_answered_again() {
    let realm = Realm::start().await;
    let alice = realm.files("alice").await;
    for name in ["a", "b"] {
        alice.put_bytes(&path(name), PutOptions::default(), b"x".to_vec()).await.expect("put");
    }
    let gone = Operation::Remove { path: path("a"), when: When::Always };
    let moved = Operation::Rename { from: path("b"), to: path("c"), replace: false };
    for (number, operation) in [(1, gone), (2, moved)] {
        let first = batch(number, operation.clone());
        let done = send(&alice, &first).await;
        assert!(done.outcomes[0].is_ok(), "{done:?}");
        assert_eq!(send(&alice, &first).await, done, "{operation:?} again");
        let anew = send(&alice, &batch(number + 10, operation)).await;
        assert_eq!(anew.outcomes[0].as_ref().expect_err("gone").code, Code::NotFound);
    }
    assert_eq!(alice.stat(&path("c")).await.expect("moved").size, 1);
}
