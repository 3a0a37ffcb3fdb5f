//! An opened object as a replica holds it: made only from an answer whose parts agree with each other and with the
//! home's signature.

use crate::manifest::Seeker;
use crate::model::{Entry, FileKind, Listing, MANIFEST_KIND, Manifest, ManifestStatement, Policy, SignedManifest};
use crate::session::{LinkAt, OpenAnswer, policy_of};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use terms::{ChangeNumber, Code, Problem, VolumeName, VolumePath};
use trust::{Bucket, PublicKey};

/// An object at one version, checked.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its path.
    pub path: VolumePath,
    /// Its attributes.
    pub entry: Entry,
    /// Who may do what.
    pub bucket: Arc<Bucket>,
    /// The home's change number that it takes in.
    pub change: ChangeNumber,
    /// What it holds.
    pub content: HeldContent,
}

/// What an object holds.
#[derive(Debug, Clone)]
pub enum HeldContent {
    /// A file.
    File {
        /// Its blocks.
        manifest: Manifest,
        /// The nodes that are known of their tree.
        seeker: Arc<Mutex<Seeker>>,
        /// The home's signature of them.
        signed: SignedManifest,
        /// Its bytes, if it is small.
        inline: Option<Bytes>,
    },
    /// A directory and its first entries.
    Directory(Listing),
    /// A symbolic link, here or above the path.
    Link(LinkAt),
}

/// An answer with its path, as the disk cache keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    path: VolumePath,
    answer: OpenAnswer,
}

impl Held {
    /// Checks what a home, or a relay of it, answered to an open of this path.
    pub fn check(
        volume: &VolumeName,
        path: &VolumePath,
        answer: OpenAnswer,
        home_key: &PublicKey,
    ) -> Result<Self, Problem> {
        let OpenAnswer { entry, bucket, change, takes_in, manifest, content, listing, link, .. } = answer;
        let change = takes_in.unwrap_or(change);
        let wrong =
            |what: &str| Problem::new(Code::Internal, format!("the home's answer for {volume}/{path} {what}"));
        let content = match (entry.kind, manifest, listing, link) {
            (FileKind::Directory, _, Some(listing), _) => HeldContent::Directory(listing),
            (FileKind::Link, _, _, Some(link)) if path.is_below(&link.at) => HeldContent::Link(link),
            (FileKind::File, Some(signed), _, _) => {
                let statement: ManifestStatement = trust::signed::open_with(&signed.0, MANIFEST_KIND, home_key)
                    .map_err(|error| wrong(&format!("carries a manifest that is not its own: {error}")))?;
                if statement.volume != *volume || statement.path != *path || statement.entry() != entry {
                    return Err(wrong("does not agree with the manifest that it signed"));
                }
                let manifest = statement.manifest().map_err(|error| wrong(&format!("is no manifest: {error}")))?;
                let inline = content.map(Bytes::from);
                let fits = |bytes: &Bytes| Manifest::of(bytes).is_ok_and(|found| found.root() == manifest.root());
                if inline.as_ref().is_some_and(|bytes| !fits(bytes)) {
                    return Err(wrong("has content that does not match its manifest"));
                }
                let seeker = Arc::new(Mutex::new(Seeker::new(manifest.clone())));
                HeldContent::File { manifest, seeker, signed, inline }
            }
            _ => return Err(wrong("lacks what it is about")),
        };
        Ok(Self { path: path.clone(), entry, bucket: Arc::new(bucket), change, content })
    }

    /// As the disk cache keeps it.
    pub fn to_record(&self) -> Vec<u8> {
        wire::cbor::to_vec(&Record { path: self.path.clone(), answer: self.answer() })
    }

    /// The answer of which it was made, without a callback.
    pub fn answer(&self) -> OpenAnswer {
        let once = OpenAnswer::once(self.entry, Bucket::clone(&self.bucket), self.change);
        match &self.content {
            HeldContent::File { signed, inline, .. } => {
                let content = inline.as_ref().map(|bytes| bytes.to_vec());
                OpenAnswer { manifest: Some(signed.clone()), content, ..once }
            }
            HeldContent::Directory(listing) => OpenAnswer { listing: Some(listing.clone()), ..once },
            HeldContent::Link(link) => OpenAnswer { link: Some(link.clone()), ..once },
        }
    }

    /// Reads and checks what [`Held::to_record`] wrote.
    pub fn from_record(volume: &VolumeName, record: &[u8], home_key: &PublicKey) -> Result<Self, Problem> {
        let Record { path, answer } = wire::cbor::from_slice(record)?;
        Self::check(volume, &path, answer, home_key)
    }

    /// What counts of its policy for copies of it.
    pub fn policy(&self) -> Policy {
        policy_of(&self.entry)
    }

    /// The file's manifest; nothing for a directory.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.content {
            HeldContent::File { manifest, .. } => Some(manifest),
            HeldContent::Directory(_) | HeldContent::Link(_) => None,
        }
    }

    /// Whether blocks are to be fetched for it.
    pub fn has_blocks(&self) -> bool {
        matches!(&self.content, HeldContent::File { inline: None, .. })
    }

    /// What it costs to keep in memory: bytes, roughly.
    pub fn weight(&self) -> u64 {
        let content = match &self.content {
            HeldContent::File { manifest, signed, inline, .. } => {
                2 * manifest.weight() + signed.0.len() + inline.as_ref().map_or(0, Bytes::len)
            }
            HeldContent::Directory(listing) => listing.entries.iter().map(|entry| 120 + entry.name.len()).sum(),
            HeldContent::Link(link) => link.at.as_str().len() + link.target.len(),
        };
        (500 + 2 * self.path.as_str().len() + 100 * self.bucket.entries().len() + content) as u64
    }
}
