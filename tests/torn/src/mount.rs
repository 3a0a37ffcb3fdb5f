//! The disk behind a mount point: translates the kernel's requests, decides nothing.
//!
//! Files are cached by the kernel and written through, so that shared mappings work as SQLite needs them.

use crate::disk::{Disk, Inode, Status};
use fuser::{
    AccessFlags, BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, Session, TimeOrNow,
    WriteFlags,
};
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nobody else changes the disk: the kernel may keep what it knows.
const KNOWN_FOR: Duration = Duration::from_hours(1);
/// The kernel sends no request at `close`, for which a dying process would have to wait.
const OPENED: FopenFlags = FopenFlags::FOPEN_NOFLUSH;
/// What `statfs` says is there, and free: blocks of a page.
const BLOCKS: u64 = 1 << 24;

#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Disk>>);

impl Shared {
    pub(crate) fn new(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(disk)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk, leaving an empty one that answers nothing.
    pub(crate) fn take(&self) -> Disk {
        let mut dead = Disk::default();
        dead.freeze();
        std::mem::replace(&mut self.lock(), dead)
    }

    pub(crate) fn mount(&self, at: &Path) -> io::Result<BackgroundSession> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("torn".into()), MountOption::DefaultPermissions];
        Session::new(Mounted(self.clone()), at, &config)?.spawn()
    }
}

struct Mounted(Shared);

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_i32(error.raw_os_error())
}

fn attributes(status: Status) -> FileAttr {
    FileAttr {
        ino: INodeNo(status.inode.0),
        size: status.size,
        blocks: status.size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: kind(status),
        perm: status.mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn kind(status: Status) -> FileType {
    if status.folder { FileType::Directory } else { FileType::RegularFile }
}

#[allow(clippy::cast_possible_truncation)] // the bits of permission are nine
fn permissions(mode: u32) -> u16 {
    (mode & 0o777) as u16
}

fn entry(reply: ReplyEntry, result: rustix::io::Result<Status>) {
    match result {
        Ok(status) => reply.entry(&KNOWN_FOR, &attributes(status), Generation(0)),
        Err(error) => reply.error(errno(error)),
    }
}

fn empty(reply: ReplyEmpty, result: rustix::io::Result<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, self.0.lock().lookup(Inode(parent.0), name));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.0.lock().status(Inode(ino.0)) {
            Ok(status) => reply.attr(&KNOWN_FOR, &attributes(status)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = self.0.lock();
        let inode = Inode(ino.0);
        let changed = mode
            .map_or(Ok(()), |mode| disk.set_mode(inode, permissions(mode)))
            .and_then(|()| size.map_or(Ok(()), |size| disk.resize(inode, size)))
            .and_then(|()| disk.status(inode));
        match changed {
            Ok(status) => reply.attr(&KNOWN_FOR, &attributes(status)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        entry(reply, self.0.lock().make_folder(Inode(parent.0), name, permissions(mode)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.0.lock().remove(Inode(parent.0), name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.0.lock().remove(Inode(parent.0), name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if parent != newparent || !flags.is_empty() {
            return reply.error(Errno::EXDEV);
        }
        empty(reply, self.0.lock().rename(Inode(parent.0), name, newname));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.0.lock().status(Inode(ino.0)) {
            Ok(_) => reply.opened(FileHandle(0), OPENED),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.0.lock().create(Inode(parent.0), name, permissions(mode)) {
            Ok(status) => {
                reply.created(&KNOWN_FOR, &attributes(status), Generation(0), FileHandle(0), OPENED);
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.lock().read(Inode(ino.0), offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.lock().write(Inode(ino.0), offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        empty(reply, self.0.lock().sync(Inode(ino.0)));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        empty(reply, self.0.lock().sync(Inode(ino.0)));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.0.lock().list(Inode(ino.0)) {
            Ok(names) => {
                for (number, (name, status)) in (1..).zip(names).skip(usize::try_from(offset).unwrap_or(usize::MAX))
                {
                    if reply.add(INodeNo(status.inode.0), number, kind(status), name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, 4096, 255, 4096);
    }
}
