//! Points in time as people write them.

use std::str::FromStr;
use std::time::Duration;
use terms::UnixMs;

/// A point in time, or a span before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So long ago.
    Ago(Duration),
    /// Then.
    At(UnixMs),
}

impl Moment {
    /// The point in time.
    pub fn before(self, now: UnixMs) -> UnixMs {
        match self {
            Self::Ago(span) => now.minus(span),
            Self::At(at) => at,
        }
    }
}

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(span) = terms::parse_duration(text) {
            return Ok(Self::Ago(span));
        }
        moment(text).map(Self::At).ok_or_else(|| {
            format!("'{}' is no time: use 24h for 24 hours ago, or 2026-01-31 12:00:05", text.escape_default())
        })
    }
}

/// `2026-01-31`, with `12:00` or `12:00:05` after a space or `T`, and `Z` if one likes; UTC. Date to days after
/// Hinnant's `days_from_civil`.
fn moment(text: &str) -> Option<UnixMs> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, clock) = text.split_once([' ', 'T']).unwrap_or((text, "0:00"));
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let mut date = date.split('-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = clock.split(':').map(number);
    let (hour, minute) = (clock.next()??, clock.next()??);
    let second = clock.next().unwrap_or(Some(0))?;
    let fits = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !fits || hour > 23 || minute > 59 || second > 59 || date.next().is_some() || clock.next().is_some() {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(UnixMs::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, secs) in [
            ("1970-01-01", Some(0)),
            ("2000-02-28 23:59:59", Some(951_782_399)),
            ("2000-02-29T00:00:00Z", Some(951_782_400)),
            ("2026-01-01 00:00", Some(1_767_225_600)),
            ("2100-03-01", Some(4_107_542_400)),
            ("2026-13-01", None),
            ("2026-01-01 24:00", None),
            ("2026-01-01 1:2:3:4", None),
            ("yesterday", None),
            ("+026-01-01", None),
            ("", None),
        ] {
            let found = text.parse::<Moment>().ok();
            assert_eq!(found, secs.map(|secs| Moment::At(UnixMs::from_secs(secs))), "{text}");
        }
        assert_eq!("24h".parse::<Moment>().map(|at| at.before(UnixMs(86_400_005))), Ok(UnixMs(5)));
    }
}
