//! `volume fsck`, `gc`, `dump` and `restore`: the upkeep of volumes whose home is the node of this folder.

use super::volume::must_be_home;
use super::{Setup, reach, running};
use crate::home::cannot;
use crate::output::{Out, Outcome};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use terms::{ByteCount, ChangeNumber, Code, Epoch, Problem, VolumeName};
use webfs::store::{Dumped, Store, StoreError};

/// What stands for standard input or output.
const STANDARD: &str = "-";

fn open(setup: &Setup, volume: &VolumeName) -> Result<Store, Problem> {
    Store::open(&setup.folder.volume(volume), setup.world.clone()).map_err(|error| match error {
        StoreError::NoVolume { .. } => Problem::new(Code::NotFound, format!("{volume} has no home here"))
            .next("`webos volume list` names those that have"),
        other => other.for_owner(),
    })
}

#[derive(Serialize)]
struct Checked {
    volume: String,
    files: u64,
    directories: u64,
    blocks: u64,
    bytes: u64,
    orphans: u64,
    faults: Vec<String>,
}

/// Checks a volume; a fault is a failure.
pub async fn fsck(setup: &Setup, out: &mut Out, volume: &VolumeName) -> Outcome {
    let report = open(setup, volume)?.fsck().await.map_err(|error| error.for_owner())?;
    let checked = Checked {
        volume: volume.to_string(),
        files: report.files,
        directories: report.directories,
        blocks: report.blocks,
        bytes: report.bytes,
        orphans: report.orphans,
        faults: report.faults.iter().map(ToString::to_string).collect(),
    };
    out.result(&checked, |out, checked| {
        checked.faults.iter().try_for_each(|fault| out.line(fault))?;
        out.line(&format!(
            "{}: {} files, {} directories, {} blocks, {}; {} blocks of no file",
            checked.volume,
            checked.files,
            checked.directories,
            checked.blocks,
            ByteCount(checked.bytes),
            checked.orphans,
        ))
    })?;
    if checked.faults.is_empty() {
        return Ok(());
    }
    let what = format!("{volume} has {} faults", checked.faults.len());
    Err(Problem::new(Code::Internal, what)
        .next("restore it from a dump, or put back the files that it names")
        .into())
}

#[derive(Serialize)]
struct Removed {
    volume: String,
    versions: u64,
    blocks: u64,
    operations: u64,
    lists: u64,
}

/// Collects what nobody needs.
pub async fn gc(setup: &Setup, out: &mut Out, volume: &VolumeName) -> Outcome {
    let collected = open(setup, volume)?.collect().await.map_err(|error| error.for_owner())?;
    let removed = Removed {
        volume: volume.to_string(),
        versions: collected.versions,
        blocks: collected.blocks,
        operations: collected.operations,
        lists: collected.buckets,
    };
    out.result(&removed, |out, removed| {
        out.line(&format!(
            "{}: removed {} replaced versions, {} blocks, {} recorded operations, {} access lists",
            removed.volume, removed.versions, removed.blocks, removed.operations, removed.lists
        ))
    })
}

#[derive(Serialize)]
struct Written {
    volume: String,
    epoch: Epoch,
    change: ChangeNumber,
    blocks: u64,
    bytes: u64,
}

/// Writes a volume out.
pub async fn dump(setup: &Setup, out: &mut Out, volume: &VolumeName, file: &Path) -> Outcome {
    let store = open(setup, volume)?;
    let to_output = file == Path::new(STANDARD);
    let dumped = if to_output {
        store.dump(io::stdout()).await.map_err(|error| error.for_owner())?
    } else {
        dump_to(&store, file).await?
    };
    let what = format!(
        "{volume} up to change {} in epoch {}: {} blocks, {}",
        dumped.change,
        dumped.epoch,
        dumped.blocks,
        ByteCount(dumped.bytes)
    );
    if to_output {
        out.note(&what);
        return Ok(());
    }
    let Dumped { epoch, change, blocks, bytes } = dumped;
    let written = Written { volume: volume.to_string(), epoch, change, blocks, bytes };
    out.result(&written, |out, _| out.line(&what))
}

async fn dump_to(store: &Store, file: &Path) -> Result<Dumped, Problem> {
    let failed = |error: io::Error| cannot("write", file, &error);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    let synced = made.try_clone().map_err(failed)?;
    let dumped = store.dump(BufWriter::new(made)).await.map_err(|error| error.for_owner());
    let dumped = dumped.and_then(|dumped| synced.sync_all().map(|()| dumped).map_err(failed));
    if dumped.is_err() {
        // Half a dump is of no use to anybody.
        let _ = std::fs::remove_file(file);
    }
    dumped
}

#[derive(Serialize)]
struct Made {
    volume: String,
    epoch: Epoch,
    change: ChangeNumber,
    blocks: u64,
}

/// Makes a volume of a dump.
pub async fn restore(setup: &Setup, out: &mut Out, file: &Path, volume: &VolumeName, above: Epoch) -> Outcome {
    must_be_home(setup, volume)?;
    let input: Box<dyn Read> = if file == Path::new(STANDARD) {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).map_err(|error| cannot("read", file, &error))?)
    };
    // The realm may know of an epoch that this dump has not seen.
    let seen = match reach::client(setup)?.volume_record(volume).await {
        Ok(record) => record.epoch.max(above),
        Err(problem) if problem.code == Code::NotFound => above,
        Err(problem) => {
            out.note(&format!("the volume's present epoch is not known ({}): --above names it", problem.detail));
            above
        }
    };
    let (dir, world) = (setup.folder.volume(volume), setup.world.clone());
    let restored = Store::restore(&dir, io::BufReader::new(input), volume, seen, world);
    let (_, restored) = restored.map_err(|error| error.for_owner())?;
    if running::look(&setup.folder).is_some() {
        out.note("the node that runs here serves it from its next start on");
    }
    let made = Made {
        volume: volume.to_string(),
        epoch: restored.epoch,
        change: restored.change,
        blocks: restored.blocks,
    };
    out.result(&made, |out, made| {
        out.line(&format!(
            "restored {} to change {}, in epoch {}; what was changed after it is gone",
            made.volume, made.change, made.epoch
        ))
    })
}
