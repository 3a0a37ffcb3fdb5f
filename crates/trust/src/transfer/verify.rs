//! Verifies a chain for the peer that shows it. The result is a type that nothing else can make. Links are looked at
//! from the first to the last; nothing that stands in one is believed before its signature matches.

use super::claims::Claims;
use super::grant::Grant;
use super::link::Link;
use super::refusal::Refusal;
use super::{Chain, KIND};
use crate::codec::decode;
use crate::error::TrustError;
use crate::key::sha256;
use crate::limits::{CLOCK_SKEW, MAX_TRANSFER_BYTES};
use crate::reason::Ground;
use crate::signed;
use crate::standing::Standing;
use crate::store::{Certified, TrustStore};
use terms::{Principal, PrincipalKind, RealmName, Thumbprint, TransferId, UnixMs};
use wire::Peer;

/// A link of a verified chain, with what is needed to see whether it still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedLink {
    /// What it says.
    pub link: Link,
    /// When its issuer's certificate was issued: a later revocation of the issuer ends the link.
    pub issuer_certified: UnixMs,
}

/// A chain that was verified for one peer. It says what may be asked for, never that the answer is yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedChain {
    first: VerifiedLink,
    further: Vec<VerifiedLink>,
}

impl VerifiedChain {
    /// On whose behalf.
    pub fn subject(&self) -> &Principal {
        &self.first.link.subject
    }

    fn last(&self) -> &Link {
        &self.further.last().unwrap_or(&self.first).link
    }

    /// The server that may use it.
    pub fn audience(&self) -> &Principal {
        &self.last().audience
    }

    /// The key that this server must hold.
    pub fn audience_key(&self) -> Thumbprint {
        self.last().audience_key
    }

    /// What it covers: the last link's grants, which lie within those of all others.
    pub fn grants(&self) -> &[Grant] {
        &self.last().grants
    }

    /// The last link's id.
    pub fn id(&self) -> TransferId {
        self.last().id
    }

    /// The links, first to last.
    pub fn links(&self) -> impl Iterator<Item = &VerifiedLink> {
        std::iter::once(&self.first).chain(&self.further)
    }

    /// The realms that could take it back: of the subject, of every issuer, of every audience.
    pub fn realms(&self) -> impl Iterator<Item = &RealmName> {
        self.links().flat_map(|link| [&link.link.issuer.realm, &link.link.audience.realm])
    }

    /// Whether nothing of it was taken back since it was verified.
    ///
    /// # Errors
    /// What was.
    pub fn stands(&self, standing: &dyn Standing) -> Result<(), Ground> {
        for VerifiedLink { link, issuer_certified } in self.links() {
            if standing.is_revoked(&link.issuer, *issuer_certified) {
                return Err(Ground::PrincipalRevoked { principal: link.issuer.clone() });
            }
            if standing.has_ended(&link.issuer, link.id, link.epoch) {
                return Err(Ground::ChainRevoked { id: link.id });
            }
        }
        Ok(())
    }

    /// Good from this time, the allowance for clocks included.
    pub fn from(&self) -> UnixMs {
        self.last().from.minus(CLOCK_SKEW)
    }

    /// Good until just before this time, the allowance for clocks included.
    pub fn until(&self) -> UnixMs {
        self.last().until.plus(CLOCK_SKEW)
    }
}

/// Verifies a chain shown by this peer, now.
///
/// # Errors
/// The first [`Refusal`] found.
pub fn verify(chain: &Chain, peer: &Peer, store: &TrustStore, now: UnixMs) -> Result<VerifiedChain, Refusal> {
    let mut verified: Vec<VerifiedLink> = Vec::with_capacity(chain.0.len());
    let mut parent: Option<(Claims, &[u8])> = None;
    for bytes in &chain.0 {
        let (claims, issuer) = open(bytes, store, now)?;
        match &parent {
            None => check_first(&claims)?,
            Some((above, bytes)) => check_further(&claims, &issuer, above, bytes)?,
        }
        check_times(&claims, &issuer, now)?;
        check_not_revoked(&claims, &issuer, store)?;
        verified.push(VerifiedLink { link: Link::from(&claims), issuer_certified: issuer.certified });
        parent = Some((claims, bytes));
    }
    let (last, _) = parent.ok_or_else(|| Refusal::Malformed("it has no link".into()))?;
    check_shown_by(&last, peer)?;
    let first = verified.remove(0);
    Ok(VerifiedChain { first, further: verified })
}

/// Verifies issuer and signature of the last link alone: enough for its issuer to take it back, and for nothing else.
///
/// # Errors
/// The first [`Refusal`] found.
pub fn verify_last_signature(chain: &Chain, store: &TrustStore, now: UnixMs) -> Result<Link, Refusal> {
    let last = chain.0.last().ok_or_else(|| Refusal::Malformed("it has no link".into()))?;
    Ok(Link::from(&open(last, store, now)?.0))
}

/// Issuer and signature, then the claims.
fn open(link: &[u8], store: &TrustStore, now: UnixMs) -> Result<(Claims, Certified), Refusal> {
    let (issuer, payload) = signed::open_certified(link, KIND, store, now).map_err(refusal)?;
    let value = decode("its content", &payload, MAX_TRANSFER_BYTES).map_err(refusal)?;
    let claims = Claims::from_value(value)?;
    if claims.issuer != issuer.principal {
        let (issuer, signer) = (claims.issuer, issuer.principal);
        return Err(Refusal::NotTheIssuer { issuer, signer });
    }
    if claims.audience.kind != PrincipalKind::Server {
        return Err(Refusal::AudienceIsNoServer { audience: claims.audience });
    }
    Ok((claims, issuer))
}

fn refusal(error: TrustError) -> Refusal {
    match error {
        TrustError::Chain(refusal) => Refusal::Issuer(refusal),
        TrustError::Signature { .. } => Refusal::Signature,
        other => Refusal::Malformed(other.to_string()),
    }
}

/// The first link lends what is its signer's own.
fn check_first(claims: &Claims) -> Result<(), Refusal> {
    if claims.issuer != claims.subject {
        let (issuer, subject) = (claims.issuer.clone(), claims.subject.clone());
        return Err(Refusal::ForeignSubject { issuer, subject });
    }
    if claims.via.is_some() { Err(Refusal::ParentMissing) } else { Ok(()) }
}

/// A further link is signed by whom its parent is for, and lies within it in every respect.
fn check_further(claims: &Claims, issuer: &Certified, parent: &Claims, bytes: &[u8]) -> Result<(), Refusal> {
    let id = claims.id;
    if claims.via != Some(sha256(bytes)) {
        return Err(Refusal::NotTheParent(id));
    }
    if issuer.principal != parent.audience || issuer.key.thumbprint() != parent.audience_key {
        return Err(Refusal::NotPassedTo { id, signer: issuer.principal.clone() });
    }
    if claims.subject != parent.subject {
        return Err(Refusal::SubjectChanged(id));
    }
    if claims.depth >= parent.depth {
        return Err(Refusal::TooDeep(id));
    }
    if claims.not_before < parent.not_before || claims.expires > parent.expires {
        return Err(Refusal::Longer(id));
    }
    if parent.job.is_some() && claims.job != parent.job {
        return Err(Refusal::JobChanged(id));
    }
    match claims.grants.iter().find(|grant| !grant.within(&parent.grants)) {
        Some(grant) => Err(Refusal::Wider { id, grant: Box::new(grant.clone()) }),
        None => Ok(()),
    }
}

fn check_times(claims: &Claims, issuer: &Certified, now: UnixMs) -> Result<(), Refusal> {
    let (start, end) = (UnixMs::from_secs(claims.not_before), UnixMs::from_secs(claims.expires));
    if end <= start || start < UnixMs::from_secs(claims.issued) {
        return Err(Refusal::Times);
    }
    if now >= end.plus(CLOCK_SKEW) {
        return Err(Refusal::Expired { end, now });
    }
    if now.plus(CLOCK_SKEW) < start {
        return Err(Refusal::NotYetValid { start, now });
    }
    if end > issuer.end {
        return Err(Refusal::OutlivesIssuer);
    }
    Ok(())
}

fn check_not_revoked(claims: &Claims, issuer: &Certified, store: &TrustStore) -> Result<(), Refusal> {
    if claims.epoch < issuer.epoch {
        return Err(Refusal::OldEpoch { found: claims.epoch, present: issuer.epoch });
    }
    if store.has_ended(&claims.issuer, claims.id, claims.epoch) {
        return Err(Refusal::Revoked(claims.id));
    }
    Ok(())
}

fn check_shown_by(last: &Claims, peer: &Peer) -> Result<(), Refusal> {
    if last.audience != peer.principal {
        let audience = last.audience.clone();
        return Err(Refusal::WrongAudience { audience, peer: peer.principal.clone() });
    }
    if last.audience_key != peer.key {
        return Err(Refusal::WrongKey { peer: peer.principal.clone() });
    }
    Ok(())
}
