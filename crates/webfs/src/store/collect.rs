//! Collecting what nobody needs: versions replaced long ago, block files of no manifest, old ledger entries,
//! unused access control lists. It runs beside reads and writes; a crash in it leaves only more to collect.

use super::Store;
use super::blocks::BlockName;
use super::error::StoreError;
use super::ledger;
use super::tree;
use crate::limits::{LEDGER_KEPT, REPLACED_KEPT, SETTLED_KEPT};
use rusqlite::Connection;

/// What a collection removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Replaced versions: count.
    pub versions: u64,
    /// Block files: count.
    pub blocks: u64,
    /// Ledger entries: count.
    pub operations: u64,
    /// Access control lists: count.
    pub buckets: u64,
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::database("collecting", error)
}

impl Store {
    /// Removes what is past its time. Call it now and then, and after a crash.
    pub async fn collect(&self) -> Result<Collected, StoreError> {
        let _one_at_a_time = self.0.maintenance.lock().await;
        let now = self.0.world.clock.unix();
        let before = [REPLACED_KEPT, LEDGER_KEPT, SETTLED_KEPT].map(|kept| now.minus(kept).0.cast_signed());
        let mut collected = self.write(move |database, _| forget(database, before).map_err(failed)).await?;
        for name in self.orphans().await? {
            let blocks = self.0.blocks.clone();
            tokio::task::spawn_blocking(move || blocks.remove(name)).await.map_err(|_| StoreError::Closed)??;
            collected.blocks += 1;
        }
        Ok(collected)
    }

    /// Block files that belong to no manifest and to no upload under way. The order of the three looks matters: a
    /// file that was an upload's at the first is in the database at the last, if it was committed in between.
    pub(super) async fn orphans(&self) -> Result<Vec<BlockName>, StoreError> {
        let blocks = self.0.blocks.clone();
        let on_disk = move || {
            let names = blocks.names()?;
            Ok::<_, StoreError>(names.into_iter().filter(|name| !blocks.is_live(*name)).collect::<Vec<_>>())
        };
        let candidates = tokio::task::spawn_blocking(on_disk).await.map_err(|_| StoreError::Closed)??;
        let unused = move |database: &Connection| {
            let mut query = database.prepare_cached("SELECT 1 FROM block WHERE file = ?1").map_err(failed)?;
            let mut unused = Vec::new();
            for name in candidates {
                if !query.exists([name.0]).map_err(failed)? {
                    unused.push(name);
                }
            }
            Ok(unused)
        };
        self.0.readers.read("looking for unused blocks", unused).await
    }
}

fn forget(database: &Connection, [replaced, recorded, settled]: [i64; 3]) -> rusqlite::Result<Collected> {
    let count = |rows: usize| rows as u64;
    let versions = count(tree::forget_contents(database, replaced)?);
    database.execute(
        "DELETE FROM piece WHERE NOT EXISTS (SELECT 1 FROM block WHERE block.pieces = piece.series)",
        [],
    )?;
    Ok(Collected {
        versions,
        blocks: 0,
        operations: count(ledger::expire(database, recorded, settled)?),
        buckets: count(database.execute(
            "DELETE FROM bucket WHERE NOT EXISTS (SELECT 1 FROM node WHERE node.bucket = bucket.id)",
            [],
        )?),
    })
}
