//! `mkdir`, `mv`, `ln` and `rm`: changes of what stands where, each one request.

use super::Shown;
use crate::args::{FileAddress, Ln, Mkdir, Mv, Rm};
use crate::output::{Failure, Out, Outcome, plural};
use crate::run::{Setup, reach};
use client::{Condition, Volume};
use serde::Serialize;
use terms::{Code, Location, Problem, VolumePath};
use webfs::protocol::{Done, Operation, When};

/// Makes a folder.
pub async fn mkdir(setup: &Setup, out: &mut Out, arguments: &Mkdir) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    let volume = reach::volume(&client, &arguments.place, None).await?;
    let path = arguments.place.location.path.clone();
    let operation = Operation::Mkdir { path: path.clone(), parents: arguments.parents };
    let done = volume.perform_one(operation).await?;
    told(out, &volume, path, &done)
}

fn told(out: &mut Out, volume: &Volume, path: VolumePath, done: &Done) -> Outcome {
    let entry = done.entry.ok_or_else(|| Problem::new(Code::Internal, "the home did not say what it made"))?;
    let location = Location { volume: volume.name().clone(), path };
    out.result(&Shown::new(&location, &entry), |_, _| Ok(()))
}

/// Moves a file or folder.
pub async fn mv(setup: &Setup, out: &mut Out, arguments: &Mv) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    let (from, to) = (&arguments.from, &arguments.to);
    same_volume(from, to)?;
    let volume = reach::volume(&client, from, None).await?;
    let to = target(&from.location.path, to)?;
    let operation =
        Operation::Rename { from: from.location.path.clone(), to: to.clone(), replace: !arguments.no_clobber };
    let done = volume.perform_one(operation).await?;
    told(out, &volume, to, &done)
}

fn same_volume(from: &FileAddress, to: &FileAddress) -> Result<(), Problem> {
    if from.location.volume == to.location.volume {
        return Ok(());
    }
    let what = format!("{} and {} are in different volumes", from.location, to.location);
    Err(Problem::new(Code::Invalid, what).next("copy it with `webos get` and `webos put`, then remove it"))
}

/// Where it goes: `TO`, or below it under the own name if `TO` ends in `/`.
fn target(from: &VolumePath, to: &FileAddress) -> Result<VolumePath, Problem> {
    let path = &to.location.path;
    if !to.into && !path.is_root() {
        return Ok(path.clone());
    }
    let joined = from.name().and_then(|name| path.join(name).ok());
    joined
        .ok_or_else(|| Problem::new(Code::Invalid, "a whole volume cannot be moved").next("name a file or folder"))
}

/// Gives a file another name, or makes a symbolic link.
pub async fn ln(setup: &Setup, out: &mut Out, arguments: &Ln) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    let (place, target) = (&arguments.place, &arguments.target);
    let volume = reach::volume(&client, place, None).await?;
    let path = place.location.path.clone();
    let operation = if arguments.symbolic {
        Operation::Symlink { path: path.clone(), target: target.clone() }
    } else {
        let parsed = target.parse::<FileAddress>();
        let from = parsed.map_err(|error| {
            Problem::new(Code::Invalid, format!("{error}"))
                .next("name the file as NAME.REALM/path; -s makes a symbolic link")
        })?;
        same_volume(&from, place)?;
        let path = self::target(&from.location.path, place)?;
        Operation::Link { from: from.location.path, to: path }
    };
    let path = operation.target().cloned().unwrap_or(path);
    let done = volume.perform_one(operation).await?;
    told(out, &volume, path, &done)
}

#[derive(Serialize)]
struct Removed {
    removed: String,
    objects: u64,
}

/// Removes a file, a link, an empty folder, or with -r a folder and all below it.
pub async fn rm(setup: &Setup, out: &mut Out, arguments: &Rm) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    let place = &arguments.place;
    if place.location.path.is_root() {
        let problem = Problem::new(Code::Invalid, format!("{} is a whole volume", place.location));
        return Err(problem.next("name a file or folder in it").into());
    }
    let volume = reach::volume(&client, place, None).await?;
    let path = &place.location.path;
    let removed = |objects| Removed { removed: place.location.to_string(), objects };
    if !arguments.recursive {
        let condition = arguments.if_match.map_or(Condition::None, Condition::IfMatch);
        volume.remove(path, condition).await?;
        return out.result(&removed(1), |_, _| Ok(()));
    }
    let objects = rm_all(&volume, path).await?;
    out.result(&removed(objects), |out, removed| {
        let what = out.name(&removed.removed).into_owned();
        out.line(&format!("removed {what}: {}", plural(removed.objects, "object")))
    })
}

/// Removes what is lowest first. What came meanwhile stays, and is named.
async fn rm_all(volume: &Volume, top: &VolumePath) -> Result<u64, Failure> {
    let mut paths: Vec<VolumePath> = match volume.tree(top).await {
        Ok(tree) => tree.objects.into_iter().map(|below| below.path).collect(),
        // No folder: a file, or a link, which is removed itself.
        Err(problem) if problem.code == Code::Exists => Vec::new(),
        Err(problem) => return Err(problem.into()),
    };
    paths.push(top.clone());
    paths.sort_by_key(|path| std::cmp::Reverse(path.segments().count()));
    let removals = paths.iter().map(|path| Operation::Remove { path: path.clone(), when: When::Always });
    let outcomes = volume.perform(removals.collect()).await?;
    let gone = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
    match outcomes.into_iter().find_map(Result::err) {
        None => Ok(gone),
        Some(problem) => {
            let detail = format!("{gone} of {} removed; {}", plural(paths.len() as u64, "object"), problem.detail);
            Err(Problem { detail, ..problem }.into())
        }
    }
}
