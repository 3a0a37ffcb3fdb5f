//! Whether a node's folder is its owner's alone to change: what lies there is believed, so nobody else may put it there.

use client::Folder;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use terms::{Code, Problem};

/// Others may use the folder in some way: bits of its mode.
const ENTERED_BY_OTHERS: u32 = 0o077;
/// Others may change something: bits of its mode.
const CHANGED_BY_OTHERS: u32 = 0o022;

/// Refuses a folder that others can change, or enter and change something in. What lies deeper is in folders that are
/// private themselves, or looked at when it is read.
///
/// # Errors
/// [`Code::Invalid`], with the path, the mode and what to run.
pub fn check(folder: &Folder) -> Result<(), Problem> {
    let path = folder.path();
    // What is not there yet is said by whoever needs it.
    let Some(mode) = mode(path)? else { return Ok(()) };
    refuse_changed(path, mode)?;
    if mode & ENTERED_BY_OTHERS == 0 {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(|error| unseen(path, &error))? {
        let below = entry.map_err(|error| unseen(path, &error))?.path();
        if let Some(mode) = self::mode(&below)? {
            refuse_changed(&below, mode)?;
        }
    }
    Ok(())
}

fn mode(path: &Path) -> Result<Option<u32>, Problem> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.mode() & 0o7777)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unseen(path, &error)),
    }
}

fn refuse_changed(path: &Path, mode: u32) -> Result<(), Problem> {
    if mode & CHANGED_BY_OTHERS == 0 {
        return Ok(());
    }
    let shown = path.display();
    let what = format!("{shown} can be changed by others (mode {mode:04o}), and a node believes what lies there");
    Err(Problem::new(Code::Invalid, what).next(format!("run: chmod go-w {shown}")))
}

fn unseen(path: &Path, error: &io::Error) -> Problem {
    Problem::new(Code::Internal, format!("{} cannot be looked at: {error}", path.display()))
        .next("check who owns it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_others_can_change_is_refused_with_what_to_run() {
        let above = tempfile::tempdir().expect("a folder");
        let (home, below) = (above.path().join("n1"), above.path().join("n1/realms"));
        let folder = Folder::new(&home);
        assert_eq!(check(&folder), Ok(()), "nothing there yet");
        fs::create_dir_all(&below).expect("made");
        for (outer, inner, refused) in [
            (0o700, 0o700, None),
            (0o755, 0o755, None),
            (0o700, 0o777, None),
            (0o755, 0o777, Some(&below)),
            (0o710, 0o720, Some(&below)),
            (0o777, 0o700, Some(&home)),
            (0o720, 0o700, Some(&home)),
        ] {
            fs::set_permissions(&home, fs::Permissions::from_mode(outer)).expect("mine");
            fs::set_permissions(&below, fs::Permissions::from_mode(inner)).expect("mine");
            let found = check(&folder).err().map(|problem| problem.next);
            assert_eq!(
                found,
                refused.map(|path| format!("run: chmod go-w {}", path.display())),
                "{outer:o} {inner:o}"
            );
        }
    }
}
