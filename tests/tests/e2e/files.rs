//! Files through the real binary: stored, listed, read, removed, by those who may, and conditionally.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use webos_tests::{Home, Realm};

fn write(home: &Home, name: &str, content: impl AsRef<[u8]>) {
    let path = home.beside().join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    fs::write(path, content).expect("written");
}

#[test]
fn put_ls_stat_cat_get_rm() {
    let realm = Realm::start();
    let alice = &realm.alice;
    write(alice, "a.txt", "hello");
    alice.ok(["put", "a.txt", &realm.path("")]);
    alice.ok(["put", "-p", "a.txt", &realm.path("deep/er/b.txt")]);
    assert_eq!(alice.ok(["ls", Realm::VOLUME]), "a.txt\ndeep/\n");
    assert_eq!(alice.ok(["cat", &realm.path("a.txt")]), "hello");
    let stat = alice.call(["stat", "--json", &realm.path("a.txt")]).run().json();
    assert_eq!((stat["kind"].as_str(), stat["size"].as_u64()), (Some("file"), Some(5)));
    alice.ok(["get", &realm.path("deep/er/b.txt"), "copy.txt"]);
    assert_eq!(fs::read(alice.beside().join("copy.txt")).expect("there"), b"hello");
    alice.call(["put", "-", &realm.path("from-stdin")]).input("piped").run().succeeds();
    let shown = alice.call(["cat", "--json", &realm.path("from-stdin")]).run().json();
    assert_eq!((shown["content"].as_str(), shown["encoding"].as_str()), (Some("piped"), Some("utf-8")));
    alice.ok(["rm", &realm.path("a.txt")]);
    alice.call(["cat", &realm.path("a.txt")]).run().fails(4, &["a.txt"]);
    alice.call(["rm", &realm.path("deep")]).run().code_is(1);
    alice.call(["put", "a.txt", &realm.path("none/such/x")]).run().fails(4, &["none", "put -p"]);
    alice.call(["cat", &realm.path("deep")]).run().fails(2, &["is a folder", "get -r"]);
}

#[test]
fn whole_folders_go_and_come_back() {
    let realm = Realm::start();
    let alice = &realm.alice;
    let big: Vec<u8> = (0..3_500_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    write(alice, "site/index.html", "index");
    write(alice, "site/big.bin", &big);
    write(alice, "site/sub/.dot", "dot");
    write(alice, "site/odd name ü%20#?", "odd");
    write(alice, "outside", "secret");
    symlink("../outside", alice.beside().join("site/link-out")).expect("made");
    symlink("index.html", alice.beside().join("site/link-in")).expect("made");
    let output = alice.call(["put", "-r", "site", &realm.path("www")]).run();
    assert!(output.succeeds().starts_with("5 files, "), "{}", output.stdout());
    assert!(output.stderr.contains("left out 1 name: link-out (link out of the folder)"), "{}", output.stderr);
    let got = alice.call(["get", "-r", "--json", &realm.path("www"), "copy"]).run().json();
    assert_eq!(got["files"], 5);
    let copy = alice.beside().join("copy");
    for (name, content) in [
        ("index.html", &b"index"[..]),
        ("link-in", b"index"),
        ("big.bin", &big),
        ("sub/.dot", b"dot"),
        ("odd name ü%20#?", b"odd"),
    ] {
        assert!(fs::read(copy.join(name)).expect(name) == content, "{name}");
    }
    // A link that waits in the target leads nowhere.
    fs::remove_dir_all(copy.join("sub")).expect("removed");
    fs::create_dir(alice.beside().join("elsewhere")).expect("made");
    symlink("../elsewhere", copy.join("sub")).expect("made");
    alice.call(["get", "-r", &realm.path("www"), "copy"]).run().fails(3, &["is a link or a file"]);
    assert_eq!(fs::read_dir(alice.beside().join("elsewhere")).expect("there").count(), 0);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_sent() {
    let realm = Realm::start();
    let alice = &realm.alice;
    fs::create_dir(alice.beside().join("large")).expect("made");
    let sparse = fs::File::create(alice.beside().join("large/file")).expect("made");
    sparse.set_len((1 << 40) + 1).expect("sparse");
    write(alice, "large/small", "small");
    for words in [vec!["put", "large/file", Realm::VOLUME], vec!["put", "-r", "large", Realm::VOLUME]] {
        alice.call(&words).run().fails(2, &["large/file has", "1024", "GiB", "nothing was sent"]);
    }
    assert_eq!(alice.ok(["ls", Realm::VOLUME]), "");
}

/// The files below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(below(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_damaged_block_is_named() {
    let mut realm = Realm::start();
    let content: Vec<u8> = (0..3_500_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    write(&realm.alice, "big", &content);
    let path = realm.path("big");
    realm.alice.ok(["put", "big", &path]);
    realm.first.stop();
    // The third block, which begins in the middle of the body.
    let blocks = below(&realm.first.home.path().join("volumes").join(Realm::VOLUME).join("blocks"));
    let third = blocks.iter().find(|file| fs::read(file).expect("a block") == content[2 << 20..3 << 20]);
    let third = third.expect("stored as it is");
    fs::write(third, vec![0; 1 << 20]).expect("damaged");
    realm.first.run(&[]);
    for words in [vec!["cat", &path], vec!["get", &path, "copy"]] {
        let told = realm.alice.call(&words).run();
        told.fails(1, &["block 2 of data.test.localhost/big is damaged at the home", "put the file again"]);
    }
    realm.alice.ok(["put", "big", &path]);
    realm.alice.ok(["get", &path, "copy"]);
    assert!(fs::read(realm.alice.beside().join("copy")).expect("there") == content);
}

#[test]
fn of_two_writers_with_if_match_one_wins() {
    let realm = Realm::start();
    let alice = &realm.alice;
    let bob = realm.user("bob");
    write(alice, "one", "one");
    write(&bob, "two", "two");
    let path = realm.path("file");
    alice.ok(["put", "one", &path]);
    alice.ok(["acl", "grant", "user/bob", "rwm", &path]);
    let etag = bob.call(["stat", "--json", &path]).run().json()["etag"].as_str().expect("an etag").to_string();
    let (first, second) = std::thread::scope(|scope| {
        write(alice, "three", "three");
        let first = scope.spawn(|| alice.call(["put", "three", &path, "--if-match", &etag]).run());
        let second = scope.spawn(|| bob.call(["put", "two", &path, "--if-match", &etag]).run());
        (first.join().expect("ran"), second.join().expect("ran"))
    });
    let codes = [first.code, second.code];
    assert!(codes == [Some(0), Some(1)] || codes == [Some(1), Some(0)], "{first:?} {second:?}");
    let expected = if first.code == Some(0) { "three" } else { "two" };
    assert_eq!(alice.ok(["cat", &path]), expected);
    alice.call(["put", "one", &path, "--if-absent"]).run().code_is(1);
    alice.call(["rm", &path, "--if-match", &etag]).run().code_is(1);
}

#[test]
fn rights_are_shown_granted_and_revoked() {
    let realm = Realm::start();
    let (alice, bob) = (&realm.alice, realm.user("bob"));
    write(alice, "a", "for some");
    let path = realm.path("a");
    alice.ok(["put", "a", &path]);
    bob.call(["cat", &path]).run().fails(3, &["bob"]);
    bob.call(["cat", &realm.path("missing")]).run().code_is(3);
    alice.call(["cat", &realm.path("missing")]).run().code_is(4);
    alice.ok(["acl", "grant", "user/bob", "r", &path]);
    assert_eq!(bob.ok(["cat", &path]), "for some");
    let shown = alice.call(["acl", "show", "--json", &path]).run().json();
    let entries = shown["entries"].as_array().expect("entries");
    assert!(
        entries.iter().any(|e| e["who"] == "spiffe://test.localhost/user/bob" && e["rights"] == "r"),
        "{shown}"
    );
    bob.call(["acl", "grant", "user/bob", "rw", &path]).run().code_is(3);
    alice.ok(["acl", "revoke", "user/bob", "r", &path]);
    bob.call(["cat", &path]).run().code_is(3);
    let root = realm.path("");
    for place in [&path, &root] {
        alice
            .call(["acl", "revoke", "user/alice", "rwmxa", place])
            .run()
            .fails(1, &["nobody could administer", "acl grant"]);
    }
    alice.call(["acl", "revoke", "user/alice", "a", "-r", &root]).run().fails(1, &["nobody could administer"]);
    alice.call(["acl", "grant", "anyone", "r", &path]).run().fails(2, &["everybody", "--yes"]);
    alice.call(["acl", "grant", "anyone", "rw", "--yes", &path]).run().fails(2, &["only r and x"]);
    alice.ok(["acl", "grant", "--yes", "anyone", "r", &path]);
    assert_eq!(bob.ok(["cat", &path]), "for some");
    let stranger = Home::new();
    stranger.call(["cat", &path]).run().fails(4, &["not trusted here"]);
}
