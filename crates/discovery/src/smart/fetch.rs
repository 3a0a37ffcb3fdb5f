//! A download into a file: resumes what an earlier one left, splices over servers, waits for a home that is away.

use super::open::First;
use super::{FileStream, ServerCount, SmartClient};
use crate::limits::{BLOCK_BYTES, MAX_RESTARTS};
use crate::manifest::Manifest;
use bytes::{Bytes, BytesMut};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use terms::{Code, Problem, VolumePath};
use tokio::sync::mpsc;

/// Verified blocks that wait to be written: count.
const WRITE_QUEUE: usize = 8;

/// After so many bytes the system is asked to begin writing them out: bytes.
const SEND_TO_DISK_EVERY: u64 = 16 << 20;

/// What to fetch.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// The path within the service.
    pub path: VolumePath,
    /// The file to write; while it is not whole, its content is in the same name with `.part`.
    pub to: PathBuf,
    /// How long to go on without progress.
    pub patience: Duration,
}

/// What happens on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum FetchEvent {
    /// The size is known; so many bytes are here from an earlier time.
    Began {
        /// Bytes in all.
        size: u64,
        /// Bytes that are here and verified.
        have: u64,
    },
    /// A block was verified.
    Progress {
        /// Bytes that are here and verified.
        have: u64,
    },
    /// A server takes over.
    Joined {
        /// Which.
        server: String,
        /// From which byte.
        at: u64,
    },
    /// A server was left in the middle.
    Left {
        /// Which.
        server: String,
        /// Why.
        why: String,
    },
    /// No server can serve now; the download goes on when one can.
    Waiting {
        /// Why.
        why: String,
    },
    /// The file has changed at its home: the download starts anew, at the new version.
    Changed,
}

/// A finished download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes of the file.
    pub size: u64,
    /// Its strong ETag: the root of the manifest that its home signed.
    pub etag: String,
    /// Bytes that were here from an earlier time.
    pub resumed: u64,
    /// What each server gave.
    pub counts: Vec<ServerCount>,
}

impl SmartClient {
    /// Downloads a file.
    pub async fn fetch(&self, what: &Fetch, tell: &mut (dyn FnMut(FetchEvent) + Send)) -> Result<Fetched, Problem> {
        for _ in 0..=MAX_RESTARTS {
            match self.fetch_version(what, tell).await {
                Err(problem) if problem.code == Code::Conflict => tell(FetchEvent::Changed),
                other => return other,
            }
        }
        Err(Problem::new(
            Code::Conflict,
            format!("{}/{} changes faster than it can be read", self.service(), what.path),
        ))
    }

    async fn fetch_version(
        &self,
        what: &Fetch,
        tell: &mut (dyn FnMut(FetchEvent) + Send),
    ) -> Result<Fetched, Problem> {
        let part = part_of(&what.to);
        let begun = blocking({
            let part = part.clone();
            move || Ok(fs::metadata(&part).is_ok_and(|found| found.len() > 0))
        });
        let first = if begun.await? { First::Manifest } else { First::Bytes };
        let mut stream = FileStream::open_for(first, self, &what.path, what.patience, tell).await?;
        let manifest = stream.manifest().clone();
        let (file, have) = blocking({
            let (part, manifest) = (part.clone(), manifest.clone());
            move || open_part(&part, &manifest)
        })
        .await?;
        stream.skip_to(have);
        let resumed = manifest.range(have).start;
        tell(FetchEvent::Began { size: manifest.size(), have: resumed });
        let (blocks, queue) = mpsc::channel::<Bytes>(WRITE_QUEUE);
        let (used, spare) = mpsc::channel::<BytesMut>(WRITE_QUEUE);
        let writer = tokio::task::spawn_blocking({
            let part = part.clone();
            move || write_all(file, queue, &used, &part)
        });
        let read = pump(&mut stream, blocks, spare, tell).await;
        let written = writer.await.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        // A full disk is why the reading stopped, not the other way round.
        let locked = written?;
        read?;
        let (from, to) = (part, what.to.clone());
        blocking(move || {
            // Whom the file was for before may read it, and nobody else.
            if let Some(before) = fs::symlink_metadata(&to).ok().filter(fs::Metadata::is_file) {
                fs::set_permissions(&from, before.permissions()).map_err(|error| disk(&from, &error))?;
            }
            fs::rename(&from, &to).map_err(|error| disk(&to, &error))?;
            drop(locked);
            Ok(())
        })
        .await?;
        Ok(Fetched { size: manifest.size(), etag: manifest.etag(), resumed, counts: stream.counts().to_vec() })
    }
}

async fn pump(
    stream: &mut FileStream,
    blocks: mpsc::Sender<Bytes>,
    mut spare: mpsc::Receiver<BytesMut>,
    tell: &mut (dyn FnMut(FetchEvent) + Send),
) -> Result<(), Problem> {
    let mut have = stream.manifest().range(stream.position()).start;
    while let Some(block) = stream.next(tell).await? {
        have += block.len() as u64;
        tell(FetchEvent::Progress { have });
        if blocks.send(block).await.is_err() {
            return Err(Problem::new(Code::Internal, "the file could not be written"));
        }
        if let Ok(buffer) = spare.try_recv() {
            stream.reuse(buffer);
        }
    }
    Ok(())
}

/// The name under which a download grows.
pub fn part_of(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    to.with_file_name(name)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Problem::new(Code::Internal, error.to_string())))
}

fn disk(path: &Path, error: &io::Error) -> Problem {
    let code = if error.kind() == io::ErrorKind::StorageFull { Code::NoSpace } else { Code::Internal };
    Problem::new(code, format!("{} cannot be written: {error}", path.display()))
        .next("what has arrived is kept; run the same command again to go on")
}

/// Opens the growing file for nobody else: two downloads into one would mix. No link is followed.
fn lock_part(part: &Path) -> Result<File, Problem> {
    let failed = |error: io::Error| disk(part, &error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let no_link = i32::try_from(OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits()).unwrap_or_default();
    let file = options.custom_flags(no_link).open(part).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Problem::new(Code::Exists, format!("{} is no regular file", part.display()))
            .next("remove it, or name another file to fetch into"));
    }
    let held = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // Another download may have finished it, and moved it away, in between.
        Ok(()) => {
            file.metadata().map(|mine| fs::symlink_metadata(part).map_or(true, |there| there.ino() != mine.ino()))
        }
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    };
    if held.map_err(failed)? {
        return Err(Problem::new(Code::Busy, format!("{} is being written by another download", part.display()))
            .next("wait for it, or name another file to fetch into"));
    }
    Ok(file)
}

/// Opens what an earlier download left, cut to the blocks that agree with the manifest.
fn open_part(part: &Path, manifest: &Manifest) -> Result<(File, usize), Problem> {
    let failed = |error: io::Error| disk(part, &error);
    let mut file = lock_part(part)?;
    let mut buffer = vec![0; usize::try_from(BLOCK_BYTES).unwrap_or(0)];
    let mut have = 0;
    while have < manifest.block_count() {
        let range = manifest.range(have);
        let wanted = usize::try_from(range.end - range.start).unwrap_or(0);
        if file.read_exact(&mut buffer[..wanted]).is_err() || !manifest.agrees(have, &buffer[..wanted]) {
            break;
        }
        have += 1;
    }
    let end = manifest.range(have).start;
    file.set_len(end).map_err(failed)?;
    file.seek(SeekFrom::Start(end)).map_err(failed)?;
    Ok((file, have))
}

fn write_all(
    mut file: File,
    mut queue: mpsc::Receiver<Bytes>,
    used: &mpsc::Sender<BytesMut>,
    part: &Path,
) -> Result<File, Problem> {
    let failed = |error: io::Error| disk(part, &error);
    let mut sent = file.stream_position().map_err(failed)?;
    let mut at = sent;
    while let Some(block) = queue.blocking_recv() {
        file.write_all(&block).map_err(failed)?;
        at += block.len() as u64;
        if let Ok(buffer) = block.try_into_mut() {
            // If nobody wants it, it is freed.
            let _ = used.try_send(buffer);
        }
        if at - sent >= SEND_TO_DISK_EVERY {
            send_to_disk(&file, sent, at);
            sent = at;
        }
    }
    // Before the rename: a crash must not leave a file under its last name without its content.
    file.sync_all().map_err(failed)?;
    Ok(file)
}

/// Has the system begin to write these bytes out, so that the sync at the end finds little to do. This is what the
/// advice does with pages that are not written out yet; that it may drop those that are does no harm to a download.
fn send_to_disk(file: &File, from: u64, to: u64) {
    // An advice: what comes of a refusal is a longer sync.
    let _ = rustix::fs::fadvise(file, from, std::num::NonZeroU64::new(to - from), rustix::fs::Advice::DontNeed);
}
