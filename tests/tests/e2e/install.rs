//! The system service: what is written below a root, what systemd says of it, and where it is refused.

use serde_json::Value;
use std::fs;
use std::process::Command;
use webos_tests::Home;

/// Whether a program of systemd is installed; says by name what is skipped where it is not.
fn have(program: &str, test: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("SKIPPED: {test}: {program} is not installed");
    }
    there
}

#[test]
fn a_unit_is_written_below_a_root_verified_and_taken_away() {
    let home = Home::new();
    let root = home.beside().join("package");
    let words =
        ["node", "install", "--json", "--listen", "0.0.0.0:443", "--address", "n2.lab.example:443", "--root"];
    let made = home.call(words).word(&root).run().json();
    assert_eq!(made["started"], Value::Bool(false));
    let unit = root.join("usr/lib/systemd/system/webos-node.service");
    let text = fs::read_to_string(&unit).expect("a unit");
    assert!(
        text.contains("ExecStart=/usr/bin/webos node run") && text.contains("WEBOS_LISTEN=0.0.0.0:443"),
        "{text}"
    );
    assert!(root.join("usr/bin/webos").exists());
    let users = fs::read_to_string(root.join("usr/lib/sysusers.d/webos-node.conf")).expect("a user");
    assert!(users.contains("u webos - "), "{users}");
    let state = fs::read_to_string(root.join("usr/lib/tmpfiles.d/webos-node.conf")).expect("a folder");
    assert!(state.contains("d /var/lib/webos 0700 webos webos -"), "{state}");
    if have("systemd-analyze", "the unit as systemd sees it") {
        assert_eq!(made["verified"], Value::Bool(true), "{made}");
        // Of ten points of exposure; a service without any of these settings has 9.6.
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
            .arg(&unit)
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "more than 2.0 points of exposure: {said}");
    }
    home.call(["node", "uninstall", "--root"]).word(&root).run().succeeds();
    assert!(!unit.exists() && !root.join("usr/bin/webos").exists());
    home.call(["node", "uninstall", "--root"]).word(&root).run().fails(4, &["webos-node.service"]);
}

#[test]
fn without_systemd_or_rights_nothing_is_installed() {
    let home = Home::new();
    if fs::metadata("/run/systemd/system").is_ok() {
        eprintln!("SKIPPED: the refusal without systemd: systemd runs this machine");
        return;
    }
    home.call(["node", "install"]).run().fails(1, &["systemd does not run this machine", "webos node run"]);
    home.call(["node", "install", "--user", "root"]).run().fails(2, &["not root"]);
    home.call(["node", "install", "--address", "a b"]).run().fails(2, &["no HOST:PORT"]);
}
