//! Owns the nodes of the local world: hears what they tell, asks each second how they stand, draws the picture for
//! the console, and does what a person asks. One task, one inbox; it waits for no node.

mod acts;

use super::child::{Child, Tale};
use super::heard::{Heard, Meaning, Word};
use super::launch::Launcher;
use super::limits::{INBOX, MEASURE_EVERY, POLL_DEADLINE, POLL_EVERY};
use super::seat::Seat;
use super::stage::{Book, Order, Picture};
use super::surge::{Fetch, Surge};
use super::world::Names;
use crate::console::EventKind;
use crate::console::model::{self, Point, Totals};
use crate::console::record::History;
use client::Client;
use client::protocol::NodeStatus;
use futures_util::future::BoxFuture;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use terms::{BootMs, Code, Label, Problem, UnixMs, VolumePath};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use world::World;

/// What a surge needs, fetched when one is asked for: so many readers, and the files they read.
pub type Arms = Box<dyn Fn(u32) -> BoxFuture<'static, Result<Armed, Problem>> + Send + Sync>;
/// Readers and files of a surge.
pub type Armed = (Vec<Arc<dyn Fetch>>, Vec<VolumePath>);

/// What came of the world when it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Requests that the fronts answered.
    pub requests: u64,
    /// Body bytes that they sent.
    pub bytes: u64,
    /// How often a recruited node began to serve.
    pub recruits: u64,
    /// Requests of surges that failed.
    pub errors: u64,
    /// Nodes that ended without being asked to, and were not revived.
    pub broken: u64,
}

/// What the supervisor is made of.
pub struct Parts {
    /// Clocks and entropy.
    pub world: World,
    /// The names.
    pub names: Names,
    /// Asks the nodes, as the caller.
    pub client: Client,
    /// Starts nodes.
    pub launcher: Launcher,
    /// The nodes, the home first.
    pub seats: Vec<Seat>,
    /// What nodes tell.
    pub tales: mpsc::Receiver<(Label, Tale)>,
    /// What happened.
    pub book: Book,
    /// Arms a surge.
    pub arms: Arms,
    /// Tasks that have to end with it.
    pub tasks: TaskTracker,
}

enum Note {
    Stands(Label, Result<NodeStatus, Problem>),
    Revived(Label, Result<Child, Problem>, Answer),
    Armed(u32, Duration, Result<Armed, Problem>, Answer),
}

type Answer = oneshot::Sender<Result<String, Problem>>;

/// The supervisor, before it runs.
pub struct Supervisor {
    parts: Parts,
    surge: Option<Surge>,
    history: History,
    picture: watch::Sender<Picture>,
    orders: mpsc::Receiver<Order>,
    notes: mpsc::Receiver<Note>,
    note: mpsc::Sender<Note>,
    began: (UnixMs, BootMs),
    totals: Totals,
    points: Arc<Vec<Point>>,
    failed_before: u64,
    summary: Summary,
    /// Ends what was begun for the supervisor.
    gone: CancellationToken,
}

impl Supervisor {
    /// With what the console needs to see and ask.
    pub fn new(parts: Parts) -> (Self, watch::Receiver<Picture>, mpsc::Sender<Order>) {
        let (picture, seen) = watch::channel(Picture::default());
        let (order, orders) = mpsc::channel(INBOX);
        let (note, notes) = mpsc::channel(INBOX);
        let began = (parts.world.clock.unix(), parts.world.clock.boot());
        let mut me = Self {
            parts,
            surge: None,
            history: History::default(),
            picture,
            orders,
            notes,
            note,
            began,
            totals: Totals::default(),
            points: Arc::default(),
            failed_before: 0,
            summary: Summary::default(),
            gone: CancellationToken::new(),
        };
        me.draw();
        (me, seen, order)
    }

    /// Runs the world until told to stop; then ends all nodes, and says what came of it.
    pub async fn run(mut self, stop: CancellationToken) -> Summary {
        let (mut poll, mut second) = (interval(POLL_EVERY), interval(MEASURE_EVERY));
        for tick in [&mut poll, &mut second] {
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some((name, tale)) = self.parts.tales.recv() => self.heard(&name, tale),
                Some(note) = self.notes.recv() => self.noted(note),
                Some((action, answer)) = self.orders.recv() => self.asked(action, answer).await,
                _ = second.tick() => self.each_second(),
                _ = poll.tick() => self.ask_nodes(),
            }
            self.draw();
        }
        self.end().await
    }

    async fn end(mut self) -> Summary {
        self.gone.cancel();
        self.calm();
        let summary = self.sum_up();
        // Nobody listens any more: a node that tells something must not wait for it.
        self.parts.tales.close();
        let children = self.parts.seats.iter_mut().filter_map(|seat| seat.child.take());
        futures_util::future::join_all(children.map(Child::end)).await;
        summary
    }

    fn sum_up(&self) -> Summary {
        let (requests, bytes) =
            self.parts.seats.iter().fold((0, 0), |(requests, bytes), seat| {
                (requests + seat.requests.total(), bytes + seat.bytes.total())
            });
        let broken = self.parts.seats.iter().filter(|seat| seat.fell).count() as u64;
        Summary { requests, bytes, errors: self.errors(), broken, ..self.summary }
    }

    fn errors(&self) -> u64 {
        self.failed_before + self.surge.as_ref().map_or(0, |surge| surge.meter.counts().1)
    }

    fn seat(&mut self, name: &Label) -> Option<&mut Seat> {
        self.parts.seats.iter_mut().find(|seat| seat.name == *name)
    }

    fn heard(&mut self, name: &Label, tale: Tale) {
        match tale {
            Tale::Said(Word::Notice { text, notice }) => self.noticed(text, &notice),
            Tale::Said(Word::Ready { .. }) => {}
            Tale::Ended(status) => self.ended(name, status),
        }
    }

    fn noticed(&mut self, text: String, notice: &Heard) {
        let node = notice.server.as_ref().map(|server| server.name.clone());
        match notice.meaning() {
            Meaning::Nothing => {}
            Meaning::Event(kind) => {
                self.summary.recruits += u64::from(notice.is_recruited());
                if let Some(seat) = node.as_ref().and_then(|name| self.seat(name)) {
                    if kind == EventKind::Down && seat.child.is_none() {
                        return; // told already, when its process ended
                    }
                    seat.lease_told &=
                        !matches!(kind, EventKind::Recruited | EventKind::Drained | EventKind::Lease);
                }
                self.parts.book.record(kind, node.as_ref(), text);
            }
            Meaning::Renewal => {
                let Some(name) = node else { return };
                let Some(seat) = self.seat(&name) else { return };
                if !std::mem::replace(&mut seat.lease_told, true) {
                    self.parts.book.record(EventKind::Lease, Some(&name), format!("{name}: lease granted"));
                }
            }
        }
    }

    fn ended(&mut self, name: &Label, status: ExitStatus) {
        let log = self.parts.launcher.log(name).map_or(String::new(), |log| log.display().to_string());
        let Some(seat) = self.seat(name) else { return };
        seat.gone();
        if std::mem::take(&mut seat.killed) {
            return;
        }
        seat.fell = true;
        let text = format!("{name} ended by itself ({status}); its log is {log}");
        self.parts.book.record(EventKind::Down, Some(name), text);
    }

    fn noted(&mut self, note: Note) {
        match note {
            Note::Stands(name, status) => self.stands(&name, status),
            Note::Revived(name, child, answer) => {
                let said = self.revived(&name, child);
                // Whoever asked may have gone.
                let _ = answer.send(said);
            }
            Note::Armed(clients, length, armed, answer) => {
                let said = armed.and_then(|armed| self.surge(clients, length, armed));
                let _ = answer.send(said);
            }
        }
    }

    fn stands(&mut self, name: &Label, status: Result<NodeStatus, Problem>) {
        let (now, service) = (self.parts.world.clock.boot(), self.parts.names.service.clone());
        let Some(seat) = self.seat(name) else { return };
        seat.asked = false;
        if seat.child.is_none() || seat.killed {
            return;
        }
        let was_silent = seat.silent;
        seat.silent = status.is_err();
        match status {
            Ok(status) => {
                seat.stands(&status, &service, now);
                if was_silent {
                    self.parts.book.record(EventKind::Revived, Some(name), format!("{name} answers again"));
                }
            }
            Err(problem) if !was_silent => {
                let text = format!("{name} does not answer: {}", problem.detail);
                self.parts.book.record(EventKind::Down, Some(name), text);
            }
            Err(_) => {}
        }
    }

    fn ask_nodes(&mut self) {
        for seat in &mut self.parts.seats {
            if seat.child.is_none() || std::mem::replace(&mut seat.asked, true) {
                continue;
            }
            let node = self.parts.client.node(&seat.principal, &seat.address);
            let (name, note) = (seat.name.clone(), self.note.clone());
            let asking = async move {
                let late = || Problem::new(Code::Timeout, format!("nothing within {} s", POLL_DEADLINE.as_secs()));
                let status = timeout(POLL_DEADLINE, node.status()).await.unwrap_or_else(|_| Err(late()));
                // At the end of the world nobody wants to know.
                let _ = note.send(Note::Stands(name, status)).await;
            };
            let gone = self.gone.clone();
            self.parts.tasks.spawn(async move { gone.run_until_cancelled(asking).await });
        }
    }

    fn each_second(&mut self) {
        for seat in &self.parts.seats {
            if let Some(log) = self.parts.launcher.log(&seat.name)
                && let Err(error) = super::child::bound_log(&log)
            {
                tracing::debug!(log = %log.display(), %error, "a node's log cannot be bounded");
            }
        }
        if self.surge.as_ref().is_some_and(|surge| surge.is_over(self.parts.world.clock.boot())) {
            self.calm();
        }
        self.measure();
    }

    fn measure(&mut self) {
        if !self.parts.seats.iter().any(Seat::was_heard) {
            return;
        }
        let sample = self.surge.as_ref().and_then(|surge| surge.meter.take());
        let loads: Vec<_> = self.parts.seats.iter().map(Seat::load).collect();
        let rps: f64 = loads.iter().map(|load| load.rps).sum();
        let at_servers = loads.iter().map(|load| load.latency_ms * load.rps).sum::<f64>() / rps;
        self.totals = Totals {
            rps,
            bytes_per_s: loads.iter().map(|load| load.bytes_per_s).sum(),
            mean_ms: sample.map(|sample| sample.mean_ms).or((rps > 0.0).then_some(at_servers)),
            p99_ms: sample.map(|sample| sample.p99_ms),
            errors: self.errors(),
            servers: u32::try_from(self.parts.seats.iter().filter(|seat| seat.serves()).count())
                .unwrap_or(u32::MAX),
        };
        let t = self.began.0.plus(self.parts.world.clock.boot().since(self.began.1));
        let Totals { mean_ms, p99_ms, servers, .. } = self.totals;
        self.history.push(Point { t, rps, mean_ms, p99_ms, servers });
        self.points = Arc::new(self.history.points());
    }

    fn draw(&mut self) {
        let (service, volume) = (&self.parts.names.service, &self.parts.names.volume);
        let nodes = self.parts.seats.iter().map(|seat| seat.state(service, volume)).collect();
        let surge = self.surge.as_ref().map(|surge| {
            let (sent, failed) = surge.meter.counts();
            model::Surge { clients: surge.clients, since: surge.since, until: surge.until, sent, failed }
        });
        let totals = Totals { errors: self.errors(), ..self.totals };
        self.picture.send_replace(Picture { nodes, totals, surge, history: self.points.clone() });
    }
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
