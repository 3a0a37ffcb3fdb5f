//! Which proxies run in a folder: one note each, locked by its process as long as that lives. A note without its lock
//! counts for nothing.

use super::limits::MAX_PROXIES_LISTED;
use crate::home::cannot;
use client::Folder;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use terms::Problem;

/// What a running proxy notes of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyLine {
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The note of a proxy that runs, until it is dropped or the process ends.
pub struct Noted {
    path: PathBuf,
    _lock: File,
}

impl Drop for Noted {
    fn drop(&mut self) {
        // A note that stays counts for nothing without its lock.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Notes that this process is a proxy.
pub fn note(folder: &Folder, address: SocketAddr) -> Result<Noted, Problem> {
    let line = ProxyLine { pid: std::process::id(), address };
    let place = folder.proxies();
    let path = place.join(format!("{}.json", line.pid));
    let failed = |error: std::io::Error| cannot("write", &path, &error);
    DirBuilder::new().recursive(true).mode(0o700).create(&place).map_err(failed)?;
    let _ = std::fs::remove_file(&path); // left by a crash of a process with the same number
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| failed(errno.into()))?;
    let text = serde_json::to_vec(&line).map_err(|error| failed(error.into()))?;
    file.write_all(&text).map_err(failed)?;
    Ok(Noted { path, _lock: file })
}

/// The proxies that run in this folder.
pub fn look(folder: &Folder) -> Vec<ProxyLine> {
    let entries = std::fs::read_dir(folder.proxies()).into_iter().flatten().flatten();
    let running = entries.take(MAX_PROXIES_LISTED).filter_map(|entry| {
        let file = File::open(entry.path()).ok()?;
        let held = flock(&file, FlockOperation::NonBlockingLockShared).is_err();
        if held { serde_json::from_reader(file).ok() } else { None }
    });
    let mut running: Vec<ProxyLine> = running.collect();
    running.sort_by_key(|proxy| proxy.address);
    running
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_listed_while_it_runs() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(dir.path().join("not there yet"));
        assert!(look(&folder).is_empty());
        let address = SocketAddr::from(([127, 0, 0, 1], 8181));
        let noted = note(&folder, address).expect("noted");
        assert_eq!(look(&folder), [ProxyLine { pid: std::process::id(), address }]);
        let left = std::fs::read(&noted.path).expect("readable");
        drop(noted);
        assert!(look(&folder).is_empty());
        std::fs::write(folder.proxies().join("7.json"), left).expect("as a killed process leaves it");
        assert!(look(&folder).is_empty(), "a note without its lock counts for nothing");
        assert!(note(&folder, address).is_ok());
    }
}
