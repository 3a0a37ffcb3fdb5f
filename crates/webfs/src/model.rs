//! What a volume holds, as values: manifests, entries, listings, and the statement that a home signs of a version.

use crate::limits::{BLOCK_BYTES, MAX_BLOCKS};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use terms::{Digest, Epoch, UnixMs, Version, VolumeName, VolumePath};

/// The kind (external data of the signature) of a signed [`ManifestStatement`].
pub const MANIFEST_KIND: &str = "webos-manifest-v1";

/// One block of a manifest: its length in bytes and its BLAKE3 hash. On the wire an array of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, Digest)", into = "(u32, Digest)")]
pub struct BlockRef {
    /// Length: bytes.
    pub len: u32,
    /// The hash of the block's bytes.
    pub hash: Digest,
}

impl BlockRef {
    /// The reference to a block with this content.
    ///
    /// # Panics
    /// If it is longer than [`BLOCK_BYTES`]: only our own cutting makes blocks.
    pub fn of(bytes: &[u8]) -> Self {
        assert!(bytes.len() as u64 <= BLOCK_BYTES, "a block is at most {BLOCK_BYTES} bytes");
        #[allow(clippy::cast_possible_truncation)] // asserted above
        let len = bytes.len() as u32;
        Self { len, hash: Digest::of(bytes) }
    }

    /// Whether these bytes are the block.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == u64::from(self.len) && Digest::of(bytes) == self.hash
    }
}

impl From<(u32, Digest)> for BlockRef {
    fn from((len, hash): (u32, Digest)) -> Self {
        Self { len, hash }
    }
}

impl From<BlockRef> for (u32, Digest) {
    fn from(block: BlockRef) -> Self {
        (block.len, block.hash)
    }
}

/// Why a list of blocks is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More blocks than a manifest may have.
    #[error("a manifest of {0} blocks is too long: at most {MAX_BLOCKS}")]
    TooManyBlocks(usize),
    /// A block is empty, too long, or short before the end.
    #[error(
        "block {index} of the manifest has {len} bytes: all but the last have {BLOCK_BYTES}, the last 1 to that"
    )]
    BlockLength {
        /// Which block.
        index: usize,
        /// Its length as stated.
        len: u32,
    },
    /// The stated size or root is not what the blocks give.
    #[error(
        "the manifest states size {size} and root {root}, its blocks give size {found_size} and root {found_root}"
    )]
    Disagrees {
        /// Size as stated: bytes.
        size: u64,
        /// Root as stated.
        root: Digest,
        /// Size of the blocks: bytes.
        found_size: u64,
        /// Root of the blocks.
        found_root: Digest,
    },
}

/// A file's content as a list of blocks. Valid by construction; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    size: u64,
    root: Digest,
    blocks: Arc<[BlockRef]>,
}

impl Manifest {
    /// The manifest of these blocks, in order.
    pub fn new(blocks: Vec<BlockRef>) -> Result<Self, ManifestError> {
        if blocks.len() > MAX_BLOCKS {
            return Err(ManifestError::TooManyBlocks(blocks.len()));
        }
        for (index, block) in blocks.iter().enumerate() {
            let len = u64::from(block.len);
            let last = index + 1 == blocks.len();
            if len == 0 || len > BLOCK_BYTES || (!last && len != BLOCK_BYTES) {
                return Err(ManifestError::BlockLength { index, len: block.len });
            }
        }
        let size = blocks.iter().map(|block| u64::from(block.len)).sum();
        Ok(Self { size, root: root_of(size, &blocks), blocks: blocks.into() })
    }

    /// The manifest of this content, which is in memory.
    pub fn of(content: &[u8]) -> Result<Self, ManifestError> {
        #[allow(clippy::cast_possible_truncation)] // 1 MiB
        Self::new(content.chunks(BLOCK_BYTES as usize).map(BlockRef::of).collect())
    }

    /// The file's length: bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hash over length and block hashes: what the strong `ETag` shows.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The blocks in order.
    pub fn blocks(&self) -> &[BlockRef] {
        &self.blocks
    }

    /// Which bytes of the file a block holds.
    pub fn bytes_of(&self, index: usize) -> Range<u64> {
        let start = index as u64 * BLOCK_BYTES;
        start..(start + BLOCK_BYTES).min(self.size)
    }

    /// Which blocks hold these bytes of the file.
    #[allow(clippy::cast_possible_truncation)] // at most MAX_BLOCKS
    pub fn blocks_of(&self, bytes: &Range<u64>) -> Range<usize> {
        let end = bytes.end.min(self.size);
        if bytes.start >= end {
            return 0..0;
        }
        (bytes.start / BLOCK_BYTES) as usize..end.div_ceil(BLOCK_BYTES) as usize
    }
}

/// `BLAKE3("webos-manifest-v1" || size u64 LE || for each block: len u32 LE, hash)`.
fn root_of(size: u64, blocks: &[BlockRef]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(MANIFEST_KIND.as_bytes());
    hasher.update(&size.to_le_bytes());
    for block in blocks {
        hasher.update(&block.len.to_le_bytes());
        hasher.update(&block.hash.0);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// Which publication of an object: versions compare within and across epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ObjectVersion {
    /// The home's epoch at publication.
    pub epoch: Epoch,
    /// The version within the epoch. It is the change number of the publication, so that it rises even when a
    /// path is removed and created again.
    pub version: Version,
}

impl fmt::Display for ObjectVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.version)
    }
}

impl std::str::FromStr for ObjectVersion {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('.').and_then(|(epoch, version)| {
            Some(Self { epoch: Epoch(epoch.parse().ok()?), version: Version(version.parse().ok()?) })
        });
        parsed.ok_or_else(|| format!("'{}' is not EPOCH.VERSION", text.escape_default()))
    }
}

/// File or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A file.
    File,
    /// A directory.
    Directory,
}

/// An object's attributes at one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// File or directory.
    pub kind: FileKind,
    /// A file's length: bytes. Zero for a directory.
    pub size: u64,
    /// The root of a file's manifest; nothing for a directory.
    pub etag: Option<Digest>,
    /// Which publication this is. A directory's rises with each change of its entries.
    pub version: ObjectVersion,
    /// When it was published, by the home's wall clock.
    pub modified: UnixMs,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirEntry {
    /// The last segment of its path.
    pub name: String,
    /// File or directory.
    pub kind: FileKind,
    /// A file's length: bytes. Zero for a directory.
    pub size: u64,
    /// The root of a file's manifest; nothing for a directory.
    pub etag: Option<Digest>,
    /// When it was published, by the home's wall clock.
    pub modified: UnixMs,
}

/// A directory's entries, ordered by the bytes of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Listing {
    /// At most [`crate::limits::LIST_PAGE`] of them.
    pub entries: Vec<DirEntry>,
    /// Whether there are more after the last one: ask again with its name as `after`.
    #[serde(default)]
    pub more: bool,
}

/// What the home states, and signs, of one version of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestStatement {
    /// The volume.
    pub volume: VolumeName,
    /// The file's path in it.
    pub path: VolumePath,
    /// The home's epoch at publication.
    pub epoch: Epoch,
    /// The version within the epoch.
    pub version: Version,
    /// The file's length: bytes.
    pub size: u64,
    /// The root over the blocks; the `ETag`.
    pub root: Digest,
    /// The blocks in order.
    pub blocks: Vec<BlockRef>,
    /// When this version was published.
    pub at: UnixMs,
}

impl ManifestStatement {
    /// The statement of this version.
    pub fn new(volume: &VolumeName, path: &VolumePath, entry: &Entry, manifest: &Manifest) -> Self {
        Self {
            volume: volume.clone(),
            path: path.clone(),
            epoch: entry.version.epoch,
            version: entry.version.version,
            size: manifest.size(),
            root: manifest.root(),
            blocks: manifest.blocks().to_vec(),
            at: entry.modified,
        }
    }

    /// Which publication this states.
    pub fn object_version(&self) -> ObjectVersion {
        ObjectVersion { epoch: self.epoch, version: self.version }
    }

    /// The manifest, if the statement agrees with itself. A signature alone does not say that it does.
    pub fn manifest(&self) -> Result<Manifest, ManifestError> {
        let manifest = Manifest::new(self.blocks.clone())?;
        if (manifest.size(), manifest.root()) != (self.size, self.root) {
            return Err(ManifestError::Disagrees {
                size: self.size,
                root: self.root,
                found_size: manifest.size(),
                found_root: manifest.root(),
            });
        }
        Ok(manifest)
    }

    /// The attributes that the statement proves.
    pub fn entry(&self) -> Entry {
        Entry {
            kind: FileKind::File,
            size: self.size,
            etag: Some(self.root),
            version: self.object_version(),
            modified: self.at,
        }
    }
}

/// A [`ManifestStatement`] under its home's signature: the bytes of a COSE document of kind [`MANIFEST_KIND`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignedManifest(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl SignedManifest {
    /// As the header [`MANIFEST_HEADER`] carries it: base64url without padding.
    pub fn to_header(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0)
    }

    /// The bytes that such a header carries; nothing if it is damaged.
    pub fn from_header(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok().map(Self)
    }
}

/// Response header: the signed manifest, if it is short.
pub const MANIFEST_HEADER: &str = "webos-manifest";
/// Response header: [`ObjectVersion`] as `EPOCH.VERSION`.
pub const VERSION_HEADER: &str = "webos-version";
/// Response header: the volume's change number that the answer takes in.
pub const CHANGE_HEADER: &str = "webos-change";
/// Response header of a PUT: the length of the file now, in bytes.
pub const SIZE_HEADER: &str = "webos-size";
/// Request header of a mutation: `SESSIONHEX.SEQUENCE`, so that a retry is answered and not repeated.
pub const OPERATION_HEADER: &str = "webos-operation";
/// Request header of a mutation: the epoch of the lock under which it is made, as `EPOCH.NUMBER`.
pub const LOCK_HEADER: &str = "webos-lock";
/// Request header of a PUT: `?1` creates missing directories above the file.
pub const PARENTS_HEADER: &str = "webos-parents";
/// Media type of a signed manifest, asked for with `Accept`.
pub const MANIFEST_TYPE: &str = "application/vnd.webos.manifest+cbor";

/// The strong `ETag` of content with this root: the same at every server.
pub fn etag_text(root: Digest) -> String {
    format!("\"{root}\"")
}

/// The root in a strong `ETag` of ours; nothing for any other text.
pub fn etag_root(text: &str) -> Option<Digest> {
    text.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

#[cfg(test)]
mod tests;
