//! A volume in the making: its folder, a draft of its database, its block folders. It becomes a volume in one step;
//! until then a crash, or an error, leaves nothing that could be taken for one.

use super::blocks::{BlockFolder, Disk};
use super::error::StoreError;
use super::{BLOCKS, DATABASE, DRAFT, Store, lock};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use world::World;

/// What SQLite may have left beside the draft.
const LEFTOVERS: [&str; 3] = ["volume.db.new-wal", "volume.db.new-shm", "volume.db.new-journal"];

pub(super) struct Making {
    dir: PathBuf,
    disk: Box<dyn Disk>,
    lock: File,
}

impl Making {
    /// Makes the folder with an empty draft, and the block folders. A folder that has lost the database of its volume
    /// is refused.
    pub(super) fn begin(dir: &Path, disk: Box<dyn Disk>) -> Result<Self, StoreError> {
        let failed = |error| StoreError::io("making the volume's folder", dir, error);
        DirBuilder::new().mode(0o700).recursive(true).create(dir).map_err(failed)?;
        let making = Self { dir: dir.into(), disk, lock: lock(dir)? };
        let blocks = making.blocks();
        if dir.join(DATABASE).exists() {
            return Err(StoreError::VolumeExists { dir: dir.into() });
        }
        // The draft is there before the block folders, and until it becomes the database in one step: a crash on the
        // way can be told from a database that is lost.
        if blocks.exists() && !making.draft().exists() {
            return Err(StoreError::NoDatabase { dir: dir.into() });
        }
        making.remove_leftovers();
        // SQLite gives its log the mode of its file.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(making.draft()).map_err(failed)?;
        making.disk.sync_folder(dir).map_err(failed)?;
        BlockFolder::create(&blocks, &*making.disk)?;
        Ok(making)
    }

    /// The database to be filled, and closed before the end.
    pub(super) fn draft(&self) -> PathBuf {
        self.dir.join(DRAFT)
    }

    pub(super) fn blocks(&self) -> PathBuf {
        self.dir.join(BLOCKS)
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    fn remove_leftovers(&self) {
        for leftover in LEFTOVERS {
            let _ = fs::remove_file(self.dir.join(leftover));
        }
    }

    /// The draft becomes the volume's database.
    pub(super) fn finish(self, world: World) -> Result<Store, StoreError> {
        let failed = |error| StoreError::io("making the volume's folder", &self.dir, error);
        fs::rename(self.draft(), self.dir.join(DATABASE)).map_err(failed)?;
        self.disk.sync_folder(&self.dir).map_err(failed)?;
        sync_above(&self.dir, &*self.disk).map_err(failed)?;
        Store::open_locked(&self.dir, self.lock, world, self.disk)
    }

    /// Removes all that was made. What cannot be removed stays a draft, in the place of which a volume can be made.
    pub(super) fn abandon(self) {
        let removed = fs::remove_dir_all(self.blocks()).and_then(|()| {
            self.remove_leftovers();
            fs::remove_file(self.draft())
        });
        if let Err(error) = removed {
            tracing::warn!(dir = %self.dir.display(), %error, "what was begun of a volume stays there");
            return;
        }
        let _ = fs::remove_file(self.dir.join(super::LOCK)).and_then(|()| fs::remove_dir(&self.dir));
    }
}

/// Makes the names of a folder and of all above it durable: any of them may have been made just now, or by an
/// attempt that did not get this far. Folders that may not be opened are not of our making.
fn sync_above(dir: &Path, disk: &dyn Disk) -> io::Result<()> {
    for above in std::path::absolute(dir)?.ancestors().skip(1) {
        match disk.sync_folder(above) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            synced => synced?,
        }
    }
    Ok(())
}
