//! The purse: the transfer certificates that a principal made or was given, one file each. A chain is no secret: it is
//! bound to its server's key. Nothing in a purse is verified.

use crate::durable::replace;
use crate::folder::Folder;
use crate::limits::MAX_PURSE_FILES;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use terms::{Code, Problem, TransferId, UnixMs};
use trust::limits::{CLOCK_SKEW, MAX_TRANSFER_BYTES};
use trust::{Chain, Link};

/// A certificate in a purse: the chain, and what its links say.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The chain.
    pub chain: Chain,
    /// What its links say, first to last; never empty.
    pub links: Vec<Link>,
}

impl Kept {
    /// The last link: the one that names the certificate.
    pub fn last(&self) -> &Link {
        &self.links[self.links.len() - 1]
    }
}

/// The purse of a folder.
#[derive(Debug, Clone)]
pub struct Purse {
    folder: PathBuf,
}

impl Purse {
    /// The purse in a folder; it need not exist.
    pub fn open(folder: &Folder) -> Self {
        Self { folder: folder.purse() }
    }

    fn file(&self, id: TransferId) -> PathBuf {
        self.folder.join(format!("{id}.transfer"))
    }

    /// Keeps a chain under the id of its last link. Its signer chose that id, so it replaces no other chain.
    pub fn keep(&self, chain: &Chain) -> Result<TransferId, Problem> {
        let kept = read(chain.clone())?;
        let id = kept.last().id;
        let (file, bytes) = (self.file(id), chain.encode()?);
        if load(&file).is_ok_and(|present| present.chain.encode().is_ok_and(|present| present != bytes)) {
            let what = format!("another transfer certificate with the id {id} is in the purse already");
            return Err(Problem::new(Code::Exists, what).next("sign it anew: each one has an id of its own"));
        }
        replace(&file, &bytes)?;
        Ok(id)
    }

    /// All that is kept, by their ends. A file that cannot be read is left out, and said aloud in the log.
    pub fn list(&self) -> Result<Vec<Kept>, Problem> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                let what = format!("{} cannot be read: {error}", self.folder.display());
                return Err(Problem::new(Code::Internal, what));
            }
        };
        let mut kept = Vec::new();
        for entry in entries.flatten().take(MAX_PURSE_FILES) {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "transfer") {
                continue;
            }
            match load(&path) {
                Ok(found) => kept.push(found),
                Err(problem) => {
                    tracing::warn!(path = %path.display(), %problem, "a transfer certificate is damaged")
                }
            }
        }
        kept.sort_by_key(|kept| (kept.last().until, kept.last().id));
        Ok(kept)
    }

    /// The certificate whose id begins like this.
    pub fn find(&self, beginning: &str) -> Result<Kept, Problem> {
        let mut found = self.list()?.into_iter().filter(|kept| kept.last().id.to_string().starts_with(beginning));
        let none = || {
            Problem::new(
                Code::NotFound,
                format!("no transfer certificate in the purse begins with '{}'", beginning.escape_default()),
            )
            .next("`webos transfer list` shows what is there")
        };
        let first = found.next().ok_or_else(none)?;
        if found.next().is_some() {
            let what = format!("several transfer certificates begin with '{}'", beginning.escape_default());
            return Err(Problem::new(Code::Invalid, what).next("write more of the id"));
        }
        Ok(first)
    }

    /// Removes what has ended for everybody's clock.
    pub fn drop_ended(&self, now: UnixMs) {
        for kept in self.list().unwrap_or_default() {
            if now >= kept.last().until.plus(CLOCK_SKEW) {
                let _ = fs::remove_file(self.file(kept.last().id));
            }
        }
    }

    /// Removes one.
    pub fn remove(&self, id: TransferId) -> Result<(), Problem> {
        fs::remove_file(self.file(id)).map_err(|error| {
            Problem::new(Code::Internal, format!("{} cannot be removed: {error}", self.file(id).display()))
        })
    }
}

fn read(chain: Chain) -> Result<Kept, Problem> {
    let links = chain.links()?;
    Ok(Kept { chain, links })
}

fn load(path: &std::path::Path) -> Result<Kept, Problem> {
    let cannot = |error: std::io::Error| Problem::new(Code::Internal, error.to_string());
    if fs::metadata(path).map_err(cannot)?.len() > MAX_TRANSFER_BYTES as u64 {
        return Err(Problem::new(Code::TooLarge, "it is larger than a transfer certificate can be"));
    }
    read(Chain::decode(&fs::read(path).map_err(cannot)?)?)
}
