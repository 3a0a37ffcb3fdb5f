//! The signed pages by which a reader can prove what it knows of a realm's feed, to anybody, its source included. Relies on
//! its caller to give it only pages that were opened and that its [`FeedCopy`] took. Never drops the last page that proves an
//! entry which is not to be forgotten yet, unless there are too many.

use crate::error::TrustError;
use crate::feed::FeedPage;
use crate::feed_copy::FeedCopy;
use crate::limits::{MAX_FEED_PAGE, MAX_KEPT_PAGES, SCATTERED_PAGES};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use terms::{RealmName, Serial, UnixMs};

/// The pages of one realm's feed, to be stored whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct FeedPages {
    realm: RealmName,
    /// Each begins where the one before reaches, or before that.
    chain: Vec<FeedPage>,
    /// From before the chain was begun anew: what they list need not be in it.
    loose: Vec<FeedPage>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    realm: RealmName,
    chain: Vec<ByteBuf>,
    loose: Vec<ByteBuf>,
}

impl FeedPages {
    /// A reader that keeps none yet.
    pub fn new(realm: RealmName) -> Self {
        Self { realm, chain: Vec::new(), loose: Vec::new() }
    }

    /// The realm.
    pub fn realm(&self) -> &RealmName {
        &self.realm
    }

    /// Keeps a page that was taken into the copy. It takes the place of pages that begin where it does or behind; of those
    /// what it does not list is kept apart, until a later page lists it or it may be forgotten.
    pub fn take(&mut self, page: FeedPage, now: UnixMs) {
        // Whoever handed it on may be behind another that was asked before.
        if self.newest().is_some_and(|newest| newest.reaches() == page.reaches() && page.at() < newest.at()) {
            return;
        }
        let begin = self.chain.partition_point(|kept| kept.after() < page.after());
        self.loose.extend(self.chain.drain(begin..));
        if self.chain.last().is_some_and(|last| last.reaches() < page.after()) {
            self.loose.append(&mut self.chain);
        }
        let is_last = page.is_last();
        self.chain.push(page);
        // While a list is read anew, what is superseded waits for its end.
        if is_last {
            self.drop_proven(now);
        }
        let excess = |pages: &[FeedPage]| pages.len().saturating_sub(MAX_KEPT_PAGES);
        self.chain.drain(..excess(&self.chain));
        self.loose.drain(..excess(&self.loose));
    }

    fn drop_proven(&mut self, now: UnixMs) {
        if self.loose.iter().all(|page| page.entries().is_empty()) {
            self.loose.clear();
            return;
        }
        let listed = self.listed();
        self.loose.retain(|page| page.entries().iter().any(|entry| now < entry.forget && !listed.lists(entry)));
    }

    /// What the chain lists.
    fn listed(&self) -> FeedCopy {
        FeedCopy::of_entries(self.realm.clone(), self.chain.iter().flat_map(FeedPage::entries))
    }

    /// The pages from which a reader that knows the list up to a number learns the rest, in order. None if the first of them
    /// would leave something out.
    pub fn pages_after(&self, number: Serial) -> &[FeedPage] {
        let fits = self.chain.partition_point(|page| page.after() <= number);
        // Of those that fit the last reaches furthest.
        self.chain.get(fits.saturating_sub(1)..).filter(|_| fits > 0).unwrap_or_default()
    }

    /// The newest page.
    pub fn newest(&self) -> Option<&FeedPage> {
        self.chain.last()
    }

    /// When the oldest page was signed.
    pub fn oldest(&self) -> Option<UnixMs> {
        self.chain.first().map(FeedPage::at)
    }

    /// Whether the list should be asked for from its beginning: it is not kept from there, or in too many small pages.
    pub fn wants_all(&self) -> bool {
        let entries: usize = self.chain.iter().map(|page| page.entries().len()).sum();
        let full = entries.div_ceil(MAX_FEED_PAGE);
        self.chain.first().is_none_or(|first| first.after() > Serial(0))
            || self.chain.len() > 2 * full + SCATTERED_PAGES
    }

    /// Pages with what the list no longer holds, although it should: meant to be read after the list was asked for from its
    /// beginning to its end.
    pub fn lost(&self) -> &[FeedPage] {
        &self.loose
    }
}

impl From<FeedPages> for Stored {
    fn from(pages: FeedPages) -> Self {
        let bytes = |pages: Vec<FeedPage>| pages.iter().map(|page| ByteBuf::from(page.bytes())).collect();
        Self { realm: pages.realm, chain: bytes(pages.chain), loose: bytes(pages.loose) }
    }
}

impl TryFrom<Stored> for FeedPages {
    type Error = TrustError;

    fn try_from(stored: Stored) -> Result<Self, TrustError> {
        let read = |pages: Vec<ByteBuf>| pages.iter().map(|bytes| FeedPage::read(bytes)).collect::<Result<_, _>>();
        Ok(Self { realm: stored.realm, chain: read(stored.chain)?, loose: read(stored.loose)? })
    }
}
