//! The local world: a realm, a home, lent nodes and a service, each node its own process, supervised from here.
//!
//! It is the same code and configuration as so many machines would run; this module only makes their folders, starts
//! them, feeds them with a folder, shows them on the console, and ends them.

mod arms;
mod child;
mod follow;
mod heard;
mod kept;
mod launch;
mod limits;
mod lock;
mod meter;
mod mirror;
mod print;
mod purge;
mod renew;
mod rights;
mod sample;
mod scan;
mod seat;
mod site;
mod stage;
mod start;
mod supervisor;
mod surge;
mod world;

use crate::args::{Down, UpArgs};
use crate::console::{Console, ConsoleError, ConsoleEvent, EventKind};
use crate::output::{Failure, Out, Outcome};
use crate::run::Setup;
use client::Folder;
use lock::Lock;
use print::{NodeLine, Ready, Stand};
use rights::Desk;
use stage::{Book, Frame, Stage};
use start::Started;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use supervisor::{Parts, Summary, Supervisor};
use terms::{Code, Problem};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use world::Names;

/// What asks this process to end.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> Result<Self, Problem> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Problem::new(Code::Internal, format!("signals cannot be received: {error}")))
        };
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// `webos up`: brings the local world up and keeps it until Ctrl-C, SIGTERM or the end of its time. Looks after
/// signals itself.
pub async fn up(setup: &Setup, out: &mut Out, arguments: &UpArgs) -> Outcome {
    let mut signals = Signals::new()?;
    crate::home::make(setup.folder.path())?;
    let dir = start::chosen(arguments.dir.as_deref(), &setup.folder)?;
    let lock = Lock::take(&setup.folder, setup.world.clock.unix())?;
    let names = names(setup)?;
    if arguments.fresh {
        purge::purge(&setup.folder, &names, &lock)?;
    }
    let (book, tasks) = (Book::new(&setup.world), TaskTracker::new());
    let wishes = (dir, arguments.stabilization);
    let started = tokio::select! {
        started = start::start(setup, out, wishes, &book, &tasks) => started.map_err(Failure::from),
        () = signals.next() => Err(Failure::Interrupted),
    };
    let outcome = match started {
        Ok(started) => run(setup, out, arguments.duration, started, book, &tasks, &mut signals).await,
        Err(failure) => Err(failure),
    };
    // Every node has an owner among the tasks: when they have ended, no process is left.
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = signals.next() => out.note("not waiting any longer: nodes that still run are killed"),
    }
    drop(lock);
    outcome
}

fn names(setup: &Setup) -> Result<Names, Problem> {
    Names::new(setup.settings.surrogates.value).map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

async fn run(
    setup: &Setup,
    out: &mut Out,
    length: Option<Duration>,
    started: Started,
    book: Book,
    tasks: &TaskTracker,
    signals: &mut Signals,
) -> Outcome {
    let Started { local, dir, client, launcher, seats, tales, follower, site, synced } = started;
    let mut events = book.subscribe();
    let names = local.names().clone();
    let nodes = seats.iter().map(|seat| node_line(&local, seat)).collect::<Vec<_>>();
    let files = site.sizes().await?;
    let arms = arms::arms(&client, &site, &names.service);
    let desk = desk(&client, &local);
    let parts = Parts {
        world: setup.world.clone(),
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
    let (frame, world) = (frame(setup, &names), setup.world.clone());
    let stage = Stage { frame, picture, book: book.clone(), orders, world, desk };
    let console = console(setup, out, stage).await?;
    book.record(EventKind::Started, None, format!("the local world {} is up", names.realm));
    let ready = Ready {
        event: "ready",
        console: console.link(),
        realm: names.realm.to_string(),
        home: setup.folder.path().to_path_buf(),
        service: names.service.to_string(),
        nodes,
    };
    let stand = Stand {
        names: &names,
        dir: &dir,
        home: &setup.settings.home,
        files: &files,
        left_out: synced.left_out,
        link: setup.settings.link.value.to_string(),
        port: console.port(),
        ssh: std::env::var("SSH_CONNECTION").ok(),
        program: program(),
    };
    let stop = CancellationToken::new();
    let supervising = tasks.spawn(supervisor.run(stop.child_token()));
    tasks.spawn(follower.run(stop.child_token()));
    let said = match print::ready(out, &ready, &stand) {
        Ok(()) => watch(out, &mut events, length, signals).await,
        failed => failed,
    };
    stop.cancel();
    console.shutdown().await;
    let summary = supervising
        .await
        .map_err(|error| Problem::new(Code::Internal, format!("the supervisor broke: {error}")))?;
    said?;
    finish(out, summary, length.is_some())
}

/// For the console's questions about rights.
fn desk(client: &client::Client, local: &world::LocalWorld) -> Desk {
    let names = local.names().clone();
    let folders = names.nodes.iter().map(|name| (name.clone(), local.folder(name))).collect();
    Desk { client: client.clone(), names, folders }
}

/// What the console shows that never changes.
fn frame(setup: &Setup, names: &Names) -> Frame {
    Frame {
        realm: names.realm.clone(),
        service: names.service.clone(),
        started: setup.world.clock.unix(),
        link: setup.settings.link.value.to_string(),
        goal_ms: f64::from(limits::GOAL_MS),
    }
}

fn node_line(local: &world::LocalWorld, seat: &seat::Seat) -> NodeLine {
    NodeLine {
        name: seat.name.clone(),
        pid: seat.child.as_ref().map_or(0, |child| child.pid),
        url: format!("https://{}", seat.address),
        home_folder: local.folder(&seat.name).path().to_path_buf(),
    }
}

async fn console(setup: &Setup, out: &Out, stage: Stage) -> Result<Console, Problem> {
    let wished = setup.settings.console_port.value;
    let console = Console::start(&setup.world, Arc::new(stage), wished).await.map_err(|error: ConsoleError| {
        Problem::new(Code::Unavailable, error.to_string()).next("name a free port with --console-port")
    })?;
    if wished != 0 && console.port() != wished {
        out.note(&format!("port {wished} is taken; the console is at port {}", console.port()));
    }
    Ok(console)
}

fn program() -> String {
    let running = std::env::current_exe().unwrap_or_else(|_| Path::new("webos").to_path_buf());
    let here = std::env::current_dir().unwrap_or_default();
    print::program(&here, std::env::var_os("PATH").as_deref(), &running)
}

/// Prints what happens until it is time to end.
async fn watch(
    out: &mut Out,
    events: &mut broadcast::Receiver<ConsoleEvent>,
    length: Option<Duration>,
    signals: &mut Signals,
) -> Outcome {
    let over = async {
        match length {
            Some(length) => sleep(length).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = signals.next() => return Ok(()),
            () = &mut over => return Ok(()),
            event = events.recv() => match event {
                Ok(event) => print::event(out, &event)?,
                Err(RecvError::Lagged(missed)) => out.note(&format!("{missed} events were not printed")),
                Err(RecvError::Closed) => return Ok(()),
            },
        }
    }
}

/// Says what came of it. A node that ended unasked makes it a failure.
fn finish(out: &mut Out, summary: Summary, asked: bool) -> Outcome {
    if asked || out.is_json() {
        print::summary(out, summary)?;
    }
    if summary.broken > 0 { Err(Failure::Exit(1)) } else { Ok(()) }
}

/// The process of `webos up` that runs the local world of this folder, if one does.
pub fn running(person: &Folder) -> Option<u32> {
    Lock::holder(person).map(|holder| holder.pid)
}

/// `webos down`: ends the local world of this folder, and removes it if that is wanted.
pub async fn down(setup: &Setup, out: &mut Out, arguments: &Down) -> Outcome {
    let (person, names) = (&setup.folder, names(setup)?);
    let mut done = Ended { ended: None, purged: false };
    if person.world().exists() {
        let (lock, holder) = Lock::take_over(person, setup.world.clock.unix()).await?;
        done.ended = holder.map(|holder| holder.pid);
        if arguments.purge {
            purge::purge_all(person, &names, lock)?;
            done.purged = true;
        }
    }
    out.result(&done, |out, done| {
        match done.ended {
            Some(pid) => out.line(&format!("the local world (process {pid}) has ended"))?,
            None => out.line(&format!("no local world runs in {}", person.path().display()))?,
        }
        if done.purged { out.line("what it had stored is removed") } else { Ok(()) }
    })
}

#[derive(serde::Serialize)]
struct Ended {
    /// The process that was ended.
    ended: Option<u32>,
    /// Whether its data was removed.
    purged: bool,
}
