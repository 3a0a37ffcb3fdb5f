//! What the console is given of the local world: a picture that the supervisor draws, a journal of what happened,
//! and a way to ask for something. Nothing here waits for the world.

use super::rights::Desk;
use crate::console::model::{NodeState, Point, Surge, Totals};
use crate::console::record::Journal;
use crate::console::rights::{Revocation, RightsView};
use crate::console::{Action, ConsoleEvent, ConsoleState, EventKind, Theatre};
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};
use terms::{BootMs, Code, Label, Problem, RealmName, ServiceName, UnixMs};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use world::World;

/// What happened, from whomever it is told. Cheap to clone.
#[derive(Clone)]
pub struct Book {
    journal: Arc<Mutex<Journal>>,
    world: World,
}

impl Book {
    /// An empty one.
    pub fn new(world: &World) -> Self {
        Self { journal: Arc::default(), world: world.clone() }
    }

    /// Writes down what happens now.
    pub fn record(&self, kind: EventKind, node: Option<&Label>, text: impl Into<String>) {
        let now = self.world.clock.unix();
        self.journal().record(now, kind, node.cloned(), text.into());
    }

    /// Everything from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<ConsoleEvent> {
        self.journal().subscribe()
    }

    fn events(&self) -> Vec<ConsoleEvent> {
        self.journal().events()
    }

    fn journal(&self) -> std::sync::MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The world at one moment.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    /// Every node with the end of its lease by our own clock, if it has one.
    pub nodes: Vec<(NodeState, Option<BootMs>)>,
    /// The service as a whole.
    pub totals: Totals,
    /// Load that is being sent.
    pub surge: Option<Surge>,
    /// One point a second.
    pub history: Arc<Vec<Point>>,
}

/// What does not change while the world runs.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The realm.
    pub realm: RealmName,
    /// The service.
    pub service: ServiceName,
    /// When the world was started.
    pub started: UnixMs,
    /// The stated link of each front, in words.
    pub link: String,
    /// The goal of the service.
    pub goal_ms: f64,
}

/// What a person asks, and where the answer goes.
pub type Order = (Action, oneshot::Sender<Result<String, Problem>>);

/// The local world as the console sees it.
pub struct Stage {
    /// What does not change.
    pub frame: Frame,
    /// What the supervisor draws.
    pub picture: watch::Receiver<Picture>,
    /// What happened.
    pub book: Book,
    /// To the supervisor.
    pub orders: mpsc::Sender<Order>,
    /// Clocks.
    pub world: World,
    /// For questions about rights.
    pub desk: Desk,
}

impl Theatre for Stage {
    fn snapshot(&self) -> ConsoleState {
        let (now, boot) = (self.world.clock.unix(), self.world.clock.boot());
        let Picture { nodes, totals, surge, history } = self.picture.borrow().clone();
        let nodes = nodes.into_iter().map(|(mut node, lease_end)| {
            let left = lease_end.map(|end| u64::try_from(end.since(boot).as_millis()).unwrap_or(u64::MAX));
            node.lease_remaining_ms = left;
            node
        });
        let frame = self.frame.clone();
        ConsoleState {
            now,
            realm: frame.realm,
            service: frame.service,
            started: frame.started,
            link: frame.link,
            goal_ms: Some(frame.goal_ms),
            nodes: nodes.collect(),
            totals,
            surge,
            history: history.to_vec(),
            events: self.book.events(),
        }
    }

    fn subscribe(&self) -> broadcast::Receiver<ConsoleEvent> {
        self.book.subscribe()
    }

    fn act(&self, action: Action) -> BoxFuture<'_, Result<String, Problem>> {
        let (answer, answered) = oneshot::channel();
        Box::pin(async move {
            let ending = || Problem::new(Code::Unavailable, "the local world is ending");
            self.orders.send((action, answer)).await.map_err(|_| ending())?;
            answered.await.map_err(|_| ending())?
        })
    }

    fn rights(&self) -> BoxFuture<'_, Result<RightsView, Problem>> {
        Box::pin(self.desk.view())
    }

    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<String, Problem>> {
        Box::pin(async move {
            let said = self.desk.revoke(revocation).await?;
            self.book.record(EventKind::Note, None, format!("on this console: {said}"));
            Ok(said)
        })
    }
}
