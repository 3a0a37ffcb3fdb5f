//! The one thread that writes: it takes all work that waits into one transaction, commits, then answers.
//! It relies on SQLite for atomicity; work that fails alone is undone alone.

use super::error::StoreError;
use super::memory::Memory;
use super::schema;
use crate::gate::Touched;
use crate::limits::WRITE_BATCH;
use rusqlite::Connection;
use std::sync::Arc;
use terms::{ChangeNumber, Epoch};
use tokio::sync::{mpsc, oneshot};

/// Where the volume stands within the running transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) epoch: Epoch,
    pub(super) change: ChangeNumber,
}

/// One piece of work for the writer.
pub(super) trait Work: Send {
    /// Does it within the open transaction. An error undoes this work alone.
    fn run(&mut self, database: &Connection, position: &mut Position) -> Result<Touched, StoreError>;
    /// The transaction has ended: answer. The error is this work's own, or that of the commit.
    fn end(self: Box<Self>, result: Result<(), StoreError>);
}

/// Work without consequences for caches: answers what the closure returns.
pub(super) struct Plain<R, F> {
    work: Option<F>,
    result: Option<R>,
    answer: oneshot::Sender<Result<R, StoreError>>,
}

impl<R, F> Plain<R, F>
where
    F: FnOnce(&Connection, &Position) -> Result<R, StoreError> + Send,
    R: Send,
{
    pub(super) fn new(work: F) -> (Self, oneshot::Receiver<Result<R, StoreError>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { work: Some(work), result: None, answer }, receiver)
    }
}

impl<R, F> Work for Plain<R, F>
where
    F: FnOnce(&Connection, &Position) -> Result<R, StoreError> + Send,
    R: Send,
{
    fn run(&mut self, database: &Connection, position: &mut Position) -> Result<Touched, StoreError> {
        let work = self.work.take().ok_or(StoreError::Closed)?;
        self.result = Some(work(database, position)?);
        Ok(Touched::default())
    }

    fn end(self: Box<Self>, result: Result<(), StoreError>) {
        let Self { result: value, answer, .. } = *self;
        // A caller that has gone away does not undo the work.
        let _ = answer.send(result.and_then(|()| value.ok_or(StoreError::Closed)));
    }
}

/// The writer's loop: ends when every sender is gone.
pub(super) fn run(mut database: Connection, mut inbox: mpsc::Receiver<Box<dyn Work>>, memory: &Arc<Memory>) {
    let mut batch = Vec::with_capacity(WRITE_BATCH);
    while let Some(first) = inbox.blocking_recv() {
        batch.push(first);
        while batch.len() < WRITE_BATCH
            && let Ok(next) = inbox.try_recv()
        {
            batch.push(next);
        }
        commit(&mut database, &mut batch, memory);
    }
}

fn commit(database: &mut Connection, batch: &mut Vec<Box<dyn Work>>, memory: &Memory) {
    let mut results = Vec::with_capacity(batch.len());
    let mut touched = Vec::new();
    let committed = transact(database, batch, &mut results, &mut touched);
    if let Ok(position) = &committed {
        // Before anybody is answered: no reader who knows of the change may find the old state in memory.
        memory.changed(position.change, touched);
    }
    results.resize(batch.len(), Ok(()));
    for (work, result) in batch.drain(..).zip(results) {
        work.end(committed.as_ref().map_err(Clone::clone).and(result));
    }
}

/// Runs the batch in one transaction. Each work's own failure goes to `results`; an error is everybody's.
fn transact(
    database: &mut Connection,
    batch: &mut [Box<dyn Work>],
    results: &mut Vec<Result<(), StoreError>>,
    touched: &mut Vec<Touched>,
) -> Result<Position, StoreError> {
    let failed = |error| StoreError::database("committing", error);
    let transaction =
        database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    let row = schema::volume_row(&transaction)?;
    let mut position = Position { epoch: row.epoch, change: row.change };
    for work in batch {
        execute(&transaction, "SAVEPOINT work").map_err(failed)?;
        let before = position;
        match work.run(&transaction, &mut position) {
            Ok(objects) => {
                execute(&transaction, "RELEASE work").map_err(failed)?;
                touched.push(objects);
                results.push(Ok(()));
            }
            // Some failures, such as a full disk, make SQLite roll back the whole transaction by itself.
            Err(error) if transaction.is_autocommit() => return Err(error),
            Err(error) => {
                execute(&transaction, "ROLLBACK TO work").map_err(failed)?;
                execute(&transaction, "RELEASE work").map_err(failed)?;
                position = before;
                results.push(Err(error));
            }
        }
    }
    if position.change != row.change {
        let mut update = transaction.prepare_cached("UPDATE volume SET change = ?1").map_err(failed)?;
        update.execute([position.change.0.cast_signed()]).map_err(failed)?;
    }
    transaction.commit().map_err(failed)?;
    Ok(position)
}

fn execute(database: &Connection, sql: &str) -> rusqlite::Result<()> {
    database.prepare_cached(sql)?.execute([]).map(|_| ())
}
