//! Groups as a node knows them: those whose list is held here, and copies of foreign lists.
//!
//! A question about membership never waits. Before a decision the node calls [`Groups::prepare`], which fetches
//! what the decision may need, groups within groups too; what is still unknown then counts as no.

mod copies;
pub mod orders;
mod own;
pub mod recheck;

pub use own::{OwnGroup, Term};

use crate::limits::{GROUP_FETCH_DEADLINE, GROUP_WAIT};
use client::{Client, Folder};
use copies::Copies;
use own::Own;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use terms::{BootMs, Code, GroupName, Principal, Problem, RealmName, Right, Rights, UnixMs, Who};
use tokio::sync::Notify;
use trust::limits::{MAX_GROUP_NESTING, MAX_GROUPS_VISITED};
use trust::{
    Bucket, Checked, Decisions, Entries, Found, GroupChange, GroupList, Listed, Lists, Member, Membership,
    SignedList, principals_below, search,
};

/// The groups of one node.
pub struct Groups {
    client: Client,
    realm: RealmName,
    /// Whether this node holds the lists of its realm (its first node does).
    holds_realm: bool,
    own: Mutex<Own>,
    /// One change at a time, from its check to its file. Questions do not wait for it.
    turn: Mutex<()>,
    copies: Mutex<Copies>,
    changes: AtomicU64,
    /// What decisions found before.
    warm: Mutex<Decisions>,
    /// A list that is not held here has lost a member.
    lost: Notify,
}

/// All lists as they may be used at one moment.
struct View<'a> {
    groups: &'a Groups,
    own: MutexGuard<'a, Own>,
    copies: MutexGuard<'a, Copies>,
    now: BootMs,
    wall: UnixMs,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lists for View<'_> {
    fn list(&self, group: &GroupName) -> Result<Option<Listed<'_>>, String> {
        if self.groups.holds(group) {
            return Ok(self.own.list(group).map(|list| Listed { list, until: None }));
        }
        self.copies.list(group, self.now, self.wall)
    }
}

/// The same for who has lost a membership. A list that is not here gives nobody anything, and when it left all of its
/// members were taken down; so it is as good as empty, and whoever holds a list elsewhere cannot end everybody's sessions
/// with a group that nobody knows.
struct Departed<'a>(View<'a>);

impl Lists for Departed<'_> {
    fn list(&self, group: &GroupName) -> Result<Option<Listed<'_>>, String> {
        let Self(view) = self;
        let list = if view.groups.holds(group) { view.own.list(group) } else { view.copies.of(group) };
        Ok(list.map(|list| Listed { list, until: None }))
    }
}

impl Groups {
    /// Loads the lists held here.
    pub fn load(client: Client, folder: &Folder, realm: RealmName, holds_realm: bool) -> Result<Self, Problem> {
        let seed = client.world().entropy.number();
        Ok(Self {
            client,
            realm,
            holds_realm,
            own: Mutex::new(Own::load(folder.groups())?),
            turn: Mutex::default(),
            copies: Mutex::default(),
            changes: AtomicU64::new(0),
            warm: Mutex::new(Decisions::new(seed)),
            lost: Notify::new(),
        })
    }

    /// Whether the list of this group is held here, if there is one.
    pub fn holds(&self, group: &GroupName) -> bool {
        self.holds_realm && group.realm == self.realm
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    fn view(&self) -> View<'_> {
        let clock = &self.client.world().clock;
        let (now, wall) = (clock.boot(), clock.unix());
        View { groups: self, own: lock(&self.own), copies: lock(&self.copies), now, wall }
    }

    /// A group held here.
    pub fn own(&self, group: &GroupName) -> Option<OwnGroup> {
        lock(&self.own).get(group)
    }

    /// All groups held here.
    pub fn all(&self) -> Vec<OwnGroup> {
        lock(&self.own).all()
    }

    /// All principals that an entry may stand for, as far as lists are here, and whether all of them are.
    pub fn principals_below(&self, who: &Who) -> (BTreeSet<Principal>, bool) {
        principals_below(&self.view(), who)
    }

    /// Makes a group, unless there is one; its access list is set in any case.
    pub fn ensure(&self, group: &GroupName, bucket: Bucket) -> Result<(), Problem> {
        let now = self.client.world().clock.unix();
        self.change(group, |present| {
            Ok(OwnGroup { bucket, ..present.unwrap_or_else(|| OwnGroup::new(group, now)) })
        })
    }

    /// Makes a group that is not there.
    pub fn create(&self, group: &GroupName, bucket: Bucket) -> Result<(), Problem> {
        let now = self.client.world().clock.unix();
        self.change(group, |present| match present {
            Some(_) => Err(Problem::new(Code::Exists, format!("there is a group {group} already"))
                .next(format!("`webos group show {}` tells who is in it", group.name))),
            None => Ok(OwnGroup { bucket, ..OwnGroup::new(group, now) }),
        })
    }

    /// Removes a group with its list.
    pub fn delete(&self, group: &GroupName) -> Result<(), Problem> {
        self.must_hold(group)?;
        let _turn = lock(&self.turn);
        let file = lock(&self.own).file(group);
        own::remove(&file)?;
        lock(&self.own).forget(group);
        self.changed();
        Ok(())
    }

    /// Puts a member in for a term, or takes it out.
    pub fn set_member(
        &self,
        group: &GroupName,
        member: &Who,
        term: Term,
        now: UnixMs,
    ) -> Result<GroupChange, Problem> {
        let mut done = GroupChange::None;
        self.change(group, |present| {
            let mut own = present.ok_or_else(|| own::missing(group))?;
            done = own.set(member, term, now)?;
            Ok(own)
        })?;
        Ok(done)
    }

    /// What [`Groups::set_member`] would do.
    pub fn would_set(
        &self,
        group: &GroupName,
        member: &Who,
        term: Term,
        now: UnixMs,
    ) -> Result<GroupChange, Problem> {
        let mut new = self.own(group).ok_or_else(|| own::missing(group))?;
        let change = new.set(member, term, now)?;
        lock(&self.own).check(&new)?;
        Ok(change)
    }

    /// Changes the access list of a group.
    pub fn amend(
        &self,
        group: &GroupName,
        amended: impl FnOnce(&Bucket) -> Result<Bucket, Problem>,
    ) -> Result<Bucket, Problem> {
        self.change(group, |present| {
            let own = present.ok_or_else(|| own::missing(group))?;
            Ok(OwnGroup { bucket: amended(&own.bucket)?, ..own })
        })?;
        Ok(self.own(group).map(|own| own.bucket).unwrap_or_default())
    }

    fn must_hold(&self, group: &GroupName) -> Result<(), Problem> {
        if self.holds(group) {
            return Ok(());
        }
        Err(Problem::new(Code::Unsupported, format!("the list of {group} is not held here"))
            .next("ask the first node of its realm"))
    }

    /// One change: checked, written, and only then in force.
    fn change(
        &self,
        group: &GroupName,
        change: impl FnOnce(Option<OwnGroup>) -> Result<OwnGroup, Problem>,
    ) -> Result<(), Problem> {
        self.must_hold(group)?;
        let _turn = lock(&self.turn);
        let new = change(self.own(group))?;
        let file = {
            let own = lock(&self.own);
            own.check(&new)?;
            own.file(group)
        };
        own::write(&file, &new)?;
        let before = lock(&self.own).list(group).map(GroupList::version);
        let after = new.list.version();
        lock(&self.own).keep(new)?;
        // An end that moved forward makes no new version, and drops no decision.
        if before != Some(after) {
            self.changed();
        }
        Ok(())
    }

    /// Fetches the foreign lists that a decision on this access list needs for this subject: those that are missing
    /// or too old, and, where all that is known says no, those that might say yes by now.
    pub async fn prepare(&self, bucket: &Bucket, subject: Option<&Principal>) {
        let Some(subject) = subject else { return };
        if self.wanted(bucket, subject).is_empty() {
            return;
        }
        if tokio::time::timeout(GROUP_WAIT, self.gather(bucket, subject)).await.is_err() {
            tracing::warn!(%subject, "the lists of foreign groups take too long: what is not here counts as no");
        }
    }

    async fn gather(&self, bucket: &Bucket, subject: &Principal) {
        // Each round knows one more level of groups within groups.
        for _ in 0..MAX_GROUP_NESTING {
            let wanted = self.wanted(bucket, subject);
            if wanted.is_empty() {
                return;
            }
            futures_util::future::join_all(wanted.iter().map(|group| self.refresh(group))).await;
        }
    }

    /// The lists to ask for now. Entries that give no more than what is certain already are left out, so that a realm
    /// that is silent keeps nobody waiting who does not need it.
    fn wanted(&self, bucket: &Bucket, subject: &Principal) -> BTreeSet<GroupName> {
        let view = self.view();
        let (mut held, mut open) = (Rights::NONE, Vec::new());
        for (who, rights) in bucket.entries() {
            match who {
                Who::Anyone | Who::Authenticated => held = held.with(*rights),
                Who::Principal(principal) if principal == subject => held = held.with(*rights),
                Who::Principal(_) => {}
                Who::Group(group) => match search(&view, group, subject, view.wall) {
                    Found { member: Member::Yes { .. }, .. } => held = held.with(*rights),
                    found => open.push((*rights, found)),
                },
            }
        }
        let open = open.into_iter().filter(|(rights, _)| !held.covers(*rights));
        let named = open.flat_map(|(_, found)| found.missing.into_iter().chain(found.visited));
        named
            .filter(|group| !self.holds(group) && view.copies.due(group, view.now))
            .take(MAX_GROUPS_VISITED)
            .collect()
    }

    /// Asks the home of a group, one at a time for each group: who comes second finds what the first one fetched.
    async fn refresh(&self, group: &GroupName) {
        let turn = lock(&self.copies).turn(group);
        let _turn = turn.lock().await;
        let clock = &self.client.world().clock;
        let asked = clock.boot();
        if !lock(&self.copies).due(group, asked) {
            return;
        }
        let timely = tokio::time::timeout(GROUP_FETCH_DEADLINE, self.fetch(group)).await;
        let outcome = timely.unwrap_or_else(|_| {
            Err(Problem::new(Code::Timeout, format!("the home of {group} does not answer in time")))
        });
        let heard = lock(&self.copies).heard(group, outcome, asked, clock.boot());
        match heard {
            Ok(GroupChange::None | GroupChange::Extended) => {}
            Ok(GroupChange::Changed) => {
                self.changed();
                self.lost.notify_one();
            }
            Err(problem) => tracing::warn!(%group, %problem, "a group's list cannot be had"),
        }
    }

    /// Asks again for the lists that these principals stand on, and lets go of those that are too old.
    async fn look_again(&self, holders: &BTreeSet<Principal>) {
        let wanted: Vec<_> = {
            let view = self.view();
            let concerned = |group: &GroupName| {
                let (below, whole) = principals_below(&view, &Who::Group(group.clone()));
                !holders.is_empty() && (!whole || !below.is_disjoint(holders))
            };
            let held = view.copies.held().map(|(group, _)| group).filter(|group| view.copies.due(group, view.now));
            held.filter(|group| concerned(group)).cloned().collect()
        };
        futures_util::future::join_all(wanted.iter().map(|group| self.refresh(group))).await;
        let now = self.client.world().clock.boot();
        lock(&self.copies).drop_old(now);
    }

    /// Takes down whose membership of any list here ended by itself between these times.
    fn lose_ended(&self, since: UnixMs, now: UnixMs) {
        let (own, mut copies) = (lock(&self.own), lock(&self.copies));
        let lists = own.lists().chain(copies.held().map(|(_, list)| list));
        let ended = |until: &Option<UnixMs>| until.is_some_and(|until| since < until && until <= now);
        let members = lists.flat_map(|list| list.members()).filter(|(_, until)| ended(until));
        let ended: Vec<_> = members.map(|(who, _)| who.clone()).collect();
        copies.lose(ended);
    }

    /// The principals that have lost a membership since this was asked last, and whether they are all.
    fn take_lost(&self) -> (BTreeSet<Principal>, bool) {
        let lost = lock(&self.copies).take_lost();
        if lost.is_nothing() {
            return (BTreeSet::new(), true);
        }
        let departed = Departed(self.view());
        let below = lost.members.iter().map(|who| principals_below(&departed, who));
        below.fold((BTreeSet::new(), !lost.everybody), |(mut all, known), (below, whole)| {
            all.extend(below);
            (all, known && whole)
        })
    }

    async fn fetch(&self, group: &GroupName) -> Result<SignedList, Problem> {
        // A realm that is not trusted does not say that it has no such group.
        let silent = |problem: Problem| Problem { code: Code::Unavailable, ..problem };
        let home = self.client.first_node(&group.realm).map_err(silent)?;
        let bytes = home.group(group).await?;
        let now = self.client.world().clock.unix();
        Ok(SignedList::open(&bytes, group, home.principal(), self.client.trust(), now)?)
    }
}

impl Membership for Groups {
    fn member(&self, group: &GroupName, principal: &Principal, now: UnixMs) -> Member {
        self.find(group, principal, now).member
    }

    fn find(&self, group: &GroupName, principal: &Principal, now: UnixMs) -> Found {
        search(&self.view(), group, principal, now)
    }

    fn warm(&self, subject: &Principal, right: Right, bucket: &Bucket, now: UnixMs) -> Option<Checked> {
        let question = Entries { subject, bucket, hash: bucket.hash(), right };
        lock(&self.warm).lookup(&question, self.changes(), now).cloned()
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn keep_warm(&self, subject: &Principal, right: Right, bucket: &Bucket, found: &Checked, changes: u64) {
        let question = Entries { subject, bucket, hash: bucket.hash(), right };
        lock(&self.warm).keep(&question, found.clone(), changes);
    }
}
