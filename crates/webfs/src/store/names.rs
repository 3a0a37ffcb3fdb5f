//! Names apart from nodes: where a node stands, giving and taking names, moving and linking.
//! A directory has exactly one name, a file one or several; a node without a name is removed with its last one.

use super::apply::{Applying, failed, may_overwrite};
use super::change::Change;
use super::error::StoreError;
use super::read::{self, Node, Walk};
use crate::gate::Touched;
use crate::limits::MAX_NAMES;
use crate::model::{Entry, FileKind};
use rusqlite::{Connection, OptionalExtension, params};
use terms::{MAX_PATH_BYTES, MAX_PATH_SEGMENTS, VolumePath};

/// What of a place decides which objects a change touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Surroundings {
    nearest: VolumePath,
    names: Vec<VolumePath>,
}

impl Surroundings {
    /// As they are around the path of a change.
    pub(super) fn look(
        database: &Connection,
        path: &VolumePath,
        reach: Reach,
        walk: &Walk,
    ) -> rusqlite::Result<Self> {
        let names = match reach {
            Reach::File if walk.complete => paths_of(database, walk.node.id)?,
            Reach::Below if walk.complete => {
                let mut names = names_of_files_below(database, walk.node.id)?;
                names.retain(|name| name.below(path).is_none());
                names
            }
            Reach::Place | Reach::File | Reach::Below => Vec::new(),
        };
        Ok(Self { nearest: read::prefix(path, walk.depth), names })
    }

    /// What a change must have recalled here.
    pub(super) fn recalled_by(&self, change: &Change) -> Touched {
        change.recalls(&self.nearest, &self.names)
    }

    /// All that a change touches here.
    pub(super) fn touched_by(&self, change: &Change) -> Touched {
        change.touches(&self.nearest, &self.names)
    }
}

/// Of which files a change also concerns the other names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Of none: only the place matters.
    Place,
    /// Of the file itself.
    File,
    /// Of the object and all below it.
    Below,
}

/// Every path of a node that has more than one name; none for others.
fn paths_of(database: &Connection, node: i64) -> rusqlite::Result<Vec<VolumePath>> {
    let mut query = database.prepare_cached("SELECT parent, name FROM name WHERE node = ?1")?;
    let names: Vec<(i64, String)> =
        query.query_map([node], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    if names.len() < 2 {
        return Ok(Vec::new());
    }
    names.into_iter().map(|(parent, name)| path_to(database, parent, name)).collect()
}

/// The paths of all files at and below a node that have several names.
fn names_of_files_below(database: &Connection, node: i64) -> rusqlite::Result<Vec<VolumePath>> {
    let sql = format!(
        "{} SELECT parent, name FROM name WHERE node IN
             (SELECT node FROM name WHERE node IN below GROUP BY node HAVING count(*) > 1)",
        read::BELOW
    );
    let mut query = database.prepare_cached(&sql)?;
    let names: Vec<(i64, String)> =
        query.query_map([node], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    names.into_iter().map(|(parent, name)| path_to(database, parent, name)).collect()
}

/// The path of a name in a directory.
fn path_to(database: &Connection, parent: i64, name: String) -> rusqlite::Result<VolumePath> {
    let mut up = database.prepare_cached("SELECT parent, name FROM name WHERE node = ?1")?;
    let (mut segments, mut at) = (vec![name], parent);
    // A damaged tree may have a cycle.
    while segments.len() <= MAX_PATH_SEGMENTS {
        let above: Option<(i64, String)> = up.query_row([at], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((next, name)) = above else { break };
        segments.push(name);
        at = next;
    }
    segments.reverse();
    VolumePath::new(&segments.join("/")).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

impl Applying<'_> {
    /// Puts a name for a node into a directory, whose version rises.
    pub(super) fn give_name(&self, directory: i64, path: &VolumePath, node: i64) -> Result<(), StoreError> {
        let name = path.name().ok_or(StoreError::Root)?;
        self.execute(
            "INSERT INTO name VALUES (?1, ?2, ?3, ?4, ?5)",
            params![directory, name, node, self.epoch(), self.number()],
        )?;
        self.touch(directory)
    }

    /// Takes a name out of its directory, whose version rises.
    pub(super) fn take_name(&self, path: &VolumePath) -> Result<(), StoreError> {
        let name = path.name().ok_or(StoreError::Root)?;
        let directory = read::walk(self.database, &path.parent().unwrap_or_default()).map_err(failed)?.node.id;
        self.execute("DELETE FROM name WHERE parent = ?1 AND name = ?2", params![directory, name])?;
        self.touch(directory)
    }

    /// Removes a node that has no name any more.
    pub(super) fn drop_unnamed(&self, node: &Node) -> Result<(), StoreError> {
        if self.names(node.id)? > 0 {
            return Ok(());
        }
        self.execute("DELETE FROM node WHERE id = ?1", params![node.id])?;
        self.retire_content(node.content)
    }

    fn names(&self, node: i64) -> Result<usize, StoreError> {
        let mut query =
            self.database.prepare_cached("SELECT count(*) FROM name WHERE node = ?1").map_err(failed)?;
        let count: i64 = query.query_row([node], |row| row.get(0)).map_err(failed)?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Gives a file another name.
    pub(super) fn link(&self, from: &VolumePath, to: &VolumePath, walk: &Walk) -> Result<Entry, StoreError> {
        let file = existing(from, walk)?;
        if file.kind == FileKind::Directory {
            return Err(StoreError::IsDirectory { path: from.clone() });
        }
        if self.names(file.id)? >= MAX_NAMES {
            return Err(StoreError::TooManyNames { path: from.clone() });
        }
        let target = read::walk(self.database, to).map_err(failed)?;
        if target.complete {
            return Err(StoreError::Exists { path: to.clone() });
        }
        let directory = self.make_parents(to, false, &target)?;
        self.give_name(directory.id, to, file.id)?;
        self.entry_of(file)
    }

    /// Moves an object; tells whether nothing was replaced.
    pub(super) fn rename(
        &self,
        from: &VolumePath,
        to: &VolumePath,
        replace: bool,
        walk: &Walk,
    ) -> Result<(Entry, bool), StoreError> {
        let moved = existing(from, walk)?;
        if to.is_root() {
            return Err(StoreError::Root);
        }
        if to != from && to.below(from).is_some() {
            return Err(StoreError::IntoItself { path: from.clone(), target: to.clone() });
        }
        let target = read::walk(self.database, to).map_err(failed)?;
        if target.complete && target.node.id == moved.id {
            // Two names of one file, or one name: POSIX says that nothing happens.
            return self.entry_of(moved).map(|entry| (Entry { version: target.node.version, ..entry }, false));
        }
        self.check_depth(from, to, moved.id)?;
        if target.complete {
            self.give_way(moved, to, &target.node, replace)?;
        }
        self.take_name(from)?;
        let directory = match target.complete {
            true => read::walk(self.database, &to.parent().unwrap_or_default()).map_err(failed)?.node,
            false => self.make_parents(to, false, &target)?,
        };
        self.give_name(directory.id, to, moved.id)?;
        Ok((self.entry_of(moved)?, !target.complete))
    }

    /// Whether every path of what is moved is still a path afterwards.
    fn check_depth(&self, from: &VolumePath, to: &VolumePath, node: i64) -> Result<(), StoreError> {
        let mut query = self
            .database
            .prepare_cached(
                "WITH RECURSIVE below (id, depth, length) AS (SELECT ?1, 0, 0 UNION ALL
                     SELECT name.node, depth + 1, length + 1 + length(CAST(name.name AS BLOB))
                     FROM name JOIN below ON name.parent = below.id)
                 SELECT max(depth), max(length) FROM below",
            )
            .map_err(failed)?;
        let (depth, length): (i64, i64) =
            query.query_row([node], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        let segments = to.segments().count() as i64 + depth;
        let bytes = to.as_str().len() as i64 + length;
        if segments <= MAX_PATH_SEGMENTS as i64 && bytes <= MAX_PATH_BYTES as i64 {
            return Ok(());
        }
        Err(StoreError::TooDeep { path: from.clone(), target: to.clone() })
    }

    /// Removes what stands where something is moved to, if it may.
    fn give_way(&self, moved: &Node, to: &VolumePath, there: &Node, replace: bool) -> Result<(), StoreError> {
        let path = to.clone();
        match (moved.kind, there.kind) {
            _ if !replace => return Err(StoreError::Exists { path }),
            (FileKind::Directory, FileKind::Directory) if self.has_children(there.id)? => {
                return Err(StoreError::NotEmpty { path });
            }
            (FileKind::Directory, FileKind::Directory) => {}
            (FileKind::Directory, _) => return Err(StoreError::NotDirectory { path }),
            (_, FileKind::Directory) => return Err(StoreError::IsDirectory { path }),
            _ => may_overwrite(to, there)?,
        }
        self.take_name(to)?;
        self.drop_unnamed(there)
    }
}

fn existing<'a>(path: &VolumePath, walk: &'a Walk) -> Result<&'a Node, StoreError> {
    if path.is_root() {
        return Err(StoreError::Root);
    }
    if walk.complete { Ok(&walk.node) } else { Err(StoreError::NotFound { path: path.clone() }) }
}
