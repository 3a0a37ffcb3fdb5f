//! Verifies a chain for the peer that shows it. The result is a type that nothing else can make, and each way
//! to fail is named: the same value feeds the audit log and the error message.

use super::claims::{Claims, Grant, TransferId};
use super::{Chain, KIND};
use crate::codec::decode;
use crate::error::{ChainRefusal, TrustError};
use crate::limits::{CLOCK_SKEW, MAX_TRANSFER_BYTES};
use crate::signed;
use crate::store::{Certified, TrustStore};
use terms::{Code, Epoch, Principal, PrincipalKind, Problem, Thumbprint, UnixMs};
use wire::Peer;

/// Why a chain was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Larger than 32 KiB; nothing was decoded.
    #[error("the transfer certificate has {bytes} bytes, and at most {MAX_TRANSFER_BYTES} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not a chain as specified.
    #[error("the transfer certificate is not understood: {0}")]
    Malformed(String),
    /// More links than this release accepts.
    #[error("chains of more than one link are not supported")]
    MoreThanOneLink,
    /// A claim is missing.
    #[error("the transfer certificate has no claim {0}")]
    MissingClaim(&'static str),
    /// A claim that is not understood here might narrow the others.
    #[error("the transfer certificate has a claim that is not understood here: {0}")]
    UnknownClaim(String),
    /// The issuer's own certificates were refused.
    #[error("the issuer of the transfer certificate is not accepted: {0}")]
    Issuer(ChainRefusal),
    /// The signature does not match.
    #[error("the signature on the transfer certificate does not match: it was altered or forged")]
    Signature,
    /// Signed by another principal than it says.
    #[error("the transfer certificate says it is from {issuer}, and {signer} signed it")]
    NotTheIssuer {
        /// The claim.
        issuer: Principal,
        /// The certificate's principal.
        signer: Principal,
    },
    /// The first link is not signed by the principal whose rights it lends.
    #[error("{issuer} cannot lend what belongs to {subject}")]
    ForeignSubject {
        /// Who signed.
        issuer: Principal,
        /// Whose rights.
        subject: Principal,
    },
    /// The first link names a parent, which is not there.
    #[error("the transfer certificate continues another one, which is not there")]
    ParentMissing,
    /// For another server.
    #[error("the transfer certificate is for {audience}, not for {peer}")]
    WrongAudience {
        /// For whom.
        audience: Principal,
        /// Who shows it.
        peer: Principal,
    },
    /// The audience is no server.
    #[error("{audience} is no server: rights are lent to servers only")]
    AudienceIsNoServer {
        /// For whom.
        audience: Principal,
    },
    /// For another key.
    #[error("the transfer certificate is for another key of {peer}")]
    WrongKey {
        /// Who shows it.
        peer: Principal,
    },
    /// It has ended.
    #[error("the transfer certificate ended {} s ago", now.since(*end).as_secs())]
    Expired {
        /// When.
        end: UnixMs,
        /// When it was looked at.
        now: UnixMs,
    },
    /// It is not valid yet.
    #[error("the transfer certificate is not valid yet: it starts in {} s", start.since(*now).as_secs())]
    NotYetValid {
        /// When it starts.
        start: UnixMs,
        /// When it was looked at.
        now: UnixMs,
    },
    /// Its times contradict each other.
    #[error("the transfer certificate ends before it starts, or starts before it was signed")]
    Times,
    /// It lasts longer than its issuer's own certificate.
    #[error("the transfer certificate lasts longer than its issuer's own certificate")]
    OutlivesIssuer,
    /// The issuer's realm has ended all certificates of that epoch.
    #[error("the transfer certificate is of epoch {found}, and its realm has ended all before {present}")]
    OldEpoch {
        /// The link's epoch.
        found: Epoch,
        /// The realm's.
        present: Epoch,
    },
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::TooLarge { .. } => Code::TooLarge,
            Refusal::Malformed(_) => Code::Invalid,
            _ => Code::Denied,
        };
        let next = match refusal {
            Refusal::Expired { .. } | Refusal::OldEpoch { .. } => "make a new transfer certificate",
            Refusal::NotYetValid { .. } => "set the clocks right",
            _ => "",
        };
        Self::new(code, refusal.to_string()).next(next)
    }
}

/// A chain that was verified for one peer. It says what may be asked for, never that the answer is yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedChain {
    claims: Claims,
}

impl VerifiedChain {
    /// On whose behalf.
    pub fn subject(&self) -> &Principal {
        &self.claims.subject
    }

    /// The server that may use it.
    pub fn audience(&self) -> &Principal {
        &self.claims.audience
    }

    /// The key that this server must hold.
    pub fn audience_key(&self) -> Thumbprint {
        self.claims.audience_key
    }

    /// What it covers.
    pub fn grants(&self) -> &[Grant] {
        &self.claims.grants
    }

    /// The last link's id.
    pub fn id(&self) -> TransferId {
        self.claims.id
    }

    /// Good from this time, the allowance for clocks included.
    pub fn from(&self) -> UnixMs {
        UnixMs::from_secs(self.claims.not_before).minus(CLOCK_SKEW)
    }

    /// Good until just before this time, the allowance for clocks included.
    pub fn until(&self) -> UnixMs {
        UnixMs::from_secs(self.claims.expires).plus(CLOCK_SKEW)
    }
}

/// Verifies a chain shown by this peer, now. The order is: shape, issuer, signature, claims; nothing that
/// stands in the claims is believed before the signature matches.
///
/// # Errors
/// The first [`Refusal`] found.
pub fn verify(chain: &Chain, peer: &Peer, store: &TrustStore, now: UnixMs) -> Result<VerifiedChain, Refusal> {
    let [link] = chain.0.as_slice() else { return Err(Refusal::MoreThanOneLink) };
    let (issuer, payload) = signed::open_certified(link, KIND, store, now).map_err(refusal)?;
    let value = decode("its content", &payload, MAX_TRANSFER_BYTES).map_err(refusal)?;
    let claims = Claims::from_value(value)?;
    check_parties(&claims, &issuer, peer)?;
    check_times(&claims, &issuer, now)?;
    Ok(VerifiedChain { claims })
}

fn refusal(error: TrustError) -> Refusal {
    match error {
        TrustError::Chain(refusal) => Refusal::Issuer(refusal),
        TrustError::Signature { .. } => Refusal::Signature,
        other => Refusal::Malformed(other.to_string()),
    }
}

fn check_parties(claims: &Claims, issuer: &Certified, peer: &Peer) -> Result<(), Refusal> {
    let Claims { audience, subject, .. } = claims.clone();
    if claims.issuer != issuer.principal {
        let (issuer, signer) = (claims.issuer.clone(), issuer.principal.clone());
        return Err(Refusal::NotTheIssuer { issuer, signer });
    }
    if claims.issuer != subject {
        return Err(Refusal::ForeignSubject { issuer: claims.issuer.clone(), subject });
    }
    if claims.via.is_some() {
        return Err(Refusal::ParentMissing);
    }
    if audience != peer.principal {
        return Err(Refusal::WrongAudience { audience, peer: peer.principal.clone() });
    }
    if audience.kind != PrincipalKind::Server {
        return Err(Refusal::AudienceIsNoServer { audience });
    }
    if claims.audience_key != peer.key {
        return Err(Refusal::WrongKey { peer: peer.principal.clone() });
    }
    Ok(())
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
    if claims.epoch < issuer.epoch {
        return Err(Refusal::OldEpoch { found: claims.epoch, present: issuer.epoch });
    }
    Ok(())
}
