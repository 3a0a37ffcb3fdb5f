//! Who can hold rights: principals as SPIFFE ids, their DNS twins, groups, and the two built-in groups.

use crate::names::{Label, NameError, RealmName, shown_text, textual};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A node.
    Server,
    /// A service.
    Service,
}

impl PrincipalKind {
    /// The word used in SPIFFE ids and DNS twins.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Server => "server",
            Self::Service => "service",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::User, Self::Server, Self::Service].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A user, a server or a service of a realm: `spiffe://REALM/user/NAME`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Principal {
    /// The realm that names it.
    pub realm: RealmName,
    /// What it is.
    pub kind: PrincipalKind,
    /// Its name within realm and kind.
    pub name: Label,
}

impl Principal {
    /// A principal from its parts.
    pub fn new(realm: RealmName, kind: PrincipalKind, name: Label) -> Self {
        Self { realm, kind, name }
    }

    /// The DNS twin, `NAME.KIND.REALM`: for TLS stacks and host names, never an identity.
    pub fn dns_twin(&self) -> String {
        format!("{}.{}.{}", self.name, self.kind.as_str(), self.realm)
    }
}

/// A named set of principals: `spiffe://REALM/group/NAME`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName {
    /// The realm that holds the group's list.
    pub realm: RealmName,
    /// Its name within the realm.
    pub name: Label,
}

/// An entry of an access control list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Who {
    /// Everybody, also without a certificate.
    Anyone,
    /// Every principal of a trusted realm.
    Authenticated,
    /// One principal.
    Principal(Principal),
    /// The members of a group.
    Group(GroupName),
}

fn parts(text: &str) -> Option<(RealmName, &str, Label)> {
    let mut parts = text.strip_prefix("spiffe://")?.split('/');
    let (realm, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    Some((RealmName::new(realm).ok()?, kind, Label::new(name).ok()?))
}

impl FromStr for Principal {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let parsed = parts(text)
            .and_then(|(realm, kind, name)| Some(Self { realm, kind: PrincipalKind::from_word(kind)?, name }));
        parsed.ok_or_else(|| NameError::Principal(shown_text(text)))
    }
}

impl FromStr for GroupName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match parts(text) {
            Some((realm, "group", name)) => Ok(Self { realm, name }),
            _ => Err(NameError::Group(shown_text(text))),
        }
    }
}

impl FromStr for Who {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "anyone" => Ok(Self::Anyone),
            "authenticated" => Ok(Self::Authenticated),
            _ => match (text.parse(), text.parse()) {
                (Ok(principal), _) => Ok(Self::Principal(principal)),
                (_, Ok(group)) => Ok(Self::Group(group)),
                _ => Err(NameError::Who(shown_text(text))),
            },
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}/{}", self.realm, self.kind.as_str(), self.name)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/group/{}", self.realm, self.name)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Authenticated => f.write_str("authenticated"),
            Self::Principal(principal) => principal.fmt(f),
            Self::Group(group) => group.fmt(f),
        }
    }
}

textual! {
    Principal: str::parse;
    GroupName: str::parse;
    Who: str::parse;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_round_trip_and_have_twins() {
        let server: Principal = "spiffe://lab.example/server/n1".parse().expect("valid");
        assert_eq!(server.to_string(), "spiffe://lab.example/server/n1");
        assert_eq!(server.dns_twin(), "n1.server.lab.example");
        assert_eq!(server.kind, PrincipalKind::Server);
    }

    #[test]
    fn what_is_not_a_principal_is_refused() {
        for bad in [
            "",
            "n1",
            "spiffe://lab.example/server",
            "spiffe://lab.example/server/n1/x",
            "spiffe://lab.example/server/n1/",
            "spiffe://lab.example//n1",
            "spiffe://LAB.example/server/n1",
            "spiffe://lab.example/group/n1",
            "spiffe:///server/n1",
            "https://lab.example/server/n1",
        ] {
            assert!(bad.parse::<Principal>().is_err(), "{bad}");
        }
    }

    #[test]
    fn who_tells_the_four_apart() {
        assert_eq!("anyone".parse(), Ok(Who::Anyone));
        assert_eq!("authenticated".parse(), Ok(Who::Authenticated));
        assert!(matches!("spiffe://a/group/g".parse(), Ok(Who::Group(_))));
        assert!(matches!("spiffe://a/user/g".parse(), Ok(Who::Principal(_))));
        assert!("everyone".parse::<Who>().is_err());
    }
}
