//! Groups: members with ends, nesting, and what is not known.

use crate::support::{lab, principal};
use std::time::Duration;
use terms::{Generation, GroupName, UnixMs, Who};
use webos_trust::{GroupChange, GroupList, Groups, Member, Membership, NoGroups, TrustError};

const NOW: UnixMs = UnixMs(1_000_000);

fn group(name: &str) -> GroupName {
    format!("spiffe://lab.example/group/{name}").parse().expect("a group")
}

fn user(name: &str) -> Who {
    Who::Principal(principal(&format!("spiffe://lab.example/user/{name}")))
}

fn list(name: &str, members: &[(Who, Option<UnixMs>)]) -> GroupList {
    let mut list = GroupList::new(group(name));
    for (who, until) in members {
        list.put(who.clone(), *until, NOW).expect("a member");
    }
    list
}

fn alice_in(groups: &Groups, name: &str, now: UnixMs) -> Member {
    groups.member(&group(name), &principal("spiffe://lab.example/user/alice"), now)
}

#[test]
fn ends_move_forward_without_a_new_version() {
    let mut list = GroupList::new(group("readers"));
    let later = |s| Some(NOW.plus(Duration::from_secs(s)));
    for (until, now, change, version) in [
        (later(10), NOW, GroupChange::Changed, 1),
        (later(10), NOW, GroupChange::None, 1),
        (later(20), NOW, GroupChange::Extended, 1),
        (None, NOW, GroupChange::Extended, 1),
        (later(10), NOW, GroupChange::Changed, 2),
        (later(30), NOW.plus(Duration::from_secs(10)), GroupChange::Changed, 3),
    ] {
        assert_eq!(list.put(user("alice"), until, now).expect("put"), change, "{until:?}");
        assert_eq!(list.version(), Generation(version), "{until:?}");
    }
    assert!(list.put(user("alice"), Some(NOW), NOW).is_err(), "an end that has passed");
    assert_eq!(list.remove(&user("alice")), GroupChange::Changed);
    assert_eq!(list.remove(&user("alice")), GroupChange::None);
    assert_eq!(list.version(), Generation(4));
}

#[test]
fn a_membership_ends_to_the_millisecond() {
    let mut groups = Groups::new();
    let end = NOW.plus(Duration::from_secs(10));
    groups.put(list("readers", &[(user("alice"), Some(end))])).expect("put");
    assert_eq!(alice_in(&groups, "readers", UnixMs(end.0 - 1)), Member::Yes { until: Some(end) });
    assert_eq!(alice_in(&groups, "readers", end), Member::No);
}

#[test]
fn through_other_groups_the_earliest_end_on_the_longest_way() {
    let at = |s| Some(NOW.plus(Duration::from_secs(s)));
    let mut groups = Groups::new();
    groups.put(list("inner", &[(user("alice"), at(50))])).expect("put");
    groups.put(list("other", &[(user("alice"), at(20))])).expect("put");
    let members = [(Who::Group(group("inner")), at(30)), (Who::Group(group("other")), None)];
    groups.put(list("outer", &members)).expect("put");
    assert_eq!(alice_in(&groups, "outer", NOW), Member::Yes { until: at(30) });
    let after = NOW.plus(Duration::from_secs(30));
    assert_eq!(alice_in(&groups, "outer", after), Member::No);
}

#[test]
fn cycles_and_deep_nests_are_refused() {
    let within = |inner: &str| [(Who::Group(group(inner)), None)];
    let mut groups = Groups::new();
    groups.put(list("a", &within("b"))).expect("put");
    groups.put(list("b", &within("c"))).expect("put");
    assert!(groups.put(list("c", &within("a"))).is_err(), "a cycle");
    assert!(groups.get(&group("c")).is_none(), "and nothing stays of it");
    let mut groups = Groups::new();
    groups.put(list("g0", &[(user("alice"), None)])).expect("put");
    for level in 1..8 {
        groups.put(list(&format!("g{level}"), &within(&format!("g{}", level - 1)))).expect("put");
    }
    assert_eq!(alice_in(&groups, "g7", NOW), Member::Yes { until: None });
    assert!(groups.put(list("g8", &within("g7"))).is_err(), "the ninth level");
    let below = [(Who::Group(group("deeper")), None), (user("alice"), None)];
    groups.put(list("deeper", &[])).expect("put");
    assert!(groups.put(list("g0", &below)).is_err(), "a list in the middle that makes others too deep");
    assert_eq!(alice_in(&groups, "g7", NOW), Member::Yes { until: None }, "the earlier list stays");
}

#[test]
fn who_cannot_be_a_member() {
    let mut list = GroupList::new(group("readers"));
    for who in [Who::Anyone, Who::Authenticated, Who::Group(group("readers"))] {
        assert!(list.put(who, None, NOW).is_err());
    }
    for index in 0..512 {
        list.put(user(&format!("u{index}")), None, NOW).expect("room");
    }
    assert!(matches!(list.put(user("one-more"), None, NOW), Err(TrustError::TooLarge { .. })));
}

#[test]
fn what_is_not_known_is_not_granted() {
    let mut groups = Groups::new();
    assert!(matches!(alice_in(&groups, "readers", NOW), Member::Unknown(_)));
    let members = [(Who::Group(group("elsewhere")), None), (user("bob"), None)];
    groups.put(list("readers", &members)).expect("put");
    assert!(matches!(alice_in(&groups, "readers", NOW), Member::Unknown(_)));
    let bob = principal("spiffe://lab.example/user/bob");
    assert_eq!(groups.member(&group("readers"), &bob, NOW), Member::Yes { until: None });
    assert!(matches!(NoGroups.member(&group("readers"), &bob, NOW), Member::Unknown(_)));
}

#[test]
fn a_list_travels_signed_by_its_home_only() {
    let lab = lab();
    let (home, n2) = (lab.identity("server/home"), lab.identity("server/n2"));
    let end = lab.now().plus(Duration::from_secs(10));
    let mut list = GroupList::new(group("readers"));
    list.put(user("alice"), Some(end), lab.now()).expect("put");
    let open = |bytes: &[u8]| GroupList::open(bytes, home.principal(), &lab.store, lab.now());
    let bytes = list.sign(&home, lab.now()).expect("signed");
    assert_eq!(open(&bytes).expect("opened"), (list.clone(), lab.now()));
    let forged = list.sign(&n2, lab.now()).expect("signed");
    assert!(matches!(open(&forged), Err(TrustError::WrongSigner { .. })));
    let foreign = GroupList::new("spiffe://other.example/group/readers".parse().expect("a group"));
    let foreign = foreign.sign(&home, lab.now()).expect("signed");
    assert!(matches!(open(&foreign), Err(TrustError::WrongSigner { .. })), "a group of another realm");
}
