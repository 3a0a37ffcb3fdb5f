//! Certificates over time, through the real binary: renewed while a node runs, brought back in grace once, refused to
//! clones; the realm's issuing certificate and root replaced.

use std::fs;
use std::path::{Path, PathBuf};
use webos_tests::{Home, NodeProcess, Realm, eventually};

const DAY: i64 = 24 * 3600;
const PASSPHRASE: &str = "correct horse battery staple";

fn identity(home: &Home) -> PathBuf {
    home.path().join("identity/identity.pem")
}

/// Key and leaf of an identity.
fn parts(home: &Home) -> (String, String) {
    let text = fs::read_to_string(identity(home)).expect("readable");
    let part = |what: &str| text.split(&format!("{what}-----")).nth(1).expect("there").to_string();
    (part("PRIVATE KEY"), part("CERTIFICATE"))
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copied(&from, &to)
        } else {
            let _ = fs::copy(from, to).expect("copied");
        }
    }
}

/// The realm's first node goes on so many days later.
fn on_day(realm: &mut Realm, days: i64) {
    realm.first.stop();
    realm.first.run_on_day(days);
}

fn call(home: &Home, days: i64, words: &[&str]) -> webos_tests::Output {
    home.call(words).env("WEBOS_CLOCK_OFFSET_S", (days * DAY).to_string()).run()
}

#[test]
fn a_node_renews_itself_at_half_life_and_keeps_its_key() {
    let mut realm = Realm::start();
    let mut n2 = realm.node("n2");
    n2.stop();
    let (key, leaf) = parts(&n2.home);
    on_day(&mut realm, 4);
    n2.run_on_day(4);
    eventually("n2 has a newer certificate", || Some(parts(&n2.home)).filter(|(_, now)| *now != leaf));
    assert_eq!(parts(&n2.home).0, key);
    let status = call(&realm.alice, 4, &["whoami", "--json"]).json();
    assert!(status["until_ms"].is_u64());
}

#[test]
fn a_node_that_was_off_comes_back_in_grace_once_with_a_new_key() {
    let mut realm = Realm::start();
    let mut n2 = realm.node("n2");
    n2.stop();
    let (key, _) = parts(&n2.home);
    on_day(&mut realm, 9);
    n2.run_on_day(9);
    let (new, _) = parts(&n2.home);
    assert_ne!(new, key, "an ended key is not certified again");
    n2.stop();
    on_day(&mut realm, 18);
    let again = call(&n2.home, 18, &["node", "run"]);
    again.fails(3, &["was given in grace itself"]);
}

#[test]
fn the_first_node_of_a_realm_gets_a_new_key_too() {
    let mut realm = Realm::start();
    let file = realm.alice.beside().join("x");
    fs::write(&file, "as before").expect("written");
    realm.alice.call(["put"]).word(&file).word(realm.path("")).run().succeeds();
    let (key, _) = parts(&realm.first.home);
    realm.first.home.call(["node", "rotate"]).run().fails(1, &["runs"]);
    realm.first.stop();
    let said = realm.first.home.ok(["node", "rotate"]);
    assert!(said.contains("server/home has a new key"), "{said}");
    assert_ne!(parts(&realm.first.home).0, key);
    assert_eq!(realm.first.home.path().join("identity/retired").read_dir().expect("kept").count(), 1);
    realm.first.run(&[]);
    assert_eq!(realm.alice.ok(["cat", &realm.path("x")]), "as before");
    // It certifies others as before.
    realm.node("n2");
}

#[test]
fn a_node_that_was_off_too_long_needs_an_invitation() {
    let mut realm = Realm::start();
    let mut n2 = realm.node("n2");
    n2.stop();
    on_day(&mut realm, 15);
    call(&n2.home, 15, &["node", "run"]).fails(3, &["time of grace is over", "invit"]);
}

#[test]
fn a_cloned_node_and_its_clone_are_cordoned_until_invited_again() {
    let mut realm = Realm::start();
    let mut n2 = realm.node("n2");
    n2.stop();
    let clone = Home::new();
    copied(n2.home.path(), clone.path());
    on_day(&mut realm, 4);
    n2.run_on_day(4);
    let before = parts(&clone);
    eventually("n2 has a newer certificate", || Some(parts(&n2.home)).filter(|now| *now != before));
    n2.stop();
    let line = |again: &[&str]| call(&realm.first.home, 4, &[&["realm", "invite", "server", "n2"], again].concat());
    line(&[]).fails(1, &["is a member already", "--again"]);
    call(&clone, 4, &["node", "rotate"]).fails(3, &["cordoned"]);
    call(&n2.home, 4, &["node", "rotate"]).fails(3, &["cordoned as a suspected clone"]);
    line(&[]).fails(1, &["cordoned", "--again"]);
    let fresh = Home::new();
    let joined = fresh.call(["node", "join"]).env("WEBOS_CLOCK_OFFSET_S", (4 * DAY).to_string());
    joined.input(line(&["--again"]).succeeds()).run().succeeds();
    call(&clone, 4, &["node", "rotate"]).fails(3, &["a former one"]);
    call(&fresh, 4, &["node", "rotate"]).succeeds();
    assert!(fresh.path().join("identity/retired").read_dir().expect("kept").count() == 1);
}

#[test]
fn a_user_renews_by_any_command_and_by_hand() {
    let mut realm = Realm::start();
    let (key, leaf) = parts(&realm.alice);
    on_day(&mut realm, 16);
    call(&realm.alice, 16, &["ls", Realm::VOLUME]).succeeds();
    let (same, newer) = parts(&realm.alice);
    assert!(same == key && newer != leaf, "renewed beforehand, with the same key");
    call(&realm.alice, 16, &["user", "renew", "--new-key"]).succeeds();
    assert_ne!(parts(&realm.alice).0, key);
    call(&realm.alice, 16, &["ls", Realm::VOLUME]).succeeds();
    assert!(!realm.alice.path().join("identity/renewal").exists(), "nothing is pending");
}

#[test]
fn the_first_nodes_own_name_is_never_given_away() {
    let realm = Realm::start();
    realm.first.home.call(["realm", "invite", "server", "home"]).run().fails(1, &["this node itself"]);
}

#[test]
fn a_root_under_a_passphrase_moved_away_renews_the_realm_while_it_runs() {
    let home = Home::new();
    home.call(["realm", "init", "test.localhost"]).run().fails(2, &["no passphrase", "--passphrase-file"]);
    home.call(["realm", "init", "test.localhost"]).input("short\n").run().fails(2, &["8 to 1024 bytes"]);
    let made = home.call(["realm", "init", "test.localhost"]).input(format!("{PASSPHRASE}\n")).run();
    assert!(!made.succeeds().contains(PASSPHRASE) && !made.stderr.contains(PASSPHRASE));
    let (inside, outside) = (home.path().join("authority/root.age"), home.beside().join("stick.age"));
    fs::rename(&inside, &outside).expect("moved");
    let mut node = NodeProcess::start(home, &[]);
    let before = fs::read(identity(&node.home)).expect("readable");
    node.home.call(["realm", "renew"]).run().fails(4, &["root's key is not in", "--root"]);
    let stick = outside.display().to_string();
    let wrong = node.home.call(["realm", "renew", "--root", &stick]).input("correct house battery\n").run();
    wrong.fails(3, &["the passphrase does not open it"]);
    let word = node.home.beside().join("word");
    fs::write(&word, format!("{PASSPHRASE}\n")).expect("written");
    let word = word.display().to_string();
    node.home.ok(["realm", "renew", "--root", &stick, "--passphrase-file", &word]);
    eventually("the node stands under the new one", || {
        fs::read(identity(&node.home)).ok().filter(|now| *now != before)
    });
    node.home.call(["doctor", "--json"]).run();
    node.stop();
}

#[test]
fn a_succession_is_followed_by_whoever_trusts_the_realm() {
    let mut realm = Realm::start();
    let before = realm.first.home.fingerprint();
    realm.first.home.ok(["realm", "succeed", "--unencrypted"]);
    assert_eq!(realm.first.home.fingerprint(), before, "issuing goes on under the present root");
    // Who asks for the bundle learns of it, and is not disturbed by it.
    let stranger = Home::new();
    let word = before.as_str();
    eventually("the node hands out the succession", || {
        stranger.ok(["realm", "trust", &realm.first.address, word, "--yes"]);
        let pinned = fs::read(stranger.path().join("realms/test.localhost.bundle")).expect("pinned");
        Some(pinned).filter(|pinned| !pinned.starts_with(word.as_bytes()))
    });
    realm.first.home.ok(["realm", "renew"]);
    let after = realm.first.home.fingerprint();
    assert_ne!(after, before);
    realm.first.stop();
    realm.first.run(&[]);
    let bob = realm.user("bob");
    bob.ok(["whoami"]);
    let late = Home::new();
    late.ok(["realm", "trust", &realm.first.address, &after, "--yes"]);
}

#[test]
fn an_init_that_was_cut_short_is_completed() {
    let home = Home::new();
    home.ok(["realm", "init", "test.localhost", "--unencrypted"]);
    fs::remove_dir_all(home.path().join("identity")).expect("as if it was not made yet");
    fs::create_dir(home.path().join("authority.new")).expect("a draft that was left");
    home.call(["realm", "init", "other.localhost", "--unencrypted"]).run().fails(1, &["is there already"]);
    home.ok(["realm", "init", "test.localhost", "--unencrypted"]);
    NodeProcess::start(home, &[]).stop();
}
