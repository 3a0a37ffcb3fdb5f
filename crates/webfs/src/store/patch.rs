//! Changing a part of a file, or its length: what is overwritten in part is read first, so that only whole blocks are
//! written. It relies on the commit to refuse what was made from a content that is no longer there.

use super::Store;
use super::blocks::UploadFiles;
use super::change::Prepared;
use super::error::StoreError;
use super::read::Object;
use super::tree::Changes;
use super::upload::{Upload, write_block};
use crate::limits::{BLOCK_BYTES, MAX_FILE_BYTES};
use crate::manifest::{block_count, bytes_of, zeros};
use bytes::Bytes;
use std::sync::Arc;
use terms::{Digest, VolumePath};

/// A change of a part of a file, or of its length: made from the file as it was, and committed only if it still is.
pub struct Patch {
    /// Which file.
    pub path: VolumePath,
    /// The root of the content that it was made from.
    pub(super) base: Digest,
    /// What was asked: two requests that ask the same have the same.
    pub(super) request: Digest,
    pub(super) content: PatchContent,
    /// How much of it was asked to be put at the end, if it is an append: bytes.
    pub(super) appended: Option<u64>,
}

pub(super) enum PatchContent {
    /// The file becomes, or stays, so short that all of it is made anew.
    Whole(Prepared),
    /// These blocks are new; the length is this from now on.
    Blocks { size: u64, changes: Changes, files: Arc<UploadFiles> },
}

impl Patch {
    /// See [`Prepared::hand_over`].
    pub(super) fn hand_over(&self) {
        match &self.content {
            PatchContent::Whole(prepared) => prepared.hand_over(),
            PatchContent::Blocks { files, .. } => files.hand_over(),
        }
    }
}

impl std::fmt::Debug for Patch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patch").field("path", &self.path).field("base", &self.base).finish_non_exhaustive()
    }
}

/// A write into a file while its bytes arrive.
pub struct Patching {
    store: Store,
    object: Arc<Object>,
    offset: u64,
    len: u64,
    hasher: blake3::Hasher,
    upload: Upload,
}

impl Store {
    /// Starts a write into a file from an offset on. Behind the end it makes a hole.
    pub async fn patch(&self, object: Arc<Object>, offset: u64) -> Result<Patching, StoreError> {
        old_size(&object)?;
        if offset > MAX_FILE_BYTES {
            return Err(StoreError::TooLarge { limit: MAX_FILE_BYTES });
        }
        let mut upload = self.upload();
        let before = self.part(&object, offset - offset % BLOCK_BYTES, offset).await?;
        upload.write(before).await?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"write").update(&offset.to_le_bytes());
        Ok(Patching { store: self.clone(), object, offset, len: 0, hasher, upload })
    }

    /// A file cut or extended to a length. What is added is a hole.
    pub async fn resize(&self, object: &Object, size: u64) -> Result<Patch, StoreError> {
        if size > MAX_FILE_BYTES {
            return Err(StoreError::TooLarge { limit: MAX_FILE_BYTES });
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"length").update(&size.to_le_bytes());
        let content = if size <= BLOCK_BYTES {
            old_size(object)?;
            let mut upload = self.upload();
            upload.write(self.part(object, 0, size).await?).await?;
            PatchContent::Whole(upload.finish().await?)
        } else {
            let files = Arc::new(UploadFiles::new(self.0.blocks.clone()));
            self.blocks(object, size, Changes::new(), files).await?
        };
        made(object, &hasher, content)
    }

    /// Bytes of one block of a file; zeros behind its end.
    async fn part(&self, object: &Object, start: u64, end: u64) -> Result<Bytes, StoreError> {
        let size = old_size(object)?;
        let (index, wanted) = (start / BLOCK_BYTES, end - start);
        let held = bytes_of(size, index);
        if wanted == 0 || start >= held.end {
            return Ok(zeros(wanted));
        }
        #[allow(clippy::cast_possible_truncation)] // at most 2^20 blocks of 1 MiB
        let (index, from, to) =
            (index as usize, (start - held.start) as usize, (end.min(held.end) - held.start) as usize);
        let part = self.read_block(object, index).await?.slice(from..to);
        if part.len() as u64 == wanted {
            return Ok(part);
        }
        let mut padded = Vec::from(part);
        #[allow(clippy::cast_possible_truncation)] // at most 1 MiB
        padded.resize(wanted as usize, 0);
        Ok(padded.into())
    }

    /// The changes, with the last block that the old and the new length have in common: if its length changes it is
    /// written anew.
    async fn blocks(
        &self,
        object: &Object,
        size: u64,
        mut changes: Changes,
        files: Arc<UploadFiles>,
    ) -> Result<PatchContent, StoreError> {
        let old = old_size(object)?;
        if let Some(tail) = block_count(old.min(size)).checked_sub(1)
            && bytes_of(old, tail) != bytes_of(size, tail)
            && !changes.contains_key(&tail)
        {
            let held = bytes_of(size, tail);
            let bytes = self.part(object, held.start, held.end).await?;
            let files = files.clone();
            let write = move || {
                let (name, block) = write_block(&files, &bytes)?;
                files.sync()?;
                Ok::<_, StoreError>(name.map(|name| (name, block.hash)))
            };
            changes.insert(tail, tokio::task::spawn_blocking(write).await.map_err(|_| StoreError::Closed)??);
        }
        Ok(PatchContent::Blocks { size, changes, files })
    }
}

impl Patching {
    /// Takes the next bytes. Waits while too many blocks are being written.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.len += bytes.len() as u64;
        if self.offset + self.len > MAX_FILE_BYTES {
            return Err(StoreError::TooLarge { limit: MAX_FILE_BYTES });
        }
        self.hasher.update(&bytes);
        self.upload.write(bytes).await
    }

    /// How much has arrived: bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has arrived.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All has arrived: writes and syncs what remains. The result is ready to be committed.
    pub async fn finish(mut self) -> Result<Patch, StoreError> {
        let old = old_size(&self.object)?;
        if self.len == 0 {
            return self.store.resize(&self.object, old).await;
        }
        let end = self.offset + self.len;
        let size = old.max(end);
        let rest = bytes_of(size, (end - 1) / BLOCK_BYTES).end;
        let after = self.store.part(&self.object, end, rest).await?;
        self.upload.write(after).await?;
        let content = if size <= BLOCK_BYTES {
            assert!(self.upload.buffered().is_some_and(|all| all.len() as u64 == size), "one block has all");
            PatchContent::Whole(self.upload.finish().await?)
        } else {
            let first = self.offset / BLOCK_BYTES;
            let (blocks, files) = self.upload.finish_blocks().await?;
            let blocks = blocks.into_iter().map(|(name, block)| name.map(|name| (name, block.hash)));
            self.store.blocks(&self.object, size, (first..).zip(blocks).collect(), files).await?
        };
        made(&self.object, &self.hasher, content)
    }
}

fn made(object: &Object, request: &blake3::Hasher, content: PatchContent) -> Result<Patch, StoreError> {
    let path = object.path.clone();
    let Some(base) = object.entry.etag else { return Err(StoreError::IsDirectory { path }) };
    Ok(Patch { path, base, request: Digest(*request.finalize().as_bytes()), content, appended: None })
}

fn old_size(object: &Object) -> Result<u64, StoreError> {
    let manifest = object.manifest().ok_or_else(|| StoreError::IsDirectory { path: object.path.clone() })?;
    Ok(manifest.size())
}

impl std::fmt::Debug for Patching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patching").field("path", &self.object.path).field("len", &self.len).finish_non_exhaustive()
    }
}
