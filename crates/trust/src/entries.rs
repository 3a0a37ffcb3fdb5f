//! Step 3 of the check: which entry of an access list gives a right to a subject, for how long, and on whose word.
//! Pure; it knows nothing of certificates and chains, which are steps 1 and 2.

use crate::bucket::{Bucket, anonymous_rights};
use crate::group::{Member, Membership, earliest, latest};
use crate::nest::Found;
use crate::reason::Ground;
use std::collections::BTreeSet;
use terms::{Principal, RealmName, Right, Rights, UnixMs, Who};

/// What step 3 found, with all that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The entry that gives the right, or why none does.
    pub ground: Result<Who, Ground>,
    /// The end of the membership that decides.
    pub until: Option<UnixMs>,
    /// When copies of lists that were looked into grow too old: after that it has to be asked again.
    pub known_until: Option<UnixMs>,
    /// The realms of the groups through which the right comes.
    pub realms: BTreeSet<RealmName>,
    /// Whether any group was asked for: then a change of a list may change the answer.
    pub by_groups: bool,
}

impl Checked {
    fn certain(ground: Result<Who, Ground>) -> Self {
        Self { ground, until: None, known_until: None, realms: BTreeSet::new(), by_groups: false }
    }
}

/// Of all entries that give the right, the one that lasts longest.
pub fn check_entries(
    subject: &Principal,
    now: UnixMs,
    right: Right,
    bucket: &Bucket,
    groups: &dyn Membership,
) -> Checked {
    // A subject's realm is trusted: its chain could not have been verified otherwise.
    if let Some(who) = direct(subject, right, bucket) {
        return Checked::certain(Ok(who));
    }
    let mut checked = Checked::certain(Err(Ground::NoEntry));
    for (group, _) in bucket.groups().filter(|(_, rights)| rights.has(right)) {
        checked.by_groups = true;
        let Found { member, way, known_until, .. } = groups.find(group, subject, now);
        let better = match &member {
            Member::Yes { until: Some(end) } if now >= *end => false,
            Member::Yes { until } => {
                checked.ground.is_err() || (checked.until != *until && latest(checked.until, *until) == *until)
            }
            Member::Unknown(why) if checked.ground.is_err() => {
                checked.ground = Err(Ground::GroupUnknown { group: group.clone(), why: why.clone() });
                false
            }
            Member::Unknown(_) | Member::No => false,
        };
        match member {
            Member::Yes { until } if better => {
                checked.ground = Ok(Who::Group(group.clone()));
                (checked.until, checked.known_until) = (until, known_until);
                checked.realms = way.iter().chain([group]).map(|group| group.realm.clone()).collect();
            }
            _ if checked.ground.is_err() => checked.known_until = earliest(checked.known_until, known_until),
            _ => {}
        }
        if matches!((&checked.ground, checked.until), (Ok(_), None)) {
            break;
        }
    }
    checked
}

/// The entry that gives the right without any group.
fn direct(subject: &Principal, right: Right, bucket: &Bucket) -> Option<Who> {
    let everybody = |(who, rights): &(&Who, Rights)| {
        rights.has(right) && (**who != Who::Anyone || anonymous_rights().has(right))
    };
    if let Some((who, _)) = bucket.built_in().find(everybody) {
        return Some(who.clone());
    }
    bucket.rights_of_principal(subject).has(right).then(|| Who::Principal(subject.clone()))
}

/// Step 3 for somebody without a certificate.
pub fn check_anonymous(right: Right, bucket: &Bucket) -> Ground {
    if !anonymous_rights().has(right) {
        Ground::NeedsCertificate
    } else if bucket.rights_of(&Who::Anyone).has(right) {
        Ground::Entry(Who::Anyone)
    } else {
        Ground::NoEntryForAnyone
    }
}
