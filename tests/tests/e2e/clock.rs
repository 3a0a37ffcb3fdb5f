//! Starts after long pauses: what has expired meanwhile is issued again, for the same keys, and pages are served.

use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use webos_tests::{Home, Talking};

const DAY: i64 = 24 * 3600;
const PAGE: &str = "index.html";

/// Key and first certificate of each file that has both, by its path below the person's folder.
fn identities(home: &Home) -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![home.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "pem") {
                let text = fs::read_to_string(&path).expect("readable");
                let part = |what: &str| text.split(&format!("{what}-----")).nth(1).map(String::from);
                let (Some(key), Some(first)) = (part("PRIVATE KEY"), part("CERTIFICATE")) else { continue };
                let name = path.strip_prefix(home.path()).expect("below").display().to_string();
                found.insert(name, (key, first));
            }
        }
    }
    found
}

/// One start so many days on: a page is read and fetched, and every node still has its key.
fn day(home: &Home, days: i64, keys: &mut BTreeMap<String, String>) {
    let offset = (days * DAY).to_string();
    let call = |words: &[&str]| home.call(words).env("WEBOS_CLOCK_OFFSET_S", &offset);
    let words = ["up", "site", "--json", "--console-port", "0", "--surrogates", "1"];
    let mut up = Talking::start(call(&words).into_command(), false);
    up.wait_for("ready", |event| event["event"] == "ready");
    let read = call(&["cat", &format!("site.demo.localhost/www/{PAGE}")]).run();
    assert_eq!(read.succeeds(), "a page", "{days} days on");
    let fetched = call(&["fetch", &format!("service://site.demo.localhost/{PAGE}")]).run();
    assert_eq!(fetched.succeeds(), "a page", "{days} days on");
    let status = call(&["status", "--json"]).run().json();
    let nodes = status["nodes"].as_array().expect("nodes");
    assert_eq!(nodes.len(), 2, "{status}");
    for node in nodes {
        let thumbprint = node["status"]["key"].to_string();
        assert!(thumbprint.len() > 20, "{node}");
        let name = node["name"].to_string();
        assert_eq!(keys.entry(name).or_insert(thumbprint.clone()), &thumbprint, "{days} days on: {node}");
    }
    up.signal(Signal::INT);
    assert_eq!(up.end(), Some(0));
}

#[test]
fn certificates_are_renewed_after_long_pauses() {
    let home = Home::new();
    let site = home.beside().join("site");
    fs::create_dir(&site).expect("made");
    fs::write(site.join(PAGE), "a page").expect("written");
    let mut keys = BTreeMap::new();
    day(&home, 0, &mut keys);
    let mut before = identities(&home);
    let service = "world/home/services/site.demo.localhost/identity/identity.pem";
    let servers = ["world/home/identity/identity.pem", "world/n1/identity/identity.pem"];
    let people = ["identity/identity.pem", service];
    let issuing = "world/home/authority/issuing.pem";
    assert_eq!(before.len(), servers.len() + people.len() + 1, "{:?}", before.keys());
    for (days, expired) in [
        (8, servers.to_vec()),
        (40, [servers, people].concat()),
        (200, [&servers[..], &people[..], &[issuing]].concat()),
    ] {
        day(&home, days, &mut keys);
        let now = identities(&home);
        assert!(now.keys().eq(before.keys()), "{days} days on: {:?}", now.keys());
        for (file, (key, certificate)) in &now {
            // Each issuing certificate has a key of its own; everybody else keeps theirs.
            assert!(*key == before[file].0 || file == issuing, "{days} days on {file} has another key");
            let renewed = *certificate != before[file].1;
            assert!(renewed || !expired.contains(&file.as_str()), "{days} days on {file} was not issued again");
        }
        before = now;
    }
}
