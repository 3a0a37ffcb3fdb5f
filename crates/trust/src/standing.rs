//! What realms have taken back, as a decision asks for it: whether a principal or a link still holds, and how old the
//! word of a realm is. A realm that has not been heard of for too long counts as one that takes back everything.

use crate::limits::{DEFAULT_ACTING_LIMIT, DEFAULT_READING_LIMIT, MAX_FEED_LIMIT, MIN_FEED_LIMIT};
use std::time::Duration;
use terms::{Epoch, Principal, RealmName, Right, TransferId, UnixMs};

/// The newest word of a realm that it has taken back nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// The realm's own word is kept here: there is nobody to hear it from.
    Own,
    /// Signed by the realm at this time.
    At(UnixMs),
    /// Never heard.
    Unheard,
}

/// How old the word of a realm may be before what stands on it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedLimits {
    acting: Duration,
    reading: Duration,
}

impl Default for FeedLimits {
    fn default() -> Self {
        Self { acting: DEFAULT_ACTING_LIMIT, reading: DEFAULT_READING_LIMIT }
    }
}

impl FeedLimits {
    /// Limits for `w m x a relay`, and for `r`. Answers nothing if one of them is not between one minute and one hour.
    pub fn new(acting: Duration, reading: Duration) -> Option<Self> {
        let allowed = MIN_FEED_LIMIT..=MAX_FEED_LIMIT;
        (allowed.contains(&acting) && allowed.contains(&reading)).then_some(Self { acting, reading })
    }

    /// For how long a word of the realm is enough for this right.
    pub fn of(self, right: Right) -> Duration {
        if right == Right::Read { self.reading } else { self.acting }
    }
}

/// What is known here of what realms have taken back. Must not wait.
pub trait Standing {
    /// The newest word of this realm.
    fn head(&self, realm: &RealmName) -> Head;

    /// How old it may be.
    fn limits(&self) -> FeedLimits;

    /// Whether the principal, by a certificate issued at this time, was revoked.
    fn is_revoked(&self, principal: &Principal, certified: UnixMs) -> bool;

    /// Whether the transfer certificate that this principal signed in this epoch was ended by its realm.
    fn has_ended(&self, issuer: &Principal, id: TransferId, epoch: Epoch) -> bool;
}

/// Nothing was ever taken back, and every realm says so just now.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllStand;

impl Standing for AllStand {
    fn head(&self, _: &RealmName) -> Head {
        Head::Own
    }

    fn limits(&self) -> FeedLimits {
        FeedLimits::default()
    }

    fn is_revoked(&self, _: &Principal, _: UnixMs) -> bool {
        false
    }

    fn has_ended(&self, _: &Principal, _: TransferId, _: Epoch) -> bool {
        false
    }
}
