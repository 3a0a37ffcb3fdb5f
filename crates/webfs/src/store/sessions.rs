//! Which sessions may hold callbacks, durably: after a crash the home waits for these and no others.

use super::Store;
use super::error::StoreError;
use rusqlite::params;
use std::time::Duration;
use terms::{Principal, SessionId};

/// A session that may hold callbacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedSession {
    /// The session.
    pub id: SessionId,
    /// Who holds it.
    pub principal: Principal,
    /// How long its lease is.
    pub lease: Duration,
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::database("recording sessions", error)
}

impl Store {
    /// Records a session before it is granted anything. Recording it again changes its lease.
    pub async fn record_session(&self, session: RecordedSession) -> Result<(), StoreError> {
        let lease_ms = i64::try_from(session.lease.as_millis()).unwrap_or(i64::MAX);
        self.write(move |database, _| {
            let sql = "INSERT INTO session VALUES (?1, ?2, ?3)
                       ON CONFLICT (id) DO UPDATE SET principal = excluded.principal, lease_ms = excluded.lease_ms";
            let mut insert = database.prepare_cached(sql).map_err(failed)?;
            insert.execute(params![session.id.0, session.principal.to_string(), lease_ms]).map_err(failed)?;
            Ok(())
        })
        .await
    }

    /// Forgets a session that has ended, or whose lease is over. It is no error if it was not recorded.
    pub async fn end_session(&self, id: SessionId) -> Result<(), StoreError> {
        self.write(move |database, _| {
            let mut delete = database.prepare_cached("DELETE FROM session WHERE id = ?1").map_err(failed)?;
            delete.execute([id.0]).map_err(failed)?;
            Ok(())
        })
        .await
    }

    /// Records that locks up to this number may have been granted: a restart gives out greater ones.
    pub async fn reserve_locks(&self, up_to: u64) -> Result<(), StoreError> {
        self.write(move |database, _| {
            let sql = "INSERT INTO locks VALUES (1, ?1)
                       ON CONFLICT (id) DO UPDATE SET reserved = max(reserved, excluded.reserved)";
            database.execute(sql, [up_to.cast_signed()]).map_err(failed)?;
            Ok(())
        })
        .await
    }

    /// The highest number that [`Store::reserve_locks`] has recorded.
    pub async fn reserved_locks(&self) -> Result<u64, StoreError> {
        let query = |database: &rusqlite::Connection| {
            let sql = "SELECT coalesce(max(reserved), 0) FROM locks";
            database.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned).map_err(failed)
        };
        self.0.readers.read("reading the locks' number", query).await
    }

    /// All recorded sessions, ordered by id.
    pub async fn recorded_sessions(&self) -> Result<Vec<RecordedSession>, StoreError> {
        let query = |database: &rusqlite::Connection| {
            let mut query =
                database.prepare("SELECT id, principal, lease_ms FROM session ORDER BY id").map_err(failed)?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(failed)?;
            rows.map(|row| recorded(row.map_err(failed)?)).collect()
        };
        self.0.readers.read("reading sessions", query).await
    }
}

fn recorded((id, principal, lease_ms): ([u8; 16], String, i64)) -> Result<RecordedSession, StoreError> {
    let principal = principal.parse().map_err(|error| StoreError::Damaged {
        what: "a recorded session".into(),
        why: format!("its principal is wrong: {error}"),
    })?;
    Ok(RecordedSession { id: SessionId(id), principal, lease: Duration::from_millis(lease_ms.cast_unsigned()) })
}
