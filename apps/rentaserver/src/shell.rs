//! Performs what the rules ask for over a [`Field`]: each call is a task of its own with a deadline, so that a dead
//! surrogate delays nobody. Owns the machine; everybody else only sees its notices.

use crate::limits::{BEAT_WITHIN, HOME_WITHIN, START_WITHIN, TICK_EVERY};
use crate::model::{Failure, Now, Publication, SavedState, Server, Settings, SettingsError};
use crate::notice::Notice;
use crate::rules::{Action, Answer, Call, Daemon, Event};
use client::models::{BeatAnswer, RightToServe, StartAnswer, Ticket};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use terms::Epoch;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// What the daemon can do in the world. Every call may take as long as it likes: the shell sets the deadlines.
pub trait Field: Send + Sync + 'static {
    /// Both clocks.
    fn now(&self) -> Now;
    /// The state that was saved last; nothing if there never was one.
    fn load(&self) -> impl Future<Output = Result<Option<SavedState>, Failure>> + Send;
    /// Keeps the state; durable when it returns.
    fn save(&self, state: SavedState) -> impl Future<Output = Result<(), Failure>> + Send;
    /// The nodes lent to the service now. Those that hold `relay` on its files are left out.
    fn offers(&self) -> impl Future<Output = Result<Vec<Server>, Failure>> + Send;
    /// Signs table and rights, gives them to the name servers, and attaches the newest to later calls.
    fn publish(&self, publication: Publication) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Makes the server a member of the serving group until so long after the beginning of this call.
    fn grant(&self, server: &Server, lasting: Duration) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Removes the server from the serving group; done as well if it is no member.
    fn remove(&self, server: &Server) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Starts the service's server there.
    fn start(
        &self,
        server: &Server,
        epoch: Epoch,
        lease: Duration,
        right: RightToServe,
    ) -> impl Future<Output = Result<StartAnswer, Failure>> + Send;
    /// Asks for the load, and renews with a ticket. A primary has no tickets.
    fn beat(
        &self,
        server: &Server,
        epoch: Epoch,
        renewal: Option<Renewal>,
    ) -> impl Future<Output = Result<BeatAnswer, Failure>> + Send;
    /// Lets it finish and end.
    fn drain(
        &self,
        server: &Server,
        epoch: Epoch,
        within: Duration,
    ) -> impl Future<Output = Result<BeatAnswer, Failure>> + Send;
}

/// What a beat carries to renew.
#[derive(Debug, Clone, PartialEq)]
pub struct Renewal {
    /// The surrogate's own moment.
    pub ticket: Ticket,
    /// How long the lease is from that moment.
    pub lease: Duration,
    /// A newer right to serve.
    pub right: Option<RightToServe>,
}

/// Why the daemon ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The settings contradict each other.
    #[error("the load daemon's settings are not possible")]
    Settings(#[source] SettingsError),
    /// The saved state cannot be read. Starting without it would forget who serves.
    #[error("the load daemon's state cannot be read")]
    State(#[source] Failure),
}

/// Runs the daemon until `stop` holds a time span, and then until all that was borrowed is returned; what is in
/// flight may take that span. Without it (the sender is gone) the daemon ends at once, and leases end what runs.
///
/// # Errors
/// [`DaemonError`], at the start only.
pub async fn run<F: Field>(
    field: Arc<F>,
    settings: Settings,
    notices: mpsc::Sender<Notice>,
    mut stop: watch::Receiver<Option<Duration>>,
) -> Result<(), DaemonError> {
    let before = match timeout(HOME_WITHIN, field.load()).await {
        Ok(loaded) => loaded.map_err(DaemonError::State)?,
        Err(_) => return Err(DaemonError::State(late(HOME_WITHIN))),
    };
    let mut daemon = Daemon::new(field.now(), settings, before).map_err(DaemonError::Settings)?;
    let mut calls: JoinSet<Event> = JoinSet::new();
    let mut ticks = interval(TICK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !daemon.finished() {
        let event = tokio::select! {
            _ = ticks.tick() => Event::Tick,
            Some(ended) = calls.join_next() => match ended {
                Ok(event) => event,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => continue,
            },
            changed = stop.changed() => match (changed, *stop.borrow()) {
                (Err(_), _) => return Ok(()),
                (Ok(()), Some(within)) => Event::Stop { within },
                (Ok(()), None) => continue,
            },
        };
        for action in daemon.step(field.now(), event) {
            perform(&field, action, &mut calls, &notices);
        }
    }
    Ok(())
}

fn perform<F: Field>(field: &Arc<F>, action: Action, calls: &mut JoinSet<Event>, notices: &mpsc::Sender<Notice>) {
    let field = field.clone();
    match action {
        Action::Tell(notice) => {
            tracing::info!(notice = %notice, "load daemon");
            // Who does not read fast enough misses some: the daemon waits for nobody.
            if notices.try_send(notice).is_err() {
                tracing::debug!("a notice was not taken");
            }
        }
        Action::AskOffers => {
            calls.spawn(async move { Event::Offers(within(HOME_WITHIN, field.offers()).await) });
        }
        Action::Publish(publication) => {
            calls.spawn(async move {
                let generation = publication.table.generation;
                Event::Published(generation, within(HOME_WITHIN, field.publish(publication)).await)
            });
        }
        Action::Save(state) => {
            calls.spawn(async move { Event::Saved(within(HOME_WITHIN, field.save(state)).await) });
        }
        Action::Call { server, call } => {
            calls.spawn(async move {
                let sent = field.now().boot;
                let answer = make(&*field, &server, *call).await;
                Event::Answered { server: server.principal, sent, answer }
            });
        }
    }
}

async fn make<F: Field>(field: &F, server: &Server, call: Call) -> Answer {
    match call {
        Call::Grant { lasting } => Answer::Granted(within(HOME_WITHIN, field.grant(server, lasting)).await),
        Call::Remove => Answer::Removed(within(HOME_WITHIN, field.remove(server)).await),
        Call::Start { epoch, lease, right } => {
            Answer::Started(within(START_WITHIN, field.start(server, epoch, lease, right)).await)
        }
        Call::Beat { epoch, ticket, lease, right } => {
            let renewal = ticket.map(|ticket| Renewal { ticket, lease, right });
            Answer::Beat(within(BEAT_WITHIN, field.beat(server, epoch, renewal)).await)
        }
        Call::Drain { epoch, within: span } => {
            Answer::Drained(within(BEAT_WITHIN, field.drain(server, epoch, span)).await)
        }
    }
}

async fn within<T>(span: Duration, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(span, call).await.unwrap_or_else(|_| Err(late(span)))
}

fn late(span: Duration) -> Failure {
    Failure(format!("no answer within {} ms", span.as_millis()))
}

#[cfg(test)]
#[path = "shell_tests.rs"]
mod tests;
