//! Appends as a home takes them: what is put at the end is placed by the home, in one order, under whichever policy.

use super::proofs::WriteRights;
use super::write::id_of;
use super::{Home, check_right};
use crate::limits::{APPEND_ATTEMPTS, MAX_APPEND_BYTES};
use crate::model::Policy;
use crate::store::{Change, Lookup, Outcome, Precondition, StoreError};
use bytes::Bytes;
use terms::{ByteCount, Code, OperationId, Problem, Right, VolumePath};

impl Home {
    /// Puts bytes at the end of a file, or makes a file of them. The outcome tells where they were placed, also when it
    /// is asked for again.
    ///
    /// To make a file takes the right to write, and so does a log: nothing in it changes. Any other file is modified.
    pub async fn append(
        &self,
        rights: &WriteRights,
        path: &VolumePath,
        content: Bytes,
        operation: Option<OperationId>,
    ) -> Result<Outcome, Problem> {
        if content.is_empty() {
            return Err(Problem::new(Code::Invalid, "an append of no bytes"));
        }
        if content.len() > MAX_APPEND_BYTES {
            let what = format!("an append has at most {}", ByteCount(MAX_APPEND_BYTES as u64));
            return Err(Problem::new(Code::TooLarge, what).next("append it in parts"));
        }
        let operation = operation.map(|id| id_of(rights.subject(), id));
        let mut attempt = 1;
        loop {
            // What is changed in place is made from a version: one at a time, or most would be made in vain.
            let _turn = match self.is_changed_in_place(path).await? {
                true => Some(self.appends.lock().await),
                false => None,
            };
            let change = self.appending(rights, path, content.clone()).await?;
            match self.commit(change, Precondition::None, vec![rights.decided_on], operation).await {
                Err(problem) if problem.code == Code::Unavailable && attempt < APPEND_ATTEMPTS => attempt += 1,
                ended => return ended,
            }
        }
    }

    async fn is_changed_in_place(&self, path: &VolumePath) -> Result<bool, Problem> {
        Ok(match self.store.lookup(path).await? {
            Lookup::Found(object) => object.manifest().is_some() && object.entry.policy.may_overwrite(),
            Lookup::Missing(_) => false,
        })
    }

    /// The change that an append is now.
    async fn appending(&self, rights: &WriteRights, path: &VolumePath, bytes: Bytes) -> Result<Change, Problem> {
        let now = self.world.clock.unix();
        let may_write = rights
            .create
            .as_ref()
            .is_some_and(|proof| check_right(proof, self.store.name(), path, Right::Write, now).is_ok());
        match self.store.lookup(path).await? {
            Lookup::Found(object) if object.manifest().is_some() && object.entry.policy.may_overwrite() => {
                self.may_replace(rights, path)?;
                Ok(Change::Patch(self.store.append_to(object, bytes).await?))
            }
            Lookup::Found(object) if object.manifest().is_some() && object.entry.policy == Policy::Immutable => {
                Err(StoreError::Policy { path: path.clone(), policy: Policy::Immutable }.into())
            }
            _ => {
                let append = self.store.append(path, bytes);
                Ok(Change::Append { append, may_create: may_write, may_append: may_write })
            }
        }
    }
}
