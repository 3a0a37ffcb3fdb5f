//! Reading the metadata: walking a path, the content of a file, listings. All within one read transaction.

use super::blocks::BlockName;
use super::content::Tree;
use super::error::StoreError;
use super::placed::Placed;
use super::schema::{KIND_DIRECTORY, KIND_LINK, ROOT};
use super::tree;
use crate::limits::INLINE_BYTES;
use crate::model::{
    DirEntry, Entry, FileKind, Listing, Manifest, ManifestStatement, ObjectVersion, Policy, PolicyError,
    SignedManifest,
};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::sync::{Arc, OnceLock};
use terms::{Digest, Epoch, UnixMs, Version, VolumeName, VolumePath};

/// A file or directory at one version. Keeps its content readable for as long as the version's blocks are kept.
pub struct Object {
    /// Its path when it was looked up.
    pub path: VolumePath,
    /// Its attributes.
    pub entry: Entry,
    /// The hash of its access control list; [`super::Store::bucket`] has the list.
    pub bucket: Digest,
    pub(super) content: Content,
    signed: OnceLock<SignedManifest>,
}

/// What the known nodes and names of a tree take in memory: bytes, roughly.
const TREE_BYTES: usize = 128 << 10;

pub(super) enum Content {
    Directory,
    Link {
        target: String,
    },
    Inline {
        manifest: Manifest,
        bytes: Bytes,
    },
    /// A list of blocks; nothing for a hole.
    Blocks {
        manifest: Manifest,
        line: i64,
        names: Arc<[Option<BlockName>]>,
    },
    Tree(Box<Tree>),
}

impl Content {
    fn manifest(&self) -> Option<&Manifest> {
        match self {
            Self::Directory | Self::Link { .. } => None,
            Self::Inline { manifest, .. } | Self::Blocks { manifest, .. } => Some(manifest),
            Self::Tree(tree) => Some(&tree.manifest),
        }
    }
}

impl Object {
    /// The file's manifest; nothing for a directory.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.content.manifest()
    }

    /// Where a symbolic link leads, as it was written; nothing for a file or directory.
    pub fn target(&self) -> Option<&str> {
        match &self.content {
            Content::Link { target } => Some(target),
            Content::Directory | Content::Inline { .. } | Content::Blocks { .. } | Content::Tree(_) => None,
        }
    }

    /// The file's content, if it is short enough to lie in the database.
    pub fn inline(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Inline { bytes, .. } => Some(bytes),
            Content::Directory | Content::Link { .. } | Content::Blocks { .. } | Content::Tree(_) => None,
        }
    }

    /// The signed statement of this version, made once: `sign` gets the statement. Nothing for a directory, or if
    /// it cannot be signed.
    pub fn signed_manifest(
        &self,
        volume: &VolumeName,
        sign: impl FnOnce(&ManifestStatement) -> Option<Vec<u8>>,
    ) -> Option<&SignedManifest> {
        let manifest = self.manifest()?;
        if self.signed.get().is_none() {
            let bytes = sign(&ManifestStatement::new(volume, &self.path, &self.entry, manifest))?;
            // Two at once: either signature will do.
            let _ = self.signed.set(SignedManifest(bytes));
        }
        self.signed.get()
    }

    /// What it costs to keep in memory: bytes, roughly, with the signed manifest to come.
    pub(super) fn weight(&self) -> usize {
        let content = match &self.content {
            Content::Directory => 0,
            Content::Link { target } => target.len(),
            Content::Inline { bytes, .. } => bytes.len(),
            Content::Blocks { names, .. } => 17 * names.len(),
            Content::Tree(_) => TREE_BYTES,
        };
        600 + 2 * self.path.as_str().len() + content + self.manifest().map_or(0, |m| 2 * m.weight())
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object").field("path", &self.path).field("entry", &self.entry).finish_non_exhaustive()
    }
}

/// What stands at a path.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// The object.
    Found(Arc<Object>),
    /// Nothing: rights are decided on the nearest existing object above.
    Missing(Missing),
}

/// The nearest existing object above a path at which nothing stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its path.
    pub nearest: VolumePath,
    /// A file here means that the path leads through a file, a link that it leads through a link.
    pub kind: FileKind,
    /// Where the link leads, as it was written.
    pub target: Option<String>,
    /// The hash of its access control list.
    pub bucket: Digest,
}

impl Lookup {
    /// The hash of the access control list that governs the path.
    pub fn bucket(&self) -> Digest {
        match self {
            Self::Found(object) => object.bucket,
            Self::Missing(missing) => missing.bucket,
        }
    }

    /// The path itself, or the nearest existing one above.
    pub fn nearest(&self) -> &VolumePath {
        match self {
            Self::Found(object) => &object.path,
            Self::Missing(missing) => &missing.nearest,
        }
    }
}

/// A row of `node`.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) id: i64,
    pub(super) kind: FileKind,
    pub(super) content: Option<i64>,
    pub(super) target: Option<String>,
    /// Of the path by which it was reached: that of the object, or of the move that put it there.
    pub(super) version: ObjectVersion,
    pub(super) modified: UnixMs,
    pub(super) bucket: Digest,
    pub(super) policy: Policy,
}

pub(super) const NODE_COLUMNS: &str =
    "node.id, node.kind, node.content, node.target, node.epoch, node.version, node.modified,
     (SELECT hash FROM bucket WHERE bucket.id = node.bucket), node.policy";

impl Node {
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            kind: kind_of(row.get(1)?),
            content: row.get(2)?,
            target: row.get(3)?,
            version: version_of(row.get(4)?, row.get(5)?),
            modified: UnixMs(row.get::<_, i64>(6)?.cast_unsigned()),
            bucket: Digest(row.get(7)?),
            policy: policy_of(row, 8)?,
        })
    }
}

/// A policy as it is stored: none is the usual one.
fn policy_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Policy> {
    let Some(text) = row.get::<_, Option<String>>(column)? else { return Ok(Policy::default()) };
    text.parse().map_err(|error: PolicyError| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
    })
}

fn kind_of(stored: i64) -> FileKind {
    match stored {
        KIND_DIRECTORY => FileKind::Directory,
        KIND_LINK => FileKind::Link,
        _ => FileKind::File,
    }
}

fn version_of(epoch: i64, version: i64) -> ObjectVersion {
    ObjectVersion { epoch: Epoch(epoch.cast_unsigned()), version: Version(version.cast_unsigned()) }
}

/// How far a path leads: the last existing node on the way, and how many segments lead to it.
pub(super) struct Walk {
    pub(super) node: Node,
    pub(super) depth: usize,
    pub(super) complete: bool,
}

/// Walks from the root as far as nodes exist. A move of a directory gives all below it the move's version, so that
/// no path ever goes back to a lower one.
pub(super) fn walk(database: &Connection, path: &VolumePath) -> rusqlite::Result<Walk> {
    let mut root = database.prepare_cached(&format!("SELECT {NODE_COLUMNS} FROM node WHERE id = ?1"))?;
    let mut child = database.prepare_cached(&format!(
        "SELECT {NODE_COLUMNS}, name.epoch, name.version FROM name JOIN node ON node.id = name.node
         WHERE name.parent = ?1 AND name.name = ?2"
    ))?;
    let mut node = root.query_row([ROOT], Node::from_row)?;
    let mut moved = ObjectVersion::default();
    for (depth, segment) in path.segments().enumerate() {
        let found = child.query_row(params![node.id, segment], |row| {
            Ok((Node::from_row(row)?, version_of(row.get(9)?, row.get(10)?)))
        });
        let Some((mut next, named)) = found.optional()? else { return Ok(Walk { node, depth, complete: false }) };
        moved = moved.max(named);
        next.version = next.version.max(moved);
        node = next;
    }
    Ok(Walk { node, depth: path.segments().count(), complete: true })
}

/// All below a node, itself included, as the table `below (id)`.
pub(super) const BELOW: &str = "WITH RECURSIVE below (id) AS
     (SELECT ?1 UNION SELECT name.node FROM name JOIN below ON name.parent = below.id)";

/// The distinct access control lists of a node and all below it.
pub(super) fn buckets_below(database: &Connection, node: i64) -> rusqlite::Result<Vec<Digest>> {
    let mut query = database.prepare_cached(&format!(
        "{BELOW} SELECT hash FROM bucket WHERE id IN (SELECT bucket FROM node WHERE node.id IN below)"
    ))?;
    let rows = query.query_map([node], |row| row.get(0).map(Digest))?;
    rows.collect()
}

/// The first `depth` segments of a path.
pub(super) fn prefix(path: &VolumePath, depth: usize) -> VolumePath {
    let surplus = path.segments().count().saturating_sub(depth);
    (0..surplus).fold(path.clone(), |path, _| path.parent().unwrap_or_default())
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::database("looking up a path", error)
}

pub(super) fn lookup(database: &Connection, path: &VolumePath) -> Result<Lookup, StoreError> {
    let Walk { node, depth, complete } = walk(database, path).map_err(failed)?;
    if !complete {
        let nearest = prefix(path, depth);
        return Ok(Lookup::Missing(Missing { nearest, kind: node.kind, target: node.target, bucket: node.bucket }));
    }
    let content = match (node.content, &node.target) {
        (Some(id), _) => content(database, id)?,
        (None, Some(target)) => Content::Link { target: target.clone() },
        (None, None) => Content::Directory,
    };
    let object = Object {
        path: path.clone(),
        entry: entry(&node, &content),
        bucket: node.bucket,
        content,
        signed: OnceLock::new(),
    };
    Ok(Lookup::Found(Arc::new(object)))
}

fn entry(node: &Node, content: &Content) -> Entry {
    let manifest = content.manifest();
    let size = match content {
        Content::Link { target } => target.len() as u64,
        _ => manifest.map_or(0, Manifest::size),
    };
    Entry {
        kind: node.kind,
        size,
        etag: manifest.map(Manifest::root),
        version: node.version,
        modified: node.modified,
        policy: node.policy,
    }
}

/// A file's content, checked against itself: what the database says twice must agree.
pub(super) fn content(database: &Connection, id: i64) -> Result<Content, StoreError> {
    let (root, inline): ([u8; 32], Option<Vec<u8>>) = database
        .prepare_cached("SELECT root, inline FROM content WHERE id = ?1")
        .and_then(|mut query| query.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))))
        .map_err(failed)?;
    let damaged = |why: String| StoreError::Damaged { what: format!("content {id} in the database"), why };
    let content = match (inline, tree::placed(database, id)?) {
        (Some(bytes), None) if bytes.len() as u64 <= INLINE_BYTES => {
            let manifest = Manifest::of(&bytes).map_err(|error| damaged(error.to_string()))?;
            Content::Inline { manifest, bytes: bytes.into() }
        }
        (Some(bytes), None) => return Err(damaged(format!("{} bytes are too long to lie inline", bytes.len()))),
        (None, Some(placed)) => in_blocks(database, placed)?,
        _ => return Err(damaged("it lies neither inline nor in blocks, or in both".into())),
    };
    match content.manifest() {
        Some(manifest) if manifest.root() != Digest(root) => {
            Err(damaged(format!("its blocks give root {}, its row says {}", manifest.root(), Digest(root))))
        }
        _ => Ok(content),
    }
}

fn in_blocks(database: &Connection, placed: Placed) -> Result<Content, StoreError> {
    let manifest = placed.manifest(database)?;
    if manifest.top().is_some() {
        return Ok(Content::Tree(Box::new(Tree::new(manifest, placed))));
    }
    let count = manifest.block_count();
    let blocks = placed.blocks(database, 0..count as u64).map_err(failed)?;
    let names = (0..count as u64).map(|number| blocks.get(&number).map(|(name, _)| *name)).collect();
    Ok(Content::Blocks { manifest, line: placed.line, names })
}

/// One page of a directory's entries after `after`.
pub(super) fn list(
    database: &Connection,
    path: &VolumePath,
    after: &str,
    limit: usize,
) -> Result<Listing, StoreError> {
    let Walk { node, complete, .. } = walk(database, path).map_err(failed)?;
    if !complete {
        return Err(StoreError::NotFound { path: path.clone() });
    }
    if node.kind != FileKind::Directory {
        return Err(StoreError::NotDirectory { path: path.clone() });
    }
    let mut entries = page(database, node.id, after, limit + 1).map_err(failed)?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    Ok(Listing { entries, more })
}

fn page(database: &Connection, parent: i64, after: &str, rows: usize) -> rusqlite::Result<Vec<DirEntry>> {
    let mut query = database.prepare_cached(
        "SELECT name.name, node.kind, content.size, content.root, node.modified, node.target,
                node.policy
         FROM name JOIN node ON node.id = name.node LEFT JOIN content ON content.id = node.content
         WHERE name.parent = ?1 AND name.name > ?2 ORDER BY name.name LIMIT ?3",
    )?;
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let found = query.query_map(params![parent, after, rows], |row| {
        let target: Option<String> = row.get(5)?;
        let size = row.get::<_, Option<i64>>(2)?.map_or(0, i64::cast_unsigned);
        Ok(DirEntry {
            name: row.get(0)?,
            kind: kind_of(row.get(1)?),
            size: target.as_ref().map_or(size, |target| target.len() as u64),
            etag: row.get::<_, Option<[u8; 32]>>(3)?.map(Digest),
            modified: UnixMs(row.get::<_, i64>(4)?.cast_unsigned()),
            target,
            policy: policy_of(row, 6)?,
        })
    })?;
    found.collect()
}
