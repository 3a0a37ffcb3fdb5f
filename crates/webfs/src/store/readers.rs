//! A few read connections, used on blocking threads: as many readers as connections, the others wait.

use super::error::StoreError;
use super::schema;
use crate::limits::READERS;
use rusqlite::Connection;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let idle = (0..READERS).map(|_| schema::reader(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { idle: Arc::new(Mutex::new(idle)), permits: Arc::new(Semaphore::new(READERS)) })
    }

    /// Runs the closure in one read transaction: all it reads is of one moment.
    pub(super) async fn read<R, F>(&self, doing: &'static str, work: F) -> Result<R, StoreError>
    where
        F: FnOnce(&Connection) -> Result<R, StoreError> + Send + 'static,
        R: Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let idle = self.idle.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let lock = || idle.lock().unwrap_or_else(PoisonError::into_inner);
            let connection = lock().pop().ok_or(StoreError::Closed)?;
            let result = (|| {
                let transaction =
                    connection.unchecked_transaction().map_err(|error| StoreError::database(doing, error))?;
                work(&transaction)
            })();
            lock().push(connection);
            result
        });
        task.await.map_err(|_| StoreError::Closed)?
    }
}
