//! Where received files come to lie: below one folder and nowhere else, whole or not at all. Every step down goes
//! through the folder's own handle and follows no link, so neither a hostile name nor a link that waits in the
//! target leads out of it.

use crate::home::plain;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, fchmod, mkdirat, openat, readlinkat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use terms::{Code, Problem, VolumePath};
use webfs::limits::BLOCK_BYTES;
use webfs::manifest::is_zeros;
use world::World;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
const FOLDER_MODE: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO);
const FILE_MODE: Mode =
    Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP).union(Mode::WGRP).union(Mode::ROTH).union(Mode::WOTH);

/// The folder below which files land.
pub struct Target {
    root: OwnedFd,
    shown: PathBuf,
}

/// One file that is being received. Dropped before [`Landing::keep`], it leaves nothing.
pub struct Landing {
    folder: OwnedFd,
    draft: String,
    name: String,
    file: File,
    shown: PathBuf,
    kept: bool,
}

fn failed(what: &str, path: &Path, errno: Errno) -> Problem {
    if matches!(errno, Errno::LOOP | Errno::NOTDIR) {
        let problem =
            Problem::new(Code::Denied, format!("{} is a link or a file where a folder has to be", path.display()));
        return problem.next("nothing is written through it; choose another target or remove it");
    }
    crate::home::cannot(what, path, &errno.into())
}

impl Target {
    /// This folder, which is made if it is not there.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        std::fs::create_dir_all(path).map_err(|error| crate::home::cannot("make", path, &error))?;
        let root = openat(CWD, path, FOLDER, Mode::empty()).map_err(|errno| failed("open", path, errno))?;
        Ok(Self { root, shown: path.to_path_buf() })
    }

    /// Begins a file at this path below the folder; folders on the way are made.
    pub fn begin(&self, path: &VolumePath, world: &World) -> Result<Landing, Problem> {
        let name = path.name().ok_or_else(|| Problem::new(Code::Invalid, "a file needs a name"))?.to_string();
        let (folder, shown) = self.folder(&path.parent().unwrap_or_default())?;
        let draft = format!(".webos-{:016x}", world.entropy.number());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let shown = shown.join(&name);
        check_kind(&folder, &name, &shown)?;
        let file = openat(&folder, &draft, flags, FILE_MODE).map_err(|errno| failed("write", &shown, errno))?;
        Ok(Landing { folder, draft, name, file: File::from(file), shown, kept: false })
    }

    /// Makes a folder at this path.
    pub fn make(&self, path: &VolumePath) -> Result<(), Problem> {
        self.folder(path).map(drop)
    }

    fn folder(&self, path: &VolumePath) -> Result<(OwnedFd, PathBuf), Problem> {
        let mut shown = self.shown.clone();
        let at = |errno, shown: &Path| failed("open", shown, errno);
        let mut folder = self.root.try_clone().map_err(|error| crate::home::cannot("open", &shown, &error))?;
        for segment in path.segments() {
            shown.push(segment);
            match mkdirat(&folder, segment, FOLDER_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("make", &shown, errno)),
            }
            let next = openat(&folder, segment, FOLDER | OFlags::NOFOLLOW, Mode::empty());
            folder = next.map_err(|errno| at(errno, &shown))?;
        }
        Ok((folder, shown))
    }
}

impl Landing {
    /// More content.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let cannot = |error: std::io::Error| crate::home::cannot("write", &self.shown, &error);
        if bytes.len() as u64 == BLOCK_BYTES && is_zeros(bytes) {
            // A hole stays one: the end is moved behind it, and the next block is written there.
            let end = self.file.seek(SeekFrom::End(0)).map_err(cannot)? + BLOCK_BYTES;
            self.file.set_len(end).map_err(cannot)?;
            return self.file.seek(SeekFrom::End(0)).map(drop).map_err(cannot);
        }
        self.file.write_all(bytes).map_err(cannot)
    }

    /// Puts the complete file in its place; what was there before is replaced.
    pub fn keep(mut self) -> Result<(), Problem> {
        // Whom the file was for before may read it, and nobody else.
        if let Ok(before) = statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW)
            && FileType::from_raw_mode(before.st_mode) == FileType::RegularFile
        {
            fchmod(&self.file, Mode::from_raw_mode(before.st_mode))
                .map_err(|errno| failed("keep", &self.shown, errno))?;
        }
        match renameat(&self.folder, &self.draft, &self.folder, &self.name) {
            Ok(()) => {
                self.kept = true;
                Ok(())
            }
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                let problem = Problem::new(Code::Exists, format!("{} is a folder", self.shown.display()));
                Err(problem.next("name another target"))
            }
            Err(errno) => {
                let why = plain(&errno.into());
                Err(Problem::new(Code::Internal, format!("cannot keep {}: {why}", self.shown.display())))
            }
        }
    }
}

/// A file takes the place of a file or of a link; a device or a pipe is not for that.
fn check_kind(folder: &OwnedFd, name: &str, shown: &Path) -> Result<(), Problem> {
    let kind = |flags| Some(FileType::from_raw_mode(statat(folder, name, flags).ok()?.st_mode));
    let leads_to = match kind(AtFlags::SYMLINK_NOFOLLOW) {
        // `/dev/stdout` is such a link: without it the machine's other programs fail.
        Some(FileType::Symlink) if leads_to_open_file(folder, name) => Some(FileType::Unknown),
        Some(FileType::Symlink) => kind(AtFlags::empty()),
        other => other,
    };
    match leads_to {
        None | Some(FileType::RegularFile | FileType::Directory) => Ok(()),
        Some(_) => Err(Problem::new(
            Code::Exists,
            format!("{} is no regular file, and would be replaced by one", shown.display()),
        )
        .next("write to it with `webos cat … > FILE`")),
    }
}

fn leads_to_open_file(folder: &OwnedFd, name: &str) -> bool {
    readlinkat(folder, name, Vec::new()).is_ok_and(|link| link.to_bytes().starts_with(b"/proc/"))
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.kept {
            // A draft that cannot be removed stays under its telling name.
            let _ = unlinkat(&self.folder, &self.draft, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn path(text: &str) -> VolumePath {
        VolumePath::new(text).expect("valid")
    }

    fn land(target: &Target, at: &str, content: &[u8]) -> Result<(), Problem> {
        let (world, _) = World::simulated(1);
        let mut landing = target.begin(&path(at), &world)?;
        landing.write(content)?;
        landing.keep()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("readable")
            .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_land_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("new/target");
        let target = Target::open(&root).expect("made");
        land(&target, "a/b/c", b"one").expect("landed");
        land(&target, "a/b/c", b"two").expect("replaced");
        assert_eq!(fs::read(root.join("a/b/c")).expect("there"), b"two");
        let (world, _) = World::simulated(2);
        let mut broken = target.begin(&path("a/b/c"), &world).expect("begun");
        broken.write(b"half").expect("written");
        drop(broken);
        assert_eq!(fs::read(root.join("a/b/c")).expect("there"), b"two");
        assert_eq!(names(&root.join("a/b")), ["c"]);
        let problem = land(&target, "a/b", b"x").expect_err("a folder is there");
        assert_eq!(problem.code, Code::Exists);
        assert_eq!(names(&root.join("a")), ["b"], "no draft is left");
    }

    #[test]
    fn what_is_no_file_stays_and_a_private_file_stays_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let target = Target::open(folder.path()).expect("opened");
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
        let problem = land(&target, "pipe", b"x").expect_err("no file");
        assert_eq!((problem.code, problem.detail.contains("no regular file")), (Code::Exists, true));
        assert_eq!(names(folder.path()), ["pipe"], "and no draft is left");
        symlink("pipe", folder.path().join("link")).expect("made");
        symlink("/proc/self/fd/1", folder.path().join("stdout")).expect("made");
        for name in ["link", "stdout"] {
            assert_eq!(land(&target, name, b"x").expect_err("no file either").code, Code::Exists, "{name}");
            assert!(folder.path().join(name).is_symlink(), "{name}");
        }
        let private = folder.path().join("private");
        fs::write(&private, "mine").expect("written");
        fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).expect("set");
        land(&target, "private", b"new").expect("landed");
        assert_eq!(fs::metadata(&private).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn no_link_leads_out() {
        let (folder, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let target = Target::open(folder.path()).expect("opened");
        symlink(outside.path(), folder.path().join("out")).expect("made");
        let problem = land(&target, "out/x", b"x").expect_err("through a link");
        assert!(problem.detail.contains("link"), "{problem}");
        fs::write(outside.path().join("victim"), "mine").expect("written");
        symlink(outside.path().join("victim"), folder.path().join("file")).expect("made");
        land(&target, "file", b"theirs").expect("replaces the link itself");
        assert_eq!(fs::read(outside.path().join("victim")).expect("there"), b"mine");
        assert_eq!(names(outside.path()), ["victim"]);
        fs::write(folder.path().join("plain"), "").expect("written");
        assert!(land(&target, "plain/x", b"x").is_err(), "a file is no folder");
    }
}
