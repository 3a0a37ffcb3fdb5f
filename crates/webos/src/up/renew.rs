//! Keeps a world's certificates alive over long pauses: what has ended or is past half of its life is issued
//! again at a start, for the same key.

use super::world::Remarks;
use client::Folder;
use client::register::Register;
use std::path::PathBuf;
use terms::{Code, Problem};
use trust::limits::{CLOCK_SKEW, ISSUING_LIFETIME};
use trust::{Authority, Given, Identity, MemberState, Root};
use world::World;

/// Makes the next issuing certificate when half of the present one's time is over, and saves it.
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
    if authority.is_renewal_due(now)? {
        let folder = home.authority();
        let file = Root::file_in(&folder).ok_or_else(|| {
            anew(Problem::new(Code::Internal, format!("the root's key is not in {} any more", folder.display())))
        })?;
        let root = Root::open(&file, None)?;
        authority.renew(&root, now).map_err(|error| anew(error.into()))?;
        authority.save(&folder)?;
        remarks.push(format!("made the next issuing certificate of {}", authority.realm()));
    }
    Ok(())
}

/// Issues again what is due among the identities in these folders; answers with their names. Whoever was revoked or
/// cordoned gets none here either.
pub fn identities(
    authority: &Authority,
    register: &Register,
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
        let standing = register.member(old.principal())?.map(|member| member.standing);
        if old.is_renewal_due(now) && matches!(standing, None | Some(MemberState::Active)) {
            let new = authority.issue_identity(old.principal(), Some(old.key().clone()), now)?;
            // Noted first: a certificate that the register does not know of would look like a clone's.
            if let Some(leaf) = new.chain().first() {
                register.note(Given::read(leaf)?)?;
            }
            new.save(&folder)?;
            renewed.push(old.principal().name.to_string());
        }
    }
    Ok(renewed)
}
