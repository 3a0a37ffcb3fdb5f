//! The error that crosses the wire: a code, a sentence, and what to do next.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of error it is. Each has one HTTP status and one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The request is malformed.
    Invalid,
    /// A named limit was exceeded.
    TooLarge,
    /// Rights are missing. The same whether the thing exists or not.
    Denied,
    /// There is no such thing, and the caller may know that.
    NotFound,
    /// The thing exists already.
    Exists,
    /// The version named in the request is not the present one.
    Conflict,
    /// The lock under which a change was to be made is not held any more.
    LockLost,
    /// A recall, lease or other wait did not end in time.
    Timeout,
    /// Not now, or not here: try again later, or elsewhere as the sentence says.
    Unavailable,
    /// The volume has its home elsewhere, or will have in a moment: ask for its record anew.
    Moved,
    /// A rate limit or admission limit was hit.
    Busy,
    /// No space is left.
    NoSpace,
    /// This build does not offer what was asked.
    Unsupported,
    /// A fault on the answering side.
    Internal,
}

impl Code {
    /// The HTTP status that carries this code.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Denied => 403,
            Self::NotFound => 404,
            Self::Exists => 409,
            Self::Conflict => 412,
            Self::TooLarge => 413,
            Self::Moved => 421,
            Self::LockLost => 423,
            Self::Busy => 429,
            Self::Internal => 500,
            Self::Unsupported => 501,
            Self::Unavailable => 503,
            Self::Timeout => 504,
            Self::NoSpace => 507,
        }
    }

    /// The exit code of a command that ends with this error.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Invalid | Self::TooLarge => 2,
            Self::Denied => 3,
            Self::NotFound => 4,
            Self::Unavailable | Self::Timeout | Self::Moved => 5,
            Self::Exists | Self::Conflict | Self::LockLost | Self::Busy => 1,
            Self::NoSpace | Self::Unsupported | Self::Internal => 1,
        }
    }
}

/// An error as the other side sees it (RFC 9457 `application/problem+json` towards plain HTTP clients).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Problem {
    /// The kind of error.
    pub code: Code,
    /// One sentence: what, and why.
    pub detail: String,
    /// What to do next; may be empty.
    #[serde(default)]
    pub next: String,
}

impl Problem {
    /// A problem with its sentence.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), next: String::new() }
    }

    /// The same with advice.
    #[must_use]
    pub fn next(mut self, advice: impl Into<String>) -> Self {
        self.next = advice.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        if self.next.is_empty() { Ok(()) } else { write!(f, "; {}", self.next) }
    }
}
