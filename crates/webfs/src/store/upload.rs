//! Content on its way in: cut into blocks, hashed, written and synced while more arrives.
//! Nothing of it is visible before a commit; what is not committed is removed.

use super::Store;
use super::blocks::{BlockName, UploadFiles};
use super::change::{Prepared, PreparedContent};
use super::error::StoreError;
use crate::limits::{BLOCK_BYTES, INLINE_BYTES, MAX_FILE_BYTES, UPLOAD_BLOCKS_IN_FLIGHT};
use crate::model::{BlockRef, Manifest};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::JoinHandle;

type Written = Result<(BlockName, BlockRef), StoreError>;

#[allow(clippy::cast_possible_truncation)] // 1 MiB
const BLOCK_LEN: usize = BLOCK_BYTES as usize;

/// A file's content while it arrives.
pub struct Upload {
    files: Arc<UploadFiles>,
    buffer: Vec<u8>,
    size: u64,
    in_flight: VecDeque<JoinHandle<Written>>,
    names: Vec<BlockName>,
    blocks: Vec<BlockRef>,
}

impl Upload {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            files: Arc::new(UploadFiles::new(store.0.blocks.clone())),
            buffer: Vec::new(),
            size: 0,
            in_flight: VecDeque::new(),
            names: Vec::new(),
            blocks: Vec::new(),
        }
    }

    /// How much has arrived: bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes. Waits while too many blocks are being written.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        self.size += bytes.len() as u64;
        if self.size > MAX_FILE_BYTES {
            return Err(StoreError::TooLarge { limit: MAX_FILE_BYTES });
        }
        while !bytes.is_empty() {
            // A block is written when the byte after it arrives: the last one is left for `finish`.
            if self.buffer.len() == BLOCK_LEN {
                self.start_block().await?;
            }
            let part = bytes.split_to(bytes.len().min(BLOCK_LEN - self.buffer.len()));
            self.buffer.extend_from_slice(&part);
        }
        Ok(())
    }

    async fn start_block(&mut self) -> Result<(), StoreError> {
        while self.in_flight.len() >= UPLOAD_BLOCKS_IN_FLIGHT {
            self.next_written().await?;
        }
        let (files, block) =
            (self.files.clone(), std::mem::replace(&mut self.buffer, Vec::with_capacity(BLOCK_LEN)));
        self.in_flight.push_back(tokio::task::spawn_blocking(move || write_block(&files, &block)));
        Ok(())
    }

    async fn next_written(&mut self) -> Result<(), StoreError> {
        let Some(task) = self.in_flight.front_mut() else { return Ok(()) };
        let written = task.await.map_err(|_| StoreError::Closed)?;
        self.in_flight.pop_front();
        let (name, block) = written?;
        self.names.push(name);
        self.blocks.push(block);
        Ok(())
    }

    /// All has arrived: writes and syncs what remains. The result is ready to be committed.
    pub async fn finish(mut self) -> Result<Prepared, StoreError> {
        let rest = std::mem::take(&mut self.buffer);
        if self.size <= INLINE_BYTES {
            let blocks = if rest.is_empty() { Vec::new() } else { vec![BlockRef::of(&rest)] };
            return Ok(Prepared { manifest: manifest(blocks)?, content: PreparedContent::Inline(rest.into()) });
        }
        while !self.in_flight.is_empty() {
            self.next_written().await?;
        }
        let files = self.files.clone();
        let last = tokio::task::spawn_blocking(move || {
            let written = write_block(&files, &rest)?;
            files.sync()?;
            Ok::<_, StoreError>(written)
        });
        let (name, block) = last.await.map_err(|_| StoreError::Closed)??;
        self.names.push(name);
        self.blocks.push(block);
        let content = PreparedContent::Blocks { names: self.names, files: self.files };
        Ok(Prepared { manifest: manifest(self.blocks)?, content })
    }
}

fn write_block(files: &UploadFiles, bytes: &[u8]) -> Written {
    Ok((files.write(bytes)?, BlockRef::of(bytes)))
}

/// Our own cutting gives a valid manifest; the limit on size holds the limit on blocks.
fn manifest(blocks: Vec<BlockRef>) -> Result<Manifest, StoreError> {
    Manifest::new(blocks).map_err(|_| StoreError::TooLarge { limit: MAX_FILE_BYTES })
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("size", &self.size).finish_non_exhaustive()
    }
}
