//! A volume whose home is elsewhere, as a relay or a surrogate has it: leased, cached, checked.
//!
//! An open is answered from the cache while callback and lease stand, else by the home; a block is given only when
//! it matches what the home has signed; and when the lease has ended and the home cannot be reached nothing is given
//! at all. It never decides rights: whoever serves from it asks with the access list that came with the open.

mod blocks;
mod file;
mod held;
pub mod limits;
mod link;
mod lock;
mod owner;
mod stream;

#[cfg(test)]
mod tests;

pub use blocks::ReplicaCounts;
pub use file::{ReplicaDirectory, ReplicaFile, ReplicaLink, ReplicaObject};
pub use link::{HomeLink, LinkError, PoolLink};
pub use lock::LockGuard;

use crate::cache::{Cache, CacheError};
use crate::rules::limits::MAX_LOCKS_PER_SESSION;
use crate::rules::{Believed, LeaseRules, LockMode, LockWish};
use blocks::{Blocks, blocking};
use limits::REPLICA_QUEUE;
use lock::Ticket;
use owner::{Order, Owner};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use terms::{Code, Epoch, Problem, SessionId, VolumeName, VolumePath};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use trust::PublicKey;
use world::World;

/// What a replica looks like now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaState {
    /// Whether the session stream to the home stands.
    pub connected: bool,
    /// How much longer the cache is trusted without another renewal.
    pub trusted_for: Duration,
    /// Objects known, valid or not: count.
    pub objects: usize,
    /// Objects with a callback: count.
    pub callbacks: usize,
    /// What it has done.
    pub counts: ReplicaCounts,
}

/// A handle on a replica of one volume. Cheap to clone; the session ends with the last one.
#[derive(Clone)]
pub struct Replica(Arc<Inner>);

struct Inner {
    inbox: mpsc::Sender<Order>,
    blocks: Arc<Blocks>,
    connected: watch::Receiver<bool>,
    locks: Arc<Semaphore>,
    tickets: AtomicU64,
}

impl Replica {
    /// Starts a replica: takes up what the cache holds of the volume, and keeps a session with the home from now on,
    /// whether it can be reached yet or not. `home_key` is the key that signs the volume's manifests.
    pub async fn start(
        world: &World,
        volume: VolumeName,
        home_key: PublicKey,
        link: Arc<dyn HomeLink>,
        cache: Cache,
        rules: LeaseRules,
    ) -> Result<Self, CacheError> {
        let mut session = [0; 16];
        world.entropy.fill(&mut session);
        let blocks = Arc::new(Blocks::new(volume, link, cache, world.clone()));
        let (tell, connected) = watch::channel(false);
        let owner = Owner::new(blocks.clone(), home_key, rules, SessionId(session), tell);
        let owner = blocking(move || owner.load()).await?;
        let (inbox, orders) = mpsc::channel(REPLICA_QUEUE);
        // It ends with the last handle.
        tokio::spawn(owner.run(orders));
        let (locks, tickets) = (Arc::new(Semaphore::new(MAX_LOCKS_PER_SESSION)), AtomicU64::new(0));
        Ok(Self(Arc::new(Inner { inbox, blocks, connected, locks, tickets })))
    }

    /// Opens an object as it is now.
    ///
    /// # Errors
    /// [`Code::Unavailable`], naming the home, if it cannot be reached and the cache may not be used; what the home
    /// answers otherwise.
    pub async fn open(&self, path: &VolumePath) -> Result<ReplicaObject, Problem> {
        self.ask(|answer| Order::Open { path: path.clone(), answer }).await?
    }

    /// Locks a path, waiting so long while others hold it: they exclude each other, not those who do not ask. What is
    /// opened after this shows all that was published under the lock before. Dropping the future gives up the wait.
    ///
    /// # Errors
    /// [`Code::Timeout`] if others hold it, [`Code::Unavailable`] if the home does not answer.
    pub async fn lock(&self, path: &VolumePath, mode: LockMode, wait: Duration) -> Result<LockGuard, Problem> {
        let busy =
            |_| Problem::new(Code::Busy, format!("{MAX_LOCKS_PER_SESSION} locks are held or waited for here"));
        let room = self.0.locks.clone().try_acquire_owned().map_err(busy)?;
        let place = self.0.inbox.clone().reserve_owned().await.map_err(|_| self.closed())?;
        let number = self.0.tickets.fetch_add(1, Ordering::Relaxed);
        let ticket = Ticket { number, place: Some(place), _room: room };
        let wish = LockWish::whole(path.clone(), mode, number);
        let granted = self.ask(|answer| Order::Lock { ticket: number, wish, wait, answer }).await??;
        Ok(LockGuard::new(path.clone(), granted, ticket))
    }

    /// The volume.
    pub fn volume(&self) -> &VolumeName {
        &self.0.blocks.volume
    }

    /// Takes the word of the volume's signed record about its epoch. Answers how many objects it undid.
    pub async fn believe(&self, believed: Believed) -> Result<usize, Problem> {
        self.ask(|answer| Order::Believe { believed, answer }).await
    }

    /// The epoch that the home has shown and that no signed record has proved yet: ask for the record, and believe it.
    pub fn unproven(&self) -> Option<Epoch> {
        let epoch = self.0.blocks.unproven.load(Ordering::Acquire);
        (epoch > 0).then_some(Epoch(epoch))
    }

    /// What the replica looks like now.
    pub async fn state(&self) -> Result<ReplicaState, Problem> {
        self.ask(|answer| Order::State { answer }).await
    }

    /// Waits until a session with the home stands.
    pub async fn connected(&self) -> Result<(), Problem> {
        let mut connected = self.0.connected.clone();
        connected.wait_for(|connected| *connected).await.map(drop).map_err(|_| self.closed())
    }

    /// Whether the lease covers what is cached at this moment.
    pub fn is_trusted(&self) -> bool {
        self.0.blocks.is_trusted()
    }

    /// Ends the session, so that the home waits for this holder no more. Opens fail from here on.
    pub async fn close(&self) {
        // An owner that is gone has closed.
        let _ = self.ask(|answer| Order::Close { answer }).await;
    }

    /// Ends the session and removes all that is cached of the volume, in memory and on disk.
    pub async fn close_and_drop_cache(&self) -> Result<(), CacheError> {
        self.close().await;
        let (cache, volume) = (self.0.blocks.cache.clone(), self.volume().clone());
        blocking(move || cache.drop_volume(&volume)).await
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        self.0.inbox.send(order(answer)).await.map_err(|_| self.closed())?;
        answered.await.map_err(|_| self.closed())
    }

    fn closed(&self) -> Problem {
        Problem::new(Code::Unavailable, format!("{} is not served here any more", self.volume()))
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("volume", self.volume()).finish_non_exhaustive()
    }
}
