//! Copies of foreign lists: how long each may be used, when it may be asked for again, and that none goes back to an
//! older list. Only bookkeeping; nothing here speaks to anybody.

use crate::limits::{GROUP_ASK_INTERVAL, MAX_FOREIGN_GROUPS, MAX_LOST_MEMBERS};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use terms::{BootMs, Code, Generation, GroupName, Problem, UnixMs, Who};
use trust::limits::GROUP_LIFE;
use trust::{GroupChange, GroupList, Listed, SignedList};

#[derive(Default)]
struct Copy {
    /// The list; none if the group's home says that there is no such group.
    held: Option<Held>,
    /// The latest list that was ever seen here.
    latest: (Generation, UnixMs),
    /// When the home was last asked, with whatever outcome.
    asked: Option<BootMs>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

struct Held {
    signed: Option<SignedList>,
    fetched: BootMs,
}

/// The copies of one node.
#[derive(Default)]
pub(super) struct Copies {
    all: HashMap<GroupName, Copy>,
    lost: Lost,
}

/// Who stood in a list and does not any more, or in one that is not here any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// As they stood there.
    pub(super) members: BTreeSet<Who>,
    /// There were too many to be kept apart.
    pub(super) everybody: bool,
}

impl Lost {
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, members: impl IntoIterator<Item = Who>) {
        self.members.extend(members);
        if self.members.len() > MAX_LOST_MEMBERS {
            *self = Self { members: BTreeSet::new(), everybody: true };
        }
    }

    /// All members of a list that are not in a newer one, or for a shorter time.
    fn compare(&mut self, before: Option<Held>, new: Option<&SignedList>) {
        let before = before.and_then(|held| held.signed).map(|signed| signed.list);
        let end = |until: &Option<UnixMs>| until.unwrap_or(UnixMs(u64::MAX));
        let stays = |who: &Who, until: &Option<UnixMs>| {
            let after = new.and_then(|new| new.list.members().get(who));
            after.is_some_and(|after| end(until) <= end(after))
        };
        let members = before.iter().flat_map(|list| list.members());
        self.add(members.filter(|(who, until)| !stays(who, until)).map(|(who, _)| who.clone()));
    }
}

impl Copies {
    /// Who has lost a membership since this was asked last.
    pub(super) fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }

    /// The groups whose list is here, however old.
    pub(super) fn held(&self) -> impl Iterator<Item = (&GroupName, &GroupList)> {
        self.all.iter().filter_map(|(group, copy)| Some((group, &copy.held.as_ref()?.signed.as_ref()?.list)))
    }

    /// The list of a group, however old.
    pub(super) fn of(&self, group: &GroupName) -> Option<&GroupList> {
        Some(&self.all.get(group)?.held.as_ref()?.signed.as_ref()?.list)
    }

    /// Lets go of lists that are too old to be used: nobody is known to be a member any more.
    pub(super) fn drop_old(&mut self, now: BootMs) {
        for copy in self.all.values_mut() {
            let old = copy.held.take_if(|held| now.since(held.fetched) >= GROUP_LIFE);
            self.lost.compare(old, None);
        }
    }

    /// Takes down who is not a member any more because its time is over.
    pub(super) fn lose(&mut self, ended: impl IntoIterator<Item = Who>) {
        self.lost.add(ended);
    }

    /// The copy of a list, if it is young enough; nothing if its home says that there is no such group.
    pub(super) fn list(&self, group: &GroupName, now: BootMs, wall: UnixMs) -> Result<Option<Listed<'_>>, String> {
        let held = self.all.get(group).and_then(|copy| copy.held.as_ref());
        let held = held.filter(|held| now.since(held.fetched) < GROUP_LIFE);
        let held = held.ok_or_else(|| format!("no fresh list of {group} is here"))?;
        let until = Some(wall.plus(GROUP_LIFE.saturating_sub(now.since(held.fetched))));
        Ok(held.signed.as_ref().map(|signed| Listed { list: &signed.list, until }))
    }

    /// Whether the home may be asked: not more often than the interval allows, whatever became of it.
    pub(super) fn due(&self, group: &GroupName, now: BootMs) -> bool {
        let asked = self.all.get(group).and_then(|copy| copy.asked);
        asked.is_none_or(|asked| now.since(asked) >= GROUP_ASK_INTERVAL)
    }

    /// What those hold who ask for this group. The place of the group that was asked for longest ago is taken if there is
    /// none.
    pub(super) fn turn(&mut self, group: &GroupName) -> Arc<tokio::sync::Mutex<()>> {
        if !self.all.contains_key(group) && self.all.len() >= MAX_FOREIGN_GROUPS {
            let oldest = self
                .all
                .iter()
                .min_by_key(|(_, copy)| copy.asked.map_or(u64::MAX, |asked| asked.0))
                .map(|(group, _)| group.clone());
            let gone = oldest.and_then(|group| self.all.remove(&group));
            self.lost.compare(gone.and_then(|copy| copy.held), None);
        }
        self.all.entry(group.clone()).or_default().turn.clone()
    }

    /// Takes the outcome of asking; answers what it changed for decisions.
    pub(super) fn heard(
        &mut self,
        group: &GroupName,
        outcome: Result<SignedList, Problem>,
        asked: BootMs,
        now: BootMs,
    ) -> Result<GroupChange, Problem> {
        let Some(copy) = self.all.get_mut(group) else { return Ok(GroupChange::Changed) };
        copy.asked = Some(now);
        let new = match outcome {
            Ok(new) if new.order() < copy.latest => {
                return Err(Problem::new(
                    Code::Denied,
                    format!("version {} of {group} is older than what was seen here before", new.list.version()),
                ));
            }
            Ok(new) => Some(new),
            Err(problem) if problem.code == Code::NotFound => None,
            Err(problem) => return Err(problem),
        };
        let list = |signed: &Option<SignedList>| signed.as_ref().map(|signed| signed.list.clone());
        let before = copy.held.as_ref().map(|held| list(&held.signed));
        let change = match before {
            Some(before) if before == list(&new) => GroupChange::None,
            Some(Some(before)) if new.as_ref().is_some_and(|new| new.list.version() == before.version()) => {
                GroupChange::Extended
            }
            _ => GroupChange::Changed,
        };
        if let Some(new) = &new {
            copy.latest = new.order();
        }
        self.lost.compare(copy.held.take(), new.as_ref());
        // The copy is as old as the question, not as the answer.
        copy.held = Some(Held { signed: new, fetched: asked });
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: UnixMs = UnixMs(1_000_000);

    fn group(name: &str) -> GroupName {
        format!("spiffe://other.example/group/{name}").parse().expect("a group")
    }

    fn list(version: u64, signed: UnixMs) -> SignedList {
        let mut list = GroupList::after(group("g"), Generation(version - 1));
        let alice: Who = "spiffe://other.example/user/alice".parse().expect("a principal");
        list.put(alice, None, SIGNED).expect("a member");
        SignedList { list, signed }
    }

    fn later(at: BootMs, seconds: u64) -> BootMs {
        BootMs(at.0 + 1000 * seconds)
    }

    #[test]
    fn a_copy_is_as_old_as_the_question_and_ends_after_a_minute() {
        let (mut copies, asked) = (Copies::default(), BootMs(5000));
        copies.turn(&group("g"));
        copies.heard(&group("g"), Ok(list(3, SIGNED)), asked, later(asked, 2)).expect("taken");
        let usable = |at| copies.list(&group("g"), at, SIGNED).ok().flatten().and_then(|listed| listed.until);
        assert_eq!(usable(later(asked, 59)), Some(UnixMs(SIGNED.0 + 1000)));
        assert_eq!(usable(later(asked, 60)), None, "a minute after it was asked for");
        assert!(copies.list(&group("g"), later(asked, 60), SIGNED).is_err(), "and unknown, not gone");
        assert!(!copies.due(&group("g"), later(asked, 2)), "asked just now");
        assert!(copies.due(&group("g"), later(asked, 3)));
    }

    #[test]
    fn a_rollback_to_an_older_list_is_refused() {
        let (mut copies, now) = (Copies::default(), BootMs(5000));
        copies.turn(&group("g"));
        let mut hear = |new| copies.heard(&group("g"), new, now, now);
        assert_eq!(hear(Ok(list(3, SIGNED))), Ok(GroupChange::Changed));
        assert_eq!(hear(Ok(list(3, UnixMs(SIGNED.0 + 1)))), Ok(GroupChange::None), "the same once more");
        assert!(hear(Ok(list(2, UnixMs(SIGNED.0 + 2)))).is_err(), "an older version");
        assert!(hear(Ok(list(3, SIGNED))).is_err(), "the same version, signed earlier");
        assert_eq!(hear(Err(Problem::new(Code::NotFound, "gone"))), Ok(GroupChange::Changed));
        assert!(hear(Ok(list(2, UnixMs(SIGNED.0 + 3)))).is_err(), "also after the group was gone");
        assert_eq!(hear(Ok(list(4, UnixMs(SIGNED.0 + 3)))), Ok(GroupChange::Changed));
    }

    #[test]
    fn silence_leaves_the_copy_until_its_end_and_is_not_asked_at_once_again() {
        let (mut copies, now) = (Copies::default(), BootMs(5000));
        copies.turn(&group("g"));
        copies.heard(&group("g"), Ok(list(3, SIGNED)), now, now).expect("taken");
        let silent = || Err(Problem::new(Code::Timeout, "silent"));
        assert!(copies.heard(&group("g"), silent(), later(now, 10), later(now, 13)).is_err());
        assert!(!copies.due(&group("g"), later(now, 13)));
        assert!(matches!(copies.list(&group("g"), later(now, 59), SIGNED), Ok(Some(_))));
        assert!(copies.list(&group("g"), later(now, 60), SIGNED).is_err());
    }

    #[test]
    fn of_too_many_the_one_asked_for_longest_ago_goes() {
        let mut copies = Copies::default();
        for number in 0..=MAX_FOREIGN_GROUPS as u64 {
            let name = group(&format!("g{number}"));
            copies.turn(&name);
            let _ = copies.heard(&name, Err(Problem::new(Code::NotFound, "none")), BootMs(number), BootMs(number));
        }
        assert_eq!(copies.all.len(), MAX_FOREIGN_GROUPS);
        assert!(!copies.all.contains_key(&group("g0")) && copies.all.contains_key(&group("g1")));
    }

    #[test]
    fn whoever_stands_in_no_list_any_more_is_told_once() {
        let who = |name: &str| format!("spiffe://other.example/user/{name}").parse::<Who>().expect("a principal");
        let with = |version: u64, names: &[&str]| {
            let mut list = GroupList::after(group("g"), Generation(version - 1));
            for name in names {
                list.put(who(name), None, SIGNED).expect("a member");
            }
            SignedList { list, signed: UnixMs(SIGNED.0 + version) }
        };
        let lost = |copies: &mut Copies| copies.take_lost().members.into_iter().collect::<Vec<_>>();
        let (mut copies, now) = (Copies::default(), BootMs(5000));
        copies.turn(&group("g"));
        copies.heard(&group("g"), Ok(with(3, &["alice", "bob", "carol", "dora"])), now, now).expect("taken");
        assert_eq!(lost(&mut copies), []);
        copies.heard(&group("g"), Ok(with(10, &["alice", "bob", "carol"])), now, now).expect("taken");
        assert_eq!((lost(&mut copies), lost(&mut copies)), (vec![who("dora")], vec![]), "once");
        let mut shorter = with(20, &["alice", "bob", "carol"]);
        shorter.list.put(who("carol"), Some(UnixMs(SIGNED.0 + 99_000)), SIGNED).expect("a member");
        copies.heard(&group("g"), Ok(shorter), now, now).expect("taken");
        assert_eq!(lost(&mut copies), [who("carol")], "for a shorter time");
        copies.lose([who("bob")]);
        assert_eq!(lost(&mut copies), [who("bob")]);
        copies.drop_old(later(now, 59));
        assert_eq!(lost(&mut copies), [], "it may be used still");
        copies.drop_old(later(now, 60));
        assert_eq!(lost(&mut copies), [who("alice"), who("bob"), who("carol")], "it is too old");
        copies.heard(&group("g"), Ok(with(30, &["alice"])), later(now, 61), later(now, 61)).expect("taken");
        let gone = Err(Problem::new(Code::NotFound, "gone"));
        copies.heard(&group("g"), gone, later(now, 62), later(now, 62)).expect("taken");
        assert_eq!(lost(&mut copies), [who("alice")], "the group is gone");
        copies.heard(&group("g"), Ok(with(40, &["alice"])), later(now, 63), later(now, 63)).expect("taken");
        for number in 0..=MAX_FOREIGN_GROUPS as u64 {
            let name = group(&format!("g{number}"));
            copies.turn(&name);
            let _ = copies.heard(&name, Err(Problem::new(Code::NotFound, "none")), BootMs(9000), later(now, 70));
        }
        assert_eq!(lost(&mut copies), [who("alice")], "there was no place for its list");
        copies.lose((0..=MAX_LOST_MEMBERS).map(|number| who(&format!("u{number}"))));
        assert!(copies.take_lost().everybody, "too many to be kept apart");
    }
}
