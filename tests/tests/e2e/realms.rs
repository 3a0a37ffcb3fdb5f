//! Several realms: trusted by a fingerprint that a person compared, and let go again.

use serde_json::Value;
use webos_tests::{Home, NodeProcess, Realm, eventually};

/// Another realm's first node, and its fingerprint.
fn other(name: &str) -> (NodeProcess, String) {
    let home = Home::new();
    home.ok(["realm", "init", name, "--unencrypted"]);
    let node = NodeProcess::start(home, &[]);
    let fingerprint = node.home.fingerprint();
    (node, fingerprint)
}

fn realms(home: &Home) -> Vec<String> {
    let shown = home.call(["realm", "show", "--json"]).run().json();
    let name = |realm: &Value| realm["realm"].as_str().expect("a name").to_string();
    shown.as_array().expect("realms").iter().map(name).collect()
}

#[test]
fn a_second_realm_is_trusted_and_let_go_while_the_node_runs() {
    let realm = Realm::start();
    let (far, fingerprint) = other("far.localhost");
    let bob = Home::new();
    let line = far.home.ok(["realm", "invite", "user", "bob"]);
    bob.call(["user", "register"]).input(line).run().succeeds();
    let place = realm.path("");
    realm.alice.ok(["acl", "grant", "spiffe://far.localhost/user/bob", "r", &place]);
    let own = realm.first.home.fingerprint();
    bob.ok(["realm", "trust", &format!("https://{}", realm.first.address), &own, "--yes"]);
    assert_ne!(bob.call(["ls", &place]).run().code, Some(0), "his realm is not trusted yet");

    let url = format!("https://{}", far.address);
    let unsure = realm.first.home.call(["realm", "trust", &url, &fingerprint]).run();
    unsure.fails(2, &["access lists", "--yes"]);
    realm.first.home.ok(["realm", "trust", &url, &fingerprint, "--yes"]);
    assert_eq!(realms(&realm.first.home), ["far.localhost", "test.localhost"]);
    eventually("bob's realm is believed", || bob.call(["ls", &place]).run().code.filter(|code| *code == 0));

    realm.first.home.ok(["realm", "distrust", "far.localhost"]);
    eventually("it is believed no longer", || bob.call(["ls", &place]).run().code.filter(|code| *code != 0));
    realm.first.home.call(["realm", "distrust", "far.localhost"]).run().fails(4, &["not trusted"]);
    realm.first.home.call(["realm", "distrust", "test.localhost"]).run().fails(2, &["own identity"]);
}

#[test]
fn a_wrong_fingerprint_or_another_root_is_refused_and_nothing_is_pinned() {
    let (far, fingerprint) = other("far.localhost");
    let (twin, twins) = other("far.localhost");
    let home = Home::new();
    home.call(["realm", "trust", &far.address, &twins, "--yes"]).run().code_is(3);
    assert!(realms(&home).is_empty());
    home.ok(["realm", "trust", &far.address, &fingerprint, "--yes"]);
    home.call(["realm", "trust", &twin.address, &twins, "--yes"]).run().fails(1, &["another root", "distrust"]);
    home.call(["realm", "trust", "far", &twins]).run().code_is(2);
    home.call(["realm", "trust", &far.address, "12"]).run().code_is(2);
}

#[test]
fn whoever_was_revoked_learns_it_and_so_does_who_gives_it_rights() {
    let realm = Realm::start();
    let (bob, alice) = (realm.user("bob"), &realm.alice);
    let grant = || alice.call(["acl", "grant", "user/bob", "r", Realm::VOLUME]).run();
    grant().succeeds();
    assert_eq!(grant().stderr, "", "the realm's first node knows bob");
    let doctor = || bob.call(["doctor"]).run().stdout();
    assert!(!doctor().contains("revoked"), "{}", doctor());
    realm.first.home.ok(["realm", "revoke", "user/bob", "--yes"]);
    assert!(grant().stderr.contains("user/bob was revoked"), "{}", grant().stderr);
    assert!(doctor().contains("user/bob was revoked: no node lets it in"), "{}", doctor());
    let why = || alice.call(["why", "--json", "user/bob", "r", Realm::VOLUME]).run().json();
    assert_eq!(why()["granted"], false, "{}", why());
    assert!(why()["reason"].to_string().contains("has revoked it"), "{}", why());
    // Invited anew, it is somebody again.
    let line = realm.first.home.ok(["realm", "invite", "user", "bob", "--again"]);
    webos_tests::Home::new().call(["user", "register"]).input(line).run().succeeds();
    assert_eq!(why()["granted"], true, "{}", why());
}

#[test]
fn a_new_root_is_not_written_where_no_medium_is() {
    let home = Home::new();
    home.ok(["realm", "init", "lab.example", "--unencrypted"]);
    let stick = home.beside().join("stick");
    let file = stick.join("root.key");
    let succeed = || home.call(["realm", "succeed", "--unencrypted", "--new-root"]).word(&file).run();
    succeed().fails(4, &["there is no folder", "medium"]);
    assert!(!stick.exists());
    std::fs::create_dir(&stick).expect("mounted");
    succeed().succeeds();
    assert!(file.exists());
}

#[test]
fn owners_name_further_name_servers_and_everybody_is_shown_them() {
    let realm = Realm::start();
    let n2 = realm.node("n2");
    let first = &realm.first.home;
    let add = ["realm", "name-server", "add", "n2", &n2.address];
    let said = first.ok(add);
    assert!(said.contains("server/n2 is a name server") && said.contains(&n2.address), "{said}");
    let shown = first.ok(["realm", "show"]);
    let line = format!("name server  spiffe://test.localhost/server/n2 at {}", n2.address);
    assert!(shown.contains(&line), "{shown}");
    realm.alice.call(add).run().fails(3, &["is no owner"]);
    first.call(["realm", "name-server", "add", "n3", "n3:1"]).run().fails(2, &["no member", "realm invite server"]);
    first.call(["realm", "name-server", "add", "n2", "n2"]).run().fails(2, &["HOST:PORT"]);
    // One that is not there yet is named all the same, and that is said.
    let far = first.call(["realm", "name-server", "add", "n2", "127.0.0.1:1"]).run();
    far.succeeds();
    assert!(far.stderr.contains("is not reached at 127.0.0.1:1"), "{}", far.stderr);
    let checks = first.call(["doctor"]).run().stdout();
    assert!(checks.contains("server/home answers") && checks.contains("127.0.0.1:1 is not reachable"), "{checks}");
    first.ok(["realm", "name-server", "remove", "n2"]);
    assert!(!first.ok(["realm", "show"]).contains("server/n2 at"));
    first.call(["realm", "name-server", "remove", "n2"]).run().fails(4, &["is no name server"]);
}
