//! Block files: written once under a new name, synced, checked against their hash at each read from disk.
//! It relies on the database to say which names are in use; it never overwrites a file.

use super::error::StoreError;
use crate::model::BlockRef;
use bytes::Bytes;
use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use world::World;

/// Names tried for a new block before giving up: two random names of 128 bits never meet by chance.
const NAME_ATTEMPTS: usize = 4;

/// A block file's name: random, never used twice. Its first byte names the folder.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlockName(pub(crate) [u8; 16]);

impl BlockName {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits)?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for BlockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for BlockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The system calls on block files; a test puts a failing one in its place.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Creates a new private file with these bytes and syncs its content. Leaves nothing behind on failure.
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        if written.is_err() {
            // Best effort: what stays is an orphan, which the collector removes.
            let _ = fs::remove_file(path);
        }
        written
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// The folder of block files of one volume.
pub(crate) struct BlockFolder {
    dir: PathBuf,
    world: World,
    disk: Box<dyn Disk>,
    /// Files of uploads that are not committed yet: the collector leaves them alone.
    live: Mutex<HashSet<BlockName>>,
}

impl BlockFolder {
    /// Makes the folder with its 256 subfolders, durably.
    pub(crate) fn create(dir: &Path, disk: &dyn Disk) -> Result<(), StoreError> {
        let failed = |error| StoreError::io("making the block folders", dir, error);
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700).recursive(true);
        for shard in 0..=u8::MAX {
            builder.create(dir.join(format!("{shard:02x}"))).map_err(failed)?;
        }
        disk.sync_folder(dir).map_err(failed)
    }

    pub(crate) fn open(dir: PathBuf, world: World, disk: Box<dyn Disk>) -> Self {
        Self { dir, world, disk, live: Mutex::default() }
    }

    fn shard_path(&self, shard: u8) -> PathBuf {
        self.dir.join(format!("{shard:02x}"))
    }

    pub(crate) fn path_of(&self, name: BlockName) -> PathBuf {
        self.shard_path(name.0[0]).join(name.to_string())
    }

    fn live(&self) -> std::sync::MutexGuard<'_, HashSet<BlockName>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a block and checks it. A missing file is `None`: the caller knows whether it may be missing.
    pub(crate) fn read(&self, name: BlockName, expected: &BlockRef) -> Result<Option<Bytes>, StoreError> {
        let path = self.path_of(name);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("opening a block", path, error)),
        };
        // One byte more than expected, so that a longer file is noticed.
        let mut bytes = Vec::with_capacity(expected.len as usize + 1);
        let limited = (&mut file).take(u64::from(expected.len) + 1).read_to_end(&mut bytes);
        limited.map_err(|error| StoreError::io("reading a block", &path, error))?;
        if !expected.matches(&bytes) {
            let why = format!(
                "{} bytes that do not match length {} and hash {}",
                bytes.len(),
                expected.len,
                expected.hash
            );
            return Err(StoreError::Damaged { what: format!("block {name}"), why });
        }
        Ok(Some(Bytes::from(bytes)))
    }

    /// All block files on disk, for the collector and the checker. Names that are no block's are not ours.
    pub(crate) fn names(&self) -> Result<Vec<BlockName>, StoreError> {
        let mut names = Vec::new();
        for shard in 0..=u8::MAX {
            let path = self.shard_path(shard);
            let failed = |error| StoreError::io("listing blocks", &path, error);
            for entry in fs::read_dir(&path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                names.extend(entry.file_name().to_str().and_then(BlockName::parse));
            }
        }
        Ok(names)
    }

    pub(crate) fn is_live(&self, name: BlockName) -> bool {
        self.live().contains(&name)
    }

    /// Removes a block file; it is no error if it is gone.
    pub(crate) fn remove(&self, name: BlockName) -> Result<(), StoreError> {
        let path = self.path_of(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("removing a block", path, error))
            }
            _ => Ok(()),
        }
    }
}

/// The block files of one upload, all in one folder. Removed when the last handle is dropped, unless committed.
pub(crate) struct UploadFiles {
    folder: Arc<BlockFolder>,
    shard: u8,
    names: Mutex<Vec<BlockName>>,
    keep: std::sync::atomic::AtomicBool,
}

impl UploadFiles {
    pub(crate) fn new(folder: Arc<BlockFolder>) -> Self {
        let mut shard = [0u8];
        folder.world.entropy.fill(&mut shard);
        Self { folder, shard: shard[0], names: Mutex::default(), keep: false.into() }
    }

    /// Writes and syncs one block under a new name. Blocks the thread.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<BlockName, StoreError> {
        let mut collided = io::Error::from(io::ErrorKind::AlreadyExists);
        for _ in 0..NAME_ATTEMPTS {
            let mut name = [0u8; 16];
            self.folder.world.entropy.fill(&mut name);
            name[0] = self.shard;
            let name = BlockName(name);
            // Known to the collector before the file exists. A name that is live belongs to another upload.
            if !self.folder.live().insert(name) {
                continue;
            }
            match self.folder.disk.write_new(&self.folder.path_of(name), bytes) {
                Ok(()) => {
                    self.names.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                    return Ok(name);
                }
                Err(error) => {
                    self.folder.live().remove(&name);
                    if error.kind() != io::ErrorKind::AlreadyExists {
                        return Err(StoreError::io("writing a block", self.folder.path_of(name), error));
                    }
                    collided = error;
                }
            }
        }
        Err(StoreError::io("naming a block", self.folder.shard_path(self.shard), collided))
    }

    /// Reads a block of the folder, whosever it is, and checks it.
    pub(crate) fn read(&self, name: BlockName, expected: &BlockRef) -> Result<Option<Bytes>, StoreError> {
        self.folder.read(name, expected)
    }

    /// Makes the names of all blocks written so far durable. Blocks the thread.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let path = self.folder.shard_path(self.shard);
        self.folder.disk.sync_folder(&path).map_err(|error| StoreError::io("syncing a block folder", path, error))
    }

    /// From now on the files belong to the database, or to the collector: they are not removed with this handle.
    pub(crate) fn hand_over(&self) {
        self.keep.store(true, std::sync::atomic::Ordering::Release);
    }
}

impl Drop for UploadFiles {
    fn drop(&mut self) {
        let names = std::mem::take(self.names.get_mut().unwrap_or_else(PoisonError::into_inner));
        let keep = self.keep.load(std::sync::atomic::Ordering::Acquire);
        for name in &names {
            if !keep && let Err(error) = self.folder.remove(*name) {
                tracing::warn!(%name, %error, "an abandoned block stays until the next collection");
            }
        }
        let mut live = self.folder.live();
        for name in &names {
            live.remove(name);
        }
    }
}
