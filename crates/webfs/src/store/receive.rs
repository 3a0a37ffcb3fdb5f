//! A volume that comes in several streams: dumps of one volume, each without the blocks of those before. Only the last
//! one counts, and becomes the volume in one step; until then a crash leaves nothing that could be taken for one.

use super::Store;
use super::blocks::{BlockFolder, BlockName, RealDisk};
use super::error::StoreError;
use super::making::Making;
use super::restore::{Restored, receive, seal};
use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use terms::{Epoch, VolumeName};
use world::World;

/// A volume on its way in. All of it blocks the thread.
pub struct Receiving {
    making: Making,
    names: HashSet<BlockName>,
    world: World,
}

impl Receiving {
    /// Makes room in `dir`. What an earlier attempt has left there goes; a volume that is there is refused.
    pub fn begin(dir: &Path, world: World) -> Result<Self, StoreError> {
        let making = Making::begin(dir, Box::new(RealDisk))?;
        let blocks = making.blocks();
        std::fs::remove_dir_all(&blocks)
            .map_err(|error| StoreError::io("removing what was begun", &blocks, error))?;
        BlockFolder::create(&blocks, making.disk())?;
        Ok(Self { making, names: HashSet::new(), world })
    }

    /// Takes one stream. It is checked and on disk when this returns.
    pub fn take(&mut self, input: impl Read) -> Result<(), StoreError> {
        receive(&self.making, &mut self.names, input, &self.world)
    }

    /// Makes the volume of the last stream, under this name and in an epoch above its own and above `seen`.
    pub fn finish(self, name: &VolumeName, seen: Epoch) -> Result<(Store, Restored), StoreError> {
        match seal(&self.making, &self.names, name, seen) {
            Ok(restored) => Ok((self.making.finish(self.world)?, restored)),
            Err(error) => {
                self.making.abandon();
                Err(error)
            }
        }
    }

    /// Gives up: nothing stays.
    pub fn abandon(self) {
        self.making.abandon();
    }
}
