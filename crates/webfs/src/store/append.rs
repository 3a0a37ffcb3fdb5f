//! Appends to logs: placed at the end as it is in the writer's transaction, kept as pieces in the database until they
//! fill a block, which then goes into a file. What an append costs does not depend on how long the log is.

use super::apply::{Applying, failed};
use super::blocks::{BlockName, UploadFiles};
use super::error::StoreError;
use super::nodes::NewNode;
use super::placed::Placed;
use super::read::{Node, Walk};
use super::tree::{self, Changes};
use super::{Patch, Store};
use crate::limits::{BLOCK_BYTES, LOG_ENDS_KEPT, MAX_FILE_BYTES};
use crate::manifest::is_zeros;
use crate::model::{BlockRef, Entry, Manifest, Policy};
use crate::recent::Recent;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terms::{Digest, VolumePath};

/// Bytes for the end of a log, or for a file that is not there yet.
pub struct Append {
    /// Which file.
    pub path: VolumePath,
    /// What comes to its end.
    pub(super) bytes: Bytes,
    files: UploadFiles,
    ends: Arc<Ends>,
}

impl Store {
    /// Prepares an append. Under [`Policy::Log`] it is placed by the commit, wherever the end is then.
    pub fn append(&self, path: &VolumePath, bytes: Bytes) -> Append {
        let files = UploadFiles::new(self.0.blocks.clone());
        Append { path: path.clone(), bytes, files, ends: self.0.ends.clone() }
    }

    /// Prepares an append to a file that is changed like any other: made from this version, and refused if there is
    /// another one by then.
    pub async fn append_to(&self, object: Arc<super::Object>, bytes: Bytes) -> Result<Patch, StoreError> {
        let (len, request) = (bytes.len() as u64, Digest::of(&bytes));
        let mut patching = self.patch(object.clone(), object.entry.size).await?;
        patching.write(bytes).await?;
        Ok(Patch { request, appended: Some(len), ..patching.finish().await? })
    }
}

impl Append {
    /// See [`super::Prepared::hand_over`].
    pub(super) fn hand_over(&self) {
        self.files.hand_over();
    }
}

impl std::fmt::Debug for Append {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Append").field("path", &self.path).field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// The hashes of the unfinished ends of logs, as far as they were written by this process: so that an append need not
/// hash again what is there. What it says counts only for an end with the same length and hash.
pub(super) struct Ends(Mutex<Recent<i64, Arc<End>>>);

struct End {
    block: BlockRef,
    hasher: blake3::Hasher,
}

impl Default for Ends {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(LOG_ENDS_KEPT)))
    }
}

impl Ends {
    fn all(&self) -> MutexGuard<'_, Recent<i64, Arc<End>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hasher that has taken in the pieces of an end.
    fn hasher(&self, database: &Connection, series: i64, block: BlockRef) -> Result<blake3::Hasher, StoreError> {
        if let Some(end) = self.all().get(&series).filter(|end| end.block == block) {
            return Ok(end.hasher.clone());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes_of_pieces(database, series)?);
        Ok(hasher)
    }
}

/// What stands at the end of a log, in its last block that is not full.
enum Tail {
    /// Nothing: the last block is full.
    Empty,
    /// Pieces in the database.
    Pieces { series: i64, block: BlockRef },
    /// Something that was not appended to yet.
    Bytes(Bytes),
}

/// All pieces of a series, one behind the other.
pub(super) fn bytes_of_pieces(database: &Connection, series: i64) -> Result<Vec<u8>, StoreError> {
    let read = || -> rusqlite::Result<Vec<u8>> {
        let mut query = database.prepare_cached("SELECT bytes FROM piece WHERE series = ?1 ORDER BY at")?;
        let mut rows = query.query([series])?;
        let mut bytes = Vec::new();
        while let Some(row) = rows.next()? {
            bytes.extend_from_slice(row.get_ref(0)?.as_blob()?);
        }
        Ok(bytes)
    };
    read().map_err(failed)
}

/// Names a block that is no file, so that it can be kept in memory like others: no two have the same.
fn name_of(series: i64, hash: Digest) -> BlockName {
    let mut hasher = blake3::Hasher::new_derive_key("webos 2026 pieces of a log");
    hasher.update(&series.to_le_bytes()).update(&hash.0);
    let mut name = [0; 16];
    hasher.finalize_xof().fill(&mut name);
    BlockName(name)
}

/// The pieces of a block to be put down.
struct Piece {
    series: i64,
    at: u64,
    bytes: Bytes,
    hash: Digest,
}

impl Applying<'_> {
    /// Puts bytes at the end of a log, or makes a file of them. A change of a log shows in no listing's version: whoever
    /// holds one need not be told.
    pub(super) fn append(
        &self,
        append: &Append,
        rights: (bool, bool),
        walk: &Walk,
    ) -> Result<(Entry, bool), StoreError> {
        let (may_create, may_append) = rights;
        let path = &append.path;
        if path.is_root() {
            return Err(StoreError::Root);
        }
        let refuse = |create| StoreError::NotAllowed { path: path.clone(), create };
        if !walk.complete {
            if !may_create {
                return Err(refuse(true));
            }
            let parent = self.make_parents(path, false, walk)?;
            let empty = Manifest::of(b"").map_err(|_| StoreError::Closed)?;
            let content = tree::insert_inline(self.database, &empty, b"")?;
            let made = self.insert_node(&parent, path, NewNode::File(content))?;
            return Ok((self.extend(&made, content, append)?, true));
        }
        let content = super::apply::file_content(path, &walk.node)?;
        // Decided for another policy.
        if walk.node.policy != Policy::Log {
            return Err(StoreError::Moved { path: path.clone() });
        }
        if !may_append {
            return Err(refuse(false));
        }
        Ok((self.extend(&walk.node, content, append)?, false))
    }

    fn extend(&self, node: &Node, old: i64, append: &Append) -> Result<Entry, StoreError> {
        let before = tree::placed(self.database, old)?;
        let size = match before {
            Some(placed) => placed.size,
            None => tree::inline(self.database, old)?.len() as u64,
        };
        let after = size + append.bytes.len() as u64;
        if after > MAX_FILE_BYTES {
            return Err(StoreError::TooLarge { limit: MAX_FILE_BYTES });
        }
        let tail = self.tail(before, old, size, append)?;
        let (changes, piece) = self.place(&tail, size, append)?;
        if let (Tail::Pieces { .. }, Some(placed), Some(piece), 1) = (&tail, before, &piece, changes.len())
            && !tree::is_tree(after)
            && !self.is_shared(old, old)?
        {
            return self.extend_in_place(node, Placed { size: after, ..placed }, piece);
        }
        let (content, manifest) = tree::change(self.database, old, after, &changes)?;
        if let Some(piece) = piece {
            self.put_piece(content, after, &piece)?;
        }
        self.execute(
            "UPDATE node SET content = ?2, epoch = ?3, version = ?4, modified = ?5 WHERE id = ?1",
            params![node.id, content, self.epoch(), self.number(), self.time()],
        )?;
        self.forget_shorter(old, content)?;
        if let Tail::Pieces { series, .. } = tail {
            self.execute(
                "DELETE FROM piece WHERE series = ?1
                 AND NOT EXISTS (SELECT 1 FROM block WHERE block.pieces = ?1)",
                params![series],
            )?;
        }
        Ok(self.file_entry(&manifest, node.policy))
    }

    /// The usual append: one more piece, and the rows of the log as they are with it.
    fn extend_in_place(&self, node: &Node, after: Placed, piece: &Piece) -> Result<Entry, StoreError> {
        let number = ((after.size - 1) / BLOCK_BYTES).cast_signed();
        self.execute(
            "UPDATE block SET file = ?3, hash = ?4 WHERE line = ?1 AND number = ?2 AND last IS NULL",
            params![after.line, number, name_of(piece.series, piece.hash).0, piece.hash.0],
        )?;
        self.execute(
            "INSERT INTO piece VALUES (?1, ?2, ?3, ?4)",
            params![piece.series, piece.at.cast_signed(), after.line, &piece.bytes[..]],
        )?;
        let manifest = after.manifest(self.database)?;
        self.execute(
            "UPDATE content SET size = ?2, root = ?3 WHERE id = ?1",
            params![after.content, after.size.cast_signed(), manifest.root().0],
        )?;
        self.touch(node.id)?;
        Ok(self.file_entry(&manifest, node.policy))
    }

    fn tail(&self, before: Option<Placed>, old: i64, size: u64, append: &Append) -> Result<Tail, StoreError> {
        let Some(placed) = before else {
            let bytes = tree::inline(self.database, old)?;
            return Ok(if bytes.is_empty() { Tail::Empty } else { Tail::Bytes(bytes.into()) });
        };
        if size.is_multiple_of(BLOCK_BYTES) {
            return Ok(Tail::Empty);
        }
        #[allow(clippy::cast_possible_truncation)] // 1 MiB
        let (number, len) = (size / BLOCK_BYTES, (size % BLOCK_BYTES) as u32);
        match placed.last(self.database, number).map_err(failed)? {
            None => Ok(Tail::Bytes(crate::manifest::zeros(len.into()))),
            Some((_, hash, Some(series))) => Ok(Tail::Pieces { series, block: BlockRef { len, hash } }),
            Some((name, hash, None)) => {
                let read = append.files.read(name, &BlockRef { len, hash })?;
                read.map(Tail::Bytes).ok_or_else(|| super::dump::missing(name))
            }
        }
    }

    /// Which blocks become which: one that is full now goes into a file, the rest into a piece.
    fn place(&self, tail: &Tail, size: u64, append: &Append) -> Result<(Changes, Option<Piece>), StoreError> {
        let (mut changes, mut piece) = (Changes::new(), None);
        let mut rest = append.bytes.clone();
        let (mut number, filled) = (size / BLOCK_BYTES, size % BLOCK_BYTES);
        let mut tail = tail;
        #[allow(clippy::cast_possible_truncation)] // 1 MiB
        let room = (BLOCK_BYTES - filled) as usize;
        if rest.len() >= room {
            let mut whole = match tail {
                Tail::Empty => Vec::new(),
                Tail::Bytes(bytes) => bytes.to_vec(),
                Tail::Pieces { series, .. } => bytes_of_pieces(self.database, *series)?,
            };
            whole.extend_from_slice(&rest.split_to(room));
            let (name, block) = super::upload::write_block(&append.files, &whole)?;
            append.files.sync()?;
            changes.insert(number, name.map(|name| (name, block.hash)));
            (number, tail) = (number + 1, &Tail::Empty);
        }
        if !rest.is_empty() {
            piece = self.piece(tail, rest, append)?;
            let block = piece.as_ref().map(|piece| (name_of(piece.series, piece.hash), piece.hash));
            changes.insert(number, block);
        }
        Ok((changes, piece))
    }

    /// The next piece of an end; nothing while all of it is zeros, which no manifest names.
    fn piece(&self, tail: &Tail, bytes: Bytes, append: &Append) -> Result<Option<Piece>, StoreError> {
        let (series, at, mut hasher, bytes) = match tail {
            Tail::Pieces { series, block } => {
                let hasher = append.ends.hasher(self.database, *series, *block)?;
                (*series, u64::from(block.len), hasher, bytes)
            }
            Tail::Empty if is_zeros(&bytes) => return Ok(None),
            Tail::Bytes(tail) if is_zeros(tail) && is_zeros(&bytes) => return Ok(None),
            Tail::Empty => (self.next_series()?, 0, blake3::Hasher::new(), bytes),
            Tail::Bytes(tail) => {
                let whole = [&tail[..], &bytes[..]].concat();
                (self.next_series()?, 0, blake3::Hasher::new(), whole.into())
            }
        };
        hasher.update(&bytes);
        let hash = Digest(*hasher.finalize().as_bytes());
        #[allow(clippy::cast_possible_truncation)] // 1 MiB
        let block = BlockRef { len: (at + bytes.len() as u64) as u32, hash };
        append.ends.all().insert(series, Arc::new(End { block, hasher }), 1);
        Ok(Some(Piece { series, at, bytes, hash }))
    }

    fn next_series(&self) -> Result<i64, StoreError> {
        let mut query =
            self.database.prepare_cached("SELECT coalesce(max(series), 0) + 1 FROM piece").map_err(failed)?;
        query.query_row([], |row| row.get(0)).map_err(failed)
    }

    fn put_piece(&self, content: i64, size: u64, piece: &Piece) -> Result<(), StoreError> {
        let number = ((size - 1) / BLOCK_BYTES).cast_signed();
        self.execute(
            "INSERT INTO piece SELECT ?1, ?2, line, ?3 FROM content WHERE id = ?4",
            params![piece.series, piece.at.cast_signed(), &piece.bytes[..], content],
        )?;
        self.execute(
            "UPDATE block SET pieces = ?1
             WHERE line = (SELECT line FROM content WHERE id = ?2) AND number = ?3 AND last IS NULL",
            params![piece.series, content, number],
        )
    }

    /// The log was shorter: all of that is in what it is now, so nobody needs the row. Only where other contents share
    /// its blocks, as after a time under another policy, it stays for as long as they do.
    fn forget_shorter(&self, old: i64, new: i64) -> Result<(), StoreError> {
        if self.is_shared(old, new)? {
            return self.retire_content(Some(old));
        }
        self.execute("DELETE FROM content WHERE id = ?1", params![old])
    }

    /// Whether other contents than these share their blocks.
    fn is_shared(&self, old: i64, new: i64) -> Result<bool, StoreError> {
        let mut shared = self
            .database
            .prepare_cached(
                "SELECT 1 FROM content WHERE line = (SELECT line FROM content WHERE id = ?1) AND id NOT IN (?1, ?2)
                 LIMIT 1",
            )
            .map_err(failed)?;
        shared.exists([old, new]).map_err(failed)
    }
}

/// A block that is no file of its own, or was not when its content was opened: that of this name, or as the log is now,
/// cut to what it was. Nothing if it is not there any more.
pub(super) fn read_end(
    database: &Connection,
    (line, number): (i64, u64),
    name: BlockName,
    expected: BlockRef,
) -> Result<Option<EndBlock>, StoreError> {
    let mut query = database
        .prepare_cached(
            "SELECT file, hash, pieces FROM block WHERE line = ?1 AND number = ?2
             ORDER BY file = ?3 DESC, born DESC LIMIT 1",
        )
        .map_err(failed)?;
    let found: Option<([u8; 16], [u8; 32], Option<i64>)> = query
        .query_row(params![line, number.cast_signed(), name.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()
        .map_err(failed)?;
    Ok(match found {
        None => None,
        Some((name, hash, None)) => Some(EndBlock::File(BlockName(name), Digest(hash))),
        Some((_, _, Some(series))) => cut(bytes_of_pieces(database, series)?, expected).map(EndBlock::Bytes),
    })
}

/// The end of a log as it is read.
pub(super) enum EndBlock {
    /// It is in memory.
    Bytes(Bytes),
    /// It has become a full block, or was always a file.
    File(BlockName, Digest),
}

/// The beginning of what is there, if it is what was there.
pub(super) fn cut(mut bytes: Vec<u8>, expected: BlockRef) -> Option<Bytes> {
    bytes.truncate(expected.len as usize);
    expected.matches(&bytes).then(|| bytes.into())
}

/// What is wrong with the pieces of a content, if anything is.
pub(super) fn check(database: &Connection, placed: Placed) -> Result<Option<String>, StoreError> {
    for (number, series, block) in placed.ends(database).map_err(failed)? {
        if cut(bytes_of_pieces(database, series)?, block).is_none() {
            return Ok(Some(format!("the pieces of its block {number} do not match their hash")));
        }
    }
    Ok(None)
}
