//! Proofs of rights as changes take them: each with the access control lists that it was decided on, so that the commit
//! can see whether they still govern.

use crate::store::TargetLists;
use terms::{Digest, Principal};
use trust::Authorised;

/// What somebody may do to a path, and the access control list on which that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRights {
    /// The hash of the list: the object's, or that of the nearest one above if there is none.
    pub decided_on: Digest,
    /// The proof of [`terms::Right::Write`] on the path: it may be created.
    pub create: Option<Authorised>,
    /// The proof of [`terms::Right::Modify`] on the path: it may be replaced or removed.
    pub replace: Option<Authorised>,
}

impl WriteRights {
    /// Whose rights these are.
    pub(super) fn subject(&self) -> Option<&Principal> {
        self.create.as_ref().or(self.replace.as_ref())?.subject()
    }
}

/// The right to take an object from its place: to read, modify and so remove it and all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeRights {
    /// The hashes of the lists on which it was decided: the object's, and those of all below it.
    pub decided_on: Vec<Digest>,
    /// The proofs of [`terms::Right::Read`] and [`terms::Right::Modify`] on the path.
    pub take: [Authorised; 2],
    /// The proof of [`terms::Right::Administer`] on the path, for a further name: it shares the list.
    pub administer: Option<Authorised>,
}

/// The right to put something into a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceRights {
    /// The lists on which it was decided.
    pub decided_on: TargetLists,
    /// The proof of [`terms::Right::Write`] on the path, under the directory's list.
    pub create: Authorised,
    /// The proof of [`terms::Right::Modify`] on what stands there, if something does.
    pub replace: Option<Authorised>,
}

/// What somebody may do to an access control list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRights {
    /// The hashes of the present lists on which it was decided: the object's, and for a change of all below it
    /// those of [`crate::store::Store::buckets_below`].
    pub decided_on: Vec<Digest>,
    /// The proof of [`terms::Right::Administer`] on the path.
    pub administer: Authorised,
}
