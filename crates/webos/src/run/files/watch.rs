//! `watch`: a line for each change, as it happens.

use crate::args::WatchFiles;
use crate::output::{Out, Outcome};
use crate::run::{Setup, reach};
use client::models::FileKind;
use client::{News, Watching};
use serde::Serialize;
use terms::{Location, UnixMs, VolumeName};
use tokio::time::timeout;
use webfs::watch::{Event, Seen};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line {
    Watching { location: String },
    Changed { location: String, kind: FileKind, size: u64, version: String, modified_ms: UnixMs },
    Removed { location: String },
    Missed,
    Cut { problem: String },
}

/// Tells of changes until it is ended.
pub async fn watch(setup: &Setup, out: &mut Out, arguments: &WatchFiles) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    let volume = reach::volume(&client, &arguments.place, None).await?;
    let watching = volume.watch(&arguments.place.location.path).await?;
    let telling = tell(out, volume.name(), &arguments.place.location, watching);
    match arguments.span {
        None => telling.await,
        // The time is over: that is what was asked for.
        Some(span) => timeout(span, telling).await.unwrap_or(Ok(())),
    }
}

async fn tell(out: &mut Out, volume: &VolumeName, place: &Location, mut watching: Watching) -> Outcome {
    loop {
        match watching.next().await? {
            News::Seen(Seen::From { missed: true, .. }) => {
                say(out, &Line::Missed)?;
            }
            News::Seen(Seen::From { missed: false, .. }) => {
                say(out, &Line::Watching { location: place.to_string() })?;
            }
            News::Seen(Seen::Changed { events, .. }) => {
                for event in events {
                    say(out, &line(volume, event))?;
                }
            }
            News::Seen(_) => {}
            News::Cut(problem) => say(out, &Line::Cut { problem: problem.to_string() })?,
        }
    }
}

fn line(volume: &VolumeName, event: Event) -> Line {
    let location = Location { volume: volume.clone(), path: event.path }.to_string();
    match event.entry {
        None => Line::Removed { location },
        Some(entry) => Line::Changed {
            location,
            kind: entry.kind,
            size: entry.size,
            version: entry.version.to_string(),
            modified_ms: entry.modified,
        },
    }
}

fn say(out: &mut Out, line: &Line) -> Outcome {
    if out.is_json() {
        return out.json_line(line);
    }
    match line {
        Line::Watching { location } => out.note(&format!("watching {location}")),
        Line::Missed => out.note("some changes were missed: look at what is there now"),
        Line::Cut { problem } => out.note(&format!("{problem}; asking again")),
        Line::Changed { location, kind, .. } => {
            let slash = if *kind == FileKind::Directory { "/" } else { "" };
            let name = out.name(location).into_owned();
            out.line(&format!("changed  {name}{slash}"))?;
        }
        Line::Removed { location } => {
            let name = out.name(location).into_owned();
            out.line(&format!("removed  {name}"))?;
        }
    }
    out.flush()
}
