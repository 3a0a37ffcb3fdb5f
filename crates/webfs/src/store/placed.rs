//! Where a content's blocks are: the rows of its line that count for it, as blocks, nodes and files.

use super::blocks::BlockName;
use super::error::StoreError;
use super::tree::is_tree;
use crate::manifest::{Manifest, ManifestError, Node, NodePlace, block_count, bytes_of};
use crate::model::BlockRef;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::ops::Range;
use terms::Digest;

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::database("reading a file's blocks", error)
}

/// A content that lies in block files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) content: i64,
    pub(super) line: i64,
    /// Its length: bytes.
    pub(super) size: u64,
}

const VALID: &str = "born <= ?2 AND (last IS NULL OR last >= ?2)";

impl Placed {
    /// Its blocks in a range of numbers, without holes.
    pub(super) fn blocks(
        &self,
        database: &Connection,
        numbers: Range<u64>,
    ) -> rusqlite::Result<BTreeMap<u64, (BlockName, Digest)>> {
        let mut query = database.prepare_cached(&format!(
            "SELECT number, file, hash FROM block WHERE line = ?1 AND number >= ?3 AND number < ?4 AND {VALID}"
        ))?;
        let (start, end) = (numbers.start.cast_signed(), numbers.end.cast_signed());
        let rows = query.query_map(params![self.line, self.content, start, end], |row| {
            let number: i64 = row.get(0)?;
            Ok((number.cast_unsigned(), (BlockName(row.get(1)?), Digest(row.get(2)?))))
        })?;
        rows.collect()
    }

    /// Its block files with what has to be in them: all blocks but the unfinished end of a log.
    pub(super) fn files(&self, database: &Connection) -> rusqlite::Result<Vec<(BlockName, BlockRef)>> {
        let mut query = database.prepare_cached(&format!(
            "SELECT number, file, hash FROM block WHERE line = ?1 AND pieces IS NULL AND {VALID}"
        ))?;
        let rows = query.query_map(params![self.line, self.content], |row| {
            let number: i64 = row.get(0)?;
            Ok(self.file(number.cast_unsigned(), BlockName(row.get(1)?), Digest(row.get(2)?)))
        })?;
        rows.collect()
    }

    /// Its blocks that lie in pieces: number, series, and what has to be in it.
    pub(super) fn ends(&self, database: &Connection) -> rusqlite::Result<Vec<(u64, i64, BlockRef)>> {
        let mut query = database.prepare_cached(&format!(
            "SELECT number, pieces, hash FROM block WHERE line = ?1 AND pieces IS NOT NULL AND {VALID}"
        ))?;
        let rows = query.query_map(params![self.line, self.content], |row| {
            let number = row.get::<_, i64>(0)?.cast_unsigned();
            Ok((number, row.get(1)?, self.file(number, BlockName([0; 16]), Digest(row.get(2)?)).1))
        })?;
        rows.collect()
    }

    /// A block as the newest content of the line has it: its name, its hash, and its series if it lies in pieces.
    pub(super) fn last(
        &self,
        database: &Connection,
        number: u64,
    ) -> rusqlite::Result<Option<(BlockName, Digest, Option<i64>)>> {
        let mut query = database.prepare_cached(
            "SELECT file, hash, pieces FROM block WHERE line = ?1 AND number = ?2 AND last IS NULL",
        )?;
        let found = query.query_row(params![self.line, number.cast_signed()], |row| {
            Ok((BlockName(row.get(0)?), Digest(row.get(1)?), row.get(2)?))
        });
        found.optional()
    }

    /// A block file with what has to be in it.
    pub(super) fn file(&self, number: u64, name: BlockName, hash: Digest) -> (BlockName, BlockRef) {
        let held = bytes_of(self.size, number);
        #[allow(clippy::cast_possible_truncation)] // 1 MiB
        (name, BlockRef { len: (held.end - held.start) as u32, hash })
    }

    /// A node of its tree: made of the rows of its children.
    pub(super) fn node(&self, database: &Connection, place: NodePlace) -> rusqlite::Result<Node> {
        let children = place.children(self.size);
        let found: Vec<(u64, Digest)> = if place.level == 1 {
            let blocks = self.blocks(database, children.clone())?;
            blocks.into_iter().map(|(number, (_, hash))| (number, hash)).collect()
        } else {
            let mut query = database.prepare_cached(&format!(
                "SELECT number, hash FROM manifest_node
                 WHERE line = ?1 AND level = ?3 AND number >= ?4 AND number < ?5 AND {VALID}"
            ))?;
            let (start, end) = (children.start.cast_signed(), children.end.cast_signed());
            let rows = query.query_map(params![self.line, self.content, place.level - 1, start, end], |row| {
                Ok((row.get::<_, i64>(0)?.cast_unsigned(), Digest(row.get(1)?)))
            })?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        let mut node = Node::default();
        for (number, hash) in found {
            let here = NodePlace { level: place.level - 1, number };
            node.set(here.place_in_parent(), Some(hash));
        }
        Ok(node)
    }

    /// The nodes of its tree.
    pub(super) fn nodes(&self, database: &Connection) -> rusqlite::Result<BTreeMap<NodePlace, Digest>> {
        let mut query = database.prepare_cached(&format!(
            "SELECT level, number, hash FROM manifest_node WHERE line = ?1 AND {VALID}"
        ))?;
        let rows = query.query_map(params![self.line, self.content], |row| {
            let number: i64 = row.get(1)?;
            Ok((NodePlace { level: row.get(0)?, number: number.cast_unsigned() }, Digest(row.get(2)?)))
        })?;
        rows.collect()
    }

    /// Its manifest, from its rows.
    pub(super) fn manifest(&self, database: &Connection) -> Result<Manifest, StoreError> {
        let damaged = |error: ManifestError| StoreError::Damaged {
            what: format!("content {} in the database", self.content),
            why: error.to_string(),
        };
        let count = block_count(self.size);
        if is_tree(self.size) {
            let top = self.node(database, NodePlace::top(self.size)).map_err(failed)?;
            return Manifest::tree(self.size, top).map_err(damaged);
        }
        let found = self.blocks(database, 0..count).map_err(failed)?;
        let block = |number| {
            let held = bytes_of(self.size, number);
            let len = held.end - held.start;
            #[allow(clippy::cast_possible_truncation)] // 1 MiB
            found
                .get(&number)
                .map_or_else(|| BlockRef::zeros(len), |(_, hash)| BlockRef { len: len as u32, hash: *hash })
        };
        Manifest::new((0..count).map(block).collect()).map_err(damaged)
    }
}
