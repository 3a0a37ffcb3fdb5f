//! Relays below relays, each a process of its own: home, `r1`, `r2` via `r1`, and readers at `r2`.

use crate::relay::Reader;
use webos_tests::{Home, NodeProcess, Realm, eventually};

/// A realm whose home is relayed by `r1`, and that by `r2`.
struct Tree {
    realm: Realm,
    r1: NodeProcess,
    r2: NodeProcess,
    via: String,
}

impl Tree {
    fn start() -> Self {
        let realm = Realm::start();
        let r1 = realm.node("r1");
        let via = format!("{}=r1@{}", Realm::VOLUME, r1.address);
        let home = Home::new();
        realm.enrol("server", "r2", &home);
        let r2 = NodeProcess::start(home, &["--relay-via", &via]);
        for relay in ["server/r1", "server/r2"] {
            realm.alice.ok(["acl", "grant", relay, "r+relay", Realm::VOLUME, "-r"]);
        }
        Self { realm, r1, r2, via }
    }

    fn put(&self, content: &str) {
        std::fs::write(self.realm.alice.beside().join("file"), content).expect("written");
        self.realm.alice.ok(["put", "-p", "file", &self.realm.path("dir/file")]);
    }

    fn from(&self, name: &str) -> String {
        let relay = if name == "r1" { &self.r1 } else { &self.r2 };
        format!("{name}@{}", relay.address)
    }

    fn reads(&self, name: &str) -> String {
        self.realm.alice.ok(["cat", "--from", &self.from(name), &self.realm.path("dir/file")])
    }

    /// Puts and reads until the whole tree is coherent without waiting for anybody again.
    fn changes_show(&self, first: &str) {
        self.put(first);
        eventually("the change shows at the lower relay", || {
            let read =
                self.realm.alice.call(["cat", "--from", &self.from("r2"), &self.realm.path("dir/file")]).run();
            (read.code == Some(0)).then(|| assert_eq!(read.stdout(), first, "nothing old is ever shown"))
        });
    }
}

#[test]
fn a_change_shows_at_the_second_relay_whatever_was_killed_between() {
    let mut tree = Tree::start();
    tree.put("one");
    assert_eq!(tree.reads("r2"), "one");
    for round in 0..10 {
        let content = format!("version {round}");
        tree.put(&content);
        assert_eq!(tree.reads("r2"), content, "at the next request");
        assert_eq!(tree.reads("r1"), content);
    }
    // It is r1 that r2 asks: without it, nothing new comes, and nothing old is shown.
    tree.r1.kill();
    tree.put("while the middle one is dead");
    let refused = tree.realm.alice.call(["cat", "--from", &tree.from("r2"), &tree.realm.path("dir/file")]).run();
    refused.fails(5, &["server/r1", "server/home"]);
    tree.r1.run(&[]);
    tree.changes_show("after the middle one came back");

    tree.r2.kill();
    tree.put("while the lower one is dead");
    assert_eq!(tree.reads("r1"), "while the lower one is dead", "nobody waits for the dead for ever");
    let via = tree.via.clone();
    tree.r2.run(&["--relay-via", &via]);
    tree.changes_show("after the lower one came back");
}

#[test]
fn a_relay_whose_right_is_taken_away_relays_to_nobody_and_what_was_below_it_ends() {
    let mut tree = Tree::start();
    tree.put("one");
    let (alice, path) = (&tree.realm.alice, tree.realm.path("dir/file"));
    assert_eq!(tree.reads("r2"), "one");
    let url = tree.realm.url("r2", &tree.r2, "dir/file");
    let reader = Reader::new(alice, &url);
    assert_eq!(reader.read(), (200, "one".into()));

    // The lower relay checks its readers as the home would.
    let bob = tree.realm.user("bob");
    bob.call(["cat", "--from", &tree.from("r2"), &path]).run().fails(3, &["bob"]);
    bob.call(["cat", "--from", &tree.from("r2"), &tree.realm.path("dir/none")]).run().fails(3, &["bob"]);
    alice.ok(["acl", "grant", "user/bob", "r", &path]);
    assert_eq!(bob.ok(["cat", "--from", &tree.from("r2"), &path]), "one");
    alice.ok(["acl", "revoke", "user/bob", "r", &path]);
    bob.call(["cat", "--from", &tree.from("r2"), &path]).run().fails(3, &["bob"]);

    // What only the home does is refused with its name.
    let (status, said) = reader.ask(&["--request", "PUT", "--data", "x"]);
    assert!(status >= 400 && said.contains("server/home"), "{status} {said}");

    alice.ok(["acl", "revoke", "server/r1", "relay", Realm::VOLUME, "-r"]);
    let (status, said) = reader.read();
    assert_eq!(status, 403, "{said}");
    assert!(said.contains("server/r1, which it asks, refused"), "{said}");
    alice.ok(["acl", "grant", "server/r1", "relay", Realm::VOLUME, "-r"]);
    assert_eq!(reader.read(), (200, "one".into()));

    // An orderly end of the middle one keeps no writer waiting, and frees its holders at once.
    tree.r1.stop();
    tree.put("two");
    let (status, said) = reader.read();
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("server/home"), "{said}");
}

#[test]
fn a_node_does_not_relay_via_itself_or_via_what_is_no_node() {
    let realm = Realm::start();
    let home = realm.user("carol");
    let via = |what: &str| format!("{}={what}", Realm::VOLUME);
    home.call(["node", "run", "--relay-via", &via("r1")]).run().fails(2, &["VOLUME.REALM=NODE@HOST:PORT"]);
    let own = Home::new();
    realm.enrol("server", "r9", &own);
    own.call(["node", "run", "--relay-via", &via("r9@127.0.0.1:1")]).run().fails(2, &["via itself"]);
    let shown = own.call(["settings"]).env("WEBOS_RELAY_VIA", via("r1@127.0.0.1:1")).run().succeeds();
    assert!(shown.contains("spiffe://test.localhost/server/r1@127.0.0.1:1"), "{shown}");
}
