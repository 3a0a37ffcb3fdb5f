//! Groups within groups: one search for all who ask whether a principal belongs to a group, bounded in depth and
//! width. It looks into the lists that are here, and names those that are not; it fetches nothing and reads no clock.
//!
//! The search goes level by level and keeps for each list the latest end by which it is reached (a widest-path
//! relaxation after Bellman and Ford), so that a list costs one look whatever number of ways lead to it.

use crate::error::TrustError;
use crate::group::{GroupList, Member, Membership, earliest, latest};
use crate::limits::{MAX_GROUP_NESTING, MAX_GROUPS_VISITED};
use std::collections::{BTreeMap, BTreeSet};
use terms::{GroupName, Principal, UnixMs, Who};

/// A list as it is known at some place.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// The list.
    pub list: &'a GroupList,
    /// Until when this copy may be used; without end where the list is held.
    pub until: Option<UnixMs>,
}

/// Where a search finds lists.
pub trait Lists {
    /// The list of a group. Without it: why it is not here, or nothing if there is no such group for certain.
    ///
    /// # Errors
    /// Why nobody here can say.
    fn list(&self, group: &GroupName) -> Result<Option<Listed<'_>>, String>;
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The answer.
    pub member: Member,
    /// Through which groups: from the one that was asked for to the one that names the principal.
    pub way: Vec<GroupName>,
    /// The lists that were looked into, and those of groups that do not exist.
    pub visited: BTreeSet<GroupName>,
    /// The lists that are not here and might say more.
    pub missing: BTreeSet<GroupName>,
    /// Until when the copies that were looked into may be used.
    pub known_until: Option<UnixMs>,
}

impl From<Member> for Found {
    /// An answer that stands on nothing that is known of.
    fn from(member: Member) -> Self {
        let (visited, missing) = (BTreeSet::new(), BTreeSet::new());
        Self { member, way: Vec::new(), visited, missing, known_until: None }
    }
}

/// How a list was reached: the latest end, and through which list.
#[derive(Clone)]
struct Reached {
    end: Option<UnixMs>,
    from: Option<GroupName>,
}

struct Search<'a> {
    lists: &'a dyn Lists,
    subject: Who,
    now: UnixMs,
    reached: BTreeMap<GroupName, Reached>,
    best: Option<(Option<UnixMs>, GroupName)>,
    unknown: Option<String>,
    found: Found,
}

/// Whether a principal belongs to a group, directly or through groups that are members. What leads nowhere else is
/// no reason to refuse: a way that is known counts, whatever is unknown beside it.
pub fn search(lists: &dyn Lists, group: &GroupName, principal: &Principal, now: UnixMs) -> Found {
    let found = Found::from(Member::No);
    let start = Reached { end: None, from: None };
    let reached = BTreeMap::from([(group.clone(), start)]);
    let mut search = Search {
        lists,
        subject: Who::Principal(principal.clone()),
        now,
        reached,
        best: None,
        unknown: None,
        found,
    };
    let mut level = BTreeSet::from([group.clone()]);
    for _ in 0..MAX_GROUP_NESTING {
        let forever = matches!(search.best, Some((None, _)));
        if level.is_empty() || forever {
            break;
        }
        level = level.iter().flat_map(|group| search.look_into(group)).collect();
    }
    search.finish(group, &level)
}

impl Search<'_> {
    /// Looks into one list. Answers the groups in it that are reached now, or reached with a later end.
    fn look_into(&mut self, group: &GroupName) -> Vec<GroupName> {
        let end = self.reached.get(group).and_then(|reached| reached.end);
        let listed = match self.lists.list(group) {
            Ok(Some(listed)) if listed.until.is_none_or(|until| self.now < until) => listed,
            Ok(None) => {
                self.found.visited.insert(group.clone());
                return Vec::new();
            }
            Ok(Some(_)) => return self.miss(group, format!("the copy of the list of {group} is too old")),
            Err(why) => return self.miss(group, why),
        };
        if !self.found.visited.contains(group) && self.found.visited.len() >= MAX_GROUPS_VISITED {
            self.unknown = Some(format!("{group} is one of more than {MAX_GROUPS_VISITED} groups within groups"));
            return Vec::new();
        }
        self.found.visited.insert(group.clone());
        self.found.known_until = earliest(self.found.known_until, listed.until);
        let alive = |until: &Option<UnixMs>| until.is_none_or(|end| self.now < end);
        let members = listed.list.members();
        if let Some(until) = members.get(&self.subject).filter(|until| alive(until)) {
            let end = earliest(end, *until);
            if self.best.as_ref().is_none_or(|(best, _)| later(end, *best)) {
                self.best = Some((end, group.clone()));
            }
        }
        let mut next = Vec::new();
        // Groups stand behind all principals, of which there may be thousands.
        for (who, until) in members.iter().rev() {
            let Who::Group(inner) = who else { break };
            let end = earliest(end, *until);
            if alive(until) && self.reached.get(inner).is_none_or(|known| later(end, known.end)) {
                self.reached.insert(inner.clone(), Reached { end, from: Some(group.clone()) });
                next.push(inner.clone());
            }
        }
        next
    }

    fn miss(&mut self, group: &GroupName, why: String) -> Vec<GroupName> {
        self.found.missing.insert(group.clone());
        self.unknown = Some(why);
        Vec::new()
    }

    fn finish(mut self, group: &GroupName, below: &BTreeSet<GroupName>) -> Found {
        if let Some((until, holder)) = &self.best {
            self.found.member = Member::Yes { until: *until };
            self.found.way = self.way_to(holder);
            return self.found;
        }
        let deep = below.first().map(|inner| format!("{inner} nests deeper than {MAX_GROUP_NESTING} groups"));
        let why = self.unknown.take().or(deep).or_else(|| {
            let visited = &self.found.visited;
            let known = |name: &GroupName| match visited.contains(name) {
                true => self.lists.list(name).ok().flatten().map(|listed| listed.list),
                false => None,
            };
            let cycle = depth(&known, group, &mut BTreeMap::new()).err();
            cycle.map(|inner| format!("{inner} contains itself through other groups"))
        });
        self.found.member = why.map_or(Member::No, Member::Unknown);
        self.found
    }

    fn way_to(&self, holder: &GroupName) -> Vec<GroupName> {
        let up = |group: &GroupName| self.reached.get(group).and_then(|reached| reached.from.clone());
        let mut way: Vec<_> = std::iter::successors(Some(holder.clone()), up).take(MAX_GROUP_NESTING).collect();
        way.reverse();
        way
    }
}

/// Whether one end is later than another.
fn later(one: Option<UnixMs>, two: Option<UnixMs>) -> bool {
    one != two && latest(one, two) == one
}

/// How many levels of groups there are from this one down, itself included; the group where a way comes round.
fn depth<'a>(
    known: &impl Fn(&GroupName) -> Option<&'a GroupList>,
    group: &GroupName,
    depths: &mut BTreeMap<GroupName, Option<usize>>,
) -> Result<usize, GroupName> {
    match depths.get(group) {
        Some(Some(depth)) => return Ok(*depth),
        Some(None) => return Err(group.clone()),
        None => {}
    }
    let Some(list) = known(group) else { return Ok(0) };
    depths.insert(group.clone(), None);
    let mut below = 0;
    for inner in list.inner() {
        below = below.max(depth(known, inner, depths)?);
    }
    depths.insert(group.clone(), Some(below + 1));
    Ok(below + 1)
}

/// All principals that may belong to an entry through lists that are here, ended members included, and whether no
/// list was missing. For whoever must drop what stands on a membership.
pub fn principals_below(lists: &dyn Lists, who: &Who) -> (BTreeSet<Principal>, bool) {
    let (mut principals, mut whole) = (BTreeSet::new(), true);
    let (mut open, mut seen) = (vec![who], BTreeSet::new());
    while let Some(who) = open.pop() {
        match who {
            Who::Anyone | Who::Authenticated => whole = false,
            Who::Principal(principal) => {
                principals.insert(principal.clone());
            }
            Who::Group(group) if seen.insert(group) => match lists.list(group) {
                _ if seen.len() > MAX_GROUPS_VISITED => whole = false,
                Ok(Some(listed)) => open.extend(listed.list.members().keys()),
                Ok(None) => {}
                Err(_) => whole = false,
            },
            Who::Group(_) => {}
        }
    }
    (principals, whole)
}

/// The lists that are held at one place.
#[derive(Debug, Clone, Default)]
pub struct Groups(BTreeMap<GroupName, GroupList>);

impl Groups {
    /// No lists.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists that were held before.
    ///
    /// # Errors
    /// As [`Groups::check`].
    pub fn holding(lists: impl IntoIterator<Item = GroupList>) -> Result<Self, TrustError> {
        let lists = lists.into_iter().map(|list| (list.name().clone(), list)).collect();
        let groups = Self(lists);
        groups.0.values().next().map_or(Ok(()), |list| groups.check(list))?;
        Ok(groups)
    }

    /// Takes a list, in place of the one it had of that group.
    ///
    /// # Errors
    /// As [`Groups::check`].
    pub fn put(&mut self, list: GroupList) -> Result<(), TrustError> {
        self.check(&list)?;
        self.0.insert(list.name().clone(), list);
        Ok(())
    }

    /// Whether [`Groups::put`] would take this list.
    ///
    /// # Errors
    /// [`TrustError::Rule`] if groups would contain each other or nest deeper than the limit.
    pub fn check(&self, list: &GroupList) -> Result<(), TrustError> {
        let name = list.name();
        let before = self.0.get(name);
        let same = |before: &GroupList| {
            list.inner().all(|inner| before.members().contains_key(&Who::Group(inner.clone())))
        };
        if before.is_some_and(|before| !std::ptr::eq(before, list) && same(before)) {
            return Ok(());
        }
        let known = |group: &GroupName| if group == name { Some(list) } else { self.0.get(group) };
        let mut depths = BTreeMap::new();
        // The depth is that of the deepest chain anywhere: the new list may stand in the middle of one.
        for group in self.0.keys().chain([name]) {
            match depth(&known, group, &mut depths) {
                Ok(depth) if depth <= MAX_GROUP_NESTING => {}
                Ok(_) => {
                    return Err(TrustError::Rule(format!(
                        "with this list of {name}, {group} would nest deeper than {MAX_GROUP_NESTING} groups"
                    )));
                }
                Err(inner) => {
                    return Err(TrustError::Rule(format!(
                        "with this list of {name}, the group {inner} would contain itself through other groups"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Forgets the list of a group.
    pub fn remove(&mut self, group: &GroupName) -> Option<GroupList> {
        self.0.remove(group)
    }

    /// The list of a group.
    pub fn get(&self, group: &GroupName) -> Option<&GroupList> {
        self.0.get(group)
    }

    /// All lists, by name.
    pub fn iter(&self) -> impl Iterator<Item = &GroupList> {
        self.0.values()
    }

    /// How many lists there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Lists for Groups {
    fn list(&self, group: &GroupName) -> Result<Option<Listed<'_>>, String> {
        match self.0.get(group) {
            Some(list) => Ok(Some(Listed { list, until: None })),
            None => Err(format!("the list of {group} is not here")),
        }
    }
}

impl Membership for Groups {
    fn member(&self, group: &GroupName, principal: &Principal, now: UnixMs) -> Member {
        self.find(group, principal, now).member
    }

    fn find(&self, group: &GroupName, principal: &Principal, now: UnixMs) -> Found {
        search(self, group, principal, now)
    }
}
