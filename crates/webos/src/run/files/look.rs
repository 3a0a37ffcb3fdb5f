//! `ls` and `stat`.

use super::Shown;
use crate::args::{Ls, Stat};
use crate::output::{Out, Outcome, time};
use crate::run::{Setup, reach};
use client::models::{DirEntry, Entry, FileKind, Policy};
use serde::Serialize;
use terms::{ByteCount, Location, UnixMs, VolumePath};

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    kind: FileKind,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    modified_ms: UnixMs,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Policy::is_cto")]
    policy: Policy,
}

#[derive(Serialize)]
struct Listed<'a> {
    location: String,
    entries: Vec<Line<'a>>,
}

/// Lists a folder; a file lists as itself.
pub async fn ls(setup: &Setup, out: &mut Out, arguments: &Ls) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    let place = &arguments.place;
    let volume = reach::volume(&client, place, arguments.source.from.as_ref()).await?;
    let path = &place.location.path;
    // Both at once: one round trip, whichever it is.
    let (entry, listing) = futures_util::join!(volume.stat(path), volume.list(path));
    let entry = entry?;
    let entries = if entry.kind == FileKind::Directory { listing? } else { vec![as_line(path, &entry)] };
    let lines = entries.iter().map(|entry| Line {
        name: &entry.name,
        kind: entry.kind,
        size: entry.size,
        etag: entry.etag.map(|etag| etag.to_string()),
        modified_ms: entry.modified,
        target: entry.target.as_deref(),
        policy: entry.policy,
    });
    let listed = Listed { location: place.location.to_string(), entries: lines.collect() };
    out.result(&listed, |out, listed| listed.entries.iter().try_for_each(|line| print(out, line, arguments.long)))
}

fn as_line(path: &VolumePath, entry: &Entry) -> DirEntry {
    let name = path.name().unwrap_or_default().to_string();
    let Entry { kind, size, etag, modified, policy, .. } = *entry;
    DirEntry { name, kind, size, etag, modified, target: None, policy }
}

fn print(out: &mut Out, line: &Line<'_>, long: bool) -> Outcome {
    let slash = if line.kind == FileKind::Directory { "/" } else { "" };
    let name = out.name(line.name).into_owned();
    if long {
        let size = if slash.is_empty() { line.size.to_string() } else { "-".to_string() };
        let leads = line.target.map(|target| format!(" -> {}", out.name(target))).unwrap_or_default();
        out.line(&format!("{size:>12}  {}  {name}{slash}{leads}", time(line.modified_ms)))
    } else {
        out.line(&format!("{name}{slash}"))
    }
}

/// Shows one file or folder.
pub async fn stat(setup: &Setup, out: &mut Out, arguments: &Stat) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    let place = &arguments.place;
    let volume = reach::volume(&client, place, arguments.source.from.as_ref()).await?;
    let entry = volume.stat(&place.location.path).await?;
    out.result(&Shown::new(&place.location, &entry), |out, _| people(out, &place.location, &entry))
}

fn people(out: &mut Out, location: &Location, entry: &Entry) -> Outcome {
    let name = out.name(&location.to_string()).into_owned();
    out.line(&name)?;
    match entry.kind {
        FileKind::Directory => out.line("  kind      folder")?,
        FileKind::Link => out.line("  kind      symbolic link")?,
        FileKind::File => out.line(&format!("  size      {} ({} bytes)", ByteCount(entry.size), entry.size))?,
    }
    if let Some(etag) = entry.etag {
        out.line(&format!("  etag      \"{etag}\""))?;
    }
    out.line(&format!("  version   {}", entry.version))?;
    if !entry.policy.is_cto() {
        out.line(&format!("  policy    {}", entry.policy))?;
    }
    out.line(&format!("  modified  {}", time(entry.modified)))
}
