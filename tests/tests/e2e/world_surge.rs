//! Surge: a surrogate is recruited, takes traffic, more is served; calm: it is drained and has no rights left.

use serde_json::{Value, json};
use std::fs;
use webos_tests::{Home, LocalWorld, eventually};

fn start() -> LocalWorld {
    let home = Home::new();
    let site = home.beside().join("site");
    fs::create_dir(&site).expect("made");
    for index in 0..20 {
        fs::write(site.join(format!("page{index}.html")), "x".repeat(200 << 10)).expect("written");
    }
    LocalWorld::start(home, &["site", "--link", "20mbit", "--stabilization", "5s"])
}

fn bytes_per_s(world: &LocalWorld, name: Option<&str>) -> f64 {
    let state = world.state();
    let rate = |value: &Value| value["bytes_per_s"].as_f64().unwrap_or(0.0);
    match name {
        None => rate(&state["totals"]),
        Some(name) => {
            let nodes = state["nodes"].as_array().expect("nodes");
            nodes.iter().find(|node| node["name"] == name).map_or(0.0, rate)
        }
    }
}

#[test]
fn load_brings_surrogates_and_calm_sends_them_away() {
    let world = start();
    world.act("surge", Some(&json!({"clients": 40, "seconds": 600})));
    let alone = eventually("the home's link is full", || {
        let rate = bytes_per_s(&world, None);
        (rate > 1.5e6 && world.in_phase("serving").is_empty()).then_some(rate)
    });
    let name = eventually("a surrogate serves", || world.in_phase("serving").pop());
    eventually("it takes traffic", || (bytes_per_s(&world, Some(&name)) > 0.0).then_some(()));
    eventually("more is served in all", || (bytes_per_s(&world, None) >= 1.5 * alone).then_some(()));
    world.act("calm", None);
    eventually("all are returned", || world.in_phase("serving").is_empty().then_some(()));
    let folder = world.node(&name).home_folder.clone();
    eventually("nothing is left of its rights", || {
        let read = world.home.call(["cat", "site.demo.localhost/www/page0.html"]).env("WEBOS_HOME", &folder).run();
        (read.code == Some(3)).then_some(())
    });
    let state = world.state();
    let node = state["nodes"].as_array().and_then(|all| all.iter().find(|node| node["name"] == name.as_str()));
    let node = node.expect("it is still there, idle");
    assert_eq!(node["lease_remaining_ms"], Value::Null, "{node}");
    world.home.ok(["fetch", "service://site.demo.localhost/page0.html"]);
}
