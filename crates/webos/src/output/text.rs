//! Texts for people: foreign names made harmless, times, spans and counts.

use std::borrow::Cow;
use std::time::Duration;
use terms::UnixMs;

/// Whether a terminal or a reader could be deceived by this character: control characters, and the invisible
/// ones that reorder text (Unicode's bidirectional controls) or hide in it.
fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The text with everything that deceives written out as `\u{…}`; line ends too.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(deceives) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if deceives(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// `1 file`, `2 files`.
pub fn plural(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A point in time: `2026-01-31 12:00:05Z`, UTC. Days to date after Hinnant's `civil_from_days`.
pub fn time(at: UnixMs) -> String {
    let secs = at.secs();
    let (days, rest) = (secs / 86_400, secs % 86_400);
    let shifted = days + 719_468; // days since 0000-03-01
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// A span in its two greatest units: `6 d 23 h`, `4 min 5 s`, `350 ms`.
pub fn age(span: Duration) -> String {
    let secs = span.as_secs();
    let (d, h, m, s) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60, secs % 60);
    match (d, h, m, s) {
        (0, 0, 0, 0) => format!("{} ms", span.as_millis()),
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

/// How long something still holds: `for 6 d 23 h`, or `ended 2 min 0 s ago`.
pub fn time_left(now: UnixMs, end: UnixMs) -> String {
    if now < end { format!("for {}", age(end.since(now))) } else { format!("ended {} ago", age(now.since(end))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_foreign_moves_the_cursor() {
        for (text, expected) in [
            ("plain ü 木", "plain ü 木"),
            ("a\u{1b}[31mred", "a\\u{1b}[31mred"),
            ("two\nlines\t", "two\\nlines\\t"),
            ("evil\u{202e}txt.exe", "evil\\u{202e}txt.exe"),
            ("\u{7f}\u{9b}0m", "\\u{7f}\\u{9b}0m"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn dates() {
        for (secs, expected) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399, "2000-02-28 23:59:59Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (1_767_225_600, "2026-01-01 00:00:00Z"),
            (4_107_542_400, "2100-03-01 00:00:00Z"),
        ] {
            assert_eq!(time(UnixMs::from_secs(secs)), expected);
        }
    }

    #[test]
    fn spans() {
        for (ms, expected) in [
            (350, "350 ms"),
            (5_000, "5 s"),
            (245_000, "4 min 5 s"),
            (7_500_000, "2 h 5 min"),
            (601_200_000, "6 d 23 h"),
        ] {
            assert_eq!(age(Duration::from_millis(ms)), expected);
        }
        assert_eq!(time_left(UnixMs(0), UnixMs(5_000)), "for 5 s");
        assert_eq!(time_left(UnixMs(5_000), UnixMs(0)), "ended 5 s ago");
        assert_eq!((plural(1, "file"), plural(0, "file")), ("1 file".into(), "0 files".into()));
    }
}
