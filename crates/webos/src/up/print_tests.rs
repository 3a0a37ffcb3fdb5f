use super::*;
use crate::args::{Parsed, parse};
use std::ffi::OsString;

fn stand<'a>(names: &'a Names, home: &'a Setting<PathBuf>, files: &'a [(VolumePath, u64)]) -> Stand<'a> {
    Stand {
        names,
        dir: Path::new("/srv/site"),
        home,
        files,
        left_out: LeftOut { dot: 1, ..LeftOut::default() },
        link: "100mbit".into(),
        port: 8480,
        ssh: Some("203.0.113.5 51000 198.51.100.7 22".into()),
        program: "./webos".into(),
    }
}

fn files(list: &[(&str, u64)]) -> Vec<(VolumePath, u64)> {
    list.iter().map(|(path, size)| (VolumePath::new(path).expect("valid"), *size)).collect()
}

/// The words of a printed command, as a shell would split it.
fn words(command: &str) -> Vec<OsString> {
    let command = command.strip_prefix("WEBOS_HOME=/w ").unwrap_or(command);
    let words = command.strip_prefix("./webos").expect("the program").split('\'');
    let words = words.enumerate().flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().map(OsString::from).collect(),
        _ => vec![OsString::from(part)],
    });
    std::iter::once(OsString::from("webos")).chain(words).collect()
}

#[test]
fn the_five_commands_parse_whatever_the_site_holds() {
    let home = Setting { value: PathBuf::from("/w"), origin: Origin::Flag("--home") };
    for (surrogates, files) in [
        (3, files(&[("index.html", 900), ("big.bin", 64 << 20), ("pictures/a.svg", 7)])),
        (1, files(&[("a page.html", 900)])),
        (0, files(&[("a", 1), ("b/c", 2)])),
        (0, vec![]),
    ] {
        let names = Names::new(surrogates).expect("constant");
        let commands = commands(&stand(&names, &home, &files));
        assert_eq!(commands.len(), 5);
        for command in commands {
            assert!(command.starts_with("WEBOS_HOME=/w ./webos "), "{command}");
            assert!(matches!(parse(words(&command)), Parsed::Run(_)), "{command}");
        }
    }
}

#[test]
fn with_the_usual_folder_there_is_no_prefix() {
    let home = Setting { value: PathBuf::from("/h/.local/share/webos"), origin: Origin::Default };
    let names = Names::new(3).expect("constant");
    let files = files(&[("index.html", 900), ("big.bin", 64 << 20)]);
    let commands = commands(&stand(&names, &home, &files));
    assert_eq!(
        commands,
        [
            "./webos ls site.demo.localhost/www",
            "./webos cat site.demo.localhost/www/index.html",
            "./webos fetch service://site.demo.localhost/big.bin -o big.bin",
            "./webos get --via n2 site.demo.localhost/www/index.html copy-of-index.html",
            "./webos acl show site.demo.localhost/www",
        ]
    );
}

#[test]
fn what_a_person_must_know_is_said() {
    let home = Setting { value: PathBuf::from("/w"), origin: Origin::Default };
    let names = Names::new(3).expect("constant");
    let files = files(&[("index.html", 900)]);
    let ready = Ready {
        event: "ready",
        console: "http://127.0.0.1:8480/?token=x".into(),
        realm: names.realm.to_string(),
        home: "/w".into(),
        service: names.service.to_string(),
        nodes: vec![],
    };
    let said = introduction(&ready, &stand(&names, &home, &files)).join("\n");
    for part in [
        "every user of this machine can read",
        "/srv/site",
        "left out: 1 file or folder with a dot in front",
        "http://127.0.0.1:8480/?token=x",
        "ssh -L 8480:127.0.0.1:8480 198.51.100.7",
        "webos node lend --to service://site.demo.localhost",
    ] {
        assert!(said.contains(part), "{part} is missing in:\n{said}");
    }
    for line in elsewhere(&stand(&names, &home, &files)) {
        for command in line.split_once("$ ").expect("a prompt").1.split(" # ").next().unwrap_or_default().split(';')
        {
            let words = command.replace("YOU", "you").replace("HOME", "home");
            let parsed = parse(words.split_whitespace().map(OsString::from));
            assert!(matches!(parsed, Parsed::Run(_)), "{command}");
        }
    }
}

#[test]
fn the_first_line_is_as_agreed() {
    let node = NodeLine {
        name: Label::new("home").expect("valid"),
        pid: 7,
        url: "https://127.0.0.1:9".into(),
        home_folder: "/w/world/home".into(),
    };
    let ready = Ready {
        event: "ready",
        console: "c".into(),
        realm: "r".into(),
        home: "/w".into(),
        service: "s".into(),
        nodes: vec![node],
    };
    let line = serde_json::to_value(&ready).expect("plain data");
    assert_eq!(
        line,
        serde_json::json!({"event": "ready", "console": "c", "realm": "r", "home": "/w", "service": "s",
            "nodes": [{"name": "home", "pid": 7, "url": "https://127.0.0.1:9", "home_folder": "/w/world/home"}]})
    );
}

#[test]
fn the_program_is_named_as_it_can_be_typed() {
    use std::os::unix::fs::PermissionsExt;
    let (here, bin) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let running = Path::new("/opt/web os/webos");
    let path = bin.path().as_os_str();
    assert_eq!(program(here.path(), Some(path), running), "'/opt/web os/webos'");
    for (folder, expected) in [(bin.path(), "webos"), (here.path(), "./webos")] {
        std::fs::write(folder.join("webos"), "").expect("written");
        std::fs::set_permissions(folder.join("webos"), std::fs::Permissions::from_mode(0o755)).expect("mine");
        assert_eq!(program(here.path(), Some(path), running), expected);
    }
}
