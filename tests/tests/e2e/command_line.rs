//! What holds for every command: help, completions, JSON, exit codes, a reader that goes away.

use std::io::Read;
use std::process::Stdio;
use webos_tests::Home;

#[test]
fn alone_it_prints_the_ten_commands_of_a_newcomer() {
    let home = Home::new();
    let page = home.ok(Vec::<String>::new());
    assert_eq!(page.lines().filter(|line| line.starts_with("  webos ")).count(), 10, "{page}");
    assert!(!home.path().exists(), "looking makes nothing");
}

#[test]
fn help_version_completions_and_man_need_nothing() {
    let home = Home::new();
    std::fs::create_dir(home.path()).expect("made");
    std::fs::write(home.path().join("settings.toml"), "damaged = [").expect("written");
    for (words, expected) in [
        (vec!["--help"], "Usage: webos"),
        (vec!["put", "--help"], "webos put notes.txt site.demo.localhost/www/"),
        (vec!["--version"], "webos 0."),
        (vec!["completions", "bash"], "complete -F _webos"),
        (vec!["completions", "zsh"], "#compdef webos"),
        (vec!["completions", "fish"], "complete -c webos"),
        (vec!["man"], ".TH webos 1"),
    ] {
        let page = home.ok(&words);
        assert!(
            page.contains(expected),
            "{words:?}: {expected} is not in {}",
            page.chars().take(500).collect::<String>()
        );
    }
    let pages = home.beside().join("man1");
    std::fs::create_dir(&pages).expect("made");
    home.ok(["man", "--into", "man1"]);
    let put = std::fs::read_to_string(pages.join("webos-put.1")).expect("a page of its own");
    assert!(put.contains("webos\\-put") || put.contains("webos-put"), "{put}");
}

#[test]
fn settings_say_where_each_value_comes_from() {
    let home = Home::new();
    std::fs::create_dir(home.path()).expect("made");
    std::fs::write(home.path().join("settings.toml"), "# mine\nsurrogates = 1\n").expect("written");
    let shown = home.call(["settings", "--json"]).env("WEBOS_CONSOLE_PORT", "9999").run().json();
    let origin = |name: &str| {
        let line = shown["settings"].as_array().and_then(|all| all.iter().find(|line| line["name"] == name));
        let line = line.expect("listed");
        (
            line["value"].as_str().unwrap_or_default().to_string(),
            line["origin"].as_str().unwrap_or_default().to_string(),
        )
    };
    assert_eq!(origin("surrogates"), ("1".into(), "settings.toml, line 2".into()));
    assert_eq!(origin("console_port"), ("9999".into(), "environment variable WEBOS_CONSOLE_PORT".into()));
    assert_eq!(origin("link"), ("100mbit".into(), "default".into()));
    assert_eq!(origin("home").1, "environment variable WEBOS_HOME");
    let moved = home.call(["settings", "--json"]).without("WEBOS_HOME").env("XDG_DATA_HOME", "/x").run().json();
    assert_eq!(moved["settings"][0]["value"], "/x/webos");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = Home::new();
    let mut child =
        home.call(["man"]).into_command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("read");
    let status = child.wait().expect("ends");
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn what_is_missing_is_said_with_the_next_step() {
    let home = Home::new();
    home.call(["whoami"]).run().fails(3, &["there is no identity in", "webos up"]);
    home.call(["ls", "data.lab.example"]).run().fails(4, &["lab.example is not trusted here"]);
    home.call(["bench", "slice"]).env("PATH", "/nowhere").run().fails(1, &["webos-bench", "make bench-setup"]);
    home.call(["realm", "invite", "user", "bob"]).run().fails(4, &["holds no realm's authority", "WEBOS_HOME"]);
    home.call(["node", "lend", "--to", "service://a.b"]).run().fails(5, &["no node runs in"]);
    let doctor = home.call(["doctor", "--json"]).run().json();
    assert_eq!(doctor["good"], true, "{doctor}");
    let status = home.call(["status", "--json"]).run().json();
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(0));
    assert!(!home.path().exists(), "asking makes nothing");
}
