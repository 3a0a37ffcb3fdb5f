//! Reading the audit log: the records that a person asks for, from all its files, in order. Nothing is held but the
//! record at hand, and nothing here says whether the log is whole: that is `verify_audit`.

use super::chain::{AuditFault, io, open_files};
use super::record::{AuditOutcome, AuditRecord};
use crate::limits::{MAX_AUDIT_RECORD_BYTES, MAX_AUDIT_TAIL_BYTES};
use crate::reason::plain;
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;
use terms::{Principal, UnixMs};

/// One record as it stands in the log, with its number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AuditEntry {
    /// Its number; the first is 1.
    pub seq: u64,
    /// What it says.
    #[serde(flatten)]
    pub record: AuditRecord,
}

/// Which records are asked for. What is not set does not matter.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// The principal for whom it was asked, who asked, or who stands in the chain.
    pub principal: Option<Principal>,
    /// This resource, or below it.
    pub resource: Option<String>,
    /// The id of a transfer certificate or token in the chain, or how it begins.
    pub transfer: Option<String>,
    /// Not before this time.
    pub since: Option<UnixMs>,
    /// What happened.
    pub outcome: Option<AuditOutcome>,
}

impl AuditQuery {
    /// Whether a record is asked for.
    pub fn matches(&self, record: &AuditRecord) -> bool {
        let is = |wanted: &Principal, found: &Option<Principal>| found.as_ref() == Some(wanted);
        let principal = self.principal.as_ref().is_none_or(|wanted| {
            let mut links = record.chain.iter();
            is(wanted, &record.subject)
                || is(wanted, &record.peer)
                || links.any(|link| link.subject == *wanted || link.audience == *wanted || is(wanted, &link.issuer))
        });
        let transfer =
            self.transfer.as_ref().is_none_or(|wanted| record.chain.iter().any(|link| link.id.starts_with(wanted)));
        principal
            && transfer
            && self.resource.as_ref().is_none_or(|wanted| below(&record.resource, &plain(wanted)))
            && self.since.is_none_or(|since| record.at >= since)
            && self.outcome.is_none_or(|outcome| record.outcome == outcome)
    }
}

/// Whether a resource is this one or below it, by whole segments. Refusals before a path was understood carry it as it
/// was sent, with a slash before it.
fn below(resource: &str, wanted: &str) -> bool {
    let (resource, wanted) = (resource.trim_start_matches('/'), wanted.trim_matches('/'));
    resource.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Gives each record that is asked for to `take`, oldest first, with its line without the line end; `take` may end the
/// reading. Answers how many lines were no records: a whole log has none.
///
/// # Errors
/// [`AuditFault::Io`].
pub fn read_audit(
    path: &Path,
    query: &AuditQuery,
    mut take: impl FnMut(AuditEntry, &str) -> ControlFlow<()>,
) -> Result<u64, AuditFault> {
    let mut unread = 0;
    for (path, file) in open_files(path)? {
        let mut reader = BufReader::new(file);
        while let Some(line) = whole_line(&mut reader).map_err(io(&path))? {
            let text = std::str::from_utf8(&line).ok();
            let entry = text.and_then(|text| Some((serde_json::from_str::<AuditEntry>(text).ok()?, text)));
            match entry {
                None => unread += 1,
                Some((entry, text)) if query.matches(&entry.record) => {
                    if take(entry, text).is_break() {
                        return Ok(unread);
                    }
                }
                Some(_) => {}
            }
        }
    }
    Ok(unread)
}

/// The next line that has its end, without it; a line longer than any record is passed over and is empty here. What
/// stands after the last line end is being written, or was torn by a crash.
fn whole_line(reader: &mut BufReader<File>) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.by_ref().take(MAX_AUDIT_RECORD_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
    if line.len() > MAX_AUDIT_RECORD_BYTES && line.last() != Some(&b'\n') {
        line.clear();
        return if skip_line(reader)? { Ok(Some(line)) } else { Ok(None) };
    }
    Ok((line.pop() == Some(b'\n')).then_some(line))
}

/// Passes over the rest of a line without holding it; false if it has no end.
fn skip_line(reader: &mut BufReader<File>) -> std::io::Result<bool> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(false);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// The newest records of a log, oldest first, from the end of its newest file: for a look that must not read it all.
/// There may be fewer than `count` when the file has just begun.
///
/// # Errors
/// [`AuditFault::Io`].
pub fn newest_audit(path: &Path, count: usize) -> Result<Vec<AuditEntry>, AuditFault> {
    let mut file = File::open(path).map_err(io(path))?;
    let length = file.metadata().map_err(io(path))?.len();
    let begin = length.saturating_sub(MAX_AUDIT_TAIL_BYTES);
    file.seek(SeekFrom::Start(begin)).map_err(io(path))?;
    let mut tail = Vec::new();
    file.take(MAX_AUDIT_TAIL_BYTES).read_to_end(&mut tail).map_err(io(path))?;
    // What begins within a line, and what is being written, is no record.
    let lines = tail.split_inclusive(|byte| *byte == b'\n').skip(usize::from(begin > 0));
    let entries = lines.filter(|line| line.ends_with(b"\n")).filter_map(|line| serde_json::from_slice(line).ok());
    let mut entries: Vec<AuditEntry> = entries.collect();
    entries.drain(..entries.len().saturating_sub(count));
    Ok(entries)
}
