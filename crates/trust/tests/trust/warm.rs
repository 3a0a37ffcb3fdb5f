//! Warm decisions: kept answers are those that would be found anew, whatever changes meanwhile; and what they cost.

use crate::support::{principal, rights};
use std::time::Duration;
use terms::{GroupName, Principal, Right, UnixMs, Who};
use webos_trust::limits::WARM_DECISIONS;
use webos_trust::{
    Bucket, Decisions, Entries, Found, Ground, GroupList, Groups, Listed, Lists, Member, Membership, check_entries,
    search,
};
use world::World;

const START: UnixMs = UnixMs(1_000_000);

/// Copies that grow old, over lists that change.
#[derive(Default)]
struct Known {
    lists: Groups,
    until: Option<UnixMs>,
    hidden: Option<GroupName>,
}

impl Lists for Known {
    fn list(&self, group: &GroupName) -> Result<Option<Listed<'_>>, String> {
        let here = self.lists.get(group).filter(|_| self.hidden.as_ref() != Some(group));
        let list = here.ok_or_else(|| "it is not here".to_string())?;
        Ok(Some(Listed { list, until: self.until }))
    }
}

impl Membership for Known {
    fn member(&self, group: &GroupName, principal: &Principal, now: UnixMs) -> Member {
        self.find(group, principal, now).member
    }

    fn find(&self, group: &GroupName, principal: &Principal, now: UnixMs) -> Found {
        search(self, group, principal, now)
    }
}

fn group(number: u64) -> GroupName {
    format!("spiffe://r{number}.example/group/g{number}").parse().expect("a group")
}

fn user(number: u64) -> Principal {
    principal(&format!("spiffe://lab.example/user/u{number}"))
}

#[test]
fn warm_and_cold_answers_agree_over_random_changes() {
    for seed in 0..40 {
        let (world, _) = World::simulated(seed);
        let below = |bound: u64| world.entropy.number() % bound;
        let (mut known, mut changes, mut now) = (Known::default(), 0, START);
        for number in 0..4 {
            known.lists.put(GroupList::new(group(number))).expect("put");
        }
        let buckets: Vec<Bucket> = (0..6)
            .map(|_| {
                let entry = |who: Who| {
                    (who, rights(["r", "w", "rw", "m", "rwmx"][usize::try_from(below(5)).expect("small")]))
                };
                let groups = (0..below(3)).map(|_| entry(Who::Group(group(below(4))))).collect::<Vec<_>>();
                let users = (0..below(3)).map(|_| entry(Who::Principal(user(below(4))))).collect::<Vec<_>>();
                Bucket::new(groups.into_iter().chain(users)).expect("a bucket")
            })
            .collect();
        let mut warm = Decisions::new(seed);
        for step in 0..600 {
            match below(6) {
                0 => {
                    let mut list = known.lists.get(&group(below(4))).expect("there").clone();
                    let before = list.version();
                    let who =
                        if below(3) == 0 { Who::Group(group(below(4))) } else { Who::Principal(user(below(4))) };
                    let until = (below(3) > 0).then(|| now.plus(Duration::from_millis(1 + below(50))));
                    let _ = if below(4) == 0 { Ok(list.remove(&who)) } else { list.put(who, until, now) };
                    let after = list.version();
                    // A list that would close a circle is not taken.
                    if known.lists.put(list).is_ok() && after != before {
                        changes += 1;
                    }
                }
                1 => now = UnixMs(now.0 + below(20)),
                2 => {
                    known.until = (below(2) == 0).then(|| now.plus(Duration::from_millis(1 + below(30))));
                    changes += 1;
                }
                3 => {
                    known.hidden = (below(3) == 0).then(|| group(below(4)));
                    changes += 1;
                }
                _ => {}
            }
            let bucket = &buckets[usize::try_from(below(6)).expect("small")];
            let right = Right::ALL[usize::try_from(below(4)).expect("small")];
            let subject = user(below(4));
            let question = Entries { subject: &subject, bucket, hash: bucket.hash(), right };
            let cold = check_entries(&subject, now, right, bucket, &known);
            let found = warm.check(&question, &known, changes, now);
            // A membership that was prolonged meanwhile may show its former end: until then both say the same.
            let same = found.ground.is_ok() == cold.ground.is_ok();
            let unknown = matches!(cold.ground, Err(Ground::GroupUnknown { .. }));
            assert!(
                same || (found.ground.is_err() && unknown),
                "seed {seed}, step {step}: {found:?} is not {cold:?}"
            );
            if let (Ok(_), Some(end)) = (&found.ground, found.until) {
                assert!(now < end, "seed {seed}, step {step}: used after its end");
            }
        }
    }
}

fn one(bucket: &Bucket) -> (Principal, Entries<'_>) {
    let subject: &'static Principal = Box::leak(Box::new(user(1)));
    (subject.clone(), Entries { subject, bucket, hash: bucket.hash(), right: Right::Read })
}

#[test]
fn a_decision_is_dropped_with_what_it_stands_on() {
    let mut known = Known::default();
    let mut list = GroupList::new(group(1));
    let end = START.plus(Duration::from_secs(10));
    list.put(Who::Principal(user(1)), Some(end), START).expect("put");
    known.lists.put(list).expect("put");
    let through = Bucket::new([(Who::Group(group(1)), rights("r"))]).expect("a bucket");
    let direct = Bucket::new([(Who::Principal(user(1)), rights("r"))]).expect("a bucket");
    let mut warm = Decisions::new(1);
    let ((_, through), (_, direct)) = (one(&through), one(&direct));
    for question in [&through, &direct] {
        assert!(warm.check(question, &known, 7, START).ground.is_ok());
    }
    assert!(warm.lookup(&through, 7, UnixMs(end.0 - 1)).is_some());
    assert!(warm.lookup(&through, 7, end).is_none(), "the membership has ended");
    assert!(warm.lookup(&through, 8, START).is_none(), "some list has changed");
    assert!(warm.lookup(&direct, 7, START).is_none(), "what the list alone says is not kept");
    warm.check(&through, &known, 8, START);
    warm.clear();
    assert!(warm.lookup(&through, 8, START).is_none());
    known.until = Some(START.plus(Duration::from_secs(3)));
    warm.check(&through, &known, 9, START);
    assert!(warm.lookup(&through, 9, START.plus(Duration::from_secs(3))).is_none(), "the copy is too old");
    known.hidden = Some(group(1));
    let unknown = warm.check(&through, &known, 10, START);
    assert!(matches!(unknown.ground, Err(Ground::GroupUnknown { .. })));
    assert!(warm.lookup(&through, 10, START).is_none(), "what nobody knows is asked again");
}

#[test]
fn the_realms_of_all_groups_on_the_way_are_named() {
    let mut known = Known::default();
    let mut outer = GroupList::new(group(1));
    outer.put(Who::Group(group(2)), None, START).expect("put");
    let mut inner = GroupList::new(group(2));
    inner.put(Who::Principal(user(1)), None, START).expect("put");
    known.lists.put(inner).and_then(|()| known.lists.put(outer)).expect("put");
    let bucket = Bucket::new([(Who::Group(group(1)), rights("r"))]).expect("a bucket");
    let checked = check_entries(&user(1), START, Right::Read, &bucket, &known);
    let realms: Vec<_> = checked.realms().iter().map(ToString::to_string).collect();
    assert_eq!(
        (checked.entry(&bucket), realms),
        (Ok(Who::Group(group(1))), vec!["r1.example".to_string(), "r2.example".to_string()])
    );
}

#[test]
fn the_table_is_bounded_whatever_is_asked() {
    let bucket = Bucket::new([(Who::Group(group(1)), rights("r"))]).expect("a bucket");
    let mut known = Known::default();
    known.lists.put(GroupList::new(group(1))).expect("put");
    let mut warm = Decisions::new(1);
    let hash = bucket.hash();
    let mut found = 0;
    for number in 0..3 * WARM_DECISIONS as u64 {
        let subject = user(number);
        let question = Entries { subject: &subject, bucket: &bucket, hash, right: Right::Read };
        warm.check(&question, &known, 0, START);
        found += u64::from(warm.lookup(&question, 0, START).is_some());
    }
    assert_eq!(found, 3 * WARM_DECISIONS as u64, "what was asked last is warm");
    let kept = (0..3 * WARM_DECISIONS as u64).filter(|number| {
        let subject = user(*number);
        warm.lookup(&Entries { subject: &subject, bucket: &bucket, hash, right: Right::Read }, 0, START).is_some()
    });
    let kept = kept.count();
    assert!(kept <= WARM_DECISIONS && kept > WARM_DECISIONS / 2, "{kept}");
}
