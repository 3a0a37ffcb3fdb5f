//! What of a folder is served: regular files, and links to such within it. Everything else is left out and counted.
//!
//! Files are opened beneath the folder by the kernel's own check, so that nothing outside of it can be reached by
//! exchanging a name for a link at the wrong moment. The folder is only read.

use super::limits::MAX_FILES;
use crate::home::cannot;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use terms::{Code, Problem, VolumePath};
use webfs::limits::MAX_FILE_BYTES;

/// By what a file's content is known to be the same without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The length: bytes.
    pub size: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            size: found.len(),
            inode: found.ino(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// What is left out, by reason: counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Names that begin with a dot.
    pub dot: u64,
    /// Links that lead out of the folder, to nothing, or to a folder.
    pub links: u64,
    /// Sockets, pipes, devices.
    pub special: u64,
    /// What the system does not let us read.
    pub unreadable: u64,
    /// Names that are no UTF-8, or too long.
    pub names: u64,
    /// Files beyond the largest that a volume takes.
    pub large: u64,
}

impl LeftOut {
    /// In words, such as `2 dot files, 1 link`; nothing if nothing is left out.
    pub fn in_words(&self) -> Option<String> {
        let parts = [
            (self.dot, "file or folder with a dot in front", "files and folders with a dot in front"),
            (self.links, "link out of it or to a folder", "links out of it or to folders"),
            (self.special, "special file", "special files"),
            (self.unreadable, "unreadable file", "unreadable files"),
            (self.names, "name that no volume takes", "names that no volume takes"),
            (self.large, "file above 1 TiB", "files above 1 TiB"),
        ];
        let said = parts.into_iter().filter(|part| part.0 > 0);
        let said: Vec<_> =
            said.map(|(count, one, more)| format!("{count} {}", if count == 1 { one } else { more })).collect();
        (!said.is_empty()).then(|| said.join(", "))
    }
}

/// What was found in a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The files to serve, by their path within the folder.
    pub files: BTreeMap<VolumePath, Stamp>,
    /// What is not served.
    pub left_out: LeftOut,
    /// Whether some of the files are links: their content changes without a word under their own name.
    pub has_links: bool,
}

/// The folder whose files are served.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    root: OwnedFd,
    identity: (u64, u64),
}

impl Tree {
    /// Opens the folder as it is now. `path` is canonical.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let failed = |error: io::Error| {
            let problem = cannot("read the folder", path, &error);
            if problem.next.is_empty() { problem.next("name a folder with files to serve") } else { problem }
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        fs::read_dir(path).map_err(failed)?;
        let found = fs::metadata(path).map_err(failed)?;
        Ok(Self { path: path.to_path_buf(), root, identity: (found.dev(), found.ino()) })
    }

    /// Whether the folder of this name is still the one that was opened.
    pub fn is_same(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finds the files at and below a path of the folder. What is not there has no files.
    pub fn scan(&self, below: &VolumePath) -> Result<Scan, Problem> {
        let mut scan = Scan::default();
        let mut parent = VolumePath::root();
        for segment in below.segments() {
            let is_folder = fs::symlink_metadata(self.path.join(parent.as_str())).is_ok_and(|found| found.is_dir());
            if segment.starts_with('.') || !is_folder {
                return Ok(scan);
            }
            parent = parent.join(segment).unwrap_or_default();
        }
        self.visit(below, &mut scan)?;
        Ok(scan)
    }

    fn visit(&self, path: &VolumePath, scan: &mut Scan) -> Result<(), Problem> {
        let mut waiting = vec![path.clone()];
        while let Some(path) = waiting.pop() {
            let place = self.path.join(path.as_str());
            let found = match fs::symlink_metadata(&place) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(_) => {
                    scan.left_out.unreadable += 1;
                    continue;
                }
            };
            let kind = found.file_type();
            if kind.is_dir() {
                self.list(&place, &path, scan, &mut waiting);
            } else if kind.is_file() {
                add(scan, path, Stamp::of(&found), false)?;
            } else if kind.is_symlink() {
                match self.linked(&path) {
                    Some(stamp) => add(scan, path, stamp, true)?,
                    None => scan.left_out.links += 1,
                }
            } else {
                scan.left_out.special += 1;
            }
        }
        Ok(())
    }

    fn list(&self, place: &Path, path: &VolumePath, scan: &mut Scan, waiting: &mut Vec<VolumePath>) {
        let Ok(entries) = fs::read_dir(place) else {
            // Removed in between is nothing; what remains is kept from us.
            scan.left_out.unreadable += u64::from(place.exists());
            return;
        };
        for entry in entries {
            let Ok(entry) = entry else {
                scan.left_out.unreadable += 1;
                continue;
            };
            let name = entry.file_name();
            match name.to_str() {
                Some(name) if name.starts_with('.') => scan.left_out.dot += 1,
                Some(name) => match path.join(name) {
                    Ok(path) => waiting.push(path),
                    Err(_) => scan.left_out.names += 1,
                },
                None => scan.left_out.names += 1,
            }
        }
    }

    /// What a link leads to, if that is a file within the folder that would be served itself.
    fn linked(&self, path: &VolumePath) -> Option<Stamp> {
        let file = self.read(path).ok()?;
        let found = file.metadata().ok()?;
        let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
        let within = real.strip_prefix(&self.path).ok()?;
        let hidden = within.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."));
        (!hidden).then(|| Stamp::of(&found))
    }

    /// Opens a regular file beneath the folder.
    pub fn read(&self, path: &VolumePath) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = match openat2(&self.root, path.as_str(), flags, Mode::empty(), beneath) {
            // A kernel or a sandbox without that call: then without any link at the end of the path.
            Err(Errno::NOSYS | Errno::PERM) => {
                openat(&self.root, path.as_str(), flags | OFlags::NOFOLLOW, Mode::empty())
            }
            opened => opened,
        };
        let file = File::from(opened?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

/// A file's stamp when it is open.
pub fn stamp(file: &File) -> io::Result<Stamp> {
    Ok(Stamp::of(&file.metadata()?))
}

fn add(scan: &mut Scan, path: VolumePath, stamp: Stamp, link: bool) -> Result<(), Problem> {
    if stamp.size > MAX_FILE_BYTES {
        scan.left_out.large += 1;
        return Ok(());
    }
    if scan.files.len() >= MAX_FILES {
        return Err(Problem::new(Code::TooLarge, format!("the folder has more than {MAX_FILES} files"))
            .next("name a smaller folder"));
    }
    scan.has_links |= link;
    scan.files.insert(path, stamp);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    fn path(text: &str) -> VolumePath {
        VolumePath::new(text).expect("valid")
    }

    fn names(scan: &Scan) -> Vec<&str> {
        scan.files.keys().map(VolumePath::as_str).collect()
    }

    #[test]
    fn files_are_found_and_the_rest_is_counted() {
        let (dir, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let root = dir.path().canonicalize().expect("there");
        fs::create_dir_all(root.join("a/b")).expect("made");
        fs::create_dir_all(root.join(".git")).expect("made");
        for file in ["index.html", "a/one", "a/b/two", ".env", ".git/config", "a/.hidden"] {
            fs::write(root.join(file), file).expect("written");
        }
        fs::write(outside.path().join("secret"), "s").expect("written");
        symlink("../index.html", root.join("a/inside")).expect("linked");
        symlink(outside.path().join("secret"), root.join("out")).expect("linked");
        symlink("../../../../../../etc/passwd", root.join("climb")).expect("linked");
        symlink("nowhere", root.join("broken")).expect("linked");
        symlink("a", root.join("folder")).expect("linked");
        symlink(".env", root.join("unhidden")).expect("linked");
        let _socket = UnixListener::bind(root.join("socket")).expect("bound");
        let tree = Tree::open(&root).expect("opens");
        let scan = tree.scan(&VolumePath::root()).expect("scanned");
        assert_eq!(names(&scan), ["a/b/two", "a/inside", "a/one", "index.html"]);
        assert_eq!(scan.left_out, LeftOut { dot: 3, links: 5, special: 1, ..LeftOut::default() });
        assert!(scan.has_links);
        assert_eq!(names(&tree.scan(&path("a/b")).expect("scanned")), ["a/b/two"]);
        assert_eq!(names(&tree.scan(&path("index.html")).expect("scanned")), ["index.html"]);
        for nothing in [".git", ".git/config", "folder/one", "index.html/x", "none", "out"] {
            assert!(tree.scan(&path(nothing)).expect("scanned").files.is_empty(), "{nothing}");
        }
    }

    #[test]
    fn nothing_outside_is_opened() {
        let (dir, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let root = dir.path().canonicalize().expect("there");
        fs::write(outside.path().join("secret"), "s").expect("written");
        symlink(outside.path(), root.join("a")).expect("linked");
        symlink(outside.path().join("secret"), root.join("b")).expect("linked");
        let tree = Tree::open(&root).expect("opens");
        for there in ["a/secret", "b"] {
            assert!(tree.read(&path(there)).is_err(), "{there}");
        }
        fs::write(root.join("c"), "c").expect("written");
        assert!(tree.read(&path("c")).is_ok());
    }

    #[test]
    fn wrong_folders_are_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("file");
        fs::write(&file, "").expect("written");
        for (wrong, code) in [(dir.path().join("none"), Code::NotFound), (file, Code::Internal)] {
            let problem = Tree::open(&wrong).expect_err("no folder");
            assert_eq!(problem.code, code, "{problem}");
            assert!(problem.detail.contains(&wrong.display().to_string()) && !problem.next.is_empty(), "{problem}");
        }
        let closed = dir.path().join("closed");
        fs::create_dir(&closed).expect("made");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("mine");
        if !rustix::process::geteuid().is_root() {
            assert_eq!(Tree::open(&closed).expect_err("closed").code, Code::Denied);
        }
    }

    #[test]
    fn counts_in_words() {
        assert_eq!(LeftOut::default().in_words(), None);
        let some = LeftOut { dot: 2, special: 1, ..LeftOut::default() };
        assert_eq!(some.in_words().as_deref(), Some("2 files and folders with a dot in front, 1 special file"));
    }
}
