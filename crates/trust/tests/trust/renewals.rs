//! The rule of renewal: once each, the same answer for the same id, grace once, and no two of one member.

use crate::support::{DAY, Lab, lab};
use std::time::Duration;
use terms::UnixMs;
use webos_trust::limits::{GRACE, SERVER_LIFETIME, USER_LIFETIME};
use webos_trust::{
    Given, Identity, KeyPair, LastRenewal, MemberState, RealmMember, RenewalAsked, RenewalId, RenewalRefusal,
    RenewalVerdict, judge_renewal,
};

const ONE: RenewalId = RenewalId([1; 16]);
const TWO: RenewalId = RenewalId([2; 16]);

fn given(identity: &Identity) -> Given {
    Given::read(&identity.chain()[0]).expect("a leaf")
}

fn asked<'a>(shown: &'a Given, id: RenewalId, key: &'a KeyPair) -> RenewalAsked<'a> {
    RenewalAsked { shown, id, key: key.public() }
}

/// The member after a renewal under this id.
fn renewed(lab: &Lab, old: &Identity, id: RenewalId, key: &KeyPair, by_grace: bool) -> (Identity, RealmMember) {
    let new = lab.authority.issue_identity(old.principal(), Some(key.clone()), lab.now()).expect("issued");
    let chain = new.chain().iter().map(|der| serde_bytes::ByteBuf::from(der.to_vec())).collect();
    let member =
        RealmMember { renewal: Some(LastRenewal { id, chain }), by_grace, ..RealmMember::new(given(&new)) };
    (new, member)
}

#[test]
fn the_same_id_gets_the_same_certificate_and_another_one_ends_both() {
    let lab = lab();
    let first = lab.identity("server/n1");
    let shown = given(&first);
    let plain = RenewalVerdict::Issue { by_grace: false };
    lab.clock.advance(4 * DAY);
    assert_eq!(judge_renewal(None, &asked(&shown, ONE, first.key()), lab.now()), Ok(plain.clone()));
    assert_eq!(
        judge_renewal(Some(&RealmMember::new(shown.clone())), &asked(&shown, ONE, first.key()), lab.now()),
        Ok(plain)
    );
    let (_, member) = renewed(&lab, &first, ONE, first.key(), false);
    let again = judge_renewal(Some(&member), &asked(&shown, ONE, first.key()), lab.now());
    assert_eq!(again, Ok(RenewalVerdict::Again(member.renewal.clone().expect("renewed").chain)));
    let clone = judge_renewal(Some(&member), &asked(&shown, TWO, first.key()), lab.now());
    assert!(matches!(clone, Err(RenewalRefusal::Cloned { .. })), "{clone:?}");
    let other_key = KeyPair::generate().expect("a key");
    let stolen_id = judge_renewal(Some(&member), &asked(&shown, ONE, &other_key), lab.now());
    assert!(matches!(stolen_id, Err(RenewalRefusal::Cloned { .. })), "an id is no right to another key");
}

#[test]
fn a_former_holder_of_a_name_gets_nothing_and_cordons_nobody() {
    let lab = lab();
    let (old, new) = (lab.identity("server/n1"), lab.identity("server/n1"));
    let member = RealmMember::new(given(&new));
    let refused = judge_renewal(Some(&member), &asked(&given(&old), ONE, old.key()), lab.now());
    assert!(matches!(refused, Err(RenewalRefusal::Superseded { .. })), "{refused:?}");
    // A key that the member itself has replaced is of its line: whoever comes with it is a copy.
    let rotated = RealmMember { former: Some(old.key().thumbprint()), ..member };
    let refused = judge_renewal(Some(&rotated), &asked(&given(&old), ONE, old.key()), lab.now());
    assert!(matches!(refused, Err(RenewalRefusal::Cloned { .. })), "{refused:?}");
}

#[test]
fn a_register_set_back_by_a_restored_backup_makes_nobody_a_clone() {
    let lab = lab();
    let first = lab.identity("server/n1");
    let backup = RealmMember::new(given(&first));
    lab.clock.advance(4 * DAY);
    let (second, _) = renewed(&lab, &first, ONE, first.key(), false);
    let (rotated, _) = renewed(&lab, &first, ONE, &KeyPair::generate().expect("a key"), false);
    lab.clock.advance(4 * DAY);
    let plain = Ok(RenewalVerdict::Issue { by_grace: false });
    for now_held in [&second, &rotated] {
        let shown = given(now_held);
        let verdict = judge_renewal(Some(&backup), &asked(&shown, TWO, now_held.key()), lab.now());
        assert_eq!(verdict, plain, "it is later than all that the register knows");
    }
    // From then on it is as ever: the earlier certificate is a clone's.
    let (_, member) = renewed(&lab, &second, TWO, second.key(), false);
    let clone = judge_renewal(Some(&member), &asked(&given(&second), ONE, second.key()), lab.now());
    assert!(matches!(clone, Err(RenewalRefusal::Cloned { .. })), "{clone:?}");
    let revoked = RealmMember { standing: MemberState::Revoked(lab.now()), ..backup };
    let refused = judge_renewal(Some(&revoked), &asked(&given(&second), TWO, second.key()), lab.now());
    assert!(matches!(refused, Err(RenewalRefusal::Standing { .. })), "{refused:?}");
    // But whoever was invited again after the revocation is not revoked, whatever the restored register says.
    lab.clock.advance(DAY);
    let readmitted = lab.identity("server/n1");
    let verdict = judge_renewal(Some(&revoked), &asked(&given(&readmitted), ONE, readmitted.key()), lab.now());
    assert_eq!(verdict, plain);
}

#[test]
fn grace_is_for_servers_for_seven_days_once_and_with_a_new_key() {
    let lab = lab();
    let (n1, alice) = (lab.identity("server/n1"), lab.identity("user/alice"));
    let (shown, users, fresh) = (given(&n1), given(&alice), KeyPair::generate().expect("a key"));
    let start = lab.now();
    let judge = |member: Option<&RealmMember>, shown: &Given, key: &KeyPair, at: UnixMs| {
        judge_renewal(member, &asked(shown, ONE, key), at)
    };
    let (end, second) = (start.plus(SERVER_LIFETIME), Duration::from_secs(1));
    assert_eq!(judge(None, &shown, n1.key(), end.minus(second)), Ok(RenewalVerdict::Issue { by_grace: false }));
    assert!(matches!(judge(None, &shown, n1.key(), end), Err(RenewalRefusal::OldKey { .. })));
    for (at, given) in [(end, true), (end.plus(GRACE).minus(second), true), (end.plus(GRACE), false)] {
        let verdict = judge(None, &shown, &fresh, at);
        assert_eq!(verdict == Ok(RenewalVerdict::Issue { by_grace: true }), given, "{verdict:?}");
    }
    let users_end = start.plus(USER_LIFETIME);
    assert!(matches!(judge(None, &users, &fresh, users_end), Err(RenewalRefusal::Ended { .. })));

    lab.clock.advance(SERVER_LIFETIME + DAY);
    let (graced, member) = renewed(&lab, &n1, ONE, &fresh, true);
    let next = KeyPair::generate().expect("a key");
    lab.clock.advance(SERVER_LIFETIME + DAY);
    let second_grace = judge_renewal(Some(&member), &asked(&given(&graced), TWO, &next), lab.now());
    assert!(matches!(second_grace, Err(RenewalRefusal::Ended { .. })), "{second_grace:?}");
}

#[test]
fn revoked_and_cordoned_members_get_nothing_until_they_are_invited_again() {
    let lab = lab();
    let n1 = lab.identity("server/n1");
    let shown = given(&n1);
    let (at, later) = (lab.now(), lab.now().plus(DAY));
    for standing in [MemberState::Revoked(at), MemberState::Cordoned(at)] {
        let member = RealmMember { standing, ..RealmMember::new(shown.clone()) };
        let verdict = judge_renewal(Some(&member), &asked(&shown, ONE, n1.key()), later);
        assert!(matches!(verdict, Err(RenewalRefusal::Standing { .. })), "{verdict:?}");
        assert!(member.may_join(at).is_err(), "an invitation from before does not count");
        assert!(member.may_join(later).is_ok());
    }
}

#[test]
fn an_altered_signature_is_the_same_certificate() {
    let lab = lab();
    let n1 = lab.identity("server/n1");
    let leaf = &n1.chain()[0];
    let mut altered = leaf.to_vec();
    *altered.last_mut().expect("not empty") ^= 1;
    assert_eq!(Given::read(&altered.into()).expect("a leaf"), given(&n1));
}
