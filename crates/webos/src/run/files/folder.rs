//! `get -r`: a folder with all below it. Small files come many in one answer and land at once; the others are fetched
//! a few at a time. Nothing lands that the home did not sign.

use super::get::arriving;
use super::landing::Target;
use crate::args::Get;
use crate::output::{Out, Outcome, Progress, plural};
use crate::run::limits::{FILES_AT_ONCE, MAX_DEPTH, MAX_FILES, PARTS_OF_MANY};
use crate::run::{Setup, reach};
use client::models::{DirEntry, FileKind};
use client::{Client, Volume};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use terms::{ByteCount, Code, Location, Problem, VolumePath};
use world::World;

#[derive(Serialize)]
struct Fetched {
    location: String,
    target: String,
    files: u64,
    bytes: u64,
}

/// Where a folder comes from and goes to.
struct Copying<'a> {
    volume: &'a Volume,
    top: &'a VolumePath,
    folder: &'a Path,
    /// Opened when there is something to put in.
    target: OnceCell<Target>,
    world: &'a World,
}

/// What of a folder has been seen: paths below it.
#[derive(Default)]
struct Seen {
    /// Files that have not landed yet, with their lengths in bytes.
    files: Vec<(VolumePath, u64)>,
    /// Files that have landed: count, and bytes.
    landed: (u64, u64),
    /// Symbolic links, which are left out: count.
    links: u64,
}

/// Fetches a folder with all below it.
pub(super) async fn get_all(setup: &Setup, out: &mut Out, arguments: &Get, client: &Client) -> Outcome {
    let place = &arguments.place;
    let volume = reach::volume(client, place, arguments.source.from.as_ref()).await?;
    let top = &place.location.path;
    let own = top.name().unwrap_or(place.location.volume.name.as_str());
    let folder = arguments.file.clone().unwrap_or_else(|| PathBuf::from(own));
    let copying = Copying { volume: &volume, top, folder: &folder, target: OnceCell::new(), world: &setup.world };
    let mut progress = out.progress(&place.location.to_string(), None);
    // A relay shows folders one by one.
    let relayed = arguments.source.from.is_some() || place.node.is_some();
    let seen = match relayed {
        true => {
            copying.no_file().await?;
            copying.list().await?
        }
        false => copying.walk(&mut progress).await?,
    };
    // An empty folder comes too.
    copying.target()?;
    drop(progress);
    let left: u64 = seen.files.iter().map(|(_, size)| size).sum();
    let mut progress = out.progress(&place.location.to_string(), Some(left));
    let fetched = copying.fetch(&seen.files, &mut progress).await?;
    drop(progress);
    if seen.links > 0 {
        out.note(&format!("left out {}: what they lead to may lie elsewhere", plural(seen.links, "symbolic link")));
    }
    let fetched = Fetched {
        location: place.location.to_string(),
        target: folder.display().to_string(),
        files: seen.landed.0 + seen.files.len() as u64,
        bytes: seen.landed.1 + fetched,
    };
    out.result(&fetched, |out, fetched| {
        let count = plural(fetched.files, "file");
        out.line(&format!("{count}, {}, in {}", ByteCount(fetched.bytes), fetched.target))
    })
}

fn invalid(error: terms::PathError) -> Problem {
    Problem::new(Code::Invalid, error.to_string())
}

impl Copying<'_> {
    fn target(&self) -> Result<&Target, Problem> {
        if self.target.get().is_none() {
            let _ = self.target.set(Target::open(self.folder)?);
        }
        self.target.get().ok_or_else(|| Problem::new(Code::Internal, "the target is not open"))
    }

    /// Says so if all that is to be fetched is one file.
    async fn no_file(&self) -> Result<(), Problem> {
        if self.volume.stat(self.top).await?.kind != FileKind::File {
            return Ok(());
        }
        let location = Location { volume: self.volume.name().clone(), path: self.top.clone() };
        Err(Problem::new(Code::Invalid, format!("{location} is a file")).next("leave out -r"))
    }

    /// Sees all that is there, in as few answers as it fits into; lands the small files that come along.
    async fn walk(&self, progress: &mut Progress) -> Result<Seen, Problem> {
        let (mut walk, mut seen) = (self.volume.walk(self.top, true), Seen::default());
        while let Some(mut stretch) = walk.next().await? {
            if let Some((path, problem)) = stretch.hidden.pop() {
                if path == *self.top {
                    self.no_file().await?;
                }
                let detail = format!("{}/{path}: {}", self.volume.name(), problem.detail);
                return Err(Problem { detail, ..problem });
            }
            for object in stretch.objects {
                let below = object.path.below(self.top).unwrap_or_default();
                match stretch.contents.remove(&object.path) {
                    Some(content) => {
                        let mut landing = self.target()?.begin(&below, self.world)?;
                        landing.write(&content)?;
                        landing.keep()?;
                        seen.landed = (seen.landed.0 + 1, seen.landed.1 + content.len() as u64);
                        progress.advance(content.len() as u64);
                    }
                    None => self.see(&mut seen, below, &object.entry)?,
                }
            }
        }
        Ok(seen)
    }

    /// Sees all that is there, folder by folder.
    async fn list(&self) -> Result<Seen, Problem> {
        let (mut seen, mut wave) = (Seen::default(), vec![VolumePath::root()]);
        for _ in 0..=MAX_DEPTH {
            let listings = stream::iter(wave.drain(..).map(|folder| async move {
                let listing = self.volume.list(&self.top.under(&folder).map_err(invalid)?).await?;
                Ok::<_, Problem>((folder, listing))
            }));
            let listings: Vec<_> = listings.buffer_unordered(FILES_AT_ONCE).try_collect().await?;
            for (folder, listing) in listings {
                for entry in listing {
                    // A name that would lead elsewhere is refused here.
                    let below = folder.join(&entry.name).map_err(invalid)?;
                    if entry.kind == FileKind::Directory {
                        wave.push(below.clone());
                    }
                    self.see(&mut seen, below, &entry)?;
                }
            }
            if wave.is_empty() {
                break;
            }
        }
        Ok(seen)
    }

    fn see(&self, seen: &mut Seen, below: VolumePath, entry: &DirEntry) -> Result<(), Problem> {
        match entry.kind {
            FileKind::File => seen.files.push((below, entry.size)),
            FileKind::Directory => self.target()?.make(&below)?,
            FileKind::Link => seen.links += 1,
        }
        if seen.files.len() <= MAX_FILES {
            return Ok(());
        }
        let problem = Problem::new(Code::TooLarge, format!("there are more than {MAX_FILES} files"));
        Err(problem.next("fetch its folders one by one"))
    }

    /// Fetches files, a few at a time; tells how many bytes they had.
    async fn fetch(&self, files: &[(VolumePath, u64)], progress: &mut Progress) -> Result<u64, Problem> {
        let mut fetching =
            stream::iter(files.iter().map(|(below, _)| self.fetch_one(below))).buffer_unordered(FILES_AT_ONCE);
        let mut all = 0;
        while let Some(bytes) = fetching.try_next().await? {
            progress.advance(bytes);
            all += bytes;
        }
        Ok(all)
    }

    async fn fetch_one(&self, below: &VolumePath) -> Result<u64, Problem> {
        let path = self.top.under(below).map_err(invalid)?;
        let location = Location { volume: self.volume.name().clone(), path };
        let download = self.volume.fetch_ahead(&location.path, PARTS_OF_MANY).await?;
        let mut file = arriving(self.volume, &location, download).await?;
        let mut landing = self.target()?.begin(below, self.world)?;
        let mut bytes = 0;
        while let Some(block) = file.next().await? {
            landing.write(&block)?;
            bytes += block.len() as u64;
        }
        landing.keep().map(|()| bytes)
    }
}
