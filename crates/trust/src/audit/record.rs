//! What one audit record says. All text from outside is bounded here and escaped where it is written.

use super::chain::AuditHead;
use crate::decide::Asker;
use crate::limits::{MAX_AUDIT_GRANT, MAX_AUDIT_LINK, MAX_AUDIT_TEXT};
use crate::reason::Reason;
use crate::token::{TokenInfo, VerifiedToken};
use crate::transfer::{Grant, Link, Refusal, VerifiedChain};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use terms::{Principal, Right, UnixMs};
use wire::Peer;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    /// A right was granted.
    Granted,
    /// Something was refused.
    Refused,
    /// Trust material was changed: an access list, a group, an identity.
    Changed,
}

/// One link of the chain that stood behind a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLink {
    /// The link's id.
    pub id: String,
    /// Who signed it. Records of chains of one link, as they were written once, leave out that it was the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Principal>,
    /// On whose behalf.
    pub subject: Principal,
    /// For whom.
    pub audience: Principal,
    /// What it covers, in words.
    pub grants: Vec<String>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When.
    pub at: UnixMs,
    /// What happened.
    pub outcome: AuditOutcome,
    /// The principal for whom it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Principal>,
    /// The peer of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Principal>,
    /// Where the connection came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The right asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<String>,
    /// On what.
    pub resource: String,
    /// Why, in words.
    pub reason: String,
    /// The chain that stood behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<AuditLink>,
    /// The chain was refused: its links are what it claims, and nothing of it is known to be true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claimed: bool,
    /// Ends of this log that were there once and are not: somebody knows that they were lost, and says so here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acknowledged: Vec<AuditHead>,
    /// For how many alike events this record stands.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
    #[serde(skip)]
    pub(super) address: Option<IpAddr>,
}

fn one() -> u64 {
    1
}

// serde gives predicates a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_one(count: &u64) -> bool {
    *count == 1
}

/// Cuts what is too long once it is escaped, and shows that it did.
fn bounded(text: impl ToString, limit: usize) -> String {
    const NOTE: usize = 40;
    let text = text.to_string();
    let mut left = limit - NOTE;
    for (index, c) in text.char_indices() {
        let cost = escaped(c);
        if cost > left {
            return format!("{}... ({} bytes)", &text[..index], text.len());
        }
        left -= cost;
    }
    text
}

/// Bytes of a character as JSON may escape it.
fn escaped(c: char) -> usize {
    match c {
        '"' | '\\' => 2,
        ' '..='~' => 1,
        _ => 6 * c.len_utf16(),
    }
}

/// All links of the chain, first to last.
fn chain(chain: &VerifiedChain) -> impl Iterator<Item = AuditLink> {
    chain.links().map(|verified| link(&verified.link))
}

fn link(link: &Link) -> AuditLink {
    AuditLink {
        id: link.id.to_string(),
        issuer: Some(link.issuer.clone()),
        subject: link.subject.clone(),
        audience: link.audience.clone(),
        grants: in_words(&link.grants),
    }
}

/// A token stands behind the chain as a link that its subject gave to the home that minted it.
fn token_link(token: &VerifiedToken) -> AuditLink {
    AuditLink {
        id: token.id().to_string(),
        issuer: Some(token.subject().clone()),
        subject: token.subject().clone(),
        audience: token.audience().clone(),
        grants: in_words(token.grants()),
    }
}

/// What a link covers, bounded by its share of what a record has room for.
fn in_words(grants: &[Grant]) -> Vec<String> {
    let mut left = MAX_AUDIT_LINK;
    let mut words = Vec::new();
    for grant in grants {
        let text = bounded(grant, MAX_AUDIT_GRANT);
        let cost: usize = text.chars().map(escaped).sum();
        if cost > left {
            words.push(format!("... ({} grants)", grants.len()));
            break;
        }
        left -= cost;
        words.push(text);
    }
    words
}

impl AuditRecord {
    pub(super) fn blank(at: UnixMs, outcome: AuditOutcome) -> Self {
        Self {
            at,
            outcome,
            subject: None,
            peer: None,
            source: None,
            right: None,
            resource: String::new(),
            reason: String::new(),
            chain: Vec::new(),
            claimed: false,
            acknowledged: Vec::new(),
            count: 1,
            address: None,
        }
    }

    /// The record of a decision, if it is one that is recorded: a refusal, or a grant of `m`, `x` or `a`.
    pub fn of_decision(at: UnixMs, source: Option<IpAddr>, asker: Asker<'_>, reason: &Reason) -> Option<Self> {
        let recorded = matches!(reason.right, Right::Modify | Right::Execute | Right::Administer);
        if reason.granted() && !recorded {
            return None;
        }
        let outcome = if reason.granted() { AuditOutcome::Granted } else { AuditOutcome::Refused };
        Some(Self {
            subject: reason.subject.clone(),
            peer: asker.peer.map(|peer| peer.principal.clone()),
            source: source.map(|address| address.to_string()),
            right: Some(reason.right.to_string()),
            resource: bounded(&reason.resource, MAX_AUDIT_TEXT),
            reason: bounded(reason, MAX_AUDIT_TEXT),
            chain: asker.chain.into_iter().flat_map(chain).chain(asker.token.map(token_link)).collect(),
            address: source,
            ..Self::blank(at, outcome)
        })
    }

    /// The record of a transfer certificate that was refused before any right was looked at.
    pub fn of_chain(
        at: UnixMs,
        source: Option<IpAddr>,
        peer: &Peer,
        resource: &str,
        (claims, refusal): (&[Link], &Refusal),
    ) -> Self {
        let text = refusal.to_string();
        Self {
            peer: Some(peer.principal.clone()),
            subject: claims.first().map(|link| link.subject.clone()),
            chain: claims.iter().map(link).collect(),
            claimed: !claims.is_empty(),
            ..Self::of_refusal(at, source, resource, &text)
        }
    }

    /// The record of another refusal, such as a connection or an invitation.
    pub fn of_refusal(at: UnixMs, source: Option<IpAddr>, resource: &str, reason: &str) -> Self {
        Self {
            source: source.map(|address| address.to_string()),
            resource: bounded(resource, MAX_AUDIT_TEXT),
            reason: bounded(reason, MAX_AUDIT_TEXT),
            address: source,
            ..Self::blank(at, AuditOutcome::Refused)
        }
    }

    /// A token as the link that its home records: its audience is that home.
    pub fn link_of_token(info: &TokenInfo, home: &Principal) -> AuditLink {
        let grants: Vec<Grant> = info.grants.iter().cloned().map(Grant::from).collect();
        AuditLink {
            id: info.id.clone(),
            issuer: Some(info.subject.clone()),
            subject: info.subject.clone(),
            audience: home.clone(),
            grants: in_words(&grants),
        }
    }

    /// The record by which a principal says that it knows why the log, which ends here, has lost these ends.
    pub fn of_loss(at: UnixMs, actor: &Principal, end: AuditHead, lost: Vec<AuditHead>) -> Self {
        let last = lost.iter().map(|head| head.records).max().unwrap_or(0);
        let missing = match end.records + 1 {
            first if first < last => format!("records {first} to {last} are missing"),
            first if first == last => format!("record {last} is missing"),
            _ => format!("up to record {last} it went on differently"),
        };
        let what = format!("log restored: {missing}, acknowledged by {actor}");
        Self { acknowledged: lost, ..Self::of_change(at, actor, "audit log", &what) }
    }

    /// The record of a change of trust material by a principal.
    pub fn of_change(at: UnixMs, actor: &Principal, resource: &str, what: &str) -> Self {
        Self {
            subject: Some(actor.clone()),
            resource: bounded(resource, MAX_AUDIT_TEXT),
            reason: bounded(what, MAX_AUDIT_TEXT),
            ..Self::blank(at, AuditOutcome::Changed)
        }
    }
}
