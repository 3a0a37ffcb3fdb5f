//! The cached blocks of one version of one file: a sparse file with blocks at their offsets, and a log of which have
//! landed. Nothing is synced: a block is checked against its hash whenever it is read, and one that is not what it
//! should be counts as not there.

use super::CacheError;
use crate::limits::BLOCK_BYTES;
use crate::model::{BlockRef, Manifest};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One version of a file in the cache. Its methods block the thread.
#[derive(Debug)]
pub struct CachedFile {
    data: PathBuf,
    log: PathBuf,
    manifest: Manifest,
    /// Whether later versions go on in the same files: only full blocks stay what they are.
    grows: bool,
    given_up: AtomicBool,
    landed_bytes: AtomicU64,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    data: File,
    log: File,
    landed: BTreeSet<usize>,
}

impl CachedFile {
    pub(super) fn new(stem: &Path, manifest: Manifest) -> Self {
        let (data, log) = (stem.with_extension("data"), stem.with_extension("landed"));
        let (given_up, landed_bytes) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { data, log, manifest, grows: false, given_up, landed_bytes, open: Mutex::new(None) }
    }

    pub(super) fn growing(stem: &Path, manifest: Manifest) -> Self {
        Self { grows: true, ..Self::new(stem, manifest) }
    }

    /// What the file must be.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The files that it lies in.
    pub(super) fn paths(&self) -> [PathBuf; 2] {
        [self.data.clone(), self.log.clone()]
    }

    /// Bytes that have landed, as far as the files have been opened.
    pub(super) fn landed_bytes(&self) -> u64 {
        self.landed_bytes.load(Ordering::Relaxed)
    }

    /// Opens the files of an earlier run.
    pub(super) fn open_now(&self) -> Result<(), CacheError> {
        self.opened().map(drop)
    }

    /// A block, which must be this one, if it has landed and is whole. One that is damaged is dropped.
    pub fn read(&self, index: usize, expected: &BlockRef) -> Result<Option<Bytes>, CacheError> {
        let mut block = vec![0; expected.len as usize];
        let data = {
            let open = self.opened()?;
            let Some(open) = open.as_ref().filter(|open| open.landed.contains(&index)) else { return Ok(None) };
            open.data.try_clone().map_err(|error| CacheError::io("reading", &self.data, error))?
        };
        let whole = match data.read_exact_at(&mut block, index as u64 * BLOCK_BYTES) {
            Ok(()) => expected.matches(&block),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(CacheError::io("reading", &self.data, error)),
        };
        if whole {
            return Ok(Some(block.into()));
        }
        tracing::warn!(file = %self.data.display(), index, "a cached block is damaged and dropped");
        if self.opened()?.as_mut().is_some_and(|open| open.landed.remove(&index)) {
            self.landed_bytes.fetch_sub(expected.len.into(), Ordering::Relaxed);
        }
        Ok(None)
    }

    /// Keeps a block that has been checked against the manifest; tells whether it is new.
    pub(super) fn write(&self, index: usize, block: &Bytes) -> Result<bool, CacheError> {
        debug_assert_eq!(block.len() as u64, self.length(index), "blocks are checked before they land");
        if self.given_up.load(Ordering::Relaxed) || (self.grows && block.len() as u64 != BLOCK_BYTES) {
            return Ok(false);
        }
        let failed = |error| CacheError::io("writing", &self.data, error);
        let mut open = self.opened()?;
        let Some(open) = open.as_mut().filter(|open| !open.landed.contains(&index)) else { return Ok(false) };
        open.data.write_all_at(block, index as u64 * BLOCK_BYTES).map_err(failed)?;
        open.log.write_all(&u32::try_from(index).unwrap_or(u32::MAX).to_le_bytes()).map_err(failed)?;
        open.landed.insert(index);
        self.landed_bytes.fetch_add(block.len() as u64, Ordering::Relaxed);
        Ok(true)
    }

    fn length(&self, index: usize) -> u64 {
        let held = self.manifest.bytes_of(index);
        held.end - held.start
    }

    /// Takes the file off the disk. Whoever has it open reads on.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        for path in [&self.log, &self.data] {
            if let Err(error) = std::fs::remove_file(path)
                && error.kind() != ErrorKind::NotFound
            {
                tracing::warn!(file = %path.display(), %error, "a cached file could not be removed");
            }
        }
    }

    /// The files, made at the first use; nothing after they were given up without ever being used.
    fn opened(&self) -> Result<MutexGuard<'_, Option<Open>>, CacheError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() && !self.given_up.load(Ordering::Relaxed) {
            *open = Some(self.open_files()?);
        }
        Ok(open)
    }

    fn open_files(&self) -> Result<Open, CacheError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let data = options.open(&self.data).map_err(|error| CacheError::io("opening", &self.data, error))?;
        let failed = |error| CacheError::io("opening", &self.log, error);
        let mut log =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.log).map_err(failed)?;
        let mut bytes = Vec::new();
        // A log can be longer than the manifest after damage, or several landings of one block; never by much.
        let most = 64 * (self.manifest.block_count() as u64 + 1);
        Read::by_ref(&mut log).take(most).read_to_end(&mut bytes).map_err(failed)?;
        let indices =
            bytes.chunks_exact(4).map(|raw| u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]) as usize);
        let landed: BTreeSet<usize> = indices.filter(|index| *index < self.manifest.block_count()).collect();
        let total = landed.iter().map(|index| self.length(*index)).sum();
        self.landed_bytes.store(total, Ordering::Relaxed);
        Ok(Open { data, log, landed })
    }
}
