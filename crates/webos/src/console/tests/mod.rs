//! The console over real sockets, before a played world: what a page gets, and what everyone else does not.
//! Requests are written byte by byte, because no decent client would send most of them.

mod played;
mod rights;

use crate::console::limits::{MAX_BODY_BYTES, MAX_CONNECTIONS, MAX_HEAD_BYTES, MAX_STREAMS};
use crate::console::model::{Action, Theatre};
use crate::console::server::Console;
use played::Played;
use std::sync::Arc;
use std::time::Duration;
use terms::Label;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::{interval, timeout};
use world::World;

/// Longer than any answer takes; reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(20);

struct Stage {
    console: Console,
    world: Arc<Played>,
}

/// One answer, taken apart.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Stage {
    async fn new() -> Self {
        let world = World::real();
        let played = Arc::new(Played::new(world.clone()));
        let console = Console::start(&world, played.clone(), 0).await.expect("a console");
        Self { console, world: played }
    }

    fn token(&self) -> String {
        self.console.link().split_once("token=").expect("a token").1.to_owned()
    }

    /// The headers that the page's own requests have.
    fn own(&self) -> String {
        let (port, token) = (self.console.port(), self.token());
        format!(
            "Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n\
             Cookie: webos-console-{port}={token}\r\nConnection: close\r\n"
        )
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.console.port())).await.expect("a connection")
    }

    /// Sends bytes as they are and reads until the other side closes.
    async fn raw(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        // The console may answer and close before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end");
        String::from_utf8(answer).expect("text")
    }

    async fn ask(&self, request: &str) -> Answer {
        let text = self.raw(request).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\n{}\r\n", self.own())).await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        let (own, length) = (self.own(), body.len());
        let kind = "Content-Type: application/json";
        self.ask(&format!("POST {path} HTTP/1.1\r\n{own}{kind}\r\nContent-Length: {length}\r\n\r\n{body}")).await
    }
}

#[tokio::test]
async fn the_link_sets_a_strict_cookie_and_the_page_comes_with_its_protection() {
    let stage = Stage::new().await;
    let port = stage.console.port();
    let link = stage.console.link();
    let path = link.strip_prefix(&format!("http://127.0.0.1:{port}")).expect("our own address");
    let entered =
        stage.ask(&format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")).await;
    assert_eq!(entered.status, 303);
    assert!(entered.head.contains("location: /\r\n"), "{}", entered.head);
    let cookie = format!("set-cookie: webos-console-{port}={}; path=/; httponly; samesite=strict", stage.token());
    assert!(entered.head.contains(&cookie.to_lowercase()), "{}", entered.head);
    for path in ["/", "/console.js", "/console.css", "/icon.svg", "/api/state"] {
        let answer = stage.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(answer.head.contains(header), "{path} lacks {header}: {}", answer.head);
        }
    }
}

#[tokio::test]
async fn strangers_are_turned_away() {
    let stage = Stage::new().await;
    let (port, token) = (stage.console.port(), stage.token());
    let host = format!("Host: 127.0.0.1:{port}");
    let cookie = format!("Cookie: webos-console-{port}={token}");
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nHost: evil.example:{port}\r\n{cookie}"), 421),
        (format!("GET /?token={token} HTTP/1.1\r\nHost: 127.0.0.1.evil.example:{port}"), 421),
        (format!("GET / HTTP/1.0\r\n{cookie}"), 421),
        (format!("GET / HTTP/1.1\r\n{host}\r\nHost: evil.example\r\n{cookie}"), 421),
        (format!("GET http://evil.example/ HTTP/1.1\r\n{host}\r\n{cookie}"), 421),
        (format!("GET / HTTP/1.1\r\n{host}\r\n{cookie}\r\nOrigin: http://evil.example"), 403),
        (format!("GET /api/events HTTP/1.1\r\n{host}\r\n{cookie}\r\nOrigin: null"), 403),
        (format!("OPTIONS /api/calm HTTP/1.1\r\n{host}\r\n{cookie}\r\nOrigin: http://127.0.0.1:1"), 403),
        (format!("GET /api/state HTTP/1.1\r\n{host}\r\n{cookie}\r\nSec-Fetch-Site: same-site"), 403),
        (format!("GET / HTTP/1.1\r\n{host}"), 401),
        (format!("GET /console.js HTTP/1.1\r\n{host}"), 401),
        (format!("GET /?token=wrong HTTP/1.1\r\n{host}"), 401),
        (format!("GET /api/state?token={token} HTTP/1.1\r\n{host}"), 401),
        (format!("GET / HTTP/1.1\r\n{host}\r\nCookie: webos-console-1={token}"), 401),
        (format!("POST /api/calm HTTP/1.1\r\n{host}\r\n{cookie}\r\nContent-Length: 0"), 403),
        (format!("POST /api/calm HTTP/1.1\r\n{host}\r\nwebos-token: {token}\r\nContent-Length: 0"), 200),
    ] {
        let answer = stage.ask(&format!("{request}\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{request}: {answer:?}");
        assert!(answer.head.contains("content-security-policy"), "{answer:?}");
        assert!(status == 200 || !answer.body.contains("demo.localhost"), "a refusal tells nothing: {answer:?}");
    }
}

#[tokio::test]
async fn a_visitor_without_token_reads_what_to_do() {
    let stage = Stage::new().await;
    let host = format!("Host: localhost:{}\r\nConnection: close", stage.console.port());
    let plain = stage.ask(&format!("GET / HTTP/1.1\r\n{host}\r\n\r\n")).await;
    assert!(plain.body.contains("Open the console by its link"), "{plain:?}");
    assert!(!plain.head.contains("refresh:"));
    let visit = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate";
    let from_elsewhere = stage.ask(&format!("GET / HTTP/1.1\r\n{host}\r\n{visit}\r\n\r\n")).await;
    assert!(from_elsewhere.head.contains("refresh: 0; url=/"), "{from_elsewhere:?}");
    let program = stage.ask(&format!("GET /api/state HTTP/1.1\r\n{host}\r\n\r\n")).await;
    assert!(program.body.contains(r#""next":"open the link"#), "{program:?}");
}

#[tokio::test]
async fn actions_reach_the_world_and_bad_ones_say_why() {
    let stage = Stage::new().await;
    assert_eq!(stage.post("/api/surge", r#"{"clients":20,"seconds":30}"#).await.status, 200);
    assert_eq!(stage.world.snapshot().surge.map(|surge| surge.clients), Some(20));
    for (body, reason) in [
        (r#"{"clients":0,"seconds":30}"#, "clients is 0; it must be from 1 to 200"),
        (r#"{"clients":201,"seconds":30}"#, "clients is 201"),
        (r#"{"clients":1,"seconds":601}"#, "seconds is 601"),
        (r#"{"clients":-1,"seconds":3}"#, "not understood"),
        (r#"{"clients":1}"#, "missing field"),
        (r#"{"clients":1,"seconds":3,"extra":1}"#, "unknown field"),
        ("", "not understood"),
    ] {
        let answer = stage.post("/api/surge", body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.body.contains(reason), "{body}: {}", answer.body);
    }
    assert_eq!(stage.post("/api/calm", "").await.status, 200);
    assert_eq!(stage.world.snapshot().surge, None);
    assert_eq!(stage.post("/api/nodes/n2/kill", "").await.status, 200);
    assert_eq!(stage.world.snapshot().nodes[2].pid, None);
    assert_eq!(stage.post("/api/nodes/n2/revive", "").await.status, 200);
    assert_eq!(stage.post("/api/nodes/n2/revive", "").await.status, 412);
    assert_eq!(stage.post("/api/nodes/n9/kill", "").await.status, 404);
    assert_eq!(stage.post("/api/nodes/n1/kill", "{}").await.status, 400);
    let form = format!(
        "POST /api/surge HTTP/1.1\r\n{}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}",
        stage.own()
    );
    assert!(stage.ask(&form).await.body.contains("Content-Type"));
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let stage = Stage::new().await;
    for path in [
        "/index.html",
        "/../Cargo.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/console.js/../console.css",
        "/api/nodes/../kill",
        "/api/nodes/n1%2fkill",
    ] {
        assert_eq!(stage.get(path).await.status, 404, "{path}");
    }
    assert_eq!(stage.get("/api/calm").await.status, 405);
    assert_eq!(stage.get("/api/nodes/n1/kill").await.status, 405);
    assert_eq!(stage.post("/api/state", "").await.status, 405);
    assert_eq!(stage.ask(&format!("DELETE / HTTP/1.1\r\n{}\r\n", stage.own())).await.status, 405);
    let head = stage.ask(&format!("HEAD / HTTP/1.1\r\n{}\r\n", stage.own())).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(stage.world.snapshot().nodes.iter().all(|node| node.pid.is_some()));
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_console_lives_on() {
    let stage = Stage::new().await;
    let large = format!(r#"{{"clients":1,"seconds":1,"x":"{}"}}"#, "x".repeat(MAX_BODY_BYTES));
    assert_eq!(stage.post("/api/surge", &large).await.status, 413);
    let chunk = "y".repeat(MAX_BODY_BYTES + 1);
    let chunked = format!(
        "POST /api/calm HTTP/1.1\r\n{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
        stage.own(),
        chunk.len()
    );
    assert_eq!(stage.ask(&chunked).await.status, 413);
    let fat = format!("GET / HTTP/1.1\r\n{}X-Fat: {}\r\n\r\n", stage.own(), "z".repeat(MAX_HEAD_BYTES));
    assert_eq!(stage.ask(&fat).await.status, 431);
    let many = format!("GET / HTTP/1.1\r\n{}{}\r\n", stage.own(), "A: b\r\n".repeat(200));
    assert_eq!(stage.ask(&many).await.status, 431);
    let mut endless = stage.connect().await;
    let megabyte = "a".repeat(1 << 20);
    let mut sent = endless.write_all(b"GET / HTTP/1.1\r\nX-Endless: ").await.is_ok();
    for _ in 0..1024 {
        sent = sent && timeout(PATIENCE, endless.write_all(megabyte.as_bytes())).await.expect("no stall").is_ok();
    }
    assert!(!sent, "a header of 1 GB was taken in");
    assert_eq!(stage.get("/api/state").await.status, 200);
}

/// Reads messages from an event stream.
struct Events(BufReader<TcpStream>);

impl Events {
    async fn open(stage: &Stage) -> (u16, Self) {
        let mut stream = stage.connect().await;
        let request = format!("GET /api/events HTTP/1.1\r\n{}\r\n", stage.own());
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut events = Self(BufReader::new(stream));
        let status = events.line().await.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        while !events.line().await.is_empty() {}
        (status, events)
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("no stall").expect("a line");
        line.trim_end().to_owned()
    }

    /// The data of the next message of this name.
    async fn next(&mut self, name: &str) -> serde_json::Value {
        while self.line().await != format!("event: {name}") {}
        let data = self.line().await;
        serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON")
    }
}

#[tokio::test]
async fn the_stream_gives_all_then_what_is_new_and_happenings_at_once() {
    let stage = Stage::new().await;
    stage.world.tick();
    let (status, mut events) = Events::open(&stage).await;
    assert_eq!(status, 200);
    let first = events.next("state").await;
    assert_eq!(first["history"].as_array().map(Vec::len), Some(1));
    assert_eq!(first["events"].as_array().map(Vec::len), Some(1));
    assert_eq!(first["nodes"][0]["phase"], "home");
    assert_eq!(first["service"], "service://site.demo.localhost");
    stage.world.act(Action::Kill(Label::new("n1").expect("a label"))).await.expect("killed");
    let event = events.next("event").await;
    assert_eq!((&event["kind"], &event["node"], &event["id"]), (&"killed".into(), &"n1".into(), &2.into()));
    let second = events.next("state").await;
    assert_eq!(second["history"].as_array().map(Vec::len), Some(0));
    assert_eq!(second["events"][0]["id"], 2);
    assert_eq!(second["nodes"][1]["phase"], "down");
}

#[tokio::test]
async fn streams_are_bounded_and_a_closed_one_frees_its_place() {
    let stage = Stage::new().await;
    let mut open = Vec::new();
    for _ in 0..MAX_STREAMS {
        let (status, mut events) = Events::open(&stage).await;
        assert_eq!(status, 200);
        events.next("state").await;
        open.push(events);
    }
    assert_eq!(Events::open(&stage).await.0, 429);
    drop(open.pop());
    let freed = async { while Events::open(&stage).await.0 != 200 {} };
    timeout(PATIENCE, freed).await.expect("the place of a closed page is free again");
}

#[tokio::test]
async fn connections_are_bounded() {
    let stage = Stage::new().await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        idle.push(stage.connect().await);
    }
    assert_eq!(stage.get("/api/state").await.status, 0, "closed without an answer");
    idle.clear();
    let served = async { while stage.get("/api/state").await.status != 200 {} };
    timeout(PATIENCE, served).await.expect("places are free again");
}

#[tokio::test]
async fn a_taken_port_makes_it_take_the_next_and_shutdown_frees_it() {
    let stage = Stage::new().await;
    let taken = stage.console.port();
    let world = World::real();
    let second = Console::start(&world, stage.world.clone(), taken).await.expect("another port");
    assert!(second.port() > taken);
    let (_, mut events) = Events::open(&stage).await;
    events.next("state").await;
    let Stage { console, world: played } = stage;
    timeout(PATIENCE, console.shutdown()).await.expect("an open page does not keep the console up");
    let again = Console::start(&world, played, taken).await.expect("the freed port");
    assert_eq!(again.port(), taken);
}

/// For looking at the page: `cargo test -p webos play_for_a_browser -- --ignored --nocapture`, with standard
/// input left open. Prints the link; ends with standard input.
#[tokio::test]
#[ignore = "serves until standard input ends; for a person or tests/browser"]
async fn play_for_a_browser() {
    let stage = Stage::new().await;
    println!("{}", stage.console.link());
    let mut ticks = interval(Duration::from_secs(1));
    let mut input_ends = spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    loop {
        tokio::select! {
            _ = ticks.tick() => stage.world.tick(),
            _ = &mut input_ends => break,
        }
    }
    stage.console.shutdown().await;
}
