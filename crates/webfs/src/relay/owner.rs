//! The task that owns a replica's session: takes orders one by one, steps the rules of a relay (with nobody below, that
//! is a holder), performs their actions in order, and keeps the stream to the server above.

mod forgetting;

use super::ReplicaState;
use super::below::{Below, FromBelow};
use super::blocks::{Blocks, Counters};
use super::file::ReplicaObject;
use super::held::Held;
use super::limits::{LEAVE_DEADLINE, OPENS_IN_FLIGHT, RETRY_FIRST};
use super::link::LinkError;
use super::lock::{LockAnswered, LockBook, Stands};
use super::stream::{Stream, drain, next_frame};
use crate::cache::{CacheError, Sieve};
use crate::coherence::Grant;
use crate::rules::{
    Answer, Believed, Down, HolderAction, HolderEvent, HomeEvent, LeaseRules, LockWish, Relay, RelayAction,
    RelayEvent,
};
use crate::session::{FrameError, FrameReader};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use terms::{BootMs, Problem, SessionId, VolumePath};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use trust::PublicKey;
use wire::Body;

pub(super) type OpenAnswered = oneshot::Sender<Result<Opened, Problem>>;

/// An opened object, and what a holder below is granted with it.
pub(super) struct Opened {
    pub(super) object: ReplicaObject,
    pub(super) grant: Grant,
    /// Whether it is kept here; if not, nobody can keep it.
    pub(super) kept: bool,
}

/// Who waits for an open.
pub(super) struct Waiter {
    pub(super) answer: OpenAnswered,
    pub(super) grant: Grant,
}

/// What the owner is asked.
pub(super) enum Order {
    Open { path: VolumePath, answer: OpenAnswered },
    Lock { ticket: u64, wish: LockWish, wait: Duration, answer: LockAnswered },
    Unlock { ticket: u64 },
    State { answer: oneshot::Sender<ReplicaState> },
    Believe { believed: Believed, answer: oneshot::Sender<usize> },
    Close { answer: oneshot::Sender<()> },
    Below(FromBelow),
}

/// What a task of the owner has brought.
pub(super) enum Done {
    Stream { up: mpsc::Sender<Bytes>, down: Result<Body, LinkError> },
    Answered { request: u64, answer: Result<Found, LinkError> },
    Finished,
}

pub(super) struct Found {
    pub(super) held: Arc<Held>,
    /// In the count of the server that answered.
    pub(super) grant: Grant,
}

pub(super) struct Owner {
    pub(super) blocks: Arc<Blocks>,
    pub(super) home_key: PublicKey,
    pub(super) relay: Relay,
    pub(super) stream: Option<Stream>,
    pub(super) retry: Duration,
    pub(super) leaving: bool,
    pub(super) tasks: JoinSet<Done>,
    pub(super) opens: Arc<Semaphore>,
    pub(super) waiters: HashMap<u64, Waiter>,
    next_waiter: u64,
    /// Relays that the open had passed for which the rules are asked just now: count.
    pub(super) passed: u8,
    /// The same of those that are under way above.
    pub(super) asked: HashMap<u64, u8>,
    pub(super) locks: LockBook,
    pub(super) held: HashMap<VolumePath, Arc<Held>>,
    pub(super) sieve: Sieve<VolumePath>,
    pub(super) below: Below,
    /// Whether a session stands.
    tell: watch::Sender<bool>,
    /// Its own inbox, weak so that it ends with the last handle.
    pub(super) inbox: mpsc::WeakSender<Order>,
}

impl Owner {
    pub(super) fn new(
        blocks: Arc<Blocks>,
        home_key: PublicKey,
        rules: LeaseRules,
        session: SessionId,
        tell: watch::Sender<bool>,
        inbox: mpsc::WeakSender<Order>,
    ) -> Self {
        let relay = Relay::new(rules, blocks.world.clock.boot(), session);
        Self {
            blocks,
            home_key,
            relay,
            stream: None,
            retry: RETRY_FIRST,
            leaving: false,
            tasks: JoinSet::new(),
            opens: Arc::new(Semaphore::new(OPENS_IN_FLIGHT)),
            waiters: HashMap::new(),
            next_waiter: 0,
            passed: 0,
            asked: HashMap::new(),
            locks: LockBook::default(),
            held: HashMap::new(),
            sieve: Sieve::default(),
            below: Below::default(),
            tell,
            inbox,
        }
    }

    /// Takes up what an earlier run has cached: unverified until the server above says that it is current.
    pub(super) fn load(mut self) -> Result<Self, CacheError> {
        let (blocks, now) = (self.blocks.clone(), self.now());
        blocks.cache.load(&blocks.volume, |record| {
            let held = Held::from_record(&blocks.volume, record, &self.home_key).ok()?;
            let (object, version) = (held.path.clone(), held.entry.version);
            let manifest = held.has_blocks().then(|| held.manifest().cloned()).flatten();
            // What has no callback is asked for when it is wanted; its blocks are still there then. Without a stream nothing is
            // to be done about it.
            if held.policy().has_callbacks() {
                self.relay.step(now, RelayEvent::Above(HolderEvent::Load { object: object.clone(), version }));
            }
            self.sieve.put(object.clone(), held.weight());
            self.held.insert(object.clone(), Arc::new(held));
            Some((object, manifest))
        })?;
        self.forget_what_is_too_much();
        Ok(self)
    }

    /// Runs until it is closed, or every handle is gone.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>, inbox: mpsc::WeakSender<Order>) {
        self.connect_after(Duration::ZERO);
        loop {
            let due = self.relay.next_deadline().map_or(LEAVE_DEADLINE, |deadline| deadline.since(self.now()));
            tokio::select! {
                order = orders.recv() => match order {
                    None => return self.leave(orders, &inbox).await,
                    Some(Order::Close { answer }) => {
                        self.leave(orders, &inbox).await;
                        // Nobody waits any more: fine.
                        let _ = answer.send(());
                        return;
                    }
                    Some(order) => self.take(order, &inbox),
                },
                frame = next_frame(&mut self.stream) => self.told(frame),
                Some(done) = self.tasks.join_next() => {
                    if let Ok(done) = done {
                        self.done(done);
                    }
                }
                Some(_) = self.below.tasks.join_next() => {}
                () = sleep(due) => self.step(RelayEvent::Tick),
            }
        }
    }

    pub(super) fn now(&self) -> BootMs {
        self.blocks.world.clock.boot()
    }

    fn state(&self) -> ReplicaState {
        let (above, below) = (self.relay.above(), self.relay.below());
        ReplicaState {
            connected: above.is_connected(),
            trusted_for: above.trusted_until().since(self.now()),
            objects: above.objects(),
            callbacks: above.callbacks(),
            sessions_below: below.sessions(),
            callbacks_below: below.callbacks(),
            counts: self.blocks.counters.now(),
        }
    }

    fn take(&mut self, order: Order, inbox: &mpsc::WeakSender<Order>) {
        match order {
            Order::Open { path, answer } => {
                let waiter = self.wait(answer);
                self.step(RelayEvent::Above(HolderEvent::Read { waiter, object: path }));
            }
            Order::Lock { ticket, wish, wait, answer } => {
                self.locks.asked(ticket, wish.path.clone(), answer);
                self.step(RelayEvent::Above(HolderEvent::Lock { waiter: ticket, wish, wait }));
            }
            Order::Unlock { ticket } => match self.locks.dropped(ticket) {
                Stands::Waiting => self.step(RelayEvent::Above(HolderEvent::CancelLock { waiter: ticket })),
                Stands::Held(epoch) => self.step(RelayEvent::Above(HolderEvent::Unlock { epoch })),
                Stands::Nothing => {}
            },
            Order::State { answer } => {
                // Whoever has gone away needs no answer.
                let _ = answer.send(self.state());
            }
            Order::Believe { believed, answer } => drop(answer.send(self.believe(&believed))),
            Order::Below(order) => self.hear_below(order, inbox),
            // Its caller hears that this is closed.
            Order::Close { answer } => drop(answer),
        }
    }

    /// Who waits for an open; without a grant until the rules say so.
    pub(super) fn wait(&mut self, answer: OpenAnswered) -> u64 {
        self.next_waiter += 1;
        let grant = Grant { change: self.relay.below().change(), callback: false };
        self.waiters.insert(self.next_waiter, Waiter { answer, grant });
        self.next_waiter
    }

    fn told(&mut self, frame: Result<Option<Down>, FrameError>) {
        let connection = self.stream.as_ref().and_then(|stream| stream.connection);
        match (frame, connection) {
            (Ok(Some(message)), Some(connection)) => {
                if matches!(message, Down::Welcome { .. }) {
                    self.retry = RETRY_FIRST;
                }
                self.step(RelayEvent::Above(HolderEvent::Told { connection, message }));
            }
            (ended, connection) => {
                if let Err(error) = ended {
                    tracing::debug!(volume = %self.blocks.volume, %error, "the stream to the server above ended");
                }
                self.stream = None;
                if let Some(connection) = connection {
                    self.step(RelayEvent::Above(HolderEvent::Lost { connection }));
                }
                self.connect_later();
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Stream { .. } if self.leaving => {}
            Done::Stream { up, down: Ok(down) } => {
                self.stream = Some(Stream { up, down: FrameReader::new(down), connection: None });
                self.step(RelayEvent::Above(HolderEvent::Connected));
            }
            Done::Stream { down: Err(error), .. } => {
                tracing::debug!(volume = %self.blocks.volume, %error, "the server above was not reached");
                self.connect_later();
            }
            Done::Answered { request, answer } => self.answered(request, answer),
            Done::Finished => {}
        }
    }

    fn answered(&mut self, request: u64, answer: Result<Found, LinkError>) {
        Counters::add(&self.blocks.counters.opens_asked, 1);
        let said = match &answer {
            Ok(Found { held, grant: Grant { change, callback } }) => {
                Answer::under(held.policy(), held.entry.version, *change, *callback)
            }
            Err(LinkError::Refused(_)) => Answer::Nothing,
            Err(LinkError::Unreachable(_)) => Answer::Failed,
        };
        // If it is asked again, then for the same readers.
        self.passed = self.asked.remove(&request).unwrap_or_default();
        let event = RelayEvent::Above(HolderEvent::Answered { request, answer: said });
        let actions = self.relay.step(self.now(), event);
        let kept = |action: &RelayAction| {
            matches!(action, RelayAction::Above(HolderAction::ServeAnswer { keep: true, .. }))
        };
        if let (true, Ok(found)) = (actions.iter().any(kept), &answer) {
            self.keep(found.held.clone());
        }
        self.perform(actions, Some(&answer));
        self.passed = 0;
        self.forget_what_is_too_much();
    }

    pub(super) fn step(&mut self, event: RelayEvent) {
        let actions = self.relay.step(self.now(), event);
        self.perform(actions, None);
    }

    pub(super) fn perform(&mut self, actions: Vec<RelayAction>, answer: Option<&Result<Found, LinkError>>) {
        for action in actions {
            match action {
                RelayAction::Above(action) => self.act_above(action, answer),
                RelayAction::Below(action) => self.act_below(action),
                RelayAction::Opened { token, change, callback } => {
                    if let Some(waiter) = self.waiters.get_mut(&token) {
                        waiter.grant = Grant { change, callback };
                    }
                }
            }
        }
        self.publish();
    }

    /// Whoever reads blocks must know at once when the lease ends.
    fn publish(&self) {
        let above = self.relay.above();
        self.blocks.trusted_until.store(above.trusted_until().0, Ordering::Release);
        self.blocks.unproven.store(above.unproven().unwrap_or_default().0, Ordering::Release);
        let connected = above.is_connected();
        self.tell.send_if_modified(|told| std::mem::replace(told, connected) != connected);
    }

    /// Takes leave of the server above, once those below have taken theirs, and waits a little for it to take note.
    async fn leave(mut self, mut orders: mpsc::Receiver<Order>, inbox: &mpsc::WeakSender<Order>) {
        self.leaving = true;
        self.step(RelayEvent::Above(HolderEvent::Leave));
        self.step(RelayEvent::Below(HomeEvent::Stop));
        self.blocks.clear();
        let left = async {
            while self.relay.above().is_connected() {
                tokio::select! {
                    order = orders.recv() => match order {
                        Some(order @ Order::Below(FromBelow::Heard(_))) => self.take(order, inbox),
                        // What is dropped is told that this is closed.
                        Some(_) => {}
                        None => return,
                    },
                    frame = next_frame(&mut self.stream) => self.told(frame),
                    Some(_) = self.below.tasks.join_next() => {}
                }
            }
        };
        // Those who do not answer are waited for by their leases, at the home.
        let _ = timeout(LEAVE_DEADLINE, left).await;
        if let Some(stream) = self.stream.take() {
            drain(stream).await;
        }
    }
}
