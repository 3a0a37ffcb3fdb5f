//! The ledger of operations: an outcome is recorded in the transaction of its effect, so that a retry is answered
//! and never applied twice.

use super::change::Outcome;
use super::error::StoreError;
use crate::model::Entry;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use terms::{ChangeNumber, Digest, OperationId, SessionId, UnixMs};

/// An outcome as it is stored.
#[derive(Serialize, Deserialize)]
struct Record {
    change: ChangeNumber,
    created: bool,
    entry: Option<Entry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::database("asking the ledger", error)
}

/// The outcome of this operation, if it was done before. Another request under its id is refused.
pub(super) fn recorded(
    database: &Connection,
    id: OperationId,
    fingerprint: Digest,
) -> Result<Option<Outcome>, StoreError> {
    let mut query = database
        .prepare_cached("SELECT fingerprint, outcome FROM operation WHERE session = ?1 AND sequence = ?2")
        .map_err(failed)?;
    let row: Option<([u8; 32], Vec<u8>)> = query
        .query_row(params![id.session.0, id.sequence.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(failed)?;
    let Some((found, outcome)) = row else {
        return if is_settled(database, id)? { Err(StoreError::OperationSettled { id }) } else { Ok(None) };
    };
    if found != fingerprint.0 {
        return Err(StoreError::OperationReused { id });
    }
    let record: Record = ciborium::from_reader(&outcome[..])
        .map_err(|error| StoreError::Damaged { what: "the ledger".into(), why: error.to_string() })?;
    let Record { change, created, entry, offset } = record;
    Ok(Some(Outcome { change, entry, offset, created, replayed: true }))
}

/// Whether the client has said that it has this operation's outcome, or its time is over: it can be neither answered
/// nor told from a new one.
fn is_settled(database: &Connection, id: OperationId) -> Result<bool, StoreError> {
    let mut query =
        database.prepare_cached("SELECT 1 FROM settled WHERE session = ?1 AND below > ?2").map_err(failed)?;
    query.exists(params![id.session.0, id.sequence.cast_signed()]).map_err(failed)
}

/// Forgets the outcomes of a session below a number: its client has them.
pub(super) fn settle(database: &Connection, session: SessionId, below: u64, now: UnixMs) -> Result<(), StoreError> {
    let (below, now) = (below.min(i64::MAX.cast_unsigned()).cast_signed(), now.0.cast_signed());
    let settle = || -> rusqlite::Result<()> {
        database
            .prepare_cached(
                "INSERT INTO settled VALUES (?1, ?2, ?3)
                 ON CONFLICT (session) DO UPDATE SET below = max(below, excluded.below), at = excluded.at",
            )?
            .execute(params![session.0, below, now])?;
        database
            .prepare_cached("DELETE FROM operation WHERE session = ?1 AND sequence < ?2")?
            .execute(params![session.0, below])?;
        Ok(())
    };
    settle().map_err(failed)
}

/// Forgets outcomes whose time is over, and remembers that their operations are not new. Returns how many.
pub(super) fn expire(database: &Connection, recorded: i64, settled: i64) -> rusqlite::Result<usize> {
    database.execute(
        "INSERT INTO settled SELECT session, max(sequence) + 1, max(at) FROM operation WHERE at <= ?1 GROUP BY session
         ON CONFLICT (session) DO UPDATE SET below = max(below, excluded.below), at = max(at, excluded.at)",
        [recorded],
    )?;
    let expired = database.execute(
        "DELETE FROM operation WHERE sequence < (SELECT below FROM settled WHERE settled.session = operation.session)",
        [],
    )?;
    database.execute("DELETE FROM settled WHERE at <= ?1", [settled])?;
    Ok(expired)
}

/// Whether there is an outcome of this operation.
pub(super) fn is_recorded(database: &Connection, id: OperationId) -> Result<bool, StoreError> {
    let mut query =
        database.prepare_cached("SELECT 1 FROM operation WHERE session = ?1 AND sequence = ?2").map_err(failed)?;
    query.exists(params![id.session.0, id.sequence.cast_signed()]).map_err(failed)
}

/// Records an outcome.
pub(super) fn record(
    database: &Connection,
    id: OperationId,
    fingerprint: Digest,
    outcome: &Outcome,
    now: UnixMs,
) -> Result<(), StoreError> {
    let Outcome { change, created, entry, offset, .. } = *outcome;
    let record = Record { change, created, entry, offset };
    let mut bytes = Vec::new();
    ciborium::into_writer(&record, &mut bytes)
        .map_err(|error| StoreError::Damaged { what: "an outcome".into(), why: error.to_string() })?;
    let mut insert =
        database.prepare_cached("INSERT INTO operation VALUES (?1, ?2, ?3, ?4, ?5)").map_err(failed)?;
    insert
        .execute(params![id.session.0, id.sequence.cast_signed(), fingerprint.0, bytes, now.0.cast_signed()])
        .map(|_| ())
        .map_err(failed)
}
