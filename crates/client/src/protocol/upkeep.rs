//! The upkeep of a volume at its home, asked for by the owners of the node.

use serde::{Deserialize, Serialize};
use terms::VolumeName;
use webfs::store::{Collected, Report};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpkeepRequest {
    /// Check that it is whole.
    Check(VolumeName),
    /// Remove what nobody needs.
    Collect(VolumeName),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpkeepReply {
    /// What the check found.
    Checked(VolumeChecked),
    /// What was removed.
    Collected(VolumeCollected),
}

/// What a check of a volume found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeChecked {
    /// Files: count.
    pub files: u64,
    /// Directories with the root: count.
    pub directories: u64,
    /// Symbolic links: count.
    pub links: u64,
    /// Block files, checked byte by byte: count.
    pub blocks: u64,
    /// Content, replaced versions included: bytes.
    pub bytes: u64,
    /// Block files of no file: count.
    pub orphans: u64,
    /// What is wrong.
    pub faults: Vec<String>,
}

impl From<Report> for VolumeChecked {
    fn from(report: Report) -> Self {
        let Report { files, directories, links, blocks, bytes, orphans, faults } = report;
        let faults = faults.iter().map(ToString::to_string).collect();
        Self { files, directories, links, blocks, bytes, orphans, faults }
    }
}

/// What a collection removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeCollected {
    /// Replaced versions: count.
    pub versions: u64,
    /// Block files: count.
    pub blocks: u64,
    /// Recorded operations: count.
    pub operations: u64,
    /// Access control lists: count.
    pub lists: u64,
}

impl From<Collected> for VolumeCollected {
    fn from(collected: Collected) -> Self {
        let Collected { versions, blocks, operations, buckets } = collected;
        Self { versions, blocks, operations, lists: buckets }
    }
}
