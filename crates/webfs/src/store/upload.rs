//! Content on its way in: cut into blocks, hashed, written and synced while more arrives.
//! Nothing of it is visible before a commit; what is not committed is removed.

use super::Store;
use super::blocks::{BlockName, UploadFiles};
use super::change::{Prepared, PreparedContent};
use super::error::StoreError;
use crate::limits::{BLOCK_BYTES, INLINE_BYTES, MAX_FILE_BYTES, UPLOAD_BLOCKS_IN_FLIGHT};
use crate::manifest::is_zeros;
use crate::model::{BlockRef, Manifest, ManifestError};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A block with its file; no file for zeros.
pub(super) type Block = (Option<BlockName>, BlockRef);

#[allow(clippy::cast_possible_truncation)] // 1 MiB
const BLOCK_LEN: usize = BLOCK_BYTES as usize;

/// A file's content while it arrives.
pub struct Upload {
    files: Arc<UploadFiles>,
    buffer: Vec<u8>,
    size: u64,
    in_flight: VecDeque<JoinHandle<Result<Block, StoreError>>>,
    blocks: Vec<Block>,
}

impl Upload {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            files: Arc::new(UploadFiles::new(store.0.blocks.clone())),
            buffer: Vec::new(),
            size: 0,
            in_flight: VecDeque::new(),
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
        self.blocks.push(written?);
        Ok(())
    }

    /// All has arrived: writes and syncs what remains. The result is ready to be committed.
    pub async fn finish(mut self) -> Result<Prepared, StoreError> {
        if self.size <= INLINE_BYTES {
            let rest = std::mem::take(&mut self.buffer);
            let manifest = Manifest::of(&rest).map_err(too_large)?;
            return Ok(Prepared { manifest, content: PreparedContent::Inline(rest.into()) });
        }
        let (blocks, files) = self.finish_blocks().await?;
        let manifest = Manifest::new(blocks.iter().map(|(_, block)| *block).collect()).map_err(too_large)?;
        Ok(Prepared { manifest, content: PreparedContent::Blocks { blocks, files } })
    }

    /// Writes and syncs what remains: all blocks with their files.
    pub(super) async fn finish_blocks(mut self) -> Result<(Vec<Block>, Arc<UploadFiles>), StoreError> {
        let rest = std::mem::take(&mut self.buffer);
        while !self.in_flight.is_empty() {
            self.next_written().await?;
        }
        let files = self.files.clone();
        let last = tokio::task::spawn_blocking(move || {
            let written = if rest.is_empty() { None } else { Some(write_block(&files, &rest)?) };
            files.sync()?;
            Ok::<_, StoreError>(written)
        });
        self.blocks.extend(last.await.map_err(|_| StoreError::Closed)??);
        Ok((self.blocks, self.files))
    }

    /// What has arrived, if it is at most a block: then nothing of it is written yet.
    pub(super) fn buffered(&self) -> Option<&[u8]> {
        (self.size == self.buffer.len() as u64).then_some(&self.buffer[..])
    }
}

/// Writes a block; one of zeros is a hole and costs nothing.
pub(super) fn write_block(files: &UploadFiles, bytes: &[u8]) -> Result<Block, StoreError> {
    if is_zeros(bytes) {
        return Ok((None, BlockRef::zeros(bytes.len() as u64)));
    }
    Ok((Some(files.write(bytes)?), BlockRef::of(bytes)))
}

/// Our own cutting gives a valid manifest; only its length can be wrong.
fn too_large(_: ManifestError) -> StoreError {
    StoreError::TooLarge { limit: MAX_FILE_BYTES }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("size", &self.size).finish_non_exhaustive()
    }
}
