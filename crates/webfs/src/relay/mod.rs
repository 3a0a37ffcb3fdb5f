//! A volume whose home is elsewhere, as a relay or a surrogate has it: leased, cached, checked.
//!
//! An open is answered from the cache while callback and lease stand, else by the server above, which is the home or
//! another relay; a block is given only when it matches what the home has signed; and when the lease has ended and the
//! server cannot be reached nothing is given at all. It serves further holders below it in the same way. It never
//! decides rights: whoever serves from it asks with the access list that came with the open.

mod below;
mod blocks;
mod file;
mod held;
pub mod limits;
mod link;
mod lock;
mod owner;
mod stream;
mod upward;

#[cfg(test)]
mod tests;

pub use blocks::ReplicaCounts;
pub(crate) use file::replaced;
pub use file::{ReplicaDirectory, ReplicaFile, ReplicaLink, ReplicaObject};
pub use link::{HomeLink, LinkError, PoolLink};
pub use lock::LockGuard;

use crate::cache::{Cache, CacheError};
use crate::coherence::MayRead;
use crate::coherence::stream::down_body;
use crate::rules::limits::MAX_LOCKS_PER_SESSION;
use crate::rules::{Believed, LeaseRules, LockMode, LockWish};
use crate::session::{OpenAnswer, OpenRequest};
use below::FromBelow;
use blocks::{Blocks, blocking};
use limits::REPLICA_QUEUE;
use lock::Ticket;
use owner::{OpenAnswered, Opened, Order, Owner};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use terms::{Code, Epoch, Location, Principal, Problem, Right, SessionId, VolumeName, VolumePath};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use trust::{Authorised, Bucket, PublicKey};
use wire::Body;
use world::World;

/// What a replica looks like now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaState {
    /// Whether the session stream to the server above stands.
    pub connected: bool,
    /// How much longer the cache is trusted without another renewal.
    pub trusted_for: Duration,
    /// Objects known, valid or not: count.
    pub objects: usize,
    /// Objects with a callback: count.
    pub callbacks: usize,
    /// Sessions of holders below: count.
    pub sessions_below: usize,
    /// Callbacks that they have: count.
    pub callbacks_below: usize,
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
    /// Starts a replica: takes up what the cache holds of the volume, and keeps a session with the server above from
    /// now on, whether it can be reached yet or not. `home_key` is the key that signs the volume's manifests.
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
        let (inbox, orders) = mpsc::channel(REPLICA_QUEUE);
        let owner = Owner::new(blocks.clone(), home_key, rules, SessionId(session), tell, inbox.downgrade());
        let owner = blocking(move || owner.load()).await?;
        // It ends with the last handle.
        tokio::spawn(owner.run(orders, inbox.downgrade()));
        let (locks, tickets) = (Arc::new(Semaphore::new(MAX_LOCKS_PER_SESSION)), AtomicU64::new(0));
        Ok(Self(Arc::new(Inner { inbox, blocks, connected, locks, tickets })))
    }

    /// Opens an object as it is now.
    ///
    /// # Errors
    /// [`Code::Unavailable`], naming the home, if it cannot be reached and the cache may not be used; what the home
    /// answers otherwise.
    pub async fn open(&self, path: &VolumePath) -> Result<ReplicaObject, Problem> {
        let opened = self.ask(|answer| Order::Open { path: path.clone(), answer }).await??;
        Ok(opened.object)
    }

    /// Takes the session stream of a holder below: `up` is the request's body, the returned body is the answer's. The
    /// caller has authenticated the holder; `may_read` tells whether it may have what it registers.
    pub async fn stream(&self, holder: Principal, may_read: MayRead, up: Body) -> Result<Body, Problem> {
        let (down, body) = down_body();
        self.send(Order::Below(FromBelow::Stream { holder, may_read, up, down })).await?;
        Ok(body)
    }

    /// What a holder below asks to open, so that its rights can be decided; nothing is granted with it.
    ///
    /// # Errors
    /// As [`Replica::open`], and [`Code::Unsupported`] if too many relays stand between the holder and the home.
    pub async fn look_below(&self, holder: Principal, request: OpenRequest) -> Result<LookedAt, Problem> {
        let once = OpenRequest { stream: None, ..request.clone() };
        let opened = self.ask(|answer| below(holder.clone(), once, answer)).await??;
        Ok(LookedAt { holder, request, opened })
    }

    /// Answers an open of a holder below, with a callback if it can have one. `decide` gives the proof that the holder
    /// may read the location under its access list: before a callback is given, so that nobody holds up changes of what
    /// it may not read, and again for what is given.
    pub async fn open_below(
        &self,
        looked_at: LookedAt,
        decide: impl Fn(&Location, &Bucket) -> Result<Authorised, Problem>,
    ) -> Result<OpenAnswer, Problem> {
        let LookedAt { holder, request, opened } = looked_at;
        let answer = self.decided(&opened, &decide)?;
        // What is not kept here nobody below can keep: to ask again would double the messages at each relay.
        if request.stream.is_none() || !opened.kept {
            return Ok(answer);
        }
        let opened = self.ask(|answer| below(holder, request, answer)).await??;
        self.decided(&opened, &decide)
    }

    fn decided(
        &self,
        opened: &Opened,
        decide: &impl Fn(&Location, &Bucket) -> Result<Authorised, Problem>,
    ) -> Result<OpenAnswer, Problem> {
        let location = Location { volume: self.volume().clone(), path: opened.object.path().clone() };
        let authorised = decide(&location, opened.object.bucket())?;
        if *authorised.location() != location || authorised.right() != Right::Read {
            return Err(Problem::new(Code::Denied, format!("no proof of the right r on {location}")));
        }
        Ok(opened.object.answer(opened.grant))
    }

    /// Who holds a session below, each once.
    pub async fn holders(&self) -> Result<Vec<Principal>, Problem> {
        self.ask(|answer| Order::Below(FromBelow::Holders { answer })).await
    }

    /// Ends the sessions of a holder below whose rights have changed in a way that is no change of the volume. It must
    /// come again, and what it holds is checked anew.
    pub async fn expel(&self, holder: Principal) -> Result<(), Problem> {
        self.send(Order::Below(FromBelow::Expel { holder })).await
    }

    /// Who the volume's home is.
    pub fn home(&self) -> &Principal {
        self.0.blocks.link.home()
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
        self.send(order(answer)).await?;
        answered.await.map_err(|_| self.closed())
    }

    async fn send(&self, order: Order) -> Result<(), Problem> {
        self.0.inbox.send(order).await.map_err(|_| self.closed())
    }

    fn closed(&self) -> Problem {
        Problem::new(Code::Unavailable, format!("{} is not served here any more", self.volume()))
    }
}

/// What a holder below asks to open, as it was when it asked.
pub struct LookedAt {
    holder: Principal,
    request: OpenRequest,
    opened: Opened,
}

impl LookedAt {
    /// What was found.
    pub fn object(&self) -> &ReplicaObject {
        &self.opened.object
    }
}

impl std::fmt::Debug for LookedAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LookedAt")
            .field("holder", &self.holder)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

fn below(holder: Principal, request: OpenRequest, answer: OpenAnswered) -> Order {
    Order::Below(FromBelow::Open { holder, request, answer })
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("volume", self.volume()).finish_non_exhaustive()
    }
}
