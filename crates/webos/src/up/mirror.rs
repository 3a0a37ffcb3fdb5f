//! Makes the served folder of the volume equal to a folder here: finds what differs by content, copies and removes
//! only that. One owner uses it; a failed run changes nothing in what it believes and can be repeated.

use super::limits::{CHUNK_BYTES, COPIES_AT_ONCE};
use super::scan::{LeftOut, Stamp, Tree, stamp};
use bytes::BytesMut;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use terms::{Code, Digest, Problem, VolumePath};
use tokio::io::AsyncReadExt;
use webfs::limits::BLOCK_BYTES;
use webfs::model::{BlockRef, Manifest};

/// Where the copies go: the volume in the product, a map in tests. Paths are those within the served folder.
pub trait Shelf: Send + Sync {
    /// Every file with its content's root, and every directory.
    fn list(&self) -> BoxFuture<'_, Result<Listed, Problem>>;
    /// Stores a file, making the directories above it; answers with the root of what was stored.
    fn put<'a>(&'a self, path: &'a VolumePath, body: wire::Body) -> BoxFuture<'a, Result<Digest, Problem>>;
    /// Removes a file or an empty directory.
    fn remove<'a>(&'a self, path: &'a VolumePath) -> BoxFuture<'a, Result<(), Problem>>;
}

/// What is on a shelf.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// Files and the roots of their contents.
    pub files: BTreeMap<VolumePath, Digest>,
    /// Directories.
    pub folders: BTreeSet<VolumePath>,
}

/// What one run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Synced {
    /// Files copied.
    pub copied: Vec<VolumePath>,
    /// Files removed.
    pub removed: Vec<VolumePath>,
    /// What of the parts looked at is not served.
    pub left_out: LeftOut,
}

/// A folder and its copy.
pub struct Mirror<S> {
    tree: Arc<Tree>,
    shelf: S,
    there: Listed,
    /// Contents known without reading: as hashed when the file had this stamp.
    known: BTreeMap<VolumePath, (Stamp, Digest)>,
    has_links: bool,
}

impl<S: Shelf> Mirror<S> {
    /// Looks at what the copy holds already.
    pub async fn begin(tree: Tree, shelf: S) -> Result<Self, Problem> {
        let there = shelf.list().await?;
        Ok(Self { tree: Arc::new(tree), shelf, there, known: BTreeMap::new(), has_links: false })
    }

    /// The folder.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whether a change anywhere may change what is served under another name.
    pub fn has_links(&self) -> bool {
        self.has_links
    }

    /// Follows the folder's name to the folder that has it now. Answers whether it is another one.
    pub fn reopen(&mut self) -> Result<bool, Problem> {
        if self.tree.is_same() {
            return Ok(false);
        }
        self.tree = Arc::new(Tree::open(self.tree.path())?);
        Ok(true)
    }

    /// Makes everything at and below these paths equal.
    pub async fn sync(&mut self, below: &[VolumePath]) -> Result<Synced, Problem> {
        let mut done = Synced::default();
        for top in self.scopes(below) {
            self.sync_below(&top, &mut done).await?;
        }
        Ok(done)
    }

    /// The paths without those below others, and raised to a file of the copy that stands in the way.
    fn scopes(&self, below: &[VolumePath]) -> Vec<VolumePath> {
        let raised = below.iter().map(|path| {
            let above = std::iter::successors(path.parent(), VolumePath::parent);
            above.filter(|above| self.there.files.contains_key(above)).last().unwrap_or_else(|| path.clone())
        });
        let all: BTreeSet<VolumePath> = raised.collect();
        let covered = |path: &VolumePath| {
            std::iter::successors(path.parent(), VolumePath::parent).any(|above| all.contains(&above))
        };
        all.iter().filter(|path| !covered(path)).cloned().collect()
    }

    async fn sync_below(&mut self, top: &VolumePath, done: &mut Synced) -> Result<(), Problem> {
        let (tree, place) = (self.tree.clone(), top.clone());
        let scan = blocking(move || tree.scan(&place)).await??;
        if top.is_root() {
            self.has_links = scan.has_links;
        }
        self.has_links |= scan.has_links;
        add_up(&mut done.left_out, &scan.left_out);
        let (here, unreadable) = self.contents(scan.files).await?;
        done.left_out.unreadable += unreadable;
        let plan = plan(top, &here, &self.there);
        for path in &plan.clear {
            self.take_away(path, done).await?;
        }
        let copies = plan.put.into_iter().map(|path| {
            let (tree, shelf) = (self.tree.clone(), &self.shelf);
            async move { copy(tree, shelf, path).await }
        });
        // Each copy that arrived is noted even if a later one fails, so that a repetition does only the rest.
        let copied: Vec<_> = stream::iter(copies).buffer_unordered(COPIES_AT_ONCE).collect().await;
        let mut failed = None;
        for outcome in copied {
            match outcome {
                Ok(Some((path, stamp, root))) => {
                    self.there.folders.extend(std::iter::successors(path.parent(), VolumePath::parent));
                    self.there.files.insert(path.clone(), root);
                    self.known.insert(path.clone(), (stamp, root));
                    done.copied.push(path);
                }
                Ok(None) => {}
                Err(problem) => failed = Some(problem),
            }
        }
        if let Some(problem) = failed {
            return Err(problem);
        }
        for path in &plan.remove {
            self.take_away(path, done).await?;
        }
        Ok(())
    }

    /// The content roots of these files: known by their stamps, or read now. Counts what cannot be read.
    async fn contents(
        &mut self,
        files: BTreeMap<VolumePath, Stamp>,
    ) -> Result<(BTreeMap<VolumePath, (u64, Digest)>, u64), Problem> {
        let (mut here, mut unread) = (BTreeMap::new(), Vec::new());
        for (path, stamp) in files {
            match self.known.get(&path) {
                Some((known, root)) if *known == stamp => drop(here.insert(path, (stamp.size, *root))),
                _ => unread.push(path),
            }
        }
        let read = unread.into_iter().map(|path| {
            let tree = self.tree.clone();
            blocking(move || (hash(&tree, &path), path))
        });
        let mut unreadable = 0;
        let read: Vec<_> = stream::iter(read).buffered(COPIES_AT_ONCE).try_collect().await?;
        for (hashed, path) in read {
            match hashed {
                Ok((stamp, root)) => {
                    here.insert(path.clone(), (stamp.size, root));
                    self.known.insert(path, (stamp, root));
                }
                // Gone since it was found: the next change tells.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => unreadable += 1,
            }
        }
        Ok((here, unreadable))
    }

    async fn take_away(&mut self, path: &VolumePath, done: &mut Synced) -> Result<(), Problem> {
        match self.shelf.remove(path).await {
            Ok(()) => {}
            Err(problem) if problem.code == Code::NotFound => {}
            // Somebody else put something into the folder: it is theirs.
            Err(problem) if problem.code == Code::Exists && self.there.folders.contains(path) => return Ok(()),
            Err(problem) => return Err(problem),
        }
        self.known.remove(path);
        self.there.folders.remove(path);
        if self.there.files.remove(path).is_some() {
            done.removed.push(path.clone());
        }
        Ok(())
    }
}

/// What has to be done, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// Stands in the way of a copy; deepest first.
    clear: Vec<VolumePath>,
    /// Differs or is missing; smallest first, so that pages are there before large files.
    put: Vec<VolumePath>,
    /// Is there no more; deepest first.
    remove: Vec<VolumePath>,
}

fn plan(top: &VolumePath, here: &BTreeMap<VolumePath, (u64, Digest)>, there: &Listed) -> Plan {
    let mut put: Vec<_> = here.iter().filter(|(path, (_, root))| there.files.get(path) != Some(root)).collect();
    put.sort_by_key(|(_, (size, _))| *size);
    let put: Vec<VolumePath> = put.into_iter().map(|(path, _)| path.clone()).collect();
    let needed: BTreeSet<VolumePath> =
        here.keys().flat_map(|path| std::iter::successors(path.parent(), VolumePath::parent)).collect();
    let within = |path: &&VolumePath| path.below(top).is_some() && !path.is_root();
    let gone_files = there.files.keys().filter(within).filter(|path| !here.contains_key(path));
    let gone_folders = there.folders.iter().filter(within).filter(|path| !needed.contains(path));
    let mut gone: Vec<VolumePath> = gone_files.chain(gone_folders).cloned().collect();
    gone.sort_by_key(|path| std::cmp::Reverse(path.segments().count()));
    let in_the_way = |path: &VolumePath| {
        // A file where a folder is needed, or anything at or below the name of a file.
        needed.contains(path)
            || std::iter::successors(Some(path.clone()), VolumePath::parent).any(|above| here.contains_key(&above))
    };
    let (clear, remove) = gone.into_iter().partition(in_the_way);
    Plan { clear, put, remove }
}

fn add_up(sum: &mut LeftOut, part: &LeftOut) {
    sum.dot += part.dot;
    sum.links += part.links;
    sum.special += part.special;
    sum.unreadable += part.unreadable;
    sum.names += part.names;
    sum.large += part.large;
}

/// Runs what reads files on a thread for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Problem::new(Code::Internal, format!("reading the folder broke off: {error}")))
}

/// Stamp and content root of a file as it is now.
fn hash(tree: &Tree, path: &VolumePath) -> io::Result<(Stamp, Digest)> {
    let mut file = tree.read(path)?;
    let stamp = stamp(&file)?;
    let (mut blocks, mut block) = (Vec::new(), Vec::new());
    loop {
        block.clear();
        file.by_ref().take(BLOCK_BYTES).read_to_end(&mut block)?;
        if block.is_empty() {
            break;
        }
        blocks.push(BlockRef::of(&block));
    }
    let manifest = Manifest::new(blocks).map_err(|error| io::Error::new(io::ErrorKind::FileTooLarge, error))?;
    Ok((stamp, manifest.root()))
}

/// Copies one file; nothing if it is gone or cannot be read.
async fn copy(
    tree: Arc<Tree>,
    shelf: &impl Shelf,
    path: VolumePath,
) -> Result<Option<(VolumePath, Stamp, Digest)>, Problem> {
    let place = path.clone();
    let opened = blocking(move || tree.read(&place).and_then(|file| Ok((stamp(&file)?, file)))).await?;
    let Ok((stamp, file)) = opened else { return Ok(None) };
    let root = shelf.put(&path, body(file, stamp.size)).await.map_err(|problem| {
        let detail = format!("{path}: {}", problem.detail);
        Problem { detail, ..problem }
    })?;
    Ok(Some((path, stamp, root)))
}

/// A file's first `size` bytes as a body. A file that became shorter ends the body as broken.
fn body(file: File, size: u64) -> wire::Body {
    let file = tokio::fs::File::from_std(file).take(size);
    wire::body::stream(stream::try_unfold(file, |mut file| async move {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        if file.read_buf(&mut chunk).await? > 0 {
            return Ok(Some((chunk.freeze(), file)));
        }
        let cut = "the file became shorter while it was copied";
        if file.limit() == 0 { Ok(None) } else { Err(io::Error::new(io::ErrorKind::UnexpectedEof, cut)) }
    }))
}

#[cfg(test)]
#[path = "mirror_tests.rs"]
pub mod tests;
