//! The home: files with rights, enrolment, reading for somebody else.

use crate::realm::{Realm, path, principal, seen, volume};
use client::protocol::AclChange;
use client::{Condition, PutOptions, enrol};
use terms::{Code, Location, PrincipalKind, Right, Rights, Who};
use webos_node::Node;

fn read() -> Rights {
    Rights::of(&[Right::Read])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_in_and_comes_out() {
    let realm = Realm::start().await;
    let files = realm.files("alice").await;
    let put = PutOptions { parents: true, ..PutOptions::default() };
    let entry = files.put_bytes(&path("in/a.txt"), put, b"hello".to_vec()).await.expect("put");
    assert_eq!(entry.size, 5);
    assert_eq!(&files.read(&path("in/a.txt"), 100).await.expect("read")[..], b"hello");
    assert_eq!(files.stat(&path("in/a.txt")).await.expect("stat").etag, entry.etag);
    let names: Vec<_> = files.list(&path("in")).await.expect("list").into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["a.txt"]);
    let statement = files.manifest(&path("in/a.txt")).await.expect("the home's word");
    assert_eq!(Some(statement.root), entry.etag);
    let big = vec![7u8; 3 << 20];
    files.put_bytes(&path("in/big"), put, big.clone()).await.expect("put");
    let part = files.get(&path("in/big"), Some((1 << 20, Some((1 << 20) + 10))), None).await.expect("a range");
    assert_eq!(wire::read_body(part.body, 100).await.expect("ten bytes").len(), 10);
    assert_eq!(files.read(&path("in/big"), 4 << 20).await.expect("read"), big);
    files.remove(&path("in/big"), Condition::None).await.expect("removed");
    assert_eq!(files.stat(&path("in/big")).await.expect_err("gone").code, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_with_if_match_one_wins() {
    let realm = Realm::start().await;
    let files = realm.files("alice").await;
    let first = files.put_bytes(&path("a"), PutOptions::default(), b"0".to_vec()).await.expect("put");
    let condition = Condition::IfMatch(first.etag.expect("a file"));
    let with = PutOptions { condition, ..PutOptions::default() };
    let path = path("a");
    let (one, two) =
        tokio::join!(files.put_bytes(&path, with, b"1".to_vec()), files.put_bytes(&path, with, b"2".to_vec()));
    let lost = match (one, two) {
        (Ok(_), Err(lost)) | (Err(lost), Ok(_)) => lost,
        other => panic!("exactly one wins: {other:?}"),
    };
    assert_eq!(lost.code, Code::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_given_and_taken() {
    let realm = Realm::start().await;
    realm.issue("bob", PrincipalKind::User);
    let (alice, bob) = (realm.files("alice").await, realm.files("bob").await);
    let put = PutOptions { parents: true, ..PutOptions::default() };
    alice.put_bytes(&path("in/a"), put, b"secret".to_vec()).await.expect("put");
    let there = bob.read(&path("in/a"), 100).await.expect_err("no right");
    let absent = bob.read(&path("in/b"), 100).await.expect_err("no right");
    assert_eq!((there.code, absent.code), (Code::Denied, Code::Denied));
    assert_eq!(there.detail.replace("in/a", ""), absent.detail.replace("in/b", ""), "existence does not show");
    let who = Who::Principal(principal(PrincipalKind::User, "bob"));
    let change = AclChange { who, rights: read(), grant: true, recursive: true };
    assert_eq!(bob.change_acl(&path("in"), &change).await.expect_err("no right").code, Code::Denied);
    alice.change_acl(&path("in"), &change).await.expect("granted");
    assert_eq!(&bob.read(&path("in/a"), 100).await.expect("a right")[..], b"secret");
    assert_eq!(bob.stat(&path("in/b")).await.expect_err("nothing there").code, Code::NotFound);
    let denied = bob.put_bytes(&path("in/a"), put, b"mine".to_vec()).await.expect_err("no right to modify");
    assert_eq!(denied.code, Code::Denied);
    alice.change_acl(&path("in"), &AclChange { grant: false, ..change }).await.expect("revoked");
    assert_eq!(bob.read(&path("in/a"), 100).await.expect_err("no right").code, Code::Denied);
    let audit = std::fs::read_to_string(realm.folder("home").audit()).expect("an audit log");
    assert!(audit.contains("bob") && audit.contains("data.lab.example/in/a"), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_good_for_one() {
    let realm = Realm::start().await;
    let line = realm.invite(PrincipalKind::User, "carol");
    let server = enrol::join(&realm.folder("x"), &line, PrincipalKind::Server, &realm.world).await;
    assert_eq!(server.expect_err("for a user").code, Code::Invalid);
    enrol::join(&realm.folder("carol"), &line, PrincipalKind::User, &realm.world).await.expect("joined");
    let again = enrol::join(&realm.folder("mallory"), &line, PrincipalKind::User, &realm.world).await;
    assert_eq!(again.expect_err("used").code, Code::Denied);
    let carol = realm.client("carol");
    seen(&carol, realm.home()).status().await.expect("carol is known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_reads_for_somebody_only_under_a_certificate() {
    let mut realm = Realm::start().await;
    let n2 = realm.join("n2").await;
    realm.issue("bob", PrincipalKind::User);
    let alice = realm.client("alice");
    let files = realm.files("alice").await;
    let put = PutOptions { parents: true, ..PutOptions::default() };
    files.put_bytes(&path("in/a"), put, b"for n2".to_vec()).await.expect("put");
    let location = Location { volume: volume(), path: path("in/a") };
    let node = seen(&alice, &n2);
    let download = alice.read_via(&node, &location).await.expect("under a certificate");
    assert_eq!(&wire::read_body(download.body, 100).await.expect("read")[..], b"for n2");
    // n2 itself may not, and not for somebody else with alice's certificate.
    let own = realm.files("n2").await;
    assert_eq!(own.read(&path("in/a"), 100).await.expect_err("n2 is nobody there").code, Code::Denied);
    let chain = alice.transfer_for(&node, &location).await.expect("a certificate").encode().expect("encoded");
    let bob = realm.client("bob");
    let stolen = bob.read_under(&seen(&bob, &n2), &location, &chain).await.expect_err("not bob's");
    assert_eq!(stolen.code, Code::Denied);
    let audit = std::fs::read_to_string(realm.folder("n2").audit()).expect("an audit log");
    assert!(audit.contains("\"peer\":\"spiffe://lab.example/user/bob\""), "{audit}");
    let other = Location { path: path("in/b"), ..location.clone() };
    let beside = alice.read_under(&node, &other, &chain).await.expect_err("another path");
    assert_eq!(beside.code, Code::Denied);
    // n2's own rights never help.
    let n2_reads =
        AclChange { who: Who::Principal(n2.principal().clone()), rights: read(), grant: true, recursive: true };
    files.change_acl(&path("in"), &n2_reads).await.expect("granted");
    let denied = bob.read_via(&seen(&bob, &n2), &location).await.expect_err("bob may not");
    assert_eq!(denied.code, Code::Denied);
    realm.home.take().expect("runs").stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recursive_grant_leaves_narrower_lists_below_as_narrow_as_they_were() {
    let realm = Realm::start().await;
    for name in ["bob", "carol"] {
        realm.issue(name, PrincipalKind::User);
    }
    let alice = realm.files("alice").await;
    let put = PutOptions { parents: true, ..PutOptions::default() };
    for name in ["p/open", "p/private/s"] {
        alice.put_bytes(&path(name), put, b"x".to_vec()).await.expect("put");
    }
    let change = |name: &str, grant| AclChange {
        who: Who::Principal(principal(PrincipalKind::User, name)),
        rights: read(),
        grant,
        recursive: true,
    };
    alice.change_acl(&path("p"), &change("bob", true)).await.expect("granted");
    alice.change_acl(&path("p/private"), &change("bob", false)).await.expect("taken below");
    alice.change_acl(&path("p"), &change("carol", true)).await.expect("granted");
    let (bob, carol) = (realm.files("bob").await, realm.files("carol").await);
    bob.read(&path("p/open"), 10).await.expect("bob keeps what he has");
    let private = bob.read(&path("p/private/s"), 10).await.expect_err("what is carol's brings bob nothing");
    assert_eq!(private.code, Code::Denied);
    carol.read(&path("p/private/s"), 10).await.expect("carol has it everywhere below");
    alice.change_acl(&path("p"), &change("carol", false)).await.expect("revoked");
    assert_eq!(carol.read(&path("p/private/s"), 10).await.expect_err("revoked").code, Code::Denied);
    bob.read(&path("p/open"), 10).await.expect("bob still keeps what he has");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_that_its_audit_log_is_gone() {
    let realm = Realm::start().await;
    let n2 = realm.join("n2").await;
    let alice = realm.client("alice");
    let location = Location { volume: volume(), path: path("a") };
    let refused = alice.read_under(&seen(&alice, &n2), &location, b"garbage").await.expect_err("no certificate");
    assert_eq!(refused.code, Code::Invalid);
    n2.stop().await;
    let log = realm.folder("n2").audit();
    assert!(std::fs::read_to_string(&log).expect("a log").contains("user/alice"));
    std::fs::remove_file(&log).expect("there");
    let n2 = Node::start(realm.settings("n2", "127.0.0.1:0"), realm.world.clone()).await.expect("a node");
    let begun = std::fs::read_to_string(&log).expect("a log");
    assert!(begun.contains("was not as it was left: record 1 was there once"), "{begun}");
    n2.stop().await;
}
