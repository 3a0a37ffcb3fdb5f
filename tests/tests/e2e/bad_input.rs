//! Bad input: each a clear error, nothing lost, nothing hangs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use webos_tests::{Home, NodeProcess};

#[test]
fn an_unknown_command_gets_a_suggestion() {
    let home = Home::new();
    home.call(["statsu"]).run().fails(2, &["unrecognized subcommand 'statsu'", "status"]);
    home.call(["acl", "grnat"]).run().fails(2, &["grant"]);
    home.call(["rm", "--if-macth", "x", "a.b"]).run().fails(2, &["--if-match"]);
    home.call(["put", "x"]).run().fails(2, &["<PATH>"]);
    let output = home.call(["--json", "statsu"]).run();
    let error: serde_json::Value = serde_json::from_str(&output.code_is(2).stderr).expect("JSON on standard error");
    assert_eq!(error["error"]["code"], "invalid");
    assert!(error["error"]["detail"].as_str().expect("text").contains("status"));
}

#[test]
fn paths_that_lead_elsewhere_are_refused_from_their_text() {
    let home = Home::new();
    for path in [
        "data.lab.example/../x",
        "data.lab.example/a/..",
        "data.lab.example/./x",
        "data.lab.example/a//b",
        "data",
        "../data.lab.example/x",
        "https://n1.server.lab.example:1/data.lab.example/%2e%2e/x",
        "https://n1.server.lab.example:1/data.lab.example/a%2fb",
    ] {
        for words in [vec!["cat", path], vec!["put", "file", path], vec!["rm", path], vec!["acl", "show", path]] {
            home.call(words).run().fails(2, &["invalid value"]);
        }
    }
    home.call(["cat", &format!("data.lab.example/{}", "x".repeat(300))]).run().fails(2, &["too long"]);
    home.call(["fetch", "service://site.lab.example/../x"]).run().fails(2, &["invalid value"]);
}

#[test]
fn damaged_settings_name_file_line_and_what_to_do() {
    let home = Home::new();
    std::fs::create_dir(home.path()).expect("made");
    let file = home.path().join("settings.toml");
    for (content, expected) in [
        ("log = \"info\"\nsurrogates = \n", "settings.toml, line 2: "),
        ("surrogate = 1\n", "'surrogate' is no setting; there are: log, surrogates"),
        ("surrogates = \"many\"\n", "line 1: surrogates cannot be 'many'"),
        ("\n\nlog = \"((\"\n", "line 3: log cannot be '(('"),
    ] {
        std::fs::write(&file, content).expect("written");
        home.call(["settings"]).run().fails(2, &[expected, "settings.toml"]);
        home.call(["whoami"]).run().fails(2, &[expected]);
        assert_eq!(std::fs::read_to_string(&file).expect("there"), content, "nothing is lost");
    }
    std::fs::write(&file, b"log = \"\xff\"").expect("written");
    home.call(["settings"]).run().fails(2, &["settings.toml", "no UTF-8"]);
    std::fs::write(&file, "").expect("written");
    home.ok(["settings"]);
    let shifted = |offset: &str| home.call(["settings"]).env("WEBOS_CLOCK_OFFSET_S", offset).run();
    shifted("abc").fails(2, &["WEBOS_CLOCK_OFFSET_S", "'abc'", "whole seconds"]);
    shifted("-60").succeeds();
}

#[test]
fn a_folder_that_others_can_change_is_refused() {
    let home = Home::new();
    std::fs::create_dir(home.path()).expect("made");
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o777)).expect("mine");
    home.call(["whoami"]).run().fails(2, &["can be changed by others", "chmod go-w"]);
    std::fs::remove_dir(home.path()).expect("empty");
    std::fs::write(home.path(), "a file").expect("written");
    home.call(["whoami"]).run().fails(2, &["is not a folder", "WEBOS_HOME"]);
    home.call(["realm", "init", "lab.example"]).run().fails(2, &["is not a folder"]);
    if !rustix::process::geteuid().is_root() {
        home.call(["whoami", "--home", "/"]).run().fails(2, &["belongs to user number 0"]);
    }
}

#[test]
fn secrets_that_others_have_access_to_stop_a_node() {
    let home = Home::new();
    home.ok(["realm", "init", "test.localhost", "--unencrypted"]);
    let (run, words) = (["node", "run", "--listen", "127.0.0.1:0"], ["realm", "invite", "user", "bob"]);
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mine");
    };
    for (name, wide, narrow, code, expected) in [
        ("", 0o777, 0o700, 2, "can be changed by others (mode 0777)"),
        ("authority", 0o777, 0o700, 1, "others have access to it (mode 0777)"),
        ("authority", 0o750, 0o700, 1, "others have access to it (mode 0750)"),
        ("authority/issuing.pem", 0o644, 0o600, 1, "can be read by others (mode 0644)"),
        ("identity", 0o770, 0o700, 1, "others have access to it (mode 0770)"),
        ("identity/identity.pem", 0o640, 0o600, 1, "can be read by others (mode 0640)"),
    ] {
        let path = home.path().join(name);
        set(&path, wide);
        home.call(run).run().fails(code, &[name, expected, "chmod "]);
        if name.starts_with("authority") {
            home.call(words).run().fails(code, &[name, expected, "chmod "]);
        }
        set(&path, narrow);
    }
    let realms = home.path().join("realms");
    set(&realms, 0o777);
    set(home.path(), 0o755);
    home.call(run).run().fails(2, &["realms can be changed by others (mode 0777)", "chmod go-w "]);
    set(home.path(), 0o700); // now nobody else gets there
    NodeProcess::start(home, &[]).stop();
}

#[test]
fn an_invitation_that_is_none_is_refused() {
    let home = Home::new();
    home.call(["user", "register"]).input("").run().fails(2, &["no invitation line on standard input"]);
    let nonsense = home.call(["user", "register"]).input("webos-invite-1.AAAA\n").run();
    nonsense.fails(2, &["invitation"]);
    assert!(!nonsense.stderr.contains("AAAA"), "errors never quote it: {}", nonsense.stderr);
    home.call(["user", "register"]).input(vec![b'x'; 1 << 20]).run().fails(2, &["longer than"]);
    home.call(["node", "join"]).input(b"\xff\xfe\n".to_vec()).run().fails(2, &["standard input"]);
}

#[test]
fn wrong_directories_are_named() {
    let home = Home::new();
    let words = ["put", "missing.txt", "data.lab.example/"];
    home.call(words).run().fails(4, &["cannot read missing.txt", "no such file"]);
    std::fs::create_dir(home.beside().join("folder")).expect("made");
    home.call(["put", "folder", "data.lab.example/"]).run().fails(2, &["folder is a folder", "-r"]);
    home.call(["man", "--into", "nowhere"]).run().fails(4, &["nowhere"]);
}

#[test]
fn damaged_keys_and_bundles_name_their_file_and_what_to_do() {
    let home = Home::new();
    home.ok(["realm", "init", "test.localhost", "--unencrypted"]);
    let run = ["node", "run", "--listen", "127.0.0.1:0"];
    let invite = ["realm", "invite", "user", "bob", "--address", "127.0.0.1:1"];
    for (file, words, advice) in [
        ("identity/identity.pem", &run[..], "restore it from a copy"),
        ("authority/root.pem", &run, "without it nobody can join"),
        ("authority/issuing.pem", &invite, "without it nobody can join"),
        ("authority/invitations", &invite, "remove it: the invitations that are open end"),
    ] {
        let path = home.path().join(file);
        let before = std::fs::read(&path).unwrap_or_default();
        for damaged in [&b""[..], b"\xff\xfe", &before[..before.len() / 2]] {
            std::fs::write(&path, damaged).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mine");
            home.call(words).run().fails(1, &[file, " is damaged: ", advice]);
        }
        if before.is_empty() { std::fs::remove_file(&path) } else { std::fs::write(&path, before) }
            .expect("mended");
    }
    home.ok(invite);
    // The authority is here: what it can sign anew stops nobody.
    std::fs::write(home.path().join("realms/test.localhost.bundle"), b"damaged").expect("written");
    NodeProcess::start(home, &[]).stop();
}
