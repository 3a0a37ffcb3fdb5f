//! Values of the commands of operation: what a token gives, and what stands in a unit of the system.

use super::values::{AddressError, FileAddress, checked_address};
use std::str::FromStr;
use terms::{Right, Rights};

/// What a token is to give: `NAME.REALM/path`, or with rights after the last colon. A name that itself ends like that
/// is written with its rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenGrantArg {
    /// Where.
    pub place: FileAddress,
    /// What; `r` unless asked.
    pub rights: Rights,
}

impl FromStr for TokenGrantArg {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (place, rights) = match text.rsplit_once(':').map(|(place, rights)| (place, rights.parse())) {
            Some((place, Ok(rights))) => (place, rights),
            _ => (text, Rights::of(&[Right::Read])),
        };
        Ok(Self { place: place.parse()?, rights })
    }
}

/// The name of a system user, as `useradd` and systemd accept it.
pub fn user_name(text: &str) -> Result<String, String> {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    if first && plain && text.len() <= 31 && text != "root" {
        return Ok(text.to_string());
    }
    Err(format!(
        "'{}' is no name for the node's own user: use up to 31 of a-z 0-9 _ -, a letter first, and not root",
        text.escape_default()
    ))
}

/// `HOST:PORT`.
pub fn host_and_port(text: &str) -> Result<String, String> {
    checked_address(text).ok_or_else(|| format!("'{}' is no HOST:PORT", text.escape_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_token_gives() {
        for (text, location, rights) in [
            ("data.lab.example/in", "data.lab.example/in", "r"),
            ("data.lab.example/in:rw", "data.lab.example/in", "rw"),
            ("data.lab.example/a:b", "data.lab.example/a:b", "r"),
            ("data.lab.example/a:r:rwm", "data.lab.example/a:r", "rwm"),
        ] {
            let grant: TokenGrantArg = text.parse().expect(text);
            let found = (grant.place.location.to_string(), grant.rights.to_string());
            assert_eq!(found, (location.to_string(), rights.to_string()), "{text}");
        }
        assert!(user_name("webos").is_ok() && user_name("_web-os2").is_ok());
        for bad in ["", "root", "Web", "a b", "2web", "a\nb", "x".repeat(32).as_str()] {
            assert!(user_name(bad).is_err(), "{bad}");
        }
    }
}
