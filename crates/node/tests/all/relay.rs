//! A relay: serves from its cache what its home lets it hold, checks its clients as the home would, and stops
//! when its lease ends.

use crate::realm::{Realm, path, principal, seen, volume};
use client::protocol::AclChange;
use client::{Condition, PutOptions};
use std::time::Duration;
use terms::{Code, PrincipalKind, Who};
use webos_node::ViaNode;

const PARENTS: PutOptions = PutOptions { condition: Condition::None, parents: true, operation: None };

async fn grant(realm: &Realm, who: terms::Principal, rights: &str) {
    let rights = rights.parse().expect("rights");
    let change = AclChange { who: Who::Principal(who), rights, grant: true, recursive: true };
    realm.files("alice").await.change_acl(&path(""), &change).await.expect("granted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_at_the_home_shows_at_the_relay_at_the_next_request() {
    let realm = Realm::start().await;
    let relay = realm.join("r1").await;
    let files = realm.files("alice").await;
    files.put_bytes(&path("in/a"), PARENTS, b"0".to_vec()).await.expect("put");
    let alice = realm.client("alice");
    let relayed = alice.volume_at(&volume(), &seen(&alice, &relay)).await.expect("a volume");
    let refused = relayed.read(&path("in/a"), 100).await.expect_err("it holds no right yet");
    assert_eq!(refused.code, Code::Denied, "{refused}");
    grant(&realm, relay.principal().clone(), "r+relay").await;
    for round in 1..20u8 {
        let content = vec![round; 20_000 * usize::from(round)];
        files.put_bytes(&path("in/a"), PARENTS, content.clone()).await.expect("put");
        assert_eq!(relayed.read(&path("in/a"), 1 << 20).await.expect("read"), content, "round {round}");
        assert_eq!(relayed.read(&path("in/a"), 1 << 20).await.expect("from the cache"), content);
    }
    let names: Vec<_> = relayed.list(&path("in")).await.expect("list").into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["a"]);
    let statement = relayed.manifest(&path("in/a")).await.expect("the home's word through the relay");
    assert_eq!(statement.size, 380_000);
    realm.issue("bob", PrincipalKind::User);
    let bob = realm.client("bob");
    let as_bob = bob.volume_at(&volume(), &seen(&bob, &relay)).await.expect("a volume");
    assert_eq!(as_bob.read(&path("in/a"), 1 << 20).await.expect_err("bob may not").code, Code::Denied);
    grant(&realm, principal(PrincipalKind::User, "bob"), "r").await;
    as_bob.read(&path("in/a"), 1 << 20).await.expect("bob may now");
    assert_eq!(as_bob.read(&path("in/b"), 100).await.expect_err("nothing there").code, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_cut_off_from_its_home_stops_when_its_lease_ends() {
    let mut realm = Realm::start().await;
    let relay = realm.join("r1").await;
    let files = realm.files("alice").await;
    files.put_bytes(&path("a"), PARENTS, b"kept".to_vec()).await.expect("put");
    grant(&realm, relay.principal().clone(), "r+relay").await;
    let alice = realm.client("alice");
    let relayed = alice.volume_at(&volume(), &seen(&alice, &relay)).await.expect("a volume");
    relayed.read(&path("a"), 100).await.expect("read");
    // A crash: the home's runtime is gone at once, no lease is ended in order.
    drop(realm.home.take());
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match relayed.read(&path("a"), 100).await {
                Ok(bytes) => assert_eq!(&bytes[..], b"kept"),
                Err(problem) => return problem,
            }
        }
    });
    let problem = ended.await.expect("the lease ends");
    assert_eq!(problem.code, Code::Unavailable, "{problem}");
    assert!(problem.to_string().contains("server/home"), "the home is named: {problem}");
}

/// A node that relays the volume via another one.
async fn join_via(realm: &Realm, name: &str, above: &webos_node::Node) -> webos_node::Node {
    let line = realm.invite(PrincipalKind::Server, name);
    client::enrol::join(&realm.folder(name), &line, PrincipalKind::Server, &realm.world).await.expect("joined");
    let mut settings = realm.settings(name, "127.0.0.1:0");
    let via = ViaNode { principal: above.principal().clone(), address: above.address().to_string() };
    settings.relay_via.insert(volume(), via);
    let node = webos_node::Node::start(settings, realm.world.clone()).await.expect("a node");
    grant(realm, node.principal().clone(), "r+relay").await;
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_below_a_relay_shows_each_change_and_checks_its_readers() {
    let realm = Realm::start().await;
    let first = realm.join("r1").await;
    grant(&realm, first.principal().clone(), "r+relay").await;
    let second = join_via(&realm, "r2", &first).await;
    let files = realm.files("alice").await;
    files.put_bytes(&path("in/a"), PARENTS, b"0".to_vec()).await.expect("put");
    let alice = realm.client("alice");
    let relayed = alice.volume_at(&volume(), &seen(&alice, &second)).await.expect("a volume");
    for round in 1..10u8 {
        let content = vec![round; 200_000 * usize::from(round)];
        files.put_bytes(&path("in/a"), PARENTS, content.clone()).await.expect("put");
        assert_eq!(relayed.read(&path("in/a"), 4 << 20).await.expect("read"), content, "round {round}");
    }
    let statement = relayed.manifest(&path("in/a")).await.expect("the home's word through both");
    assert_eq!(statement.size, 1_800_000);

    realm.issue("bob", PrincipalKind::User);
    let bob = realm.client("bob");
    let as_bob = bob.volume_at(&volume(), &seen(&bob, &second)).await.expect("a volume");
    for there in ["in/a", "in/none", "none/at/all"] {
        let refused = as_bob.read(&path(there), 4 << 20).await.expect_err("bob may not");
        assert_eq!(refused.code, Code::Denied, "whether it exists or not: {there}: {refused}");
    }
    assert_eq!(relayed.read(&path("in/none"), 9).await.expect_err("alice may").code, Code::NotFound);

    let refused = relayed.put_bytes(&path("in/a"), PARENTS, b"x".to_vec()).await.expect_err("only at the home");
    assert_eq!(refused.code, Code::Unsupported, "{refused}");
    assert!(refused.detail.contains("server/home"), "{refused}");
    let refused = relayed.acl(&path("in/a")).await.expect_err("only at the home");
    assert!(refused.detail.contains("server/home"), "{refused}");
}
