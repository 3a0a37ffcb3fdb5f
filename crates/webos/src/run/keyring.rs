//! What opens a key under a passphrase: a file that was named, or the person at the terminal. Asked for once a command,
//! and only by what needs the key; standard input stays free for data.

use super::passphrase;
use crate::output::Failure;
use client::Folder;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use terms::Problem;
use trust::{Identity, IdentityFile, Passphrase};

/// Names a file with the passphrase.
pub const VARIABLE: &str = "WEBOS_PASSPHRASE_FILE";

/// Where the passphrase comes from, and which one it was.
#[derive(Clone, Default)]
pub struct Keyring {
    file: Option<PathBuf>,
    opened: Arc<Mutex<Option<Passphrase>>>,
}

impl Keyring {
    /// With a file that was named, if one was.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, opened: Arc::default() }
    }

    /// What opens the key in this folder; nothing if it is under none. It is known to open it.
    pub fn passphrase(&self, folder: &Folder) -> Result<Option<Passphrase>, Failure> {
        let path = folder.identity().join(Identity::FILE);
        // Whatever else is wrong with the file is said by whoever opens it.
        let Some(file) = IdentityFile::read(&folder.identity()).ok().filter(IdentityFile::is_sealed) else {
            return Ok(None);
        };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.is_none() {
            let given = passphrase::of_key(self.file.as_deref(), &file.principal().to_string())?;
            file.open(Some(&given)).map_err(|error| match error {
                trust::TrustError::Passphrase => Problem::from(error)
                    .next(format!("try again; nothing was changed: the key is still in {}", path.display())),
                other => other.into(),
            })?;
            *opened = Some(given);
        }
        Ok(opened.clone())
    }

    /// A passphrase for a key that is made now.
    pub fn new_passphrase(&self) -> Result<Passphrase, Failure> {
        passphrase::for_new_key(self.file.as_deref())
    }
}
