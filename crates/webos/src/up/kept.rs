//! What the folders of a local world hold that people may want back: the members of its realm, and the transfer
//! certificates in its purses. Reads files only; nothing of a purse is verified.

use super::limits::{MEMBERS_SHOWN, TRANSFERS_SHOWN};
use crate::console::rights::{MemberView, Standing, TransferView};
use client::register::Register;
use client::{Folder, Kept, Purse};
use std::collections::BTreeMap;
use terms::{Label, Principal, Problem, TransferId, UnixMs};
use trust::{FeedCopy, Grant, MemberState};

/// The members in the register, which lies in the home's folder. The home and the person are not revoked here.
pub fn members(
    folders: &[(Label, Folder)],
    home: &Principal,
    person: Option<&Principal>,
) -> Result<Vec<MemberView>, Problem> {
    let Some((_, folder)) = folders.iter().find(|(name, _)| *name == home.name) else { return Ok(Vec::new()) };
    let members = Register::new(folder).members()?;
    let view = |member: trust::RealmMember| {
        let who = member.newest.principal;
        MemberView {
            standing: match member.standing {
                MemberState::Active => Standing::Active,
                MemberState::Cordoned(_) => Standing::Cordoned,
                MemberState::Revoked(_) => Standing::Revoked,
            },
            until: member.newest.end,
            kept: if who == *home { Some("first node") } else { (Some(&who) == person).then_some("you") },
            who: who.to_string(),
        }
    };
    Ok(members.into_iter().take(MEMBERS_SHOWN).map(view).collect())
}

/// The transfer certificates that hold now, and which purses cannot be read. One in several purses is shown once.
pub fn transfers(
    own: &Folder,
    folders: &[(Label, Folder)],
    taken_back: &FeedCopy,
    now: UnixMs,
) -> (Vec<TransferView>, Vec<String>) {
    let (mut found, mut unread) = (BTreeMap::<_, TransferView>::new(), Vec::new());
    for (name, folder) in purses(own, folders) {
        let kept = match Purse::open(folder).list() {
            Ok(kept) => kept,
            Err(problem) => {
                unread.push(format!("the purse of {name} cannot be shown: {}", problem.detail));
                continue;
            }
        };
        for kept in kept.iter().filter(|kept| holds(kept, taken_back, now)) {
            let last = kept.last();
            found.entry((last.until, last.id)).or_insert_with(|| view(kept)).purses.push(name.to_string());
        }
    }
    (found.into_values().take(TRANSFERS_SHOWN).collect(), unread)
}

/// The transfer certificate with this id, in any of the purses.
pub fn find(own: &Folder, folders: &[(Label, Folder)], id: TransferId) -> Option<Kept> {
    purses(own, folders).find_map(|(_, folder)| Purse::open(folder).find(&id.to_string()).ok())
}

fn purses<'a>(own: &'a Folder, folders: &'a [(Label, Folder)]) -> impl Iterator<Item = (&'a str, &'a Folder)> {
    std::iter::once(("you", own)).chain(folders.iter().map(|(name, folder)| (name.as_str(), folder)))
}

/// Whether no link has ended, or was taken back in the realm of this list.
fn holds(kept: &Kept, taken_back: &FeedCopy, now: UnixMs) -> bool {
    let ended = |link: &trust::Link| {
        let taken = |who: &Principal| taken_back.is_revoked(who, link.from);
        let ours = link.issuer.realm == *taken_back.realm();
        (ours && taken_back.has_ended(&link.issuer, link.id, link.epoch))
            || taken(&link.issuer)
            || taken(&link.audience)
    };
    kept.links.iter().all(|link| now < link.until && !ended(link))
}

fn view(kept: &Kept) -> TransferView {
    let last = kept.last();
    TransferView {
        id: last.id.to_string(),
        issuer: last.issuer.to_string(),
        subject: last.subject.to_string(),
        audience: last.audience.to_string(),
        grants: last.grants.iter().map(Grant::to_string).collect(),
        until: last.until,
        links: kept.links.len(),
        depth: last.depth,
        purses: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::{LocalWorld, Names};
    use super::*;
    use std::time::Duration;
    use terms::{Epoch, Rights, Thumbprint, VolumePath};
    use trust::{CreateTransfer, Feed, Identity, Revoked, TransferCertificate};
    use world::World;

    #[test]
    fn the_console_shows_members_and_what_is_lent_until_it_is_taken_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let (person, world) = (Folder::new(dir.path()), World::real());
        let names = Names::new(1).expect("constant");
        let (local, _) = LocalWorld::open(&person, names.clone(), Some("anna"), &world).expect("made");
        let folders: Vec<_> = names.nodes.iter().map(|name| (name.clone(), local.folder(name))).collect();
        let anna = Identity::load(&person.identity()).expect("there");
        let home = names.node(names.home());

        let shown = members(&folders, &home, Some(anna.principal())).expect("readable");
        let kept: Vec<_> = shown.iter().map(|member| (member.who.clone(), member.kept, member.standing)).collect();
        let (first, you) = (home.to_string(), anna.principal().to_string());
        assert_eq!(kept, [(you, Some("you"), Standing::Active), (first, Some("first node"), Standing::Active)]);

        let place = terms::Location { volume: names.volume.clone(), path: VolumePath::root() };
        let what = CreateTransfer {
            audience: home,
            audience_key: Thumbprint([7; 32]),
            grants: vec![Grant::exactly(place, Rights::of(&[terms::Right::Read]))],
            valid_for: Duration::from_secs(60),
            depth: 0,
            epoch: Epoch(0),
        };
        let chain = TransferCertificate::create(&anna, what, &world).expect("signed");
        for folder in [&person, &folders[0].1] {
            Purse::open(folder).keep(&chain).expect("kept");
        }
        let now = world.clock.unix();
        let mut feed = Feed::new(names.realm.clone(), Epoch(0), now);
        let (lent, _) = transfers(&person, &folders, &FeedCopy::from(&feed), now);
        assert_eq!((lent.len(), &lent[0].purses[..]), (1, &["you".to_string(), "home".into()][..]));
        let id: TransferId = lent[0].id.parse().expect("an id");
        assert_eq!(find(&person, &folders, id).expect("there").last().id, id);
        let (over, _) = transfers(&person, &folders, &FeedCopy::from(&feed), now.plus(Duration::from_secs(61)));
        assert!(over.is_empty(), "its time is over");
        feed.revoke(Revoked::Transfer { id }, now.plus(Duration::from_secs(600)), now).expect("room");
        assert!(transfers(&person, &folders, &FeedCopy::from(&feed), now).0.is_empty(), "it was taken back");
    }
}
