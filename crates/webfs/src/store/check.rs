//! Proving that a volume is whole: every manifest's blocks are there with the right bytes, every file has content,
//! every directory is reachable, every list has its hash. It reads everything and changes nothing.

use super::Store;
use super::blocks::BlockName;
use super::error::StoreError;
use super::read::{self, Content};
use super::schema::{ROOT, decode_bucket};
use super::tree;
use crate::model::BlockRef;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use terms::Digest;

/// Something that should not be so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Fault {
    /// Where.
    pub what: String,
    /// What is wrong there.
    pub why: String,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Files: count.
    pub files: u64,
    /// Directories with the root: count.
    pub directories: u64,
    /// Symbolic links: count.
    pub links: u64,
    /// Block files of manifests, checked byte by byte: count.
    pub blocks: u64,
    /// Content in files and in the database: bytes, replaced versions included.
    pub bytes: u64,
    /// Block files of no manifest: count. No fault: a crash during an upload leaves them, collecting removes them.
    pub orphans: u64,
    /// What is wrong; empty for a whole volume.
    pub faults: Vec<Fault>,
}

/// What the database alone can tell, and the blocks to look at.
#[derive(Default)]
struct Inventory {
    report: Report,
    blocks: BTreeMap<BlockName, BlockRef>,
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::database("checking the volume", error)
}

impl Store {
    /// Checks the whole volume. Reads every block; collecting waits meanwhile.
    pub async fn fsck(&self) -> Result<Report, StoreError> {
        let _one_at_a_time = self.0.maintenance.lock().await;
        let inventory = self.0.readers.read("checking the volume", inventory).await?;
        let blocks = self.0.blocks.clone();
        let check = move || {
            let Inventory { mut report, blocks: expected } = inventory;
            for (name, block) in expected {
                report.blocks += 1;
                let why = match blocks.read(name, &block) {
                    Ok(Some(_)) => continue,
                    Ok(None) => "its file is missing".to_string(),
                    Err(error) => error.to_string(),
                };
                report.faults.push(Fault { what: format!("block {name}"), why });
            }
            report
        };
        let mut report = tokio::task::spawn_blocking(check).await.map_err(|_| StoreError::Closed)?;
        report.orphans = self.orphans().await?.len() as u64;
        Ok(report)
    }
}

fn inventory(database: &Connection) -> Result<Inventory, StoreError> {
    let mut inventory = Inventory::default();
    inventory.sqlite(database).map_err(failed)?;
    inventory.contents(database)?;
    inventory.nodes(database).map_err(failed)?;
    inventory.buckets(database).map_err(failed)?;
    Ok(inventory)
}

impl Inventory {
    fn fault(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.report.faults.push(Fault { what: what.into(), why: why.into() });
    }

    fn sqlite(&mut self, database: &Connection) -> rusqlite::Result<()> {
        let mut query = database.prepare("PRAGMA integrity_check")?;
        let lines: Vec<String> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for line in lines.into_iter().filter(|line| line != "ok") {
            self.fault("the database", line);
        }
        let mut query = database.prepare("PRAGMA foreign_key_check")?;
        let tables: Vec<String> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for table in tables {
            self.fault(format!("table {table}"), "a row refers to one that is not there");
        }
        Ok(())
    }

    fn contents(&mut self, database: &Connection) -> Result<(), StoreError> {
        let mut query = database
            .prepare(
                "SELECT id, replaced, (SELECT count(*) FROM node WHERE node.content = content.id) FROM content",
            )
            .map_err(failed)?;
        let rows = query
            .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, i64>(2)?)))
            .map_err(failed)?;
        for row in rows {
            let (id, replaced, users) = row.map_err(failed)?;
            let expected = i64::from(replaced.is_none());
            if users != expected {
                self.fault(format!("content {id}"), format!("{users} files use it instead of {expected}"));
            }
            match read::content(database, id) {
                Ok(Content::Blocks { manifest, .. }) => self.blocks_of(database, id, manifest.root())?,
                Ok(Content::Tree(tree)) => self.blocks_of(database, id, tree.manifest.root())?,
                Ok(Content::Inline { manifest, .. }) => self.report.bytes += manifest.size(),
                Ok(Content::Directory | Content::Link { .. }) => {}
                Err(error) => self.fault(format!("content {id}"), error.to_string()),
            }
        }
        Ok(())
    }

    /// The blocks of a content, those that it shares with others of its line once.
    fn blocks_of(&mut self, database: &Connection, id: i64, root: Digest) -> Result<(), StoreError> {
        let Some(placed) = tree::placed(database, id)? else { return Ok(()) };
        let tree::Checked { wrong, blocks } = tree::check(database, placed, root)?;
        if let Some(why) = wrong {
            self.fault(format!("content {id}"), why);
        }
        for (name, block) in blocks {
            if self.blocks.insert(name, block).is_none() {
                self.report.bytes += u64::from(block.len);
            }
        }
        Ok(())
    }

    fn nodes(&mut self, database: &Connection) -> rusqlite::Result<()> {
        let count = |sql: &str| database.query_row(sql, params![ROOT], |row| row.get::<_, i64>(0));
        self.report.files = count("SELECT count(*) FROM node WHERE kind = 0 AND ?1 = ?1")?.cast_unsigned();
        self.report.directories = count("SELECT count(*) FROM node WHERE kind = 1 AND ?1 = ?1")?.cast_unsigned();
        let reachable = count(&format!("{} SELECT count(*) FROM below JOIN node USING (id)", read::BELOW))?;
        self.report.links = count("SELECT count(*) FROM node WHERE kind = 2 AND ?1 = ?1")?.cast_unsigned();
        let total = self.report.files + self.report.directories + self.report.links;
        if reachable.cast_unsigned() != total {
            self.fault("the tree", format!("{reachable} of {total} objects can be reached from the root"));
        }
        let inside_files = count(
            "SELECT count(*) FROM name JOIN node AS parent ON parent.id = name.parent
             WHERE parent.kind != 1 AND ?1 = ?1",
        )?;
        if inside_files != 0 {
            self.fault("the tree", format!("{inside_files} objects lie inside a file or a link"));
        }
        let several = count(
            "SELECT count(*) FROM (SELECT 1 FROM name JOIN node ON node.id = name.node
             WHERE node.kind = 1 OR node.id = ?1 GROUP BY node.id HAVING count(*) > 1 OR node.id = ?1)",
        )?;
        if several != 0 {
            self.fault("the tree", format!("{several} directories have more names than one"));
        }
        let (change, newest): (i64, i64) = database.query_row(
            "SELECT (SELECT change FROM volume), max(coalesce((SELECT max(version) FROM node WHERE epoch = (SELECT epoch FROM volume)), 0),
                 coalesce((SELECT max(version) FROM name WHERE epoch = (SELECT epoch FROM volume)), 0))",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        if newest > change {
            self.fault("the tree", format!("version {newest} is above the volume's change number {change}"));
        }
        Ok(())
    }

    fn buckets(&mut self, database: &Connection) -> rusqlite::Result<()> {
        let mut query = database.prepare("SELECT hash, body FROM bucket")?;
        let rows = query.query_map([], |row| Ok((Digest(row.get(0)?), row.get::<_, Vec<u8>>(1)?)))?;
        for row in rows {
            let (hash, body) = row?;
            if let Err(error) = decode_bucket(hash, &body) {
                self.fault("access control list", error.to_string());
            }
        }
        Ok(())
    }
}
