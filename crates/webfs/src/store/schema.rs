//! The metadata database: its tables, its settings, and the refusal of formats that this build does not know.

use super::error::StoreError;
use super::upgrade;
use crate::limits::DATABASE_BUSY;
use rusqlite::{Connection, OpenFlags, params};
use std::path::Path;
use terms::{ChangeNumber, Digest, Epoch, UnixMs, VolumeName};
use trust::Bucket;

/// The data format that this build writes (`PRAGMA user_version`).
const FORMAT: i64 = 4;

/// The id of the root directory's node.
pub(super) const ROOT: i64 = 1;
/// How `node.kind` tells them apart.
pub(super) const KIND_FILE: i64 = 0;
pub(super) const KIND_DIRECTORY: i64 = 1;
pub(super) const KIND_LINK: i64 = 2;

pub(super) const TABLES: &str = "
CREATE TABLE volume (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    name    TEXT NOT NULL,
    epoch   INTEGER NOT NULL,
    change  INTEGER NOT NULL,   -- the number of the last committed change
    created INTEGER NOT NULL
) STRICT;
CREATE TABLE bucket (           -- access control lists, each stored once
    id   INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    body BLOB NOT NULL
) STRICT;
CREATE TABLE line (             -- contents that came from each other by partial changes
    id INTEGER PRIMARY KEY
) STRICT;
CREATE TABLE content (          -- one row per published version of a file
    id       INTEGER PRIMARY KEY,
    size     INTEGER NOT NULL,
    root     BLOB NOT NULL CHECK (length(root) = 32),
    inline   BLOB,              -- short content; else it is in `block`
    replaced INTEGER,           -- when a newer version took its place; null while in use
    line     INTEGER REFERENCES line (id)
) STRICT;
CREATE INDEX content_line ON content (line, replaced) WHERE line IS NOT NULL;
CREATE INDEX content_replaced ON content (replaced) WHERE replaced IS NOT NULL;
CREATE TABLE block (            -- what has no row is a hole
    line    INTEGER NOT NULL REFERENCES line (id) ON DELETE CASCADE,
    number  INTEGER NOT NULL,
    born    INTEGER NOT NULL,   -- the first content of the line that has it
    last    INTEGER REFERENCES content (id) ON DELETE CASCADE, -- the last one; null while the newest has it
    file    BLOB NOT NULL UNIQUE CHECK (length(file) = 16),
    hash    BLOB NOT NULL CHECK (length(hash) = 32),
    pieces  INTEGER,            -- the pieces that it consists of, if it is the unfinished end of a log and no file
    PRIMARY KEY (line, number, born)
) STRICT, WITHOUT ROWID;
CREATE INDEX block_pieces ON block (pieces) WHERE pieces IS NOT NULL;
CREATE INDEX block_last ON block (last) WHERE last IS NOT NULL;
CREATE TABLE piece (            -- what was appended to a log since its last whole block
    series  INTEGER NOT NULL,   -- the content with which its block began
    at      INTEGER NOT NULL,   -- where in the block
    line    INTEGER NOT NULL REFERENCES line (id) ON DELETE CASCADE,
    bytes   BLOB NOT NULL,
    PRIMARY KEY (series, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX piece_line ON piece (line, series);
CREATE TABLE manifest_node (    -- the hashes of the nodes of trees of blocks
    line    INTEGER NOT NULL REFERENCES line (id) ON DELETE CASCADE,
    level   INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    born    INTEGER NOT NULL,
    last    INTEGER REFERENCES content (id) ON DELETE CASCADE,
    hash    BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (line, level, number, born)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_node_last ON manifest_node (last) WHERE last IS NOT NULL;
CREATE TABLE node (
    id       INTEGER PRIMARY KEY,
    kind     INTEGER NOT NULL CHECK (kind IN (0, 1, 2)),
    content  INTEGER REFERENCES content (id),
    target   TEXT,              -- where a symbolic link leads
    epoch    INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    bucket   INTEGER NOT NULL REFERENCES bucket (id),
    policy   TEXT,              -- null for cto
    CHECK ((kind = 0) = (content IS NOT NULL)),
    CHECK ((kind = 2) = (target IS NOT NULL))
) STRICT;
CREATE INDEX node_content ON node (content) WHERE content IS NOT NULL;
CREATE INDEX node_bucket ON node (bucket);
CREATE TABLE name (             -- where nodes stand: the root has no name, a file may have several
    parent  INTEGER NOT NULL REFERENCES node (id),
    name    TEXT NOT NULL,
    node    INTEGER NOT NULL REFERENCES node (id),
    epoch   INTEGER NOT NULL,   -- the change that put it there
    version INTEGER NOT NULL,
    PRIMARY KEY (parent, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX name_node ON name (node);
CREATE TABLE operation (        -- the ledger: outcomes by operation id
    session     BLOB NOT NULL CHECK (length(session) = 16),
    sequence    INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    outcome     BLOB NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (session, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX operation_at ON operation (at);
CREATE TABLE settled (          -- below which number a session's client has every outcome
    session BLOB PRIMARY KEY CHECK (length(session) = 16),
    below   INTEGER NOT NULL,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE locks (            -- lock epochs up to this number may have been granted
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    reserved INTEGER NOT NULL
) STRICT;
CREATE TABLE session (          -- who may hold callbacks: waited for after a crash
    id        BLOB PRIMARY KEY CHECK (length(id) = 16),
    principal TEXT NOT NULL,
    lease_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| StoreError::database(doing, error)
}

/// What the database says of the volume when it is opened.
pub(super) struct VolumeRow {
    pub(super) name: VolumeName,
    pub(super) epoch: Epoch,
    pub(super) change: ChangeNumber,
}

/// Makes the database of an empty volume: a root directory with this access control list.
pub(super) fn create(path: &Path, name: &VolumeName, bucket: &Bucket, now: UnixMs) -> Result<(), StoreError> {
    let mut database = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let (hash, body) = (bucket.hash(), encode_bucket(bucket)?);
    let filled = (|| {
        let transaction = database.transaction()?;
        transaction.execute_batch(TABLES)?;
        let now = now.0.cast_signed();
        transaction.execute("INSERT INTO volume VALUES (1, ?1, 1, 1, ?2)", params![name.to_string(), now])?;
        transaction.execute("INSERT INTO bucket (hash, body) VALUES (?1, ?2)", params![hash.0, body])?;
        transaction.execute(
            "INSERT INTO node VALUES (?1, ?2, NULL, NULL, 1, 1, ?3, ?4, NULL)",
            params![ROOT, KIND_DIRECTORY, now, transaction.last_insert_rowid()],
        )?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
        transaction.commit()
    })();
    filled.map_err(failed("making the volume"))
}

/// An access control list as it is stored.
pub(super) fn encode_bucket(bucket: &Bucket) -> Result<Vec<u8>, StoreError> {
    let damaged = |error: trust::TrustError| StoreError::Damaged {
        what: "an access control list".into(),
        why: error.to_string(),
    };
    bucket.encode().map_err(damaged)
}

/// An access control list out of storage, if it is the one that this hash names.
pub(super) fn decode_bucket(hash: Digest, body: &[u8]) -> Result<Bucket, StoreError> {
    let damaged = |why| StoreError::Damaged { what: format!("access control list {hash}"), why };
    let bucket = Bucket::decode(body).map_err(|error| damaged(error.to_string()))?;
    if bucket.hash() == hash { Ok(bucket) } else { Err(damaged("its content has another hash".into())) }
}

/// Copies the database as it is at one moment into a new file.
pub(super) fn copy(path: &Path, to: &Path) -> Result<(), StoreError> {
    let database = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let to = to.to_string_lossy();
    database.execute("VACUUM INTO ?1", [&*to]).map(drop).map_err(failed("copying the database"))
}

/// Gives a restored volume its name and its epoch.
pub(super) fn rename(database: &Connection, name: &VolumeName, epoch: Epoch) -> Result<(), StoreError> {
    database
        .execute("UPDATE volume SET name = ?1, epoch = ?2", params![name.to_string(), epoch.0.cast_signed()])
        .map(drop)
        .map_err(failed("naming the volume"))
}

/// The connection that writes.
pub(super) fn writer(path: &Path, dir: &Path) -> Result<(Connection, VolumeRow), StoreError> {
    let mut database = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let format: i64 = database
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed("reading the data format"))?;
    if format > FORMAT {
        return Err(StoreError::NewerFormat { dir: dir.into(), found: format, known: FORMAT });
    }
    match format {
        FORMAT => {}
        1..FORMAT => upgrade::upgrade(&mut database, format)
            .map_err(failed("bringing the volume to the present data format"))?,
        _ => return Err(StoreError::NoVolume { dir: dir.into() }),
    }
    let row = volume_row(&database)?;
    Ok((database, row))
}

/// Reads the volume's own row.
pub(super) fn volume_row(database: &Connection) -> Result<VolumeRow, StoreError> {
    let (name, epoch, change): (String, i64, i64) = database
        .query_row("SELECT name, epoch, change FROM volume", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .map_err(failed("reading the volume's row"))?;
    let name = name.parse().map_err(|error| StoreError::Damaged {
        what: "the volume's database".into(),
        why: format!("its volume name is wrong: {error}"),
    })?;
    Ok(VolumeRow { name, epoch: Epoch(epoch.cast_unsigned()), change: ChangeNumber(change.cast_unsigned()) })
}

/// A connection that reads.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let database = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    database.pragma_update(None, "query_only", true).map_err(failed("opening the database"))?;
    Ok(database)
}

/// FULL: the log is synced at each commit, so that what was answered survives the machine's crash.
#[cfg(not(test))]
fn synchronous() -> &'static str {
    "full"
}
#[cfg(test)]
use super::tests::torn::synchronous;

fn connect(path: &Path, mode: OpenFlags) -> Result<Connection, StoreError> {
    let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let opened = (|| {
        let database = Connection::open_with_flags(path, flags)?;
        database.busy_timeout(DATABASE_BUSY)?;
        database.pragma_update(None, "journal_mode", "wal")?;
        database.pragma_update(None, "synchronous", synchronous())?;
        database.pragma_update(None, "foreign_keys", true)?;
        database.pragma_update(None, "trusted_schema", false)?;
        database.set_prepared_statement_cache_capacity(64);
        Ok(database)
    })();
    opened.map_err(failed("opening the database"))
}
