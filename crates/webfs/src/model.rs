//! What a volume holds, as values: manifests, entries, listings, and the statement that a home signs of a version.

mod policy;

pub use crate::manifest::{BlockRef, Manifest, ManifestError};
pub use policy::{POLICY_WORDS, Policy, PolicyError};

use crate::limits::{FLAT_BLOCKS, MAX_LINK_BYTES};
use crate::manifest::Node;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;
use terms::{Digest, Epoch, UnixMs, Version, VolumeName, VolumePath};

/// The kind (external data of the signature) of a signed [`ManifestStatement`].
pub const MANIFEST_KIND: &str = "webos-manifest-v1";

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

/// File, directory or symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link: another path of the same volume, followed by readers.
    Link,
}

/// An object's attributes at one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub kind: FileKind,
    /// A file's length: bytes; that of a link's text. Zero for a directory.
    pub size: u64,
    /// The root of a file's manifest; nothing for what is no file.
    pub etag: Option<Digest>,
    /// Which publication this is. A directory's rises with each change of its entries.
    pub version: ObjectVersion,
    /// When it was published, by the home's wall clock.
    pub modified: UnixMs,
    /// What is promised of its copies.
    #[serde(default, skip_serializing_if = "Policy::is_cto")]
    pub policy: Policy,
}

/// Where a symbolic link at this path leads, if that lies in the volume: relative to the directory that holds the link,
/// or from the volume's root with `/` at the beginning. `.` and `..` are taken out of the text before anything is looked
/// up.
pub fn link_target(path: &VolumePath, target: &str) -> Option<VolumePath> {
    if target.is_empty() || target.len() > MAX_LINK_BYTES {
        return None;
    }
    let mut at = if target.starts_with('/') { VolumePath::root() } else { path.parent()? };
    for segment in target.split('/') {
        at = match segment {
            "" | "." => at,
            ".." => at.parent()?,
            name => at.join(name).ok()?,
        };
    }
    Some(at)
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirEntry {
    /// The last segment of its path.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// A file's length: bytes; that of a link's text. Zero for a directory.
    pub size: u64,
    /// The root of a file's manifest; nothing for what is no file.
    pub etag: Option<Digest>,
    /// When it was published, by the home's wall clock.
    pub modified: UnixMs,
    /// Where a symbolic link leads, as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What is promised of its copies.
    #[serde(default, skip_serializing_if = "Policy::is_cto")]
    pub policy: Policy,
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
    /// The blocks in order; none if they form a tree.
    pub blocks: Vec<BlockRef>,
    /// The top node of a tree of blocks: [`Node::encode`].
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    pub top: Option<Vec<u8>>,
    /// When this version was published.
    pub at: UnixMs,
    /// What is promised of its copies.
    #[serde(default, skip_serializing_if = "Policy::is_cto")]
    pub policy: Policy,
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
            blocks: manifest.flat().unwrap_or_default().to_vec(),
            top: manifest.top().map(Node::encode),
            at: entry.modified,
            policy: entry.policy,
        }
    }

    /// Which publication this states.
    pub fn object_version(&self) -> ObjectVersion {
        ObjectVersion { epoch: self.epoch, version: self.version }
    }

    /// The manifest, if the statement agrees with itself. A signature alone does not say that it does.
    pub fn manifest(&self) -> Result<Manifest, ManifestError> {
        let manifest = match &self.top {
            Some(top) if self.blocks.is_empty() => Manifest::tree(self.size, Node::decode(top)?)?,
            Some(_) => return Err(ManifestError::Both),
            None if self.blocks.len() > FLAT_BLOCKS => {
                return Err(ManifestError::TooManyBlocks(self.blocks.len()));
            }
            None => Manifest::new(self.blocks.clone())?,
        };
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
            policy: self.policy,
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
/// Response header: the object's [`Policy`], if it is not `cto`.
pub const POLICY_HEADER: &str = "webos-policy";
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

/// Media type of one node of a tree of blocks, asked for with `Accept` and `?node=LEVEL.NUMBER`.
pub const NODE_TYPE: &str = "application/vnd.webos.manifest-node";

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
