//! What can go wrong with trust material, each with its operands, and how it looks to the other side.

use std::path::{Path, PathBuf};
use terms::{Code, Principal, Problem, RealmName, Thumbprint, UnixMs};

/// Why a certificate chain was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainRefusal {
    /// Not a certificate of our profile.
    #[error("the certificate is not one of ours: {0}")]
    Malformed(String),
    /// A certificate of an authority was shown as somebody's own.
    #[error("the certificate belongs to an authority and names nobody")]
    AuthorityAsLeaf,
    /// Its names are not exactly one SPIFFE id and its DNS twin.
    #[error("the certificate must carry exactly one SPIFFE id and its DNS twin: {0}")]
    Names(String),
    /// No bundle of that realm is pinned here.
    #[error("the realm {realm} of {principal} is not trusted here")]
    UnknownRealm {
        /// The realm.
        realm: RealmName,
        /// Who the certificate says it is.
        principal: Principal,
    },
    /// The chain does not end in a pinned root of its own realm.
    #[error("the certificate of {principal} was not issued by the realm {}", principal.realm)]
    NotIssuedByRealm {
        /// Who the certificate says it is.
        principal: Principal,
    },
    /// A certificate of the chain has ended.
    #[error("the certificate chain of {principal} ended {} s ago", now.since(*end).as_secs())]
    Expired {
        /// Whose.
        principal: Principal,
        /// When it ended.
        end: UnixMs,
        /// When it was looked at.
        now: UnixMs,
    },
    /// A certificate of the chain is not valid yet; somebody's clock is off.
    #[error("the certificate chain of {principal} is not valid yet: it starts in {} s", start.since(*now).as_secs())]
    NotYetValid {
        /// Whose.
        principal: Principal,
        /// When it starts.
        start: UnixMs,
        /// When it was looked at.
        now: UnixMs,
    },
    /// Its realm has taken it back.
    #[error("the realm of {principal} has revoked it")]
    Revoked {
        /// Whose certificate.
        principal: Principal,
    },
    /// The chain breaks a rule of X.509: constraints, usages, signatures.
    #[error("the certificate chain of {principal} breaks a rule: {rule}")]
    Rule {
        /// Whose.
        principal: Principal,
        /// The rule.
        rule: String,
    },
}

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A named limit was exceeded.
    #[error("{what} has {size}, and at most {limit} are allowed")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How much it has, in the unit of the limit.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Foreign bytes are not what they should be.
    #[error("{what} is not understood: {why}")]
    Malformed {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// A signature does not match: the bytes were altered, or another key or kind of document is meant.
    #[error("the signature on the {kind} does not match")]
    Signature {
        /// The kind of document that was expected.
        kind: String,
    },
    /// The document names another key than the one expected.
    #[error("the {kind} is signed with key {found}, not with {expected}")]
    WrongKey {
        /// The kind of document.
        kind: String,
        /// The key expected.
        expected: Thumbprint,
        /// The key found.
        found: Thumbprint,
    },
    /// The document is signed by somebody else than the one expected.
    #[error("the {kind} is signed by {found}, not by {expected}")]
    WrongSigner {
        /// The kind of document.
        kind: String,
        /// Who should have signed.
        expected: Principal,
        /// Who did.
        found: Principal,
    },
    /// A certificate chain was refused.
    #[error(transparent)]
    Chain(#[from] ChainRefusal),
    /// The fingerprint given by a person is not that of the realm.
    #[error("the fingerprint of {realm} is not the one you were given; somebody may be in between")]
    Fingerprint {
        /// The realm.
        realm: RealmName,
    },
    /// An authority was asked to certify a name outside its realm.
    #[error("the authority of {realm} cannot name {principal}")]
    ForeignName {
        /// The authority's realm.
        realm: RealmName,
        /// The name asked for.
        principal: Principal,
    },
    /// An authority's own certificate has ended.
    #[error("the {which} certificate of {realm} has ended")]
    AuthorityEnded {
        /// `root` or `issuing`.
        which: &'static str,
        /// The realm.
        realm: RealmName,
    },
    /// A signed document is of a time that has not come.
    #[error("{what} was signed in the future")]
    FromTheFuture {
        /// What.
        what: &'static str,
    },
    /// The cryptographic library refused to work on our own material.
    #[error("cannot {action}: {why}")]
    Crypto {
        /// What was tried.
        action: &'static str,
        /// What the library says.
        why: String,
    },
    /// A file under a passphrase was not opened by the one given, or none was given.
    #[error("the passphrase does not open it")]
    Passphrase,
    /// A key is under a passphrase, and none was given.
    #[error("the key in {} is under a passphrase", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
    },
    /// A rule about rights, groups or invitations was broken.
    #[error("{0}")]
    Rule(String),
    /// A realm's feed says less than it said before.
    #[error("the feed of {realm} was set back")]
    SetBack {
        /// Whose.
        realm: terms::RealmName,
    },
    /// A file can be read by others than its owner.
    #[error("{} holds a key and can be read by others (mode {mode:o})", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file of our own is not what was written.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How one can tell.
        why: String,
        /// What helps.
        advice: &'static str,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

impl TrustError {
    pub(crate) fn malformed(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Malformed { what, why: why.to_string() }
    }

    /// The same of what stood in a file of our own. What could not be read at all says so itself.
    pub(crate) fn in_file(self, path: &Path, advice: &'static str) -> Self {
        match self {
            Self::Io { .. } | Self::Exposed { .. } | Self::Passphrase | Self::Sealed { .. } => self,
            other => Self::Damaged { path: path.to_path_buf(), why: other.to_string(), advice },
        }
    }

    /// The problem, with this advice if it is a damaged file: the caller knows what that file is to its owner.
    pub fn advised(self, advice: &str) -> Problem {
        let damaged = matches!(self, Self::Damaged { .. });
        let problem = Problem::from(self);
        if damaged { problem.next(advice) } else { problem }
    }

    /// How the other side sees it.
    pub fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Malformed { .. } | Self::Rule(_) | Self::ForeignName { .. } | Self::SetBack { .. } => {
                Code::Invalid
            }
            Self::Signature { .. }
            | Self::WrongKey { .. }
            | Self::WrongSigner { .. }
            | Self::Chain(_)
            | Self::FromTheFuture { .. }
            | Self::Passphrase
            | Self::Sealed { .. }
            | Self::Fingerprint { .. } => Code::Denied,
            Self::AuthorityEnded { .. } => Code::Unavailable,
            Self::Crypto { .. } | Self::Exposed { .. } | Self::Damaged { .. } | Self::Io { .. } => Code::Internal,
        }
    }
}

impl From<TrustError> for Problem {
    fn from(error: TrustError) -> Self {
        let next = match &error {
            TrustError::Exposed { path, .. } => format!("chmod 600 {}", path.display()),
            TrustError::Damaged { advice, .. } => (*advice).into(),
            TrustError::FromTheFuture { .. } => "set the clock right".into(),
            TrustError::Sealed { .. } => {
                "give it on a terminal, or name a file with it: --passphrase-file FILE".into()
            }
            TrustError::AuthorityEnded { .. } => "`webos realm renew` makes the next issuing certificate".into(),
            TrustError::Io { path, .. } => {
                format!("see who may use {}, and that its disk has space", path.display())
            }
            _ => String::new(),
        };
        let detail = match &error {
            TrustError::Io { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        Self::new(error.code(), detail).next(next)
    }
}

impl From<ChainRefusal> for Problem {
    fn from(refusal: ChainRefusal) -> Self {
        let next = match refusal {
            ChainRefusal::Expired { .. } => "renew the certificate, or set the clock right",
            ChainRefusal::NotYetValid { .. } => "set the clock right",
            ChainRefusal::UnknownRealm { .. } => "trust the realm first",
            ChainRefusal::Revoked { .. } => "ask who administers its realm for a new invitation",
            _ => "",
        };
        Self::new(Code::Denied, refusal.to_string()).next(next)
    }
}
