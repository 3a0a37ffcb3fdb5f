//! `get` and `cat`: every block is compared with what the home signed before it is kept or shown.

use super::Shown;
use super::checked::Checked;
use super::landing::Target;
use crate::args::{Cat, FileAddress, Get, NodeName};
use crate::output::{Out, Outcome, Progress};
use crate::run::limits::{BLOCKS_ASKED, MAX_JSON_CONTENT_BYTES};
use crate::run::{Setup, reach};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use client::limits::PART_BYTES;
use client::models::{Entry, FileKind, Policy};
use client::{Client, Download, PartsBody, Volume};
use http_body_util::BodyExt;
use serde::Serialize;
use std::path::{Path, PathBuf};
use terms::{Code, Digest, Location, Problem, VolumePath};
use webfs::model::ManifestStatement;

/// A file that has begun to arrive.
pub(super) struct Arriving {
    entry: Entry,
    content: Checked<PartsBody>,
    volume: Volume,
    path: VolumePath,
    root: Digest,
}

impl Arriving {
    /// The next block. Once a body has begun its sender can only break it off, and what is under way may be lost with
    /// it; so the sender is asked for the next blocks one by one, to hear why.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        while let Some((place, hash)) = self.content.needs() {
            let node = self.volume.manifest_node(&self.path, self.root, place).await?;
            self.content.learn(place, hash, &node)?;
        }
        let problem = match self.content.next().await {
            Err(problem) if problem.code == Code::Unavailable => problem,
            other => return other,
        };
        for at in self.content.ahead().take(BLOCKS_ASKED) {
            match self.volume.get(&self.path, Some((at, Some(at + 1))), None).await {
                Ok(_) => {}
                Err(why) if why.code == Code::Internal => return Err(why),
                Err(_) => break,
            }
        }
        Err(problem)
    }
}

/// Begins to read one file: from the volume's own node, or through a node that reads for us.
async fn begin(
    client: &Client,
    place: &FileAddress,
    from: Option<&NodeName>,
    via: Option<&NodeName>,
) -> Result<Arriving, Problem> {
    let location = &place.location;
    let volume = reach::volume(client, place, from).await?;
    let download = match via {
        None => volume.fetch(&location.path).await?,
        Some(via) => {
            let node = reach::node(client, via, &location.volume.realm)?;
            let Download { entry, manifest, led_to, body } = client.read_via(&node, location).await?;
            Download { entry, manifest, led_to, body: body.map_err(Into::into).boxed_unsync() }
        }
    };
    let in_parts = download.manifest.is_none() || download.entry.size > PART_BYTES;
    if via.is_none() && download.entry.policy == Policy::Log && in_parts {
        return growing(&volume, location, &download).await;
    }
    arriving(&volume, location, download).await
}

/// A long log, which may grow while it is asked for: first what the home signs, then so much of it.
async fn growing(volume: &Volume, location: &Location, found: &Download<PartsBody>) -> Result<Arriving, Problem> {
    let path = found.led_to.clone().unwrap_or_else(|| location.path.clone());
    let statement = volume.manifest(&path).await?;
    let Download { entry, manifest, led_to, body } =
        volume.get(&path, Some((0, Some(statement.size))), None).await?;
    let download = Download { entry, manifest, led_to, body: body.map_err(Into::into).boxed_unsync() };
    as_stated(volume, Location { volume: location.volume.clone(), path }, &statement, download)
}

pub(super) async fn arriving(
    volume: &Volume,
    location: &Location,
    download: Download<PartsBody>,
) -> Result<Arriving, Problem> {
    if download.entry.kind == FileKind::Directory {
        return Err(Problem::new(Code::Invalid, format!("{location} is a folder"))
            .next("list it with `webos ls`, or fetch all of it with `webos get -r`"));
    }
    let path = download.led_to.clone().unwrap_or_else(|| location.path.clone());
    let location = Location { volume: location.volume.clone(), path };
    let statement = statement(volume, &location, &download).await?;
    as_stated(volume, location, &statement, download)
}

fn as_stated(
    volume: &Volume,
    location: Location,
    statement: &ManifestStatement,
    download: Download<PartsBody>,
) -> Result<Arriving, Problem> {
    let manifest = statement.manifest().map_err(|error| Problem::new(Code::Denied, error.to_string()))?;
    Ok(Arriving {
        entry: statement.entry(),
        content: Checked::new(download.body, manifest, location.to_string()),
        root: statement.root,
        volume: volume.clone(),
        path: location.path,
    })
}

/// What the home signed of the version that is on its way.
async fn statement(
    volume: &Volume,
    location: &Location,
    download: &Download<PartsBody>,
) -> Result<ManifestStatement, Problem> {
    let statement = match &download.manifest {
        Some(signed) => volume.statement(&location.path, signed)?,
        None => volume.manifest(&location.path).await?,
    };
    if Some(statement.root) == download.entry.etag {
        return Ok(statement);
    }
    Err(Problem::new(Code::Conflict, format!("{location} was changed while it was being read")).next("try again"))
}

#[derive(Serialize)]
struct Printed {
    #[serde(flatten)]
    file: Shown,
    encoding: &'static str,
    content: String,
}

/// Prints a file.
pub async fn cat(setup: &Setup, out: &mut Out, arguments: &Cat) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    let (place, via) = (&arguments.place, arguments.via.as_ref());
    let mut arriving = begin(&client, place, arguments.source.from.as_ref(), via).await?;
    if !out.is_json() {
        return to_stdout(out, &mut arriving).await;
    }
    let mut content = Vec::new();
    while let Some(block) = arriving.next().await? {
        content.extend_from_slice(&block);
        if content.len() > MAX_JSON_CONTENT_BYTES {
            let what = format!("{} has more than {MAX_JSON_CONTENT_BYTES} bytes", place.location);
            return Err(Problem::new(Code::TooLarge, what).next("leave out --json, or use `webos get`").into());
        }
    }
    let (encoding, content) = match String::from_utf8(content) {
        Ok(text) => ("utf-8", text),
        Err(bytes) => ("base64", STANDARD.encode(bytes.as_bytes())),
    };
    out.json_line(&Printed { file: Shown::new(&place.location, &arriving.entry), encoding, content })
}

async fn to_stdout(out: &mut Out, arriving: &mut Arriving) -> Outcome {
    while let Some(block) = arriving.next().await? {
        out.bytes(&block)?;
    }
    out.flush()
}

/// Fetches a file or a folder.
pub async fn get(setup: &Setup, out: &mut Out, arguments: &Get) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    if arguments.recursive {
        return super::folder::get_all(setup, out, arguments, &client).await;
    }
    let place = &arguments.place;
    let mut arriving = begin(&client, place, arguments.source.from.as_ref(), arguments.via.as_ref()).await?;
    if arguments.file.as_deref() == Some(Path::new("-")) {
        return to_stdout(out, &mut arriving).await;
    }
    let (folder, name) = single_target(&place.location, arguments.file.as_deref())?;
    let mut progress = out.progress(&place.location.to_string(), Some(arriving.entry.size));
    let target = Target::open(&folder)?;
    land(setup, &mut arriving, &target, &name, &mut progress).await?;
    drop(progress);
    out.result(&Shown::new(&place.location, &arriving.entry), |_, _| Ok(()))
}

/// Where a single file goes: into a folder that is there, or under the given name.
fn single_target(location: &Location, file: Option<&Path>) -> Result<(PathBuf, VolumePath), Problem> {
    let own = || location.path.name().map(str::to_string);
    let (folder, name) = match file {
        None => (PathBuf::from("."), own()),
        Some(path) if path.is_dir() => (path.to_path_buf(), own()),
        Some(path) => {
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let folder = folder.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
            if !folder.is_dir() {
                let problem = Problem::new(Code::NotFound, format!("there is no folder {}", folder.display()));
                return Err(problem.next("make it first"));
            }
            (folder, path.file_name().and_then(|name| name.to_str()).map(str::to_string))
        }
    };
    let name = name.and_then(|name| VolumePath::root().join(&name).ok());
    let name = name.ok_or_else(|| Problem::new(Code::Invalid, "the target has no name").next("name a file"))?;
    Ok((folder, name))
}

async fn land(
    setup: &Setup,
    arriving: &mut Arriving,
    target: &Target,
    path: &VolumePath,
    progress: &mut Progress,
) -> Result<(), Problem> {
    let mut landing = target.begin(path, &setup.world)?;
    while let Some(block) = arriving.next().await? {
        landing.write(&block)?;
        progress.advance(block.len() as u64);
    }
    landing.keep()
}
