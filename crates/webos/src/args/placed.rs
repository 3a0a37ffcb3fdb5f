//! Rights at a place, as people write them when they lend or make a token. Everything here is decided from the text
//! alone.

use super::values::{AddressError, FileAddress};
use std::str::FromStr;
use terms::{Location, NameError, PathError, Right, Rights};

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

/// Rights at a place, as people lend them: `NAME.REALM/path:rw`, `service://NAME.REALM:r`,
/// `spiffe://REALM/group/NAME:a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedRights(pub trust::Grant);

impl FromStr for PlacedRights {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_default();
        let (place, rights) =
            text.rsplit_once(':').ok_or_else(|| format!("'{shown}' names no rights: write NAME.REALM/path:r"))?;
        let rights: terms::Rights = rights.parse().map_err(|error: terms::RightsError| error.to_string())?;
        if rights.is_empty() {
            return Err(format!("'{shown}' gives nothing"));
        }
        let on = if place.starts_with("service://") {
            trust::Resource::Service(place.parse().map_err(|error: NameError| error.to_string())?)
        } else if place.starts_with("spiffe://") {
            trust::Resource::Group(place.parse().map_err(|error: NameError| error.to_string())?)
        } else {
            let location: Location = place.parse().map_err(|error: PathError| error.to_string())?;
            return Ok(Self(trust::Grant::below(location, rights)));
        };
        Ok(Self(trust::Grant { on, exact: true, rights }))
    }
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
    }

    #[test]
    fn placed_rights() {
        for (text, shown) in [
            ("data.lab.example/in:r", "r on data.lab.example/in and all below it"),
            ("data.lab.example:rw", "rw on data.lab.example/ and all below it"),
            ("data.lab.example/a:b:r", "r on data.lab.example/a:b and all below it"),
            ("service://site.lab.example:r", "r on service://site.lab.example"),
            ("spiffe://lab.example/group/staff:a", "a on spiffe://lab.example/group/staff"),
        ] {
            let placed: PlacedRights = text.parse().expect(text);
            assert_eq!(placed.0.to_string(), shown);
        }
        for bad in ["data.lab.example/in", "data.lab.example/in:", "data.lab.example/in:q", "data:r", "x.y/../z:r"]
        {
            assert!(bad.parse::<PlacedRights>().is_err(), "{bad}");
        }
    }
}
