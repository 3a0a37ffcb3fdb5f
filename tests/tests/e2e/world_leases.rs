//! What a lease's end takes from a surrogate, an honest and a hostile one: serving, reading, and being believed.

use client::{Client, Folder};
use discovery::smart::{FileStream, SmartClient};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use terms::{Code, ServiceName, VolumePath};
use webos_tests::{Home, LocalWorld, eventually};
use wire::{Body, Handler, HandlerFuture, Peer, Recheck, Server};
use world::World;

const PAGE: &str = "page0.html";

fn start() -> LocalWorld {
    let home = Home::new();
    let site = home.beside().join("site");
    std::fs::create_dir(&site).expect("made");
    for index in 0..20 {
        std::fs::write(site.join(format!("page{index}.html")), format!("{index}").repeat(64 << 10))
            .expect("written");
    }
    LocalWorld::start(home, &["site", "--link", "40mbit"])
}

/// What a front answers for a page of the service to somebody who asks exactly it.
fn asked(world: &LocalWorld, name: &str) -> (u16, String) {
    let port = world.node(name).url.rsplit(':').next().expect("a port").trim_end_matches('/').to_string();
    let output = Command::new("curl")
        .args(["--silent", "--insecure", "--max-time", "10", "--write-out", "\n%{http_code}", "--resolve"])
        .arg(format!("site.service.demo.localhost:{port}:127.0.0.1"))
        .arg(format!("https://site.service.demo.localhost:{port}/{PAGE}"))
        .output()
        .expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    (status.parse().unwrap_or(0), body.to_string())
}

/// Reads a page at the home with the keys of a node.
fn read_as(world: &LocalWorld, name: &str) -> webos_tests::Output {
    let folder = world.node(name).home_folder.clone();
    world.home.call(["cat", &format!("site.demo.localhost/www/{PAGE}")]).env("WEBOS_HOME", folder).run()
}

#[test]
fn without_its_lease_a_surrogate_neither_serves_nor_reads() {
    let world = start();
    read_as(&world, "n1").fails(3, &["n1"]);
    let name = world.surge_until(1).remove(0);
    world.act("calm", None);
    eventually("it serves", || (asked(&world, &name).0 == 200).then_some(()));
    read_as(&world, &name).code_is(0);
    // Nobody renews its lease any more.
    world.signal("home", Signal::STOP);
    let (status, said) =
        eventually("its lease ends", || Some(asked(&world, &name)).filter(|(status, _)| *status != 200));
    assert_eq!(status, 503, "{said}");
    world.signal("home", Signal::CONT);
    // The home takes it back, and returns it when it has been calm for a while: then nothing is left.
    eventually("it is returned", || world.in_phase("serving").is_empty().then_some(()));
    eventually("its rights are gone", || (read_as(&world, &name).code == Some(3)).then_some(()));
    assert_eq!(asked(&world, &name).0, 503);
}

/// Answers everything with bytes of its own, under a surrogate's real keys, lease or not.
struct Hostile {
    asked: AtomicU64,
}

impl Handler for Hostile {
    fn handle(
        &self,
        request: http::Request<hyper::body::Incoming>,
        _peer: Option<Arc<Peer>>,
        _from: SocketAddr,
    ) -> HandlerFuture {
        if !request.uri().path().starts_with("/.webos/") {
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        let response = http::Response::builder()
            .header("etag", format!("\"{}\"", "0".repeat(64)))
            .header("content-length", 6)
            .header("webos-load", "inflight=0.0, rps=0.0, bps=0.0, latency=0.1, waiting=0")
            .body(wire::body::full("forged"));
        Box::pin(async move { response.expect("well-formed") as http::Response<Body> })
    }
}

async fn page(smart: &SmartClient, name: &str) -> (Vec<u8>, BTreeMap<String, u64>) {
    let path = VolumePath::new(name).expect("valid");
    let mut stream =
        FileStream::open(smart, &path, Duration::from_secs(30), &mut |_| {}).await.expect("somebody serves");
    let mut content = Vec::new();
    while let Some(block) = stream.next(&mut |_| {}).await.expect("somebody serves") {
        content.extend_from_slice(&block);
    }
    let blocks = stream.counts().iter().map(|count| (count.server.clone(), count.blocks)).collect();
    (content, blocks)
}

#[test]
fn a_hostile_surrogate_is_not_believed_and_after_its_lease_not_asked() {
    let world = start();
    let name = world.surge_until(1).remove(0);
    world.act("calm", None);
    let real = World::real();
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let person = Client::open(Folder::new(world.home.path()), real.clone()).expect("an identity");
    let service: ServiceName = world.service.parse().expect("a service");
    let opening = SmartClient::open(&real, person.pool().clone(), person.trust().clone(), service, None);
    let smart = runtime.block_on(opening).expect("found");
    let uses = || runtime.block_on(page(&smart, PAGE));
    eventually("the surrogate is used", || (uses().1.get(&name) > Some(&0)).then_some(()));

    // Its process is replaced by a hostile one with its keys, at its address.
    let node = world.node(&name).clone();
    let address = node.url.rsplit("//").next().expect("an authority").trim_end_matches('/').to_string();
    let port: u16 = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    world.act(&format!("nodes/{name}/kill"), None);
    let itself = Client::open(Folder::new(&node.home_folder), real.clone()).expect("its real keys");
    let identity = itself.identity().expect("a node's").clone();
    let hostile = Arc::new(Hostile { asked: AtomicU64::new(0) });
    let listener = eventually("its port is free", || {
        runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", port))).ok()
    });
    let check = Arc::new(itself.trust().clone());
    let guard = runtime.enter();
    let server =
        Server::start(&real, listener, &identity.credentials(), check, hostile.clone(), &Recheck::default())
            .expect("started");
    drop(guard);

    // While it may still be asked, nothing that it says is believed.
    let whole = "0".repeat(64 << 10);
    let volume = "site.demo.localhost".parse().expect("valid");
    let path = VolumePath::new(&format!("www/{PAGE}")).expect("valid");
    let reads = || {
        runtime.block_on(async {
            let files = itself.volume(&volume).await?;
            files.read(&path, 1 << 20).await.map(drop)
        })
    };
    eventually("its rights to read are over", || {
        assert!(uses().0 == whole.as_bytes(), "never a forged byte");
        reads().err().filter(|problem| problem.code == Code::Denied)
    });
    eventually("the table does not show it", || {
        assert!(uses().0 == whole.as_bytes(), "never a forged byte");
        let status = world.home.call(["service", "status", "--json", &world.service]).run().json();
        let servers = status["servers"].as_array().expect("servers").iter();
        let active = servers.filter(|s| s["active_for_ms"].as_u64() > Some(0));
        (!active.filter_map(|s| s["server"].as_str()).any(|s| s.ends_with(&format!("/{name}")))).then_some(())
    });
    // A table counts for five seconds; after that nobody asks it any more.
    let clock = &real.clock;
    let (calm, end) = (clock.boot().plus(Duration::from_secs(6)), clock.boot().plus(Duration::from_secs(10)));
    let mut before = None;
    while clock.boot() < end {
        assert!(uses().0 == whole.as_bytes(), "never a forged byte");
        if clock.boot() >= calm {
            before.get_or_insert(hostile.asked.load(Ordering::Relaxed));
        }
    }
    assert_eq!(before, Some(hostile.asked.load(Ordering::Relaxed)), "it is not asked any more");
    assert_eq!(reads().expect_err("refused").code, Code::Denied);
    runtime.block_on(server.shutdown());
}
