//! What keeps a node in good order: the data format, backup and restore, a node that hangs, logs without secrets.

use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use webos_tests::{Home, NodeProcess, Realm, webos};

#[test]
fn a_folder_of_a_later_build_is_refused() {
    let home = Home::new();
    home.ok(["realm", "init", "test.localhost", "--unencrypted"]);
    let format = home.path().join("format");
    assert_eq!(fs::read_to_string(&format).expect("a mark"), "1\n");
    fs::write(&format, "2\n").expect("a later one");
    for words in
        [&["status"][..], &["node", "run"], &["audit"], &["whoami"], &["volume", "create", "a.test.localhost"]]
    {
        home.call(words).run().fails(1, &["data format 2", "formats up to 1", "newer build"]);
    }
    // A folder of the first builds has no mark: it is known, and gets one.
    fs::remove_file(&format).expect("there");
    home.ok(["whoami"]);
    NodeProcess::start(home, &[]);
    let home = Home::new();
    home.ok(["realm", "init", "test.localhost", "--unencrypted"]);
    home.ok(["volume", "create", "data.test.localhost"]);
    let database = home.path().join("volumes/data.test.localhost/volume.db");
    let mut bytes = fs::read(&database).expect("a database");
    // The number of the format in the header of a SQLite file: bytes 60 to 63, big-endian.
    bytes[60..64].copy_from_slice(&9u32.to_be_bytes());
    fs::write(&database, bytes).expect("a later one");
    home.call(["node", "run"]).run().fails(1, &["data format 9", "formats up to 4"]);
}

/// The commands of the document's block that is marked so.
fn block(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = fs::read_to_string(path).expect("the document");
    let (_, rest) = text.split_once(&format!("<!-- test: {name} -->\n```sh\n")).expect("the block");
    rest.split_once("```").expect("its end").0.to_string()
}

/// Runs a block as a person would, in this folder.
fn shell(home: &Home, folder: &Path, commands: &str) -> String {
    let program = webos().parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-euc", commands])
        .env("PATH", format!("{program}:{path}"))
        .env("WEBOS_HOME", home.path())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{commands}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn backup_and_restore_as_the_document_says() {
    let mut realm = Realm::start();
    fs::write(realm.alice.beside().join("f"), "worth keeping").expect("written");
    realm.alice.ok(["put", "-p", "f", &realm.path("in/f")]);
    realm.alice.ok(["acl", "grant", "anyone", "r", &realm.path("in"), "--yes", "-r"]);
    realm.first.stop();
    let place = realm.alice.beside().to_path_buf();
    shell(&realm.first.home, &place, &block("backup"));
    let listing = shell(&realm.first.home, &place, "tar --list --file backup.tar; stat -c %a backup.tar");
    assert!(listing.contains("./authority/") && listing.contains("./identity/"), "{listing}");
    assert!(!listing.contains("node.lock") && listing.ends_with("600\n"), "{listing}");

    // The machine is gone; another one takes its place, on the same address.
    let address = realm.first.address.clone();
    let fresh = Home::new();
    realm.first = NodeProcess::start_at(
        {
            let said = shell(&fresh, &place, &block("restore"));
            assert!(said.contains("whole: records 1 to") && said.contains("server/home"), "{said}");
            fresh
        },
        &address,
    );
    assert_eq!(realm.alice.ok(["cat", &realm.path("in/f")]), "worth keeping");
    let list = realm.alice.ok(["acl", "show", &realm.path("in")]);
    assert!(list.contains("anyone"), "{list}");
    // The authority works: somebody can join.
    let bob = realm.user("bob");
    assert_eq!(bob.ok(["cat", &realm.path("in/f")]), "worth keeping");
    realm.first.stop();
    realm.first.home.ok(["audit", "verify", "--offline"]);
}

#[test]
fn status_does_not_wait_for_a_node_that_hangs() {
    let mut realm = Realm::start();
    realm.first.process().signal(Signal::STOP);
    let output = realm.first.home.call(["status", "--json"]).run();
    realm.first.process().signal(Signal::CONT);
    output.code_is(5);
    let shown: serde_json::Value = serde_json::from_str(&output.stdout()).expect("JSON");
    let problem = &shown["nodes"][0]["problem"];
    assert_eq!(problem["code"], "timeout", "{shown}");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("within 1500 ms")), "{shown}");
}

#[test]
fn no_log_shows_a_secret() {
    let home = Home::new();
    home.ok(["realm", "init", "test.localhost", "--unencrypted"]);
    home.ok(["volume", "create", Realm::VOLUME, "--owner", "user/alice"]);
    let mut node = NodeProcess::start(home, &["--log", "trace"]);
    let alice = Home::new();
    let mut logs = Vec::new();
    let line = node.home.ok(["realm", "invite", "user", "alice"]);
    let mut traced = |home: &Home, words: &[&str], input: &str| {
        let output = home.call([words, &["--log", "trace"]].concat()).input(input).run();
        logs.push(output.stderr.clone());
        output.succeeds()
    };
    traced(&alice, &["user", "register"], &line);
    let place = format!("{}/f", Realm::VOLUME);
    fs::write(alice.beside().join("f"), "x").expect("written");
    traced(&alice, &["put", "f", &place], "");
    let token = traced(&alice, &["token", "create", &place], "").trim().to_string();
    let port = node.address.rsplit(':').next().expect("a port").to_string();
    let url = format!("https://127.0.0.1:{port}/{place}");
    let header = format!("Authorization: Bearer {token}");
    for version in ["--http1.1", "--http2"] {
        let words = ["--silent", "--insecure", version, "-H", &header, &url];
        let output = Command::new("curl").args(words).stdin(Stdio::null()).output().expect("curl is installed");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "x");
    }
    let through = format!("home@{}", node.address);
    traced(&alice, &["cat", &place, "--via", &through], "");
    let pem = fs::read_to_string(alice.path().join("identity/identity.pem")).expect("a key");
    let key: Vec<&str> = pem.lines().skip_while(|line| !line.contains("PRIVATE KEY")).skip(1).collect();
    node.stop_and(|log| logs.push(log));
    assert!(logs.iter().all(|log| log.len() > 1000), "there is something to look at");
    let invitation = line.trim().rsplit('.').next().expect("a secret").to_string();
    // The secret part of each, and no piece of 20 characters of it.
    for secret in [invitation.as_str(), token.rsplit('.').next().expect("a secret"), key[0]] {
        let pieces: Vec<&str> =
            (0..secret.len().saturating_sub(20)).step_by(7).map(|at| &secret[at..at + 20]).collect();
        for log in &logs {
            let shown = pieces.iter().find(|piece| log.contains(**piece));
            assert!(
                shown.is_none(),
                "{shown:?} stands in a log: {:?}",
                log.lines().find(|l| l.contains(shown.unwrap_or(&"")))
            );
        }
    }
    assert!(
        logs.iter().all(|log| !log.to_ascii_lowercase().contains("webos-transfer: ")),
        "no transfer certificate"
    );
}
