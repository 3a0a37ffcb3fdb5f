//! Labels, realm names, volume names and service names: parsed once, valid ever after.

use crate::limits::{MAX_LABEL_BYTES, MAX_REALM_BYTES};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a name was refused. The text names the offending input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, too long, or a character outside `[a-z0-9-]`.
    #[error("'{0}' is not a name: use 1 to 63 of a-z, 0-9 and '-', with no '-' at either end")]
    Label(String),
    /// Empty, too long, or a part that is no label.
    #[error("'{0}' is not a realm name: use labels joined by '.', such as lab.example, at most 180 bytes")]
    Realm(String),
    /// Not `NAME.REALM`.
    #[error("'{0}' is not a volume name: use NAME.REALM, such as data.lab.example")]
    Volume(String),
    /// Not `service://NAME.REALM`.
    #[error("'{0}' is not a service name: use service://NAME.REALM, such as service://site.lab.example")]
    Service(String),
    /// Not a SPIFFE id of ours.
    #[error("'{0}' is not a principal: use spiffe://REALM/user/NAME, …/server/NAME or …/service/NAME")]
    Principal(String),
    /// Not a group id.
    #[error("'{0}' is not a group: use spiffe://REALM/group/NAME")]
    Group(String),
    /// Neither a principal, a group, `anyone` nor `authenticated`.
    #[error("'{0}' is nobody: use anyone, authenticated, or spiffe://REALM/(user|server|service|group)/NAME")]
    Who(String),
}

fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_default).collect()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=MAX_LABEL_BYTES).contains(&bytes.len())
        && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

/// One part of a name: `[a-z0-9-]{1,63}`, no `-` at either end. Clones share one copy of the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Arc<str>);

impl Label {
    /// Parses a label.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if is_label(text) { Ok(Self(text.into())) } else { Err(NameError::Label(shown(text))) }
    }

    /// The label's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An administrative domain: labels joined by dots, such as `lab.example`. Clones share one copy of the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RealmName(Arc<str>);

impl RealmName {
    /// Parses a realm name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let ok = text.len() <= MAX_REALM_BYTES && text.split('.').all(is_label);
        if ok { Ok(Self(text.into())) } else { Err(NameError::Realm(shown(text))) }
    }

    /// The realm's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A volume, `NAME.REALM`. The first label is the name, the rest is the realm.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName {
    /// The volume's name within its realm.
    pub name: Label,
    /// The realm that holds the volume.
    pub realm: RealmName,
}

/// A service, `service://NAME.REALM`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName {
    /// The service's name within its realm.
    pub name: Label,
    /// The realm that publishes the service.
    pub realm: RealmName,
}

impl ServiceName {
    /// The authority of HTTP requests to this service: `NAME.service.REALM`.
    pub fn authority(&self) -> String {
        format!("{}.service.{}", self.name, self.realm)
    }

    /// Parses what [`ServiceName::authority`] prints, as any host name may be written: in capitals, and with a dot at
    /// its end. A port, if any, is the caller's to remove.
    pub fn from_authority(text: &str) -> Result<Self, NameError> {
        let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let parsed = host.split_once(".service.").and_then(|(name, realm)| {
            Some(Self { name: Label::new(name).ok()?, realm: RealmName::new(realm).ok()? })
        });
        parsed.ok_or_else(|| NameError::Service(shown(text)))
    }
}

fn name_and_realm(text: &str) -> Option<(Label, RealmName)> {
    let (name, realm) = text.split_once('.')?;
    Some((Label::new(name).ok()?, RealmName::new(realm).ok()?))
}

impl FromStr for VolumeName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, realm) = name_and_realm(text).ok_or_else(|| NameError::Volume(shown(text)))?;
        Ok(Self { name, realm })
    }
}

impl FromStr for ServiceName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let parsed = text.strip_prefix("service://").and_then(name_and_realm);
        let (name, realm) = parsed.ok_or_else(|| NameError::Service(shown(text)))?;
        Ok(Self { name, realm })
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.realm)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service://{}.{}", self.name, self.realm)
    }
}

pub(crate) fn shown_text(text: &str) -> String {
    shown(text)
}

/// Text in and out by `FromStr` and `Display`, for serde and for `{:?}`.
macro_rules! textual {
    ($($name:ty: $parse:expr;)+) => {$(
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> { $parse(&text) }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String { value.to_string() }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{self}") }
        }
    )+};
}
pub(crate) use textual;

textual! {
    Label: Label::new;
    RealmName: RealmName::new;
    VolumeName: str::parse;
    ServiceName: str::parse;
}

impl FromStr for Label {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl FromStr for RealmName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RealmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for good in ["a", "n1", "site-serving", &"x".repeat(63)] {
            assert!(Label::new(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a-", "a.b", "ä", "a\0", &"x".repeat(64)] {
            assert!(Label::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn realms_volumes_and_services_round_trip() {
        for text in ["lab.example", "demo.localhost", "a"] {
            assert_eq!(RealmName::new(text).map(|r| r.to_string()), Ok(text.to_string()));
        }
        for bad in ["", ".", "a.", ".a", "a..b", "A.b", "a/b"] {
            assert!(RealmName::new(bad).is_err(), "{bad}");
        }
        let volume: VolumeName = "data.lab.example".parse().expect("valid");
        assert_eq!((volume.name.as_str(), volume.realm.as_str()), ("data", "lab.example"));
        let service: ServiceName = "service://site.lab.example".parse().expect("valid");
        assert_eq!(service.authority(), "site.service.lab.example");
        assert_eq!(ServiceName::from_authority(&service.authority()), Ok(service.clone()));
        assert_eq!(ServiceName::from_authority("Site.SERVICE.lab.Example."), Ok(service));
        assert!(ServiceName::from_authority("site.service.lab.example..").is_err());
        assert!("site.lab.example".parse::<ServiceName>().is_err());
        assert!("nodots".parse::<VolumeName>().is_err());
    }

    #[test]
    fn errors_escape_what_they_show() {
        let message = Label::new("a\u{1b}[31m").expect_err("control characters").to_string();
        assert!(!message.contains('\u{1b}'), "{message}");
    }
}
