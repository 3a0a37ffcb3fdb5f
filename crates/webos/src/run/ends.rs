//! What ends when: the certificates of this folder and of the realms that it trusts, worst first said by `doctor`.

use super::Setup;
use crate::output::time_left;
use client::Client;
use client::register::Register;
use client::renewal::retired;
use std::time::Duration;
use terms::{PrincipalKind, Problem, UnixMs};
use trust::limits::{GRACE, ISSUING_LIFETIME};
use trust::{Authority, IdentityFile, MemberState};

/// A root with less time than this left needs a successor: other realms must learn of it first.
const ROOT_SOON: Duration = Duration::from_secs(365 * 24 * 3600);
/// An issuing certificate with less time than this left is a matter of days.
const ISSUING_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// How urgent something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Nothing is to be done.
    None,
    /// Something is to be done in time.
    Soon,
    /// It does not work, or will stop any day.
    Now,
}

/// One thing that ends, or stands in a way that its owner should know.
#[derive(Debug, Clone)]
pub struct End {
    /// What it is: a few words.
    pub what: &'static str,
    /// Which one, and until when.
    pub detail: String,
    /// How urgent it is.
    pub urgency: Urgency,
    /// What to do.
    pub next: String,
}

fn end(what: &'static str, detail: String, urgency: Urgency, next: impl Into<String>) -> End {
    End { what, detail, urgency, next: next.into() }
}

/// Everything of this folder that ends.
pub fn all(setup: &Setup, client: &Client) -> Result<Vec<End>, Problem> {
    let now = setup.world.clock.unix();
    let mut ends = Vec::new();
    ends.extend(own(setup, now));
    for old in retired(&setup.folder, &setup.world)? {
        let detail = format!("key {}, {}", old.key().thumbprint(), time_left(now, old.not_after()));
        ends.push(end("retired key", detail, Urgency::None, ""));
    }
    if setup.folder.authority().exists() {
        ends.extend(authority(&Authority::load(&setup.folder.authority())?, now)?);
        ends.extend(members(setup)?);
    }
    for realm in client.trust().realms() {
        let Some(bundle) = client.trust().bundle(&realm) else { continue };
        for (_, until) in bundle.root_ends()? {
            let urgency = if until.since(now) < ROOT_SOON { Urgency::Soon } else { Urgency::None };
            let detail = format!("{realm}, valid {}", time_left(now, until));
            ends.push(end(
                "trusted root",
                detail,
                urgency,
                "its people make a successor with `webos realm succeed`",
            ));
        }
    }
    Ok(ends)
}

fn own(setup: &Setup, now: UnixMs) -> Option<End> {
    let identity = IdentityFile::read(&setup.folder.identity()).ok()?;
    let until = identity.not_after();
    let kept = if identity.is_sealed() { ", its key under a passphrase" } else { "" };
    let detail = format!("{}, valid {}{kept}", identity.principal(), time_left(now, until));
    let server = identity.principal().kind == PrincipalKind::Server;
    if !identity.is_renewal_due(now) {
        return Some(end("identity", detail, Urgency::None, ""));
    }
    let next = if server {
        "a node that runs renews it by itself: see that it runs and reaches its realm's first node"
    } else {
        "`webos user renew` renews it now; `webos up` renews what belongs to its world"
    };
    Some(end("identity", detail, Urgency::Soon, next))
}

fn authority(authority: &Authority, now: UnixMs) -> Result<Vec<End>, Problem> {
    let mut ends = Vec::new();
    let until = authority.issuing_end()?;
    let urgency = match until.since(now) {
        left if left < ISSUING_SOON => Urgency::Now,
        left if left < ISSUING_LIFETIME / 2 => Urgency::Soon,
        _ => Urgency::None,
    };
    let detail = format!("{}, valid {}", authority.realm(), time_left(now, until));
    ends.push(end("issuing CA", detail, urgency, "make the next one with `webos realm renew`"));
    for until in authority.earlier_ends()? {
        let detail = format!("{}, an earlier one, valid {}", authority.realm(), time_left(now, until));
        ends.push(end("issuing CA", detail, Urgency::None, ""));
    }
    Ok(ends)
}

/// Members of which the realm's owner should know.
fn members(setup: &Setup) -> Result<Vec<End>, Problem> {
    let now = setup.world.clock.unix();
    let mut ends = Vec::new();
    for member in Register::new(&setup.folder).members()? {
        let (who, until) = (&member.newest.principal, member.newest.end);
        match member.standing {
            MemberState::Cordoned(_) => ends.push(end(
                "cordoned",
                format!("{who} is suspected to have a clone"),
                Urgency::Soon,
                format!(
                    "find the real one, and let it join again: webos realm invite {} {} --again",
                    who.kind.as_str(),
                    who.name
                ),
            )),
            MemberState::Active if until <= now && now < until.plus(GRACE) && who.kind == PrincipalKind::Server => {
                let detail =
                    format!("{who} was not heard of; it can come back for {}", time_left(now, until.plus(GRACE)));
                ends.push(end("in grace", detail, Urgency::Soon, "start it"));
            }
            MemberState::Active | MemberState::Revoked(_) => {}
        }
    }
    Ok(ends)
}
