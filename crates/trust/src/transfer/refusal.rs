//! Each way in which a chain fails, by name: the same value feeds the audit log and the error message.

use super::grant::Grant;
use crate::error::ChainRefusal;
use crate::limits::MAX_TRANSFER_BYTES;
use terms::{Code, Epoch, Principal, Problem, TransferId, UnixMs};

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
    /// A further link does not name the one before it: links were left out, reordered or taken from another chain.
    #[error("{0} does not continue the transfer certificate before it")]
    NotTheParent(TransferId),
    /// A further link is not signed by the server and key that the one before it is for.
    #[error("{id} is signed by {signer}, and the transfer certificate before it is for another server or key")]
    NotPassedTo {
        /// The further link.
        id: TransferId,
        /// Who signed it.
        signer: Principal,
    },
    /// A further link acts for somebody else.
    #[error("{0} acts for somebody else than the transfer certificate before it")]
    SubjectChanged(TransferId),
    /// A further link allows what its parent does not.
    #[error("{id} gives {grant}, which the transfer certificate before it does not")]
    Wider {
        /// The further link.
        id: TransferId,
        /// What is too much.
        grant: Box<Grant>,
    },
    /// A further link begins before its parent or ends after it.
    #[error("{0} is valid when the transfer certificate before it is not")]
    Longer(TransferId),
    /// The parent withholds the right to transfer, or allows fewer links.
    #[error("{0} follows a transfer certificate that may not be passed on so far")]
    TooDeep(TransferId),
    /// A further link is for another job than its parent.
    #[error("{0} is for another job than the transfer certificate before it")]
    JobChanged(TransferId),
    /// Taken back.
    #[error("the transfer certificate {0} was revoked")]
    Revoked(TransferId),
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
            Refusal::Expired { .. } | Refusal::OldEpoch { .. } | Refusal::Revoked(_) => {
                "make a new transfer certificate"
            }
            Refusal::NotYetValid { .. } => "set the clocks right",
            _ => "",
        };
        Self::new(code, refusal.to_string()).next(next)
    }
}
