//! Paths within a volume: normalised segments, so that no check ever sees `..`, `//` or an encoding.

use crate::limits::{MAX_PATH_BYTES, MAX_PATH_SEGMENTS, MAX_SEGMENT_BYTES};
use crate::names::{NameError, VolumeName, shown_text};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a path was refused. The text names the offending input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// `.`, `..`, an empty segment, a NUL or an encoded slash.
    #[error(
        "'{path}' is not a path: the segment '{segment}' is not allowed (no '.', '..', '//', NUL or encoded '/')"
    )]
    Segment {
        /// The whole path as it came, escaped.
        path: String,
        /// The segment that is wrong, escaped.
        segment: String,
    },
    /// Longer or deeper than the limits.
    #[error(
        "'{0}…' is too long: at most {MAX_SEGMENT_BYTES} bytes a segment, {MAX_PATH_SEGMENTS} segments, {MAX_PATH_BYTES} bytes"
    )]
    TooLong(String),
    /// Not UTF-8 after decoding.
    #[error("'{0}' is not UTF-8 after percent-decoding")]
    Encoding(String),
    /// The volume in front of the path is no volume name.
    #[error("{0}: write NAME.REALM/path")]
    Volume(NameError),
}

/// What stands in a URL path segment only percent-encoded.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'/');

/// A path within a volume. The root is the path without segments; names are compared by bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumePath(Box<str>);

impl VolumePath {
    /// The volume's root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Parses a plain path. One slash at the start and one at the end are allowed and mean nothing.
    pub fn new(text: &str) -> Result<Self, PathError> {
        if matches!(text, "" | "/") {
            return Ok(Self::root());
        }
        let inner = text.strip_prefix('/').unwrap_or(text);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if inner.len() > MAX_PATH_BYTES || inner.split('/').count() > MAX_PATH_SEGMENTS {
            return Err(PathError::TooLong(shown_text(text)));
        }
        inner.split('/').try_for_each(|segment| check_segment(text, segment))?;
        Ok(Self(inner.into()))
    }

    /// Parses the path of a URL: each segment is percent-decoded, then checked.
    pub fn from_url(text: &str) -> Result<Self, PathError> {
        if text.len() > 3 * MAX_PATH_BYTES {
            return Err(PathError::TooLong(shown_text(text)));
        }
        let mut decoded = String::with_capacity(text.len());
        for (index, raw) in text.split('/').enumerate() {
            let segment =
                percent_decode_str(raw).decode_utf8().map_err(|_| PathError::Encoding(shown_text(text)))?;
            if segment.contains('/') {
                return Err(PathError::Segment { path: shown_text(text), segment: shown_text(&segment) });
            }
            if index > 0 {
                decoded.push('/');
            }
            decoded.push_str(&segment);
        }
        Self::new(&decoded)
    }

    /// The path for a URL, percent-encoded, without a leading slash.
    pub fn to_url(&self) -> String {
        let parts: Vec<String> = self.segments().map(|s| utf8_percent_encode(s, ENCODED).to_string()).collect();
        parts.join("/")
    }

    /// The segments from the root down.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// Whether this is the volume's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The text without leading slash; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment, or nothing at the root.
    pub fn name(&self) -> Option<&str> {
        self.segments().next_back()
    }

    /// The directory above, or nothing at the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or("", |(parent, _)| parent).into()))
    }

    /// This path with one more segment.
    pub fn join(&self, segment: &str) -> Result<Self, PathError> {
        check_segment(segment, segment)?;
        let joined = if self.is_root() { segment.to_string() } else { format!("{}/{segment}", self.0) };
        Self::new(&joined)
    }

    /// This path with another one below it.
    pub fn under(&self, below: &Self) -> Result<Self, PathError> {
        match (self.is_root(), below.is_root()) {
            (true, _) => Ok(below.clone()),
            (_, true) => Ok(self.clone()),
            _ => Self::new(&format!("{}/{}", self.0, below.0)),
        }
    }

    /// Whether this path is `top` or below it.
    pub fn is_below(&self, top: &Self) -> bool {
        top.is_root() || self.0.strip_prefix(&*top.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// What remains of this path below `top`, if `top` is this path or above it.
    pub fn below(&self, top: &Self) -> Option<Self> {
        if top.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(&*top.0)?;
        if rest.is_empty() {
            return Some(Self::root());
        }
        rest.strip_prefix('/').map(|rest| Self(rest.into()))
    }
}

fn check_segment(path: &str, segment: &str) -> Result<(), PathError> {
    if segment.len() > MAX_SEGMENT_BYTES {
        return Err(PathError::TooLong(shown_text(segment)));
    }
    if matches!(segment, "" | "." | "..") || segment.contains(['\0', '/']) {
        return Err(PathError::Segment { path: shown_text(path), segment: shown_text(segment) });
    }
    Ok(())
}

impl fmt::Display for VolumePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VolumePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

impl TryFrom<String> for VolumePath {
    type Error = PathError;
    fn try_from(text: String) -> Result<Self, PathError> {
        Self::new(&text)
    }
}

impl From<VolumePath> for String {
    fn from(path: VolumePath) -> String {
        path.0.into()
    }
}

/// A file or directory anywhere: `NAME.REALM/path`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Location {
    /// The volume.
    pub volume: VolumeName,
    /// The path within it.
    pub path: VolumePath,
}

impl FromStr for Location {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        let (volume, path) = text.split_once('/').unwrap_or((text, ""));
        let volume = volume.parse().map_err(PathError::Volume)?;
        Ok(Self { volume, path: VolumePath::new(path)? })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.volume, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths() {
        for (text, expected) in [
            ("", Some("")),
            ("/", Some("")),
            ("a", Some("a")),
            ("/a/b/", Some("a/b")),
            ("a b/ü", Some("a b/ü")),
            ("a//b", None),
            ("..", None),
            ("a/../b", None),
            ("./a", None),
            ("a/.", None),
            ("a\0", None),
            ("//", None),
        ] {
            assert_eq!(VolumePath::new(text).ok().as_ref().map(VolumePath::as_str), expected, "{text:?}");
        }
        assert!(VolumePath::new(&"x".repeat(256)).is_err());
        assert!(VolumePath::new(&vec!["x"; 129].join("/")).is_err());
        assert!(VolumePath::new("...").is_ok(), "three dots are a name");
    }

    #[test]
    fn url_paths_hide_nothing() {
        for (text, expected) in [
            ("/a%20b/c", Some("a b/c")),
            ("/%2e%2e/x", None),
            ("/a/%2E", None),
            ("/a%2Fb", None),
            ("/a%00", None),
            ("/%ff", None),
            ("/a%252e", Some("a%2e")),
        ] {
            assert_eq!(VolumePath::from_url(text).ok().as_ref().map(VolumePath::as_str), expected, "{text}");
        }
        let path = VolumePath::new("a b/100%?#/ü").expect("valid");
        assert_eq!(VolumePath::from_url(&path.to_url()), Ok(path));
    }

    #[test]
    fn above_and_below() {
        let path = VolumePath::new("a/b/c").expect("valid");
        let top = VolumePath::new("a/b").expect("valid");
        assert_eq!(path.below(&top).map(String::from), Some("c".into()));
        assert_eq!(path.below(&VolumePath::root()), Some(path.clone()));
        assert_eq!(VolumePath::new("a/bc").expect("valid").below(&top), None);
        assert_eq!(path.parent(), Some(top.clone()));
        assert_eq!(top.join("c"), Ok(path.clone()));
        assert!(top.join("../x").is_err());
        assert_eq!(top.under(&VolumePath::new("c").expect("valid")), Ok(path));
    }

    #[test]
    fn locations() {
        let location: Location = "data.lab.example/in/x".parse().expect("valid");
        assert_eq!(location.to_string(), "data.lab.example/in/x");
        assert!("data/in".parse::<Location>().is_err());
        assert!("data.lab.example/../x".parse::<Location>().is_err());
    }
}
