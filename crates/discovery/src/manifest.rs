//! What the home signed of one version of a file, and the check of each block against it.
//!
//! The root is recomputed here, so a value of [`Manifest`] agrees with itself; who signed it is the business of
//! [`crate::verified`].

use crate::limits::{BLOCK_BYTES, MAX_FILE_BYTES};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use terms::{Digest, Epoch, UnixMs, Version, VolumeName, VolumePath};

/// The statement as it crosses the wire, signed by the home's key under [`crate::model::MANIFEST_KIND`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedManifest {
    /// The volume.
    pub volume: VolumeName,
    /// The file.
    pub path: VolumePath,
    /// The home's epoch.
    pub epoch: Epoch,
    /// The file's version within the epoch.
    pub version: Version,
    /// The file's length in bytes.
    pub size: u64,
    /// The hash over size and blocks; the file's strong ETag.
    pub root: Digest,
    /// Length and BLAKE3 hash of each block.
    pub blocks: Vec<(u32, Digest)>,
    /// When the home signed it.
    pub at: UnixMs,
}

/// Why a manifest was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The blocks do not add up to the size, or one has a wrong length.
    #[error("block {index} of the manifest has {len} bytes, which does not fit a file of {size} bytes")]
    Blocks {
        /// The block.
        index: usize,
        /// Its stated length.
        len: u32,
        /// The file's stated size.
        size: u64,
    },
    /// The root is not the hash of the rest.
    #[error("the manifest's root is {stated}, its content gives {computed}")]
    Root {
        /// As stated.
        stated: Digest,
        /// As computed.
        computed: Digest,
    },
    /// Longer than this build can check.
    #[error("the file has {size} bytes; this build checks files of at most {MAX_FILE_BYTES} bytes")]
    TooLarge {
        /// The file's stated size.
        size: u64,
    },
}

/// A manifest that agrees with itself: lengths add up and the root is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest(SignedManifest);

/// The root hash: `BLAKE3("webos-manifest-v1" || size u64 LE || for each block: length u32 LE, hash)`.
pub fn root_of(size: u64, blocks: &[(u32, Digest)]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"webos-manifest-v1");
    hasher.update(&size.to_le_bytes());
    for (len, hash) in blocks {
        hasher.update(&len.to_le_bytes());
        hasher.update(&hash.0);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// The root of content that is at hand in memory.
pub fn blocks_of(content: &[u8]) -> Vec<(u32, Digest)> {
    let block = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
    content.chunks(block).map(|part| (u32::try_from(part.len()).unwrap_or(u32::MAX), Digest::of(part))).collect()
}

impl Manifest {
    /// Checks that the statement agrees with itself.
    pub fn check(statement: SignedManifest) -> Result<Self, ManifestError> {
        let size = statement.size;
        if size > MAX_FILE_BYTES {
            return Err(ManifestError::TooLarge { size });
        }
        let mut at = 0u64;
        for (index, (len, _)) in statement.blocks.iter().enumerate() {
            if u64::from(*len) != BLOCK_BYTES.min(size.saturating_sub(at)) || *len == 0 {
                return Err(ManifestError::Blocks { index, len: *len, size });
            }
            at += u64::from(*len);
        }
        if at != size {
            return Err(ManifestError::Blocks { index: statement.blocks.len(), len: 0, size });
        }
        let computed = root_of(size, &statement.blocks);
        if computed != statement.root {
            return Err(ManifestError::Root { stated: statement.root, computed });
        }
        Ok(Self(statement))
    }

    /// The statement.
    pub fn statement(&self) -> &SignedManifest {
        &self.0
    }

    /// The file's length in bytes.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// How many blocks there are.
    pub fn block_count(&self) -> usize {
        self.0.blocks.len()
    }

    /// The strong ETag, with its quotes.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.0.root)
    }

    /// Which publication of the file: later ones compare greater.
    pub fn publication(&self) -> (Epoch, Version) {
        (self.0.epoch, self.0.version)
    }

    /// The bytes that a block covers; empty behind the end.
    pub fn range(&self, block: usize) -> Range<u64> {
        let start = (block as u64).saturating_mul(BLOCK_BYTES).min(self.0.size);
        start..start.saturating_add(BLOCK_BYTES).min(self.0.size)
    }

    /// Whether these bytes are the block.
    pub fn agrees(&self, block: usize, bytes: &[u8]) -> bool {
        self.0
            .blocks
            .get(block)
            .is_some_and(|(len, hash)| *len as usize == bytes.len() && Digest::of(bytes) == *hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(content: &[u8]) -> SignedManifest {
        let blocks = blocks_of(content);
        let size = content.len() as u64;
        SignedManifest {
            volume: "site.lab.example".parse().expect("valid"),
            path: VolumePath::new("a").expect("valid"),
            epoch: Epoch(1),
            version: Version(2),
            size,
            root: root_of(size, &blocks),
            blocks,
            at: UnixMs(7),
        }
    }

    #[test]
    fn a_manifest_must_agree_with_itself() {
        let block = usize::try_from(BLOCK_BYTES).expect("small");
        for len in [0, 1, block - 1, block, block + 1, 3 * block] {
            let manifest = Manifest::check(statement(&vec![7; len])).expect("agrees");
            let covered: u64 =
                (0..manifest.block_count()).map(|b| manifest.range(b).end - manifest.range(b).start).sum();
            assert_eq!(covered, len as u64);
        }
        let good = statement(&vec![7; block + 9]);
        let altered: [fn(&mut SignedManifest); 6] = [
            |m| m.size += 1,
            |m| m.root = Digest::of(b"x"),
            |m| m.blocks[0].1 = Digest::of(b"x"),
            |m| m.blocks[0].0 -= 1,
            |m| m.blocks.push((0, Digest::of(b""))),
            |m| m.blocks.truncate(1),
        ];
        for (index, alter) in altered.into_iter().enumerate() {
            let mut bad = good.clone();
            alter(&mut bad);
            assert!(Manifest::check(bad).is_err(), "alteration {index}");
        }
        let huge = SignedManifest { size: u64::MAX, ..good };
        assert_eq!(Manifest::check(huge), Err(ManifestError::TooLarge { size: u64::MAX }));
    }

    #[test]
    fn blocks_are_told_apart() {
        let manifest = Manifest::check(statement(b"hello")).expect("agrees");
        assert!(manifest.agrees(0, b"hello"));
        for (block, bytes) in [(0, &b"hellO"[..]), (0, b"hell"), (0, b""), (1, b"hello"), (usize::MAX, b"")] {
            assert!(!manifest.agrees(block, bytes));
        }
        assert_eq!(manifest.range(usize::MAX), 5..5);
    }
}
