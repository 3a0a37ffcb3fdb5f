use super::super::rights::Desk;
use super::*;
use crate::args::LinkRate;
use crate::console::model::Phase;
use crate::console::{Action, ConsoleEvent, Theatre};
use crate::up::stage::{Frame, Stage};
use crate::up::world::LocalWorld;
use client::Folder;
use std::os::unix::fs::PermissionsExt;
use tokio::sync::broadcast;

/// Says it is ready where it is told to listen, tells one thing if it is the home, and ends with its input.
const NODE: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in --home) home=$2; shift;; --listen=*) at=${1#--listen=};; esac
  shift
done
name=${home##*/}
echo "{\"event\":\"ready\",\"principal\":\"spiffe://demo.localhost/server/$name\",\"address\":\"$at\"}"
n1=spiffe://demo.localhost/server/n1
if [ "$name" = home ]; then
  for _ in 1 2; do
    echo "{\"event\":\"notice\",\"text\":\"n1: asked\",\"notice\":{\"event\":\"recruiting\",\"server\":\"$n1\"}}"
  done
  echo "{\"event\":\"notice\",\"text\":\"n1: serves\",\"notice\":{\"event\":\"recruited\",\"server\":\"$n1\"}}"
  for _ in 1 2; do
    echo "{\"event\":\"notice\",\"text\":\"n1: renewed\",\"notice\":{\"event\":\"renewed\",\"server\":\"$n1\"}}"
  done
fi
exec cat
"#;
const SOON: Duration = Duration::from_secs(30);

struct AtOnce;

impl Fetch for AtOnce {
    fn fetch<'a>(&'a self, _: &'a VolumePath) -> BoxFuture<'a, Result<u64, Problem>> {
        Box::pin(async {
            tokio::task::yield_now().await;
            Ok(1)
        })
    }
}

struct Scene {
    _dir: tempfile::TempDir,
    stage: Stage,
    events: broadcast::Receiver<ConsoleEvent>,
    stop: CancellationToken,
    tasks: TaskTracker,
    running: tokio::task::JoinHandle<Summary>,
}

impl Scene {
    /// A home and one lent node, both scripts.
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let program = dir.path().join("node");
        std::fs::write(&program, NODE).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("mine");
        let (world, names) = (World::real(), Names::new(1).expect("constant"));
        let person = Folder::new(dir.path().join("person"));
        let (local, _) = LocalWorld::open(&person, names.clone(), None, &world).expect("made");
        let (tell, tales) = mpsc::channel(INBOX);
        let (tasks, book) = (TaskTracker::new(), Book::new(&world));
        let events = book.subscribe();
        let launcher = Launcher::new(program, &local, LinkRate(None), tell, tasks.clone());
        let mut seats = Vec::new();
        for name in &names.nodes {
            let child = launcher.start(name, None).await.expect("started").child;
            seats.push(Seat::new(name.clone(), names.node(name), name == names.home(), child));
        }
        let arms: Arms = Box::new(|clients| {
            let readers = (0..clients).map(|_| Arc::new(AtOnce) as Arc<dyn Fetch>).collect();
            let files = vec![VolumePath::new("a").expect("valid")];
            Box::pin(async move { Ok((readers, files)) })
        });
        let client = Client::open(person, world.clone()).expect("opens");
        let desk = Desk { client: client.clone(), names: names.clone(), folders: Vec::new() };
        let parts = Parts {
            world: world.clone(),
            names: names.clone(),
            client,
            launcher,
            seats,
            tales,
            book: book.clone(),
            arms,
            tasks: tasks.clone(),
        };
        let (supervisor, picture, orders) = Supervisor::new(parts);
        let frame = Frame {
            realm: names.realm.clone(),
            service: names.service.clone(),
            started: world.clock.unix(),
            link: "none".into(),
            goal_ms: 200.0,
        };
        let stage = Stage { frame, picture, book, orders, world, desk };
        let stop = CancellationToken::new();
        let running = tokio::spawn(supervisor.run(stop.clone()));
        Self { _dir: dir, stage, events, stop, tasks, running }
    }

    async fn event(&mut self, kind: EventKind) -> ConsoleEvent {
        timeout(SOON, async {
            loop {
                let event = self.events.recv().await.expect("told");
                if event.kind == kind {
                    return event;
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("no {kind:?}"))
    }

    async fn act(&self, action: Action) -> Result<String, Problem> {
        timeout(SOON, self.stage.act(action)).await.expect("soon")
    }

    async fn end(self) -> Summary {
        self.stop.cancel();
        let summary = timeout(SOON, self.running).await.expect("soon").expect("ended");
        self.tasks.close();
        timeout(SOON, self.tasks.wait()).await.expect("no process is left");
        summary
    }
}

fn label(text: &str) -> Label {
    Label::new(text).expect("valid")
}

#[tokio::test]
async fn what_the_home_tells_becomes_events_and_a_lease_is_told_once() {
    let mut scene = Scene::new().await;
    assert_eq!(scene.event(EventKind::Recruited).await.node, Some(label("n1")));
    assert_eq!(scene.event(EventKind::Serving).await.node, Some(label("n1")));
    scene.event(EventKind::Lease).await;
    let state = scene.stage.snapshot();
    assert_eq!(state.nodes.len(), 2);
    assert!(state.nodes.iter().all(|node| node.pid.is_some()));
    assert_eq!(state.events.iter().filter(|event| event.kind == EventKind::Lease).count(), 1);
    let summary = scene.end().await;
    assert_eq!((summary.recruits, summary.broken), (1, 0), "asked twice, served once");
}

#[tokio::test]
async fn a_node_is_killed_and_revived() {
    let mut scene = Scene::new().await;
    let before = scene.stage.snapshot().nodes[1].pid;
    assert_eq!(scene.act(Action::Revive(label("n1"))).await.expect_err("runs").code, Code::Conflict);
    assert!(scene.act(Action::Kill(label("n1"))).await.expect("killed").contains("was killed"));
    assert_eq!(scene.event(EventKind::Killed).await.node, Some(label("n1")));
    assert_eq!(scene.act(Action::Kill(label("n1"))).await.expect_err("gone").code, Code::Conflict);
    assert_eq!(scene.act(Action::Kill(label("n9"))).await.expect_err("nobody").code, Code::NotFound);
    let mut seen = scene.stage.picture.clone();
    let gone = seen.wait_for(|picture| picture.nodes[1].0.pid.is_none());
    let node = timeout(SOON, gone).await.expect("soon").expect("drawn").nodes[1].0.clone();
    assert_eq!((node.phase, node.rights), (Phase::Down, Vec::new()));
    assert!(scene.act(Action::Revive(label("n1"))).await.expect("revived").contains("n1 is back"));
    let after = scene.stage.snapshot().nodes[1].clone();
    assert!(after.pid.is_some() && after.pid != before);
    assert!(scene.act(Action::Kill(label("home"))).await.expect("killed").contains("nothing can change"));
    assert_eq!(scene.end().await.broken, 0, "a person wanted it");
}

#[tokio::test]
async fn a_node_that_ends_by_itself_is_told_of_and_counted() {
    let mut scene = Scene::new().await;
    let pid = scene.stage.snapshot().nodes[1].pid.expect("runs");
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a number");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("ours");
    let event = timeout(SOON, async {
        loop {
            let event = scene.event(EventKind::Down).await;
            if event.text.contains("ended by itself") {
                return event;
            }
        }
    });
    assert_eq!(event.await.expect("soon").node, Some(label("n1")));
    assert_eq!(scene.end().await.broken, 1);
}

#[tokio::test]
async fn load_is_sent_until_calm() {
    let mut scene = Scene::new().await;
    assert_eq!(scene.act(Action::Calm).await.as_deref(), Ok("no load is being sent"));
    scene.act(Action::Surge { clients: 3, seconds: 600 }).await.expect("begun");
    scene.event(EventKind::Surge).await;
    let mut seen = scene.stage.picture.clone();
    let busy = seen.wait_for(|picture| picture.surge.as_ref().is_some_and(|surge| surge.sent > 0));
    assert_eq!(timeout(SOON, busy).await.expect("soon").expect("drawn").surge.as_ref().map(|s| s.clients), Some(3));
    assert!(scene.act(Action::Calm).await.expect("ended").contains("0 failed"));
    scene.event(EventKind::Calm).await;
    assert_eq!(scene.stage.snapshot().surge, None);
    assert_eq!(scene.end().await.errors, 0);
}
