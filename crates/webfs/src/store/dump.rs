//! A volume as one stream: the database as it is at one moment, then every block that it refers to, then the hash of
//! all of it. Changes go on meanwhile; collecting waits. It knows nothing of the tables.
//!
//! The stream is [`MAGIC`], then frames: what it is (1 byte), a name (16 bytes), a length (8 bytes, big endian), and
//! so many bytes. The last frame holds the BLAKE3 hash of all bytes before it.

use super::blocks::BlockName;
use super::error::StoreError;
use super::{DATABASE, Store, schema, tree};
use crate::model::BlockRef;
use rusqlite::Connection;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use terms::{ChangeNumber, Epoch};
use tokio::sync::OwnedMutexGuard;

/// How a dump begins.
pub(super) const MAGIC: &[u8] = b"webos volume dump 1\n";
pub(super) const FRAME_END: u8 = 0;
pub(super) const FRAME_DATABASE: u8 = 1;
pub(super) const FRAME_BLOCK: u8 = 2;
/// Bytes of a frame before its content.
pub(super) const FRAME_HEAD: usize = 25;

/// The database's copy while a dump runs.
const COPY: &str = "volume.db.dump";

/// What a dump holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dumped {
    /// Under which epoch.
    pub epoch: Epoch,
    /// The last change that is in it.
    pub change: ChangeNumber,
    /// Blocks: count.
    pub blocks: u64,
    /// Its length: bytes.
    pub bytes: u64,
}

/// The blocks that somebody was sent before.
#[derive(Debug, Clone, Default)]
pub struct Sent(HashSet<BlockName>);

/// A volume at one moment, about to be written out. Collecting waits until it is dropped.
pub struct Dumping {
    store: Store,
    copy: Passing,
    epoch: Epoch,
    change: ChangeNumber,
    blocks: BTreeMap<BlockName, BlockRef>,
    _no_collecting: OwnedMutexGuard<()>,
}

/// A file that is removed with its handle.
struct Passing(PathBuf);

impl Drop for Passing {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Store {
    /// Writes the volume out. A block that is not what it should be ends it with its name.
    pub async fn dump<W: Write + Send + 'static>(&self, out: W) -> Result<Dumped, StoreError> {
        let dumping = self.begin_dump().await?;
        tokio::task::spawn_blocking(move || dumping.write(out)).await.map_err(|_| StoreError::Closed)?
    }

    /// Takes the volume as it is now, to be written out. What was committed before is in it.
    pub async fn begin_dump(&self) -> Result<Dumping, StoreError> {
        // Held to the end, even if the caller goes away.
        let no_collecting = self.0.maintenance.clone().lock_owned().await;
        let store = self.clone();
        let begin = move || {
            let copy = Passing(store.0.dir.join(COPY));
            let failed = |error| StoreError::io("copying the database", &copy.0, error);
            // An empty file of ours: SQLite takes it with its mode, whatever a crash has left.
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600).open(&copy.0).map_err(failed)?;
            schema::copy(&store.0.dir.join(DATABASE), &copy.0)?;
            let database =
                Connection::open(&copy.0).map_err(|error| StoreError::database("reading the copy", error))?;
            let row = schema::volume_row(&database)?;
            let blocks = tree::blocks_in_use(&database)?;
            let (epoch, change, _no_collecting) = (row.epoch, row.change, no_collecting);
            Ok(Dumping { store, copy, epoch, change, blocks, _no_collecting })
        };
        tokio::task::spawn_blocking(begin).await.map_err(|_| StoreError::Closed)?
    }
}

impl Dumping {
    /// Under which epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last change that is in it.
    pub fn change(&self) -> ChangeNumber {
        self.change
    }

    /// Leaves out what somebody was sent before, and notes the rest as sent.
    #[must_use]
    pub fn after(mut self, sent: &mut Sent) -> Self {
        self.blocks.retain(|name, _| sent.0.insert(*name));
        self
    }

    /// Writes it out. Blocks the thread.
    pub fn write(self, out: impl Write) -> Result<Dumped, StoreError> {
        let copy: &Path = &self.copy.0;
        let mut out = Hashed { out, hasher: blake3::Hasher::new(), bytes: 0 };
        out.write_all(MAGIC).map_err(written)?;
        let failed = |error| StoreError::io("reading the database's copy", copy, error);
        let mut file = File::open(copy).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        out.head(FRAME_DATABASE, [0; 16], length)?;
        io::copy(&mut (&mut file).take(length), &mut out).map_err(written)?;
        for (name, block) in &self.blocks {
            let bytes = self.store.0.blocks.read(*name, block)?.ok_or_else(|| missing(*name))?;
            out.head(FRAME_BLOCK, name.0, bytes.len() as u64)?;
            out.write_all(&bytes).map_err(written)?;
        }
        let hash = *out.hasher.finalize().as_bytes();
        out.head(FRAME_END, [0; 16], hash.len() as u64)?;
        out.write_all(&hash).and_then(|()| out.flush()).map_err(written)?;
        let Self { epoch, change, ref blocks, .. } = self;
        Ok(Dumped { epoch, change, blocks: blocks.len() as u64, bytes: out.bytes })
    }
}

fn written(error: io::Error) -> StoreError {
    StoreError::io("writing", "the dump", error)
}

pub(super) fn missing(name: BlockName) -> StoreError {
    StoreError::Damaged { what: format!("block {name}"), why: "its file is missing".into() }
}

struct Hashed<W> {
    out: W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Hashed<W> {
    fn head(&mut self, kind: u8, name: [u8; 16], length: u64) -> Result<(), StoreError> {
        let mut head = [0; FRAME_HEAD];
        head[0] = kind;
        head[1..17].copy_from_slice(&name);
        head[17..].copy_from_slice(&length.to_be_bytes());
        self.write_all(&head).map_err(written)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.hasher.update(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
