//! The blocks of contents as rows. Contents that came from each other by partial changes form a line: a block or node
//! stands in it once, from the first content that has it (`born`) to the last, so that a change adds and ends few rows.

use super::blocks::BlockName;
use super::change::PreparedContent;
use super::error::StoreError;
use super::placed::Placed;
use crate::limits::FLAT_BLOCKS;
use crate::manifest::{Before, Edit, Manifest, Node, NodePlace, block_count};
use crate::model::BlockRef;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use terms::Digest;

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::database("reading or changing a file's blocks", error)
}

/// Blocks by number: the file and the hash of each; nothing for a hole.
pub(super) type Changes = BTreeMap<u64, Option<(BlockName, Digest)>>;

/// Every block file that a content refers to, with what has to be in it.
pub(super) fn blocks_in_use(database: &Connection) -> Result<BTreeMap<BlockName, BlockRef>, StoreError> {
    let mut query = database.prepare("SELECT id FROM content WHERE line IS NOT NULL").map_err(failed)?;
    let contents: Vec<i64> = query.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(failed)?;
    let mut files = BTreeMap::new();
    for content in contents {
        let Some(placed) = placed(database, content)? else { continue };
        files.extend(placed.files(database).map_err(failed)?);
    }
    Ok(files)
}

/// A content as it is while a change makes nodes from it.
struct Rows<'a> {
    database: &'a Connection,
    placed: Placed,
}

impl Before for Rows<'_> {
    type Error = StoreError;
    fn node(&self, place: NodePlace) -> Result<Node, StoreError> {
        self.placed.node(self.database, place).map_err(failed)
    }
}

/// Where a content lies; nothing if it lies inline.
pub(super) fn placed(database: &Connection, content: i64) -> Result<Option<Placed>, StoreError> {
    let mut query = database
        .prepare_cached("SELECT line, size FROM content WHERE id = ?1 AND line IS NOT NULL")
        .map_err(failed)?;
    let row =
        query.query_row([content], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?))).optional().map_err(failed)?;
    Ok(row.map(|(line, size)| Placed { content, line, size: size.cast_unsigned() }))
}

/// A new content that lies in its row.
pub(super) fn insert_inline(database: &Connection, manifest: &Manifest, bytes: &[u8]) -> Result<i64, StoreError> {
    insert_row(database, manifest, Some(bytes), None)
}

/// The bytes of a content that lies in its row.
pub(super) fn inline(database: &Connection, content: i64) -> Result<Vec<u8>, StoreError> {
    let mut query = database.prepare_cached("SELECT inline FROM content WHERE id = ?1").map_err(failed)?;
    let bytes: Option<Vec<u8>> = query.query_row([content], |row| row.get(0)).map_err(failed)?;
    Ok(bytes.unwrap_or_default())
}

/// A new content that stands alone.
pub(super) fn insert(
    database: &Connection,
    manifest: &Manifest,
    prepared: &PreparedContent,
) -> Result<i64, StoreError> {
    match prepared {
        PreparedContent::Inline(bytes) => insert_row(database, manifest, Some(bytes), None),
        PreparedContent::Blocks { blocks, .. } => {
            let line = new_line(database)?;
            let content = insert_row(database, manifest, None, Some(line))?;
            let changes: Changes =
                (0..).zip(blocks.iter().map(|(name, block)| name.map(|name| (name, block.hash)))).collect();
            let placed = Placed { content, line, size: 0 };
            put_rows(database, placed, manifest.size(), &changes)?;
            Ok(content)
        }
    }
}

/// A new content that takes the place of an old one in its line: these blocks, the rest as they were. Gives its id and
/// manifest. What an inline content held must be among the blocks.
pub(super) fn change(
    database: &Connection,
    old: i64,
    size: u64,
    changes: &Changes,
) -> Result<(i64, Manifest), StoreError> {
    let before = match placed(database, old)? {
        Some(placed) => placed,
        None => Placed { content: old, line: new_line(database)?, size: 0 },
    };
    // Its root is known when its rows are there.
    let content =
        insert_row(database, &Manifest::of(b"").map_err(|_| StoreError::Closed)?, None, Some(before.line))?;
    let after = Placed { content, line: before.line, size };
    end_rows(database, before, size, changes)?;
    let manifest = match put_rows_from(database, before, content, size, changes)? {
        Some(manifest) => manifest,
        None => after.manifest(database)?,
    };
    let mut update =
        database.prepare_cached("UPDATE content SET size = ?2, root = ?3 WHERE id = ?1").map_err(failed)?;
    update.execute(params![content, size.cast_signed(), manifest.root().0]).map_err(failed)?;
    Ok((content, manifest))
}

fn new_line(database: &Connection) -> Result<i64, StoreError> {
    let mut insert = database.prepare_cached("INSERT INTO line DEFAULT VALUES").map_err(failed)?;
    insert.execute([]).map_err(failed)?;
    Ok(database.last_insert_rowid())
}

fn insert_row(
    database: &Connection,
    manifest: &Manifest,
    inline: Option<&[u8]>,
    line: Option<i64>,
) -> Result<i64, StoreError> {
    let mut insert = database
        .prepare_cached("INSERT INTO content (size, root, inline, line) VALUES (?1, ?2, ?3, ?4)")
        .map_err(failed)?;
    let (size, root) = (manifest.size().cast_signed(), manifest.root().0);
    insert.execute(params![size, root, inline, line]).map_err(failed)?;
    Ok(database.last_insert_rowid())
}

/// What the old content is the last to have.
fn end_rows(database: &Connection, old: Placed, size: u64, changes: &Changes) -> Result<(), StoreError> {
    let mut end = database
        .prepare_cached("UPDATE block SET last = ?2 WHERE line = ?1 AND number = ?3 AND last IS NULL")
        .map_err(failed)?;
    for number in changes.keys() {
        end.execute(params![old.line, old.content, number.cast_signed()]).map_err(failed)?;
    }
    if size < old.size {
        let mut behind = database
            .prepare_cached("UPDATE block SET last = ?2 WHERE line = ?1 AND number >= ?3 AND last IS NULL")
            .map_err(failed)?;
        behind.execute(params![old.line, old.content, block_count(size).cast_signed()]).map_err(failed)?;
    }
    Ok(())
}

fn put_rows(database: &Connection, new: Placed, size: u64, changes: &Changes) -> Result<(), StoreError> {
    put_rows_from(database, new, new.content, size, changes).map(drop)
}

/// The rows that are new with a content, and for a tree its manifest.
fn put_rows_from(
    database: &Connection,
    before: Placed,
    content: i64,
    size: u64,
    changes: &Changes,
) -> Result<Option<Manifest>, StoreError> {
    let edited = if is_tree(size) {
        let blocks = changes.iter().map(|(number, block)| (*number, block.map(|(_, hash)| hash))).collect();
        // Reads the blocks as they were: before the new ones are put in.
        Some(Edit { from: before.size, to: size, blocks: &blocks }.apply(&Rows { database, placed: before })?)
    } else {
        None
    };
    let mut insert = database
        .prepare_cached("INSERT INTO block (line, number, born, file, hash) VALUES (?1, ?2, ?3, ?4, ?5)")
        .map_err(failed)?;
    for (number, block) in changes {
        if let Some((name, hash)) = block {
            insert.execute(params![before.line, number.cast_signed(), content, name.0, hash.0]).map_err(failed)?;
        }
    }
    let Some(edited) = edited else {
        end_nodes(database, before, |_| 0)?;
        return Ok(None);
    };
    let top = NodePlace::top(size);
    end_nodes(database, before, |level| if level > top.level { 0 } else { NodePlace::count(level, size) })?;
    let mut end = database
        .prepare_cached(
            "UPDATE manifest_node SET last = ?2 WHERE line = ?1 AND level = ?3 AND number = ?4 AND last IS NULL",
        )
        .map_err(failed)?;
    let mut insert = database
        .prepare_cached("INSERT INTO manifest_node (line, level, number, born, hash) VALUES (?1, ?2, ?3, ?4, ?5)")
        .map_err(failed)?;
    for (place, hash) in &edited.nodes {
        let number = place.number.cast_signed();
        if before.content != content {
            end.execute(params![before.line, before.content, place.level, number]).map_err(failed)?;
        }
        if let Some(hash) = hash {
            insert.execute(params![before.line, place.level, number, content, hash.0]).map_err(failed)?;
        }
    }
    Ok(Some(edited.manifest))
}

/// Ends the nodes behind the new end: on each level those from a number on.
fn end_nodes(database: &Connection, old: Placed, keep: impl Fn(u8) -> u64) -> Result<(), StoreError> {
    if !is_tree(old.size) {
        return Ok(());
    }
    let mut end = database
        .prepare_cached(
            "UPDATE manifest_node SET last = ?2 WHERE line = ?1 AND level = ?3 AND number >= ?4 AND last IS NULL",
        )
        .map_err(failed)?;
    for level in 1..=NodePlace::top(old.size).level {
        end.execute(params![old.line, old.content, level, keep(level).cast_signed()]).map_err(failed)?;
    }
    Ok(())
}

/// The lines of which no content is left go, with their blocks and nodes.
pub(super) fn forget_contents(database: &Connection, replaced: i64) -> rusqlite::Result<usize> {
    let lines: Vec<i64> = database
        .prepare_cached("SELECT DISTINCT line FROM content WHERE replaced <= ?1 AND line IS NOT NULL")?
        .query_map([replaced], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let count = database.execute("DELETE FROM content WHERE replaced <= ?1", params![replaced])?;
    let mut forget = database.prepare_cached(
        "DELETE FROM line WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM content WHERE content.line = ?1)",
    )?;
    for line in lines {
        forget.execute([line])?;
    }
    Ok(count)
}

/// Sets when a content was replaced: never before one that it came from, whose blocks it may share.
pub(super) fn retire(database: &Connection, content: i64, now: i64) -> Result<(), StoreError> {
    let mut update = database
        .prepare_cached(
            "UPDATE content SET replaced = max(?2, coalesce(
                 (SELECT max(older.replaced) FROM content AS older WHERE older.line = content.line), 0))
             WHERE id = ?1",
        )
        .map_err(failed)?;
    update.execute(params![content, now]).map(drop).map_err(failed)
}

/// What a check of a content in blocks found.
pub(super) struct Checked {
    /// What is wrong with its rows.
    pub(super) wrong: Option<String>,
    /// Its block files.
    pub(super) blocks: Vec<(BlockName, BlockRef)>,
}

/// Makes a content's manifest anew from its blocks and compares it with what is stored.
pub(super) fn check(database: &Connection, placed: Placed, root: Digest) -> Result<Checked, StoreError> {
    let found = placed.blocks(database, 0..u64::MAX >> 1).map_err(failed)?;
    let blocks = placed.files(database).map_err(failed)?;
    let wrong = if let Some(why) = super::append::check(database, placed)? {
        Some(why)
    } else if found.last_key_value().is_some_and(|(last, _)| *last >= block_count(placed.size)) {
        Some("it has blocks behind its end".into())
    } else if is_tree(placed.size) {
        let changes = found.iter().map(|(number, (_, hash))| (*number, Some(*hash))).collect();
        let empty = Rows { database, placed: Placed { size: 0, ..placed } };
        let made = Edit { from: 0, to: placed.size, blocks: &changes }.apply(&empty)?;
        let root_made = made.manifest.root();
        let nodes = made.nodes.into_iter().filter_map(|(place, hash)| Some((place, hash?))).collect();
        if root_made != root {
            Some(format!("its blocks give root {root_made}, its row says {root}"))
        } else {
            (placed.nodes(database).map_err(failed)? != nodes).then(|| "the nodes of its tree are wrong".into())
        }
    } else {
        None
    };
    Ok(Checked { wrong, blocks })
}

pub(super) fn is_tree(size: u64) -> bool {
    block_count(size) > FLAT_BLOCKS as u64
}
