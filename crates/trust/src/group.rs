//! Groups: signed, versioned lists of members, each with an end of its own. The rules that change a list are
//! pure; a set of lists answers questions about membership and says so when it does not know.

use crate::codec::check_size;
use crate::error::TrustError;
use crate::identity::Identity;
use crate::limits::{MAX_GROUP_NESTING, MAX_GROUPS_VISITED, MAX_MEMBERS};
use crate::signed;
use crate::store::TrustStore;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use terms::{Generation, GroupName, Principal, UnixMs, Who};

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
        let change = match self.members.get(&who) {
            Some(present) if *present == until => GroupChange::None,
            Some(Some(present)) if until.is_none_or(|end| end > *present) => GroupChange::Extended,
            _ => GroupChange::Changed,
        };
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

fn check_member(group: &GroupName, who: &Who) -> Result<(), TrustError> {
    match who {
        Who::Anyone | Who::Authenticated => Err(TrustError::Rule(format!("{who} cannot be a member of {group}"))),
        Who::Group(inner) if inner == group => Err(TrustError::Rule(format!("{group} cannot be its own member"))),
        Who::Principal(_) | Who::Group(_) => Ok(()),
    }
}

/// The lists that are known here.
#[derive(Debug, Clone, Default)]
pub struct Groups(BTreeMap<GroupName, GroupList>);

impl Groups {
    /// No lists.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a list, in place of the one it had of that group.
    ///
    /// # Errors
    /// [`TrustError::Rule`] if groups would contain each other or nest deeper than the limit.
    pub fn put(&mut self, list: GroupList) -> Result<(), TrustError> {
        let name = list.name.clone();
        let before = self.0.insert(name.clone(), list);
        // The depth is that of the deepest chain anywhere: the new list may stand in the middle of one.
        let fits = self.0.keys().all(|group| self.fits(group, MAX_GROUP_NESTING));
        if fits {
            return Ok(());
        }
        match before {
            Some(before) => self.0.insert(name.clone(), before),
            None => self.0.remove(&name),
        };
        Err(TrustError::Rule(format!(
            "with this list of {name} groups would contain each other, or nest deeper than {MAX_GROUP_NESTING}"
        )))
    }

    /// The list of a group.
    pub fn get(&self, group: &GroupName) -> Option<&GroupList> {
        self.0.get(group)
    }

    /// Whether everything below this group ends within so many levels. A cycle never does.
    fn fits(&self, group: &GroupName, levels: usize) -> bool {
        let Some(list) = self.0.get(group) else { return true };
        let mut inner = list.members.keys().filter_map(|who| match who {
            Who::Group(inner) => Some(inner),
            _ => None,
        });
        levels > 0 && inner.all(|inner| self.fits(inner, levels - 1))
    }

    fn search(&self, search: &mut Search<'_>, group: &GroupName, levels: usize) -> Member {
        let Some(list) = self.0.get(group) else {
            return Member::Unknown(format!("the list of {group} is not here"));
        };
        if levels == 0 || search.left == 0 {
            return Member::Unknown(format!("{group} nests too deep or too wide"));
        }
        search.left -= 1;
        let mut best = Member::No;
        for (who, until) in &list.members {
            if until.is_some_and(|end| search.now >= end) {
                continue;
            }
            let found = match who {
                Who::Principal(principal) if principal == search.principal => Member::Yes { until: *until },
                Who::Group(inner) => ends_with(self.search(search, inner, levels - 1), *until),
                _ => Member::No,
            };
            best = better(best, found);
        }
        best
    }
}

struct Search<'a> {
    principal: &'a Principal,
    now: UnixMs,
    left: usize,
}

/// A membership through a group that is itself a member with an end.
fn ends_with(inner: Member, outer: Option<UnixMs>) -> Member {
    match inner {
        Member::Yes { until } => Member::Yes { until: earliest(until, outer) },
        other => other,
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

/// Of two answers the one that says more: a longer yes, then any yes, then unknown, then no.
fn better(one: Member, two: Member) -> Member {
    match (one, two) {
        (Member::Yes { until: one }, Member::Yes { until: two }) => Member::Yes { until: latest(one, two) },
        (yes @ Member::Yes { .. }, _) | (_, yes @ Member::Yes { .. }) => yes,
        (unknown @ Member::Unknown(_), _) | (_, unknown @ Member::Unknown(_)) => unknown,
        (Member::No, Member::No) => Member::No,
    }
}

impl Membership for Groups {
    fn member(&self, group: &GroupName, principal: &Principal, now: UnixMs) -> Member {
        self.search(&mut Search { principal, now, left: MAX_GROUPS_VISITED }, group, MAX_GROUP_NESTING)
    }
}
