//! Messages about rights: access lists, groups, and why a right is given or not.

use serde::{Deserialize, Serialize};
use terms::{Code, Digest, Generation, GroupName, Principal, Problem, Right, Rights, UnixMs, Who};

/// An access list as a person reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclView {
    /// The bucket's hash.
    pub bucket: Digest,
    /// Who may do what.
    pub entries: Vec<(Who, Rights)>,
    /// What whoever changed it should know, such as that nobody of that name is known.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A change of an access list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclChange {
    /// Whose entry.
    pub who: Who,
    /// Which rights.
    pub rights: Rights,
    /// Add them; else take them away.
    pub grant: bool,
    /// Everything below as well, as one operation.
    pub recursive: bool,
}

/// Asks for a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyRequest {
    /// About whom; nobody is somebody without a certificate.
    pub who: Option<Principal>,
    /// Exactly one right.
    right: Rights,
}

impl WhyRequest {
    /// A question about one right.
    pub fn new(who: Option<Principal>, right: Right) -> Self {
        Self { who, right: Rights::of(&[right]) }
    }

    /// The right.
    ///
    /// # Errors
    /// [`Code::Invalid`] if it is not exactly one.
    pub fn right(&self) -> Result<Right, Problem> {
        let mut rights = Right::ALL.into_iter().filter(|right| self.right.has(*right));
        match (rights.next(), rights.next()) {
            (Some(right), None) => Ok(right),
            _ => Err(Problem::new(Code::Invalid, "a question is about exactly one right")),
        }
    }
}

/// A reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyReply {
    /// Yes or no.
    pub granted: bool,
    /// Why, in words.
    pub reason: String,
    /// The groups through which a right comes.
    pub way: Vec<GroupName>,
    /// Entries that give it as well.
    pub also: Vec<Who>,
    /// What would change the answer.
    pub changes: Vec<WhyChange>,
}

/// What would change an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyChange {
    /// In words.
    pub what: String,
    /// The command that does it, if one does.
    pub command: Option<String>,
}

/// Gives an object an access list in place of the one it has (PUT).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclSet {
    /// The entries.
    pub entries: Vec<(Who, Rights)>,
    /// Everything below as well, as one operation.
    pub recursive: bool,
}

/// Changes a group at its home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMessage {
    /// Which group.
    pub group: GroupName,
    /// What to do.
    pub order: GroupOrder,
}

/// What is done to a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupOrder {
    /// Make it; whoever does so administers it.
    Create,
    /// Remove it with its list.
    Delete,
    /// Put a member in, move its end, or take it out.
    Member {
        /// Who: a principal or another group.
        member: Who,
        /// For how long.
        term: MemberTerm,
    },
    /// Change who may administer it.
    List {
        /// Whose entry.
        who: Who,
        /// Which rights.
        rights: Rights,
        /// Add them; else take them away.
        grant: bool,
    },
}

/// For how long somebody is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberTerm {
    /// Until just before this time.
    Until(UnixMs),
    /// Until it is taken out.
    ForGood,
    /// No longer.
    Out,
}

/// What a change of a group, or of an access list, left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReply {
    /// The version of the list now.
    pub version: Generation,
    /// How many members there are.
    pub members: u32,
    /// Whether this is a change, and not what was so already.
    pub changed: bool,
    /// Who may change the group now, if that is what was changed: who did so may no longer ask.
    pub list: Option<AclView>,
    /// What the changer should know.
    pub notes: Vec<String>,
}

/// A group in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLine {
    /// The group.
    pub group: GroupName,
    /// The version of its list.
    pub version: Generation,
    /// How many members it has, those whose end has passed left out.
    pub members: u32,
}
