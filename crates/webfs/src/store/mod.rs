//! A volume on this machine: metadata in SQLite, blocks in files, one writer thread with group commit.
//!
//! Operations are whole and carry their preconditions; what is answered is on disk. The store never decides
//! rights and never talks to holders of copies: it only checks, in the change's own transaction, that what was
//! decided and recalled still fits.

mod append;
mod apply;
mod blocks;
mod change;
mod check;
mod collect;
mod content;
mod dump;
mod error;
mod history;
mod ledger;
mod making;
mod memory;
mod mutate;
mod names;
mod nodes;
mod patch;
mod placed;
mod policies;
mod read;
mod readers;
mod receive;
mod restore;
mod schema;
mod sessions;
mod tree;
mod upgrade;
mod upload;
mod writer;

#[cfg(test)]
mod tests;

pub use append::Append;
pub use change::{Change, Conditions, Outcome, Precondition, Prepared, Put, TargetLists};
pub use check::{Fault, Report};
pub use collect::Collected;
pub use dump::{Dumped, Dumping, Sent};
pub use error::StoreError;
pub use history::Since;
pub use patch::{Patch, Patching};
pub use read::{Lookup, Missing, Object};
pub use receive::Receiving;
pub use restore::Restored;
pub use sessions::RecordedSession;
pub use upload::Upload;

use crate::gate::{ChangePermit, Touched, Ungated};
use crate::limits::{LIST_PAGE, WRITE_QUEUE};
use crate::model::Listing;
use append::Ends;
use blocks::{BlockFolder, Disk, RealDisk};
use making::Making;
use memory::Memory;
use names::Surroundings;
use readers::Readers;
use rusqlite::{Connection, OptionalExtension};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use terms::{ChangeNumber, Digest, Epoch, OperationId, SessionId, VolumeName, VolumePath};
use tokio::sync::{mpsc, oneshot, watch};
use trust::Bucket;
use world::World;
use writer::{Plain, Position, Work};

const DATABASE: &str = "volume.db";
/// The database while the volume is being made.
const DRAFT: &str = "volume.db.new";
const BLOCKS: &str = "blocks";
const LOCK: &str = "lock";

/// A handle on an open volume; cheap to clone. The volume closes with the last one, which waits, blocking its
/// thread, until the changes under way are committed.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    name: VolumeName,
    dir: PathBuf,
    epoch: Epoch,
    world: World,
    readers: Readers,
    memory: Arc<Memory>,
    blocks: Arc<BlockFolder>,
    ends: Arc<Ends>,
    /// One check or collection at a time.
    maintenance: Arc<tokio::sync::Mutex<()>>,
    writer: Option<mpsc::Sender<Box<dyn Work>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// Held open for its lock.
    _lock: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer ends when its queue is empty and its sender gone; wait, so that the volume can be opened again.
        drop(self.writer.take());
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!(volume = %self.name, "the writer of the volume panicked");
        }
    }
}

impl Store {
    /// Makes an empty volume in `dir` and opens it. The root's access control list is `owner_bucket`. A folder
    /// that has lost the database of its volume is refused: a new one would have all blocks collected.
    ///
    /// Blocks the thread.
    pub fn create(dir: &Path, name: &VolumeName, owner_bucket: &Bucket, world: World) -> Result<Self, StoreError> {
        Self::create_on(dir, name, owner_bucket, world, Box::new(RealDisk))
    }

    fn create_on(
        dir: &Path,
        name: &VolumeName,
        owner_bucket: &Bucket,
        world: World,
        disk: Box<dyn Disk>,
    ) -> Result<Self, StoreError> {
        let making = Making::begin(dir, disk)?;
        schema::create(&making.draft(), name, owner_bucket, world.clock.unix())?;
        making.finish(world)
    }

    /// Opens the volume in `dir`. Blocks the thread, longer after a crash.
    pub fn open(dir: &Path, world: World) -> Result<Self, StoreError> {
        Self::open_on(dir, world, Box::new(RealDisk))
    }

    fn open_on(dir: &Path, world: World, disk: Box<dyn Disk>) -> Result<Self, StoreError> {
        if !dir.join(DATABASE).exists() {
            let (lost, dir) = (dir.join(BLOCKS).exists() && !dir.join(DRAFT).exists(), dir.into());
            return Err(if lost { StoreError::NoDatabase { dir } } else { StoreError::NoVolume { dir } });
        }
        Self::open_locked(dir, lock(dir)?, world, disk)
    }

    fn open_locked(dir: &Path, lock: File, world: World, disk: Box<dyn Disk>) -> Result<Self, StoreError> {
        let database = dir.join(DATABASE);
        let (connection, row) = schema::writer(&database, dir)?;
        let readers = Readers::open(&database)?;
        let memory = Arc::new(Memory::new(row.change));
        let (sender, inbox) = mpsc::channel(WRITE_QUEUE);
        let thread = std::thread::Builder::new()
            .name(format!("write {}", row.name.name))
            .spawn({
                let memory = memory.clone();
                move || writer::run(connection, inbox, &memory)
            })
            .map_err(|error| StoreError::io("starting the writer", dir, error))?;
        Ok(Self(Arc::new(Inner {
            name: row.name,
            dir: dir.into(),
            epoch: row.epoch,
            blocks: Arc::new(BlockFolder::open(dir.join(BLOCKS), world.clone(), disk)),
            ends: Arc::default(),
            world,
            readers,
            memory,
            maintenance: Arc::default(),
            writer: Some(sender),
            thread: Mutex::new(Some(thread)),
            _lock: lock,
        })))
    }

    /// The volume's name.
    pub fn name(&self) -> &VolumeName {
        &self.0.name
    }

    /// The folder that holds the volume.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Under which epoch this home sequences the volume.
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// The last committed change that every later lookup takes in. Read it *before* a lookup to say what the
    /// lookup's answer takes in.
    pub fn change(&self) -> ChangeNumber {
        self.0.memory.change()
    }

    /// What was touched after this change number, as far as it is still known.
    pub fn since(&self, after: ChangeNumber) -> Since {
        self.0.memory.history().since(after)
    }

    /// Changes whenever something was committed, after which [`Store::since`] and every lookup show it.
    pub fn follow(&self) -> watch::Receiver<ChangeNumber> {
        self.0.memory.history().follow()
    }

    /// What is at this path, if it is in memory: without waiting.
    pub fn lookup_now(&self, path: &VolumePath) -> Option<Arc<Object>> {
        self.0.memory.object(path)
    }

    /// What is at this path.
    pub async fn lookup(&self, path: &VolumePath) -> Result<Lookup, StoreError> {
        if let Some(object) = self.lookup_now(path) {
            return Ok(Lookup::Found(object));
        }
        let (as_of, wanted) = (self.change(), path.clone());
        let lookup =
            self.0.readers.read("looking up a path", move |database| read::lookup(database, &wanted)).await?;
        if let Lookup::Found(object) = &lookup {
            self.0.memory.keep(as_of, object);
        }
        Ok(lookup)
    }

    /// A directory's entries after the name `after` (empty: from the first), at most [`LIST_PAGE`].
    pub async fn list(&self, path: &VolumePath, after: &str) -> Result<Listing, StoreError> {
        let (path, after) = (path.clone(), after.to_string());
        let list = move |database: &Connection| read::list(database, &path, &after, LIST_PAGE);
        self.0.readers.read("listing a directory", list).await
    }

    /// The access control list with this hash, if it is in memory: without waiting.
    pub fn bucket_now(&self, hash: Digest) -> Option<Arc<Bucket>> {
        self.0.memory.bucket(&hash)
    }

    /// The access control list with this hash.
    pub async fn bucket(&self, hash: Digest) -> Result<Arc<Bucket>, StoreError> {
        if let Some(bucket) = self.bucket_now(hash) {
            return Ok(bucket);
        }
        let doing = "reading an access control list";
        let query = move |database: &Connection| {
            let body: Option<Vec<u8>> = database
                .prepare_cached("SELECT body FROM bucket WHERE hash = ?1")
                .and_then(|mut query| query.query_row([hash.0], |row| row.get(0)).optional())
                .map_err(|error| StoreError::database(doing, error))?;
            Ok(body)
        };
        let missing =
            || StoreError::Damaged { what: format!("access control list {hash}"), why: "it is missing".into() };
        let body = self.0.readers.read(doing, query).await?.ok_or_else(missing)?;
        let bucket = Arc::new(schema::decode_bucket(hash, &body)?);
        self.0.memory.keep_bucket(hash, bucket.clone());
        Ok(bucket)
    }

    /// The hashes of the distinct access control lists of an object and all below it: who changes them all must
    /// administer under each.
    pub async fn buckets_below(&self, path: &VolumePath) -> Result<Vec<Digest>, StoreError> {
        let path = path.clone();
        let doing = "reading access control lists";
        let query = move |database: &Connection| {
            let failed = |error| StoreError::database(doing, error);
            let walk = read::walk(database, &path).map_err(failed)?;
            if !walk.complete {
                return Err(StoreError::NotFound { path });
            }
            read::buckets_below(database, walk.node.id).map_err(failed)
        };
        self.0.readers.read(doing, query).await
    }

    /// What is to be recalled before a change, as things are now.
    pub async fn touched(&self, change: &Change) -> Result<Touched, StoreError> {
        let failed = |error| StoreError::database("looking at what a change touches", error);
        let (path, reach) = (change.path().clone(), change.reach());
        let query = move |database: &Connection| {
            let walk = read::walk(database, &path).map_err(failed)?;
            Surroundings::look(database, &path, reach, &walk).map_err(failed)
        };
        let surroundings = self.0.readers.read("looking at what a change touches", query).await?;
        Ok(surroundings.recalled_by(change))
    }

    /// Whether the ledger has an outcome for this operation.
    pub async fn is_recorded(&self, id: OperationId) -> Result<bool, StoreError> {
        self.0.readers.read("asking the ledger", move |database| ledger::is_recorded(database, id)).await
    }

    /// The recorded outcome of this change under this operation id. Another change under it is refused.
    pub async fn outcome_of(&self, id: OperationId, change: &Change) -> Result<Option<Outcome>, StoreError> {
        let fingerprint = change.fingerprint();
        let query = move |database: &Connection| ledger::recorded(database, id, fingerprint);
        self.0.readers.read("asking the ledger", query).await
    }

    /// Forgets the outcomes of a session below a number: its client has them. A retry of one is refused by name.
    pub async fn settle(&self, session: SessionId, below: u64) -> Result<(), StoreError> {
        let now = self.0.world.clock.unix();
        self.write(move |database, _| ledger::settle(database, session, below, now)).await
    }

    /// Starts taking in content.
    pub fn upload(&self) -> Upload {
        Upload::new(self)
    }

    /// Commits a change. It is durable when this returns; whether it happened is told to the permit even if the
    /// caller has gone away.
    pub async fn change_with(
        &self,
        change: Change,
        conditions: Conditions,
        permit: Box<dyn ChangePermit>,
    ) -> Result<Outcome, StoreError> {
        let (answer, outcome) = oneshot::channel();
        let world = self.0.world.clone();
        let mutation = mutate::Mutation { change, conditions, world, permit, answer, outcome: None };
        self.send(Box::new(mutation)).await?;
        outcome.await.map_err(|_| StoreError::Closed)?
    }

    /// Commits a change to a volume that nobody else uses.
    pub async fn apply(&self, change: Change, conditions: Conditions) -> Result<Outcome, StoreError> {
        self.change_with(change, conditions, Box::new(Ungated)).await
    }

    async fn send(&self, work: Box<dyn Work>) -> Result<(), StoreError> {
        let writer = self.0.writer.as_ref().ok_or(StoreError::Closed)?;
        writer.send(work).await.map_err(|_| StoreError::Closed)
    }

    /// Runs a closure on the writer, in its transaction.
    async fn write<R, F>(&self, work: F) -> Result<R, StoreError>
    where
        F: FnOnce(&Connection, &Position) -> Result<R, StoreError> + Send + 'static,
        R: Send + 'static,
    {
        let (work, answer) = Plain::new(work);
        self.send(Box::new(work)).await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("name", &self.0.name).field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

/// Whether this folder holds a volume, rather than nothing or one in the making.
pub fn is_volume(dir: &Path) -> bool {
    dir.join(DATABASE).exists()
}

/// Takes the volume's lock, or says that somebody has it.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| StoreError::io("opening the lock", &path, error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked { dir: dir.into() }),
        Err(error) => Err(StoreError::io("locking the volume", path, error.into())),
    }
}
