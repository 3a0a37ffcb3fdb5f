//! `volume fsck`, `gc`, `dump` and `restore`: the upkeep of volumes whose home is the node of this folder.

use super::volume::must_be_home;
use super::{Setup, reach, running};
use crate::home::cannot;
use crate::output::{Failure, Out, Outcome, plural};
use client::protocol::{
    DumpPurpose, DumpRequest, EPOCH_HEADER, UpkeepReply, UpkeepRequest, VolumeChecked, VolumeCollected,
};
use client::{Node, Standing};
use http_body_util::BodyExt;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use terms::{ByteCount, ChangeNumber, Code, Epoch, Problem, VolumeName};
use webfs::model::CHANGE_HEADER;
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

/// The running node to ask: that of this folder, or the volume's home; none if the volume lies here and nobody has it.
async fn running_home(setup: &Setup, volume: &VolumeName) -> Result<Option<Node>, Failure> {
    let here = setup.folder.volume(volume).exists();
    match (here, running::look(&setup.folder)) {
        (true, None) => Ok(None),
        (true, Some(running)) => Ok(Some(reach::client(setup)?.node(&running.principal, &running.address))),
        (false, _) => {
            let client = reach::client(setup)?;
            let record = client.volume_record(volume).await?;
            Ok(Some(client.node(&record.home, &record.address)))
        }
    }
}

fn unexpected() -> Problem {
    Problem::new(Code::Internal, "the node answered something that was not asked")
}

#[derive(Serialize)]
struct Checked {
    volume: String,
    #[serde(flatten)]
    found: VolumeChecked,
}

/// Checks a volume; a fault is a failure.
pub async fn fsck(setup: &Setup, out: &mut Out, volume: &VolumeName) -> Outcome {
    let found = match running_home(setup, volume).await? {
        Some(node) => match node.upkeep(&UpkeepRequest::Check(volume.clone())).await? {
            UpkeepReply::Checked(found) => found,
            UpkeepReply::Collected(_) => return Err(unexpected().into()),
        },
        None => open(setup, volume)?.fsck().await.map_err(|error| error.for_owner())?.into(),
    };
    let checked = Checked { volume: volume.to_string(), found };
    out.result(&checked, |out, Checked { volume, found }| {
        for fault in &found.faults {
            let fault = out.name(fault).into_owned();
            out.line(&fault)?;
        }
        out.line(&format!(
            "{volume}: {} files, {} directories, {} blocks, {}; {} blocks of no file",
            found.files,
            found.directories,
            found.blocks,
            ByteCount(found.bytes),
            found.orphans,
        ))
    })?;
    if checked.found.faults.is_empty() {
        return Ok(());
    }
    let what = format!("{volume} is damaged in {}", plural(checked.found.faults.len() as u64, "place"));
    Err(Problem::new(Code::Internal, what)
        .next("restore it from a dump, or put back the files that it names")
        .into())
}

#[derive(Serialize)]
struct Removed {
    volume: String,
    #[serde(flatten)]
    removed: VolumeCollected,
}

/// Collects what nobody needs.
pub async fn gc(setup: &Setup, out: &mut Out, volume: &VolumeName) -> Outcome {
    let removed = match running_home(setup, volume).await? {
        Some(node) => match node.upkeep(&UpkeepRequest::Collect(volume.clone())).await? {
            UpkeepReply::Collected(removed) => removed,
            UpkeepReply::Checked(_) => return Err(unexpected().into()),
        },
        None => open(setup, volume)?.collect().await.map_err(|error| error.for_owner())?.into(),
    };
    let removed = Removed { volume: volume.to_string(), removed };
    out.result(&removed, |out, Removed { volume, removed }| {
        out.line(&format!(
            "{volume}: removed {} replaced versions, {} blocks, {} recorded operations, {} access lists",
            removed.versions, removed.blocks, removed.operations, removed.lists
        ))
    })
}

#[derive(Serialize)]
struct Written {
    volume: String,
    epoch: Epoch,
    change: ChangeNumber,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<u64>,
    bytes: u64,
}

/// Writes a volume out, by its home if that runs.
pub async fn dump(setup: &Setup, out: &mut Out, volume: &VolumeName, file: &Path) -> Outcome {
    let to_output = file == Path::new(STANDARD);
    let written = match running_home(setup, volume).await? {
        Some(node) if to_output => streamed(&node, volume, &mut io::stdout()).await?,
        Some(node) => {
            let (mut made, guard) = Guard::new(file)?;
            let written = streamed(&node, volume, &mut made).await?;
            made.sync_all().map_err(|error| cannot("write", file, &error))?;
            guard.keep();
            written
        }
        None => {
            let store = open(setup, volume)?;
            let dumped = if to_output {
                store.dump(io::stdout()).await.map_err(|error| error.for_owner())?
            } else {
                dump_to(&store, file).await?
            };
            let Dumped { epoch, change, blocks, bytes } = dumped;
            Written { volume: volume.to_string(), epoch, change, blocks: Some(blocks), bytes }
        }
    };
    let bytes = ByteCount(written.bytes);
    let what = format!("{volume} up to change {} in epoch {}: {bytes}", written.change, written.epoch);
    if to_output {
        out.note(&what);
        return Ok(());
    }
    out.result(&written, |out, _| out.line(&what))
}

/// A file that is removed unless it is kept: half a dump is of no use to anybody.
struct Guard<'a>(Option<&'a Path>);

impl<'a> Guard<'a> {
    fn new(file: &'a Path) -> Result<(File, Self), Problem> {
        let failed = |error: io::Error| cannot("write", file, &error);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
        Ok((made, Self(Some(file))))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let _ = self.0.map(std::fs::remove_file);
    }
}

async fn dump_to(store: &Store, file: &Path) -> Result<Dumped, Problem> {
    let failed = |error: io::Error| cannot("write", file, &error);
    let (made, guard) = Guard::new(file)?;
    let synced = made.try_clone().map_err(failed)?;
    let dumped = store.dump(BufWriter::new(made)).await.map_err(|error| error.for_owner())?;
    synced.sync_all().map_err(failed)?;
    guard.keep();
    Ok(dumped)
}

/// Takes the stream of a running home.
async fn streamed(node: &Node, volume: &VolumeName, out: &mut impl Write) -> Result<Written, Problem> {
    let request = DumpRequest { volume: volume.clone(), purpose: DumpPurpose::Backup };
    let answer = node.dump(&request).await?;
    let number = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()?.parse().ok());
    let (Some(epoch), Some(change)) = (number(EPOCH_HEADER), number(CHANGE_HEADER)) else {
        return Err(unexpected());
    };
    let (mut body, mut bytes) = (answer.into_body(), 0);
    while let Some(frame) = body.frame().await {
        let broken = |error| Problem::new(Code::Unavailable, format!("the stream of {volume} broke off: {error}"));
        let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
        bytes += piece.len() as u64;
        out.write_all(&piece)
            .map_err(|error| Problem::new(Code::Internal, format!("writing the dump: {error}")))?;
    }
    out.flush().map_err(|error| Problem::new(Code::Internal, format!("writing the dump: {error}")))?;
    let (epoch, change) = (Epoch(epoch), ChangeNumber(change));
    Ok(Written { volume: volume.to_string(), epoch, change, blocks: None, bytes })
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
    let me = must_be_home(setup, volume)?;
    let input: Box<dyn Read> = if file == Path::new(STANDARD) {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).map_err(|error| cannot("read", file, &error))?)
    };
    // The realm may know of an epoch that this dump has not seen.
    let (seen, from) = match reach::client(setup)?.volume_record(volume).await {
        Ok(record) => (record.epoch.max(above), record.home),
        Err(problem) if problem.code == Code::NotFound => (above, me.clone()),
        Err(problem) => {
            out.note(&format!("the volume's present epoch is not known ({}): --above names it", problem.detail));
            (above, me.clone())
        }
    };
    let (dir, world) = (setup.folder.volume(volume), setup.world.clone());
    let fresh = !webfs::store::is_volume(&dir);
    if fresh {
        // It is served once the realm's first node has entered its epoch.
        Standing::Coming { from: from.clone() }.write(&dir)?;
    }
    let restored = Store::restore(&dir, io::BufReader::new(input), volume, seen, world);
    let (_, restored) = restored.map_err(|error| {
        if fresh && !webfs::store::is_volume(&dir) {
            Standing::forget(&dir);
        }
        error.for_owner()
    })?;
    if from != me {
        out.note(&format!(
            "the home of {volume} is {from}: it is served here once an owner of the realm's first node has revoked that"
        ));
    }
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
