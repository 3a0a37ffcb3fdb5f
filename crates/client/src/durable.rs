//! Small files that must be whole after a crash: written beside, synced, renamed, and the folder synced.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use terms::{Code, Problem};

/// Replaces a file (mode 0600), making its folder (mode 0700) if needed. Readers see the old content or the new.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), Problem> {
    let failed = |error: std::io::Error| {
        let code = if error.kind() == ErrorKind::StorageFull { Code::NoSpace } else { Code::Internal };
        Problem::new(code, format!("{} cannot be written: {error}", path.display()))
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(failed)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&draft, path).and_then(|()| fs::File::open(folder)?.sync_all()).map_err(failed)
}
