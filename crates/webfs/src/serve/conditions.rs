//! Conditions of requests (RFC 9110 §13): entity tags of ours, compared as the specification says.
//! Dates are not looked at: a strong tag is always there, and says more.

use crate::model::etag_root;
use crate::rules::LockEpoch;
use crate::store::Precondition;
use http::HeaderMap;
use http::header::{CONTENT_RANGE, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use std::ops::Range;
use terms::{Code, Digest, OperationId, Problem, SessionId};

/// The entity tags of a header, which may stand on several lines.
struct Tags {
    any: bool,
    strong: Vec<Digest>,
    weak: Vec<Digest>,
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Tags> {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek()?;
    let mut tags = Tags { any: false, strong: Vec::new(), weak: Vec::new() };
    // A tag that is not of our form, or not text, matches nothing of ours.
    for tag in lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim) {
        match tag.strip_prefix("W/") {
            Some(weak) => tags.weak.extend(etag_root(weak)),
            None if tag == "*" => tags.any = true,
            None => tags.strong.extend(etag_root(tag)),
        }
    }
    Some(tags)
}

/// What the conditions of a read come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer.
    Go,
    /// 304: the asker has it.
    NotModified,
    /// 412: it is not what the asker wants.
    Failed,
}

/// The conditions of a GET or HEAD of a file with this root.
pub(super) fn of_read(headers: &HeaderMap, root: Digest) -> Verdict {
    if let Some(wanted) = tags(headers, &IF_MATCH)
        && !(wanted.any || wanted.strong.contains(&root))
    {
        return Verdict::Failed;
    }
    match tags(headers, &IF_NONE_MATCH) {
        Some(had) if had.any || had.strong.contains(&root) || had.weak.contains(&root) => Verdict::NotModified,
        _ => Verdict::Go,
    }
}

/// Whether a Range header counts: there is no If-Range, or it names this root. A date never does.
pub(super) fn range_counts(headers: &HeaderMap, root: Digest) -> bool {
    headers.get(IF_RANGE).is_none_or(|tag| tag.to_str().ok().and_then(etag_root) == Some(root))
}

/// The conditions of a change.
pub(super) fn of_change(headers: &HeaderMap) -> Result<Precondition, Problem> {
    match (tags(headers, &IF_MATCH), tags(headers, &IF_NONE_MATCH)) {
        (None, None) => Ok(Precondition::None),
        (Some(wanted), None) if wanted.any => Ok(Precondition::Exists),
        (Some(wanted), None) => Ok(Precondition::OneOf(wanted.strong)),
        (None, Some(had)) if had.any => Ok(Precondition::Absent),
        (None, Some(_)) => Err(Problem::new(Code::Invalid, "a change takes If-None-Match only with '*'")),
        (Some(_), Some(_)) => {
            Err(Problem::new(Code::Invalid, "a change takes If-Match or If-None-Match, not both"))
        }
    }
}

/// The operation id of a change, if it has one: `SESSIONHEX.SEQUENCE`.
pub(super) fn operation(headers: &HeaderMap) -> Result<Option<OperationId>, Problem> {
    let Some(value) = headers.get(crate::model::OPERATION_HEADER) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| text.split_once('.')).and_then(|(session, sequence)| {
        Some(OperationId { session: session.parse::<SessionId>().ok()?, sequence: sequence.parse().ok()? })
    });
    let refuse = || Problem::new(Code::Invalid, "the operation id is not 32 hexadecimal digits, '.', and a number");
    parsed.map(Some).ok_or_else(refuse)
}

/// What a PUT with a Content-Range is to change (RFC 9110 §14.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// `bytes FIRST-LAST/*`: these bytes; the file becomes longer if it must.
    Part(Range<u64>),
    /// `bytes */LENGTH`: the length; what is added is zeros.
    Length(u64),
}

/// The part that a PUT is about; nothing if it replaces the whole file.
pub(super) fn part(headers: &HeaderMap) -> Result<Option<Written>, Problem> {
    let Some(value) = headers.get(CONTENT_RANGE) else { return Ok(None) };
    let number = |text: &str| -> Option<u64> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    let parsed = || {
        let (range, length) = value.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
        if range == "*" {
            return Some(Written::Length(number(length)?));
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        (length == "*" && first <= last && last < u64::MAX).then(|| Written::Part(first..last + 1))
    };
    parsed().map(Some).ok_or_else(|| {
        Problem::new(Code::Invalid, "the Content-Range of a PUT is 'bytes FIRST-LAST/*' or 'bytes */LENGTH'")
    })
}

/// The lock under which a change is made, if any.
pub(super) fn lock(headers: &HeaderMap) -> Result<Option<LockEpoch>, Problem> {
    let Some(value) = headers.get(crate::model::LOCK_HEADER) else { return Ok(None) };
    value.to_str().unwrap_or_default().parse().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::etag_text;
    use http::HeaderValue;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a header value"));
        }
        headers
    }

    #[test]
    fn reads() {
        let (root, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let (ours, theirs) = (etag_text(root), etag_text(other));
        let (weak, both) = (format!("W/{ours}"), format!("{theirs} , {ours}"));
        for (lines, expected) in [
            (vec![], Verdict::Go),
            (vec![("if-match", "*")], Verdict::Go),
            (vec![("if-match", &*ours)], Verdict::Go),
            (vec![("if-match", &*both)], Verdict::Go),
            (vec![("if-match", &*theirs), ("if-match", &*ours)], Verdict::Go),
            (vec![("if-match", &*theirs)], Verdict::Failed),
            (vec![("if-match", &*weak)], Verdict::Failed),
            (vec![("if-match", "garbage")], Verdict::Failed),
            (vec![("if-none-match", &*theirs)], Verdict::Go),
            (vec![("if-none-match", "garbage")], Verdict::Go),
            (vec![("if-none-match", &*ours)], Verdict::NotModified),
            (vec![("if-none-match", &*weak)], Verdict::NotModified),
            (vec![("if-none-match", &*both)], Verdict::NotModified),
            (vec![("if-none-match", "*")], Verdict::NotModified),
            (vec![("if-match", &*theirs), ("if-none-match", &*ours)], Verdict::Failed),
        ] {
            assert_eq!(of_read(&headers(&lines), root), expected, "{lines:?}");
        }
        for (lines, expected) in [
            (vec![], true),
            (vec![("if-range", &*ours)], true),
            (vec![("if-range", &*theirs)], false),
            (vec![("if-range", &*weak)], false),
            (vec![("if-range", "Wed, 21 Oct 2015 07:28:00 GMT")], false),
        ] {
            assert_eq!(range_counts(&headers(&lines), root), expected, "{lines:?}");
        }
    }

    #[test]
    fn changes() {
        let root = Digest::of(b"1");
        let ours = etag_text(root);
        for (lines, expected) in [
            (vec![], Some(Precondition::None)),
            (vec![("if-match", "*")], Some(Precondition::Exists)),
            (vec![("if-match", &*ours)], Some(Precondition::OneOf(vec![root]))),
            (vec![("if-match", "garbage")], Some(Precondition::OneOf(vec![]))),
            (vec![("if-none-match", "*")], Some(Precondition::Absent)),
            (vec![("if-none-match", &*ours)], None),
            (vec![("if-none-match", "*"), ("if-match", "*")], None),
        ] {
            assert_eq!(of_change(&headers(&lines)).ok(), expected, "{lines:?}");
        }
    }

    #[test]
    fn operation_ids() {
        let id = OperationId { session: SessionId([0xab; 16]), sequence: 7 };
        let text = format!("{}.7", "ab".repeat(16));
        for (lines, expected) in [
            (vec![], Ok(None)),
            (vec![("webos-operation", &*text)], Ok(Some(id))),
            (vec![("webos-operation", "7")], Err(())),
            (vec![("webos-operation", "ab.7")], Err(())),
        ] {
            assert_eq!(operation(&headers(&lines)).map_err(|_| ()), expected, "{lines:?}");
        }
    }
}
