//! What is promised of an object's copies: its policy, given to a file or folder and taken over by what is made below.

use crate::limits::MAX_TTL_SECS;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use terms::{Code, Problem};

/// How copies of an object are kept coherent, and which changes it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Policy {
    /// Close-to-open: an open sees the last completed change.
    #[default]
    Cto,
    /// Each read sees the last completed change, also of what is open already.
    Strong,
    /// Only appends, in one order; what is there never changes, and the length is asked for at each open.
    Log,
    /// Copies are used for so many seconds, and nobody is told of changes.
    Ttl(u32),
    /// The content never changes.
    Immutable,
}

/// The words that name a policy, for messages.
pub const POLICY_WORDS: &str = "cto, strong, log, ttl=SECONDS or immutable";

/// A text that names no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Another word.
    #[error("'{}' is no policy: {POLICY_WORDS}", .0.escape_default())]
    Unknown(String),
    /// A time that is none, or too long.
    #[error("'{}' is no time to live: ttl=SECONDS takes 1 to {MAX_TTL_SECS}", .0.escape_default())]
    Ttl(String),
}

impl Policy {
    /// For how long a copy is used without asking again, if nobody tells of changes.
    pub fn kept_unasked(self) -> Option<Duration> {
        match self {
            Self::Ttl(seconds) => Some(Duration::from_secs(seconds.min(MAX_TTL_SECS).into())),
            Self::Immutable => Some(Duration::from_secs(MAX_TTL_SECS.into())),
            Self::Cto | Self::Strong | Self::Log => None,
        }
    }

    /// Whether holders are given callbacks.
    pub fn has_callbacks(self) -> bool {
        match self {
            Self::Cto | Self::Strong => true,
            Self::Log | Self::Ttl(_) | Self::Immutable => false,
        }
    }

    /// Whether the content may be replaced, or changed in place.
    pub fn may_overwrite(self) -> bool {
        !matches!(self, Self::Log | Self::Immutable)
    }

    /// What of it counts for a folder's own listing: that is never a log and always changes.
    #[must_use]
    pub fn of_listing(self) -> Self {
        match self {
            Self::Log | Self::Immutable => Self::Cto,
            other => other,
        }
    }

    /// Whether it is the usual one, which is said nowhere.
    pub fn is_cto(&self) -> bool {
        *self == Self::Cto
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cto => f.write_str("cto"),
            Self::Strong => f.write_str("strong"),
            Self::Log => f.write_str("log"),
            Self::Ttl(seconds) => write!(f, "ttl={seconds}"),
            Self::Immutable => f.write_str("immutable"),
        }
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        if let Some(seconds) = text.strip_prefix("ttl=") {
            let digits = seconds.bytes().all(|byte| byte.is_ascii_digit());
            let seconds = seconds.parse().ok().filter(|seconds| digits && (1..=MAX_TTL_SECS).contains(seconds));
            return seconds.map(Self::Ttl).ok_or_else(|| PolicyError::Ttl(text.into()));
        }
        match text {
            "cto" => Ok(Self::Cto),
            "strong" => Ok(Self::Strong),
            "log" => Ok(Self::Log),
            "immutable" => Ok(Self::Immutable),
            _ => Err(PolicyError::Unknown(text.into())),
        }
    }
}

impl TryFrom<String> for Policy {
    type Error = PolicyError;

    fn try_from(text: String) -> Result<Self, PolicyError> {
        text.parse()
    }
}

impl From<Policy> for String {
    fn from(policy: Policy) -> Self {
        policy.to_string()
    }
}

impl From<PolicyError> for Problem {
    fn from(error: PolicyError) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_written_as_they_are_read() {
        for policy in [Policy::Cto, Policy::Strong, Policy::Log, Policy::Ttl(30), Policy::Immutable] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
            let bytes = wire::cbor::to_vec(&policy);
            assert_eq!(wire::cbor::from_slice::<Policy>(&bytes).ok(), Some(policy));
        }
    }

    #[test]
    fn what_is_no_policy_is_told_the_words() {
        for text in ["", "CTO", "ttl", "weak", "log ", "immutable\n"] {
            let error = text.parse::<Policy>().expect_err("no policy").to_string();
            assert!(error.contains(POLICY_WORDS), "{error}");
        }
        for text in ["ttl=", "ttl=0", "ttl=-1", "ttl=+1", "ttl=3601", "ttl=99999999999", "ttl=1.5"] {
            let error = text.parse::<Policy>().expect_err("no time").to_string();
            assert!(error.contains("1 to 3600"), "{error}");
        }
    }
}
