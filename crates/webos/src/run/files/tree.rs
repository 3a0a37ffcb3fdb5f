//! What of a local folder is copied: its regular files, and links to files within it. Everything else is left out
//! and named. Nothing outside of the folder is ever read.

use crate::home::cannot;
use crate::output::plural;
use crate::run::limits::{MAX_DEPTH, MAX_FILES};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use terms::{Code, Problem, VolumePath};

/// A file to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it lies below the folder.
    pub path: VolumePath,
    /// What to open.
    pub source: PathBuf,
    /// Its length when it was seen: bytes.
    pub size: u64,
}

/// Something that is not copied.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LeftOut {
    /// Its path below the folder, as far as it is text.
    pub name: String,
    /// Why.
    pub why: &'static str,
}

/// A folder's content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    /// What is copied, in the order of the paths.
    pub files: Vec<Found>,
    /// What is not.
    pub left_out: Vec<LeftOut>,
}

impl Walk {
    /// One sentence about what is left out; nothing if nothing is.
    pub fn remark(&self) -> Option<String> {
        const NAMED: usize = 5;
        let count = self.left_out.len();
        if count == 0 {
            return None;
        }
        let named: Vec<String> =
            self.left_out.iter().take(NAMED).map(|left| format!("{} ({})", left.name, left.why)).collect();
        let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
        Some(format!("left out {}: {}{more}", plural(count as u64, "name"), named.join(", ")))
    }
}

/// Looks at everything below a folder.
pub fn walk(root: &Path) -> Result<Walk, Problem> {
    let real = fs::canonicalize(root).map_err(|error| cannot("read", root, &error))?;
    let mut found = Walk::default();
    let mut folders = vec![VolumePath::root()];
    while let Some(folder) = folders.pop() {
        let here = real.join(folder.as_str());
        let entries = fs::read_dir(&here).map_err(|error| cannot("read", &here, &error))?;
        let before = (found.files.len(), found.left_out.len(), folders.len());
        for entry in entries {
            let entry = entry.map_err(|error| cannot("read", &here, &error))?;
            look(&real, &folder, &entry, &mut found, &mut folders)
                .map_err(|error| cannot("read", &entry.path(), &error))?;
            if found.files.len() > MAX_FILES {
                let problem = format!("{} holds more than {MAX_FILES} files", root.display());
                return Err(Problem::new(Code::TooLarge, problem).next("copy its folders one by one"));
            }
        }
        if before == (found.files.len(), found.left_out.len(), folders.len()) && !folder.is_root() {
            found.left_out.push(LeftOut { name: folder.to_string(), why: "empty folder" });
        }
    }
    found.files.sort_by(|one, two| one.path.cmp(&two.path));
    found.left_out.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(found)
}

fn look(
    root: &Path,
    folder: &VolumePath,
    entry: &fs::DirEntry,
    found: &mut Walk,
    folders: &mut Vec<VolumePath>,
) -> std::io::Result<()> {
    let name = entry.file_name();
    let shown = Path::new(folder.as_str()).join(&name).to_string_lossy().into_owned();
    let mut leave_out = |why| found.left_out.push(LeftOut { name: shown.clone(), why });
    let Some(path) = name.to_str().and_then(|name| folder.join(name).ok()) else {
        leave_out("not a name that a volume can hold");
        return Ok(());
    };
    let kind = entry.file_type()?;
    if kind.is_dir() {
        if path.segments().count() < MAX_DEPTH { folders.push(path) } else { leave_out("too deep") }
    } else if kind.is_file() {
        found.files.push(Found { path, source: entry.path(), size: entry.metadata()?.len() });
    } else if kind.is_symlink() {
        match within(root, &entry.path()) {
            Ok((source, size)) => found.files.push(Found { path, source, size }),
            Err(why) => leave_out(why),
        }
    } else {
        leave_out("special file");
    }
    Ok(())
}

/// The file that a link leads to, if that is a regular file within the folder.
fn within(root: &Path, link: &Path) -> Result<(PathBuf, u64), &'static str> {
    let real = fs::canonicalize(link).map_err(|_| "link to nothing")?;
    let found = fs::symlink_metadata(&real).map_err(|_| "link to nothing")?;
    match () {
        () if !real.starts_with(root) => Err("link out of the folder"),
        () if found.is_dir() => Err("link to a folder"),
        () if !found.is_file() => Err("link to a special file"),
        () => Ok((real, found.len())),
    }
}

/// Opens a file that was seen as a regular one; if it has become something else since, that is an error and not
/// a wait.
pub fn open_regular(path: &Path) -> Result<File, Problem> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let changed = || {
        let problem = Problem::new(Code::Conflict, format!("{} is no regular file any more", path.display()));
        problem.next("try again")
    };
    let file = openat(CWD, path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::LOOP => changed(),
        errno => cannot("read", path, &errno.into()),
    })?;
    let file = File::from(file);
    let found = file.metadata().map_err(|error| cannot("read", path, &error))?;
    if found.is_file() { Ok(file) } else { Err(changed()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_folder_gives_its_files_and_names_the_rest() {
        let (folder, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let at = |name: &str| folder.path().join(name);
        fs::write(outside.path().join("secret"), "s").expect("written");
        fs::create_dir_all(at("sub/empty")).expect("made");
        for name in ["a", "sub/b", ".dot"] {
            fs::write(at(name), name).expect("written");
        }
        symlink(outside.path().join("secret"), at("out")).expect("made");
        symlink("a", at("in")).expect("made");
        symlink(at("sub"), at("dir")).expect("made");
        symlink("nowhere", at("dangling")).expect("made");
        symlink("../..", at("sub/up")).expect("made");
        rustix::fs::mknodat(CWD, at("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).expect("made");

        let found = walk(folder.path()).expect("readable");
        let files: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(files, [".dot", "a", "in", "sub/b"]);
        let left: Vec<(&str, &str)> = found.left_out.iter().map(|left| (left.name.as_str(), left.why)).collect();
        assert_eq!(
            left,
            [
                ("dangling", "link to nothing"),
                ("dir", "link to a folder"),
                ("out", "link out of the folder"),
                ("pipe", "special file"),
                ("sub/empty", "empty folder"),
                ("sub/up", "link out of the folder"),
            ]
        );
        assert!(found.remark().expect("some").starts_with("left out 6 names: dangling (link to nothing), "));
        assert!(open_regular(&at("pipe")).is_err(), "never waits for a writer");
        assert!(open_regular(&at("out")).is_err());
        assert!(open_regular(&at("a")).is_ok());
        assert_eq!(walk(&at("gone")).expect_err("missing").code, Code::NotFound);
    }
}
