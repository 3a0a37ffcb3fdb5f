//! The members of a realm as its first node keeps them: one small file each, whole after a crash.
//!
//! The node that runs changes them; commands beside it read. What a member may get is [`trust::judge_renewal`]'s to
//! say.

use crate::durable::replace;
use crate::folder::Folder;
use crate::limits::{MAX_MEMBER_BYTES, MAX_REALM_MEMBERS};
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use terms::{Code, Principal, Problem, UnixMs};
use trust::{Given, MemberState, RealmMember};

/// The register in the folder of a realm's first node.
#[derive(Debug, Clone)]
pub struct Register(PathBuf);

impl Register {
    /// The register of this folder; it need not exist yet.
    pub fn new(folder: &Folder) -> Self {
        Self(folder.members())
    }

    fn file(&self, principal: &Principal) -> PathBuf {
        self.0.join(format!("{}.{}", principal.kind.as_str(), principal.name))
    }

    /// A member, if the register knows it.
    pub fn member(&self, principal: &Principal) -> Result<Option<RealmMember>, Problem> {
        let member = read(&self.file(principal))?;
        Ok(member.filter(|member| member.newest.principal == *principal))
    }

    /// Every member.
    pub fn members(&self) -> Result<Vec<RealmMember>, Problem> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten().take(MAX_REALM_MEMBERS);
        let mut members = Vec::new();
        for entry in entries.filter(|entry| is_member(&entry.file_name())) {
            members.extend(read(&entry.path())?);
        }
        members.sort_by(|a: &RealmMember, b| a.newest.principal.cmp(&b.newest.principal));
        Ok(members)
    }

    /// Keeps what is known of a member from now on. It is on disk when this returns.
    pub fn put(&self, member: &RealmMember) -> Result<(), Problem> {
        let file = self.file(&member.newest.principal);
        if !file.exists() && fs::read_dir(&self.0).into_iter().flatten().count() >= MAX_REALM_MEMBERS {
            return Err(Problem::new(Code::TooLarge, format!("a realm has at most {MAX_REALM_MEMBERS} members"))
                .next("make another realm, and let the two trust each other"));
        }
        replace(&file, &wire::cbor::to_vec(member))
    }

    /// Notes that somebody was certified without a renewal, such as by the local world.
    pub fn note(&self, given: Given) -> Result<(), Problem> {
        let before = self.member(&given.principal)?;
        let standing = before.map_or(MemberState::Active, |member| member.standing);
        self.put(&RealmMember { standing, ..RealmMember::new(given) })
    }

    /// Revokes again whom a restored backup has forgotten to be revoked: every certificate that was issued until then.
    /// Whoever was certified later stays. Answers whether it was revoked by this call.
    pub fn revoke_again(&self, principal: &Principal, issued_until: UnixMs) -> Result<bool, Problem> {
        match self.member(principal)? {
            Some(member) if member.newest.issued > issued_until => Ok(false),
            _ => self.revoke(principal, issued_until),
        }
    }

    /// From now on this principal gets no certificate, unless it is invited again. Somebody unknown is noted too.
    /// Answers whether it was revoked by this call.
    pub fn revoke(&self, principal: &Principal, at: UnixMs) -> Result<bool, Problem> {
        let nobody = || Given {
            principal: principal.clone(),
            key: terms::Thumbprint([0; 32]),
            content: terms::Digest([0; 32]),
            issued: UnixMs(0),
            end: at,
        };
        let member = self.member(principal)?.unwrap_or_else(|| RealmMember::new(nobody()));
        // The latest time counts: an invitation, or a certificate, from between two of them is none any more.
        let (before, since) = match member.standing {
            MemberState::Active => (false, at),
            MemberState::Cordoned(since) => (false, since.max(at)),
            MemberState::Revoked(since) if since >= at => return Ok(false),
            MemberState::Revoked(_) => (true, at),
        };
        self.put(&RealmMember { standing: MemberState::Revoked(since), ..member })?;
        Ok(!before)
    }
}

/// `KIND.NAME`; what is being written has another part.
fn is_member(file: &OsStr) -> bool {
    file.to_str().is_some_and(|name| name.matches('.').count() == 1)
}

fn read(path: &Path) -> Result<Option<RealmMember>, Problem> {
    let damaged = |why: String| {
        Problem::new(Code::Internal, format!("{} is damaged: {why}", path.display()))
            .next("restore it from a copy; if it is removed, a clone of this member is not noticed once")
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(damaged(error.to_string())),
    };
    let mut bytes = Vec::new();
    file.take(MAX_MEMBER_BYTES + 1).read_to_end(&mut bytes).map_err(|error| damaged(error.to_string()))?;
    if bytes.len() as u64 > MAX_MEMBER_BYTES {
        return Err(damaged(format!("it is longer than {MAX_MEMBER_BYTES} bytes")));
    }
    wire::cbor::from_slice(&bytes).map(Some).map_err(|problem| damaged(problem.detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_revocations_the_latest_counts() {
        let folder = std::env::temp_dir().join(format!("webos-revoked-{}", std::process::id()));
        let register = Register::new(&Folder::new(&folder));
        let alice: Principal = "spiffe://lab.example/user/alice".parse().expect("a principal");
        let may_join = |invited| {
            let member = register.member(&alice).expect("readable").expect("noted");
            member.may_join(UnixMs(invited)).is_ok()
        };
        assert!(register.revoke(&alice, UnixMs(10)).expect("noted"));
        assert!(may_join(20), "invited since");
        // Once more, as an owner does or as the pages of a feed prove that was restored from a backup.
        for (revoke, at) in [(Register::revoke as fn(&_, &_, _) -> _, 30), (Register::revoke_again, 40)] {
            assert!(!revoke(&register, &alice, UnixMs(at)).expect("noted"), "it was revoked before");
            assert!(!may_join(at) && may_join(at + 1), "no invitation from before {at} is good");
        }
        assert!(!register.revoke_again(&alice, UnixMs(15)).expect("noted"));
        assert!(!may_join(40), "an earlier one changes nothing");
        let member = register.member(&alice).expect("readable").expect("noted");
        register.put(&RealmMember { standing: MemberState::Cordoned(UnixMs(60)), ..member }).expect("put");
        assert!(register.revoke_again(&alice, UnixMs(50)).expect("noted"));
        assert!(!may_join(60), "nor does it let in who was cordoned since");
        fs::remove_dir_all(folder).expect("taken away");
    }

    #[test]
    fn a_member_may_have_any_name() {
        let folder = std::env::temp_dir().join(format!("webos-register-{}", std::process::id()));
        let register = Register::new(&Folder::new(&folder));
        let principal =
            |name: &str| -> Principal { format!("spiffe://lab.example/user/{name}").parse().expect("a principal") };
        for name in ["new", "alice"] {
            register.revoke(&principal(name), UnixMs(1)).expect("noted");
        }
        fs::write(register.0.join("user.17.new"), b"a draft that was left").expect("written");
        let members = register.members().expect("a list");
        let found: Vec<_> = members.iter().map(|member| member.newest.principal.clone()).collect();
        assert_eq!(found, [principal("alice"), principal("new")]);
        fs::remove_dir_all(folder).expect("taken away");
    }
}
