//! Groups: signed, versioned lists of members, each with an end of its own. The rules that change a list are
//! pure; who belongs to a group through others is searched for in [`crate::nest`].

use crate::bucket::Bucket;
use crate::codec::check_size;
use crate::entries::Checked;
use crate::error::TrustError;
use crate::identity::Identity;
use crate::limits::{CLOCK_SKEW, GROUP_LIFE, MAX_MEMBERS};
use crate::nest::Found;
use crate::signed;
use crate::store::TrustStore;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use terms::{Generation, GroupName, Principal, Right, UnixMs, Who};

/// External data of group lists.
const KIND: &str = "webos-group-v1";

/// Whether a principal belongs to a group at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// It does not.
    No,
    /// It does, until just before this time if there is one.
    Yes {
        /// The end.
        until: Option<UnixMs>,
    },
    /// Nobody here can say, and why. Counts as no.
    Unknown(String),
}

/// Answers questions about membership. Must not wait: what is not known now is unknown.
pub trait Membership {
    /// Whether this principal belongs to this group now.
    fn member(&self, group: &GroupName, principal: &Principal, now: UnixMs) -> Member;

    /// The same with all that it stands on: through which groups, and until when their lists may be used.
    fn find(&self, group: &GroupName, principal: &Principal, now: UnixMs) -> Found {
        Found::from(self.member(group, principal, now))
    }

    /// What step 3 found before, where that is kept and still stands.
    fn warm(&self, _subject: &Principal, _right: Right, _bucket: &Bucket, _now: UnixMs) -> Option<Checked> {
        None
    }

    /// Rises with each change of a list, where answers are kept warm.
    fn changes(&self) -> u64 {
        0
    }

    /// Keeps what step 3 found at this number of changes, where that is done.
    fn keep_warm(&self, _subject: &Principal, _right: Right, _bucket: &Bucket, _found: &Checked, _changes: u64) {}
}

/// No group is known here.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoGroups;

impl Membership for NoGroups {
    fn member(&self, group: &GroupName, _: &Principal, _: UnixMs) -> Member {
        Member::Unknown(format!("the list of {group} is not here"))
    }
}

/// What a change did to a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupChange {
    /// Nothing: the list said so already.
    None,
    /// A member's end moved forward. The version stays, and no cached decision has to be dropped.
    Extended,
    /// Membership changed: there is a new version.
    Changed,
}

/// The members of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupList {
    name: GroupName,
    version: Generation,
    members: BTreeMap<Who, Option<UnixMs>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: GroupName,
    version: Generation,
    at: UnixMs,
    members: BTreeMap<Who, Option<UnixMs>>,
}

impl GroupList {
    /// A group without members.
    pub fn new(name: GroupName) -> Self {
        Self { name, version: Generation(0), members: BTreeMap::new() }
    }

    /// A group without members whose versions go on after this one: a group that is made again under a name never
    /// looks older than the one before it.
    pub fn after(name: GroupName, version: Generation) -> Self {
        Self { name, version, members: BTreeMap::new() }
    }

    /// A list from its stored parts.
    ///
    /// # Errors
    /// [`TrustError::Rule`] for a member that is none, [`TrustError::TooLarge`].
    pub fn from_parts(
        name: GroupName,
        version: Generation,
        members: BTreeMap<Who, Option<UnixMs>>,
    ) -> Result<Self, TrustError> {
        check_size("the group", members.len(), MAX_MEMBERS)?;
        members.keys().try_for_each(|who| check_member(&name, who))?;
        Ok(Self { name, version, members })
    }

    /// The group.
    pub fn name(&self) -> &GroupName {
        &self.name
    }

    /// Rises when membership changes, not when an end moves forward.
    pub fn version(&self) -> Generation {
        self.version
    }

    /// The members and their ends.
    pub fn members(&self) -> &BTreeMap<Who, Option<UnixMs>> {
        &self.members
    }

    /// The groups that are members.
    pub fn inner(&self) -> impl Iterator<Item = &GroupName> {
        self.members.keys().filter_map(|who| match who {
            Who::Group(inner) => Some(inner),
            _ => None,
        })
    }

    /// What [`GroupList::put`] would do.
    pub fn would_put(&self, who: &Who, until: Option<UnixMs>, now: UnixMs) -> GroupChange {
        match self.members.get(who) {
            Some(Some(ended)) if *ended <= now => GroupChange::Changed,
            Some(present) if *present == until => GroupChange::None,
            Some(Some(present)) if until.is_none_or(|end| end > *present) => GroupChange::Extended,
            _ => GroupChange::Changed,
        }
    }

    /// Adds a member, or moves its end. `None` means without end. Shortening counts as a change of membership.
    ///
    /// # Errors
    /// [`TrustError::Rule`] if `who` cannot be a member or the end has passed; [`TrustError::TooLarge`].
    pub fn put(&mut self, who: Who, until: Option<UnixMs>, now: UnixMs) -> Result<GroupChange, TrustError> {
        check_member(&self.name, &who)?;
        if until.is_some_and(|end| end <= now) {
            return Err(TrustError::Rule(format!("the end given for {who} in {} has passed", self.name)));
        }
        self.drop_ended(now);
        let change = self.would_put(&who, until, now);
        if !self.members.contains_key(&who) {
            check_size("the group", self.members.len() + 1, MAX_MEMBERS)?;
        }
        self.members.insert(who, until);
        if change == GroupChange::Changed {
            self.version = self.version.next();
        }
        Ok(change)
    }

    /// Takes a member out.
    pub fn remove(&mut self, who: &Who) -> GroupChange {
        if self.members.remove(who).is_none() {
            return GroupChange::None;
        }
        self.version = self.version.next();
        GroupChange::Changed
    }

    /// Forgets members whose end has passed: nothing can stand on them any more, so the version stays.
    pub fn drop_ended(&mut self, now: UnixMs) {
        self.members.retain(|_, until| until.is_none_or(|end| now < end));
    }

    /// The list as a document for other sites.
    ///
    /// # Errors
    /// As [`signed::sign`].
    pub fn sign(&self, identity: &Identity, now: UnixMs) -> Result<Vec<u8>, TrustError> {
        let (name, members) = (self.name.clone(), self.members.clone());
        signed::sign(identity, KIND, &Document { name, version: self.version, at: now, members })
    }

    /// Opens a list that the group's home signed; answers when it did so.
    ///
    /// # Errors
    /// [`TrustError::WrongSigner`] if it was somebody else; as [`signed::open`].
    pub fn open(
        bytes: &[u8],
        home: &Principal,
        store: &TrustStore,
        now: UnixMs,
    ) -> Result<(Self, UnixMs), TrustError> {
        let opened = signed::open::<Document>(bytes, KIND, store, now)?;
        if &opened.signer != home || home.realm != opened.value.name.realm {
            let (expected, found) = (home.clone(), opened.signer);
            return Err(TrustError::WrongSigner { kind: KIND.into(), expected, found });
        }
        let Document { name, version, at, members } = opened.value;
        Ok((Self::from_parts(name, version, members)?, at))
    }
}

/// A list as its home signed it for other sites, and when. The signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedList {
    /// The list.
    pub list: GroupList,
    /// When it was signed, by the clock of its home.
    pub signed: UnixMs,
}

impl SignedList {
    /// Opens what the group's home answered when it was asked for this group.
    ///
    /// # Errors
    /// As [`GroupList::open`]; [`TrustError::Rule`] for the list of another group, or one that was signed too long ago.
    pub fn open(
        bytes: &[u8],
        group: &GroupName,
        home: &Principal,
        store: &TrustStore,
        now: UnixMs,
    ) -> Result<Self, TrustError> {
        let (list, signed) = GroupList::open(bytes, home, store, now)?;
        if list.name() != group {
            return Err(TrustError::Rule(format!("{home} answered with the list of {}", list.name())));
        }
        if signed.plus(GROUP_LIFE).plus(CLOCK_SKEW) <= now {
            return Err(TrustError::Rule(format!(
                "{home} answered with a list of {group} that it signed long ago"
            )));
        }
        Ok(Self { list, signed })
    }

    /// Its place among all lists of this group: a list never takes the place of one that stands later.
    pub fn order(&self) -> (Generation, UnixMs) {
        (self.list.version, self.signed)
    }
}

fn check_member(group: &GroupName, who: &Who) -> Result<(), TrustError> {
    match who {
        Who::Anyone | Who::Authenticated => Err(TrustError::Rule(format!("{who} cannot be a member of {group}"))),
        Who::Group(inner) if inner == group => Err(TrustError::Rule(format!("{group} cannot be its own member"))),
        Who::Principal(_) | Who::Group(_) => Ok(()),
    }
}

/// The earlier of two ends, where none means never.
pub(crate) fn earliest(one: Option<UnixMs>, two: Option<UnixMs>) -> Option<UnixMs> {
    match (one, two) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (end, None) | (None, end) => end,
    }
}

/// The later of two ends, where none means never.
pub(crate) fn latest(one: Option<UnixMs>, two: Option<UnixMs>) -> Option<UnixMs> {
    Some(one?.max(two?))
}
