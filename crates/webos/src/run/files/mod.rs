//! Commands on files: what is there, reading it checked, storing, moving and removing it.

mod append;
mod checked;
mod find;
mod folder;
mod get;
mod landing;
mod look;
mod names;
mod piped;
mod policy;
mod put;
mod tree;
mod watch;

pub use append::{append, tail};
pub use find::find;
pub use get::{cat, get};
pub use look::{ls, stat};
pub use names::{ln, mkdir, mv, rm};
pub use policy::policy;
pub use put::put;
pub use watch::watch;

use client::models::{Entry, FileKind, Policy};
use serde::Serialize;
use terms::{Location, UnixMs};

/// A file or folder as `--json` gives it.
#[derive(Debug, Serialize)]
pub struct Shown {
    location: String,
    kind: FileKind,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    version: String,
    modified_ms: UnixMs,
    policy: Policy,
}

impl Shown {
    /// What is known of a file or folder.
    pub fn new(location: &Location, entry: &Entry) -> Self {
        Self {
            location: location.to_string(),
            kind: entry.kind,
            size: entry.size,
            etag: entry.etag.map(|etag| etag.to_string()),
            version: entry.version.to_string(),
            modified_ms: entry.modified,
            policy: entry.policy,
        }
    }
}
