//! The six rights and sets of them. Widening is impossible without writing it out: sets only intersect or cover.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// `r`: read and list.
    Read,
    /// `w`: write: create and append.
    Write,
    /// `m`: modify: overwrite, truncate, rename, delete.
    Modify,
    /// `x`: execute.
    Execute,
    /// `a`: administer: change the access control list.
    Administer,
    /// `relay`: hold all of a subtree and check others' reads.
    Relay,
}

impl Right {
    /// All rights in the order in which sets are printed.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Write, Self::Modify, Self::Execute, Self::Administer, Self::Relay];

    fn bit(self) -> u8 {
        1 << (self as u8)
    }

    /// `r`, `w`, `m`, `x`, `a` or `relay`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::Write => "w",
            Self::Modify => "m",
            Self::Execute => "x",
            Self::Administer => "a",
            Self::Relay => "relay",
        }
    }
}

impl Right {
    /// What one may do with it, as a sentence has it: somebody may `read` this.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Modify => "modify",
            Self::Execute => "execute",
            Self::Administer => "administer",
            Self::Relay => "relay",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a set of rights was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a set of rights: use letters of r w m x a, and '+relay', such as rw or r+relay")]
pub struct RightsError(String);

/// A set of rights, written `rw`, `r+relay`; `-` is the empty set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rights(u8);

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);

    /// `rwmxa`: all but `relay`.
    pub const OWNER: Self = Self(0b1_1111);

    /// The set of these rights.
    pub fn of(rights: &[Right]) -> Self {
        Self(rights.iter().fold(0, |bits, right| bits | right.bit()))
    }

    /// Whether the set holds this right.
    pub fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// Whether every right of `other` is in this set.
    pub fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Rights in either set.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Rights of this set that are not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as bits, for storage: bit i is the i-th of [`Right::ALL`].
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set from stored bits; unknown bits are an error.
    pub fn from_bits(bits: u8) -> Result<Self, RightsError> {
        if bits < 1 << 6 { Ok(Self(bits)) } else { Err(RightsError(format!("{bits:#x}"))) }
    }
}

impl FromStr for Rights {
    type Err = RightsError;
    fn from_str(text: &str) -> Result<Self, RightsError> {
        let refuse = || RightsError(text.chars().take(40).flat_map(char::escape_default).collect());
        if text == "-" {
            return Ok(Self::NONE);
        }
        let mut set = Self::NONE;
        for part in text.split('+') {
            if part == "relay" {
                set = set.with(Self::of(&[Right::Relay]));
                continue;
            }
            for letter in part.chars() {
                let right = Right::ALL[..5].iter().find(|r| r.as_str().starts_with(letter)).ok_or_else(refuse)?;
                set = set.with(Self::of(&[*right]));
            }
        }
        if set.is_empty() { Err(refuse()) } else { Ok(set) }
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        let letters = Right::ALL[..5].iter().filter(|right| self.has(**right));
        letters.into_iter().try_for_each(|right| f.write_str(right.as_str()))?;
        match (self.has(Right::Relay), self.0 == Right::Relay.bit()) {
            (true, true) => f.write_str("relay"),
            (true, false) => f.write_str("+relay"),
            (false, _) => Ok(()),
        }
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl TryFrom<String> for Rights {
    type Error = RightsError;
    fn try_from(text: String) -> Result<Self, RightsError> {
        text.parse()
    }
}

impl From<Rights> for String {
    fn from(rights: Rights) -> String {
        rights.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_round_trips() {
        for bits in 0..64 {
            let set = Rights::from_bits(bits).expect("six bits");
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        assert!(Rights::from_bits(64).is_err());
    }

    #[test]
    fn text_forms() {
        for (text, expected) in [("r", "r"), ("mwr", "rwm"), ("r+relay", "r+relay"), ("relay", "relay"), ("-", "-")]
        {
            assert_eq!(text.parse::<Rights>().map(|r| r.to_string()), Ok(expected.to_string()));
        }
        for bad in ["", "q", "r w", "+", "R", "relayr+"] {
            assert!(bad.parse::<Rights>().is_err(), "{bad}");
        }
    }
}
