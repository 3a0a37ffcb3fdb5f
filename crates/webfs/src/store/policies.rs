//! Policies as changes: given to an object or to all of a tree.

use super::apply::Applying;
use super::error::StoreError;
use super::read::{self, Node, Walk};
use crate::model::{Entry, FileKind, Policy};
use rusqlite::params;
use terms::VolumePath;

impl Applying<'_> {
    /// The version rises with the policy, so that who knows the version knows the policy; that of the directory that
    /// shows it as well.
    pub(super) fn set_policy(
        &self,
        path: &VolumePath,
        policy: Policy,
        recursive: bool,
        walk: &Walk,
    ) -> Result<Entry, StoreError> {
        if !walk.complete {
            return Err(StoreError::NotFound { path: path.clone() });
        }
        if walk.node.kind == FileKind::Link {
            return Err(StoreError::IsLink { path: path.clone() });
        }
        let stored = (!policy.is_cto()).then(|| policy.to_string());
        let update = "UPDATE node SET policy = ?2, epoch = ?3, version = ?4 WHERE id";
        let update = match recursive {
            true => format!("{} {update} IN below", read::BELOW),
            false => format!("{update} = ?1"),
        };
        self.execute(&update, params![walk.node.id, stored, self.epoch(), self.number()])?;
        self.touch_parents(walk.node.id)?;
        self.entry_of(&Node { policy, ..walk.node.clone() })
    }
}
