//! `put`: changes, each under its own operation id, so that a repetition after a lost answer happens once.

use super::Shown;
use super::piped::{Piped, put_piped};
use super::tree::{Found, LeftOut, open_regular, walk};
use crate::args::{FileAddress, Put};
use crate::home::cannot;
use crate::output::{Out, Outcome, plural};
use crate::run::limits::{FILES_AT_ONCE, PUT_ATTEMPTS};
use crate::run::{Setup, reach};
use client::content::read_from;
use client::models::Entry;
use client::{Condition, PutOptions, Volume};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use std::io::Read;
use std::path::Path;
use terms::{ByteCount, Code, Location, Problem, VolumePath};
use webfs::limits::{MAX_BATCH, MAX_BATCH_FILE_BYTES, MAX_FILE_BYTES};
use webfs::protocol::{Operation, When};

/// Stores a file, standard input, or a folder.
pub async fn put(setup: &Setup, out: &mut Out, arguments: &Put) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    let from_stdin = arguments.file.as_os_str() == "-";
    if !from_stdin {
        let found = std::fs::metadata(&arguments.file).map_err(|error| cannot("read", &arguments.file, &error))?;
        match (found.is_dir(), arguments.recursive) {
            (true, false) => {
                let problem = Problem::new(Code::Invalid, format!("{} is a folder", arguments.file.display()));
                return Err(problem.next("store all of it with -r").into());
            }
            (false, true) => {
                let problem = Problem::new(Code::Invalid, format!("{} is no folder", arguments.file.display()));
                return Err(problem.next("leave out -r").into());
            }
            (false, false) => check_size(&arguments.file, found.len())?,
            (true, true) => {}
        }
    }
    let path = destination(&arguments.file, &arguments.place, arguments.recursive)?;
    let volume = reach::volume(&client, &arguments.place, None).await;
    let how = options(arguments);
    let location = Location { volume: arguments.place.location.volume.clone(), path: path.clone() };
    let entry = if from_stdin {
        let piped = Piped { client: &client, location: location.clone(), how };
        put_piped(setup, out, piped, volume).await?
    } else {
        let volume = volume?;
        if arguments.recursive {
            return put_all(out, arguments, &volume, &path).await;
        }
        put_file(&volume, &path, how, &arguments.file).await?
    };
    out.result(&Shown::new(&location, &entry), |_, _| Ok(()))
}

fn options(arguments: &Put) -> PutOptions {
    let condition = match (arguments.if_match, arguments.if_absent) {
        (Some(etag), _) => Condition::IfMatch(etag),
        (None, true) => Condition::IfAbsent,
        (None, false) => Condition::None,
    };
    PutOptions { condition, parents: arguments.parents, ..PutOptions::default() }
}

/// Where it goes: `PATH`, or below it under the own name if `PATH` ends in `/`.
fn destination(file: &Path, place: &FileAddress, recursive: bool) -> Result<VolumePath, Problem> {
    let path = &place.location.path;
    if !place.into || (recursive && path.is_root()) {
        return Ok(path.clone());
    }
    let real = if recursive { std::fs::canonicalize(file).ok() } else { None };
    let name =
        real.as_deref().unwrap_or(file).file_name().and_then(|name| name.to_str()).filter(|name| *name != "-");
    let joined = name.and_then(|name| path.join(name).ok());
    joined.ok_or_else(|| {
        Problem::new(
            Code::Invalid,
            format!("there is no name under which it could be stored in {}", place.location),
        )
        .next("write the name behind the path")
    })
}

/// Refuses what the home would refuse once it had taken in as much as a file may have.
fn check_size(file: &Path, size: u64) -> Result<(), Problem> {
    if size <= MAX_FILE_BYTES {
        return Ok(());
    }
    let (has, most) = (ByteCount(size), ByteCount(MAX_FILE_BYTES));
    let what = format!("{} has {has}; a file of a volume may have {most}, so nothing was sent", file.display());
    Err(Problem::new(Code::TooLarge, what).next("store it in parts, as `split -b 1G` makes them"))
}

/// Puts one local file, and again under the same operation id if the answer was lost.
async fn put_file(volume: &Volume, path: &VolumePath, how: PutOptions, file: &Path) -> Result<Entry, Problem> {
    let how = PutOptions { operation: Some(volume.node().client().operation()), ..how };
    let real = std::fs::canonicalize(file).map_err(|error| cannot("read", file, &error))?;
    let is_small = std::fs::metadata(&real).is_ok_and(|found| found.len() <= MAX_BATCH_FILE_BYTES as u64);
    let mut attempt = 1;
    loop {
        // What is small may go over the connection that is there; what grows meanwhile is no more small.
        let content = match is_small.then(|| small_content(&real)) {
            Some(Ok(content)) => wire::body::full(content),
            _ => read_from(tokio::fs::File::from_std(open_regular(&real)?)),
        };
        match volume.put(path, how, content).await {
            Err(problem) if matches!(problem.code, Code::Unavailable | Code::Moved) && attempt < PUT_ATTEMPTS => {
                attempt += 1;
            }
            other => return other,
        }
    }
}

fn named(file: &Found, problem: Problem) -> Problem {
    let detail = format!("{}: {}", file.path, problem.detail);
    Problem { detail, ..problem }
}

/// Small files as changes that go in as few requests as they fit into.
fn together(top: &VolumePath, files: &[&Found], condition: Condition) -> Result<Vec<Operation>, Problem> {
    let when = match condition {
        Condition::None => When::Always,
        Condition::IfAbsent => When::Absent,
        Condition::IfMatch(root) => When::Root(root),
    };
    let put = |file: &&Found| {
        let path = top.under(&file.path).map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
        let content = small_content(&file.source)?;
        Ok(Operation::Put { path, content, parents: true, when })
    };
    files.iter().map(put).collect()
}

fn small_content(file: &Path) -> Result<Vec<u8>, Problem> {
    let real = std::fs::canonicalize(file).map_err(|error| cannot("read", file, &error))?;
    let (most, mut content) = (MAX_BATCH_FILE_BYTES as u64 + 1, Vec::new());
    let read = open_regular(&real)?.take(most).read_to_end(&mut content);
    read.map_err(|error| cannot("read", file, &error))?;
    if content.len() as u64 == most {
        let what = format!("{} grew while it was stored", file.display());
        return Err(Problem::new(Code::Conflict, what).next("try again"));
    }
    Ok(content)
}

#[derive(Serialize)]
struct Stored {
    location: String,
    files: u64,
    bytes: u64,
    left_out: Vec<LeftOut>,
}

async fn put_all(out: &mut Out, arguments: &Put, volume: &Volume, top: &VolumePath) -> Outcome {
    let found = walk(&arguments.file)?;
    found.files.iter().try_for_each(|file| check_size(&file.source, file.size))?;
    let bytes: u64 = found.files.iter().map(|file| file.size).sum();
    let how = PutOptions { parents: true, ..options(arguments) };
    let mut progress = out.progress(&arguments.file.display().to_string(), Some(bytes));
    let mut stored = 0;
    let counted = |stored: u64, problem: Problem| {
        let detail = format!("{stored} of {} stored; {}", plural(found.files.len() as u64, "file"), problem.detail);
        Problem { detail, ..problem }
    };
    let (small, large): (Vec<_>, Vec<_>) =
        found.files.iter().partition(|file| file.size <= MAX_BATCH_FILE_BYTES as u64);
    for some in small.chunks(MAX_BATCH) {
        let puts = together(top, some, how.condition).map_err(|problem| counted(stored, problem))?;
        let outcomes = volume.perform(puts).await.map_err(|problem| counted(stored, problem))?;
        for (file, outcome) in some.iter().zip(outcomes) {
            outcome.map_err(|problem| counted(stored, named(file, problem)))?;
            stored += 1;
            progress.advance(file.size);
        }
    }
    let puts = stream::iter(large.into_iter().map(|file| async move {
        let path = top.under(&file.path).map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
        let put = put_file(volume, &path, how, &file.source).await;
        put.map(|entry| entry.size).map_err(|problem| named(file, problem))
    }));
    let mut puts = puts.buffer_unordered(FILES_AT_ONCE);
    while let Some(bytes) = puts.try_next().await.map_err(|problem| counted(stored, problem))? {
        stored += 1;
        progress.advance(bytes);
    }
    drop((puts, progress));
    if let Some(remark) = found.remark() {
        out.note(&remark);
    }
    let location = Location { volume: volume.name().clone(), path: top.clone() }.to_string();
    out.result(&Stored { location, files: stored, bytes, left_out: found.left_out }, |out, stored| {
        let count = plural(stored.files, "file");
        let location = out.name(&stored.location).into_owned();
        out.line(&format!("{count}, {}, in {location}", ByteCount(stored.bytes)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_file_goes() {
        for (file, place, recursive, expected) in [
            ("a.txt", "data.lab.example/b", false, Some("b")),
            ("dir/a.txt", "data.lab.example/in/", false, Some("in/a.txt")),
            ("a.txt", "data.lab.example", false, Some("a.txt")),
            ("public", "data.lab.example", true, Some("")),
            ("public", "data.lab.example/new", true, Some("new")),
            ("public", "data.lab.example/new/", true, Some("new/public")),
            ("-", "data.lab.example/log", false, Some("log")),
            ("-", "data.lab.example/", false, None),
            ("..", "data.lab.example/", false, None),
        ] {
            let place: FileAddress = place.parse().expect("valid");
            let found = destination(Path::new(file), &place, recursive).ok();
            assert_eq!(found.as_ref().map(VolumePath::as_str), expected, "{file} {place:?}");
        }
    }
}
