//! Groups within groups under attack, and against a model that walks every way there is.

use crate::support::{lab, principal, trusted};
use std::collections::BTreeMap;
use std::time::Duration;
use terms::{Generation, GroupName, Principal, UnixMs, Who};
use webos_trust::limits::{GROUP_LIFE, MAX_GROUP_NESTING, MAX_GROUPS_VISITED};
use webos_trust::{
    GroupList, Groups, Listed, Lists, Member, Membership, SignedList, TrustError, principals_below, search,
};
use world::World;

const NOW: UnixMs = UnixMs(1_000_000);

/// Lists of several realms as copies make them: nothing keeps them from containing each other.
#[derive(Default)]
struct Copies(BTreeMap<GroupName, (GroupList, Option<UnixMs>)>);

impl Lists for Copies {
    fn list(&self, group: &GroupName) -> Result<Option<Listed<'_>>, String> {
        let copy = self.0.get(group).ok_or_else(|| format!("the list of {group} is not here"))?;
        Ok(Some(Listed { list: &copy.0, until: copy.1 }))
    }
}

impl Copies {
    fn put(&mut self, name: &str, members: &[(&str, Option<UnixMs>)]) {
        let mut list = GroupList::new(group(name));
        for (who, until) in members {
            list.put(who.parse().expect("a member"), *until, NOW).expect("a member");
        }
        self.0.insert(group(name), (list, None));
    }

    fn alice(&self, name: &str) -> Member {
        search(self, &group(name), &alice(), NOW).member
    }
}

/// `REALM/NAME`.
fn group(name: &str) -> GroupName {
    let (realm, name) = name.split_once('/').expect("a realm and a name");
    format!("spiffe://{realm}/group/{name}").parse().expect("a group")
}

fn alice() -> Principal {
    principal("spiffe://a/user/alice")
}

fn at(seconds: u64) -> Option<UnixMs> {
    Some(NOW.plus(Duration::from_secs(seconds)))
}

fn unknown(member: Member, text: &str) {
    assert!(matches!(&member, Member::Unknown(why) if why.contains(text)), "{member:?}");
}

#[test]
fn attack_cyclic_groups_across_realms() {
    let mut copies = Copies::default();
    copies.put("a/one", &[("spiffe://b/group/two", None)]);
    copies.put("b/two", &[("spiffe://c/group/three", None)]);
    copies.put("c/three", &[("spiffe://a/group/one", None), ("spiffe://a/user/bob", None)]);
    unknown(copies.alice("a/one"), "contains itself");
    // The way that comes round gives nothing; a straight one counts, so that nobody can shut out members by closing a circle.
    let bob = search(&copies, &group("a/one"), &principal("spiffe://a/user/bob"), NOW);
    assert_eq!(bob.member, Member::Yes { until: None });
    assert_eq!(bob.way, [group("a/one"), group("b/two"), group("c/three")]);
    copies.put("a/self", &[("spiffe://b/group/mirror", None)]);
    copies.put("b/mirror", &[("spiffe://a/group/self", at(9)), ("spiffe://a/user/alice", at(5))]);
    assert_eq!(copies.alice("a/self"), Member::Yes { until: at(5) }, "no end gets later by going round");
}

#[test]
fn attack_a_nest_of_nine() {
    let mut copies = Copies::default();
    for level in 1..=MAX_GROUP_NESTING {
        copies.put(&format!("a/g{level}"), &[(&format!("spiffe://a/group/g{}", level + 1), None)]);
    }
    copies.put(&format!("a/g{}", MAX_GROUP_NESTING + 1), &[("spiffe://a/user/alice", None)]);
    unknown(copies.alice("a/g1"), "deeper than 8");
    assert_eq!(copies.alice("a/g2"), Member::Yes { until: None }, "the eighth level");
}

#[test]
fn attack_wide_nests() {
    let mut copies = Copies::default();
    let names: Vec<String> = (0..120).map(|number| format!("spiffe://a/group/w{number:03}")).collect();
    let all: Vec<(&str, Option<UnixMs>)> = names.iter().map(|name| (name.as_str(), None)).collect();
    copies.put("a/wide", &all);
    for number in 0..120 {
        // Each contains all others: as many ways as there are orders.
        let others: Vec<_> =
            all.iter().copied().filter(|(who, _)| !who.ends_with(&format!("w{number:03}"))).collect();
        copies.put(&format!("a/w{number:03}"), &others);
    }
    let found = search(&copies, &group("a/wide"), &alice(), NOW);
    assert!(found.visited.len() <= MAX_GROUPS_VISITED, "{}", found.visited.len());
    unknown(found.member, "more than 64");
    copies.put("a/w003", &[("spiffe://a/user/alice", None)]);
    assert_eq!(
        copies.alice("a/wide"),
        Member::Yes { until: None },
        "what is found counts, however wide the rest is"
    );
}

#[test]
fn diamonds_cost_one_look_a_list() {
    // Two lists a level, each containing both of the next: 2^8 ways, 16 lists.
    let mut groups = Groups::new();
    for level in (0..7).rev() {
        for side in ["l", "r"] {
            let mut list = GroupList::new(group(&format!("a/{side}{level}")));
            for inner in ["l", "r"].iter().filter(|_| level < 6) {
                let inner = format!("spiffe://a/group/{inner}{}", level + 1);
                list.put(inner.parse().expect("a group"), None, NOW).expect("put");
            }
            groups.put(list).expect("within limits");
        }
    }
    let found = search(&groups, &group("a/l0"), &alice(), NOW);
    assert_eq!((found.member, found.visited.len()), (Member::No, 13));
}

#[test]
fn attack_look_alike_group_names() {
    let mut copies = Copies::default();
    copies.put("lab.example/readers", &[("spiffe://lab.example/group/readers-serving", None)]);
    for near in ["lab.example/reader", "lab.example/readers2", "b.lab.example/readers", "example/readers"] {
        copies.put(near, &[("spiffe://a/user/alice", None)]);
    }
    assert!(matches!(copies.alice("lab.example/readers"), Member::Unknown(_)));
    copies.put(
        "lab.example/readers-serving",
        &[("spiffe://a/server/alice", None), ("spiffe://a.a/user/alice", None)],
    );
    assert_eq!(
        copies.alice("lab.example/readers"),
        Member::No,
        "a server and a user of another realm of that name"
    );
    for text in [
        "spiffe://lab.example/group/Readers",
        "spiffe://lab.example/group/readers/",
        "spiffe://lab.example/group/r%65aders",
    ] {
        assert!(text.parse::<GroupName>().is_err(), "{text}");
    }
}

#[test]
fn attack_stale_copies_fail_closed() {
    let mut copies = Copies::default();
    copies.put("a/outer", &[("spiffe://b/group/inner", None)]);
    copies.put("b/inner", &[("spiffe://a/user/alice", None)]);
    copies.0.get_mut(&group("b/inner")).expect("there").1 = at(60);
    let found = |now: UnixMs| search(&copies, &group("a/outer"), &alice(), now);
    let last = at(60).expect("a time");
    let fresh = found(UnixMs(last.0 - 1));
    assert_eq!((fresh.member, fresh.known_until), (Member::Yes { until: None }, at(60)));
    let stale = found(last);
    unknown(stale.member, "too old");
    assert_eq!(stale.missing.into_iter().collect::<Vec<_>>(), [group("b/inner")]);
}

#[test]
fn attack_member_ended() {
    let mut copies = Copies::default();
    copies.put("a/outer", &[("spiffe://b/group/inner", at(10))]);
    copies.put("b/inner", &[("spiffe://a/user/alice", at(20))]);
    let member = |now: Option<UnixMs>| search(&copies, &group("a/outer"), &alice(), now.expect("a time")).member;
    assert_eq!(member(at(9)), Member::Yes { until: at(10) });
    assert_eq!(member(at(10)), Member::No, "the inner list is not even looked into");
    assert_eq!(search(&copies, &group("b/inner"), &alice(), at(20).expect("a time")).member, Member::No);
}

#[test]
fn attack_a_list_signed_by_another_realm_or_long_ago() {
    let lab = lab();
    let other = trusted(&lab.world, &lab.store, "other.example");
    let home = lab.identity("server/home");
    let stranger = principal("spiffe://other.example/server/home");
    let stranger = other.issue_identity(&stranger, None, lab.now()).expect("an identity");
    let name: GroupName = "spiffe://lab.example/group/readers".parse().expect("a group");
    let mut list = GroupList::new(name.clone());
    list.put("spiffe://other.example/user/mallory".parse().expect("a member"), None, lab.now()).expect("put");
    let open = |bytes: &[u8], now| SignedList::open(bytes, &name, home.principal(), &lab.store, now);
    let good = list.sign(&home, lab.now()).expect("signed");
    assert!(open(&good, lab.now()).is_ok());
    let forged = list.sign(&stranger, lab.now()).expect("signed");
    assert!(matches!(open(&forged, lab.now()), Err(TrustError::WrongSigner { .. })));
    // Its own home, for a group that is not of its realm.
    let wrong = SignedList::open(&forged, &name, stranger.principal(), &lab.store, lab.now());
    assert!(matches!(wrong, Err(TrustError::WrongSigner { .. })));
    let another: GroupName = "spiffe://lab.example/group/writers".parse().expect("a group");
    let swapped = GroupList::after(another, Generation(9)).sign(&home, lab.now()).expect("signed");
    assert!(matches!(open(&swapped, lab.now()), Err(TrustError::Rule(_))), "the list of another group");
    let late = lab.now().plus(GROUP_LIFE).plus(Duration::from_secs(60));
    assert!(matches!(open(&good, late), Err(TrustError::Rule(_))), "a list that was kept back");
    assert!(open(&good, UnixMs(late.0 - 1)).is_ok());
}

#[test]
fn versions_go_on_where_a_group_is_made_again() {
    let name = group("a/readers");
    let mut again = GroupList::after(name, Generation(41));
    again.put("spiffe://a/user/alice".parse().expect("a member"), None, NOW).expect("put");
    assert_eq!(again.version(), Generation(42));
}

#[test]
fn everybody_below_an_entry() {
    let mut copies = Copies::default();
    copies.put("a/outer", &[("spiffe://b/group/inner", None), ("spiffe://a/user/bob", at(1))]);
    copies.put("b/inner", &[("spiffe://a/user/alice", None), ("spiffe://a/group/outer", None)]);
    let below = |name: &str| principals_below(&copies, &Who::Group(group(name)));
    let (principals, whole) = below("a/outer");
    assert_eq!((principals.len(), whole), (2, true));
    assert!(!below("c/none").1, "who is in a list that is not here, nobody knows");
}

/// The dumb judge: walks every way of at most so many lists, each list at most once a way, and takes the best end.
fn model(copies: &Copies, way: &mut Vec<GroupName>, end: Option<UnixMs>, levels: usize) -> Option<Option<UnixMs>> {
    let earliest = |one: Option<UnixMs>, two: Option<UnixMs>| match (one, two) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (one, two) => one.or(two),
    };
    let group = way.last().expect("a group").clone();
    let mut best: Option<Option<UnixMs>> = None;
    let better = |best: Option<Option<UnixMs>>, found: Option<UnixMs>| match best {
        None => Some(found),
        Some(None) => Some(None),
        Some(Some(end)) => Some(found.map(|found| found.max(end))),
    };
    let (list, _) = copies.0.get(&group).filter(|_| levels > 0)?;
    for (who, until) in list.members() {
        let end = earliest(end, *until);
        match who {
            Who::Principal(principal) if *principal == alice() => best = better(best, end),
            Who::Group(inner) if !way.contains(inner) => {
                way.push(inner.clone());
                if let Some(found) = model(copies, way, end, levels - 1) {
                    best = better(best, found);
                }
                way.pop();
            }
            _ => {}
        }
    }
    best
}

#[test]
fn the_search_agrees_with_walking_every_way() {
    for seed in 0..300 {
        let (world, _) = World::simulated(seed);
        let below = |bound: u64| world.entropy.number() % bound;
        let mut copies = Copies::default();
        let count = 2 + below(6);
        for number in 0..count {
            let mut members = Vec::new();
            for _ in 0..below(4) {
                let inner = below(count);
                if inner != number {
                    members.push((
                        format!("spiffe://a/group/g{inner}"),
                        (below(3) > 0).then(|| NOW.plus(Duration::from_secs(1 + below(9)))),
                    ));
                }
            }
            if below(3) == 0 {
                members.push((
                    "spiffe://a/user/alice".into(),
                    (below(2) > 0).then(|| NOW.plus(Duration::from_secs(1 + below(9)))),
                ));
            }
            let members: Vec<_> = members.iter().map(|(who, until)| (who.as_str(), *until)).collect();
            if below(8) > 0 {
                copies.put(&format!("a/g{number}"), &members);
            }
        }
        for number in 0..count {
            let name = group(&format!("a/g{number}"));
            let expected = model(&copies, &mut vec![name.clone()], None, MAX_GROUP_NESTING);
            let found = match search(&copies, &name, &alice(), NOW).member {
                Member::Yes { until } => Some(until),
                Member::No | Member::Unknown(_) => None,
            };
            assert_eq!(found, expected, "seed {seed}, {name}");
        }
    }
}

#[test]
fn what_is_held_is_checked_as_a_whole() {
    let within = |name: &str, inner: &str| {
        let mut list = GroupList::new(group(name));
        list.put(Who::Group(group(inner)), None, NOW).expect("put");
        list
    };
    assert!(Groups::holding([within("a/one", "a/two"), within("a/two", "a/one")]).is_err());
    let groups = Groups::holding([within("a/one", "a/two"), GroupList::new(group("a/two"))]).expect("sound");
    assert_eq!(groups.member(&group("a/one"), &alice(), NOW), Member::No);
    let error = groups.check(&within("a/two", "a/one")).expect_err("a circle").to_string();
    assert!(error.contains("contain itself"), "{error}");
}
