//! A user's key under a passphrase: opened by it alone, asked for by what needs the key alone, kept so by renewals.

use std::fs;
use std::path::{Path, PathBuf};
use webos_tests::{Home, Realm};

const PASSPHRASE: &str = "correct horse battery staple";

/// Every file below that has this text in it.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if String::from_utf8_lossy(&fs::read(&path).expect("readable")).contains(text) {
            found.push(path);
        }
    }
    found
}

fn written(home: &Home, name: &str, text: &str) -> PathBuf {
    let file = home.beside().join(name);
    fs::write(&file, text).expect("written");
    file
}

#[test]
fn a_users_key_under_a_passphrase_opens_with_it_alone_and_stays_under_it() {
    let mut realm = Realm::start();
    let carol = Home::new();
    let line = realm.first.home.ok(["realm", "invite", "user", "carol"]);
    let right = written(&carol, "right", &format!("{PASSPHRASE}\n"));
    let wrong = written(&carol, "wrong", "correct house battery staple\n");
    let encrypt = || carol.call(["user", "register", "--encrypt"]).input(line.clone());
    encrypt().run().fails(3, &["no terminal", "--passphrase-file"]);
    encrypt().word("--passphrase-file").word(&right).run().succeeds();
    assert!(holding(carol.path(), "PRIVATE KEY").is_empty(), "no key lies open");
    let identity = carol.path().join("identity/identity.pem");
    let kept = fs::read(&identity).expect("readable");

    // Who she is needs no key.
    assert_eq!(carol.call(["whoami", "--json"]).run().json()["encrypted"], true);
    assert!(carol.ok(["whoami"]).contains("under a passphrase"));
    carol.call(["whoami", "--curl"]).run().fails(1, &["under a passphrase", "webos token create"]);
    assert!(carol.ok(["doctor"]).contains("/user/carol, valid for 29 d 23 h, its key under a passphrase"));

    let place = realm.path("");
    realm.alice.ok(["acl", "grant", "user/carol", "rw", &place]);
    carol.call(["ls", &place]).run().fails(3, &["no terminal", "WEBOS_PASSPHRASE_FILE"]);
    let with = |file: &Path, words: &[&str]| carol.call(words).word("--passphrase-file").word(file);
    with(&wrong, &["ls", &place]).run().fails(3, &["the passphrase does not open it", "nothing was changed"]);
    assert_eq!(fs::read(&identity).expect("readable"), kept, "nothing is lost");
    with(&right, &["ls", &place]).run().succeeds();
    // Standard input is data, never a passphrase.
    let put = carol.call(["put", "-", &realm.path("a.txt")]).env("WEBOS_PASSPHRASE_FILE", &right);
    put.input("data\n").run().succeeds();
    assert_eq!(with(&right, &["cat", &realm.path("a.txt")]).run().succeeds(), "data\n");

    for words in [&["user", "renew"][..], &["user", "renew", "--new-key"]] {
        with(&wrong, words).run().code_is(3);
        with(&right, words).run().succeeds();
        with(&right, &["ls", &place]).run().succeeds();
        assert!(holding(carol.path(), "PRIVATE KEY").is_empty(), "{words:?} leaves no key open");
    }
    assert_eq!(holding(carol.path(), "AGE ENCRYPTED FILE").len(), 2, "the key, and the one before");
    assert_ne!(fs::read(&identity).expect("readable"), kept);

    // A renewal that gets no answer keeps its new key for the next try, and not open.
    realm.first.stop();
    with(&right, &["user", "renew", "--new-key"]).run().code_is(5);
    assert!(carol.path().join("identity/renewal").exists() && holding(carol.path(), "PRIVATE KEY").is_empty());
    realm.first.run(&[]);
    with(&right, &["user", "renew", "--new-key"]).run().succeeds();
    with(&right, &["ls", &place]).run().succeeds();
}
