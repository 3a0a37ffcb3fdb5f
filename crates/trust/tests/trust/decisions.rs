//! The three-step check, case by case.

use crate::support::{DAY, HOUR, Lab, grant, lab, place, rights};
use std::time::Duration;
use terms::{GroupName, Right, Who};
use webos_trust::transfer::verify;
use webos_trust::{
    AllStand, Asker, Bucket, Decision, Grant, Ground, GroupList, Groups, Identity, Membership, NoGroups, Object,
    ObjectQuestion, Question, VerifiedChain, decide, decide_object,
};
use wire::Peer;

fn bucket(entries: &[(&str, &str)]) -> Bucket {
    Bucket::new(entries.iter().map(|(who, set)| (who.parse().expect("a name"), rights(set)))).expect("a bucket")
}

const ALICE: &str = "spiffe://lab.example/user/alice";
const N2: &str = "spiffe://lab.example/server/n2";
const READERS: &str = "spiffe://lab.example/group/readers";

struct Ask<'a> {
    lab: &'a Lab,
    peer: Option<&'a Peer>,
    chain: Option<&'a VerifiedChain>,
    groups: &'a dyn Membership,
}

impl Ask<'_> {
    fn decide(&self, location: &str, right: Right, bucket: &Bucket) -> Decision {
        decide(&Question {
            now: self.lab.now(),
            asker: Asker { peer: self.peer, chain: self.chain, token: None },
            location: &place(location),
            right,
            bucket,
            groups: self.groups,
            standing: &AllStand,
        })
    }

    fn may(&self, location: &str, right: Right, bucket: &Bucket) -> bool {
        matches!(self.decide(location, right, bucket), Decision::Granted { .. })
    }
}

fn chain(lab: &Lab, from: &Identity, to: &Identity, grants: Vec<Grant>) -> VerifiedChain {
    verify(&lab.transfer(from, to, grants), &lab.peer(to), &lab.store, lab.now()).expect("verified")
}

#[test]
fn without_a_certificate() {
    let lab = lab();
    let nobody = Ask { lab: &lab, peer: None, chain: None, groups: &NoGroups };
    let public = bucket(&[("anyone", "rx"), (ALICE, "rwmxa"), (READERS, "r"), ("authenticated", "rw")]);
    for (right, expected) in [
        (Right::Read, true),
        (Right::Execute, true),
        (Right::Write, false),
        (Right::Modify, false),
        (Right::Administer, false),
        (Right::Relay, false),
    ] {
        assert_eq!(nobody.may("data.lab.example/in", right, &public), expected, "{right}");
    }
    let private = bucket(&[("authenticated", "rx"), (ALICE, "rx")]);
    let decision = nobody.decide("data.lab.example/in/x", Right::Read, &private);
    assert_eq!(
        decision.reason().to_string(),
        "somebody without a certificate may not read data.lab.example/in/x: the access list does not give it to anyone"
    );
    let granted = nobody.decide("data.lab.example/in", Right::Read, &public).into_result().expect("granted");
    assert_eq!((granted.subject(), granted.until()), (None, None));
}

#[test]
fn with_a_certificate_by_name_group_and_built_in_groups() {
    let lab = lab();
    let alice = lab.peer(&lab.identity("user/alice"));
    let ask = Ask { lab: &lab, peer: Some(&alice), chain: None, groups: &NoGroups };
    for (entries, right, expected) in [
        (vec![(ALICE, "r")], Right::Read, true),
        (vec![(ALICE, "r")], Right::Write, false),
        (vec![(ALICE, "a")], Right::Read, false),
        (vec![(ALICE, "rwmxa")], Right::Relay, false),
        (vec![(ALICE, "relay")], Right::Relay, true),
        (vec![("anyone", "r")], Right::Read, true),
        (vec![("authenticated", "rw")], Right::Write, true),
        (vec![(N2, "rwmxa")], Right::Read, false),
        (vec![("spiffe://lab.example/server/alice", "r")], Right::Read, false),
        (vec![("spiffe://example/user/alice", "r")], Right::Read, false),
        (vec![], Right::Read, false),
    ] {
        assert_eq!(ask.may("data.lab.example/in", right, &bucket(&entries)), expected, "{entries:?} {right}");
    }
    let decision = ask.decide("data.lab.example/in/x", Right::Read, &Bucket::empty());
    assert_eq!(
        decision.reason().to_string(),
        format!(
            "{ALICE} may not read data.lab.example/in/x: no entry of the access list names it or a group it is in"
        )
    );
}

#[test]
fn a_decision_ends_with_the_first_thing_it_stands_on() {
    let lab = lab();
    let (alice, n2) = (lab.identity("user/alice"), lab.identity("server/n2"));
    let (peer, server) = (lab.peer(&alice), lab.peer(&n2));
    let until = |ask: &Ask<'_>, entries: &[(&str, &str)]| {
        ask.decide("data.lab.example/in", Right::Read, &bucket(entries)).into_result().expect("granted").until()
    };
    let mut groups = Groups::new();
    let member_end = lab.now().plus(Duration::from_secs(10));
    let mut list = GroupList::new(READERS.parse().expect("a group"));
    list.put(Who::Principal(alice.principal().clone()), Some(member_end), lab.now()).expect("put");
    groups.put(list).expect("put");
    let ask = Ask { lab: &lab, peer: Some(&peer), chain: None, groups: &groups };
    assert_eq!(until(&ask, &[(ALICE, "r")]), Some(peer.not_after));
    assert_eq!(until(&ask, &[(READERS, "r")]), Some(member_end));
    assert_eq!(until(&ask, &[(READERS, "r"), (ALICE, "r")]), Some(peer.not_after), "the longer way counts");
    let chain = chain(&lab, &alice, &n2, vec![grant("data.lab.example/in", "r")]);
    let ask = Ask { lab: &lab, peer: Some(&server), chain: Some(&chain), groups: &groups };
    assert_eq!(until(&ask, &[(ALICE, "r")]), Some(chain.until()));
    assert_eq!(until(&ask, &[(READERS, "r")]), Some(member_end));
}

#[test]
fn the_confused_deputy() {
    let lab = lab();
    let (alice, n2) = (lab.identity("user/alice"), lab.identity("server/n2"));
    let peer = lab.peer(&n2);
    let chain = chain(&lab, &alice, &n2, vec![grant("data.lab.example/in", "rw")]);
    let own = Ask { lab: &lab, peer: Some(&peer), chain: None, groups: &NoGroups };
    let lent = Ask { lab: &lab, peer: Some(&peer), chain: Some(&chain), groups: &NoGroups };
    let (for_alice, for_n2) = (bucket(&[(ALICE, "r")]), bucket(&[(N2, "rwmxa")]));
    let at = "data.lab.example/in/x";
    assert!(lent.may(at, Right::Read, &for_alice));
    assert!(!own.may(at, Right::Read, &for_alice), "without the chain n2 is only n2");
    assert!(own.may(at, Right::Read, &for_n2));
    assert!(!lent.may(at, Right::Read, &for_n2), "n2's own rights never help");
    assert!(!lent.may(at, Right::Write, &for_alice), "the chain gives nothing that Alice has not");
    assert!(!lent.may(at, Right::Modify, &bucket(&[(ALICE, "rwmxa")])), "and nothing that she did not lend");
    let words = lent.decide(at, Right::Read, &for_n2).reason().to_string();
    assert!(words.starts_with(&format!("{N2}, under transfer certificate ")), "{words}");
    assert!(words.contains(&format!("may not read {at} for {ALICE}: no entry")), "{words}");
}

#[test]
fn paths_beside_the_grant() {
    let lab = lab();
    let (alice, n2) = (lab.identity("user/alice"), lab.identity("server/n2"));
    let peer = lab.peer(&n2);
    let all = bucket(&[(ALICE, "rwmxa")]);
    let mut exact = grant("data.lab.example/one/file", "r");
    exact.exact = true;
    let chain = chain(&lab, &alice, &n2, vec![grant("data.lab.example/in", "r"), exact]);
    let ask = Ask { lab: &lab, peer: Some(&peer), chain: Some(&chain), groups: &NoGroups };
    for (location, expected) in [
        ("data.lab.example/in", true),
        ("data.lab.example/in/x", true),
        ("data.lab.example/in/x/y", true),
        ("data.lab.example/", false),
        ("data.lab.example/inn", false),
        ("data.lab.example/in.", false),
        ("data.lab.example/In/x", false),
        ("data.lab.example/i", false),
        ("data.lab.example/x/in", false),
        ("data.lab.example/\u{131}n/x", false),
        ("data.lab.example/one/file", true),
        ("data.lab.example/one/file/x", false),
        ("data.lab.example/one", false),
        ("other.lab.example/in/x", false),
        ("data.example/in/x", false),
    ] {
        assert_eq!(ask.may(location, Right::Read, &all), expected, "{location}");
    }
    let reason = ask.decide("data.lab.example/out", Right::Read, &all);
    assert_eq!(reason.reason().ground, Ground::NotInGrants);
}

#[test]
fn a_chain_in_other_hands() {
    let lab = lab();
    let (alice, n2, n3) = (lab.identity("user/alice"), lab.identity("server/n2"), lab.identity("server/n3"));
    let rotated = lab.identity("server/n2");
    let chain = chain(&lab, &alice, &n2, vec![grant("data.lab.example/in", "r")]);
    let all = bucket(&[(ALICE, "r"), ("anyone", "r"), (N2, "r"), ("spiffe://lab.example/server/n3", "r")]);
    let ground = |peer: Option<&Peer>| {
        let ask = Ask { lab: &lab, peer, chain: Some(&chain), groups: &NoGroups };
        ask.decide("data.lab.example/in", Right::Read, &all).reason().ground.clone()
    };
    assert!(matches!(ground(Some(&lab.peer(&n3))), Ground::NotAudience { .. }));
    assert_eq!(ground(Some(&lab.peer(&rotated))), Ground::NotKey);
    assert_eq!(ground(None), Ground::ChainWithoutPeer);
    assert!(matches!(ground(Some(&lab.peer(&n2))), Ground::Entry(_)));
}

#[test]
fn times_are_looked_at_on_every_request() {
    let lab = lab();
    let (alice, n2) = (lab.identity("user/alice"), lab.identity("server/n2"));
    let (peer, all) = (lab.peer(&n2), bucket(&[(ALICE, "r"), (N2, "r")]));
    let chain = chain(&lab, &alice, &n2, vec![grant("data.lab.example/in", "r")]);
    let own = Ask { lab: &lab, peer: Some(&peer), chain: None, groups: &NoGroups };
    let lent = Ask { chain: Some(&chain), ..own };
    let granted = lent.decide("data.lab.example/in", Right::Read, &all).into_result().expect("granted");
    let here = place("data.lab.example/in");
    assert!(granted.covers(&here, Right::Read, lab.now()));
    assert!(!granted.covers(&here, Right::Write, lab.now()));
    assert!(!granted.covers(&place("data.lab.example/out"), Right::Read, lab.now()));
    lab.clock.advance(HOUR + Duration::from_secs(61));
    assert!(!granted.covers(&here, Right::Read, lab.now()));
    let ended = lent.decide("data.lab.example/in", Right::Read, &all);
    assert!(matches!(ended.reason().ground, Ground::ChainEnded { .. }));
    assert!(own.may("data.lab.example/in", Right::Read, &all));
    lab.clock.jump_wall(-2 * 3_600_000);
    let early = lent.decide("data.lab.example/in", Right::Read, &all);
    assert!(matches!(early.reason().ground, Ground::ChainNotYet { .. }));
    lab.clock.advance(8 * DAY);
    let ended = own.decide("data.lab.example/in", Right::Read, &all);
    assert!(matches!(ended.reason().ground, Ground::PeerEnded { .. }));
}

#[test]
fn an_unknown_group_is_named_and_does_not_grant() {
    let lab = lab();
    let alice = lab.peer(&lab.identity("user/alice"));
    let ask = Ask { lab: &lab, peer: Some(&alice), chain: None, groups: &NoGroups };
    let decision = ask.decide("data.lab.example/in", Right::Read, &bucket(&[(READERS, "r")]));
    let readers: GroupName = READERS.parse().expect("a group");
    assert!(matches!(&decision.reason().ground, Ground::GroupUnknown { group, .. } if *group == readers));
    assert!(ask.may("data.lab.example/in", Right::Read, &bucket(&[(READERS, "r"), (ALICE, "r")])));
}

#[test]
fn groups_and_services_are_objects_too() {
    let lab = lab();
    let (alice, n2) = (lab.identity("user/alice"), lab.identity("server/n2"));
    let (peer, server) = (lab.peer(&alice), lab.peer(&n2));
    let chain = chain(&lab, &alice, &n2, vec![grant("data.lab.example/", "rwmxa")]);
    let group = Object::Group(READERS.parse().expect("a group"));
    let service = Object::Service("service://site.lab.example".parse().expect("a service"));
    let all = bucket(&[(ALICE, "rwmxa")]);
    for object in [&group, &service] {
        let ask = |peer, chain| {
            let asker = Asker { peer, chain, token: None };
            let right = Right::Administer;
            decide_object(&ObjectQuestion {
                now: lab.now(),
                asker,
                object,
                right,
                bucket: &all,
                groups: &NoGroups,
                standing: &AllStand,
            })
        };
        assert!(ask(Some(&peer), None).reason.granted());
        assert_eq!(ask(Some(&server), Some(&chain)).reason.ground, Ground::NotInGrants);
        assert_eq!(ask(None, None).reason.ground, Ground::NeedsCertificate);
    }
}

#[test]
fn reasons_do_not_drive_terminals() {
    let lab = lab();
    let ask = Ask { lab: &lab, peer: None, chain: None, groups: &NoGroups };
    let hostile = "data.lab.example/a\u{1b}[2J\r\n\u{202e}\u{9b}31m'\"\\ü";
    let words = ask.decide(hostile, Right::Read, &Bucket::empty()).reason().to_string();
    assert!(!words.contains(|c: char| c.is_control() || c == '\u{202e}'), "{words:?}");
    assert!(words.contains("'\"\\ü"), "{words:?}");
}
