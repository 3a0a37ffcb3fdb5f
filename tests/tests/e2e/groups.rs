//! Groups, access lists and reasons as people meet them: through the commands.

use webos_tests::Realm;

#[test]
fn a_group_is_made_handed_over_filled_and_asked_about() {
    let realm = Realm::start();
    let bob = realm.user("bob");
    let (first, alice) = (&realm.first.home, &realm.alice);
    std::fs::write(alice.beside().join("x"), "for readers").expect("written");
    alice.ok(["put", "-p", "x", &realm.path("in/x")]);
    alice.call(["group", "create", "readers"]).run().fails(3, &["may not make groups", "owner"]);
    first.call(["group", "create", "site-serving"]).run().fails(2, &["belong to services"]);
    first.ok(["group", "create", "readers"]);
    first.call(["group", "create", "readers"]).run().fails(1, &["already"]);
    first.ok(["acl", "grant", "user/alice", "a", "group/readers"]);
    first.ok(["acl", "revoke", "server/home", "a", "group/readers.test.localhost"]);
    alice.call(["acl", "revoke", "user/alice", "a", "group/readers"]).run().fails(2, &["nobody would hold"]);
    first.call(["group", "add", "readers", "user/bob"]).run().fails(3, &["may not administer"]);

    let granted = alice.call(["acl", "grant", "group/readers", "r", &realm.path("in"), "-r"]).run();
    granted.succeeds();
    assert!(!granted.stderr.contains("there is no group"), "{}", granted.stderr);
    let slip = alice.call(["acl", "grant", "group/raeders", "r", &realm.path("in")]).run();
    slip.succeeds();
    assert!(slip.stderr.contains("there is no group spiffe://test.localhost/group/raeders"), "{}", slip.stderr);
    alice.ok(["acl", "revoke", "group/raeders", "r", &realm.path("in")]);

    bob.call(["cat", &realm.path("in/x")]).run().fails(3, &["may not read"]);
    let why = alice.ok(["why", "user/bob", "r", &realm.path("in/x")]);
    assert!(why.starts_with("no: spiffe://test.localhost/user/bob may not read"), "{why}");
    let advised = why.lines().find(|line| line.trim().starts_with("webos group add")).expect("a command").trim();
    let words: Vec<&str> = advised.split_whitespace().skip(1).chain(["--for", "1h"]).collect();
    assert!(alice.ok(words).contains("1 member"), "what why advises works");
    assert_eq!(bob.ok(["cat", &realm.path("in/x")]), "for readers");
    let why = bob.call(["why", "--json", "user/bob", "r", &realm.path("in/x")]).run().json();
    assert_eq!((&why["granted"], &why["way"][0]), (&true.into(), &"spiffe://test.localhost/group/readers".into()));
    bob.call(["why", "user/alice", "r", &realm.path("in/x")]).run().fails(3, &["may not administer"]);

    let shown = bob.ok(["group", "show", "readers"]);
    assert!(shown.contains("spiffe://test.localhost/user/bob  until "), "{shown}");
    let list = bob.call(["group", "list", "--json"]).run().json();
    assert_eq!(list[0]["members"], 1);
    alice.ok(["group", "remove", "readers.test.localhost", "user/bob"]);
    bob.call(["cat", &realm.path("in/x")]).run().fails(3, &["may not read"]);
    alice.call(["group", "delete", "readers"]).run().fails(2, &["--yes"]);
    alice.ok(["group", "delete", "readers", "--yes"]);
    assert!(bob.ok(["group", "list"]).contains("has no groups"));
}

#[test]
fn lists_are_copied_with_consent_where_they_open_to_anyone() {
    let realm = Realm::start();
    let alice = &realm.alice;
    std::fs::write(alice.beside().join("x"), "x").expect("written");
    alice.ok(["put", "-p", "x", &realm.path("open/x")]);
    alice.ok(["put", "-p", "x", &realm.path("shut/x")]);
    alice.ok(["acl", "grant", "anyone", "r", &realm.path("open"), "--yes"]);
    let (from, to) = (realm.path("open"), realm.path("shut"));
    alice.call(["acl", "copy", &from, &to]).run().fails(2, &["everybody", "--yes"]);
    alice.ok(["acl", "copy", "-r", &from, &to, "--yes"]);
    let shown = |path: &str| alice.call(["acl", "show", "--json", path]).run().json()["bucket"].clone();
    assert_eq!(shown(&from), shown(&realm.path("shut/x")));
}

#[test]
fn a_node_that_is_lent_to_nobody_there_is_told_so() {
    let realm = Realm::start();
    let n2 = realm.node("n2");
    let lent = n2.home.call(["node", "lend", "--to", "service://slip.test.localhost"]).run();
    assert!(lent.succeeds().contains("lent to service://slip.test.localhost"));
    assert!(lent.stderr.contains("there is no service slip"), "{}", lent.stderr);
    let far = n2.home.call(["node", "lend", "--to", "service://site.far.example"]).run();
    far.succeeds();
    assert!(far.stderr.contains("the realm far.example is not trusted here"), "{}", far.stderr);
}
