//! `append` and `tail`: putting lines at the end of a file, and reading them there.

use crate::args::{AppendArgs, TailArgs};
use crate::home::cannot;
use crate::output::{Out, Outcome};
use crate::run::limits::MAX_TAIL_BYTES;
use crate::run::{Setup, reach};
use bytes::{Bytes, BytesMut};
use client::{News, Volume};
use serde::Serialize;
use std::path::Path;
use terms::{ByteCount, Code, Location, Problem, VolumePath};
use tokio::io::{AsyncRead, AsyncReadExt};
use webfs::limits::MAX_APPEND_BYTES;
use webfs::protocol::Operation;
use webfs::watch::Seen;

/// What is read from the end at once: bytes.
const TAIL_READ: u64 = 64 << 10;

#[derive(Serialize)]
struct Appended {
    location: String,
    /// Where the first byte was placed; nothing if there was nothing to append.
    offset: Option<u64>,
    bytes: u64,
    appends: u64,
}

/// Appends a file, or standard input as it comes.
pub async fn append(setup: &Setup, out: &mut Out, arguments: &AppendArgs) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    let place = &arguments.place;
    let volume = reach::volume(&client, place, None).await?;
    let location = place.location.to_string();
    let mut done = Appended { location, offset: None, bytes: 0, appends: 0 };
    match arguments.file.as_deref().filter(|file| file.as_os_str() != "-") {
        Some(file) => {
            let opened = tokio::fs::File::open(file).await.map_err(|error| cannot("read", file, &error))?;
            append_all(&volume, &place.location, opened, file, &mut done).await?;
        }
        None => {
            let input = tokio::fs::File::from_std(super::piped::standard_input()?);
            append_all(&volume, &place.location, input, Path::new("standard input"), &mut done).await?;
        }
    }
    out.result(&done, |_, _| Ok(()))
}

/// Appends whole lines as they come, and what is longer than an append in parts.
async fn append_all(
    volume: &Volume,
    location: &Location,
    mut input: impl AsyncRead + Unpin,
    name: &Path,
    done: &mut Appended,
) -> Result<(), Problem> {
    let mut waiting = BytesMut::new();
    loop {
        waiting.reserve(MAX_APPEND_BYTES - waiting.len());
        let room = MAX_APPEND_BYTES - waiting.len();
        let read = (&mut input).take(room as u64).read_buf(&mut waiting).await;
        let read = read.map_err(|error| cannot("read", name, &error))?;
        let whole = if read == 0 { waiting.len() } else { lines(&waiting) };
        if whole > 0 {
            append_one(volume, &location.path, waiting.split_to(whole).freeze(), done).await.map_err(
                |problem| {
                    let detail = format!("{} of {} were appended; {}", done.bytes, name.display(), problem.detail);
                    if done.bytes == 0 { problem } else { Problem { detail, ..problem } }
                },
            )?;
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// How much of it goes now: up to the end of the last line; all if not even one line fits into an append.
fn lines(waiting: &[u8]) -> usize {
    match waiting.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => end + 1,
        None if waiting.len() >= MAX_APPEND_BYTES => waiting.len(),
        None => 0,
    }
}

async fn append_one(volume: &Volume, path: &VolumePath, bytes: Bytes, done: &mut Appended) -> Result<(), Problem> {
    let len = bytes.len() as u64;
    let operation = Operation::Append { path: path.clone(), content: bytes.into() };
    let offset = volume.perform_one(operation).await?.offset;
    done.offset = done.offset.or(offset);
    done.bytes += len;
    done.appends += 1;
    Ok(())
}

/// Prints the last lines of a file.
pub async fn tail(setup: &Setup, out: &mut Out, arguments: &TailArgs) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    let place = &arguments.place;
    let volume = reach::volume(&client, place, None).await?;
    let (first, text) = last_lines(&volume, &place.location, arguments.lines).await?;
    show(out, &place.location, first, &text)?;
    if !arguments.follow {
        return Ok(());
    }
    let mut watching = volume.follow(&place.location.path, first + text.len() as u64).await?;
    loop {
        match watching.next().await? {
            News::Seen(Seen::Appended { offset, bytes }) => show(out, &place.location, offset, &bytes)?,
            News::Seen(Seen::Shorter { size }) => {
                out.note(&format!("{} was cut or replaced, and has {} now", place.location, ByteCount(size)));
            }
            News::Seen(_) => {}
            News::Cut(problem) => out.note(&format!("{problem}; asking again")),
        }
    }
}

fn show(out: &mut Out, location: &Location, offset: u64, text: &[u8]) -> Outcome {
    if out.is_json() {
        let text = String::from_utf8_lossy(text).into_owned();
        return out.json_line(&Tail { location: location.to_string(), offset, text });
    }
    out.bytes(text)?;
    out.flush()
}

#[derive(Serialize)]
struct Tail {
    location: String,
    /// Where the text begins.
    offset: u64,
    text: String,
}

/// The last lines, and where they begin: read from the end backwards, all of one version.
async fn last_lines(volume: &Volume, location: &Location, lines: u64) -> Result<(u64, Vec<u8>), Problem> {
    let entry = volume.stat(&location.path).await?;
    let Some(root) = entry.etag else {
        return Err(Problem::new(Code::Invalid, format!("{location} is a folder")).next("list it with `webos ls`"));
    };
    // What a log has is what it will have.
    let same = entry.policy.may_overwrite().then_some(root);
    let (mut first, mut text) = (entry.size, Vec::new());
    loop {
        if let Some(at) = begin_of(&text, lines) {
            return Ok((first + at as u64, text.split_off(at)));
        }
        if first == 0 {
            return Ok((0, text));
        }
        if text.len() as u64 >= MAX_TAIL_BYTES {
            let what = format!("the last {lines} lines of {location} have more than {}", ByteCount(MAX_TAIL_BYTES));
            return Err(Problem::new(Code::TooLarge, what).next("ask for fewer with -n"));
        }
        let begin = first.saturating_sub(TAIL_READ);
        let download = volume.get(&location.path, Some((begin, Some(first))), same).await?;
        let part = wire::read_body(download.body, TAIL_READ as usize).await?;
        if part.len() as u64 != first - begin {
            let what = format!("{location} was changed while it was being read");
            return Err(Problem::new(Code::Conflict, what).next("try again"));
        }
        text.splice(0..0, part);
        first = begin;
    }
}

/// Where the last lines begin, if there are more than these.
fn begin_of(text: &[u8], lines: u64) -> Option<usize> {
    if lines == 0 {
        return Some(text.len());
    }
    let ends = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    // The end of the last line begins no further one.
    let mut ends = ends.skip_while(|at| at + 1 == text.len());
    ends.nth(usize::try_from(lines - 1).unwrap_or(usize::MAX)).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_found() {
        for (text, lines, expected) in [
            ("", 1, None),
            ("a", 1, None),
            ("a\n", 1, None),
            ("a\nb", 1, Some(2)),
            ("a\nb\n", 1, Some(2)),
            ("a\nb\n", 2, None),
            ("a\n\n", 1, Some(2)),
            ("a\nb\nc\n", 2, Some(2)),
            ("a\nb", 0, Some(3)),
        ] {
            assert_eq!(begin_of(text.as_bytes(), lines), expected, "{text:?} {lines}");
        }
    }

    #[test]
    fn whole_lines_go_and_what_is_too_long_goes_in_parts() {
        assert_eq!(lines(b"one\ntwo\nthr"), 8);
        assert_eq!(lines(b"thr"), 0);
        assert_eq!(lines(&vec![b'x'; MAX_APPEND_BYTES]), MAX_APPEND_BYTES);
    }
}
