//! Bearer tokens: plain curl without a certificate, within what the token gives; and what thieves can try.

use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};
use webos_tests::{Home, NodeProcess, Realm};

/// curl without a certificate: status and body.
fn curl(realm: &Realm, words: &[&str]) -> (u16, String) {
    let alice = &realm.alice;
    let shown = alice.call(["whoami", "--curl", "--json"]).run().json();
    let options: Vec<String> =
        shown["options"].as_array().expect("options").iter().filter_map(Value::as_str).map(String::from).collect();
    let at = options.iter().position(|option| option == "--cert").expect("the certificate's option");
    let anonymous = [&options[..at], &options[at + 2..]].concat();
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "30", "--write-out", "\n%{http_code}"])
        .args(&anonymous)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), body.to_string())
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn token(home: &Home, words: &[&str]) -> (String, String) {
    let made = home.call([&["token", "create", "--json"], words].concat()).run().json();
    (made["token"].as_str().expect("a token").to_string(), made["id"].as_str().expect("an id").to_string())
}

fn put(realm: &Realm, path: &str, text: &str) {
    fs::write(realm.alice.beside().join("f"), text).expect("written");
    realm.alice.ok(["put", "-p", "f", &realm.path(path)]);
}

#[test]
fn curl_without_a_certificate_reads_and_writes_within_a_token() {
    let realm = Realm::start();
    let alice = &realm.alice;
    put(&realm, "in/a.txt", "read me");
    put(&realm, "beside.txt", "not for it");
    let url = |path: &str| realm.url("home", &realm.first, path);
    let (reading, id) = token(alice, &[&realm.path("in")]);
    let get = |token: &str, path: &str| curl(&realm, &["-H", &bearer(token), &url(path)]);
    assert_eq!(get(&reading, "in/a.txt"), (200, "read me".into()));
    let basic = format!("anybody:{reading}");
    assert_eq!(curl(&realm, &["--user", &basic, &url("in/a.txt")]), (200, "read me".into()));
    assert_eq!(curl(&realm, &["-H", &bearer(&reading), "--head", &url("in/a.txt")]).0, 200);
    // Outside of its grant, by another right, by another method, and where tokens never count.
    assert_eq!(get(&reading, "beside.txt").0, 403);
    assert_eq!(get(&reading, "inner").0, 403);
    assert_eq!(curl(&realm, &["--path-as-is", "-H", &bearer(&reading), &url("in/%2e%2e/beside.txt")]).0 / 100, 4);
    let put_there = |token: &str, path: &str| {
        curl(&realm, &["-H", &bearer(token), "--request", "PUT", "--data-binary", "written", &url(path)]).0
    };
    assert_eq!(put_there(&reading, "in/new.txt"), 403);
    let delete =
        |token: &str, path: &str| curl(&realm, &["-H", &bearer(token), "--request", "DELETE", &url(path)]).0;
    let host = url("").replace(&format!("/{}/", Realm::VOLUME), "");
    for path in ["status", "token", "witness", "group/x", &format!("acl/{}/in", Realm::VOLUME)] {
        let (status, body) = curl(&realm, &["-H", &bearer(&reading), &format!("{host}/.webos/{path}")]);
        assert_eq!(status, 403, "{path}: {body}");
    }
    let (writing, _) = token(alice, &[&format!("{}:rw", realm.path("in")), "--for", "1h"]);
    assert_eq!(put_there(&writing, "in/new.txt") / 100, 2);
    assert_eq!(get(&writing, "in/new.txt"), (200, "written".into()));
    assert_eq!(put_there(&writing, "in/new.txt"), 403, "overwriting is m");
    let (changing, _) = token(alice, &[&format!("{}:rwm", realm.path("in"))]);
    assert_eq!(put_there(&changing, "in/new.txt") / 100, 2);
    assert_eq!(delete(&changing, "in/new.txt"), 403, "GET, HEAD and PUT only");
    // The list decides now: what alice loses, her token loses.
    alice.ok(["acl", "revoke", "user/alice", "r", &realm.path("in/a.txt")]);
    assert_eq!(get(&reading, "in/a.txt").0, 403);
    alice.ok(["acl", "grant", "user/alice", "r", &realm.path("in/a.txt")]);
    assert_eq!(get(&reading, "in/a.txt").0, 200);
    // What stood behind a refusal is in the log: for whom, and the token as a link to this home.
    let log = realm.first.home.ok(["audit", "--json", "--transfer", &id]);
    assert!(
        log.contains("\"subject\":\"spiffe://test.localhost/user/alice\"")
            && log.contains("does not give it there"),
        "{log}"
    );
    assert!(log.lines().all(|line| line.contains("\"audience\":\"spiffe://test.localhost/server/home\"")), "{log}");
}

#[test]
fn a_token_that_is_over_revoked_guessed_or_another_homes_is_refused() {
    let mut realm = Realm::start();
    put(&realm, "in/a.txt", "read me");
    let url = realm.url("home", &realm.first, "in/a.txt");
    let (stolen, id) = token(&realm.alice, &[&realm.path("in")]);
    let get = |realm: &Realm, token: &str| curl(realm, &["-H", &bearer(token), &url]).0;
    assert_eq!(get(&realm, &stolen), 200);
    // Only who made it or administers its files ends it; others are not told that it is there.
    let bob = realm.user("bob");
    bob.call(["token", "revoke", Realm::VOLUME, &id]).run().fails(4, &["you have no token with this id"]);
    assert!(bob.ok(["token", "list", Realm::VOLUME]).contains("you have no token there"));
    assert!(realm.alice.ok(["token", "list", Realm::VOLUME]).contains(&id));
    let (of_bob, bobs) = token(&bob, &[&realm.path("in")]);
    assert_eq!(get(&realm, &of_bob), 403, "a token gives no right that its maker has not");
    realm.alice.ok(["token", "revoke", Realm::VOLUME, &bobs]);
    realm.alice.ok(["token", "revoke", Realm::VOLUME, &id]);
    assert_eq!(get(&realm, &stolen), 403, "revoked");
    // It stays revoked, and another stays good, when the node starts anew.
    let (good, _) = token(&realm.alice, &[&realm.path("in")]);
    let (short, _) = token(&realm.alice, &[&realm.path("in"), "--for", "1s"]);
    realm.first.stop();
    realm.first.run(&[]);
    assert_eq!((get(&realm, &stolen), get(&realm, &good)), (403, 200));
    webos_tests::eventually("the short one ends", || (get(&realm, &short) == 403).then_some(()));
    // At another home it is nothing: that home has a volume of its own, and alice may read there.
    let away = NodeProcess::start(
        {
            let home = Home::new();
            realm.enrol("server", "n2", &home);
            home.ok(["volume", "create", "away.test.localhost", "--owner", "user/alice"]);
            home
        },
        &[],
    );
    let port = away.address.rsplit(':').next().expect("a port");
    let resolve = format!("n2.server.test.localhost:{port}:127.0.0.1");
    let there = format!("https://n2.server.test.localhost:{port}");
    for path in ["away.test.localhost/", "data.test.localhost/in/a.txt"] {
        let words = ["--resolve", &resolve, "-H", &bearer(&good), &format!("{there}/{path}")];
        assert_eq!(curl(&realm, &words).0, 403, "{path}");
    }
    // Guesses cost one line a minute, however many, and are slowed down.
    let before = realm.first.home.ok(["audit", "--json"]).lines().count();
    // They are counted by the minute of the clock, and one may end meanwhile.
    let guess = |n: u32| get(&realm, &format!("webos-token-1.{n:064}"));
    let guesses = 1 + (0..200).map(guess).take_while(|status| *status == 403).count() as u64;
    assert!(guesses <= 200 && guess(0) == 429, "{guesses}");
    assert_eq!(get(&realm, &good), 200, "nobody is locked out by a neighbour");
    realm.first.stop();
    let log = realm.first.home.ok(["audit", "--json"]);
    let new: Vec<&str> = log.lines().skip(before).collect();
    assert!(new.len() <= 4, "summed: {new:?}");
    let count = |line: &&str| serde_json::from_str::<Value>(line).ok()?["count"].as_u64();
    assert!(new.iter().filter_map(count).sum::<u64>() >= guesses, "{new:?}");
    // No token is in any file or log of the node.
    let files = walk(realm.first.home.path());
    for secret in [&stolen, &good, &short] {
        let secret = &secret[secret.len() - 40..];
        assert!(!files.iter().any(|file| fs::read(file).is_ok_and(|bytes| holds(&bytes, secret))), "{secret}");
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_token_that_would_be_too_much_is_not_made() {
    let realm = Realm::start();
    let alice = &realm.alice;
    let place = realm.path("in");
    for (words, why) in [
        (vec![place.clone(), "--for".into(), "13h".into()], "at most 12 hours"),
        (vec![format!("{place}:rwa")], "only r, w and m"),
        (vec!["other.test.localhost/in".to_string()], "no volume other.test.localhost"),
    ] {
        let words = ["token".to_string(), "create".into()].into_iter().chain(words);
        let output = alice.call(words).run();
        assert!(output.code != Some(0) && output.stderr.contains(why), "{output:?}");
    }
}
