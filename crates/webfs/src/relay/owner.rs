//! The task that owns a replica's session: steps the holder's rules, performs their actions, and keeps the stream to
//! the home.

mod forgetting;

use super::ReplicaState;
use super::blocks::{Blocks, Counters, blocking};
use super::file::ReplicaObject;
use super::held::Held;
use super::limits::{LEAVE_DEADLINE, OPENS_IN_FLIGHT, RETRY_FIRST, RETRY_MOST};
use super::link::LinkError;
use super::lock::{LockAnswered, LockBook, Stands};
use super::stream::{Stream, connect, drain, next_frame};
use crate::cache::{CacheError, Sieve};
use crate::rules::{
    Answer, Believed, Down, Hello, Holder, HolderAction, HolderEvent, LeaseRules, LockWish, ReadFailure,
};
use crate::session::{FrameError, FrameReader, OpenRequest, encode};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use terms::{BootMs, Code, Problem, SessionId, VolumePath};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use trust::PublicKey;
use wire::Body;

type OpenAnswered = oneshot::Sender<Result<ReplicaObject, Problem>>;

/// What the owner is asked.
pub(super) enum Order {
    Open { path: VolumePath, answer: OpenAnswered },
    Lock { ticket: u64, wish: LockWish, wait: Duration, answer: LockAnswered },
    Unlock { ticket: u64 },
    State { answer: oneshot::Sender<ReplicaState> },
    Believe { believed: Believed, answer: oneshot::Sender<usize> },
    Close { answer: oneshot::Sender<()> },
}

/// What a task of the owner has brought.
enum Done {
    Stream { up: mpsc::Sender<Bytes>, down: Result<Body, LinkError> },
    Answered { request: u64, answer: Result<Found, LinkError> },
    Finished,
}

struct Found {
    held: Arc<Held>,
    callback: bool,
}

pub(super) struct Owner {
    blocks: Arc<Blocks>,
    home_key: PublicKey,
    holder: Holder,
    stream: Option<Stream>,
    retry: Duration,
    tasks: JoinSet<Done>,
    opens: Arc<Semaphore>,
    waiters: HashMap<u64, OpenAnswered>,
    next_waiter: u64,
    locks: LockBook,
    held: HashMap<VolumePath, Arc<Held>>,
    sieve: Sieve<VolumePath>,
    /// Whether a session stands.
    tell: watch::Sender<bool>,
}

impl Owner {
    pub(super) fn new(
        blocks: Arc<Blocks>,
        home_key: PublicKey,
        rules: LeaseRules,
        session: SessionId,
        tell: watch::Sender<bool>,
    ) -> Self {
        Self {
            blocks,
            home_key,
            holder: Holder::new(rules, session),
            stream: None,
            retry: RETRY_FIRST,
            tasks: JoinSet::new(),
            opens: Arc::new(Semaphore::new(OPENS_IN_FLIGHT)),
            waiters: HashMap::new(),
            next_waiter: 0,
            locks: LockBook::default(),
            held: HashMap::new(),
            sieve: Sieve::default(),
            tell,
        }
    }

    /// Takes up what an earlier run has cached: unverified until the home says that it is current.
    pub(super) fn load(mut self) -> Result<Self, CacheError> {
        let (blocks, now) = (self.blocks.clone(), self.now());
        blocks.cache.load(&blocks.volume, |record| {
            let held = Held::from_record(&blocks.volume, record, &self.home_key).ok()?;
            let (object, version) = (held.path.clone(), held.entry.version);
            let manifest = held.has_blocks().then(|| held.manifest().cloned()).flatten();
            self.holder.step(now, HolderEvent::Load { object: object.clone(), version });
            self.sieve.put(object.clone(), held.weight());
            self.held.insert(object.clone(), Arc::new(held));
            Some((object, manifest))
        })?;
        self.forget_what_is_too_much(now);
        Ok(self)
    }

    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        self.connect_after(Duration::ZERO);
        loop {
            let due = self.holder.next_deadline().map_or(LEAVE_DEADLINE, |deadline| deadline.since(self.now()));
            tokio::select! {
                order = orders.recv() => match order {
                    None => return self.leave().await,
                    Some(Order::Close { answer }) => {
                        self.leave().await;
                        // Nobody waits any more: fine.
                        let _ = answer.send(());
                        return;
                    }
                    Some(Order::Believe { believed, answer }) => drop(answer.send(self.believe(&believed))),
                    Some(Order::Open { path, answer }) => self.open(path, answer),
                    Some(Order::Lock { ticket, wish, wait, answer }) => {
                        self.locks.asked(ticket, wish.path.clone(), answer);
                        self.step(HolderEvent::Lock { waiter: ticket, wish, wait });
                    }
                    Some(Order::Unlock { ticket }) => self.unlock(ticket),
                    Some(Order::State { answer }) => {
                        let _ = answer.send(self.state());
                    }
                },
                frame = next_frame(&mut self.stream) => self.told(frame),
                Some(done) = self.tasks.join_next() => {
                    if let Ok(done) = done {
                        self.done(done);
                    }
                }
                () = sleep(due) => self.step(HolderEvent::Tick),
            }
        }
    }

    fn now(&self) -> BootMs {
        self.blocks.world.clock.boot()
    }

    fn state(&self) -> ReplicaState {
        ReplicaState {
            connected: self.holder.is_connected(),
            trusted_for: self.holder.trusted_until().since(self.now()),
            objects: self.holder.objects(),
            callbacks: self.holder.callbacks(),
            counts: self.blocks.counters.now(),
        }
    }

    fn open(&mut self, path: VolumePath, answer: OpenAnswered) {
        self.next_waiter += 1;
        self.waiters.insert(self.next_waiter, answer);
        self.step(HolderEvent::Read { waiter: self.next_waiter, object: path });
    }

    fn unlock(&mut self, ticket: u64) {
        match self.locks.dropped(ticket) {
            Stands::Waiting => self.step(HolderEvent::CancelLock { waiter: ticket }),
            Stands::Held(epoch) => self.step(HolderEvent::Unlock { epoch }),
            Stands::Nothing => {}
        }
    }

    fn told(&mut self, frame: Result<Option<Down>, FrameError>) {
        let connection = self.stream.as_ref().and_then(|stream| stream.connection);
        match (frame, connection) {
            (Ok(Some(message)), Some(connection)) => {
                if matches!(message, Down::Welcome { .. }) {
                    self.retry = RETRY_FIRST;
                }
                self.step(HolderEvent::Told { connection, message });
            }
            (ended, connection) => {
                if let Err(error) = ended {
                    tracing::debug!(volume = %self.blocks.volume, %error, "the stream to the home ended");
                }
                self.stream = None;
                if let Some(connection) = connection {
                    self.step(HolderEvent::Lost { connection });
                }
                self.connect_later();
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Stream { up, down: Ok(down) } => {
                self.stream = Some(Stream { up, down: FrameReader::new(down), connection: None });
                self.step(HolderEvent::Connected);
            }
            Done::Stream { down: Err(error), .. } => {
                tracing::debug!(volume = %self.blocks.volume, %error, "the home was not reached");
                self.connect_later();
            }
            Done::Answered { request, answer } => self.answered(request, answer),
            Done::Finished => {}
        }
    }

    fn answered(&mut self, request: u64, answer: Result<Found, LinkError>) {
        Counters::add(&self.blocks.counters.opens_asked, 1);
        let said = match &answer {
            Ok(Found { held, callback }) => {
                Answer::Found { version: held.entry.version, change: held.change, callback: *callback }
            }
            Err(LinkError::Refused(_)) => Answer::Nothing,
            Err(LinkError::Unreachable(_)) => Answer::Failed,
        };
        let actions = self.holder.step(self.now(), HolderEvent::Answered { request, answer: said });
        let keep = actions.iter().any(|action| matches!(action, HolderAction::ServeAnswer { keep: true, .. }));
        if let (true, Ok(found)) = (keep, &answer) {
            self.keep(found.held.clone());
        }
        for action in actions {
            self.act(action, Some(&answer));
        }
        self.publish();
    }

    fn step(&mut self, event: HolderEvent) {
        for action in self.holder.step(self.now(), event) {
            self.act(action, None);
        }
        self.publish();
    }

    /// Whoever reads blocks must know at once when the lease ends.
    fn publish(&self) {
        self.blocks.trusted_until.store(self.holder.trusted_until().0, Ordering::Release);
        let unproven = self.holder.unproven().unwrap_or_default();
        self.blocks.unproven.store(unproven.0, Ordering::Release);
        let connected = self.holder.is_connected();
        self.tell.send_if_modified(|told| std::mem::replace(told, connected) != connected);
    }

    fn act(&mut self, action: HolderAction, answer: Option<&Result<Found, LinkError>>) {
        match action {
            HolderAction::Greet(hello) => self.greet(hello),
            HolderAction::Send { connection, message } => self.send(connection, encode(&message)),
            HolderAction::Close { connection, reason } => {
                if let Some(reason) = reason {
                    tracing::info!(volume = %self.blocks.volume, %reason, "the home ended the session");
                }
                if let Some(stream) = self.stream.take_if(|stream| stream.connection == Some(connection)) {
                    self.tasks.spawn(async move {
                        drain(stream).await;
                        Done::Finished
                    });
                    self.connect_later();
                }
            }
            HolderAction::Drop { connection, change, objects } => {
                // Nobody below holds copies under a lease of ours.
                self.step(HolderEvent::Dropped { connection, change, objects });
            }
            HolderAction::Locked { waiter, epoch } => self.locks.locked(waiter, epoch),
            HolderAction::NotLocked { waiter, failure } => {
                self.locks.not_locked(waiter, failure, self.blocks.link.home());
            }
            HolderAction::LockLost { epoch } => self.locks.lost(epoch),
            HolderAction::Ask { request, stream, object } => self.ask(request, stream, object),
            HolderAction::ServeCached { waiter, object, .. } => self.serve_cached(waiter, object),
            HolderAction::ServeAnswer { waiter, keep, .. } => {
                let opened = match answer {
                    Some(Ok(found)) => Ok(ReplicaObject::new(&self.blocks, found.held.clone(), keep)),
                    Some(Err(LinkError::Refused(problem))) => Err(problem.clone()),
                    Some(Err(LinkError::Unreachable(_))) | None => Err(self.blocks.cut_off()),
                };
                self.serve(waiter, opened);
            }
            HolderAction::Fail { waiter, failure } => {
                let problem = match failure {
                    ReadFailure::Unreachable => self.blocks.cut_off(),
                    ReadFailure::RolledBack { seen, offered } => {
                        let detail = format!(
                            "the home offered version {offered} after {seen} of a file of {}",
                            self.blocks.volume
                        );
                        tracing::warn!(%detail, "refused");
                        Problem::new(Code::Internal, detail).next("ask the volume's administrator")
                    }
                };
                self.serve(waiter, Err(problem));
            }
        }
    }

    fn serve(&mut self, waiter: u64, opened: Result<ReplicaObject, Problem>) {
        if let Some(answer) = self.waiters.remove(&waiter) {
            // A reader that has gone away needs nothing.
            let _ = answer.send(opened);
        }
    }

    fn serve_cached(&mut self, waiter: u64, object: VolumePath) {
        let Some(held) = self.held.get(&object).cloned() else {
            // What the rules take for cached is always held; if ever not, asking again is right.
            self.step(HolderEvent::Evict { object: object.clone() });
            return self.step(HolderEvent::Read { waiter, object });
        };
        self.sieve.touch(&object);
        self.blocks.cache.touch(&self.blocks.volume, &object);
        Counters::add(&self.blocks.counters.opens_cached, 1);
        self.serve(waiter, Ok(ReplicaObject::new(&self.blocks, held, true)));
    }

    fn ask(&mut self, request: u64, stream: Option<Hello>, path: VolumePath) {
        let (blocks, key, opens) = (self.blocks.clone(), self.home_key.clone(), self.opens.clone());
        self.tasks.spawn(async move {
            let answer = async {
                let _slot = opens.acquire().await.map_err(|_| LinkError::Unreachable(blocks.cut_off()))?;
                let answer = blocks.link.open(OpenRequest { stream, path: path.clone() }).await?;
                let callback = answer.callback;
                let held = Held::check(&blocks.volume, &path, answer, &key).map_err(LinkError::Refused)?;
                Ok(Found { held: Arc::new(held), callback })
            };
            Done::Answered { request, answer: answer.await }
        });
    }

    /// Holds what the rules keep, and puts its record on disk.
    fn keep(&mut self, held: Arc<Held>) {
        self.sieve.put(held.path.clone(), held.weight());
        self.held.insert(held.path.clone(), held.clone());
        self.forget_what_is_too_much(self.now());
        let blocks = self.blocks.clone();
        self.tasks.spawn(async move {
            let record = blocking(move || {
                let manifest = held.has_blocks().then(|| held.manifest()).flatten();
                blocks.cache.keep(&blocks.volume, &held.path, &held.to_record(), manifest)
            });
            if let Err(error) = record.await {
                tracing::warn!(%error, "a record could not be cached");
            }
            Done::Finished
        });
    }

    fn greet(&mut self, hello: Hello) {
        if let Some(stream) = &mut self.stream {
            stream.connection = Some(hello.connection);
            self.send(hello.connection, encode(&hello));
        }
    }

    fn send(&mut self, connection: u64, frame: Bytes) {
        let Some(stream) = self.stream.as_ref().filter(|stream| stream.connection == Some(connection)) else {
            return;
        };
        if stream.up.try_send(frame).is_err() {
            self.stream = None;
            self.step(HolderEvent::Lost { connection });
            self.connect_later();
        }
    }

    fn connect_later(&mut self) {
        let delay = self.retry.mul_f64(0.5 + self.blocks.world.entropy.fraction());
        self.retry = (self.retry * 2).min(RETRY_MOST);
        self.connect_after(delay);
    }

    fn connect_after(&mut self, delay: Duration) {
        let link = self.blocks.link.clone();
        self.tasks.spawn(async move {
            sleep(delay).await;
            let (up, down) = connect(&*link).await;
            Done::Stream { up, down }
        });
    }

    /// Takes leave of the home and waits a little for it to take note.
    async fn leave(mut self) {
        let last = self.holder.step(self.now(), HolderEvent::Leave);
        self.publish();
        self.blocks.clear();
        let Some(stream) = self.stream.take() else { return };
        for action in last {
            if let HolderAction::Send { message, .. } = action {
                let _ = stream.up.try_send(encode(&message));
            }
        }
        drain(stream).await;
    }
}
