//! Documents whose commands are run as they stand there.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use webos_tests::{Home, NodeProcess, eventually, webos};

/// A realm's first node, running.
fn first(realm: &str, name: &str, before: &[&[&str]]) -> NodeProcess {
    let home = Home::new();
    home.ok(["realm", "init", realm, "--node", name, "--unencrypted"]);
    for words in before {
        home.ok(*words);
    }
    NodeProcess::start(home, &[])
}

fn joined(first: &NodeProcess, kind: &str, name: &str) -> Home {
    let home = Home::new();
    let line = first.home.ok(["realm", "invite", kind, name]);
    let command = if kind == "user" { ["user", "register"] } else { ["node", "join"] };
    home.call(command).input(line).run().succeeds();
    home
}

/// The marked commands of a document, in order: who runs it, how its output is called, the command.
fn commands(document: &str) -> Vec<(String, String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(document);
    let text = std::fs::read_to_string(path).expect("the document");
    let blocks = text.split("<!-- test: ").skip(1).map(|block| {
        let (mark, rest) = block.split_once(" -->\n```sh\n").expect("a block follows its mark");
        let (who, name) = mark.split_once(' ').expect("who runs it, and its name");
        let (command, _) = rest.split_once("\n```").expect("its end");
        (who.to_string(), name.to_string(), command.to_string())
    });
    blocks.collect()
}

/// Runs a command of a document in somebody's home; its output, or what it said.
fn shell(home: &Home, command: &str, names: &BTreeMap<String, String>) -> Result<String, String> {
    let program = webos().parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-euc", command])
        .env("PATH", format!("{program}:{path}"))
        .env("WEBOS_HOME", home.path())
        .envs(names)
        .current_dir(home.beside())
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_string());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn five_commands_as_the_document_has_them() {
    let a = first("lab.example", "home", &[&["volume", "create", "data.lab.example", "--owner", "user/alice"]]);
    let s1 = first("partner.example", "s1", &[]);
    let s2 = NodeProcess::start(joined(&s1, "server", "s2"), &[]);
    let alice = joined(&a, "user", "alice");
    [&a.home, &alice].iter().for_each(|home| home.trust(&s1));
    [&s1.home, &s2.home].iter().for_each(|home| home.trust(&a));
    alice.call(["put", "-p", "-", "data.lab.example/in/report.txt"]).input("the report").run().succeeds();

    let homes = BTreeMap::from([("alice", &alice), ("s1", &s1.home), ("s2", &s2.home), ("home", &a.home)]);
    let mut names =
        BTreeMap::from([("S1".to_string(), s1.address.clone()), ("S2".to_string(), s2.address.clone())]);
    let commands = commands("two-organisations.md");
    assert_eq!(commands.len(), 5);
    let mut first_read: Option<String> = None;
    for (who, name, command) in commands {
        if name == "STORY" {
            let again = first_read.take().expect("it was read");
            let refused: String = shell(homes["s2"], &again, &names).expect_err("taken back");
            assert!(refused.contains("was revoked"), "{refused}");
        }
        // Realms hear of each other within a second.
        let what = format!("{who}: {command}");
        let output = eventually(&what, || shell(homes[who.as_str()], &command, &names).ok());
        if name == "READ" {
            assert_eq!(output, "the report");
            first_read = Some(command);
        }
        names.insert(name, output);
    }
    let story = &names["STORY"];
    for part in ["user/alice", "partner.example/server/s1", "partner.example/server/s2", "was revoked"] {
        assert!(story.contains(part), "{part}: {story}");
    }
}
