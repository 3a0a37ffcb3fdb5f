//! A volume's leases at its home: one task owns the rules' table and does what it says.
//!
//! Everybody else speaks to it through one bounded inbox: streams bring frames, opens ask for callbacks, and
//! changes wait here until nobody trusts a copy of what they touch. It never decides rights and never reads content
//! but to compare versions.

mod debts;
mod holdings;
mod owner;
pub(crate) mod stream;
pub(crate) mod streams;

#[cfg(test)]
mod tests;

use crate::gate::{ChangeEnd, ChangeGate, ChangePermit, Touched};
use crate::rules::limits::MAX_PENDING_CHANGES;
use crate::rules::{Hello, LeaseRules, LockEpoch, Waiting};
use crate::session::limits::HOME_QUEUE;
use crate::store::{Store, StoreError};
use futures_util::future::{BoxFuture, FutureExt};
use owner::{Order, Owner};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use terms::{ChangeNumber, Code, Location, Principal, Problem, VolumePath};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use trust::Bucket;
use wire::Body;
use world::World;

/// What the home grants with an open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The volume's change number.
    pub change: ChangeNumber,
    /// Whether the holder will be told of changes.
    pub callback: bool,
}

/// What a volume's leases look like now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaseState {
    /// Sessions with a lease, or of before a restart: count.
    pub sessions: usize,
    /// Callbacks: count.
    pub callbacks: usize,
    /// Changes that wait or are being committed: count.
    pub changes: usize,
    /// Advisory locks that are held: count.
    pub locks: usize,
    /// Who holds a session, each once.
    pub holders: Vec<Principal>,
    /// For whom changes wait.
    pub waiting: Vec<Waiting>,
}

/// Whether a holder may read what lies at a location under an access list: asked when it registers what it has
/// cached. Rights of groups and certificates are looked at each time.
pub type MayRead = Arc<dyn Fn(&Location, &Bucket) -> bool + Send + Sync>;

/// A handle on a volume's leases. Cheap to clone; the owner ends with the last one.
#[derive(Clone)]
pub struct Coherence(Arc<Inner>);

struct Inner {
    inbox: mpsc::Sender<Order>,
    changes: Arc<Semaphore>,
    tokens: AtomicU64,
}

impl Coherence {
    /// Takes up the leases of a volume whose home starts here. After a crash changes wait for the sessions that the
    /// store has recorded.
    pub async fn start(store: Store, world: World, rules: LeaseRules) -> Result<Self, StoreError> {
        let (inbox, orders) = mpsc::channel(HOME_QUEUE);
        let owner = Owner::start(store, world, rules, orders).await?;
        tokio::spawn(owner.run(inbox.downgrade()));
        let changes = Arc::new(Semaphore::new(MAX_PENDING_CHANGES));
        Ok(Self(Arc::new(Inner { inbox, changes, tokens: AtomicU64::new(0) })))
    }

    /// Takes a session's stream: `up` is the request's body, the returned body is the answer's. The caller has
    /// authenticated the holder.
    pub async fn stream(&self, holder: Principal, may_read: MayRead, up: Body) -> Result<Body, Problem> {
        let (down, body) = stream::down_body();
        self.send(Order::Stream { holder, may_read, up, down }).await?;
        Ok(body)
    }

    /// Gives a callback on an object, if it can. What is read after this is what the callback is about.
    pub async fn open(
        &self,
        holder: Principal,
        stream: Option<Hello>,
        object: VolumePath,
    ) -> Result<Grant, Problem> {
        self.ask(|answer| Order::Open { holder, stream, object, answer }).await
    }

    /// Ends the sessions of a holder whose rights have changed in a way that is no change of the volume: that of a
    /// group, or of a certificate. It must come again, and what it holds is checked anew.
    pub async fn expel(&self, holder: Principal) -> Result<(), Problem> {
        self.send(Order::Expel { holder }).await
    }

    /// What the leases look like now.
    pub async fn state(&self) -> Result<LeaseState, Problem> {
        self.ask(|answer| Order::State { answer }).await
    }

    /// Ends all leases, so that a restart waits for nobody: at most for
    /// [`crate::session::limits::STOP_DEADLINE`]. From here on nothing is granted and no change is admitted.
    pub async fn stop(&self) {
        // An owner that is gone has stopped.
        let _ = self.ask(|answer| Order::Stop { answer }).await;
    }

    /// Waits, after [`Coherence::stop`], until every change that was admitted has ended: what is read then is final.
    /// Answers whether that came within the time.
    pub async fn drained(&self, within: std::time::Duration) -> bool {
        let all = u32::try_from(MAX_PENDING_CHANGES).unwrap_or(u32::MAX);
        matches!(tokio::time::timeout(within, self.0.changes.acquire_many(all)).await, Ok(Ok(_)))
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        self.send(order(answer)).await?;
        answered.await.map_err(|_| gone())
    }

    async fn send(&self, order: Order) -> Result<(), Problem> {
        self.0.inbox.send(order).await.map_err(|_| gone())
    }
}

impl std::fmt::Debug for Coherence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Coherence")
    }
}

fn gone() -> Problem {
    Problem::new(Code::Unavailable, "the volume's home is stopping").next("try again in a moment")
}

impl ChangeGate for Coherence {
    fn before_change(&self, touched: Touched) -> BoxFuture<'_, Result<Box<dyn ChangePermit>, Problem>> {
        self.admit(touched, None)
    }

    fn before_locked_change(
        &self,
        touched: Touched,
        lock: LockEpoch,
    ) -> BoxFuture<'_, Result<Box<dyn ChangePermit>, Problem>> {
        self.admit(touched, Some(lock))
    }
}

impl Coherence {
    fn admit(
        &self,
        touched: Touched,
        lock: Option<LockEpoch>,
    ) -> BoxFuture<'_, Result<Box<dyn ChangePermit>, Problem>> {
        async move {
            let busy =
                || Problem::new(Code::Busy, format!("{MAX_PENDING_CHANGES} changes of this volume wait already"));
            let room = self.0.changes.clone().try_acquire_owned().map_err(|_| busy())?;
            // The place in the inbox for the change's end is reserved now: the end must never have to wait.
            let place = self.0.inbox.clone().reserve_owned().await.map_err(|_| gone())?;
            let token = self.0.tokens.fetch_add(1, Ordering::Relaxed);
            let permit = Permit { place: Some(place), token, _room: room };
            let (answer, admitted) = oneshot::channel();
            self.send(Order::Change { token, touched, lock, answer }).await?;
            admitted.await.map_err(|_| gone())??;
            let permit: Box<dyn ChangePermit> = Box::new(permit);
            Ok(permit)
        }
        .boxed()
    }
}

/// A change under way. Whatever becomes of it, the owner is told: also when it is dropped while it waits.
struct Permit {
    place: Option<mpsc::OwnedPermit<Order>>,
    token: u64,
    _room: OwnedSemaphorePermit,
}

impl Permit {
    fn tell(&mut self, committed: Option<ChangeNumber>) {
        if let Some(place) = self.place.take() {
            place.send(Order::Ended { token: self.token, committed });
        }
    }
}

impl ChangePermit for Permit {
    fn ended(mut self: Box<Self>, end: ChangeEnd) {
        self.tell(match end {
            ChangeEnd::Committed(change) => Some(change),
            ChangeEnd::NotCommitted => None,
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.tell(None);
    }
}
