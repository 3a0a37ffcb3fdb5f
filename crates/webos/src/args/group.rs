//! Commands about groups and about reasons, and what they name: groups, and whatever has an access list.

use super::values::{AddressError, FileAddress, WhoName};
use clap::{Args, Subcommand};
use std::str::FromStr;
use std::time::Duration;
use terms::{GroupName, Label, NameError, RealmName, Right, ServiceName, UnixMs};

/// A group: `NAME` of one's own realm, `NAME.REALM`, either with `group/` before it, or a whole id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupAddress {
    /// To be completed with one's own realm.
    Short(Label),
    /// Complete.
    Full(GroupName),
}

impl GroupAddress {
    /// The group that is meant by somebody of this realm.
    pub fn within(&self, realm: &RealmName) -> GroupName {
        match self {
            Self::Short(name) => GroupName { realm: realm.clone(), name: name.clone() },
            Self::Full(group) => group.clone(),
        }
    }
}

impl FromStr for GroupAddress {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.starts_with("spiffe://") {
            return text.parse().map(Self::Full);
        }
        let refuse = |_| NameError::Group(text.chars().take(80).flat_map(char::escape_default).collect());
        let plain = text.strip_prefix("group/").unwrap_or(text);
        match plain.split_once('.') {
            None => Label::new(plain).map(Self::Short).map_err(refuse),
            Some((name, realm)) => {
                let (name, realm) = (Label::new(name).map_err(refuse)?, RealmName::new(realm).map_err(refuse)?);
                Ok(Self::Full(GroupName { realm, name }))
            }
        }
    }
}

/// What has an access list: `NAME.REALM/path`, `group/NAME.REALM`, `service://NAME.REALM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// A file or folder.
    File(FileAddress),
    /// A group.
    Group(GroupAddress),
    /// A service.
    Service(ServiceName),
}

impl FromStr for Listed {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let name = |error: NameError| AddressError::Path(terms::PathError::Volume(error));
        if text.starts_with("group/") || text.starts_with("spiffe://") {
            return text.parse().map(Self::Group).map_err(name);
        }
        if text.starts_with("service://") {
            return text.parse().map(Self::Service).map_err(name);
        }
        text.parse().map(Self::File)
    }
}

/// Groups: named sets of people, machines and other groups.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Make a group; you administer it. For owners of the realm's first node
    #[command(after_help = "Example:\n  webos group create readers")]
    Create {
        /// NAME, or NAME.REALM
        group: GroupAddress,
    },
    /// List the groups of a realm
    #[command(after_help = "Examples:\n  webos group list\n  webos group list lab.example")]
    List {
        /// The realm, if not your own
        realm: Option<RealmName>,
    },
    /// Show the members of a group, and until when they are
    #[command(after_help = "Example:\n  webos group show readers")]
    Show {
        /// NAME, or NAME.REALM
        group: GroupAddress,
    },
    Add(GroupAdd),
    /// Take a member out
    #[command(after_help = "Example:\n  webos group remove readers user/bob")]
    Remove {
        /// NAME, or NAME.REALM
        group: GroupAddress,
        /// user/NAME, server/NAME, group/NAME of the group's realm, or a whole spiffe:// id
        member: WhoName,
    },
    /// Remove a group: nobody has rights through it any more
    #[command(after_help = "Example:\n  webos group delete readers")]
    Delete {
        /// NAME, or NAME.REALM
        group: GroupAddress,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// Put somebody in, or move the end of a membership
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos group add readers user/bob
  webos group add readers user/bob --for 1h
  webos group add readers spiffe://other.example/group/staff --until 2027-01-31")]
pub struct GroupAdd {
    /// NAME, or NAME.REALM
    pub group: GroupAddress,
    /// user/NAME, server/NAME, group/NAME of the group's realm, or a whole spiffe:// id
    pub member: WhoName,
    /// For so long: 30s, 5m, 8h, 7d
    #[arg(long = "for", value_name = "TIME", value_parser = terms::parse_duration, conflicts_with = "until")]
    pub lasting: Option<Duration>,
    /// Until just before this time, UTC: 2027-01-31 or 2027-01-31T18:00:00Z
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub until: Option<UnixMs>,
}

/// Say whether somebody may do something, why, and what would change that
///
/// About yourself you may always ask; about others you need the right a there.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos why user/alice m data.lab.example/in/x
  webos why user/bob a group/readers.lab.example
  webos why anyone r service://site.lab.example")]
pub struct Why {
    /// anyone, user/NAME, server/NAME, or a whole spiffe:// id
    pub who: WhoName,
    /// One of r w m x a relay
    #[arg(value_parser = right)]
    pub right: Right,
    /// NAME.REALM/path, group/NAME.REALM, or service://NAME.REALM
    #[arg(value_name = "PATH")]
    pub place: Listed,
}

fn right(text: &str) -> Result<Right, String> {
    let found = Right::ALL.into_iter().find(|right| right.as_str() == text || right.verb() == text);
    found.ok_or_else(|| format!("'{}' is not one right: use r, w, m, x, a or relay", text.escape_default()))
}

/// A date, or a date with its time, both UTC. Days from dates after Hinnant's `days_from_civil`.
fn date(text: &str) -> Result<UnixMs, String> {
    let refuse = || format!("'{}' is not a date: use 2027-01-31 or 2027-01-31T18:00:00Z", text.escape_default());
    let (day, time) = match text.split_once(['T', ' ']) {
        Some((day, time)) => (day, time.strip_suffix('Z').ok_or_else(refuse)?),
        None => (text, "00:00:00"),
    };
    let numbers = |text: &str, sign: char, lengths: [usize; 3]| -> Option<[u64; 3]> {
        let parts: Vec<&str> = text.split(sign).collect();
        let fits = parts.len() == 3 && parts.iter().zip(lengths).all(|(part, length)| part.len() == length);
        let digits = parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        let number = |at: usize| parts.get(at)?.parse().ok();
        if fits && digits { Some([number(0)?, number(1)?, number(2)?]) } else { None }
    };
    let [year, month, day] = numbers(day, '-', [4, 2, 2]).ok_or_else(refuse)?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2]).ok_or_else(refuse)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    if year < 1970 || !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return Err(refuse());
    }
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, year_of_era, from_march) = (shifted / 400, shifted % 400, (month + 9) % 12);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * from_march + 2) / 5 + day - 1;
    let days = era * 146_097 + day_of_era - 719_468;
    Ok(UnixMs::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_by_short_and_by_whole_name() {
        let own = RealmName::new("lab.example").expect("valid");
        for (text, full) in [
            ("readers", Some("spiffe://lab.example/group/readers")),
            ("group/readers", Some("spiffe://lab.example/group/readers")),
            ("readers.other.example", Some("spiffe://other.example/group/readers")),
            ("group/readers.other.example", Some("spiffe://other.example/group/readers")),
            ("spiffe://other.example/group/readers", Some("spiffe://other.example/group/readers")),
            ("spiffe://other.example/user/readers", None),
            ("Readers", None),
            ("group/", None),
            ("readers.", None),
            ("group/a/b", None),
        ] {
            let found = text.parse::<GroupAddress>().ok().map(|group| group.within(&own).to_string());
            assert_eq!(found.as_deref(), full, "{text}");
        }
    }

    #[test]
    fn what_has_a_list() {
        assert!(matches!("data.lab.example/a".parse(), Ok(Listed::File(_))));
        assert!(matches!("group/readers.lab.example".parse(), Ok(Listed::Group(_))));
        assert!(matches!("service://site.lab.example".parse(), Ok(Listed::Service(_))));
        for bad in ["group/data.lab.example/x", "service://site", "spiffe://lab.example/user/alice", "x"] {
            assert!(bad.parse::<Listed>().is_err(), "{bad}");
        }
    }

    #[test]
    fn dates() {
        for (text, secs) in [
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(951_782_400)),
            ("2026-01-01T00:00:00Z", Some(1_767_225_600)),
            ("2100-02-28 23:59:59Z", Some(4_107_542_399)),
            ("2100-03-01", Some(4_107_542_400)),
            ("2100-02-29", None),
            ("2026-13-01", None),
            ("2026-1-1", None),
            ("2026-01-01T24:00:00Z", None),
            ("2026-01-01T00:00:00", None),
            ("1969-12-31", None),
            ("+026-01-01", None),
            ("tomorrow", None),
        ] {
            assert_eq!(date(text).ok(), secs.map(UnixMs::from_secs), "{text}");
        }
    }
}
