//! Changes that came in a control message: each takes the proofs of the rights that it uses, and checks that they are
//! the right ones.

use super::proofs::{ListRights, PlaceRights, TakeRights, WriteRights};
use super::write::id_of;
use super::{Home, check_right};
use crate::model::Policy;
use crate::protocol::{Operation, When};
use crate::store::{Change, Conditions, Outcome, Precondition, Prepared, Put, StoreError};
use bytes::Bytes;
use terms::{Code, OperationId, Principal, Problem, Right, VolumePath};

impl From<When> for Precondition {
    fn from(when: When) -> Self {
        match when {
            When::Always => Self::None,
            When::Absent => Self::Absent,
            When::Root(root) => Self::OneOf(vec![root]),
        }
    }
}

/// A small file as it came in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallPut {
    /// Its content.
    pub content: Vec<u8>,
    /// Whether missing directories above it are made.
    pub parents: bool,
    /// Under which circumstances.
    pub when: When,
}

impl Home {
    /// Creates or replaces a file whose content is in memory.
    pub async fn put_small(
        &self,
        rights: &WriteRights,
        path: &VolumePath,
        put: SmallPut,
        operation: Option<OperationId>,
    ) -> Result<Outcome, Problem> {
        let (may_create, may_replace) = self.may_write(rights, path)?;
        let content = self.prepare(put.content).await?;
        let change = Put { path: path.clone(), content, parents: put.parents, may_create, may_replace };
        let operation = operation.map(|id| id_of(rights.subject(), id));
        self.commit(Change::Put(change), put.when.into(), vec![rights.decided_on], operation).await
    }

    async fn prepare(&self, content: Vec<u8>) -> Result<Prepared, Problem> {
        let mut upload = self.store.upload();
        upload.write(Bytes::from(content)).await?;
        Ok(upload.finish().await?)
    }

    /// The outcome of an operation that its principal has asked for before, if it is on record: to be told again. Nothing
    /// is changed.
    pub async fn answered(
        &self,
        by: Option<&Principal>,
        operation: &Operation,
        id: OperationId,
    ) -> Result<Option<Outcome>, Problem> {
        let id = id_of(by, id);
        if !self.store.is_recorded(id).await? {
            return Ok(None);
        }
        let change = match operation.clone() {
            Operation::Put { path, content, parents, .. } => {
                let content = self.prepare(content).await?;
                Change::Put(Put { path, content, parents, may_create: false, may_replace: false })
            }
            Operation::Append { path, content } => {
                let append = self.store.append(&path, content.into());
                Change::Append { append, may_create: false, may_append: false }
            }
            Operation::Mkdir { path, parents } => Change::MakeDirectory { path, parents },
            Operation::Remove { path, .. } => Change::Remove { path },
            Operation::Symlink { path, target } => Change::MakeLink { path, target },
            Operation::Policy { path, policy, recursive } => Change::SetPolicy { path, policy, recursive },
            Operation::Link { from, to } => Change::Link { from, to },
            Operation::Rename { from, to, replace } => Change::Rename { from, to, replace },
        };
        Ok(self.store.outcome_of(id, &change).await?)
    }

    /// Gives an object its policy, and all below it if `recursive` says so.
    pub async fn set_policy(
        &self,
        rights: &ListRights,
        path: &VolumePath,
        (policy, recursive): (Policy, bool),
        operation: Option<OperationId>,
    ) -> Result<Outcome, Problem> {
        let now = self.world.clock.unix();
        check_right(&rights.administer, self.store.name(), path, Right::Administer, now)?;
        let change = Change::SetPolicy { path: path.clone(), policy, recursive };
        let operation = operation.map(|id| id_of(rights.administer.subject(), id));
        self.commit(change, Precondition::None, rights.decided_on.clone(), operation).await
    }

    /// Removes a file, a link or an empty directory.
    pub async fn remove(
        &self,
        rights: &WriteRights,
        path: &VolumePath,
        when: When,
        operation: Option<OperationId>,
    ) -> Result<Outcome, Problem> {
        self.may_replace(rights, path)?;
        let operation = operation.map(|id| id_of(rights.subject(), id));
        self.commit(Change::Remove { path: path.clone() }, when.into(), vec![rights.decided_on], operation).await
    }

    /// Makes a symbolic link.
    pub async fn make_link(
        &self,
        rights: &WriteRights,
        path: &VolumePath,
        target: String,
        operation: Option<OperationId>,
    ) -> Result<Outcome, Problem> {
        if !self.may_write(rights, path)?.0 {
            return Err(StoreError::NotAllowed { path: path.clone(), create: true }.into());
        }
        let change = Change::MakeLink { path: path.clone(), target };
        let operation = operation.map(|id| id_of(rights.subject(), id));
        self.commit(change, Precondition::None, vec![rights.decided_on], operation).await
    }

    /// Moves an object, or gives a file another name. Who may do so could as well have read it all and put it there: a
    /// move or a link never shows anybody what its maker could not.
    pub async fn relocate(
        &self,
        taking: &TakeRights,
        placing: &PlaceRights,
        change: Change,
        operation: Option<OperationId>,
    ) -> Result<Outcome, Problem> {
        let now = self.world.clock.unix();
        let volume = self.store.name();
        let to = change.target().cloned().unwrap_or_default();
        for (proof, right) in taking.take.iter().zip([Right::Read, Right::Modify]) {
            check_right(proof, volume, change.path(), right, now)?;
        }
        if matches!(change, Change::Link { .. }) {
            let what =
                || Problem::new(Code::Denied, format!("/{}: a further name takes the right a", change.path()));
            let administer = taking.administer.as_ref().ok_or_else(what)?;
            check_right(administer, volume, change.path(), Right::Administer, now)?;
        }
        check_right(&placing.create, volume, &to, Right::Write, now)?;
        if placing.decided_on.replaced.is_some() {
            let refused = || StoreError::NotAllowed { path: to.clone(), create: false };
            check_right(placing.replace.as_ref().ok_or_else(refused)?, volume, &to, Right::Modify, now)?;
        }
        let operation = operation.map(|id| id_of(placing.create.subject(), id));
        let conditions = Conditions {
            decided_on: Some(taking.decided_on.clone()),
            decided_on_target: Some(placing.decided_on),
            operation,
            ..Conditions::none()
        };
        self.commit_under(None, change, conditions).await
    }
}
