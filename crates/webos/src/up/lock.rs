//! One local world a folder: a lock that the system drops with the process that holds it, and in it who that is.

use super::limits::DOWN_WITHIN;
use crate::home::cannot;
use client::Folder;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use terms::{Code, Problem, UnixMs};
use tokio::time::{interval, timeout};

const NAME: &str = "lock";
/// What the lock file says: bytes.
const MAX_NOTE_BYTES: u64 = 4096;
/// How often a lock is tried for that another process is about to give up.
const TRY_EVERY: Duration = Duration::from_millis(50);
/// How often a lock is tried that somebody only looks at, or that is being removed: count.
const MAX_TRIES: u32 = 1000;

/// Who holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process of `webos up`.
    pub pid: u32,
    /// Since when.
    pub started: UnixMs,
}

/// The right to run, change or remove the local world of a folder, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

enum Tried {
    Taken(Lock),
    Held(Option<Holder>),
}

impl Lock {
    /// Takes the world, or names who has it.
    pub fn take(person: &Folder, now: UnixMs) -> Result<Self, Problem> {
        let path = person.world().join(NAME);
        let me = Holder { pid: std::process::id(), started: now };
        match attempt(&path, me)? {
            Tried::Taken(lock) => Ok(lock),
            Tried::Held(holder) => {
                let who = holder.map_or(String::new(), |holder| format!(" (process {})", holder.pid));
                let what = format!("the local world of {} runs already{who}", person.path().display());
                Err(Problem::new(Code::Exists, what)
                    .next("use it as it is, end it with `webos down`, or choose another folder with WEBOS_HOME"))
            }
        }
    }

    /// Asks whoever holds the world to end, and waits for it. Answers with the world, and with whose it was.
    pub async fn take_over(person: &Folder, now: UnixMs) -> Result<(Self, Option<Holder>), Problem> {
        let path = person.world().join(NAME);
        let me = Holder { pid: std::process::id(), started: now };
        let holder = match attempt(&path, me)? {
            Tried::Taken(lock) => return Ok((lock, None)),
            Tried::Held(holder) => holder,
        };
        let unknown =
            || Problem::new(Code::Internal, format!("{} does not say which process runs", path.display()));
        let holder = holder.ok_or_else(unknown)?;
        let pid = Pid::from_raw(holder.pid.cast_signed()).ok_or_else(unknown)?;
        // The process holds the lock that its number is read from, so it is that one.
        kill_process(pid, Signal::TERM).map_err(|error| cannot("end the process of", &path, &error.into()))?;
        let freed = timeout(DOWN_WITHIN, async {
            let mut again = interval(TRY_EVERY);
            loop {
                again.tick().await;
                if let Tried::Taken(lock) = attempt(&path, me)? {
                    return Ok::<_, Problem>(lock);
                }
            }
        });
        match freed.await {
            Ok(lock) => Ok((lock?, Some(holder))),
            Err(_) => Err(Problem::new(
                Code::Timeout,
                format!("process {} has not ended within {} s", holder.pid, DOWN_WITHIN.as_secs()),
            )
            .next(format!("look at what it does, or end it with: kill -9 {}", holder.pid))),
        }
    }

    /// Who runs the world of this folder now, if anybody does. Takes nothing and makes nothing.
    pub fn holder(person: &Folder) -> Option<Holder> {
        let file = File::open(person.world().join(NAME)).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => read(&file),
            _ => None,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the world up for good: the file goes too.
    pub fn remove(self) -> Result<(), Problem> {
        fs::remove_file(&self.path).map_err(|error| cannot("remove", &self.path, &error))
    }
}

fn attempt(path: &Path, me: Holder) -> Result<Tried, Problem> {
    let failed = |error: std::io::Error| cannot("lock", path, &error);
    if let Some(folder) = path.parent() {
        crate::home::make(folder)?;
    }
    for _ in 0..MAX_TRIES {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file = file.map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            // Somebody else's look shares the lock for a moment: who can share it too knows that nobody has the world,
            // and that the number in the file is an old one.
            Err(Errno::WOULDBLOCK) if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() => {
                drop(file);
                std::thread::yield_now();
                continue;
            }
            Err(Errno::WOULDBLOCK) => return Ok(Tried::Held(read(&file))),
            Err(error) => return Err(failed(error.into())),
        }
        // Whoever had it may have removed the file in between: then this is a lock on nothing.
        let mine = file.metadata().map_err(failed)?;
        match fs::metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (mine.dev(), mine.ino()) => {}
            Ok(_) => continue,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        }
        let note = serde_json::to_vec(&me).map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        file.set_len(0).and_then(|()| file.write_all(&note)).map_err(failed)?;
        return Ok(Tried::Taken(Lock { path: path.to_path_buf(), _file: file }));
    }
    Ok(Tried::Held(None))
}

fn read(file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.take(MAX_NOTE_BYTES).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_only_looks_is_not_taken_for_the_one_who_runs() {
        let dir = tempfile::tempdir().expect("a folder");
        let person = Folder::new(dir.path());
        drop(Lock::take(&person, UnixMs(1)).expect("free"));
        let file = File::open(person.world().join(NAME)).expect("it stays, with an old number");
        flock(&file, FlockOperation::NonBlockingLockShared).expect("shared");
        let path = person.world().join(NAME);
        let me = Holder { pid: 1, started: UnixMs(2) };
        assert!(matches!(attempt(&path, me), Ok(Tried::Held(None))), "the old number is nobody's");
        drop(file);
        assert!(matches!(attempt(&path, me), Ok(Tried::Taken(_))));
    }

    #[test]
    fn a_second_start_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let person = Folder::new(dir.path());
        assert_eq!(Lock::holder(&person), None);
        let lock = Lock::take(&person, UnixMs(1)).expect("free");
        assert_eq!(Lock::holder(&person), Some(Holder { pid: std::process::id(), started: UnixMs(1) }));
        let problem = Lock::take(&person, UnixMs(2)).expect_err("taken");
        assert_eq!(problem.code, Code::Exists);
        assert!(problem.detail.contains(&format!("process {}", std::process::id())), "{problem}");
        assert!(problem.next.contains("webos down"), "{problem}");
        drop(lock);
        assert_eq!(Lock::holder(&person), None);
        let lock = Lock::take(&person, UnixMs(3)).expect("free again");
        lock.remove().expect("removed");
        assert!(!person.world().join(NAME).exists());
        Lock::take(&person, UnixMs(4)).expect("free again");
    }

    #[tokio::test]
    async fn a_world_that_nobody_runs_is_taken_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let person = Folder::new(dir.path());
        let (_lock, holder) = Lock::take_over(&person, UnixMs(1)).await.expect("free");
        assert_eq!(holder, None);
    }
}
