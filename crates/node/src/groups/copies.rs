//! Copies of foreign lists: how long each may be used, when it may be asked for again, and that none goes back to an
//! older list. Only bookkeeping; nothing here speaks to anybody.

use crate::limits::{GROUP_ASK_INTERVAL, MAX_FOREIGN_GROUPS};
use std::collections::HashMap;
use std::sync::Arc;
use terms::{BootMs, Code, Generation, GroupName, Problem, UnixMs};
use trust::limits::GROUP_LIFE;
use trust::{GroupChange, Listed, SignedList};

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
pub(super) struct Copies(HashMap<GroupName, Copy>);

impl Copies {
    /// The copy of a list, if it is young enough; nothing if its home says that there is no such group.
    pub(super) fn list(&self, group: &GroupName, now: BootMs, wall: UnixMs) -> Result<Option<Listed<'_>>, String> {
        let held = self.0.get(group).and_then(|copy| copy.held.as_ref());
        let held = held.filter(|held| now.since(held.fetched) < GROUP_LIFE);
        let held = held.ok_or_else(|| format!("no fresh list of {group} is here"))?;
        let until = Some(wall.plus(GROUP_LIFE.saturating_sub(now.since(held.fetched))));
        Ok(held.signed.as_ref().map(|signed| Listed { list: &signed.list, until }))
    }

    /// Whether the home may be asked: not more often than the interval allows, whatever became of it.
    pub(super) fn due(&self, group: &GroupName, now: BootMs) -> bool {
        let asked = self.0.get(group).and_then(|copy| copy.asked);
        asked.is_none_or(|asked| now.since(asked) >= GROUP_ASK_INTERVAL)
    }

    /// What those hold who ask for this group. The place of the group that was asked for longest ago is taken if there is
    /// none.
    pub(super) fn turn(&mut self, group: &GroupName) -> Arc<tokio::sync::Mutex<()>> {
        if !self.0.contains_key(group) && self.0.len() >= MAX_FOREIGN_GROUPS {
            let oldest = self
                .0
                .iter()
                .min_by_key(|(_, copy)| copy.asked.map_or(u64::MAX, |asked| asked.0))
                .map(|(group, _)| group.clone());
            oldest.and_then(|group| self.0.remove(&group));
        }
        self.0.entry(group.clone()).or_default().turn.clone()
    }

    /// Takes the outcome of asking; answers what it changed for decisions.
    pub(super) fn heard(
        &mut self,
        group: &GroupName,
        outcome: Result<SignedList, Problem>,
        asked: BootMs,
        now: BootMs,
    ) -> Result<GroupChange, Problem> {
        let Some(copy) = self.0.get_mut(group) else { return Ok(GroupChange::Changed) };
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
        // The copy is as old as the question, not as the answer.
        copy.held = Some(Held { signed: new, fetched: asked });
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use terms::Who;
    use trust::GroupList;

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
        assert_eq!(copies.0.len(), MAX_FOREIGN_GROUPS);
        assert!(!copies.0.contains_key(&group("g0")) && copies.0.contains_key(&group("g1")));
    }
}
