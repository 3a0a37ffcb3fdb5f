//! The local world as a newcomer meets it: printed commands that work as they are, a folder that is followed, an end
//! that leaves nothing.

use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use webos_tests::{Home, LocalWorld, Talking, eventually};
use world::World;

fn site(home: &Home) -> std::path::PathBuf {
    let site = home.beside().join("site");
    fs::create_dir_all(site.join("sub")).expect("made");
    fs::write(site.join("index.html"), "<h1>mine</h1>").expect("written");
    fs::write(site.join("sub/page.html"), "page").expect("written");
    site
}

/// All that lies below a folder, with lengths: to see that nothing was changed.
fn content(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("readable").flatten() {
            let path = entry.path();
            let meta = fs::symlink_metadata(&path).expect("there");
            found.push(format!("{} {}", path.display(), meta.len()));
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_printed_commands_work_as_they_are() {
    let home = Home::new();
    site(&home);
    let command = home.call(["up", "site", "--console-port", "0", "--for", "10m"]).into_command();
    let mut up = Talking::start(command, false);
    let mut lines = Vec::new();
    up.wait_for("the last line of the greeting", |line| {
        let line = line.as_str().unwrap_or_default();
        line.contains("Ctrl-C ends it all")
    });
    lines.extend(up.heard().iter().filter_map(|line| line.as_str().map(String::from)));
    let commands: Vec<&str> =
        lines.iter().map(|line| line.trim()).filter(|l| l.starts_with("WEBOS_HOME=")).collect();
    assert_eq!(commands.len(), 5, "{lines:#?}");
    for command in commands {
        let output = Command::new("sh").args(["-c", command]).current_dir(home.beside()).output().expect("a shell");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // The large file belongs to the sample site, which is not served here.
        let missing = command.contains("big.bin") && output.status.code() == Some(4);
        assert!(output.status.success() || missing, "{command}: {said}");
    }
    assert!(lines.iter().any(|line| line.contains("every user of this machine can read")), "{lines:#?}");
    up.signal(Signal::INT);
    assert_eq!(up.end(), Some(0));
    let status = home.call(["status", "--json"]).run().json();
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(0), "{status}");
}

#[test]
fn a_folder_is_followed_one_way() {
    let home = Home::new();
    let site = site(&home);
    fs::write(home.beside().join("outside"), "secret").expect("written");
    fs::write(site.join(".hidden"), "hidden").expect("written");
    symlink("../outside", site.join("out")).expect("made");
    rustix::fs::mknodat(rustix::fs::CWD, site.join("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .expect("made");
    let before = content(&site);
    let world = LocalWorld::start(home, &["site"]);
    let listed = world.home.ok(["ls", "site.demo.localhost/www"]);
    assert_eq!(listed, "index.html\nsub/\n", "no dot file, no link out, no special file");
    assert_eq!(content(&site), before, "the folder is never written");
    let fetched = || world.home.call(["fetch", "service://site.demo.localhost/sub/page.html"]).run();
    assert_eq!(fetched().succeeds(), "page");
    fs::write(site.join("sub/page.html"), "saved").expect("written");
    eventually("a saved file is served", || (fetched().stdout() == "saved").then_some(()));
    fs::write(site.join("sub/new.html"), "new").expect("written");
    eventually("a new file is there", || {
        let listed = world.home.ok(["ls", "site.demo.localhost/www/sub"]);
        (listed == "new.html\npage.html\n").then_some(())
    });
    fs::remove_file(site.join("sub/new.html")).expect("removed");
    eventually("a removed file is gone", || {
        let listed = world.home.ok(["ls", "site.demo.localhost/www/sub"]);
        (listed == "page.html\n").then_some(())
    });
    // Only the caller and the servers may read the volume; the service shows it to anyone.
    let shown = world.home.call(["acl", "show", "--json", "site.demo.localhost"]).run().json();
    let entries = shown["entries"].as_array().expect("entries").iter();
    let who: Vec<&str> = entries.filter_map(|entry| entry["who"].as_str()).collect();
    assert!(who.iter().all(|who| who.contains("/user/") || who.ends_with("/group/site-serving")), "{who:?}");
}

#[test]
fn it_goes_on_with_what_was_there_and_is_removed_when_asked() {
    let home = Home::new();
    site(&home);
    let mut world = LocalWorld::start(home, &["site"]);
    let pid = world.process().pid().to_string();
    let again = world.home.call(["up", "site", "--console-port", "0"]).run();
    again.fails(1, &["runs already", &pid, "webos down"]);
    fs::write(world.home.beside().join("note"), "kept").expect("written");
    world.home.ok(["put", "note", "site.demo.localhost/note"]);
    let me = world.home.ok(["whoami"]).lines().next().map(String::from);
    let ports: Vec<String> = world.nodes.iter().map(|node| node.url.clone()).collect();
    world.stop();
    let clock = World::real().clock;
    let began = clock.boot();
    world.restart_ended(&["site"]);
    assert_eq!(world.home.ok(["fetch", "service://site.demo.localhost/sub/page.html"]), "page");
    let took = clock.boot().since(began).as_millis();
    let _ = writeln!(std::io::stderr(), "measured: {took} ms from a warm start to a served page");
    assert_eq!(world.home.ok(["cat", "site.demo.localhost/note"]), "kept");
    assert_eq!(world.home.ok(["whoami"]).lines().next().map(String::from), me);
    assert_eq!(world.nodes.iter().map(|node| node.url.clone()).collect::<Vec<_>>(), ports);
    // `down` from a second terminal.
    world.home.ok(["down"]);
    assert_eq!(world.process().end(), Some(0));
    world.restart_ended(&["site", "--fresh"]);
    world.home.call(["cat", "site.demo.localhost/note"]).run().fails(4, &["note"]);
    assert_eq!(world.home.ok(["fetch", "service://site.demo.localhost/sub/page.html"]), "page");
    world.stop();
    assert!(world.home.path().join("world").exists());
    assert!(world.home.path().join("cache").exists(), "fetching left something there");
    world.home.ok(["down", "--purge"]);
    assert!(!world.home.path().exists(), "nothing else was in it");
    assert!(world.home.beside().join("site/index.html").exists(), "the folder that was served stays");
}

/// A world without lent nodes.
fn alone() -> LocalWorld {
    let home = Home::new();
    site(&home);
    LocalWorld::start(home, &["site", "--surrogates", "0"])
}

#[test]
fn a_fetch_to_standard_output_makes_no_file() {
    let world = alone();
    let url = "service://site.demo.localhost/sub/page.html";
    for words in [vec!["fetch", url], vec!["fetch", url, "-o", "-"]] {
        assert_eq!(world.home.call(&words).run().succeeds(), "page");
    }
    assert!(!world.home.beside().join("-").exists() && !world.home.beside().join("-.part").exists());
    world.home.call(["fetch", "--json", url, "-o", "-"]).run().fails(2, &["-o FILE"]);
}

#[test]
fn a_wait_and_dead_nodes_are_told_of() {
    let world = alone();
    let url = "service://site.demo.localhost/sub/page.html";
    world.home.ok(["fetch", url]);
    world.signal("home", Signal::STOP);
    let dead = world.home.call(["status"]).run();
    assert!(dead.code == Some(5) && dead.stdout().contains("none of 1 node answers"), "{dead:?}");
    world.signal("home", Signal::CONT);
    world.act("nodes/home/kill", None);
    eventually("what to do is said", || {
        let said = world.home.ok(["status"]);
        (said.contains("no node runs, though `webos up`") && said.contains("webos down")).then_some(())
    });
    let words = ["fetch", url, "-o", "copy"];
    let mut fetching = Talking::start(world.home.call(words).into_command(), false);
    eventually("it says so", || fetching.log().contains("waiting: ").then_some(()));
    world.revive("home");
    assert_eq!(fetching.end(), Some(0), "{}", fetching.log());
    assert!(fetching.log().contains("going on"), "{}", fetching.log());
}

#[test]
fn it_ends_by_itself_with_a_summary() {
    let home = Home::new();
    site(&home);
    let output = home.call(["up", "site", "--console-port", "0", "--for", "2s", "--surrogates", "1"]).run();
    let said = output.succeeds();
    assert!(said.to_lowercase().contains("requests answered"), "{said}");
    let json = home.call(["up", "site", "--json", "--console-port", "0", "--for", "2s", "--surrogates", "1"]).run();
    let said = json.succeeds();
    let lines = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let events: Vec<String> = lines.map(|line| line["event"].as_str().unwrap_or_default().to_string()).collect();
    assert_eq!(events.first().map(String::as_str), Some("ready"), "{events:?}");
    assert_eq!(events.last().map(String::as_str), Some("summary"), "{events:?}");
}

#[test]
fn wrong_folders_are_named_and_nothing_is_left() {
    let home = Home::new();
    home.call(["up", "nowhere", "--console-port", "0"]).run().fails(4, &["nowhere"]);
    fs::write(home.beside().join("file"), "").expect("written");
    let output = home.call(["up", "file", "--console-port", "0"]).run();
    assert!(matches!(output.code, Some(1 | 2)) && output.stderr.contains("file"), "{output:?}");
    let status = home.call(["status", "--json"]).run().json();
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(0), "{status}");
}
