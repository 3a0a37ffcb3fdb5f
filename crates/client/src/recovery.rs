//! What was read from a pipe and could not be stored: kept here until somebody publishes or drops it.
//!
//! It is published under the operation id of the first attempt, so that a change that did happen, but whose answer was
//! lost, does not happen twice. Nothing here is ever published by itself.

use crate::durable;
use crate::files::{Condition, PutOptions};
use crate::limits::{MAX_KEPT_CHANGES, RECOVERY_BYTES, RECOVERY_LIFE, STALE_DRAFT};
use crate::{Folder, Volume};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use terms::{Code, Digest, Location, OperationId, Problem, UnixMs};
use webfs::model::Entry;
use world::World;

const ABOUT: &str = "about";
const CONTENT: &str = "content";
const DRAFT: &str = "draft";
/// Letters of a name.
const NAME_BYTES: usize = 4;
/// Up to when what lies here was announced.
const TOLD: &str = "told";

/// The changes that lie in a folder.
#[derive(Debug, Clone)]
pub struct Recovery {
    dir: PathBuf,
    world: World,
}

/// A change that was not published, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Where it was to go.
    pub location: Location,
    /// Only if this was the content there.
    pub if_match: Option<Digest>,
    /// Only if there was nothing.
    pub if_absent: bool,
    /// Whether missing directories above it were to be made.
    pub parents: bool,
    /// Under which id.
    pub operation: OperationId,
    /// When it failed.
    pub at: UnixMs,
    /// How long it is: bytes.
    pub size: u64,
    /// Why it failed.
    pub reason: String,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptChange {
    /// Its name here.
    pub name: String,
    /// What it is.
    pub about: About,
    /// The file with its content.
    pub content: PathBuf,
}

/// Content that is being taken down while it is sent. Dropped, it is gone.
#[derive(Debug)]
pub struct Draft {
    recovery: Recovery,
    name: String,
    file: File,
    size: u64,
}

impl Recovery {
    /// The changes that lie in a principal's folder.
    pub fn of(folder: &Folder, world: &World) -> Self {
        Self { dir: folder.recovery(), world: world.clone() }
    }

    /// Begins to take something down.
    ///
    /// # Errors
    /// [`Code::Busy`] if too much lies here already; what the disk says.
    pub fn draft(&self) -> Result<Draft, Problem> {
        let kept = self.list()?.len();
        if kept >= MAX_KEPT_CHANGES {
            let what = format!("{kept} changes that were not published lie in {}", self.dir.display());
            return Err(Problem::new(Code::Busy, what).next("publish or drop some: `webos recover list`"));
        }
        let failed = |error| failed(&self.dir, &error);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed)?;
        let mut name = [0; NAME_BYTES];
        self.world.entropy.fill(&mut name);
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.file(&name, DRAFT);
        let mut options = OpenOptions::new();
        let file = options.write(true).read(true).create_new(true).mode(0o600).open(&path);
        Ok(Draft { recovery: self.clone(), name, file: file.map_err(failed)?, size: 0 })
    }

    /// What lies here, the oldest first. What is older than [`RECOVERY_LIFE`] goes.
    pub fn list(&self) -> Result<Vec<KeptChange>, Problem> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| failed(&self.dir, &error))?,
        };
        let mut kept = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| failed(&self.dir, &error))?.path();
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_string();
            match path.extension().and_then(|kind| kind.to_str()) {
                Some(DRAFT) => self.sweep(&path),
                Some(ABOUT) => kept.extend(self.read(&name)?),
                _ => {}
            }
        }
        let (old, mut kept): (Vec<_>, Vec<_>) = kept.into_iter().partition(|change| self.is_old(change));
        old.iter().try_for_each(|change| self.drop_change(change))?;
        kept.sort_by_key(|change| (change.about.at, change.name.clone()));
        Ok(kept)
    }

    /// How many have come to lie here since this was asked last.
    pub fn news(&self) -> Result<usize, Problem> {
        let path = self.dir.join(TOLD);
        let told = fs::read_to_string(&path).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let kept = self.list()?;
        let new = kept.iter().filter(|change| change.about.at.0 > told).count();
        if let (Some(last), true) = (kept.last(), new > 0) {
            durable::replace(&path, last.about.at.0.to_string().as_bytes())?;
        }
        Ok(new)
    }

    /// The one whose name begins so.
    pub fn find(&self, start: &str) -> Result<KeptChange, Problem> {
        let mut found = self.list()?.into_iter().filter(|change| change.name.starts_with(start));
        match (found.next(), found.next()) {
            (Some(change), None) => Ok(change),
            (None, _) => {
                Err(Problem::new(Code::NotFound, format!("no change '{start}' lies in {}", self.dir.display()))
                    .next("`webos recover list` shows what does"))
            }
            (Some(_), Some(_)) => {
                Err(Problem::new(Code::Invalid, format!("'{start}' begins several names")).next("write more of it"))
            }
        }
    }

    /// Stores it where it was to go, once even if it had been stored after all; then it is dropped here. With `anyway` it
    /// is a new change, whatever is there now.
    pub async fn publish(&self, volume: &Volume, change: &KeptChange, anyway: bool) -> Result<Entry, Problem> {
        let about = &change.about;
        let condition = match about.if_match {
            _ if anyway => Condition::None,
            Some(root) => Condition::IfMatch(root),
            None if about.if_absent => Condition::IfAbsent,
            None => Condition::None,
        };
        let operation = if anyway { None } else { Some(about.operation) };
        let how = PutOptions { condition, parents: about.parents, operation };
        let content = File::open(&change.content).map_err(|error| failed(&change.content, &error))?;
        let entry = volume
            .put(&about.location.path, how, crate::content::read_from(tokio::fs::File::from_std(content)))
            .await?;
        self.drop_change(change)?;
        Ok(entry)
    }

    /// Removes it.
    pub fn drop_change(&self, change: &KeptChange) -> Result<(), Problem> {
        // The description first: content without one is nothing.
        for path in [self.file(&change.name, ABOUT), change.content.clone()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&path, &error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.dir.join(format!("{name}.{kind}"))
    }

    fn read(&self, name: &str) -> Result<Option<KeptChange>, Problem> {
        let path = self.file(name, ABOUT);
        let bytes = fs::read(&path).map_err(|error| failed(&path, &error))?;
        match wire::cbor::from_slice(&bytes) {
            Ok(about) => Ok(Some(KeptChange { name: name.into(), about, content: self.file(name, CONTENT) })),
            Err(problem) => {
                tracing::warn!(path = %path.display(), %problem, "a kept change cannot be read");
                Ok(None)
            }
        }
    }

    fn is_old(&self, change: &KeptChange) -> bool {
        change.about.at.plus(RECOVERY_LIFE) < self.world.clock.unix()
    }

    /// Removes a draft that nobody writes any more: its command was killed.
    fn sweep(&self, path: &Path) {
        let age = |written: std::time::SystemTime| written.elapsed().unwrap_or(Duration::ZERO);
        let old = fs::metadata(path).and_then(|found| found.modified()).is_ok_and(|at| age(at) > STALE_DRAFT);
        if old && let Err(error) = fs::remove_file(path) {
            tracing::warn!(path = %path.display(), %error, "an old draft cannot be removed");
        }
    }
}

impl Draft {
    /// Takes down what comes next.
    ///
    /// # Errors
    /// [`Code::TooLarge`] beyond [`RECOVERY_BYTES`]; what the disk says.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.size += bytes.len() as u64;
        if self.size > RECOVERY_BYTES {
            let most = terms::ByteCount(RECOVERY_BYTES);
            return Err(Problem::new(Code::TooLarge, format!("more than {most} is not kept for recovery")));
        }
        self.file.write_all(bytes).map_err(|error| failed(&self.recovery.dir, &error))
    }

    /// How much was taken down: bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What was taken down, from its beginning.
    pub fn content(&self) -> Result<File, Problem> {
        let path = self.recovery.file(&self.name, DRAFT);
        File::open(&path).map_err(|error| failed(&path, &error))
    }

    /// Keeps it, durably.
    pub fn keep(self, about: About) -> Result<KeptChange, Problem> {
        let (dir, name) = (&self.recovery.dir, self.name.clone());
        let (draft, content) = (self.recovery.file(&name, DRAFT), self.recovery.file(&name, CONTENT));
        let kept = self.file.sync_all().and_then(|()| fs::rename(&draft, &content));
        kept.map_err(|error| failed(dir, &error))?;
        durable::replace(&self.recovery.file(&name, ABOUT), &wire::cbor::to_vec(&about))?;
        Ok(KeptChange { name, about, content })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // One that was kept has another name by now.
        let _ = fs::remove_file(self.recovery.file(&self.name, DRAFT));
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Problem {
    let code = if error.kind() == ErrorKind::StorageFull { Code::NoSpace } else { Code::Internal };
    Problem::new(code, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use terms::SessionId;

    fn about(at: UnixMs) -> About {
        About {
            location: "data.lab.example/d/f".parse().expect("valid"),
            if_match: None,
            if_absent: true,
            parents: false,
            operation: OperationId { session: SessionId([7; 16]), sequence: 3 },
            at,
            size: 5,
            reason: "cut off".into(),
        }
    }

    #[test]
    fn what_is_kept_is_found_again_and_ends_after_its_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let (world, clock) = World::simulated(1);
        let recovery = Recovery::of(&Folder::new(folder.path()), &world);
        assert!(recovery.list().expect("empty").is_empty());
        let mut draft = recovery.draft().expect("room");
        draft.write(b"hel").and_then(|()| draft.write(b"lo")).expect("written");
        let kept = draft.keep(about(world.clock.unix())).expect("kept");
        assert_eq!(recovery.list().expect("listed"), std::slice::from_ref(&kept));
        assert_eq!(fs::read(&kept.content).expect("there"), b"hello");
        assert_eq!(recovery.find(&kept.name[..3]).expect("found"), kept);
        assert_eq!((recovery.news().expect("known"), recovery.news().expect("known")), (1, 0), "told once");
        assert_eq!(recovery.find("zz").expect_err("none").code, Code::NotFound);
        drop(recovery.draft().expect("room"));
        assert_eq!(fs::read_dir(&recovery.dir).expect("there").count(), 3, "a draft leaves nothing");
        clock.jump_wall(i64::try_from(RECOVERY_LIFE.as_millis()).expect("small") + 1);
        assert!(recovery.list().expect("listed").is_empty());
        assert_eq!(fs::read_dir(&recovery.dir).expect("there").count(), 1, "only what was told");
    }

    #[test]
    fn it_is_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let world = World::simulated(1).0;
        let recovery = Recovery::of(&Folder::new(folder.path()), &world);
        let mut draft = recovery.draft().expect("room");
        draft.size = RECOVERY_BYTES;
        assert_eq!(draft.write(b"x").expect_err("too long").code, Code::TooLarge);
        for _ in 0..MAX_KEPT_CHANGES {
            recovery.draft().and_then(|draft| draft.keep(about(world.clock.unix()))).expect("room");
        }
        assert_eq!(recovery.draft().map(drop).expect_err("full").code, Code::Busy);
    }
}
