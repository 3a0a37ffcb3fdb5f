//! Step 3 of the check: which entry of an access list gives a right to a subject, for how long, and on whose word.
//! Pure; it knows nothing of certificates and chains, which are steps 1 and 2.

use crate::bucket::{Bucket, anonymous_rights};
use crate::group::{Member, Membership, earliest, latest};
use crate::nest::Found;
use crate::reason::Ground;
use std::collections::BTreeSet;
use std::sync::Arc;
use terms::{Principal, RealmName, Right, Rights, UnixMs, Who};

/// What step 3 found, with all that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The entry that gives the right, by its place in the list, or why none does.
    pub ground: Result<usize, Ground>,
    /// The end of the membership that decides.
    pub until: Option<UnixMs>,
    /// When copies of lists that were looked into grow too old: after that it has to be asked again.
    pub known_until: Option<UnixMs>,
    /// The realms of the groups through which the right comes, if it comes through any: shared, for answers are copied.
    realms: Option<Arc<[RealmName]>>,
}

impl Checked {
    fn certain(ground: Result<usize, Ground>) -> Self {
        Self { ground, until: None, known_until: None, realms: None }
    }

    /// The realms of the groups through which the right comes.
    pub fn realms(&self) -> &[RealmName] {
        self.realms.as_deref().unwrap_or_default()
    }

    /// The ground, with the entry of the list that was asked about.
    ///
    /// # Errors
    /// Why no entry gives the right.
    pub fn entry(self, bucket: &Bucket) -> Result<Who, Ground> {
        bucket.entries().get(self.ground?).map(|(who, _)| who.clone()).ok_or(Ground::NoEntry)
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
    check_list(subject, right, bucket).unwrap_or_else(|| check_groups(subject, now, right, bucket, groups))
}

/// The answer where the list alone gives it: the right by an entry that is no group's, or no entry that has it. It is
/// found as fast as it could be kept.
pub(crate) fn check_list(subject: &Principal, right: Right, bucket: &Bucket) -> Option<Checked> {
    // A subject's realm is trusted: its chain could not have been verified otherwise.
    if let Some(entry) = direct(subject, right, bucket) {
        return Some(Checked::certain(Ok(entry)));
    }
    let by_groups = bucket.groups().any(|(_, rights)| rights.has(right));
    (!by_groups).then(|| Checked::certain(Err(Ground::NoEntry)))
}

/// The answer where groups give it.
pub(crate) fn check_groups(
    subject: &Principal,
    now: UnixMs,
    right: Right,
    bucket: &Bucket,
    groups: &dyn Membership,
) -> Checked {
    let mut checked = Checked::certain(Err(Ground::NoEntry));
    let groups_of_list = bucket.groups().enumerate().filter(|(_, (_, rights))| rights.has(right));
    for (index, (group, _)) in groups_of_list {
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
                checked.ground = Ok(bucket.first_group() + index);
                (checked.until, checked.known_until) = (until, known_until);
                let realms: BTreeSet<_> = way.iter().chain([group]).map(|group| group.realm.clone()).collect();
                checked.realms = Some(realms.into_iter().collect());
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
fn direct(subject: &Principal, right: Right, bucket: &Bucket) -> Option<usize> {
    let everybody =
        |(who, rights): (&Who, Rights)| rights.has(right) && (*who != Who::Anyone || anonymous_rights().has(right));
    let own = || {
        let entry = bucket.entry_of_principal(subject)?;
        bucket.entries()[entry].1.has(right).then_some(entry)
    };
    bucket.built_in().position(everybody).or_else(own)
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
