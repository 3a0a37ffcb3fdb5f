//! Files with secrets: mode 0600, in folders of mode 0700, replaced atomically and durably.

use crate::TrustError;
use crate::codec::check_size;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> TrustError {
    let path = path.to_path_buf();
    move |source| TrustError::Io { action, path, source }
}

/// Replaces a file: readers see the old content or the new, also after a crash.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), TrustError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if !folder.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("create", folder))?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.{}.new", std::process::id()));
    let _ = fs::remove_file(&draft); // left by a crash of a process with the same number
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&draft, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written.map_err(failed("write", path))
}

fn mode(path: &Path) -> Result<u32, TrustError> {
    Ok(fs::metadata(path).map_err(failed("look at", path))?.mode() & 0o7777)
}

/// Refuses a folder of secrets that others than its owner can look into.
pub(crate) fn check_private_folder(folder: &Path) -> Result<(), TrustError> {
    match mode(folder)? {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(TrustError::ExposedFolder { path: folder.to_path_buf(), mode }),
    }
}

/// Refuses a folder in which others could put another file in the place of its owner's. A sticky one keeps them from it.
fn check_not_replaceable(folder: &Path) -> Result<(), TrustError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match mode(folder)? {
        mode if mode & 0o022 == 0 || mode & 0o1000 != 0 => Ok(()),
        mode => Err(TrustError::ExposedFolder { path: folder.to_path_buf(), mode }),
    }
}

/// Reads a file of at most `limit` bytes that only its owner can read, and replace.
pub(crate) fn read_private(path: &Path, limit: usize) -> Result<Vec<u8>, TrustError> {
    let file = File::open(path).map_err(failed("read", path))?;
    check_not_replaceable(path.parent().unwrap_or(Path::new(".")))?;
    let mode = file.metadata().map_err(failed("read", path))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TrustError::Exposed { path: path.to_path_buf(), mode });
    }
    let mut content = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut content).map_err(failed("read", path))?;
    check_size("the file", content.len(), limit)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn modes_are_narrow_and_wide_ones_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/key");
        write_private(&path, b"one").expect("written");
        write_private(&path, b"two").expect("replaced");
        assert_eq!(read_private(&path, 3).expect("read"), b"two");
        assert!(matches!(read_private(&path, 2), Err(TrustError::TooLarge { .. })));
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(folder.path().join("deep")).expect("there").mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(folder.path().join("deep")).expect("a folder").count(), 1, "no draft stays");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
        assert!(matches!(read_private(&path, 3), Err(TrustError::Exposed { mode: 0o640, .. })));
    }

    #[test]
    fn secrets_that_others_could_replace_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        write_private(&path, b"one").expect("written");
        for (mode, read, private) in [
            (0o700, true, true),
            (0o750, true, false),
            (0o755, true, false),
            (0o770, false, false),
            (0o702, false, false),
            (0o777, false, false),
            (0o1777, true, false),
        ] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("mine");
            assert_eq!(read_private(&path, 3).is_ok(), read, "{mode:o}");
            assert_eq!(check_private_folder(folder.path()).is_ok(), private, "{mode:o}");
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("mine");
        let problem = terms::Problem::from(read_private(&path, 3).expect_err("refused"));
        let shown = folder.path().display();
        assert_eq!(problem.detail, format!("{shown} holds secrets, and others have access to it (mode 0777)"));
        assert_eq!(problem.next, format!("chmod 700 {shown}"));
    }
}
