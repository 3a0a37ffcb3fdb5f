//! New nodes: files, directories and links under a parent, whose access control list and policy they get.

use super::apply::Applying;
use super::error::StoreError;
use super::read::{self, Node, Walk};
use super::schema::{KIND_DIRECTORY, KIND_FILE, KIND_LINK};
use crate::model::{Entry, FileKind};
use rusqlite::params;
use terms::VolumePath;

/// What a new node is.
#[derive(Clone, Copy)]
pub(super) enum NewNode<'a> {
    File(i64),
    Directory,
    Link(&'a str),
}

impl Applying<'_> {
    /// The directory that will hold the last segment; makes what is missing if `parents` says so.
    pub(super) fn make_parents(&self, path: &VolumePath, parents: bool, walk: &Walk) -> Result<Node, StoreError> {
        let (mut parent, mut at) = (walk.node.clone(), read::prefix(path, walk.depth));
        if parent.kind != FileKind::Directory {
            return Err(StoreError::NotDirectory { path: at });
        }
        let total = path.segments().count();
        for depth in walk.depth + 1..total {
            at = read::prefix(path, depth);
            if !parents {
                return Err(StoreError::NoParent { path: path.clone(), parent: at });
            }
            parent = self.insert_node(&parent, &at, NewNode::Directory)?;
        }
        Ok(parent)
    }

    /// A new node under the parent, with the parent's access control list and policy. The parent's version rises.
    pub(super) fn insert_node(
        &self,
        parent: &Node,
        path: &VolumePath,
        new: NewNode<'_>,
    ) -> Result<Node, StoreError> {
        let (kind, content, target) = match new {
            NewNode::File(content) => (KIND_FILE, Some(content), None),
            NewNode::Directory => (KIND_DIRECTORY, None, None),
            NewNode::Link(target) => (KIND_LINK, None, Some(target.to_string())),
        };
        self.execute(
            "INSERT INTO node (kind, content, target, epoch, version, modified, bucket, policy)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, bucket, policy FROM node WHERE id = ?7",
            params![kind, content, target, self.epoch(), self.number(), self.time(), parent.id],
        )?;
        let id = self.database.last_insert_rowid();
        self.give_name(parent.id, path, id)?;
        let kind = match new {
            NewNode::File(_) => FileKind::File,
            NewNode::Directory => FileKind::Directory,
            NewNode::Link(_) => FileKind::Link,
        };
        let (version, modified, bucket, policy) = (self.version, self.now, parent.bucket, parent.policy);
        Ok(Node { id, kind, content, target, version, modified, bucket, policy })
    }

    pub(super) fn make_link(&self, path: &VolumePath, target: &str, walk: &Walk) -> Result<Entry, StoreError> {
        if walk.complete {
            return Err(StoreError::Exists { path: path.clone() });
        }
        if crate::model::link_target(path, target).is_none() {
            return Err(StoreError::LeadsOut { path: path.clone(), target: target.into() });
        }
        let parent = self.make_parents(path, false, walk)?;
        let made = self.insert_node(&parent, path, NewNode::Link(target))?;
        self.entry_of(&made)
    }
}
