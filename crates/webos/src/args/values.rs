//! Values on the command line that are more than one word of [`terms`]: file addresses, nodes, people, rates.
//! Everything here is decided from the text alone.

use std::str::FromStr;
use terms::{Label, Location, NameError, PathError, Principal, PrincipalKind, RealmName, VolumePath, Who};

/// A file or directory as people write it: `NAME.REALM/path`, or the `https://` URL of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAddress {
    /// What is meant.
    pub location: Location,
    /// The node that a URL names; none asks the volume's home.
    pub node: Option<UrlNode>,
    /// Whether the text ends in `/`: put something *into* it.
    pub into: bool,
}

/// The node that a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlNode {
    /// By its DNS twin.
    pub principal: Principal,
    /// `host:port`, if the URL has a port.
    pub address: Option<String>,
}

/// Why a file address was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `NAME.REALM/path`.
    #[error("{0}")]
    Path(#[from] PathError),
    /// A URL whose host is no node.
    #[error("'{0}' is not a node's host name: use https://NAME.server.REALM:PORT/VOLUME.REALM/path")]
    Host(String),
}

impl FromStr for FileAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Some(rest) = text.strip_prefix("https://") else {
            let into = !text.contains('/') || text.ends_with('/');
            return Ok(Self { location: text.parse()?, node: None, into });
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (volume, path) = path.split_once('/').unwrap_or((path, ""));
        let volume = volume.parse().map_err(PathError::Volume)?;
        let location = Location { volume, path: VolumePath::from_url(path)? };
        let into = path.is_empty() || path.ends_with('/');
        Ok(Self { location, node: Some(url_node(authority)?), into })
    }
}

fn url_node(authority: &str) -> Result<UrlNode, AddressError> {
    let refuse = || AddressError::Host(authority.escape_default().to_string());
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| refuse())?)),
        None => (authority, None),
    };
    let (name, realm) = host.split_once(".server.").ok_or_else(refuse)?;
    let name = Label::new(name).map_err(|_| refuse())?;
    let realm = RealmName::new(realm).map_err(|_| refuse())?;
    let principal = Principal::new(realm, PrincipalKind::Server, name);
    Ok(UrlNode { principal, address: port.map(|port| format!("{host}:{port}")) })
}

/// A node: its name in the realm of the files at hand or its whole id, and where it listens if that has to be said:
/// `n2`, `n2@10.0.0.2:4433`, `spiffe://lab.example/server/n2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName {
    who: NodeWho,
    /// `host:port`.
    pub address: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum NodeWho {
    Short(Label),
    Full(Principal),
}

impl NodeName {
    /// The principal that is meant when the files at hand belong to this realm.
    pub fn within(&self, realm: &RealmName) -> Principal {
        match &self.who {
            NodeWho::Short(name) => Principal::new(realm.clone(), PrincipalKind::Server, name.clone()),
            NodeWho::Full(principal) => principal.clone(),
        }
    }
}

impl FromStr for NodeName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = || NameError::Principal(text.escape_default().to_string());
        let (name, address) = match text.split_once('@') {
            Some((name, address)) => (name, Some(checked_address(address).ok_or_else(refuse)?)),
            None => (text, None),
        };
        if let Ok(name) = Label::new(name) {
            return Ok(Self { who: NodeWho::Short(name), address });
        }
        let principal: Principal = name.parse()?;
        if principal.kind != PrincipalKind::Server {
            return Err(refuse());
        }
        Ok(Self { who: NodeWho::Full(principal), address })
    }
}

pub(super) fn checked_address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || "-.:[]".contains(c));
    (plain && !host.is_empty() && port.parse::<u16>().is_ok()).then(|| text.to_string())
}

/// Somebody in an access list: `anyone`, `authenticated`, `user/alice` (of the realm at hand), or a whole id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhoName {
    /// `KIND/NAME`, to be completed with the realm of the files at hand.
    Short(String),
    /// Complete.
    Full(Who),
}

impl WhoName {
    /// Who is meant when the files at hand belong to this realm.
    pub fn within(&self, realm: &RealmName) -> Result<Who, NameError> {
        match self {
            Self::Short(text) => format!("spiffe://{realm}/{text}").parse(),
            Self::Full(who) => Ok(who.clone()),
        }
    }
}

impl FromStr for WhoName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Ok(who) = text.parse() {
            return Ok(Self::Full(who));
        }
        // Any realm will do: whether kind and name are well-formed does not depend on it.
        match format!("spiffe://a/{text}").parse::<Who>() {
            Ok(_) => Ok(Self::Short(text.to_string())),
            Err(_) => Err(NameError::Who(text.escape_default().to_string())),
        }
    }
}

/// What a front may send: bits per second, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkRate(pub Option<u64>);

impl FromStr for LinkRate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let units = [("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)];
        let rate = units.into_iter().find_map(|(unit, bits)| {
            text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(bits).filter(|rate| *rate > 0)
        });
        rate.map(|rate| Self(Some(rate)))
            .ok_or_else(|| format!("'{}' is not a link: use 100mbit, 1gbit or none", text.escape_default()))
    }
}

impl std::fmt::Display for LinkRate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some(rate) if rate.is_multiple_of(1_000_000_000) => write!(f, "{}gbit", rate / 1_000_000_000),
            Some(rate) if rate.is_multiple_of(1_000_000) => write!(f, "{}mbit", rate / 1_000_000),
            Some(rate) => write!(f, "{}kbit", rate / 1_000),
        }
    }
}

/// Cores, such as `2` or `0.5`, as thousandths.
pub fn cpu_milli(text: &str) -> Result<u32, String> {
    let refuse = || format!("'{}' is not a number of cores: use 2 or 0.5", text.escape_default());
    let cores: f64 = text.parse().map_err(|_| refuse())?;
    if !(0.001..=4096.0).contains(&cores) {
        return Err(refuse());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked above
    Ok((cores * 1000.0).round() as u32)
}

/// A strong `ETag` as `webos stat` prints it, with or without its quotes.
pub fn etag(text: &str) -> Result<terms::Digest, String> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    inner.parse().map_err(|_| {
        format!("'{}' is not an ETag: use the 64 digits that webos stat prints", text.escape_default())
    })
}

/// A service's address with its path: `service://NAME.REALM/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAddress {
    /// The service.
    pub service: terms::ServiceName,
    /// The path within it.
    pub path: VolumePath,
}

impl FromStr for ServiceAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.strip_prefix("service://").unwrap_or(text);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let name = if text.starts_with("service://") { format!("service://{authority}") } else { text.to_string() };
        let service = name.parse().map_err(|error: NameError| AddressError::Path(PathError::Volume(error)));
        Ok(Self { service: service?, path: VolumePath::from_url(path)? })
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

/// Where a server answers: `https://HOST:PORT`, or only `HOST:PORT`.
pub fn server_address(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").unwrap_or(text);
    let address = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let port = port.and_then(|(_, port)| port.parse::<u16>().ok()).filter(|port| *port > 0);
    match port {
        Some(_) if address.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(address.to_string()),
        _ => Err("write https://HOST:PORT or HOST:PORT".into()),
    }
}

/// A realm's fingerprint as people copy it: hexadecimal digits, with or without colons between pairs.
pub fn fingerprint(text: &str) -> Result<terms::Digest, String> {
    let digits = text.replace(':', "").to_ascii_lowercase();
    digits.parse().map_err(|_| "a fingerprint has 64 hexadecimal digits".into())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn files_by_name_and_by_url() {
        for (text, location, node, into) in [
            ("data.lab.example/a/b", "data.lab.example/a/b", None, false),
            ("data.lab.example/a/", "data.lab.example/a", None, true),
            ("data.lab.example", "data.lab.example/", None, true),
            (
                "https://n1.server.lab.example:4433/data.lab.example/a%20b",
                "data.lab.example/a b",
                Some(("n1", Some("n1.server.lab.example:4433"))),
                false,
            ),
            ("https://n1.server.lab.example/data.lab.example", "data.lab.example/", Some(("n1", None)), true),
        ] {
            let address: FileAddress = text.parse().expect(text);
            assert_eq!(address.location.to_string(), location);
            let found = address.node.as_ref().map(|n| (n.principal.name.as_str(), n.address.as_deref()));
            assert_eq!((found, address.into), (node, into), "{text}");
        }
        for bad in [
            "",
            "data",
            "data.lab.example/../x",
            "https://lab.example/data.lab.example/x",
            "https://n1.server.lab.example:x/data.lab.example/x",
            "https://n1.server.lab.example/data.lab.example/%2e%2e/x",
            "http://n1.server.lab.example/data.lab.example/x",
        ] {
            assert!(bad.parse::<FileAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn short_names_take_the_realm_at_hand() {
        let realm = RealmName::new("lab.example").expect("valid");
        for (text, full) in [
            ("anyone", Some("anyone")),
            ("authenticated", Some("authenticated")),
            ("user/alice", Some("spiffe://lab.example/user/alice")),
            ("group/site-serving", Some("spiffe://lab.example/group/site-serving")),
            ("spiffe://other.example/server/n1", Some("spiffe://other.example/server/n1")),
            ("alice", None),
            ("robot/alice", None),
            ("user/alice/x", None),
        ] {
            let who = text.parse::<WhoName>().ok().and_then(|who| who.within(&realm).ok());
            assert_eq!(who.map(|who| who.to_string()).as_deref(), full, "{text}");
        }
        let node: NodeName = "n2".parse().expect("a label");
        assert_eq!(node.within(&realm).to_string(), "spiffe://lab.example/server/n2");
        let there: NodeName = "n2@127.0.0.1:4433".parse().expect("with its address");
        assert_eq!((there.within(&realm), there.address.as_deref()), (node.within(&realm), Some("127.0.0.1:4433")));
        for bad in ["spiffe://lab.example/user/n2", "n2@", "n2@host", "n2@host:x", "n2@a b:1", "N2"] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_cores_and_etags() {
        for (text, rate) in [
            ("none", Some(None)),
            ("100mbit", Some(Some(100_000_000))),
            ("1gbit", Some(Some(1_000_000_000))),
            ("0mbit", None),
            ("100", None),
            ("1tbit", None),
        ] {
            assert_eq!(text.parse::<LinkRate>().ok().map(|rate| rate.0), rate, "{text}");
        }
        for text in ["none", "100mbit", "2gbit", "1500kbit"] {
            assert_eq!(text.parse::<LinkRate>().expect("valid").to_string(), text);
        }
        assert_eq!((cpu_milli("2"), cpu_milli("0.5")), (Ok(2000), Ok(500)));
        for bad in ["0", "-1", "NaN", "x", "1e9"] {
            assert!(cpu_milli(bad).is_err(), "{bad}");
        }
        let digest = terms::Digest::of(b"x");
        assert_eq!((etag(&format!("\"{digest}\"")), etag(&digest.to_string())), (Ok(digest), Ok(digest)));
    }

    #[test]
    fn services_with_paths() {
        let address: ServiceAddress = "service://site.lab.example/a%20b/c".parse().expect("valid");
        assert_eq!((address.service.name.as_str(), address.path.as_str()), ("site", "a b/c"));
        for bad in ["site.lab.example/a", "service://site", "service://site.lab.example/../x", "http://a.b/"] {
            assert!(bad.parse::<ServiceAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn servers_and_fingerprints() {
        for (text, expected) in [
            ("https://home.lab.example:4433", Some("home.lab.example:4433")),
            ("https://127.0.0.1:1/x", Some("127.0.0.1:1")),
            ("[::1]:4433", Some("[::1]:4433")),
            ("home.lab.example", None),
            (":1", None),
            ("h:0", None),
            ("h :1", None),
        ] {
            assert_eq!(server_address(text).ok().as_deref(), expected, "{text}");
        }
        let pairs = ["AB"; 32].join(":");
        assert_eq!(fingerprint(&pairs).ok(), "ab".repeat(32).parse().ok());
        assert!(fingerprint("abcd").is_err());
    }
}
