//! Why a question about rights was answered as it was: a value first, a sentence second. The same value feeds
//! the audit log, the error message and `webos why`.

use std::fmt;
use terms::{
    Code, GroupName, Location, Principal, Problem, RealmName, Right, ServiceName, TransferId, UnixMs, Who,
};

/// What a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A file or directory.
    Path(Location),
    /// A group: `a` changes its members.
    Group(GroupName),
    /// A service: `r` reads what it serves, `a` publishes it.
    Service(ServiceName),
}

/// Why a right was granted or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ground {
    /// This entry of the access list gives the right.
    Entry(Who),
    /// The certificate of the peer has ended.
    PeerEnded {
        /// When.
        end: UnixMs,
    },
    /// The realm of the peer, or of a link's issuer, has revoked it.
    PrincipalRevoked {
        /// Whom.
        principal: Principal,
    },
    /// A transfer certificate of the chain was taken back.
    ChainRevoked {
        /// Which.
        id: TransferId,
    },
    /// A realm on which the answer stands was not heard of for too long: it may have taken something back.
    RealmUnheard {
        /// The realm.
        realm: RealmName,
        /// Since when.
        since: Option<UnixMs>,
    },
    /// A transfer certificate came over a connection without a certificate.
    ChainWithoutPeer,
    /// The transfer certificate has ended.
    ChainEnded {
        /// When.
        end: UnixMs,
    },
    /// The transfer certificate is not valid yet.
    ChainNotYet {
        /// When it starts.
        start: UnixMs,
    },
    /// The transfer certificate is for another server.
    NotAudience {
        /// For which.
        audience: Principal,
    },
    /// The transfer certificate is for another key of this server.
    NotKey,
    /// The transfer certificate does not give this right here.
    NotInGrants,
    /// The bearer token has ended.
    TokenEnded {
        /// When.
        end: UnixMs,
    },
    /// The bearer token was taken back.
    TokenRevoked {
        /// Which one.
        id: TransferId,
    },
    /// The bearer token does not give this right here.
    NotInToken {
        /// Which one.
        id: TransferId,
    },
    /// No entry of the access list gives the right to this subject.
    NoEntry,
    /// No entry gives the right to somebody without a certificate.
    NoEntryForAnyone,
    /// Without a certificate there are only `r` and `x`.
    NeedsCertificate,
    /// A group would decide, and its list is not known here.
    GroupUnknown {
        /// The group.
        group: GroupName,
        /// Why it is not known.
        why: String,
    },
}

/// A question's answer with all that it stands on, in plain words by `Display`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// For whom; nobody without a certificate.
    pub subject: Option<Principal>,
    /// The server that asks for the subject, with the transfer certificate that it shows.
    pub via: Option<(Principal, TransferId)>,
    /// The right asked for.
    pub right: Right,
    /// On what.
    pub resource: Resource,
    /// Why.
    pub ground: Ground,
}

impl Reason {
    /// Whether the right was granted.
    pub fn granted(&self) -> bool {
        matches!(self.ground, Ground::Entry(_))
    }
}

/// The error that the other side sees. It is the same whether the thing exists or not.
impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        let right = format!("ask who administers it for the right {}", reason.right);
        let next = match &reason.ground {
            Ground::NoEntry | Ground::NoEntryForAnyone => &right,
            Ground::NeedsCertificate => "ask with a certificate",
            Ground::PeerEnded { .. } => "renew the certificate",
            Ground::ChainEnded { .. } | Ground::NotInGrants | Ground::NotAudience { .. } | Ground::NotKey => {
                "ask for a transfer certificate that covers this"
            }
            Ground::GroupUnknown { .. } | Ground::RealmUnheard { .. } => "try again later",
            Ground::PrincipalRevoked { .. } => "ask who administers its realm",
            Ground::ChainRevoked { .. } => "ask for a new transfer certificate",
            Ground::TokenEnded { .. } | Ground::TokenRevoked { .. } | Ground::NotInToken { .. } => {
                "make a token that covers this"
            }
            Ground::ChainNotYet { .. } => "set the clocks right",
            Ground::ChainWithoutPeer | Ground::Entry(_) => "",
        };
        Self::new(Code::Denied, reason.to_string()).next(next)
    }
}

impl From<Box<Reason>> for Problem {
    fn from(reason: Box<Reason>) -> Self {
        Self::from(*reason)
    }
}

/// Characters that a terminal would obey, or a reader could not see, are shown escaped.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| {
        let visible = matches!(c, '\'' | '"' | '\\') || c.escape_debug().count() == 1;
        if visible { c.to_string() } else { c.escape_unicode().to_string() }
    };
    text.chars().map(shown).collect()
}

/// A time for people, `2026-01-01 00:00:00 UTC`; the calendar is Hinnant's `civil_from_days`.
fn date(at: UnixMs) -> String {
    let (days, seconds) = (at.secs() / 86_400, at.secs() % 86_400);
    // Years here begin in March, so that the leap day is their last; eras have 400 of them.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC", era * 400 + year + carry)
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(location) => f.write_str(&plain(&location.to_string())),
            Self::Group(group) => group.fmt(f),
            Self::Service(service) => service.fmt(f),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.via {
            Some((server, id)) => write!(f, "{server}, under transfer certificate {id}, ")?,
            None if self.subject.is_none() => f.write_str("somebody without a certificate ")?,
            None => {}
        }
        if let (None, Some(subject)) = (&self.via, &self.subject) {
            write!(f, "{subject} ")?;
        }
        let may = if self.granted() { "may" } else { "may not" };
        write!(f, "{may} {} {}", self.right.verb(), self.resource)?;
        if let (Some(_), Some(subject)) = (&self.via, &self.subject) {
            write!(f, " for {subject}")?;
        }
        write!(f, ": {}", self.ground)
    }
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(who) => write!(f, "the access list gives it to {who}"),
            Self::PeerEnded { end } => write!(f, "the certificate of the connection ended {}", date(*end)),
            Self::PrincipalRevoked { principal } => write!(f, "the realm of {principal} has revoked it"),
            Self::ChainRevoked { id } => write!(f, "the transfer certificate {id} was revoked"),
            Self::RealmUnheard { realm, since: Some(since) } => {
                write!(f, "what {realm} has revoked is not known since {}", date(*since))
            }
            Self::RealmUnheard { realm, since: None } => write!(f, "what {realm} has revoked is not known here"),
            Self::ChainWithoutPeer => f.write_str("a transfer certificate needs a connection with a certificate"),
            Self::ChainEnded { end } => write!(f, "the transfer certificate ended {}", date(*end)),
            Self::ChainNotYet { start } => {
                write!(f, "the transfer certificate is not valid before {}", date(*start))
            }
            Self::NotAudience { audience } => write!(f, "the transfer certificate is for {audience} only"),
            Self::NotKey => f.write_str("the transfer certificate is for another key of this server"),
            Self::NotInGrants => f.write_str("the transfer certificate does not grant it there"),
            Self::TokenEnded { end } => write!(f, "the token ended {}", date(*end)),
            Self::TokenRevoked { id } => write!(f, "the token {id} was revoked"),
            Self::NotInToken { id } => write!(f, "the token {id} does not give it there"),
            Self::NoEntry => f.write_str("no entry of the access list names it or a group it is in"),
            Self::NoEntryForAnyone => f.write_str("the access list does not give it to anyone"),
            Self::NeedsCertificate => f.write_str("without a certificate nobody can"),
            Self::GroupUnknown { group, why } => {
                write!(f, "only the group {group} could give it, and {}", plain(why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (secs, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_767_225_600, "2026-01-01 00:00:00 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(date(UnixMs::from_secs(secs)), expected);
        }
    }
}
