//! What the console shows and what it may ask for, as it crosses to the page: JSON, field names as written here.
//! Times are wall-clock milliseconds; durations, rates and sizes carry their unit in the name.

use super::limits::{HISTORY_POINTS, MAX_EVENTS, MAX_SURGE_CLIENTS, MAX_SURGE_SECONDS};
use super::rights::{Revocation, RightsView};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use terms::{Code, Label, Problem, RealmName, ServiceName, UnixMs};
use tokio::sync::broadcast;

/// All that the page knows: `GET /api/state`, and in pieces the `state` events of `GET /api/events`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConsoleState {
    /// When this state was taken.
    pub now: UnixMs,
    /// The realm, such as `demo.localhost`.
    pub realm: RealmName,
    /// The published service.
    pub service: ServiceName,
    /// When this world was started; a new value tells the page to forget what it had.
    pub started: UnixMs,
    /// The stated link of each front in words, such as `100 Mbit/s`.
    pub link: String,
    /// The latency that the service certificate names as its goal, if it does.
    pub goal_ms: Option<f64>,
    /// Every node, the home first.
    pub nodes: Vec<NodeState>,
    /// The service as a whole, over the last second.
    pub totals: Totals,
    /// The load that is being sent now, if any.
    pub surge: Option<Surge>,
    /// One point a second, oldest first, at most [`HISTORY_POINTS`].
    pub history: Vec<Point>,
    /// What happened, oldest first, at most [`MAX_EVENTS`].
    pub events: Vec<ConsoleEvent>,
}

/// One node as the console sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeState {
    /// The node's name.
    pub name: Label,
    /// What the node is there for.
    pub role: Role,
    /// What it does now.
    pub phase: Phase,
    /// Its process, while there is one.
    pub pid: Option<u32>,
    /// Where its front listens.
    pub url: String,
    /// Requests per second over the last second.
    pub rps: f64,
    /// Body bytes per second over the last second.
    pub bytes_per_s: f64,
    /// Mean time to answer over the last second; none without a request.
    pub latency_ms: Option<f64>,
    /// Requests being answered now.
    pub inflight: f64,
    /// What is left of its lease at `now`, while it has one.
    pub lease_remaining_ms: Option<u64>,
    /// The length of a whole lease.
    pub lease_total_ms: u64,
    /// Requests answered since the node was started.
    pub requests_total: u64,
    /// What the node may do now, one sentence each, such as `reads site.demo.localhost until 10:41:07`.
    pub rights: Vec<String>,
}

/// What a node is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sequences the volume's writes, and is the service's authority.
    Home,
    /// Lent to the service as a surrogate.
    Lent,
    /// Serves the volume's files from its cache.
    Relay,
}

/// What a node does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The home, up and serving.
    Home,
    /// Up, lent, not recruited.
    Idle,
    /// Recruited, not serving yet.
    Starting,
    /// Serving under a lease.
    Serving,
    /// Finishing what it began, taking nothing new.
    Draining,
    /// Its lease has ended.
    Ended,
    /// Its process is not there.
    Down,
}

/// The service as a whole over the last second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Requests per second.
    pub rps: f64,
    /// Body bytes per second.
    pub bytes_per_s: f64,
    /// Mean time to answer; none without a request.
    pub mean_ms: Option<f64>,
    /// 99th percentile of the time to answer; none without a request.
    pub p99_ms: Option<f64>,
    /// Failed requests since the start.
    pub errors: u64,
    /// Servers that take requests now, the home counted.
    pub servers: u32,
}

/// Load being sent by the console.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Surge {
    /// Smart clients at work.
    pub clients: u32,
    /// When it began.
    pub since: UnixMs,
    /// When it ends by itself.
    pub until: UnixMs,
    /// Requests sent.
    pub sent: u64,
    /// Requests that failed.
    pub failed: u64,
}

/// One second of history.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The end of that second. Rises strictly from point to point.
    pub t: UnixMs,
    /// Requests per second.
    pub rps: f64,
    /// Mean time to answer; none without a request.
    pub mean_ms: Option<f64>,
    /// 99th percentile of the time to answer; none without a request.
    pub p99_ms: Option<f64>,
    /// Servers that took requests.
    pub servers: u32,
}

/// Something that happened, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConsoleEvent {
    /// Rises by one from event to event of a start; begins at 1.
    pub id: u64,
    /// When.
    pub at: UnixMs,
    /// What kind of thing.
    pub kind: EventKind,
    /// The node concerned, if one is.
    pub node: Option<Label>,
    /// One sentence.
    pub text: String,
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A node or the world is up.
    Started,
    /// The load daemon took a node for the service.
    Recruited,
    /// A surrogate began to serve.
    Serving,
    /// A lease was granted or ended; renewals are not events.
    Lease,
    /// A surrogate stopped taking requests.
    Draining,
    /// A surrogate is done and has no rights left.
    Drained,
    /// A person killed a node.
    Killed,
    /// A node does not answer.
    Down,
    /// A node came back.
    Revived,
    /// Load began.
    Surge,
    /// Load ended.
    Calm,
    /// Files of the followed folder were copied in.
    Changed,
    /// A service certificate was published.
    Published,
    /// Something was refused: a recruiting, a right, a lease.
    Refused,
    /// Something failed that should not.
    Error,
    /// Anything else worth a line.
    Note,
}

/// What a person may ask of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send load with so many smart clients for so many seconds.
    Surge {
        /// 1 to [`MAX_SURGE_CLIENTS`].
        clients: u32,
        /// 1 to [`MAX_SURGE_SECONDS`].
        seconds: u32,
    },
    /// Stop sending load.
    Calm,
    /// End a node's process with SIGKILL.
    Kill(Label),
    /// Start a node's process again.
    Revive(Label),
}

/// The world that a console shows: the local world in the product, a played one in tests.
pub trait Theatre: Send + Sync + 'static {
    /// The present state. Called about once a second for each open page: must not wait.
    fn snapshot(&self) -> ConsoleState;

    /// Everything that happens from now on. A page that lags is given the rest by the next state.
    fn subscribe(&self) -> broadcast::Receiver<ConsoleEvent>;

    /// Does what was asked and answers with one sentence. A problem's code becomes the HTTP status.
    fn act(&self, action: Action) -> BoxFuture<'_, Result<String, Problem>>;

    /// Who may do what, and what was decided last.
    fn rights(&self) -> BoxFuture<'_, Result<RightsView, Problem>>;

    /// Takes something back and answers with one sentence.
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<String, Problem>>;
}

/// What the page posts to `/api/surge`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SurgeRequest {
    clients: u32,
    seconds: u32,
}

impl SurgeRequest {
    /// The action, if both numbers are within their limits.
    pub(super) fn action(self) -> Result<Action, Problem> {
        let within = |what: &str, number: u32, most: u32| {
            if (1..=most).contains(&number) {
                return Ok(number);
            }
            Err(Problem::new(Code::Invalid, format!("{what} is {number}; it must be from 1 to {most}")))
        };
        Ok(Action::Surge {
            clients: within("clients", self.clients, MAX_SURGE_CLIENTS)?,
            seconds: within("seconds", self.seconds, MAX_SURGE_SECONDS)?,
        })
    }
}

impl ConsoleState {
    /// The same state with no more history and events than the page can use: the newest.
    #[must_use]
    pub(super) fn bounded(mut self) -> Self {
        let (points, events) = (self.history.len(), self.events.len());
        self.history.drain(..points.saturating_sub(HISTORY_POINTS));
        self.events.drain(..events.saturating_sub(MAX_EVENTS));
        self
    }

    /// The same state without the history up to `t` and the events up to `id`, which the page has.
    #[must_use]
    pub(super) fn later_than(mut self, t: UnixMs, id: u64) -> Self {
        self.history.retain(|point| point.t > t);
        self.events.retain(|event| event.id > id);
        self
    }
}
