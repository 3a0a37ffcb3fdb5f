//! The Range header of RFC 9110 §14: one range of bytes; anything else is as if it were not there.

use std::ops::Range;

/// Which part of a file is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// These bytes: not empty, within the file.
    Bytes(Range<u64>),
    /// A well-formed range that lies outside the file.
    Unsatisfiable,
}

/// What a Range header asks of a file of this size. Several ranges, other units and malformed text ask for all,
/// as the specification allows.
pub(super) fn part(header: &str, size: u64) -> Part {
    if size == 0 {
        // Of nothing there are no parts; all of it is a better answer than none.
        return Part::Whole;
    }
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|set| set.trim().split_once('-')) else {
        return Part::Whole;
    };
    let bytes = match (number(first), number(last)) {
        (Number::Is(first), Number::Is(last)) if last < first => return Part::Whole,
        (Number::Is(first), Number::Is(last)) => first..last.saturating_add(1).min(size),
        (Number::Is(first), Number::Absent) => first..size,
        (Number::Absent, Number::Is(suffix)) => size.saturating_sub(suffix)..size,
        _ => return Part::Whole,
    };
    if bytes.start < bytes.end { Part::Bytes(bytes) } else { Part::Unsatisfiable }
}

enum Number {
    Absent,
    Is(u64),
    Malformed,
}

fn number(text: &str) -> Number {
    if text.is_empty() {
        return Number::Absent;
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Number::Malformed;
    }
    // More than 64 bits lie behind the end of every file.
    Number::Is(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_file_of_ten_bytes() {
        for (header, expected) in [
            ("bytes=0-0", Part::Bytes(0..1)),
            ("bytes=0-9", Part::Bytes(0..10)),
            ("bytes=0-99", Part::Bytes(0..10)),
            ("bytes=3-", Part::Bytes(3..10)),
            ("bytes=9-", Part::Bytes(9..10)),
            ("bytes=-1", Part::Bytes(9..10)),
            ("bytes=-10", Part::Bytes(0..10)),
            ("bytes=-99", Part::Bytes(0..10)),
            ("bytes= 2-3", Part::Bytes(2..4)),
            ("bytes=0-99999999999999999999999", Part::Bytes(0..10)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=10-12", Part::Unsatisfiable),
            ("bytes=99999999999999999999999-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=3-2", Part::Whole),
            ("bytes=0-1,4-5", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=1", Part::Whole),
            ("pages=0-1", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(part(header, 10), expected, "{header}");
        }
        assert_eq!(part("bytes=0-", 0), Part::Whole);
        assert_eq!(part("bytes=-5", 0), Part::Whole);
    }
}
