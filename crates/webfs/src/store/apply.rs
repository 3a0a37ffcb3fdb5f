//! Changes as SQL: each within the writer's transaction, after its conditions were checked there.

use super::change::{Change, Conditions, Outcome, Precondition, Prepared, Put};
use super::error::StoreError;
use super::ledger;
use super::names::Surroundings;
use super::nodes::NewNode;
use super::patch::{Patch, PatchContent};
use super::read::{self, Node, Walk};
use super::schema;
use super::tree;
use super::writer::Position;
use crate::gate::Touched;
use crate::model::{Entry, FileKind, Manifest, ObjectVersion, Policy};
use rusqlite::{Connection, params};
use terms::{BootMs, Digest, UnixMs, Version, VolumePath};
use trust::Bucket;

/// A change under way: the transaction, the time, and what it becomes.
pub(super) struct Applying<'a> {
    pub(super) database: &'a Connection,
    pub(super) now: UnixMs,
    /// The version that everything it touches gets.
    pub(super) version: ObjectVersion,
}

/// When a change is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) unix: UnixMs,
    pub(super) boot: BootMs,
}

pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::database("changing the volume", error)
}

/// Applies a change, or answers it from the ledger. Says what it touched.
pub(super) fn apply(
    database: &Connection,
    position: &mut Position,
    now: Moment,
    change: &Change,
    conditions: &Conditions,
) -> Result<(Outcome, Touched), StoreError> {
    if let Some(id) = conditions.operation
        && let Some(outcome) = ledger::recorded(database, id, change.fingerprint())?
    {
        return Ok((outcome, Touched::default()));
    }
    if conditions.until.is_some_and(|until| until < now.boot) {
        return Err(StoreError::TooLate { path: change.path().clone() });
    }
    let walk = read::walk(database, change.path()).map_err(failed)?;
    check(database, change, conditions, &walk)?;
    check_target(database, change, conditions)?;
    let around = Surroundings::look(database, change.path(), change.reach(), &walk).map_err(failed)?;
    let touched = around.touched_by(change);
    if !conditions.recalled.covers_all(&around.recalled_by(change)) {
        return Err(StoreError::Moved { path: change.path().clone() });
    }
    let next = position.change.next();
    let version = ObjectVersion { epoch: position.epoch, version: Version(next.0) };
    let applying = Applying { database, now: now.unix, version };
    let (entry, created) = applying.change(change, &walk)?;
    let offset = change.appended().and_then(|len| entry.map(|entry| entry.size - len));
    let outcome = Outcome { change: next, entry, offset, created, replayed: false };
    if let Some(id) = conditions.operation {
        ledger::record(database, id, change.fingerprint(), &outcome, now.unix)?;
    }
    position.change = next;
    Ok((outcome, touched))
}

/// The conditions, in the order in which their failures are told: the state that the client named comes first.
fn check(database: &Connection, change: &Change, conditions: &Conditions, walk: &Walk) -> Result<(), StoreError> {
    let path = change.path();
    let found = match (walk.complete, walk.node.content) {
        (true, Some(content)) => Some(root_of(database, content)?),
        _ => None,
    };
    let holds = match &conditions.precondition {
        Precondition::None => true,
        Precondition::Absent => !walk.complete,
        Precondition::Exists => walk.complete,
        Precondition::OneOf(roots) => found.is_some_and(|root| roots.contains(&root)),
    };
    if !holds {
        return Err(StoreError::Precondition { path: path.clone(), found });
    }
    let Some(decided_on) = &conditions.decided_on else { return Ok(()) };
    let governing = match change {
        Change::AmendLists { .. } | Change::Rename { .. } | Change::SetPolicy { recursive: true, .. }
            if walk.complete =>
        {
            read::buckets_below(database, walk.node.id).map_err(failed)?
        }
        _ => vec![walk.node.bucket],
    };
    if governing.iter().all(|bucket| decided_on.contains(bucket)) {
        Ok(())
    } else {
        Err(StoreError::Moved { path: path.clone() })
    }
}

/// Whether the place that a move or a link goes to is governed as it was when the rights were decided.
fn check_target(database: &Connection, change: &Change, conditions: &Conditions) -> Result<(), StoreError> {
    let (Some(to), Some(lists)) = (change.target(), &conditions.decided_on_target) else { return Ok(()) };
    let directory = read::walk(database, &to.parent().unwrap_or_default()).map_err(failed)?;
    let there = read::walk(database, to).map_err(failed)?;
    let replaced = there.complete.then_some(there.node.bucket);
    if directory.node.bucket == lists.directory && replaced == lists.replaced {
        Ok(())
    } else {
        Err(StoreError::Moved { path: to.clone() })
    }
}

fn root_of(database: &Connection, content: i64) -> Result<Digest, StoreError> {
    let mut query = database.prepare_cached("SELECT root FROM content WHERE id = ?1").map_err(failed)?;
    query.query_row([content], |row| row.get(0)).map(Digest).map_err(failed)
}

impl Applying<'_> {
    fn change(&self, change: &Change, walk: &Walk) -> Result<(Option<Entry>, bool), StoreError> {
        match change {
            Change::Put(put) => self.put(put, walk).map(|(entry, created)| (Some(entry), created)),
            Change::Patch(patch) => self.patch(patch, walk).map(|entry| (Some(entry), false)),
            Change::Append { append, may_create, may_append } => {
                self.append(append, (*may_create, *may_append), walk).map(|(entry, new)| (Some(entry), new))
            }
            Change::MakeDirectory { path, parents } => self.make_directory(path, *parents, walk),
            Change::Remove { path } => self.remove(path, walk).map(|()| (None, false)),
            Change::MakeLink { path, target } => {
                self.make_link(path, target, walk).map(|entry| (Some(entry), true))
            }
            Change::Link { from, to } => self.link(from, to, walk).map(|entry| (Some(entry), true)),
            Change::Rename { from, to, replace } => {
                self.rename(from, to, *replace, walk).map(|(entry, new)| (Some(entry), new))
            }
            Change::SetBucket { path, bucket } => {
                self.set_bucket(path, bucket, walk).map(|entry| (Some(entry), false))
            }
            Change::AmendLists { path, lists } => {
                self.amend_lists(path, lists, walk).map(|entry| (Some(entry), false))
            }
            Change::SetPolicy { path, policy, recursive } => {
                self.set_policy(path, *policy, *recursive, walk).map(|entry| (Some(entry), false))
            }
        }
    }

    fn put(&self, put: &Put, walk: &Walk) -> Result<(Entry, bool), StoreError> {
        let path = &put.path;
        let refuse = |create| StoreError::NotAllowed { path: path.clone(), create };
        if path.is_root() {
            return Err(StoreError::Root);
        }
        if walk.complete {
            file_content(path, &walk.node)?;
            if !put.may_replace {
                return Err(refuse(false));
            }
            may_overwrite(path, &walk.node)?;
            let content = self.insert_content(&put.content)?;
            self.replace_content(&walk.node, content)?;
            Ok((self.file_entry(&put.content.manifest, walk.node.policy), false))
        } else {
            if !put.may_create {
                return Err(refuse(true));
            }
            let parent = self.make_parents(path, put.parents, walk)?;
            let content = self.insert_content(&put.content)?;
            let made = self.insert_node(&parent, path, NewNode::File(content))?;
            Ok((self.file_entry(&put.content.manifest, made.policy), true))
        }
    }

    fn make_directory(
        &self,
        path: &VolumePath,
        parents: bool,
        walk: &Walk,
    ) -> Result<(Option<Entry>, bool), StoreError> {
        if walk.complete {
            let exists = parents && walk.node.kind == FileKind::Directory;
            let entry = directory_entry(&walk.node, walk.node.version);
            return if exists { Ok((Some(entry), false)) } else { Err(StoreError::Exists { path: path.clone() }) };
        }
        let parent = self.make_parents(path, parents, walk)?;
        let made = self.insert_node(&parent, path, NewNode::Directory)?;
        Ok((Some(directory_entry(&made, self.version)), true))
    }

    fn remove(&self, path: &VolumePath, walk: &Walk) -> Result<(), StoreError> {
        if path.is_root() {
            return Err(StoreError::Root);
        }
        if !walk.complete {
            return Err(StoreError::NotFound { path: path.clone() });
        }
        if self.has_children(walk.node.id)? {
            return Err(StoreError::NotEmpty { path: path.clone() });
        }
        self.take_name(path)?;
        self.drop_unnamed(&walk.node)
    }

    pub(super) fn has_children(&self, node: i64) -> Result<bool, StoreError> {
        let mut child =
            self.database.prepare_cached("SELECT 1 FROM name WHERE parent = ?1 LIMIT 1").map_err(failed)?;
        child.exists([node]).map_err(failed)
    }

    /// The version rises with the list, so that who knows the version knows the list.
    fn set_bucket(&self, path: &VolumePath, bucket: &Bucket, walk: &Walk) -> Result<Entry, StoreError> {
        if !walk.complete {
            return Err(StoreError::NotFound { path: path.clone() });
        }
        let (hash, body) = (bucket.hash(), schema::encode_bucket(bucket)?);
        self.execute(
            "INSERT INTO bucket (hash, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![hash.0, body],
        )?;
        self.execute(
            "UPDATE node SET bucket = (SELECT id FROM bucket WHERE hash = ?2), epoch = ?3, version = ?4 WHERE id = ?1",
            params![walk.node.id, hash.0, self.epoch(), self.number()],
        )?;
        self.entry_of(&walk.node)
    }

    /// Gives each list of the tree its successor. An object that has its new list already is told by its version,
    /// so that one whose new list is another one's old list is not taken twice.
    fn amend_lists(&self, path: &VolumePath, lists: &[(Digest, Bucket)], walk: &Walk) -> Result<Entry, StoreError> {
        if !walk.complete {
            return Err(StoreError::NotFound { path: path.clone() });
        }
        for (old, new) in lists {
            let (hash, body) = (new.hash(), schema::encode_bucket(new)?);
            self.execute(
                "INSERT INTO bucket (hash, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![hash.0, body],
            )?;
            let amend =
                &format!("{} UPDATE node SET bucket = (SELECT id FROM bucket WHERE hash = ?2), epoch = ?3, version = ?4
                 WHERE id IN below AND bucket = (SELECT id FROM bucket WHERE hash = ?5) AND NOT (epoch = ?3 AND version = ?4)", read::BELOW);
            self.execute(amend, params![walk.node.id, hash.0, self.epoch(), self.number(), old.0])?;
        }
        self.entry_of(&walk.node)
    }

    /// The entry of an object that is there, at the version of this change.
    pub(super) fn entry_of(&self, node: &Node) -> Result<Entry, StoreError> {
        let (version, modified) = (self.version, node.modified);
        let Some(content) = node.content else {
            return Ok(match &node.target {
                Some(target) => link_entry(node, target, version),
                None => directory_entry(node, version),
            });
        };
        let size = self
            .database
            .query_row("SELECT size FROM content WHERE id = ?1", [content], |row| row.get::<_, i64>(0))
            .map_err(failed)?;
        Ok(Entry {
            kind: FileKind::File,
            size: size.cast_unsigned(),
            etag: Some(root_of(self.database, content)?),
            version,
            modified,
            policy: node.policy,
        })
    }

    fn insert_content(&self, prepared: &Prepared) -> Result<i64, StoreError> {
        tree::insert(self.database, &prepared.manifest, &prepared.content)
    }

    /// A part of a file, or its length, changed.
    fn patch(&self, patch: &Patch, walk: &Walk) -> Result<Entry, StoreError> {
        let path = &patch.path;
        if !walk.complete {
            return Err(StoreError::NotFound { path: path.clone() });
        }
        let old = file_content(path, &walk.node)?;
        may_overwrite(path, &walk.node)?;
        if root_of(self.database, old)? != patch.base {
            return Err(StoreError::Moved { path: path.clone() });
        }
        let (content, manifest) = match &patch.content {
            PatchContent::Whole(prepared) => (self.insert_content(prepared)?, prepared.manifest.clone()),
            PatchContent::Blocks { size, changes, .. } => tree::change(self.database, old, *size, changes)?,
        };
        self.replace_content(&walk.node, content)?;
        Ok(self.file_entry(&manifest, walk.node.policy))
    }

    fn replace_content(&self, node: &Node, content: i64) -> Result<(), StoreError> {
        self.retire_content(node.content)?;
        self.execute(
            "UPDATE node SET content = ?2, epoch = ?3, version = ?4, modified = ?5 WHERE id = ?1",
            params![node.id, content, self.epoch(), self.number(), self.time()],
        )?;
        self.touch_parents(node.id)
    }

    /// The content stays readable for those who have it open, until the collector comes.
    pub(super) fn retire_content(&self, content: Option<i64>) -> Result<(), StoreError> {
        let Some(content) = content else { return Ok(()) };
        tree::retire(self.database, content, self.time())
    }

    pub(super) fn touch(&self, directory: i64) -> Result<(), StoreError> {
        self.execute(
            "UPDATE node SET epoch = ?2, version = ?3, modified = ?4 WHERE id = ?1",
            params![directory, self.epoch(), self.number(), self.time()],
        )
    }

    pub(super) fn touch_parents(&self, node: i64) -> Result<(), StoreError> {
        self.execute(
            "UPDATE node SET epoch = ?2, version = ?3, modified = ?4
             WHERE id IN (SELECT parent FROM name WHERE node = ?1)",
            params![node, self.epoch(), self.number(), self.time()],
        )
    }

    pub(super) fn file_entry(&self, manifest: &Manifest, policy: Policy) -> Entry {
        Entry {
            kind: FileKind::File,
            size: manifest.size(),
            etag: Some(manifest.root()),
            version: self.version,
            modified: self.now,
            policy,
        }
    }

    pub(super) fn execute(&self, sql: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<(), StoreError> {
        let mut statement = self.database.prepare_cached(sql).map_err(failed)?;
        statement.execute(parameters).map(|_| ()).map_err(failed)
    }

    pub(super) fn epoch(&self) -> i64 {
        self.version.epoch.0.cast_signed()
    }

    pub(super) fn number(&self) -> i64 {
        self.version.version.0.cast_signed()
    }

    pub(super) fn time(&self) -> i64 {
        self.now.0.cast_signed()
    }
}

/// The content of what must be a file.
pub(super) fn file_content(path: &VolumePath, node: &Node) -> Result<i64, StoreError> {
    node.content.ok_or_else(|| match node.kind {
        FileKind::Link => StoreError::IsLink { path: path.clone() },
        FileKind::File | FileKind::Directory => StoreError::IsDirectory { path: path.clone() },
    })
}

/// Whether the policy of a file lets its content be replaced or changed.
pub(super) fn may_overwrite(path: &VolumePath, node: &Node) -> Result<(), StoreError> {
    match node.kind == FileKind::File && !node.policy.may_overwrite() {
        true => Err(StoreError::Policy { path: path.clone(), policy: node.policy }),
        false => Ok(()),
    }
}

fn link_entry(node: &Node, target: &str, version: ObjectVersion) -> Entry {
    let (size, modified, policy) = (target.len() as u64, node.modified, node.policy);
    Entry { kind: FileKind::Link, size, etag: None, version, modified, policy }
}

fn directory_entry(node: &Node, version: ObjectVersion) -> Entry {
    let (modified, policy) = (node.modified, node.policy);
    Entry { kind: FileKind::Directory, size: 0, etag: None, version, modified, policy }
}
