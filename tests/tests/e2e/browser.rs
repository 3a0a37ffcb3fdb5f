//! The console in a real browser before a real world. Where `webos doctor` finds no Chromium it is left out, aloud.

use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use webos_tests::{DEADLINE, Home, LocalWorld, Talking};

const TEST: &str = "the_console_holds_in_a_browser";

/// Where Chromium is, as the program itself says.
fn chromium(home: &Home) -> Option<String> {
    let said = home.call(["doctor", "--json"]).run().stdout();
    let found: Value = serde_json::from_str(&said).expect("JSON");
    let check = found["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "chromium");
    let check = check.expect("doctor looks for it");
    let path = check["detail"].as_str()?.split(',').next()?;
    (check["state"] == "good").then(|| path.to_string())
}

/// The driver of the browser, as the committed lock names it.
fn install(folder: &Path) {
    let wanted: Value = read(&folder.join("package.json")).expect("the committed list");
    let there: Option<Value> = read(&folder.join("node_modules/playwright-core/package.json"));
    if there.is_some_and(|there| there["version"] == wanted["dependencies"]["playwright-core"]) {
        return;
    }
    let words = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    let output = Command::new("npm").args(words).current_dir(folder).output().expect("npm is installed");
    assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
}

fn read(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[test]
fn the_console_holds_in_a_browser() {
    let home = Home::new();
    let Some(chromium) = chromium(&home) else {
        // Past the harness, which keeps what successful tests print to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED {TEST}: webos doctor finds no chromium");
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    install(&folder);
    let site = home.beside().join("site");
    std::fs::create_dir(&site).expect("made");
    for index in 0..20 {
        std::fs::write(site.join(format!("page{index}.html")), "x".repeat(64 << 10)).expect("written");
    }
    let mut world = LocalWorld::start(home, &["site", "--link", "20mbit"]);
    world.home.ok(["token", "create", "site.demo.localhost/www", "--for", "1h"]);
    world.home.ok(["transfer", "create", "--to", "home", "--grant", "site.demo.localhost/www:r", "--yes"]);
    let (bob, first) = (Home::new(), world.home.path().join("world/home"));
    let invite = world.home.call(["realm", "invite", "user", "bob"]).word("--home").word(first);
    bob.call(["user", "register"]).input(invite.run().succeeds()).run().succeeds();
    bob.call(["ls", "site.demo.localhost"]).run().code_is(3);
    // Each check ends before this test's own patience does, so that it is the check that says what was missing.
    let patience = (DEADLINE.as_secs() - 10).to_string();
    let mut command = Command::new("node");
    command.args(["console.mjs", &world.console, &patience]).env("CHROMIUM", chromium).current_dir(&folder);
    let mut browser = Talking::start(command, false);
    let mut lines = Vec::new();
    loop {
        let line = browser.wait_for("the next check", |_| true);
        let line = line.as_str().unwrap_or_default().to_string();
        let over = line.ends_with("passed") || line.ends_with(" failed");
        lines.push(line);
        if over {
            break;
        }
    }
    let said = lines.join("\n");
    assert_eq!(browser.end(), Some(0), "{said}");
    let passed = lines.iter().filter(|line| line.starts_with("ok ")).count();
    assert!(passed >= 17 && lines.iter().all(|line| !line.starts_with("FAIL")), "{said}");
    bob.call(["ls", "site.demo.localhost"]).run().fails(3, &["user/bob was revoked"]);
    let lent = world.home.call(["transfer", "list", "--json"]).run().json();
    assert_eq!(lent.as_array().map(Vec::len), Some(0), "{lent}");
    world.stop();
}
