//! Which node runs in a folder: a lock that the system drops with the process, and a note beside it of where the
//! node listens. The note counts only while the lock is held.

use crate::home::cannot;
use client::{Folder, durable};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use terms::{Code, Principal, Problem, UnixMs};

/// What a running node notes of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// Who it is.
    pub principal: Principal,
    /// `host:port` where it listens.
    pub address: String,
    /// Since when.
    pub started: UnixMs,
}

/// The right to run the folder's node, until it is dropped or the process ends.
pub struct Claim {
    note: PathBuf,
    _lock: File,
}

fn note(folder: &Folder) -> PathBuf {
    folder.path().join("node.json")
}

fn open_lock(folder: &Folder) -> Result<File, Problem> {
    let path = folder.path().join("node.lock");
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    file.map_err(|error| cannot("open", &path, &error))
}

/// Takes the folder for one node.
pub fn claim(folder: &Folder) -> Result<Claim, Problem> {
    let lock = open_lock(folder)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Claim { note: note(folder), _lock: lock }),
        Err(Errno::WOULDBLOCK) => {
            let pid = read(folder).map_or(String::new(), |running| format!(" (process {})", running.pid));
            let what = format!("the node of {} runs already{pid}", folder.path().display());
            Err(Problem::new(Code::Exists, what).next("end it first, or choose another folder with WEBOS_HOME"))
        }
        Err(errno) => Err(cannot("lock", folder.path(), &errno.into())),
    }
}

impl Claim {
    /// Notes where the node listens.
    pub fn announce(&self, running: &Running) -> Result<(), Problem> {
        let text = serde_json::to_vec(running)
            .map_err(|error| Problem::new(Code::Internal, format!("the node cannot be noted: {error}")))?;
        durable::replace(&self.note, &text)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A note that stays counts for nothing without the lock.
        let _ = std::fs::remove_file(&self.note);
    }
}

fn read(folder: &Folder) -> Option<Running> {
    serde_json::from_slice(&std::fs::read(note(folder)).ok()?).ok()
}

/// The node that runs in this folder, if one does.
pub fn look(folder: &Folder) -> Option<Running> {
    let running = read(folder)?;
    let lock = open_lock(folder).ok()?;
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Some(running),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_a_folder_and_only_while_it_runs() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(dir.path());
        assert_eq!(look(&folder), None);
        let first = claim(&folder).expect("free");
        let running = Running {
            pid: 7,
            principal: "spiffe://a/server/n1".parse().expect("valid"),
            address: "127.0.0.1:1".into(),
            started: UnixMs(5),
        };
        first.announce(&running).expect("noted");
        assert_eq!(look(&folder), Some(running.clone()));
        let problem = claim(&folder).err().expect("taken");
        assert!(problem.detail.contains("process 7"), "{problem}");
        drop(first);
        assert_eq!(look(&folder), None);
        let text = serde_json::to_vec(&running).expect("plain data");
        std::fs::write(note(&folder), text).expect("as a killed process leaves it");
        assert_eq!(look(&folder), None, "a note without its lock counts for nothing");
        assert!(claim(&folder).is_ok());
    }
}
