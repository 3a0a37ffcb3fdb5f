//! Groups as a node knows them: those whose list is held here, and copies of foreign lists.
//!
//! A question about membership never waits. Before a decision the node calls [`Groups::prepare`], which fetches
//! what the decision may need; what is still unknown then counts as no.

use crate::limits::{GROUP_ASK_INTERVAL, GROUP_LIFE, MAX_FOREIGN_GROUPS, MAX_OWN_GROUPS};
use client::{Client, Folder};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use terms::{BootMs, Code, Generation, GroupName, Principal, Problem, RealmName, UnixMs, Who};
use trust::{Bucket, GroupList, Member, Membership};

/// A group held here: its members, and who may see and change them.
#[derive(Clone)]
pub struct OwnGroup {
    /// The members.
    pub list: GroupList,
    /// The access list of the group itself.
    pub bucket: Bucket,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    name: GroupName,
    version: Generation,
    members: BTreeMap<Who, Option<UnixMs>>,
    bucket: Bucket,
}

struct Copy {
    list: GroupList,
    fetched: BootMs,
}

#[derive(Default)]
struct State {
    own: BTreeMap<GroupName, OwnGroup>,
    copies: HashMap<GroupName, Copy>,
}

/// The groups of one node.
pub struct Groups {
    client: Client,
    realm: RealmName,
    /// Whether this node holds the lists of its realm (its first node does).
    holds_realm: bool,
    folder: PathBuf,
    state: Mutex<State>,
}

impl Groups {
    /// Loads the lists held here.
    pub fn load(client: Client, folder: &Folder, realm: RealmName, holds_realm: bool) -> Result<Self, Problem> {
        let mut state = State::default();
        for entry in fs::read_dir(folder.groups()).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "group") {
                continue;
            }
            let damaged =
                |why: String| Problem::new(Code::Internal, format!("{} is damaged: {why}", path.display()));
            let bytes = fs::read(&path).map_err(|error| damaged(error.to_string()))?;
            let stored: Stored = wire::cbor::from_slice(&bytes).map_err(|problem| damaged(problem.detail))?;
            let list = GroupList::from_parts(stored.name.clone(), stored.version, stored.members)
                .map_err(|error| damaged(error.to_string()))?;
            state.own.insert(stored.name, OwnGroup { list, bucket: stored.bucket });
        }
        Ok(Self { client, realm, holds_realm, folder: folder.groups(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A group held here.
    pub fn own(&self, group: &GroupName) -> Option<OwnGroup> {
        self.state().own.get(group).cloned()
    }

    /// Makes a group, unless there is one; its access list is set in any case.
    pub fn create(&self, group: &GroupName, bucket: Bucket) -> Result<(), Problem> {
        self.change_group(group, |present| {
            let list = present.map_or_else(|| GroupList::new(group.clone()), |own| own.list.clone());
            Ok(OwnGroup { list, bucket })
        })
    }

    /// Puts a member in until then, or takes it out.
    pub fn set_member(
        &self,
        group: &GroupName,
        member: Who,
        until: Option<UnixMs>,
        now: UnixMs,
    ) -> Result<(), Problem> {
        self.change_group(group, |present| {
            let mut own =
                present.cloned().ok_or_else(|| Problem::new(Code::NotFound, format!("there is no {group}")))?;
            match until {
                Some(end) => own.list.put(member, Some(end), now).map(drop)?,
                None => drop(own.list.remove(&member)),
            }
            Ok(own)
        })
    }

    /// Puts a member in without an end.
    pub fn add_for_good(&self, group: &GroupName, member: Who, now: UnixMs) -> Result<(), Problem> {
        self.change_group(group, |present| {
            let mut own =
                present.cloned().ok_or_else(|| Problem::new(Code::NotFound, format!("there is no {group}")))?;
            own.list.put(member, None, now)?;
            Ok(own)
        })
    }

    /// One change: written before it counts. The lock is held over the write, so that changes have one order.
    fn change_group(
        &self,
        group: &GroupName,
        change: impl FnOnce(Option<&OwnGroup>) -> Result<OwnGroup, Problem>,
    ) -> Result<(), Problem> {
        if !self.holds_realm || group.realm != self.realm {
            return Err(Problem::new(Code::Unsupported, format!("the list of {group} is not held here")));
        }
        let mut state = self.state();
        let new = change(state.own.get(group))?;
        if !state.own.contains_key(group) && state.own.len() >= MAX_OWN_GROUPS {
            return Err(Problem::new(Code::TooLarge, format!("a realm has at most {MAX_OWN_GROUPS} groups")));
        }
        let stored = Stored {
            name: group.clone(),
            version: new.list.version(),
            members: new.list.members().clone(),
            bucket: new.bucket.clone(),
        };
        let path = self.folder.join(format!("{}.group", group.name));
        client::durable::replace(&path, &wire::cbor::to_vec(&stored))?;
        state.own.insert(group.clone(), new);
        Ok(())
    }

    /// Fetches the foreign lists that a decision on this access list needs for this subject.
    pub async fn prepare(&self, bucket: &Bucket, subject: Option<&Principal>) {
        let Some(subject) = subject else { return };
        for (who, _) in bucket.entries() {
            if let Who::Group(group) = who
                && self.must_fetch(group, subject)
                && let Err(problem) = self.fetch(group).await
            {
                tracing::warn!(%group, %problem, "a group's list cannot be had");
            }
        }
    }

    fn must_fetch(&self, group: &GroupName, subject: &Principal) -> bool {
        if self.holds_realm && group.realm == self.realm {
            return false;
        }
        let world = self.client.world();
        let (now, wall) = (world.clock.boot(), world.clock.unix());
        match self.state().copies.get(group) {
            None => true,
            Some(copy) => {
                let age = now.since(copy.fetched);
                // A copy that says no may be behind: the group's realm is asked once before a refusal.
                let member = copy.list.members().get(&Who::Principal(subject.clone()));
                let ended = member.is_none_or(|until| until.is_some_and(|end| end <= wall));
                age >= GROUP_LIFE || (ended && age >= GROUP_ASK_INTERVAL)
            }
        }
    }

    async fn fetch(&self, group: &GroupName) -> Result<(), Problem> {
        let home = self.client.first_node(&group.realm)?;
        let asked = self.client.world().clock.boot();
        let bytes = home.group(group).await?;
        let now = self.client.world().clock.unix();
        let (list, _) = GroupList::open(&bytes, home.principal(), self.client.trust(), now)?;
        if list.name() != group {
            return Err(Problem::new(Code::Denied, format!("{} answered with another group", home.principal())));
        }
        let mut state = self.state();
        if state.copies.len() >= MAX_FOREIGN_GROUPS {
            state.copies.clear();
        }
        state.copies.insert(group.clone(), Copy { list, fetched: asked });
        Ok(())
    }
}

impl Membership for Groups {
    fn member(&self, group: &GroupName, principal: &Principal, now: UnixMs) -> Member {
        let state = self.state();
        let list = match (state.own.get(group), state.copies.get(group)) {
            (Some(own), _) => &own.list,
            (None, _) if self.holds_realm && group.realm == self.realm => return Member::No,
            (None, Some(copy)) if self.client.world().clock.boot().since(copy.fetched) < GROUP_LIFE => &copy.list,
            _ => return Member::Unknown(format!("no fresh list of {group} is here")),
        };
        match list.members().get(&Who::Principal(principal.clone())) {
            Some(Some(end)) if *end <= now => Member::No,
            Some(until) => Member::Yes { until: *until },
            None => Member::No,
        }
    }
}
