//! A volume out of a dump, under a new epoch: whoever saw the old one can tell the two apart. All of the dump is read
//! and checked before there is a volume; one that is cut short or altered leaves nothing.

use super::blocks::{BlockFolder, BlockName, Disk, RealDisk};
use super::dump::{FRAME_BLOCK, FRAME_DATABASE, FRAME_END, FRAME_HEAD, MAGIC, missing};
use super::error::StoreError;
use super::making::Making;
use super::{Store, schema, tree};
use crate::limits::BLOCK_BYTES;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use terms::{ChangeNumber, Epoch, VolumeName};
use world::World;

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The new epoch.
    pub epoch: Epoch,
    /// The last change that is there; what was changed after it is gone.
    pub change: ChangeNumber,
    /// Blocks: count.
    pub blocks: u64,
}

impl Store {
    /// Makes the volume of a dump in `dir`, under this name, in an epoch above its own and above `seen`. Blocks the
    /// thread.
    pub fn restore(
        dir: &Path,
        input: impl Read,
        name: &VolumeName,
        seen: Epoch,
        world: World,
    ) -> Result<(Self, Restored), StoreError> {
        Self::restore_on(dir, input, name, seen, world, Box::new(RealDisk))
    }

    pub(super) fn restore_on(
        dir: &Path,
        input: impl Read,
        name: &VolumeName,
        seen: Epoch,
        world: World,
        disk: Box<dyn Disk>,
    ) -> Result<(Self, Restored), StoreError> {
        let making = Making::begin(dir, disk)?;
        match fill(&making, input, name, seen, &world) {
            Ok(restored) => Ok((making.finish(world)?, restored)),
            Err(error) => {
                making.abandon();
                Err(error)
            }
        }
    }
}

fn fill(
    making: &Making,
    input: impl Read,
    name: &VolumeName,
    seen: Epoch,
    world: &World,
) -> Result<Restored, StoreError> {
    let mut names = HashSet::new();
    receive(making, &mut names, input, world)?;
    seal(making, &names, name, seen)
}

/// Gives the draft its name and its epoch, above its own and above `seen`, once all that it refers to is there.
pub(super) fn seal(
    making: &Making,
    names: &HashSet<BlockName>,
    name: &VolumeName,
    seen: Epoch,
) -> Result<Restored, StoreError> {
    let (database, row) = schema::writer(&making.draft(), &making.draft())?;
    let epoch = Epoch(row.epoch.max(seen).0.saturating_add(1));
    schema::rename(&database, name, epoch)?;
    let in_use = tree::blocks_in_use(&database)?;
    if let Some((absent, _)) = in_use.iter().find(|(name, _)| !names.contains(name)) {
        return Err(missing(*absent));
    }
    // Closing it brings its log into the file, synced: nothing else will know of the log under the draft's name.
    database.close().map_err(|(_, error)| StoreError::database("closing the restored database", error))?;
    Ok(Restored { epoch, change: row.change, blocks: names.len() as u64 })
}

fn damaged(why: impl Into<String>) -> StoreError {
    StoreError::Damaged { what: "the dump".into(), why: why.into() }
}

fn read_failed(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
        _ => StoreError::io("reading", "the dump", error),
    }
}

/// Puts every frame in its place, and syncs; `names` are the blocks that are there.
pub(super) fn receive(
    making: &Making,
    names: &mut HashSet<BlockName>,
    input: impl Read,
    world: &World,
) -> Result<(), StoreError> {
    let mut input = Hashed { input, hasher: blake3::Hasher::new() };
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic).map_err(read_failed)?;
    if magic != *MAGIC {
        return Err(damaged("it does not begin as a dump of a volume does"));
    }
    let blocks = BlockFolder::open(making.blocks(), world.clone(), Box::new(RealDisk));
    let mut database = false;
    loop {
        let whole = *input.hasher.finalize().as_bytes();
        let (kind, name, length) = head(&mut input)?;
        match kind {
            FRAME_DATABASE if !database => {
                receive_database(making, &mut input, length)?;
                database = true;
            }
            FRAME_BLOCK if (1..=BLOCK_BYTES).contains(&length) => {
                let mut bytes = vec![0; length as usize];
                input.read_exact(&mut bytes).map_err(read_failed)?;
                let path = blocks.path_of(name);
                let written = making.disk().write_new(&path, &bytes);
                written.map_err(|error| StoreError::io("writing a block", path, error))?;
                names.insert(name);
            }
            FRAME_END if database && length == 32 => {
                let mut hash = [0; 32];
                input.read_exact(&mut hash).map_err(read_failed)?;
                if hash != whole {
                    return Err(damaged("its content has another hash than it says"));
                }
                break;
            }
            _ => return Err(damaged("it has a part that no dump has")),
        }
    }
    for shard in names.iter().map(|name| name.0[0]).collect::<HashSet<u8>>() {
        let path = making.blocks().join(format!("{shard:02x}"));
        let synced = making.disk().sync_folder(&path);
        synced.map_err(|error| StoreError::io("syncing a block folder", path, error))?;
    }
    Ok(())
}

fn head(input: &mut impl Read) -> Result<(u8, BlockName, u64), StoreError> {
    let mut head = [0; FRAME_HEAD];
    input.read_exact(&mut head).map_err(read_failed)?;
    let (mut name, mut length) = ([0; 16], [0; 8]);
    name.copy_from_slice(&head[1..17]);
    length.copy_from_slice(&head[17..]);
    Ok((head[0], BlockName(name), u64::from_be_bytes(length)))
}

fn receive_database(making: &Making, input: &mut impl Read, length: u64) -> Result<(), StoreError> {
    let draft = making.draft();
    let failed = |error| StoreError::io("writing the database", &draft, error);
    let mut file: File = OpenOptions::new().write(true).truncate(true).open(&draft).map_err(failed)?;
    let copied = io::copy(&mut input.take(length), &mut file).map_err(failed)?;
    if copied < length {
        return Err(damaged("it ends too early"));
    }
    file.sync_all().map_err(failed)
}

struct Hashed<R> {
    input: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
