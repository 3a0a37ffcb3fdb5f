//! The audit log through the real command: read, verified, and witnessed by a second node.

use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};
use webos_tests::{Home, NodeProcess, Realm, eventually};

/// Somebody without a certificate is refused at a node; the sum of such refusals is one record of its next clean stop.
fn knock(node: &NodeProcess) {
    let url = format!("https://{}/{}/x", node.address, Realm::VOLUME);
    let words = ["--silent", "--insecure", "--max-time", "30", "--write-out", "\n%{http_code}", &url];
    let output = Command::new("curl").args(words).stdin(Stdio::null()).output().expect("curl is installed");
    assert!(output.stdout.ends_with(b"\n403"), "{output:?}");
}

fn records(home: &Home, words: &[&str]) -> Vec<Value> {
    let text = home.ok([&["audit", "--json"], words].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// The log and its note as they are now, to be put back later.
fn saved(home: &Home) -> [Vec<u8>; 2] {
    ["audit.log", "audit.log.head"].map(|name| fs::read(home.path().join(name)).expect("there"))
}

#[test]
fn a_log_that_was_restored_is_acknowledged_and_a_further_cut_is_found() {
    let realm = Realm::start();
    let mut n2 = realm.node("n2");
    knock(&n2);
    n2.home.call(["audit", "acknowledge"]).run().fails(1, &["runs already"]);
    n2.stop();
    let backup = saved(&n2.home);
    let kept = backup[0].iter().filter(|byte| **byte == b'\n').count() as u64;
    n2.run(&[]);
    knock(&n2);
    n2.stop();
    let last = n2.home.call(["audit", "verify", "--json"]).run().json()["records"].as_u64().expect("a number");
    let nothing = n2.home.ok(["audit", "acknowledge"]);
    assert!(nothing.contains("nothing is missing"), "{nothing}");
    for (name, content) in ["audit.log", "audit.log.head"].iter().zip(&backup) {
        fs::write(n2.home.path().join(name), content).expect("restored");
    }
    n2.home.call(["audit", "verify"]).run().code_is(1);
    let done = n2.home.call(["audit", "acknowledge", "--json"]).run().json();
    assert_eq!((&done["record"], &done["lost"]), (&(kept + 1).into(), &serde_json::json!([last])), "{done}");
    let whole = n2.home.call(["audit", "verify"]).run();
    whole.succeeds();
    let known = match kept + 1 == last {
        true => format!("log restored: record {last} is missing"),
        false => format!("log restored: records {} to {last} are missing", kept + 1),
    };
    let by = "acknowledged by spiffe://test.localhost/server/n2";
    assert!(whole.stderr.contains(&known) && whole.stderr.contains(by), "{whole:?}");

    // The second node follows the log again: it records that, and what is cut from here on is found.
    n2.run(&[]);
    knock(&n2);
    n2.stop();
    let witness = records(&realm.first.home, &["--principal", "server/n2", "--path", "audit log"]);
    let said =
        |text: &str| witness.iter().any(|record| record["reason"].as_str().is_some_and(|why| why.contains(text)));
    assert!(said("was restored, and says so") && !said("contradicts itself"), "{witness:?}");
    let whole = n2.home.call(["audit", "verify", "--json"]).run().json();
    assert_eq!(
        (&whole["acknowledged"], &whole["witness"]["records"]),
        (&serde_json::json!([last]), &whole["records"])
    );
    assert_eq!(n2.home.ok(["doctor"]).matches("BAD").count(), 0);
    let end = whole["records"].as_u64().expect("a number");
    cut(&n2.home, usize::try_from(end - 1).expect("small"));
    n2.home.call(["audit", "verify"]).run().code_is(1);
    // Nor does the log without its acknowledgement count as whole.
    cut(&n2.home, usize::try_from(kept).expect("small"));
    n2.home.call(["audit", "verify"]).run().code_is(1);
}

fn cut(home: &Home, keep: usize) {
    let path = home.path().join("audit.log");
    let text = fs::read_to_string(&path).expect("a log");
    let kept: String = text.lines().take(keep).map(|line| format!("{line}\n")).collect();
    assert!(kept.len() < text.len(), "something is cut");
    fs::write(&path, kept).expect("cut");
    let note = home.path().join("audit.log.head");
    fs::remove_file(&note)
        .or_else(|error| if note.exists() { Err(error) } else { Ok(()) })
        .expect("the note beside it");
}

#[test]
fn the_log_is_read_by_who_where_and_what_and_drives_no_terminal() {
    let realm = Realm::start();
    let bob = realm.user("bob");
    let (hostile, home) = (realm.path("in/x\n2026 granted\u{1b}[2K\u{202e}"), &realm.first.home);
    bob.call(["cat", &realm.path("in/x")]).run().code_is(3);
    bob.call(["cat", &hostile]).run();
    bob.call(["cat", &realm.path("inner")]).run().code_is(3);
    fs::write(realm.alice.beside().join("f"), "1").expect("written");
    realm.alice.ok(["put", "-p", "f", &realm.path("in")]);
    realm.alice.ok(["acl", "grant", "user/bob", "r", &realm.path("in")]);
    let all = records(home, &[]);
    assert!(all.len() >= 4, "{all:?}");
    let seqs: Vec<_> = all.iter().map(|record| record["seq"].as_u64().expect("a number")).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seqs:?}");
    let of_bob = records(home, &["--principal", "user/bob", "--outcome", "refused", "--since", "1h"]);
    assert!(of_bob.len() >= 2 && of_bob.iter().all(|record| record["peer"] == "spiffe://test.localhost/user/bob"));
    let below = records(home, &["--path", &realm.path("in")]);
    assert!(below.iter().all(|record| !record["resource"].as_str().expect("text").ends_with("inner")));
    assert_eq!(
        records(home, &["--limit", "1"]).first().map(|record| record["seq"].clone()),
        all.last().map(|r| r["seq"].clone())
    );
    assert_eq!(records(home, &["--since", "2999-01-01"]).len(), 0);
    assert_eq!(records(home, &["--transfer", "00000000000000000000000000000000"]).len(), 0);
    let people = home.call(["audit"]).run();
    let text = people.succeeds();
    assert!(text.contains("refused  r on data.test.localhost/in/x"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !(c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c))));
    home.call(["audit", "--principal", "anyone"]).run().fails(2, &["anyone is no principal"]);
    realm.alice.call(["audit"]).run().fails(4, &["no audit log"]);
}

#[test]
fn a_changed_removed_or_inserted_record_is_found_with_its_number() {
    let mut realm = Realm::start();
    let bob = realm.user("bob");
    for _ in 0..4 {
        bob.call(["cat", &realm.path("in/x")]).run().code_is(3);
    }
    realm.first.stop();
    let home = &realm.first.home;
    let path = home.path().join("audit.log");
    let good: Vec<String> = fs::read_to_string(&path).expect("a log").lines().map(String::from).collect();
    let verify = || home.call(["audit", "verify", "--offline", "--json"]).run();
    assert_eq!(verify().json()["records"].as_u64(), Some(good.len() as u64));
    let changed = {
        let mut lines = good.clone();
        lines[1] = lines[1].replacen("user/", "user/x", 1);
        lines
    };
    let removed = [&good[..1], &good[2..]].concat();
    let inserted = [&good[..2], &good[1..]].concat();
    let mut reordered = good.clone();
    reordered.swap(1, 2);
    for (what, lines, record) in
        [("changed", changed, 2), ("removed", removed, 2), ("inserted", inserted, 3), ("reordered", reordered, 2)]
    {
        fs::write(&path, lines.join("\n") + "\n").expect("damaged");
        let output = verify();
        output.code_is(1);
        let found: Value = serde_json::from_str(&output.stdout()).expect("JSON");
        assert_eq!(
            (&found["whole"], found["record"].as_u64()),
            (&Value::Bool(false), Some(record)),
            "{what}: {found}"
        );
    }
    fs::write(&path, good.join("\n") + "\n").expect("put back");
    verify().succeeds();
    fs::write(&path, good[..good.len() - 1].join("\n") + "\n").expect("cut");
    verify().code_is(1);
    let people = home.call(["audit", "verify", "--offline"]).run();
    assert!(people.stdout().contains(&format!("DAMAGED: record {} was there once", good.len())), "{people:?}");
}

#[test]
fn a_second_node_shows_that_the_end_was_cut() {
    let mut realm = Realm::start();
    let mut n2 = realm.node("n2");
    for _ in 0..2 {
        knock(&n2);
        n2.stop();
        n2.run(&[]);
    }
    knock(&n2);
    n2.stop();
    let whole = n2.home.call(["audit", "verify", "--json"]).run().json();
    let last = whole["records"].as_u64().expect("a number");
    assert_eq!(whole["witness"]["records"].as_u64(), Some(last), "the last word of a clean stop: {whole}");
    assert_eq!(whole["witness"]["node"], "spiffe://test.localhost/server/home");
    let told = format!("whole to record {last}; spiffe://test.localhost/server/home was told of record {last}");
    assert!(n2.home.ok(["doctor"]).contains(&told));
    cut(&n2.home, 1);
    n2.home.call(["audit", "verify", "--offline"]).run().succeeds();
    let doctor = n2.home.call(["doctor"]).run();
    doctor.code_is(1);
    assert!(doctor.stdout().contains("BAD   audit log"), "{doctor:?}");
    let output = n2.home.call(["audit", "verify", "--json"]).run();
    output.code_is(1);
    let found: Value = serde_json::from_str(&output.stdout()).expect("JSON");
    assert_eq!(found["record"].as_u64(), Some(last), "{found}");

    // The node that starts with the shorter log is told, records it, and its witness does not go back.
    n2.run(&[]);
    let says = |home: &Home, words: &[&str], text: &str| {
        eventually(text, || {
            let found = records(home, words).into_iter();
            found.filter_map(|record| Some(record["reason"].as_str()?.to_string())).find(|why| why.contains(text))
        })
    };
    says(&n2.home, &["--outcome", "changed"], "is not what spiffe://test.localhost/server/home was told of it");
    says(&realm.first.home, &["--principal", "server/n2", "--outcome", "refused"], "contradicts itself");
    // However long the other log grows, the head that was contradicted stays known.
    for _ in 0..3 {
        n2.stop();
        n2.run(&[]);
        knock(&n2);
    }
    n2.stop();
    n2.home.call(["audit", "verify"]).run().code_is(1);
    // The first node's own log is witnessed by the member that it heard of.
    n2.run(&[]);
    realm.first.stop();
    let home = &realm.first.home;
    let whole = home.call(["audit", "verify", "--json"]).run().json();
    assert_eq!(whole["witness"]["node"], "spiffe://test.localhost/server/n2", "{whole}");
    cut(home, 2);
    home.call(["audit", "verify", "--offline"]).run().succeeds();
    home.call(["audit", "verify"]).run().code_is(1);
}
