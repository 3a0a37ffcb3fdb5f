//! The folder of the principal: made private, and refused when others could have put something into it.
//! Everything that is believed later (keys, pinned realms) is believed because it lies here.

pub mod format;

use rustix::process::geteuid;
use std::fs::{self, DirBuilder, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use terms::{Code, Problem};

/// The settings file: bytes. A hundred times what all settings together need.
const MAX_SETTINGS_BYTES: u64 = 64 * 1024;

/// Makes the folder, mode 0700, if it is not there; refuses one that is not its owner's alone to change.
pub fn make(path: &Path) -> Result<(), Problem> {
    if check(path)? {
        return format::mark(path);
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| cannot("make", parent, &error))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        // Somebody was faster: what is there now has to pass the same check.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => check(path).map(drop)?,
        Err(error) => return Err(cannot("make", path, &error)),
    }
    format::mark(path)
}

/// Whether the folder is there; an error if it is there but must not be trusted.
pub fn check(path: &Path) -> Result<bool, Problem> {
    match fs::metadata(path) {
        Ok(found) => {
            judge(path, &found, geteuid().as_raw())?;
            format::check(path).map(|()| true)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(cannot("look at", path, &error)),
    }
}

fn judge(path: &Path, found: &Metadata, me: u32) -> Result<(), Problem> {
    let shown = path.display();
    let refuse = |what: String, next: String| Err(Problem::new(Code::Invalid, what).next(next));
    if !found.is_dir() {
        return refuse(
            format!("{shown} is not a folder, so nothing can be kept in it"),
            "set WEBOS_HOME to a folder of yours".into(),
        );
    }
    if found.uid() != me {
        return refuse(
            format!("{shown} belongs to user number {}, who could read and replace your keys", found.uid()),
            "set WEBOS_HOME to a folder of yours".into(),
        );
    }
    if found.mode() & 0o022 != 0 {
        let mode = found.mode() & 0o7777;
        return refuse(
            format!("{shown} can be changed by others (mode {mode:04o}), who could replace your keys"),
            format!("run: chmod go-w {shown}"),
        );
    }
    Ok(())
}

/// The text of the settings file; empty if there is none.
pub fn read_settings(path: &Path) -> Result<String, Problem> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(cannot("read", path, &error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_SETTINGS_BYTES + 1).read_to_end(&mut bytes).map_err(|error| cannot("read", path, &error))?;
    let wrong = |what: &str| {
        Problem::new(Code::Invalid, format!("{} {what}", path.display()))
            .next("put it right, or remove it: without it every setting has its default")
    };
    if bytes.len() as u64 > MAX_SETTINGS_BYTES {
        return Err(wrong(&format!("is longer than {MAX_SETTINGS_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        wrong(&format!("is damaged in line {line}: that is no UTF-8 text"))
    })
}

/// An error of the local file system as people read it.
pub fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Problem {
    let (code, next) = match error.kind() {
        ErrorKind::NotFound => (Code::NotFound, "check the name"),
        ErrorKind::PermissionDenied => (Code::Denied, "check who owns it, or take another folder"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (Code::NoSpace, "free some space and try again"),
        _ => (Code::Internal, ""),
    };
    Problem::new(code, format!("cannot {what} {}: {}", path.display(), plain(error))).next(next)
}

/// The system's words without its number.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_is_made_private_and_found_again() {
        let above = tempfile::tempdir().expect("a folder");
        let home = above.path().join("a/b");
        assert_eq!(check(&home), Ok(false));
        make(&home).expect("made");
        assert_eq!(fs::metadata(&home).expect("there").mode() & 0o777, 0o700);
        make(&home).expect("found");
        assert_eq!(check(&home), Ok(true));
    }

    #[test]
    fn what_others_can_change_is_refused() {
        let above = tempfile::tempdir().expect("a folder");
        let path = above.path();
        for (mode, ok) in [(0o700, true), (0o755, true), (0o770, false), (0o702, false), (0o1777, false)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mine");
            assert_eq!(check(path).is_ok(), ok, "{mode:o}");
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("mine");
        let found = fs::metadata(path).expect("there");
        assert!(judge(path, &found, found.uid() + 1).is_err(), "somebody else's");
        let file = path.join("file");
        fs::write(&file, "").expect("written");
        assert!(check(&file).expect_err("no folder").detail.contains("not a folder"));
        assert!(make(&file.join("below")).is_err());
    }

    #[test]
    fn a_damaged_settings_file_names_its_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("settings.toml");
        assert_eq!(read_settings(&path), Ok(String::new()));
        fs::write(&path, b"log = 'x'\n\xff\xfe").expect("written");
        assert!(read_settings(&path).expect_err("damaged").detail.contains("line 2"));
        fs::write(&path, vec![b'#'; 70_000]).expect("written");
        assert!(read_settings(&path).expect_err("too long").detail.contains("longer than"));
    }
}
