//! What a realm has taken back, at a reader: a copy of its [`Feed`] that never goes back, and refuses a page that leaves
//! something out. It holds what counts, not what proves it: that is in [`crate::FeedPages`].

use crate::codec::check_size;
use crate::error::TrustError;
use crate::feed::{Document, Feed, FeedEntry, FeedPage, Revoked};
use crate::limits::{CLOCK_SKEW, LISTED_STEP, MAX_REVOCATIONS};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use terms::{Digest, Epoch, Principal, RealmName, Serial, TransferId, UnixMs};

/// What is to be forgotten until then is no part of the hash that a page of this time states: a reader's clock may be ahead,
/// and the source computes the hash once for each step.
pub(crate) fn settled(at: UnixMs) -> UnixMs {
    let step = u64::try_from(LISTED_STEP.as_millis()).unwrap_or(u64::MAX);
    UnixMs(at.0 - at.0 % step).plus(LISTED_STEP + 2 * CLOCK_SKEW)
}

/// What a page brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Entries that were new here.
    pub new: Vec<Revoked>,
    /// The realm's epoch rose.
    pub epoch_rose: bool,
    /// More pages follow.
    pub more: bool,
}

/// What a page is good for at a reader that asked behind a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// It goes on behind that number.
    News,
    /// It says that this was all, lately.
    Fresh,
    /// It says that this was all, some time ago: whoever handed it on may be cut off from the realm.
    Old,
    /// It says less than is known here: whoever handed it on is behind, or the realm's list was set back.
    Behind,
}

/// The list at a reader, to be stored whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedCopy {
    realm: RealmName,
    epoch: Epoch,
    number: Serial,
    /// When the realm last said that this is all.
    at: Option<UnixMs>,
    principals: BTreeMap<Principal, (UnixMs, UnixMs)>,
    #[serde(default)]
    links: BTreeMap<TransferId, BTreeMap<Principal, UnixMs>>,
    transfers: BTreeMap<TransferId, UnixMs>,
}

impl FeedCopy {
    /// A reader that has heard nothing.
    pub fn new(realm: RealmName) -> Self {
        Self {
            realm,
            epoch: Epoch(0),
            number: Serial(0),
            at: None,
            principals: BTreeMap::new(),
            links: BTreeMap::new(),
            transfers: BTreeMap::new(),
        }
    }

    /// The realm.
    pub fn realm(&self) -> &RealmName {
        &self.realm
    }

    /// The number behind which to ask.
    pub fn number(&self) -> Serial {
        self.number
    }

    /// The realm's epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// When the realm last said that this is all.
    pub fn at(&self) -> Option<UnixMs> {
        self.at
    }

    /// What a page is good for here that was asked for behind a number, whoever handed it on.
    ///
    /// # Errors
    /// [`TrustError::Rule`] if it leaves something out, or is a part of the list that does not go on.
    pub fn weigh(&self, page: &FeedPage, asked: Serial, now: UnixMs) -> Result<Worth, TrustError> {
        if page.after() > asked.min(self.number) {
            return Err(self.leaves_out());
        }
        if self.is_ahead_of(page) {
            return Ok(Worth::Behind);
        }
        match (page.reaches() > asked, page.is_last()) {
            (true, _) => Ok(Worth::News),
            (false, true) if page.is_old(now) => Ok(Worth::Old),
            (false, true) => Ok(Worth::Fresh),
            (false, false) => Err(TrustError::Rule(format!(
                "a page of the feed of {} does not go on behind {}",
                self.realm, asked.0
            ))),
        }
    }

    fn leaves_out(&self) -> TrustError {
        TrustError::Rule(format!("a page of the feed of {} leaves something out", self.realm))
    }

    fn is_ahead_of(&self, page: &FeedPage) -> bool {
        page.document.head < self.number || page.epoch() < self.epoch
    }

    /// Takes in a page. A part of the list says nothing of the whole: neither its time nor its epoch counts yet, so that
    /// the rest may come from pages that were signed before this one.
    ///
    /// # Errors
    /// [`TrustError::Rule`] if the page begins behind what is known here, [`TrustError::SetBack`] if its realm's list says
    /// less than it said before.
    pub fn apply(&mut self, page: &FeedPage, now: UnixMs) -> Result<Applied, TrustError> {
        let Document { epoch, at, after, head, entries, .. } = &page.document;
        if *after > self.number {
            return Err(self.leaves_out());
        }
        if self.is_ahead_of(page) {
            return Err(TrustError::SetBack { realm: self.realm.clone() });
        }
        self.forget(now);
        let known = self.number;
        // Not by their numbers: a list that was restored from a backup may give a number twice.
        let new: Vec<_> = entries.iter().filter(|entry| now < entry.forget && !self.lists(entry)).collect();
        check_size("the list of revocations", self.len() + new.len(), MAX_REVOCATIONS)?;
        for entry in &new {
            self.take(entry);
        }
        let epoch_rose = page.is_last() && *epoch > self.epoch;
        if page.is_last() {
            (self.number, self.epoch) = (*head, *epoch);
            self.at = self.at.max(Some(*at));
        } else {
            self.number = entries.last().map_or(known, |entry| entry.number.max(known));
        }
        let new = new.into_iter().map(|entry| entry.revoked.clone()).collect();
        Ok(Applied { new, epoch_rose, more: !page.is_last() })
    }

    /// Whether this is all that the realm lists, as its page says that was applied last. What is to be forgotten within
    /// minutes does not count: clocks may be apart. Of a page so old that some of what it states may be forgotten here
    /// nobody can tell, and it is held to agree.
    pub fn agrees(&self, page: &FeedPage, now: UnixMs) -> bool {
        !page.is_last() || now >= settled(page.at()) || page.document.listed == self.digest(page.at())
    }

    /// Names what is listed beyond [`settled`] by its hash. Epoch and numbers are not part of it, a page states them.
    pub(crate) fn digest(&self, at: UnixMs) -> Digest {
        let from = settled(at);
        let principals: Vec<_> = self
            .principals
            .iter()
            .filter(|(_, (_, forget))| from < *forget)
            .map(|(principal, (until, _))| (principal, until))
            .collect();
        let of_id =
            self.links.iter().flat_map(|(id, of_id)| of_id.iter().map(move |(issuer, end)| (id, issuer, end)));
        let links: Vec<_> =
            of_id.filter(|(.., forget)| from < **forget).map(|(id, issuer, _)| (id, issuer)).collect();
        let transfers: Vec<_> =
            self.transfers.iter().filter(|(_, forget)| from < **forget).map(|(id, _)| id).collect();
        let mut hash = blake3::Hasher::new_derive_key("webos list of a feed v1");
        // Hashing takes all that is written to it.
        let _ = ciborium::into_writer(&(principals, links, transfers), &mut hash);
        Digest(*hash.finalize().as_bytes())
    }

    /// A copy that lists these entries, as a reader would that heard nothing else.
    pub(crate) fn of_entries<'a>(realm: RealmName, entries: impl IntoIterator<Item = &'a FeedEntry>) -> Self {
        let mut copy = Self::new(realm);
        entries.into_iter().for_each(|entry| copy.take(entry));
        copy
    }

    /// Whether all that an entry says is known here, for as long.
    pub(crate) fn lists(&self, entry: &FeedEntry) -> bool {
        let forget = match &entry.revoked {
            Revoked::Principal { principal, issued_until } => {
                let known = self.principals.get(principal).filter(|(until, _)| issued_until <= until);
                known.map(|(_, forget)| forget)
            }
            Revoked::Link { issuer, id } => self.links.get(id).and_then(|of_id| of_id.get(issuer)),
            Revoked::Transfer { id } => self.transfers.get(id),
        };
        forget.is_some_and(|forget| entry.forget <= *forget)
    }

    /// What a page proves and is not known here, as far as it is not to be forgotten.
    pub fn lost(&self, page: &FeedPage, now: UnixMs) -> Vec<Revoked> {
        let lost = page.entries().iter().filter(|entry| now < entry.forget && !self.lists(entry));
        lost.map(|entry| entry.revoked.clone()).collect()
    }

    /// Whether a page states a later epoch, or a later number.
    pub fn is_behind(&self, page: &FeedPage) -> bool {
        page.document.epoch > self.epoch || page.document.head > self.number
    }

    fn take(&mut self, entry: &FeedEntry) {
        match &entry.revoked {
            Revoked::Principal { principal, issued_until } => {
                let present = self.principals.entry(principal.clone()).or_insert((*issued_until, entry.forget));
                *present = (present.0.max(*issued_until), present.1.max(entry.forget));
            }
            Revoked::Link { issuer, id } => {
                let of_id = self.links.entry(*id).or_default();
                let present = of_id.entry(issuer.clone()).or_insert(entry.forget);
                *present = (*present).max(entry.forget);
            }
            Revoked::Transfer { id } => {
                let present = self.transfers.entry(*id).or_insert(entry.forget);
                *present = (*present).max(entry.forget);
            }
        }
    }

    fn forget(&mut self, now: UnixMs) {
        self.principals.retain(|_, (_, forget)| now < *forget);
        self.links.retain(|_, of_id| {
            of_id.retain(|_, forget| now < *forget);
            !of_id.is_empty()
        });
        self.transfers.retain(|_, forget| now < *forget);
    }

    fn len(&self) -> usize {
        let links: usize = self.links.values().map(BTreeMap::len).sum();
        self.principals.len() + links + self.transfers.len()
    }

    /// Whether both end the same; their times may differ.
    pub(crate) fn takes_back_the_same(&self, other: &Self) -> bool {
        let Self { epoch, principals, links, transfers, .. } = self;
        (epoch, principals, links, transfers) == (&other.epoch, &other.principals, &other.links, &other.transfers)
    }

    /// Until when certificates of this principal were revoked by the time they were issued.
    pub fn revoked_until(&self, principal: &Principal) -> Option<UnixMs> {
        self.principals.get(principal).map(|(until, _)| *until)
    }

    /// Whether this principal, by a certificate issued at this time, was revoked.
    pub fn is_revoked(&self, principal: &Principal, certified: UnixMs) -> bool {
        self.revoked_until(principal).is_some_and(|until| certified <= until)
    }

    /// Whether this transfer certificate was revoked, by itself or with its epoch.
    pub fn has_ended(&self, issuer: &Principal, id: TransferId, epoch: Epoch) -> bool {
        let by_issuer = || self.links.get(&id).is_some_and(|of_id| of_id.contains_key(issuer));
        epoch < self.epoch || self.transfers.contains_key(&id) || by_issuer()
    }
}

/// The source reads its own list as everybody else does.
impl From<&Feed> for FeedCopy {
    fn from(feed: &Feed) -> Self {
        let mut copy = Self::of_entries(feed.realm().clone(), feed.entries());
        (copy.epoch, copy.number) = (feed.epoch(), feed.head());
        copy
    }
}
