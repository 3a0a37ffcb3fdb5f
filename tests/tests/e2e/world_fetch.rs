//! Downloads from a local world while servers are killed: whole, spliced, nothing fetched twice beyond a block.

use crate::watch::Watch;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use webos_tests::{Home, LocalWorld, Talking, eventually};
use world::{Entropy, SimulatedEntropy, World};

const BLOCK: u64 = 1 << 20;
/// The file's length: not a whole number of blocks.
const SIZE: usize = (12 << 20) + 12_345;

/// A world over a folder with one file large enough to be killed in the middle of, on links narrow enough.
fn start() -> (LocalWorld, Vec<u8>) {
    let home = Home::new();
    let site = home.beside().join("site");
    fs::create_dir(&site).expect("made");
    let content: Vec<u8> = (0..SIZE).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    fs::write(site.join("big.bin"), &content).expect("written");
    for index in 0..20 {
        fs::write(site.join(format!("page{index}.html")), "x".repeat(64 << 10)).expect("written");
    }
    (LocalWorld::start(home, &["site", "--link", "40mbit"]), content)
}

fn fetch(world: &LocalWorld, to: &Path) -> Talking {
    let words = ["fetch", "--json", "service://site.demo.localhost/big.bin", "-o"];
    let words = words.iter().map(PathBuf::from).chain([to.to_path_buf()]);
    Talking::start(world.home.call(words).into_command(), false)
}

/// Waits until a front has sent so many bytes of the body that it is sending; its node, if that is a surrogate.
fn sender(watch: &Watch<'_>, world: &LocalWorld, after: u64, to: &Path) -> Option<String> {
    eventually("a front sends", || {
        // Who has sent the whole file already was missed.
        let missed = to.exists();
        let sends = |name: &&str| watch.front(name).is_some_and(|front| front.sending >= after && front.bytes > 0);
        let found = world.nodes.iter().map(|node| node.name.as_str()).find(sends);
        (missed || found.is_some()).then_some(found)
    })
    .filter(|name| *name != "home")
    .map(String::from)
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process number");
    kill_process(pid, Signal::KILL).expect("it runs");
}

fn sum(done: &Value, field: &str) -> u64 {
    done["servers"].as_array().expect("servers").iter().filter_map(|share| share[field].as_u64()).sum()
}

/// One download with a kill after so many bytes; false if no surrogate was sending in the middle of the file then.
fn round(watch: &Watch<'_>, world: &LocalWorld, content: &[u8], after: u64) -> bool {
    let pids: BTreeMap<String, u32> =
        world.nodes.iter().filter_map(|node| Some((node.name.clone(), world.pid(&node.name)?))).collect();
    let to = world.home.beside().join("got.bin");
    let _ = fs::remove_file(&to);
    let mut fetching = fetch(world, &to);
    let killed = sender(watch, world, after, &to).map(|name| {
        kill(pids[&name]);
        // What is here when the process is gone: with more than a block missing it was the middle.
        let here = fs::metadata(to.with_extension("bin.part")).map_or(u64::MAX, |part| part.len());
        (name, here.saturating_add(2 * BLOCK) < SIZE as u64)
    });
    let done = fetching.wait_for("the end", |event| event["event"] == "done");
    assert_eq!(fetching.end(), Some(0));
    assert!(fs::read(&to).expect("there") == content, "the digest is equal");
    assert!(sum(&done, "discarded") <= BLOCK, "nothing twice beyond one block: {done}");
    assert_eq!(sum(&done, "received") - sum(&done, "discarded"), SIZE as u64, "{done}");
    let Some((name, middle)) = killed else { return false };
    world.revive(&name);
    if middle {
        say(&format!("killed {name} after {after} bytes: {}", done["servers"]));
        let left = |event: &Value| event["event"] == "left" && event["server"] == name.as_str();
        assert!(fetching.heard().iter().any(left), "it was sending to this download: {:?}", fetching.heard());
        let gave = |share: &&Value| share["blocks"].as_u64() > Some(0);
        let gave: Vec<&Value> = done["servers"].as_array().expect("servers").iter().filter(gave).collect();
        assert!(gave.len() >= 2, "the body came from two servers: {done}");
        assert!(gave.iter().any(|share| share["server"] == name.as_str()), "one of them is the killed one: {done}");
    }
    middle
}

/// Past the harness, which keeps what successful tests print to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[test]
fn a_surrogate_killed_in_the_middle_of_its_body_is_spliced_over() {
    let (world, content) = start();
    let kills = if std::env::var_os("WEBOS_SOAK").is_some() { 20 } else { 3 };
    let given = std::env::var("WEBOS_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| World::real().entropy.number());
    say(&format!("offsets of the kills by WEBOS_SEED={seed}"));
    let offsets = SimulatedEntropy::new(seed);
    let watch = Watch::new(&world);
    let (mut done, mut rounds) = (0, 0);
    while done < kills {
        world.surge_until(2);
        world.act("calm", None);
        // Servers are returned only after a while of calm: until then the same world is good for several rounds.
        while done < kills && world.in_phase("serving").len() >= 2 {
            // Behind the first block: what is not a whole block is thrown away, and shows nothing.
            let after = 3 * BLOCK / 2 + offsets.number() % (SIZE as u64 * 2 / 3);
            done += usize::from(round(&watch, &world, &content, after));
            rounds += 1;
            assert!(rounds < 10 * kills, "{done} kills in {rounds} rounds: surrogates hardly ever send");
        }
    }
}

/// Status and body of a part of the file, from one front, and whether the body ended in order.
fn part(world: &LocalWorld, name: &str, range: &str) -> (String, Vec<u8>, bool) {
    let port = world.node(name).url.rsplit(':').next().expect("a port");
    let authority = format!("site.service.{}:{port}", world.realm);
    let file = world.home.beside().join("part");
    let output = Command::new("curl")
        .args(["--silent", "--insecure", "--max-time", "30", "--write-out", "%{http_code}", "--range", range])
        .args(["--resolve", &format!("{authority}:127.0.0.1"), &format!("https://{authority}/big.bin"), "--output"])
        .arg(&file)
        .output()
        .expect("curl is installed");
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    (status, fs::read(&file).unwrap_or_default(), output.status.success())
}

#[test]
fn without_the_home_cached_ranges_are_served_until_the_lease_ends() {
    let (world, content) = start();
    let name = world.surge_until(1).remove(0);
    world.act("calm", None);
    let range = || part(&world, &name, "3000000-3999999");
    eventually("it is in the surrogate's cache", || (range().0 == "206").then_some(()));
    // A client that was here before knows the service also while its name server is away.
    world.home.ok(["fetch", "service://site.demo.localhost/page0.html"]);
    world.act("nodes/home/kill", None);
    let (wanted, mut served) = (&content[3_000_000..4_000_000], 0);
    let (status, said) = eventually("the lease ends", || match range() {
        (status, body, whole) if status == "206" => {
            // What the lease's end breaks off is short, never wrong, and does not look whole.
            assert!(wanted.starts_with(&body) && whole == (body.len() == wanted.len()), "{} bytes", body.len());
            served += u32::from(whole);
            None
        }
        (status, said, _) => Some((status, said)),
    });
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(status == "503" && said.contains("/server/home"), "it names the home: {status} {said}");
    assert!(served > 0, "what was cached was served");
    say(&format!("without the home {served} parts were served, then: {said}"));
    let to = world.home.beside().join("got.bin");
    let mut fetching = fetch(&world, &to);
    fetching.wait_for("it waits", |event| event["event"] == "waiting");
    world.revive("home");
    fetching.wait_for("the end", |event| event["event"] == "done");
    assert!(fs::read(&to).expect("there") == content, "the digest is equal");
}

#[test]
fn without_the_home_a_download_waits_and_goes_on_when_it_is_back() {
    let (world, content) = start();
    let to = world.home.beside().join("got.bin");
    let mut fetching = fetch(&world, &to);
    fetching.wait_for("some progress", |event| event["have"].as_u64() >= Some(2 * BLOCK));
    world.act("nodes/home/kill", None);
    fetching.wait_for("it waits", |event| event["event"] == "waiting");
    world.revive("home");
    let done = fetching.wait_for("the end", |event| event["event"] == "done");
    assert_eq!(sum(&done, "received") - sum(&done, "discarded"), SIZE as u64, "{done}");
    assert!(fs::read(&to).expect("there") == content, "the digest is equal");
    // A second run has nothing left to do but to look; an interrupted one goes on.
    fs::remove_file(&to).expect("there");
    fs::write(world.home.beside().join("got.bin.part"), &content[..5 << 20]).expect("written");
    let resumed =
        world.home.call(["fetch", "--json", "service://site.demo.localhost/big.bin", "-o", "got.bin"]).run();
    let last = resumed.succeeds().lines().last().map(String::from).expect("a result");
    let last: Value = serde_json::from_str(&last).expect("JSON");
    assert_eq!(last["resumed"].as_u64(), Some(5 << 20), "{last}");
    assert!(fs::read(&to).expect("there") == content);
}

#[test]
fn the_proxy_shows_the_service_to_plain_http() {
    let (world, content) = start();
    let mut proxy =
        Talking::start(world.home.call(["proxy", "--json", "--listen", "127.0.0.1:0"]).into_command(), false);
    let ready = proxy.wait_for("ready", |event| event["event"] == "ready");
    let address = ready["address"].as_str().expect("an address").to_string();
    let port = address.rsplit(':').next().expect("a port");
    let url = |path: &str| format!("http://site.demo.localhost:{port}/{path}");
    let curl = |words: &[&str]| {
        let resolve = format!("site.demo.localhost:{port}:127.0.0.1");
        let all = [&["--silent", "--max-time", "60", "--resolve", &resolve][..], words].concat();
        Command::new("curl").args(all).output().expect("curl is installed").stdout
    };
    assert!(curl(&[&url("big.bin")]) == content);
    assert!(curl(&["--range", "1000000-3000000", &url("big.bin")]) == content[1_000_000..=3_000_000]);
    let status = |words: &[&str]| {
        let all = [&["--output", "/dev/null", "--write-out", "%{http_code}"][..], words].concat();
        String::from_utf8_lossy(&curl(&all)).into_owned()
    };
    assert_eq!(status(&[&url("page0.html")]), "200");
    assert_eq!(status(&["-H", "Origin: http://evil.example", &url("page0.html")]), "403");
    assert_eq!(status(&["-H", "Host: evil.example", &url("page0.html")]), "400");
    assert_eq!(status(&["-H", "Host: 127.0.0.1", &url("page0.html")]), "400");
    assert_eq!(status(&["--request", "POST", &url("page0.html")]), "501");
    assert_eq!(status(&["--path-as-is", &url("%2e%2e/page0.html")]), "400");
    assert!(matches!(status(&[&url("none")]).as_str(), "403" | "404"));
    // A saved file is there at once.
    fs::write(world.home.beside().join("site/page0.html"), "saved").expect("written");
    eventually("the change is served", || (curl(&[&url("page0.html")]) == b"saved").then_some(()));
    proxy.signal(Signal::INT);
    assert_eq!(proxy.end(), Some(0));
}
