//! What a realm's registrar keeps of each member, and the rule by which a certificate is renewed.
//!
//! A renewal carries an id that its sender stores first; the same id gets the same certificate again. Whoever renews
//! a certificate that was renewed already, under another id, is a clone of a member or its victim: nobody can tell
//! which, so both end here.

use crate::error::TrustError;
use crate::key::PublicKey;
use crate::limits::{CLOCK_SKEW, GRACE};
use crate::store::TrustStore;
use crate::x509;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::time::Duration;
use terms::{Code, Digest, Principal, PrincipalKind, Problem, Thumbprint, UnixMs};

/// Names one renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewalId(pub [u8; 16]);

/// Whether a member may have certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// It may.
    Active,
    /// It is suspected to have a clone, since then.
    Cordoned(UnixMs),
    /// It was revoked, then.
    Revoked(UnixMs),
}

/// A certificate that was given out: what it says, apart from signatures, which are never an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Whose.
    pub principal: Principal,
    /// The key that it certifies.
    pub key: Thumbprint,
    /// SHA-256 of what was signed.
    pub content: Digest,
    /// When it was issued; the beginning of time if it was noted by a build that did not ask.
    #[serde(default)]
    pub issued: UnixMs,
    /// When it ends.
    pub end: UnixMs,
}

impl Given {
    /// Reads a leaf. Nothing is verified.
    ///
    /// # Errors
    /// [`TrustError::Chain`] if it is no leaf of our profile.
    pub fn read(leaf: &CertificateDer<'_>) -> Result<Self, TrustError> {
        let read = x509::read_leaf(leaf)?;
        let content = Digest(x509::content_hash(leaf)?);
        let issued = read.validity.start.plus(CLOCK_SKEW);
        Ok(Self { principal: read.principal, key: read.key.thumbprint(), content, issued, end: read.validity.end })
    }

    /// Reads a leaf whose chain was good in its pinned realm just before its end, with its key.
    ///
    /// # Errors
    /// [`TrustError::Chain`] if it never was.
    pub fn as_it_ended(chain: &[CertificateDer<'_>], store: &TrustStore) -> Result<(Self, PublicKey), TrustError> {
        let (leaf, rest) = chain.split_first().ok_or_else(|| TrustError::malformed("the chain", "it is empty"))?;
        let given = Self::read(leaf)?;
        let certified = store.certify(leaf, rest, given.end.minus(Duration::from_secs(1)))?;
        Ok((given, certified.key))
    }
}

/// The last renewal of a member: for its id the same chain is answered again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRenewal {
    /// Its id.
    pub id: RenewalId,
    /// The chain given, in DER.
    pub chain: Vec<ByteBuf>,
}

/// A member of a realm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealmMember {
    /// The newest certificate of it.
    pub newest: Given,
    /// The key before the newest one, if it was changed since the member joined.
    pub former: Option<Thumbprint>,
    /// By which renewal it came; none if the member joined with it.
    pub renewal: Option<LastRenewal>,
    /// Whether that was within the time of grace: the next one must not be.
    pub by_grace: bool,
    /// Whether it may have certificates.
    pub standing: MemberState,
}

impl RealmMember {
    /// Somebody who was certified without a renewal.
    pub fn new(newest: Given) -> Self {
        Self { newest, former: None, renewal: None, by_grace: false, standing: MemberState::Active }
    }

    /// Whether this member may be certified on an invitation that was made at this time: one that was revoked or
    /// cordoned may if it was invited again since.
    ///
    /// # Errors
    /// [`RenewalRefusal::Standing`].
    pub fn may_join(&self, invited: UnixMs) -> Result<(), RenewalRefusal> {
        match self.standing {
            MemberState::Active => Ok(()),
            MemberState::Cordoned(at) | MemberState::Revoked(at) if invited > at => Ok(()),
            standing => Err(RenewalRefusal::Standing { principal: self.newest.principal.clone(), standing }),
        }
    }
}

/// A renewal that is asked for. The holder of the shown certificate's key asked, and the holder of the new one's.
#[derive(Debug, Clone)]
pub struct RenewalAsked<'a> {
    /// The certificate to be renewed.
    pub shown: &'a Given,
    /// The id.
    pub id: RenewalId,
    /// The key to certify.
    pub key: &'a PublicKey,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewalVerdict {
    /// The same certificate again.
    Again(Vec<ByteBuf>),
    /// A new one.
    Issue {
        /// Whether it is given in grace.
        by_grace: bool,
    },
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenewalRefusal {
    /// The member may not have certificates.
    #[error("{principal} {}", match standing { MemberState::Revoked(_) => "was revoked", _ => "is cordoned as a suspected clone" })]
    Standing {
        /// Who.
        principal: Principal,
        /// How it stands.
        standing: MemberState,
    },
    /// The certificate was renewed before, under another id: there are two of this member.
    #[error("this certificate of {principal} was renewed before, by somebody else with the same key")]
    Cloned {
        /// Who.
        principal: Principal,
    },
    /// The key belongs to a former holder of the name, or was replaced long ago.
    #[error("this certificate of {principal} is a former one: the name was given again since, or the key replaced")]
    Superseded {
        /// Who.
        principal: Principal,
    },
    /// The certificate ended too long ago, or is not one that gets grace.
    #[error("the certificate of {principal} ended, and {why}")]
    Ended {
        /// Who.
        principal: Principal,
        /// Why there is no grace.
        why: &'static str,
    },
    /// In grace the key must be a new one.
    #[error("the certificate of {principal} has ended: its key is not certified again")]
    OldKey {
        /// Who.
        principal: Principal,
    },
}

impl From<RenewalRefusal> for Problem {
    fn from(refusal: RenewalRefusal) -> Self {
        let next = match &refusal {
            RenewalRefusal::Cloned { .. } => {
                "it is cordoned now: find out which one is real, and invite that again with --again"
            }
            RenewalRefusal::OldKey { .. } => "renew with a new key",
            _ => "ask for an invitation: `webos realm invite … --again`",
        };
        Self::new(Code::Denied, refusal.to_string()).next(next)
    }
}

/// The rule. On [`RenewalRefusal::Cloned`] the caller cordons the member, durably, before it answers.
///
/// # Errors
/// [`RenewalRefusal`].
pub fn judge_renewal(
    member: Option<&RealmMember>,
    asked: &RenewalAsked<'_>,
    now: UnixMs,
) -> Result<RenewalVerdict, RenewalRefusal> {
    let principal = || asked.shown.principal.clone();
    if let Some(member) = member {
        // What is shown was certified by this realm. If that was after the revocation, the member was invited again since,
        // and a restored backup has set the register back.
        let readmitted = matches!(member.standing, MemberState::Revoked(at) if at < asked.shown.issued);
        if member.standing != MemberState::Active && !readmitted {
            return Err(RenewalRefusal::Standing { principal: principal(), standing: member.standing });
        }
        if let Some(last) = member.renewal.as_ref().filter(|last| last.id == asked.id)
            && member.newest.key == asked.key.thumbprint()
        {
            return Ok(RenewalVerdict::Again(last.chain.clone()));
        }
        // If what is shown is later than the newest that is known, the register was set back too: that makes nobody a
        // clone.
        let set_back = asked.shown.end > member.newest.end;
        if member.newest.content != asked.shown.content && !set_back {
            let of_its_line = asked.shown.key == member.newest.key || Some(asked.shown.key) == member.former;
            // Whoever had the name before it was given again must not be able to cordon the one who has it now.
            return Err(match of_its_line {
                true => RenewalRefusal::Cloned { principal: principal() },
                false => RenewalRefusal::Superseded { principal: principal() },
            });
        }
    }
    if now < asked.shown.end {
        return Ok(RenewalVerdict::Issue { by_grace: false });
    }
    let no_grace = |why| Err(RenewalRefusal::Ended { principal: principal(), why });
    if asked.shown.principal.kind != PrincipalKind::Server {
        return no_grace("only servers have a time of grace");
    }
    if now >= asked.shown.end.plus(GRACE) {
        return no_grace("its time of grace is over");
    }
    if member.is_some_and(|member| member.by_grace) {
        return no_grace("it was given in grace itself");
    }
    if asked.key.thumbprint() == asked.shown.key {
        return Err(RenewalRefusal::OldKey { principal: principal() });
    }
    Ok(RenewalVerdict::Issue { by_grace: true })
}
