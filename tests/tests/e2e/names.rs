//! Moves, links and whole trees through the real binary, and what they may not be used for.

use std::fs;
use webos_tests::Realm;

fn store(realm: &Realm, at: &str, content: &str) {
    realm.alice.call(["put", "-p", "-", &realm.path(at)]).input(content).run().succeeds();
}

#[test]
fn mkdir_mv_ln_find_rm() {
    let realm = Realm::start();
    let (alice, at) = (&realm.alice, |path: &str| realm.path(path));
    alice.ok(["mkdir", &at("d")]);
    alice.call(["mkdir", &at("d")]).run().fails(1, &["exists already"]);
    alice.call(["mkdir", &at("no/such")]).run().fails(4, &["no/such", "/no does not exist"]);
    alice.ok(["mkdir", "-p", &at("a/b/c")]);
    store(&realm, "d/one", "1");
    alice.ok(["mv", &at("d/one"), &at("a/b/two")]);
    alice.call(["cat", &at("d/one")]).run().fails(4, &["d/one"]);
    assert_eq!(alice.ok(["cat", &at("a/b/two")]), "1");
    alice.ok(["mv", &at("a/b"), &at("d/")]);
    assert_eq!(alice.ok(["cat", &at("d/b/two")]), "1");
    alice.call(["mv", &at("d"), &at("d/b/d")]).run().fails(2, &["below itself"]);
    store(&realm, "other", "2");
    alice.call(["mv", "-n", &at("other"), &at("d/b/two")]).run().fails(1, &["exists already"]);
    alice.call(["mv", &at("other"), "elsewhere.lab.example/x"]).run().fails(2, &["different volumes", "webos get"]);
    alice.ok(["ln", &at("d/b/two"), &at("second")]);
    alice.call(["put", "-", &at("second")]).input("both").run().succeeds();
    assert_eq!(alice.ok(["cat", &at("d/b/two")]), "both");
    alice.ok(["ln", "-s", "b/two", &at("d/soft")]);
    alice.ok(["ln", "-s", "/d", &at("folder")]);
    assert_eq!(alice.ok(["cat", &at("folder/soft")]), "both");
    assert!(alice.ok(["ls", "-l", &at("d")]).contains("soft -> b/two"));
    alice.call(["ln", "-s", "../../out", &at("d/bad")]).run().fails(2, &["out of the volume"]);
    alice.ok(["ln", "-s", "ring", &at("ring")]);
    alice.call(["cat", &at("ring")]).run().fails(4, &["links", "circle"]);
    let all = alice.ok(["find", Realm::VOLUME]);
    let expected = ["a", "d", "d/b", "d/b/c", "d/b/two", "d/soft", "folder", "other", "ring", "second"];
    assert_eq!(all.lines().collect::<Vec<_>>(), expected.map(at));
    assert_eq!(alice.ok(["find", Realm::VOLUME, "--type", "l", "--name", "r*"]), format!("{}\n", at("ring")));
    let removed = alice.call(["rm", "-r", "--json", &at("d")]).run().json();
    assert_eq!(removed["objects"], 5);
    assert_eq!(alice.ok(["cat", &at("second")]), "both");
}

#[test]
fn many_small_files_go_and_come_in_a_few_requests() {
    let realm = Realm::start();
    let alice = &realm.alice;
    for index in 0..600 {
        let path = alice.beside().join(format!("many/f{}/n{index}", index % 7));
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, format!("content {index}")).expect("written");
    }
    assert!(alice.ok(["put", "-r", "many", &realm.path("many")]).starts_with("600 files"));
    assert_eq!(alice.ok(["find", "--type", "f", &realm.path("many")]).lines().count(), 600);
    alice.ok(["get", "-r", &realm.path("many"), "back"]);
    for index in 0..600 {
        let path = alice.beside().join(format!("back/f{}/n{index}", index % 7));
        assert_eq!(fs::read_to_string(path).expect("came back"), format!("content {index}"));
    }
    let again = alice.call(["put", "-r", "--if-absent", "many", &realm.path("many")]).run();
    again.fails(1, &["0 of 600 files stored", "not in the state"]);
}

/// Whoever may modify something, but not read it, cannot carry it to where others, or they themselves, may.
#[test]
fn a_move_shows_nobody_what_its_maker_could_not_read() {
    let realm = Realm::start();
    let (alice, bob, at) = (&realm.alice, realm.user("bob"), |path: &str| realm.path(path));
    for (path, content) in
        [("secret", "s"), ("d/plain", "p"), ("d/private", "x"), ("inbox/old", "o"), ("kept/k", "k")]
    {
        store(&realm, path, content);
    }
    alice.ok(["acl", "grant", "user/bob", "m", &at("secret")]);
    alice.ok(["acl", "grant", "user/bob", "rwm", &at("inbox"), "-r"]);
    alice.ok(["acl", "grant", "user/bob", "rwm", &at("d"), "-r"]);
    alice.ok(["acl", "revoke", "user/bob", "r", &at("d/private")]);
    alice.ok(["acl", "grant", "user/bob", "r", &at("kept"), "-r"]);
    for refused in [
        vec!["mv".into(), at("secret"), at("inbox/s")],
        vec!["ln".into(), at("secret"), at("inbox/s")],
        vec!["mv".into(), at("d"), at("inbox/d")],
        vec!["mv".into(), at("d/plain"), at("kept/new")],
        vec!["mv".into(), at("d/plain"), at("kept/k")],
        vec!["ln".into(), at("d/plain"), at("kept/new")],
        vec!["ln".into(), at("d/plain"), at("inbox/shared")],
        vec!["mv".into(), at("kept/k"), at("inbox/k")],
        vec!["ln".into(), at("kept/k"), at("inbox/k")],
        vec!["ln".into(), "-s".into(), "x".into(), at("kept/soft")],
        vec!["mkdir".into(), at("kept/folder")],
        vec!["find".into(), at("")],
    ] {
        bob.call(&refused).run().code_is(3);
    }
    // A link may be made to anything, and shows nothing.
    bob.ok(["ln", "-s", "/secret", &at("inbox/soft")]);
    bob.call(["cat", &at("inbox/soft")]).run().fails(3, &["secret"]);
    alice.ok(["acl", "grant", "user/bob", "r", &at("d/private")]);
    bob.ok(["mv", &at("d"), &at("inbox/d")]);
    assert_eq!(bob.ok(["cat", &at("inbox/d/private")]), "x");
    alice.ok(["acl", "grant", "user/bob", "a", &at("inbox/d/plain")]);
    bob.ok(["ln", &at("inbox/d/plain"), &at("inbox/shared")]);
    bob.ok(["mv", &at("inbox/d/plain"), &at("inbox/old")]);
    assert_eq!(alice.ok(["cat", &at("inbox/old")]), "p");
}
