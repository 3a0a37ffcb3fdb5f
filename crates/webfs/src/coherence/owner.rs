//! The task that owns a volume's lease table: takes orders one by one, steps the rules, performs their actions in
//! order. Sessions are recorded durably before anything is granted to them.

use super::debts::Debts;
use super::holdings::Stored;
use super::stream::{Heard, Say, Stream};
use super::streams::Streams;
use super::{Grant, LeaseState, MayRead};
use crate::gate::{Touched, lock_lost};
use crate::model::ObjectVersion;
use crate::rules::{
    ChangeRef, Down, Hello, HomeAction, HomeEvent, HomeLeases, HomeStart, LeaseRules, LockEpoch, Refusal, Up,
};
use crate::session::limits::{MAX_STREAMS, STOP_DEADLINE};
use crate::store::{RecordedSession, Store, StoreError};
use bytes::Bytes;
use std::collections::HashMap;
use std::time::Duration;
use terms::{BootMs, ChangeNumber, Code, Principal, Problem, SessionId, VolumePath};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use wire::Body;
use world::World;

/// What holders say that they have.
type Compared = Vec<(VolumePath, ObjectVersion)>;

/// What the owner is asked.
pub(super) enum Order {
    Stream { holder: Principal, may_read: MayRead, up: Body, down: mpsc::Sender<Bytes> },
    Heard(Heard<Compared>),
    Open { holder: Principal, stream: Option<Hello>, object: VolumePath, answer: oneshot::Sender<Grant> },
    Change { token: u64, touched: Touched, lock: Option<LockEpoch>, answer: oneshot::Sender<Result<(), Problem>> },
    Ended { token: u64, committed: Option<ChangeNumber> },
    Expel { holder: Principal },
    State { answer: oneshot::Sender<LeaseState> },
    Stop { answer: oneshot::Sender<()> },
}

impl From<Heard<Compared>> for Order {
    fn from(heard: Heard<Compared>) -> Self {
        Self::Heard(heard)
    }
}

struct Stopping {
    answer: oneshot::Sender<()>,
    until: BootMs,
}

pub(super) struct Owner {
    store: Store,
    world: World,
    rules: LeaseRules,
    leases: HomeLeases,
    orders: mpsc::Receiver<Order>,
    streams: Streams<Compared>,
    tasks: JoinSet<()>,
    opens: HashMap<u64, oneshot::Sender<Grant>>,
    next_open: u64,
    changes: HashMap<u64, Option<oneshot::Sender<Result<(), Problem>>>>,
    debts: Debts,
    stopping: Option<Stopping>,
}

impl Owner {
    pub(super) async fn start(
        store: Store,
        world: World,
        rules: LeaseRules,
        orders: mpsc::Receiver<Order>,
    ) -> Result<Self, StoreError> {
        let recorded = store.recorded_sessions().await?;
        let recorded = recorded.into_iter().map(|session| (session.id, session.principal)).collect();
        let locks = store.reserved_locks().await?;
        let start = HomeStart { epoch: store.epoch(), change: store.change(), locks, recorded };
        let leases = HomeLeases::start(rules, world.clock.boot(), start);
        Ok(Self {
            store,
            world,
            rules,
            leases,
            orders,
            streams: Streams::default(),
            tasks: JoinSet::new(),
            opens: HashMap::new(),
            next_open: 0,
            changes: HashMap::new(),
            debts: Debts::default(),
            stopping: None,
        })
    }

    /// Runs until it has stopped, or every handle is gone: then it lets go of the store.
    pub(super) async fn run(mut self, inbox: mpsc::WeakSender<Order>) {
        loop {
            let due = self.time_left();
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.take(order, &inbox).await,
                    None => return,
                },
                () = sleep(due) => self.step(HomeEvent::Tick).await,
                Some(_) = self.tasks.join_next() => {}
            }
            if let Some(stopped) = self.finish_stop() {
                drop(self);
                let _ = stopped.send(());
                return;
            }
        }
    }

    fn now(&self) -> BootMs {
        self.world.clock.boot()
    }

    /// How long nothing need be done unless somebody asks.
    fn time_left(&self) -> Duration {
        let stop = self.stopping.as_ref().map(|stopping| stopping.until);
        let deadline = self.leases.next_deadline().into_iter().chain(stop).min();
        deadline.map_or(self.rules.lease, |deadline| deadline.since(self.now()))
    }

    async fn take(&mut self, order: Order, inbox: &mpsc::WeakSender<Order>) {
        match order {
            Order::Stream { holder, may_read, up, down } => {
                if self.tasks.len() < MAX_STREAMS {
                    let holdings = Stored { store: self.store.clone(), may_read };
                    self.tasks.spawn(Stream { holder, up, down, holdings, owner: inbox.clone() }.run());
                }
            }
            Order::Heard(Heard::Hello { hello, holder, say }) => {
                if self.streams.greeted(hello, say) {
                    self.step(HomeEvent::Hello { hello, holder }).await;
                }
            }
            Order::Heard(Heard::Told { stream, message }) => {
                let last = message == Up::Leave;
                self.step(HomeEvent::Told { stream, message }).await;
                if last {
                    self.streams.end(stream);
                }
            }
            Order::Open { stream: None, answer, .. } => {
                // Whoever has gone away needs no answer, here and below.
                let _ = answer.send(Grant { change: self.leases.change(), callback: false });
            }
            Order::Open { holder, stream: Some(stream), object, answer } => {
                self.next_open += 1;
                let token = self.next_open;
                self.opens.insert(token, answer);
                self.step(HomeEvent::Open { token, holder, stream, object }).await;
            }
            Order::Change { token, touched, lock, answer } => {
                self.changes.insert(token, Some(answer));
                self.step(HomeEvent::Change { token, touched, lock }).await;
            }
            Order::Ended { token, committed } => {
                self.changes.remove(&token);
                self.step(HomeEvent::Ended { change: ChangeRef::Token(token), committed }).await;
            }
            Order::Expel { holder } => self.step(HomeEvent::Expel { holder }).await,
            Order::State { answer } => {
                self.step(HomeEvent::Tick).await;
                let _ = answer.send(LeaseState {
                    sessions: self.leases.sessions(),
                    holders: self.leases.holders(),
                    callbacks: self.leases.callbacks(),
                    changes: self.changes.len(),
                    locks: self.leases.locks(),
                    waiting: self.leases.waiting(),
                });
            }
            Order::Stop { answer } => {
                self.stopping = Some(Stopping { answer, until: self.now().plus(STOP_DEADLINE) });
                self.step(HomeEvent::Stop).await;
            }
        }
    }

    /// Whom to tell that the last lease has ended, once it has or its time is over.
    fn finish_stop(&mut self) -> Option<oneshot::Sender<()>> {
        let now = self.now();
        let over = |stopping: &mut Stopping| stopping.until <= now;
        let ended = self.leases.sessions() == 0 || self.stopping.as_mut().is_some_and(over);
        if ended { self.stopping.take().map(|stopping| stopping.answer) } else { None }
    }

    async fn step(&mut self, event: HomeEvent) {
        let actions = self.leases.step(self.world.clock.boot(), event);
        let mut unrecorded = None;
        for action in actions {
            match action {
                HomeAction::Record { session, holder } => {
                    if self.record(session, holder).await.is_err() {
                        unrecorded = Some(session);
                    }
                }
                // Nothing is granted to a session that a restart would not know of.
                HomeAction::Send { stream, .. } if unrecorded == Some(stream.session) => {
                    self.streams.end(stream);
                }
                action => self.act(action).await,
            }
        }
    }

    async fn record(&self, id: SessionId, principal: Principal) -> Result<(), StoreError> {
        let session = RecordedSession { id, principal, lease: self.rules.lease };
        self.store.record_session(session).await.inspect_err(|error| {
            tracing::error!(%error, "a session could not be recorded, and is refused");
        })
    }

    async fn act(&mut self, action: HomeAction) {
        match action {
            HomeAction::Record { .. } => {}
            HomeAction::Forget { session } => self.debts.forget(&self.store, session).await,
            HomeAction::ReserveLocks { up_to } => self.debts.reserve(&self.store, up_to).await,
            // A restart would take the lock from its new holder, or give its epoch to somebody else.
            HomeAction::Send { stream, message: Down::Locked { .. } } if !self.debts.settle(&self.store).await => {
                self.streams.end(stream);
            }
            HomeAction::Send { stream, message } => self.streams.send(stream, message),
            HomeAction::Compare { stream, request, change, objects } => {
                self.streams.say(stream, Say::Compare { request, change, compared: objects });
            }
            HomeAction::Granted { token, change, callback } => {
                if let Some(answer) = self.opens.remove(&token) {
                    let _ = answer.send(Grant { change, callback });
                }
            }
            HomeAction::Admit { token, .. } => self.answer_change(token, Ok(())),
            HomeAction::Refuse { token, reason } => {
                let problem = match reason {
                    Refusal::Busy => Problem::new(Code::Busy, reason.to_string()),
                    Refusal::Stopping => Problem::new(Code::Unavailable, reason.to_string()),
                    Refusal::LockLost(lock) => lock_lost(lock),
                };
                self.answer_change(token, Err(problem));
            }
        }
    }

    fn answer_change(&mut self, token: u64, outcome: Result<(), Problem>) {
        if let Some(answer) = self.changes.get_mut(&token).and_then(Option::take) {
            let _ = answer.send(outcome);
        }
    }
}
