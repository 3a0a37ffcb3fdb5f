//! The data format of a folder: one number in the file `format`. A folder of a later build is refused before anything
//! in it is read; one of an earlier build is brought forward when it is next used for writing.

use super::cannot;
use client::durable;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use terms::{Code, Problem};

/// The format that this build reads and writes. Format 1 has no mark in folders of the builds before the mark.
const FORMAT: u32 = 1;
/// The file: bytes. A number and a line end.
const MAX_BYTES: u64 = 16;

/// Where a folder's format stands.
pub fn file(folder: &Path) -> PathBuf {
    folder.join("format")
}

/// Refuses a folder that a later build has written.
pub fn check(folder: &Path) -> Result<(), Problem> {
    let path = file(folder);
    let mut text = String::new();
    match fs::File::open(&path) {
        Ok(file) => {
            let read = file.take(MAX_BYTES).read_to_string(&mut text);
            read.map_err(|error| cannot("read", &path, &error))?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot("read", &path, &error)),
    }
    match text.trim().parse::<u32>() {
        Ok(found) if (1..=FORMAT).contains(&found) => Ok(()),
        Ok(found) if found > FORMAT => Err(Problem::new(
            Code::Unsupported,
            format!(
                "{} is in data format {found}, and this build (webos {}) knows formats up to {FORMAT}",
                folder.display(),
                env!("CARGO_PKG_VERSION")
            ),
        )
        .next("use the newer build that wrote it, or another folder with WEBOS_HOME; nothing was changed")),
        _ => Err(Problem::new(Code::Invalid, format!("{} names no data format", path.display()))
            .next(format!("restore it from a copy; a folder of this build says {FORMAT}"))),
    }
}

/// Marks a folder that was made by this build, or by one before the mark.
pub fn mark(folder: &Path) -> Result<(), Problem> {
    let path = file(folder);
    if path.exists() { Ok(()) } else { durable::replace(&path, format!("{FORMAT}\n").as_bytes()) }
}

/// Takes the mark away from a folder in which nothing else is left.
pub fn unmark_empty(folder: &Path) {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    if names.eq([file(folder)]) {
        // One that stays does no harm.
        let _ = fs::remove_file(file(folder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_format_is_refused_with_both_numbers_and_an_earlier_one_is_marked() {
        let dir = tempfile::tempdir().expect("a folder");
        check(dir.path()).expect("of a build before the mark");
        mark(dir.path()).expect("marked");
        assert_eq!(fs::read_to_string(file(dir.path())).expect("there"), "1\n");
        check(dir.path()).expect("this build's");
        fs::write(file(dir.path()), "7\n").expect("written");
        let problem = check(dir.path()).expect_err("a later one");
        assert!(problem.detail.contains("format 7") && problem.detail.contains("up to 1"), "{problem}");
        mark(dir.path()).expect("it stays");
        assert!(check(dir.path()).is_err(), "and is not marked down");
        for bad in ["", "0", "-1", "x", "1 2", "99999999999999999999"] {
            fs::write(file(dir.path()), bad).expect("written");
            assert!(check(dir.path()).is_err(), "{bad}");
        }
        unmark_empty(dir.path());
        assert!(!file(dir.path()).exists());
    }
}
