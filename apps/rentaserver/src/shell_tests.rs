use super::*;
use crate::model::Server;
use client::models::{BeatReply, Phase, Report, StartReply};
use std::collections::BTreeMap;
use std::sync::Mutex;
use terms::{BootMs, Principal, Thumbprint, UnixMs};

/// Nodes that serve at once; `dead` never answers anything, `slow` answers each beat late but in time.
struct Nodes {
    started: tokio::time::Instant,
    members: Mutex<BTreeMap<Principal, usize>>,
    running: Mutex<BTreeMap<Principal, bool>>,
    beats: Mutex<BTreeMap<String, usize>>,
    saved: Mutex<Option<SavedState>>,
    unreadable: bool,
}

fn server(name: &str, price: f64) -> Server {
    Server {
        principal: format!("spiffe://lab.example/server/{name}").parse().expect("valid"),
        key: Thumbprint([1; 32]),
        address: "127.0.0.1:1".into(),
        place: None,
        power: 1.0,
        price,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no test panics with it")
}

impl Nodes {
    fn new() -> Self {
        #[allow(clippy::disallowed_methods)] // the runtime's paused clock is the simulated one here
        let started = tokio::time::Instant::now();
        Self {
            started,
            members: Mutex::default(),
            running: Mutex::default(),
            beats: Mutex::default(),
            saved: Mutex::default(),
            unreadable: false,
        }
    }

    async fn pass(&self, server: &Server) {
        match server.principal.name.as_str() {
            "dead" => std::future::pending().await,
            "slow" => tokio::time::sleep(BEAT_WITHIN - Duration::from_millis(100)).await,
            _ => {}
        }
    }

    fn running(&self, server: &Server, ticket: bool) -> BeatAnswer {
        let mut running = lock(&self.running);
        let Some(serves) = running.get_mut(&server.principal) else { return BeatAnswer::NotRunning };
        *serves |= ticket;
        let phase = if *serves { Phase::Serving } else { Phase::Ready };
        BeatAnswer::Running(BeatReply {
            phase,
            ticket: Ticket(self.now().boot.0),
            renewed: ticket,
            lease_left_ms: 0,
            in_flight: 0,
            report: Report::default(),
        })
    }
}

impl Field for Nodes {
    fn now(&self) -> Now {
        let elapsed = self.started.elapsed();
        Now { boot: BootMs(1_000).plus(elapsed), unix: UnixMs(1_000_000).plus(elapsed) }
    }
    async fn load(&self) -> Result<Option<SavedState>, Failure> {
        if self.unreadable { Err(Failure("damaged".into())) } else { Ok(lock(&self.saved).clone()) }
    }
    async fn save(&self, state: SavedState) -> Result<(), Failure> {
        *lock(&self.saved) = Some(state);
        Ok(())
    }
    async fn offers(&self) -> Result<Vec<Server>, Failure> {
        Ok(vec![server("dead", 0.0), server("quick", 1.0), server("slow", 2.0)])
    }
    async fn publish(&self, _: Publication) -> Result<(), Failure> {
        Ok(())
    }
    async fn grant(&self, server: &Server, _: Duration) -> Result<(), Failure> {
        *lock(&self.members).entry(server.principal.clone()).or_default() += 1;
        Ok(())
    }
    async fn remove(&self, server: &Server) -> Result<(), Failure> {
        lock(&self.members).remove(&server.principal);
        Ok(())
    }
    async fn start(&self, server: &Server, _: Epoch, _: Duration, _: RightToServe) -> Result<StartAnswer, Failure> {
        self.pass(server).await;
        lock(&self.running).insert(server.principal.clone(), false);
        let ticket = Ticket(self.now().boot.0);
        Ok(StartAnswer::Accepted(StartReply { phase: Phase::Ready, ticket }))
    }
    async fn beat(&self, server: &Server, _: Epoch, renewal: Option<Renewal>) -> Result<BeatAnswer, Failure> {
        *lock(&self.beats).entry(server.principal.name.to_string()).or_default() += 1;
        self.pass(server).await;
        Ok(self.running(server, renewal.is_some()))
    }
    async fn drain(&self, server: &Server, _: Epoch, _: Duration) -> Result<BeatAnswer, Failure> {
        self.pass(server).await;
        lock(&self.running).remove(&server.principal);
        Ok(BeatAnswer::NotRunning)
    }
}

fn settings() -> Settings {
    let service = "service://site.lab.example".parse().expect("valid");
    let mut settings = Settings::new(service, vec![server("home", 0.0)], 200.0, 4);
    settings.min_servers = 3;
    settings
}

#[tokio::test(start_paused = true)]
async fn a_dead_surrogate_delays_nobody_and_a_stop_returns_all() {
    let nodes = Arc::new(Nodes::new());
    lock(&nodes.running).insert(server("home", 0.0).principal, true);
    let (tell, mut notices) = mpsc::channel(1_000);
    let (stop, stopped) = watch::channel(None);
    let daemon = tokio::spawn(run(nodes.clone(), settings(), tell, stopped));
    let mut serving = 0;
    while serving < 2 {
        let notice = notices.recv().await.expect("the daemon runs");
        serving += usize::from(matches!(notice, Notice::Recruited { .. }));
        assert!(nodes.now().boot < BootMs(60_000), "it takes too long: {notice}");
    }
    let before = lock(&nodes.beats).clone();
    let from = nodes.now().boot;
    while nodes.now().boot.since(from) < Duration::from_secs(30) {
        notices.recv().await.expect("renewals go on");
    }
    let beats = |name: &str| lock(&nodes.beats)[name] - before[name];
    assert!((27..=33).contains(&beats("quick")), "each second: {}", beats("quick"));
    assert!((27..=33).contains(&beats("home")), "each second: {}", beats("home"));
    assert!(beats("slow") >= 25, "late but in time: {}", beats("slow"));
    assert_eq!(lock(&nodes.saved).as_ref().map(|state| state.borrowed.len() >= 2), Some(true));

    stop.send(Some(Duration::from_secs(1))).expect("it listens");
    daemon.await.expect("no panic").expect("a clean end");
    assert!(lock(&nodes.members).is_empty(), "no rights are left");
    assert_eq!(lock(&nodes.running).len(), 1, "only the primary runs");
}

#[tokio::test(start_paused = true)]
async fn who_reads_no_notices_stops_nothing() {
    let nodes = Arc::new(Nodes::new());
    let (tell, notices) = mpsc::channel(1);
    let (stop, stopped) = watch::channel(None);
    let daemon = tokio::spawn(run(nodes.clone(), settings(), tell, stopped));
    let deadline = timeout(Duration::from_secs(60), async {
        while lock(&nodes.running).values().filter(|serves| **serves).count() < 2 {
            tokio::task::yield_now().await;
            tokio::time::advance(Duration::from_millis(50)).await;
        }
    });
    deadline.await.expect("two serve though nobody listens");
    drop(notices);
    drop(stop);
    daemon.await.expect("no panic").expect("without a way to be stopped it ends");
}

#[tokio::test(start_paused = true)]
async fn it_does_not_start_on_what_it_cannot_read() {
    let (tell, _notices) = mpsc::channel(1);
    let (_stop, stopped) = watch::channel(None);
    let damaged = Arc::new(Nodes { unreadable: true, ..Nodes::new() });
    let error = run(damaged, settings(), tell.clone(), stopped.clone()).await.expect_err("no state");
    assert!(matches!(error, DaemonError::State(Failure(why)) if why == "damaged"));
    let impossible = Settings { max_servers: 0, ..settings() };
    let error = run(Arc::new(Nodes::new()), impossible, tell, stopped).await.expect_err("no servers");
    assert!(matches!(error, DaemonError::Settings(_)));
}
