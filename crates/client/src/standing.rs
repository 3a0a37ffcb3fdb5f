//! Whether the node of a folder is the home of a volume that lies there: a small file beside the volume's database,
//! whole after a crash. A volume without it is at home where it lies.

use crate::durable::replace;
use crate::limits::MAX_STANDING_BYTES;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use terms::{Code, Epoch, Principal, Problem};

/// The file's name.
const FILE: &str = "standing";

/// How a volume's folder stands to the volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The node is its home.
    Home,
    /// It came from another node, and is at home here once the realm's first node says so.
    Coming {
        /// Who had it.
        from: Principal,
    },
    /// It was handed to another node, and only the realm's first node knows whether that counted.
    Going {
        /// Who was to have it.
        to: Principal,
        /// Where that answers.
        address: String,
        /// In which epoch.
        epoch: Epoch,
    },
    /// Another node is its home. What lies here is of before.
    Superseded {
        /// Who is.
        by: Principal,
        /// Where that answers.
        address: String,
        /// In which epoch.
        epoch: Epoch,
    },
}

impl Standing {
    /// The standing of the volume in this folder.
    pub fn read(dir: &Path) -> Result<Self, Problem> {
        let path = file(dir);
        let damaged = |why: String| {
            Problem::new(Code::Internal, format!("{} is damaged: {why}", path.display()))
                .next("`webos volume show` tells who the home is; remove the file if it is this node")
        };
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::Home),
            Err(error) => return Err(damaged(error.to_string())),
        };
        let mut bytes = Vec::new();
        file.take(MAX_STANDING_BYTES).read_to_end(&mut bytes).map_err(|error| damaged(error.to_string()))?;
        wire::cbor::from_slice(&bytes).map_err(|problem| damaged(problem.detail))
    }

    /// Keeps the standing. It is on disk when this returns.
    pub fn write(&self, dir: &Path) -> Result<(), Problem> {
        replace(&file(dir), &wire::cbor::to_vec(self))
    }

    /// Forgets the standing of what never became a volume.
    pub fn forget(dir: &Path) {
        // What stays says that nothing here is a home: no harm.
        let _ = fs::remove_file(file(dir)).and_then(|()| fs::remove_dir(dir));
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}
