//! Keeps a world's certificates alive over long pauses: what has ended or is past half of its life is issued
//! again at a start, for the same key.

use super::world::Remarks;
use client::Folder;
use std::path::PathBuf;
use std::time::Duration;
use terms::{Code, PrincipalKind, Problem, UnixMs};
use trust::limits::{CLOCK_SKEW, ISSUING_LIFETIME, SERVER_LIFETIME, SERVICE_LIFETIME, USER_LIFETIME};
use trust::{Authority, Identity};
use world::World;

/// Renews the issuing certificate when half of its time is over, and saves it.
pub fn authority(
    authority: &mut Authority,
    home: &Folder,
    world: &World,
    remarks: &mut Remarks,
) -> Result<(), Problem> {
    let now = world.clock.unix();
    let anew = |problem: Problem| problem.next("start anew with `webos up --fresh`");
    if authority.issuing_end()? > now.plus(ISSUING_LIFETIME + CLOCK_SKEW) {
        return Err(Problem::new(
            Code::Invalid,
            "the certificates of the local world begin in the future: the clock was ahead when they were issued, \
             or is behind now",
        )
        .next("set the clock right, or start anew with `webos up --fresh`"));
    }
    if authority.renew(now).map_err(|error| anew(error.into()))? {
        authority.save(&home.authority())?;
        remarks.push(format!("renewed the issuing certificate of {}", authority.realm()));
    }
    Ok(())
}

/// Issues again what is due among the identities in these folders; answers with their names.
pub fn identities(
    authority: &Authority,
    folders: impl IntoIterator<Item = PathBuf>,
    world: &World,
) -> Result<Vec<String>, Problem> {
    let now = world.clock.unix();
    let mut renewed = Vec::new();
    for folder in folders {
        if !folder.join(Identity::FILE).exists() {
            continue;
        }
        let old = Identity::load(&folder)?;
        if is_due(&old, now) {
            authority.issue_identity(old.principal(), Some(old.key().clone()), now)?.save(&folder)?;
            renewed.push(old.principal().name.to_string());
        }
    }
    Ok(renewed)
}

fn lifetime(kind: PrincipalKind) -> Duration {
    match kind {
        PrincipalKind::User => USER_LIFETIME,
        PrincipalKind::Server => SERVER_LIFETIME,
        PrincipalKind::Service => SERVICE_LIFETIME,
    }
}

/// Past half of its life, or not begun: the clock was ahead when it was issued.
fn is_due(identity: &Identity, now: UnixMs) -> bool {
    let (life, end) = (lifetime(identity.principal().kind), identity.not_after());
    now >= end.minus(life / 2) || end > now.plus(life + CLOCK_SKEW)
}
