//! What is set: one TOML file in the folder of the principal, then `WEBOS_*` variables, then flags; each value
//! remembers where it comes from. The sources are handed in as values, so that every rule here is pure.

mod file;

pub use file::{Entries, parse as parse_file};

use crate::args::{LinkRate, RelayVia};
use crate::run::PROXY_PORT;
use serde::Serialize;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use terms::{Code, Problem};
use trust::FeedLimits;
use trust::limits::{DEFAULT_ACTING_LIMIT, DEFAULT_READING_LIMIT};

/// Names the folder of the principal.
pub const HOME_VARIABLE: &str = "WEBOS_HOME";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// This line of the settings file, the first being 1.
    File(usize),
    /// This environment variable.
    Variable(&'static str),
    /// This flag.
    Flag(&'static str),
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(line) => write!(f, "settings.toml, line {line}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

/// Every setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder of the principal.
    pub home: Setting<PathBuf>,
    /// What is logged to standard error.
    pub log: Setting<String>,
    /// Nodes lent to the service of the local world.
    pub surrogates: Setting<u8>,
    /// What each front of the local world may send.
    pub link: Setting<LinkRate>,
    /// The console's port.
    pub console_port: Setting<u16>,
    /// Where a node listens.
    pub listen: Setting<SocketAddr>,
    /// Where others reach a node; empty: where it listens.
    pub address: Setting<String>,
    /// Which relays are asked instead of a volume's home.
    pub relay_via: Setting<RelayVia>,
    /// Where the proxy listens.
    pub proxy_listen: Setting<SocketAddr>,
    /// How old the word of a realm may be for anything but reading.
    pub feed_limit: Setting<FeedAge>,
    /// How old the word of a realm may be for reading.
    pub feed_limit_read: Setting<FeedAge>,
}

/// How old the word of a realm that it has taken back nothing else may be: one minute to one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedAge(pub Duration);

impl FromStr for FeedAge {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let age = terms::parse_duration(text)?;
        let allowed = FeedLimits::new(age, age).is_some();
        if allowed { Ok(Self(age)) } else { Err("it must be between 60s and 1h".into()) }
    }
}

impl Display for FeedAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs())
    }
}

/// The same setting as its flag gave it, if one did.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--home`
    pub home: Option<PathBuf>,
    /// `--log`
    pub log: Option<String>,
    /// `up --surrogates`
    pub surrogates: Option<u8>,
    /// `up --link`
    pub link: Option<LinkRate>,
    /// `up --console-port`
    pub console_port: Option<u16>,
    /// `node run --listen`
    pub listen: Option<SocketAddr>,
    /// `node run --address`
    pub address: Option<String>,
    /// `node run --relay-via`
    pub relay_via: Option<RelayVia>,
    /// `proxy --listen`
    pub proxy_listen: Option<SocketAddr>,
}

/// One setting as `webos settings` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its name in the file.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Where the value comes from.
    pub origin: String,
    /// What it sets.
    pub about: &'static str,
}

/// The folder of the principal: flag, variable, else `webos` in the XDG data folder.
pub fn home(flag: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Result<Setting<PathBuf>, Problem> {
    let given = |name: &str| variable(name).filter(|text| !text.is_empty());
    let (value, origin) = if let Some(path) = flag {
        (path.to_path_buf(), Origin::Flag("--home"))
    } else if let Some(path) = given(HOME_VARIABLE) {
        (PathBuf::from(path), Origin::Variable(HOME_VARIABLE))
    } else {
        // A relative XDG folder is invalid by its specification and counts as none.
        let xdg = given("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let data = xdg.or_else(|| given("HOME").map(|home| Path::new(&home).join(".local/share")));
        let data = data.ok_or_else(|| {
            Problem::new(Code::Invalid, "there is no folder to keep anything in: HOME is not set")
                .next("set WEBOS_HOME to a folder of yours")
        })?;
        (data.join("webos"), Origin::Default)
    };
    if value.as_os_str().is_empty() {
        return Err(Problem::new(Code::Invalid, "the folder of --home is empty").next("name a folder"));
    }
    Ok(Setting { value, origin })
}

/// All settings from their sources. `entries` are those of the file in `home`.
pub fn resolve(
    home: Setting<PathBuf>,
    entries: &Entries,
    variable: impl Fn(&str) -> Option<String>,
    flags: Flags,
) -> Result<Settings, Problem> {
    let sources = Sources { entries, variable };
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Ok(Settings {
        home,
        log: sources.pick("log", "WEBOS_LOG", ("--log", flags.log), "warn".to_string())?,
        surrogates: sources.pick("surrogates", "WEBOS_SURROGATES", ("--surrogates", flags.surrogates), 3)?,
        link: sources.pick("link", "WEBOS_LINK", ("--link", flags.link), LinkRate(Some(100_000_000)))?,
        console_port: sources.pick(
            "console_port",
            "WEBOS_CONSOLE_PORT",
            ("--console-port", flags.console_port),
            crate::console::DEFAULT_PORT,
        )?,
        listen: sources.pick("listen", "WEBOS_LISTEN", ("--listen", flags.listen), loopback(0))?,
        address: sources.pick("address", "WEBOS_ADDRESS", ("--address", flags.address), String::new())?,
        relay_via: sources.pick(
            "relay_via",
            "WEBOS_RELAY_VIA",
            ("--relay-via", flags.relay_via),
            RelayVia::default(),
        )?,
        proxy_listen: sources.pick(
            "proxy_listen",
            "WEBOS_PROXY_LISTEN",
            ("--listen", flags.proxy_listen),
            loopback(PROXY_PORT),
        )?,
        feed_limit: sources.pick("feed_limit", "WEBOS_FEED_LIMIT", ("", None), FeedAge(DEFAULT_ACTING_LIMIT))?,
        feed_limit_read: sources.pick(
            "feed_limit_read",
            "WEBOS_FEED_LIMIT_READ",
            ("", None),
            FeedAge(DEFAULT_READING_LIMIT),
        )?,
    })
}

struct Sources<'a, V> {
    entries: &'a Entries,
    variable: V,
}

impl<V: Fn(&str) -> Option<String>> Sources<'_, V> {
    fn pick<T>(
        &self,
        name: &str,
        variable: &'static str,
        (flag, given): (&'static str, Option<T>),
        default: T,
    ) -> Result<Setting<T>, Problem>
    where
        T: FromStr,
        T::Err: Display,
    {
        if let Some(value) = given {
            return Ok(Setting { value, origin: Origin::Flag(flag) });
        }
        let parse = |text: &str, origin: Origin| match text.trim().parse() {
            Ok(value) => Ok(Setting { value, origin }),
            Err(error) => {
                let text = text.escape_default();
                Err(Problem::new(Code::Invalid, format!("{origin}: {name} cannot be '{text}': {error}"))
                    .next("correct it or take it out; `webos settings` shows what is set"))
            }
        };
        if let Some(text) = (self.variable)(variable).filter(|text| !text.is_empty()) {
            return parse(&text, Origin::Variable(variable));
        }
        match self.entries.get(name) {
            Some((text, line)) => parse(text, Origin::File(*line)),
            None => Ok(Setting { value: default, origin: Origin::Default }),
        }
    }
}

/// Names of the settings that may stand in the file.
pub const NAMES: [&str; 10] = [
    "log",
    "surrogates",
    "link",
    "console_port",
    "listen",
    "address",
    "relay_via",
    "proxy_listen",
    "feed_limit",
    "feed_limit_read",
];

impl Settings {
    /// All settings, in the order in which they are printed.
    pub fn lines(&self) -> Vec<Line> {
        fn line<T>(name: &'static str, setting: &Setting<T>, value: String, about: &'static str) -> Line {
            Line { name, value, origin: setting.origin.to_string(), about }
        }
        let address = match self.address.value.as_str() {
            "" => "(where it listens)".to_string(),
            address => address.to_string(),
        };
        let relay_via = match self.relay_via.value.to_string() {
            none if none.is_empty() => "(none)".to_string(),
            relays => relays,
        };
        vec![
            line("home", &self.home, self.home.value.display().to_string(), "folder with identity and data"),
            line("log", &self.log, self.log.value.clone(), "what is logged to standard error"),
            line("surrogates", &self.surrogates, self.surrogates.value.to_string(), "nodes that `up` lends"),
            line("link", &self.link, self.link.value.to_string(), "what each front of `up` may send"),
            line("console_port", &self.console_port, self.console_port.value.to_string(), "the console of `up`"),
            line("listen", &self.listen, self.listen.value.to_string(), "where `node run` listens"),
            line("address", &self.address, address, "where others reach this node"),
            line("relay_via", &self.relay_via, relay_via, "relays that are asked instead of homes"),
            line("proxy_listen", &self.proxy_listen, self.proxy_listen.value.to_string(), "where `proxy` listens"),
            line(
                "feed_limit",
                &self.feed_limit,
                self.feed_limit.value.to_string(),
                "how long a silent realm is believed for w m x a",
            ),
            line(
                "feed_limit_read",
                &self.feed_limit_read,
                self.feed_limit_read.value.to_string(),
                "how long a silent realm is believed for r",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(file: &str, variables: &[(&str, &str)], flags: Flags) -> Result<Settings, Problem> {
        let find = |name: &str| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_string())
        };
        let home = home(flags.home.as_deref(), find)?;
        let entries = parse_file(Path::new("/h/settings.toml"), file)?;
        resolve(home, &entries, find, flags)
    }

    #[test]
    fn the_nearer_source_wins() {
        let file = "# mine\nsurrogates = 1\nlink = \"10mbit\"\n";
        let home = ("WEBOS_HOME", "/h");
        let port = |flag, variables: &[(&str, &str)]| {
            let found = settings(file, variables, Flags { surrogates: flag, ..Flags::default() }).expect("valid");
            (found.surrogates.value, found.surrogates.origin.to_string())
        };
        assert_eq!(port(None, &[home]), (1, "settings.toml, line 2".into()));
        let variables = [home, ("WEBOS_SURROGATES", "2")];
        assert_eq!(port(None, &variables), (2, "environment variable WEBOS_SURROGATES".into()));
        assert_eq!(port(Some(5), &variables), (5, "flag --surrogates".into()));
        let empty = [home, ("WEBOS_SURROGATES", "")];
        assert_eq!(port(None, &empty), (1, "settings.toml, line 2".into()), "an empty variable says nothing");
    }

    #[test]
    fn an_empty_file_is_fine() {
        let found = settings("", &[("WEBOS_HOME", "/h")], Flags::default()).expect("valid");
        assert_eq!((found.surrogates.value, found.console_port.value), (3, 8480));
        let names: Vec<&str> = found.lines().iter().map(|line| line.name).collect();
        assert_eq!(names[1..], NAMES, "every setting is printed, and may stand in the file");
        assert!(found.lines().iter().skip(1).all(|line| line.origin == "default"));
    }

    #[test]
    fn the_folder_follows_the_xdg_rules() {
        for (variables, expected) in [
            (vec![("WEBOS_HOME", "/w"), ("HOME", "/u")], Some("/w")),
            (vec![("XDG_DATA_HOME", "/x"), ("HOME", "/u")], Some("/x/webos")),
            (vec![("XDG_DATA_HOME", "x"), ("HOME", "/u")], Some("/u/.local/share/webos")),
            (vec![("HOME", "/u")], Some("/u/.local/share/webos")),
            (vec![], None),
        ] {
            let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_string());
            let found = home(None, find).ok().map(|home| home.value);
            assert_eq!(found.as_deref(), expected.map(Path::new), "{variables:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let home = ("WEBOS_HOME", "/h");
        for (file, variables, expected) in [
            ("surrogates = 900", vec![home], "settings.toml, line 1: surrogates cannot be '900'"),
            ("\nlink = \"fast\"", vec![home], "settings.toml, line 2: link cannot be 'fast'"),
            ("feed_limit = \"59s\"", vec![home], "settings.toml, line 1: feed_limit cannot be '59s': it must be"),
            ("", vec![home, ("WEBOS_FEED_LIMIT_READ", "2h")], "environment variable WEBOS_FEED_LIMIT_READ"),
            (
                "",
                vec![home, ("WEBOS_LISTEN", "here")],
                "environment variable WEBOS_LISTEN: listen cannot be 'here'",
            ),
        ] {
            let problem = settings(file, &variables, Flags::default()).expect_err(expected);
            assert!(problem.detail.starts_with(expected), "{problem}");
            assert!(!problem.next.is_empty());
        }
    }
}
