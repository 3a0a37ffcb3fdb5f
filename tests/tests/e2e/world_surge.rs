//! Surge: a surrogate is recruited, takes traffic, and more is served than one server can; calm: it is drained and
//! has no rights left.

use crate::watch::Watch;
use client::models::Phase;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::process::Command;
use terms::Who;
use webos_tests::{Home, LocalWorld, eventually};

const PAGE: &str = "page0.html";
/// Each front's stated link: what this machine can do must not decide what the test sees.
const LINK: &str = "20mbit";
/// What has to be sent for one measurement: bytes; some seconds of one link.
const SPAN_BYTES: u64 = 6_000_000;
const MEASUREMENTS: u32 = 8;

fn site(home: &Home) {
    let site = home.beside().join("site");
    fs::create_dir(&site).expect("made");
    for index in 0..20 {
        fs::write(site.join(format!("page{index}.html")), "x".repeat(100 << 10)).expect("written");
    }
}

fn surge(world: &LocalWorld) {
    world.act("surge", Some(&json!({"clients": 24, "seconds": 600})));
}

/// Status and header of what a front answers to somebody who asks exactly it.
fn asked(world: &LocalWorld, name: &str) -> (String, String) {
    let port = world.node(name).url.rsplit(':').next().expect("a port");
    let authority = format!("site.service.{}:{port}", world.realm);
    let output = Command::new("curl")
        .args(["--silent", "--insecure", "--max-time", "30", "--dump-header", "-", "--output", "/dev/null"])
        .args(["--write-out", "%{http_code}", "--resolve", &format!("{authority}:127.0.0.1")])
        .arg(format!("https://{authority}/{PAGE}"))
        .output()
        .expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
    let (head, status) = text.rsplit_once('\n').expect("a header");
    (status.to_string(), head.to_string())
}

/// How much one server serves: a world without lent nodes.
fn alone(home: Home) -> (f64, LocalWorld) {
    let mut world = LocalWorld::start(home, &["site", "--link", LINK, "--surrogates", "0"]);
    surge(&world);
    let rate = Watch::new(&world).rate(SPAN_BYTES);
    world.act("calm", None);
    world.restart(&["site", "--link", LINK, "--stabilization", "5s"]);
    (rate, world)
}

#[test]
fn load_brings_surrogates_and_calm_sends_them_away() {
    let home = Home::new();
    site(&home);
    let (alone, mut world) = alone(home);
    surge(&world);
    for kind in ["surge", "recruited", "serving"] {
        world.wait_for(kind);
    }
    let name = eventually("the console shows one that serves", || world.in_phase("serving").pop());
    let read = |world: &LocalWorld| {
        let folder = world.node(&name).home_folder.clone();
        world.home.call(["cat", &format!("site.demo.localhost/www/{PAGE}")]).env("WEBOS_HOME", folder).run()
    };
    {
        let watch = Watch::new(&world);
        let me = Who::Principal(watch.principal(&name));
        let front = eventually("its front serves", || watch.front(&name).filter(|f| f.phase == Phase::Serving));
        assert!(!front.primary && front.lease_left_ms.is_some(), "{front:?}");
        eventually("it takes traffic", || {
            watch.front(&name).filter(|now| now.bytes > front.bytes && now.requests > front.requests)
        });
        assert!(watch.members().contains(&me));
        read(&world).code_is(0);
        let mut rates = Vec::new();
        while rates.last().is_none_or(|rate| *rate < 1.5 * alone) {
            rates.push(watch.rate(SPAN_BYTES));
            assert!(rates.len() <= MEASUREMENTS as usize, "{alone} bytes/s alone, then {rates:?}");
        }
        let last = rates.last().copied().unwrap_or_default();
        let said =
            format!("alone {:.2} MB/s, with surrogates {:.2} MB/s: {:.2} x", alone / 1e6, last / 1e6, last / alone);
        let _ = writeln!(std::io::stderr(), "measured: {said}");
    }
    world.act("calm", None);
    world.wait_for("calm");
    world.process().wait_for("drained", |event| event["event"] == "drained" && event["node"] == name.as_str());
    let watch = Watch::new(&world);
    eventually("no front is left", || watch.front(&name).is_none().then_some(()));
    let home = Who::Principal(watch.principal("home"));
    eventually("the home alone is a member", || (watch.members() == [home.clone()]).then_some(()));
    read(&world).fails(3, &[&name]);
    let (status, head) = asked(&world, &name);
    assert!(status == "503" && head.contains("webos-elsewhere: ?1"), "{status} {head}");
    eventually("the console shows it idle, without lease and rights", || {
        let state = world.state();
        let node = state["nodes"].as_array()?.iter().find(|node| node["name"] == name.as_str())?.clone();
        let shown = (&node["phase"], &node["lease_remaining_ms"], &node["rights"]);
        (shown == (&json!("idle"), &json!(null), &json!([]))).then_some(())
    });
    world.home.ok(["fetch", &format!("service://site.demo.localhost/{PAGE}")]);
}
