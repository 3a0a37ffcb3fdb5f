//! The audit log: append-only JSON lines, each with the hash of the one before. It records every refusal and
//! every grant of `m`, `x` and `a`; it never decides anything. Beside it lies a note of where it ended, so that a start
//! finds out whether it was cut or taken away meanwhile; whoever can change both can hide that.

mod chain;
mod read;
mod record;
mod sums;
mod witness;

pub use chain::{AuditFault, AuditHead, AuditSummary, missing_audit, verify_audit, verify_newest_audit};
pub use read::{AuditEntry, AuditQuery, newest_audit, read_audit};
pub use record::{AuditLink, AuditOutcome, AuditRecord};
pub use witness::{HEAD_KIND, HeadStatement, Testimony, Witnessed};

use crate::error::TrustError;
use crate::files::{read_private, write_private};
use crate::limits::{MAX_AUDIT_FILE_BYTES, MAX_AUDIT_NOTE_BYTES, MAX_AUDIT_OLD_FILES, MAX_AUDIT_RECORD_BYTES};
use chain::{Torn, aside, files, note, read_head, seal};
use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use sums::Sums;
use terms::UnixMs;

/// The log of one node. One value per file; calls from several threads are put in order.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    damage: Option<AuditFault>,
    /// What was lost before it was opened, as its newest files acknowledge.
    acknowledged: Vec<AuditHead>,
    inner: Mutex<Inner>,
    /// One note at a time: an older one never replaces a newer one.
    noting: Mutex<()>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    bytes: u64,
    first: u64,
    head: AuditHead,
    /// Where the note says that the log ends.
    noted: Option<AuditHead>,
    sums: Sums,
    /// Sums of minutes that are over and could not be written yet, oldest first.
    unwritten: VecDeque<AuditRecord>,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> TrustError {
    let path = path.to_path_buf();
    move |source| TrustError::Io { action, path, source }
}

impl AuditLog {
    /// Opens the log, or begins one (mode 0600). A last line that a crash cut short was never acknowledged: it
    /// is taken away. What else is wrong with it is found and does not keep it from being opened: see
    /// [`AuditLog::damage`].
    ///
    /// # Errors
    /// [`TrustError::Io`]; [`TrustError::Malformed`] if the last whole record is damaged: `verify` says more.
    pub fn open(path: &Path) -> Result<Self, TrustError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        if !folder.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("create", folder))?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let file = options.open(path).map_err(failed("open", path))?;
        let Torn { first, head, whole } = read_head(path)?;
        let length = file.metadata().map_err(failed("open", path))?.len();
        if whole < length {
            file.set_len(whole).map_err(failed("write", path))?;
        }
        let LookedOver { noted, acknowledged, damage } = look_over(path, head);
        let inner =
            Inner { file, bytes: whole, first, head, noted, sums: Sums::default(), unwritten: VecDeque::new() };
        let (path, inner) = (path.to_path_buf(), Mutex::new(inner));
        let log = Self { path, damage, acknowledged, inner, noting: Mutex::new(()) };
        if log.damage.is_none() {
            // A full disk keeps nobody from reading. The next flush says that the note cannot be written.
            let _ = log.note_end();
        }
        Ok(log)
    }

    /// What was wrong with the log when it was opened: changed, cut or gone since its end was noted. Whoever opens it
    /// tells people, and records it; that is what the log goes on with.
    pub fn damage(&self) -> Option<&AuditFault> {
        self.damage.as_ref()
    }

    /// The ends that were lost before the log was opened, as its newest files acknowledge.
    pub fn acknowledged(&self) -> &[AuditHead] {
        &self.acknowledged
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a record. Refusals of callers without a certificate are summed per source prefix and minute,
    /// and written when their minute is over: at the next record, or at [`AuditLog::flush`].
    ///
    /// # Errors
    /// [`TrustError::Io`]. Who needs the record to act, does not act then.
    pub fn record(&self, record: &AuditRecord) -> Result<(), TrustError> {
        let mut inner = self.inner();
        self.write_sums(&mut inner, record.at)?;
        if inner.sums.take(record) { Ok(()) } else { self.append(&mut inner, record) }
    }

    /// Writes the sums of minutes that are over, and notes where the log ends.
    ///
    /// # Errors
    /// [`TrustError::Io`].
    pub fn flush(&self, now: UnixMs) -> Result<(), TrustError> {
        self.write_sums(&mut self.inner(), now)?;
        self.note_end()
    }

    /// Writes the sums of the minute that runs too: for a clean stop.
    ///
    /// # Errors
    /// [`TrustError::Io`].
    pub fn finish(&self) -> Result<(), TrustError> {
        self.write_sums(&mut self.inner(), UnixMs(u64::MAX))?;
        self.note_end()
    }

    /// Notes where the log ends, once all up to there is on disk: a loss of power does not look like a cut.
    fn note_end(&self) -> Result<(), TrustError> {
        let _turn = self.noting.lock().unwrap_or_else(PoisonError::into_inner);
        let (head, file) = {
            let inner = self.inner();
            if inner.noted == Some(inner.head) {
                return Ok(());
            }
            (inner.head, inner.file.try_clone().map_err(failed("write", &self.path))?)
        };
        file.sync_data().map_err(failed("write", &self.path))?;
        let text =
            serde_json::to_vec(&head).map_err(|error| TrustError::malformed("the audit log's end", error))?;
        write_private(&note(&self.path), &text)?;
        self.inner().noted = Some(head);
        Ok(())
    }

    /// Whether the log contains these heads, which a second node keeps: what is missing or different was cut or
    /// replaced. Looks at the two newest files.
    ///
    /// # Errors
    /// The first [`AuditFault`].
    pub fn compare<'a>(&self, known: impl IntoIterator<Item = &'a AuditHead>) -> Result<(), AuditFault> {
        verify_newest_audit(&self.path, known).map(drop)
    }

    /// The last record's number and hash: kept elsewhere, it shows later whether the tail was cut.
    pub fn head(&self) -> AuditHead {
        self.inner().head
    }

    /// Makes everything recorded so far survive a loss of power.
    ///
    /// # Errors
    /// [`TrustError::Io`].
    pub fn sync(&self) -> Result<(), TrustError> {
        // Others write on meanwhile.
        let file = self.inner().file.try_clone().map_err(failed("write", &self.path))?;
        file.sync_data().map_err(failed("write", &self.path))
    }

    /// What cannot be written stays for the next attempt.
    fn write_sums(&self, inner: &mut Inner, now: UnixMs) -> Result<(), TrustError> {
        let over = inner.sums.over(now);
        sums::keep(&mut inner.unwritten, over);
        while let Some(record) = inner.unwritten.front().cloned() {
            self.append(inner, &record)?;
            inner.unwritten.pop_front();
        }
        Ok(())
    }

    fn append(&self, inner: &mut Inner, record: &AuditRecord) -> Result<(), TrustError> {
        let (line, head) = seal(inner.head, record)?;
        if line.len() > MAX_AUDIT_RECORD_BYTES {
            return Err(TrustError::TooLarge {
                what: "the audit record",
                size: line.len(),
                limit: MAX_AUDIT_RECORD_BYTES,
            });
        }
        if inner.bytes + line.len() as u64 > MAX_AUDIT_FILE_BYTES {
            self.put_aside(inner)?;
        }
        if let Err(error) = inner.file.write_all(&line) {
            // Half a line must not stay before the next one.
            let _ = inner.file.set_len(inner.bytes);
            return Err(failed("write", &self.path)(error));
        }
        inner.bytes += line.len() as u64;
        inner.head = head;
        Ok(())
    }

    /// The full file gets the number of its first record; the chain goes on in a new one.
    fn put_aside(&self, inner: &mut Inner) -> Result<(), TrustError> {
        inner.file.sync_all().map_err(failed("write", &self.path))?;
        match fs::rename(&self.path, aside(&self.path, inner.first)) {
            // Put aside by an attempt before this one, which could not open the new file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            done => done.map_err(failed("put aside", &self.path))?,
        }
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(0o600);
        inner.file = options.open(&self.path).map_err(failed("open", &self.path))?;
        (inner.bytes, inner.first) = (0, inner.head.records + 1);
        let older = files(&self.path).unwrap_or_default();
        for oldest in older.iter().rev().skip(1 + MAX_AUDIT_OLD_FILES) {
            // One that stays is tried again when the next file is full.
            let _ = fs::remove_file(oldest);
        }
        Ok(())
    }
}

/// Where the note beside a log says that it ended; none if there is no note.
///
/// # Errors
/// [`AuditFault::NoNote`] if it cannot be read.
pub fn noted_head(path: &Path) -> Result<Option<AuditHead>, AuditFault> {
    let note = note(path);
    if !note.exists() {
        return Ok(None);
    }
    let text = read_private(&note, MAX_AUDIT_NOTE_BYTES).ok();
    let head = text.and_then(|text| serde_json::from_slice(&text).ok());
    head.map(Some).ok_or(AuditFault::NoNote { path: note })
}

/// What the note says, what the log acknowledges, and what is wrong with a log that ends there.
struct LookedOver {
    noted: Option<AuditHead>,
    acknowledged: Vec<AuditHead>,
    damage: Option<AuditFault>,
}

fn look_over(path: &Path, head: AuditHead) -> LookedOver {
    let noted = match read_private(&note(path), MAX_AUDIT_NOTE_BYTES) {
        Ok(text) => serde_json::from_slice(&text).ok(),
        Err(_) => None,
    };
    let new = head == AuditHead::START && !note(path).exists();
    let (acknowledged, damage) = match verify_newest_audit(path, noted.as_ref()) {
        Ok(summary) if noted.is_none() && !new => {
            (summary.acknowledged, Some(AuditFault::NoNote { path: note(path) }))
        }
        Ok(summary) => (summary.acknowledged, None),
        Err(fault) => (Vec::new(), Some(fault)),
    };
    LookedOver { noted, acknowledged, damage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_names_the_end_whoever_writes_it_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.log");
        let log = AuditLog::open(&path).expect("opened");
        let alice = "spiffe://lab.example/user/alice".parse().expect("a principal");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for at in 0..25 {
                        log.record(&AuditRecord::of_change(UnixMs(at), &alice, "x", "y")).expect("recorded");
                        let end = log.head();
                        log.flush(UnixMs(at)).expect("noted");
                        let noted = noted_head(&path).expect("readable").expect("there");
                        assert!(noted.records >= end.records, "{} < {}", noted.records, end.records);
                    }
                });
            }
        });
        assert_eq!(noted_head(&path).expect("readable"), Some(log.head()));
    }

    #[test]
    fn sums_wait_for_a_disk_that_cannot_be_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.log");
        let log = AuditLog::open(&path).expect("opened");
        let refusal = |at, address: &str| {
            let address = address.parse().ok();
            AuditRecord::of_refusal(UnixMs(at), address, "data.lab.example", "no certificate")
        };
        (0..5).for_each(|_| log.record(&refusal(60_000, "10.0.0.1")).expect("summed"));
        log.record(&refusal(60_000, "10.1.0.1")).expect("summed");
        // Opened for reading only, it takes no write, as a full disk takes none.
        let writable = std::mem::replace(&mut log.inner().file, File::open(&path).expect("there"));
        assert!(log.flush(UnixMs(120_000)).is_err());
        assert!(log.record(&refusal(120_000, "10.0.0.1")).is_err(), "what cannot be recorded is not done");
        log.inner().file = writable;
        log.flush(UnixMs(180_000)).expect("written");
        let text = fs::read_to_string(&path).expect("read");
        let counts: Vec<_> = text.lines().map(|line| line.contains("\"count\":5")).collect();
        assert_eq!(counts, [true, false], "nothing was lost: {text}");
    }
}
