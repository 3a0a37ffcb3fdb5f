//! The hash chain of the audit log: how a line is sealed, and how a removed, changed or cut one is found.

use super::record::AuditRecord;
use crate::error::TrustError;
use crate::limits::MAX_AUDIT_RECORD_BYTES;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use terms::Digest;

/// The end of the log at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// The number of the last record; the first is 1.
    pub records: u64,
    /// Its hash.
    pub hash: Digest,
}

impl AuditHead {
    /// Before the first record.
    pub const START: Self = Self { records: 0, hash: Digest([0; 32]) };
}

/// What `verify_audit` found in a log without fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSummary {
    /// The number of the first record that is still there; more than 1 if old files were taken away.
    pub first: u64,
    /// The end of the log.
    pub head: AuditHead,
    /// Ends that were lost, as records of the log acknowledge.
    pub acknowledged: Vec<AuditHead>,
    /// Of the known ends, those that are not there and are acknowledged.
    pub lost: Vec<AuditHead>,
}

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum AuditFault {
    /// A record was changed.
    #[error("record {record} was changed ({})", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its number.
        record: u64,
    },
    /// Something was removed, put in, or moved.
    #[error("record {found} stands where record {expected} should ({})", path.display())]
    Gap {
        /// The file.
        path: PathBuf,
        /// The number that should follow.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// A record has the right number and follows another record than the one before it.
    #[error("record {record} does not follow the one before it: one of them was replaced ({})", path.display())]
    Spliced {
        /// The file.
        path: PathBuf,
        /// Its number.
        record: u64,
    },
    /// A line is not a record.
    #[error("the line after record {after} is no record ({})", path.display())]
    NoRecord {
        /// The file.
        path: PathBuf,
        /// The record before.
        after: u64,
    },
    /// The log ends before a record that was once there, or goes on differently.
    #[error("record {expected} was there once, and is not there as it was: the end of the log was cut or replaced")]
    Cut {
        /// The record known from elsewhere.
        expected: u64,
    },
    /// What would show a cut is missing.
    #[error("the note of where the log ended cannot be read, so a cut would not show ({})", path.display())]
    NoNote {
        /// The note.
        path: PathBuf,
    },
    /// The log cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

impl AuditFault {
    /// The number of the record at which the fault shows, if there is one.
    pub fn record(&self) -> Option<u64> {
        match self {
            Self::Changed { record, .. } | Self::Spliced { record, .. } => Some(*record),
            Self::Gap { expected, .. } | Self::Cut { expected } => Some(*expected),
            Self::NoRecord { after, .. } => Some(after + 1),
            Self::NoNote { .. } | Self::Io { .. } => None,
        }
    }
}

#[derive(Serialize)]
struct Numbered<'a> {
    seq: u64,
    prev: Digest,
    #[serde(flatten)]
    record: &'a AuditRecord,
}

/// The first members of every line.
#[derive(Deserialize)]
struct Place {
    seq: u64,
    prev: Digest,
    #[serde(default)]
    acknowledged: Vec<AuditHead>,
}

/// `,"hash":"` and `"}`, around 64 digits.
const HASH_KEY: &[u8] = b",\"hash\":\"";
const SEAL_BYTES: usize = HASH_KEY.len() + 64 + 2;

fn hash(body: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"webos-audit-v1").update(body);
    Digest(*hasher.finalize().as_bytes())
}

/// One line with its newline, and the head after it. The hash covers the line as it stands, up to the hash.
pub(super) fn seal(head: AuditHead, record: &AuditRecord) -> Result<(Vec<u8>, AuditHead), TrustError> {
    let seq = head.records + 1;
    let body = serde_json::to_string(&Numbered { seq, prev: head.hash, record })
        .map_err(|error| TrustError::malformed("the audit record", error))?;
    let body = ascii(&body);
    let hash = hash(body.as_bytes());
    let open = body.strip_suffix('}').unwrap_or(&body);
    Ok((format!("{open},\"hash\":\"{hash}\"}}\n").into_bytes(), AuditHead { records: seq, hash }))
}

/// JSON in ASCII: outside of strings it is so already, and within them every other character has an escape.
/// No line can hide a line end, a control sequence or a change of direction.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, ' '..='~') {
            text.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
}

/// The body that was hashed, its place, and the hash that the line claims.
fn open_line(line: &[u8]) -> Option<(Vec<u8>, Place, Digest)> {
    let line = line.strip_suffix(b"\n")?;
    let (open, seal) = line.split_at_checked(line.len().checked_sub(SEAL_BYTES)?)?;
    let digits = seal.strip_prefix(HASH_KEY)?.strip_suffix(b"\"}")?;
    let claimed = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let body = [open, b"}"].concat();
    let place = serde_json::from_slice(&body).ok()?;
    Some((body, place, claimed))
}

/// The name of a full file, by the number of its first record.
pub(super) fn aside(path: &Path, first: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{first:012}"));
    PathBuf::from(name)
}

/// The name of the note of where the log ended.
pub(super) fn note(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".head");
    PathBuf::from(name)
}

/// The files of a log, oldest first.
pub(super) fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut older = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let found = entry?.file_name().to_string_lossy().into_owned();
        let number = found.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
        if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
            older.push((number, folder.join(found)));
        }
    }
    older.sort();
    Ok(older.into_iter().map(|(_, file)| file).chain([path.to_path_buf()]).collect())
}

/// Opens all files of a log, oldest first. A log that runs may put a file aside meanwhile; then they are opened anew.
pub(super) fn open_files(path: &Path) -> Result<Vec<(PathBuf, File)>, AuditFault> {
    let mut names = files(path).map_err(io(path))?;
    loop {
        let open = |name: &PathBuf| Ok((name.clone(), File::open(name).map_err(io(name))?));
        let opened: Vec<_> = names.iter().map(open).collect::<Result<_, _>>()?;
        let after = files(path).map_err(io(path))?;
        if after == names {
            return Ok(opened);
        }
        names = after;
    }
}

/// One line of bounded length; empty at the end of the file.
fn next_line(reader: &mut BufReader<File>) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.by_ref().take(MAX_AUDIT_RECORD_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// Reads a whole log and checks that every record is as it was written and follows the one before. With heads
/// known from elsewhere it also finds that the end was cut, or replaced by another.
///
/// A last line without its end is passed over: a node that runs may be writing it.
///
/// # Errors
/// The first [`AuditFault`].
pub fn verify_audit<'a>(
    path: &Path,
    known: impl IntoIterator<Item = &'a AuditHead>,
) -> Result<AuditSummary, AuditFault> {
    content(check(open_files(path)?, known)?)
}

/// Of the ends known from elsewhere, those that are neither in the log nor acknowledged there; the log has no other fault.
///
/// # Errors
/// The first [`AuditFault`] but [`AuditFault::Cut`].
pub fn missing_audit<'a>(
    path: &Path,
    known: impl IntoIterator<Item = &'a AuditHead>,
) -> Result<Vec<AuditHead>, AuditFault> {
    Ok(check(open_files(path)?, known)?.1)
}

/// The same for the two newest files of a log: what can be damaged since it was last looked at, in a bounded time.
///
/// # Errors
/// As [`verify_audit`].
pub fn verify_newest_audit<'a>(
    path: &Path,
    known: impl IntoIterator<Item = &'a AuditHead>,
) -> Result<AuditSummary, AuditFault> {
    let mut all = open_files(path)?;
    let newest = all.split_off(all.len().saturating_sub(2));
    content(check(newest, known)?)
}

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> AuditFault {
    let path = path.to_path_buf();
    move |source| AuditFault::Io { path, source }
}

/// Nothing is missing, or what is missing first.
fn content((summary, missing): (AuditSummary, Vec<AuditHead>)) -> Result<AuditSummary, AuditFault> {
    match missing.first() {
        Some(known) => Err(AuditFault::Cut { expected: known.records }),
        None => Ok(summary),
    }
}

/// The log without fault, and which of the known ends are missing.
fn check<'a>(
    files: Vec<(PathBuf, File)>,
    known: impl IntoIterator<Item = &'a AuditHead>,
) -> Result<(AuditSummary, Vec<AuditHead>), AuditFault> {
    let known = known.into_iter().copied().filter(|known| known.records > 0).collect();
    let mut walk = Walk { head: AuditHead::START, first: None, missing: known, acknowledged: Vec::new() };
    let newest = files.len().saturating_sub(1);
    for (index, (path, file)) in files.into_iter().enumerate() {
        let mut reader = BufReader::new(file);
        loop {
            let line = next_line(&mut reader).map_err(io(&path))?;
            let torn = index == newest && line.len() <= MAX_AUDIT_RECORD_BYTES && !line.ends_with(b"\n");
            if line.is_empty() || torn {
                break;
            }
            walk.step(&path, &line)?;
        }
    }
    let Walk { head, first, missing, acknowledged } = walk;
    // What stood in files that were taken away is not missed.
    let missing = missing.into_iter().filter(|known| first.is_none_or(|first| known.records >= first));
    let (lost, missing) = missing.partition(|known| acknowledged.contains(known));
    Ok((AuditSummary { first: first.unwrap_or(1), head, acknowledged, lost }, missing))
}

struct Walk {
    head: AuditHead,
    first: Option<u64>,
    /// Known heads that were not met yet.
    missing: Vec<AuditHead>,
    acknowledged: Vec<AuditHead>,
}

impl Walk {
    fn step(&mut self, path: &Path, line: &[u8]) -> Result<(), AuditFault> {
        let path = path.to_path_buf();
        let Some((body, place, claimed)) = open_line(line) else {
            return Err(AuditFault::NoRecord { path, after: self.head.records });
        };
        if hash(&body) != claimed {
            return Err(AuditFault::Changed { path, record: place.seq });
        }
        // What stood before the oldest file that is left cannot be checked; the summary says where it begins.
        let first = *self.first.get_or_insert(place.seq);
        let begins = first == place.seq && first > 1;
        let expected = self.head.records + 1;
        if !begins && place.seq != expected {
            return Err(AuditFault::Gap { path, expected, found: place.seq });
        }
        if !begins && place.prev != self.head.hash {
            return Err(AuditFault::Spliced { path, record: place.seq });
        }
        self.head = AuditHead { records: place.seq, hash: claimed };
        self.missing.retain(|known| *known != self.head);
        self.acknowledged.extend(place.acknowledged);
        Ok(())
    }
}

/// Where a log that is opened for writing stands.
pub(super) struct Torn {
    pub first: u64,
    pub head: AuditHead,
    /// The length up to the end of the last whole line.
    pub whole: u64,
}

/// Finds the end of the chain: in the file itself, or, if it holds no record yet, in the newest one put aside.
pub(super) fn read_head(path: &Path) -> Result<Torn, TrustError> {
    let failed = |source| TrustError::Io { action: "read", path: path.to_path_buf(), source };
    let mut before = AuditHead::START;
    let mut torn = Torn { first: 1, head: before, whole: 0 };
    let files = files(path).map_err(failed)?;
    // Only the last two files matter: the newest one put aside always holds a record.
    for file in files.iter().skip(files.len().saturating_sub(2)) {
        torn = read_file_head(file, before).map_err(failed)?.ok_or_else(|| {
            TrustError::malformed("the audit log", format_args!("its last record is damaged: {}", file.display()))
        })?;
        before = torn.head;
    }
    Ok(torn)
}

fn read_file_head(path: &Path, before: AuditHead) -> std::io::Result<Option<Torn>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let mut torn = Torn { first: before.records + 1, head: before, whole: 0 };
    let mut last: Option<Vec<u8>> = None;
    loop {
        let line = next_line(&mut reader)?;
        if !line.ends_with(b"\n") {
            // Only the very end can be torn. A line without an end in the middle is damage.
            if torn.whole + (line.len() as u64) < length {
                return Ok(None);
            }
            break;
        }
        if last.is_none()
            && let Some((_, place, _)) = open_line(&line)
        {
            torn.first = place.seq;
        }
        torn.whole += line.len() as u64;
        last = Some(line);
    }
    let Some(last) = last else { return Ok(Some(torn)) };
    let opened = open_line(&last).filter(|(body, _, claimed)| hash(body) == *claimed);
    Ok(opened.map(|(_, place, hash)| Torn { head: AuditHead { records: place.seq, hash }, ..torn }))
}
