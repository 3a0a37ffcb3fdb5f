//! What `why` says: the reason of the decision itself, and what would change it.

use crate::support::{place, principal, rights};
use std::time::Duration;
use terms::{GroupName, Right, UnixMs, Who};
use webos_trust::{
    Bucket, Explanation, Ground, GroupList, Groups, NoGroups, Resource, explain, explain_outside, reason_about,
};

const NOW: UnixMs = UnixMs(1_767_225_600_000);
const ALICE: &str = "spiffe://lab.example/user/alice";

fn group(name: &str) -> GroupName {
    format!("spiffe://lab.example/group/{name}").parse().expect("a group")
}

fn bucket(entries: &[(&str, &str)]) -> Bucket {
    Bucket::new(entries.iter().map(|(who, set)| (who.parse().expect("a name"), rights(set)))).expect("a bucket")
}

/// alice is in `team` for an hour, which is in `staff`; nobody is in `empty`.
fn groups() -> Groups {
    let mut groups = Groups::new();
    let hour = Some(NOW.plus(Duration::from_secs(3600)));
    for (name, member, until) in [
        ("team", Some(ALICE.parse().expect("a principal")), hour),
        ("staff", Some(Who::Group(group("team"))), None),
        ("empty", None, None),
    ] {
        let mut list = GroupList::new(group(name));
        if let Some(member) = member {
            list.put(member, until, NOW).expect("a member");
        }
        groups.put(list).expect("put");
    }
    groups
}

fn ask(who: Option<&str>, right: Right, at: &str, bucket: &Bucket) -> Explanation {
    let (subject, groups) = (who.map(principal), groups());
    let reason = reason_about(subject.as_ref(), NOW, right, Resource::Path(place(at)), bucket, &groups);
    explain(reason, NOW, bucket, &groups)
}

fn lines(explanation: &Explanation) -> Vec<String> {
    let line = |change| match explanation.command(change) {
        Some(command) => format!("{change}: {command}"),
        None => format!("{change}"),
    };
    explanation.changes.iter().map(line).collect()
}

#[test]
fn answers_and_what_would_change_them() {
    let list = bucket(&[
        ("anyone", "r"),
        ("spiffe://lab.example/group/empty", "m"),
        ("spiffe://lab.example/group/staff", "w"),
        ("spiffe://lab.example/user/bob", "wa"),
        (ALICE, "x"),
    ]);
    let check = |who, right, expected: &str, changes: &[&str]| {
        let explanation = ask(who, right, "data.lab.example/in/x", &list);
        assert_eq!(explanation.reason.to_string(), expected);
        assert_eq!(lines(&explanation), changes, "{expected}");
        explanation
    };
    check(
        Some(ALICE),
        Right::Modify,
        "spiffe://lab.example/user/alice may not modify data.lab.example/in/x: no entry of the access list names it or a \
         group it is in",
        &[
            "the access list gives it to spiffe://lab.example/user/alice: webos acl grant spiffe://lab.example/user/alice \
             m data.lab.example/in/x",
            "spiffe://lab.example/group/empty, which has it, takes this principal in: webos group add empty.lab.example \
             spiffe://lab.example/user/alice",
        ],
    );
    let through = check(
        Some(ALICE),
        Right::Write,
        "spiffe://lab.example/user/alice may write data.lab.example/in/x: the access list gives it to \
         spiffe://lab.example/group/staff",
        &[
            "the membership ends 2026-01-01 01:00:00 UTC",
            "spiffe://lab.example/group/team puts this principal out: webos group remove team.lab.example \
             spiffe://lab.example/user/alice",
            "the access list takes it from spiffe://lab.example/group/staff: webos acl revoke \
             spiffe://lab.example/group/staff w data.lab.example/in/x",
        ],
    );
    assert_eq!(through.way, [group("staff"), group("team")]);
    check(
        None,
        Right::Read,
        "somebody without a certificate may read data.lab.example/in/x: the access list gives it to anyone",
        &["the access list takes it from anyone: webos acl revoke anyone r data.lab.example/in/x"],
    );
    check(
        None,
        Right::Write,
        "somebody without a certificate may not write data.lab.example/in/x: without a certificate nobody can",
        &["ask with a certificate"],
    );
    check(
        None,
        Right::Execute,
        "somebody without a certificate may not execute data.lab.example/in/x: the access list does not give it to anyone",
        &[
            "the access list gives it to anyone: webos acl grant anyone x data.lab.example/in/x",
            "come with a certificate of a trusted realm",
        ],
    );
}

#[test]
fn what_is_given_twice_goes_only_with_both() {
    let list = bucket(&[("authenticated", "r"), ("spiffe://lab.example/group/staff", "r"), (ALICE, "r")]);
    let explanation = ask(Some(ALICE), Right::Read, "data.lab.example/", &list);
    let also: Vec<_> = explanation.also.iter().map(ToString::to_string).collect();
    assert_eq!(also, [ALICE, "spiffe://lab.example/group/staff"]);
    assert_eq!(lines(&explanation).len(), 3);
}

#[test]
fn an_unknown_group_is_named() {
    let list = bucket(&[("spiffe://lab.example/group/staff", "r")]);
    let alice = principal(ALICE);
    let at = Resource::Path(place("data.lab.example/in"));
    let reason = reason_about(Some(&alice), NOW, Right::Read, at, &list, &NoGroups);
    assert!(matches!(&reason.ground, Ground::GroupUnknown { group: unknown, .. } if *unknown == group("staff")));
    let explanation = explain(reason, NOW, &list, &NoGroups);
    assert!(lines(&explanation)[0].contains("group/staff can be had"), "{:?}", lines(&explanation));
}

#[test]
fn nothing_of_the_list_for_those_who_may_not_see_it() {
    let list = bucket(&[("spiffe://lab.example/group/empty", "m"), ("spiffe://lab.example/user/bob", "a")]);
    let alice = principal(ALICE);
    let at = || Resource::Path(place("data.lab.example/in/x"));
    let reason = reason_about(Some(&alice), NOW, Right::Modify, at(), &list, &groups());
    assert_eq!(lines(&explain_outside(reason)), ["ask who administers it for the right m"]);
    let granted = bucket(&[(ALICE, "w"), ("spiffe://lab.example/user/bob", "a")]);
    let reason = reason_about(Some(&alice), NOW, Right::Write, at(), &granted, &groups());
    assert!(lines(&explain_outside(reason)).is_empty());
}

#[test]
fn commands_can_be_pasted_into_a_shell() {
    let list = bucket(&[("spiffe://lab.example/user/bob", "a")]);
    let explanation = ask(Some(ALICE), Right::Read, "data.lab.example/it's $(rm -rf)", &list);
    let command = explanation.command(&explanation.changes[0]).expect("a command");
    assert!(command.ends_with(r"r 'data.lab.example/it'\''s $(rm -rf)'"), "{command}");
    for (resource, end) in [
        (
            Resource::Group(group("staff")),
            Some("webos acl grant spiffe://lab.example/user/alice a group/staff.lab.example"),
        ),
        (Resource::Service("service://site.lab.example".parse().expect("a service")), None),
    ] {
        let alice = principal(ALICE);
        let reason = reason_about(Some(&alice), NOW, Right::Administer, resource, &list, &groups());
        let explanation = explain(reason, NOW, &list, &groups());
        assert_eq!(explanation.command(&explanation.changes[0]).as_deref(), end);
    }
}
