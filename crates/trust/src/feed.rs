//! What a realm has taken back, as a numbered list: [`Feed`] at its source, [`FeedPage`] on its way, [`FeedCopy`] at a
//! reader. Each page is signed and says "this is all, at this time"; a copy never goes back, and refuses a page that
//! leaves something out. Nothing here waits or reads a clock.

use crate::codec::check_size;
use crate::error::TrustError;
use crate::identity::Identity;
use crate::limits::{CLOCK_SKEW, MAX_FEED_PAGE, MAX_REVOCATIONS, MAX_REVOKED_TRANSFERS, REVOCATION_MEMORY};
use crate::signed;
use crate::store::TrustStore;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use terms::{Epoch, Label, Principal, PrincipalKind, RealmName, Serial, TransferId, UnixMs};

/// External data of pages.
const KIND: &str = "webos-feed-v1";
/// The service that signs a realm's feed: `spiffe://REALM/service/feed`. No service can be published under this name.
pub const FEED_SERVICE: &str = "feed";

/// Who signs the feed of this realm.
///
/// # Errors
/// Never: the name is valid.
pub fn feed_signer(realm: &RealmName) -> Result<Principal, TrustError> {
    let name = Label::new(FEED_SERVICE).map_err(|error| TrustError::malformed("the feed's name", error))?;
    Ok(Principal::new(realm.clone(), PrincipalKind::Service, name))
}

/// What was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// Every certificate of this principal that was issued until then.
    Principal {
        /// Whose.
        principal: Principal,
        /// Until when.
        issued_until: UnixMs,
    },
    /// One transfer certificate, taken back by whoever signed it. Signers choose ids, so that another's with the same id
    /// stays.
    Link {
        /// Who signed it.
        issuer: Principal,
        /// Which.
        id: TransferId,
    },
    /// One transfer certificate, whoever of the realm signed it, and with it every chain that it is part of.
    Transfer {
        /// Which.
        id: TransferId,
    },
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedEntry {
    /// Its place: greater than all before it.
    pub number: Serial,
    /// What was taken back.
    pub revoked: Revoked,
    /// When it may be forgotten: what it ends has ended by itself then.
    pub forget: UnixMs,
}

/// The list where it is kept, to be stored whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    realm: RealmName,
    epoch: Epoch,
    number: Serial,
    entries: Vec<FeedEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    realm: RealmName,
    epoch: Epoch,
    at: UnixMs,
    after: Serial,
    head: Serial,
    entries: Vec<FeedEntry>,
}

/// A page of the list, opened: the entries behind a number, and the head of the list at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage(Document);

impl Feed {
    /// A realm that has taken back nothing. Its numbers begin with the time, so that a list that was lost and begun anew
    /// goes on above the numbers that its readers have seen.
    pub fn new(realm: RealmName, epoch: Epoch, now: UnixMs) -> Self {
        Self { realm, epoch, number: Serial(now.0), entries: Vec::new() }
    }

    /// The realm.
    pub fn realm(&self) -> &RealmName {
        &self.realm
    }

    /// The realm's epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The number of the newest entry, and of the newest epoch.
    pub fn head(&self) -> Serial {
        self.number
    }

    /// A list that was read at a start goes on above all that its readers have seen: it may come from a backup that is older
    /// than they are. What they know beyond it they keep.
    pub fn resumed(self, now: UnixMs) -> Self {
        Self { number: self.number.max(Serial(now.0)), ..self }
    }

    /// The next number: a time where the clock allows, for the same reason.
    fn next(&mut self, now: UnixMs) -> Serial {
        self.number = Serial((self.number.0 + 1).max(now.0));
        self.number
    }

    /// Takes something back. What is taken back already is not listed twice.
    ///
    /// # Errors
    /// [`TrustError::TooLarge`] if the list is full: `raise_epoch` ends every chain instead.
    pub fn revoke(&mut self, revoked: Revoked, forget: UnixMs, now: UnixMs) -> Result<Serial, TrustError> {
        self.entries.retain(|entry| now < entry.forget);
        if let Some(present) = self.entries.iter().find(|entry| entry.revoked == revoked && forget <= entry.forget)
        {
            return Ok(present.number);
        }
        // Anybody may take back what it lent, as often as it likes: that must not keep a principal from being revoked.
        let most = match &revoked {
            Revoked::Principal { .. } => MAX_REVOCATIONS,
            Revoked::Link { .. } | Revoked::Transfer { .. } => MAX_REVOKED_TRANSFERS,
        };
        check_size("the list of revocations", self.entries.len() + 1, most)?;
        let number = self.next(now);
        self.entries.push(FeedEntry { number, revoked, forget });
        Ok(number)
    }

    /// Ends every chain that was signed until now by principals of the realm.
    pub fn raise_epoch(&mut self, now: UnixMs) -> Epoch {
        self.epoch = self.epoch.next();
        self.next(now);
        self.epoch
    }

    /// When a revocation of what lasts until then may be forgotten.
    pub fn forget_after(end: UnixMs) -> UnixMs {
        end.plus(2 * CLOCK_SKEW)
    }

    /// When a revocation may be forgotten of which nobody knows how long its object lasts.
    pub fn forget_at_last(now: UnixMs) -> UnixMs {
        now.plus(REVOCATION_MEMORY)
    }

    /// The signed page behind a number.
    ///
    /// # Errors
    /// [`TrustError::WrongSigner`] if the identity is not that of the realm's feed; as [`signed::sign`].
    pub fn page(&self, after: Serial, signer: &Identity, now: UnixMs) -> Result<Vec<u8>, TrustError> {
        let expected = feed_signer(&self.realm)?;
        if *signer.principal() != expected {
            let found = signer.principal().clone();
            return Err(TrustError::WrongSigner { kind: KIND.into(), expected, found });
        }
        let behind = self.entries.iter().filter(|entry| entry.number > after && now < entry.forget);
        let entries: Vec<_> = behind.take(MAX_FEED_PAGE).cloned().collect();
        let (realm, epoch, head) = (self.realm.clone(), self.epoch, self.number);
        signed::sign(signer, KIND, &Document { realm, epoch, at: now, after, head, entries })
    }
}

impl FeedPage {
    /// Opens a page that this realm's feed key signed.
    ///
    /// # Errors
    /// [`TrustError::WrongSigner`], [`TrustError::FromTheFuture`], [`TrustError::Malformed`] if its entries are out of
    /// order; as [`signed::open`].
    pub fn open(bytes: &[u8], realm: &RealmName, store: &TrustStore, now: UnixMs) -> Result<Self, TrustError> {
        let opened = signed::open::<Document>(bytes, KIND, store, now)?;
        let (expected, document) = (feed_signer(realm)?, opened.value);
        if opened.signer != expected || document.realm != *realm {
            return Err(TrustError::WrongSigner { kind: KIND.into(), expected, found: opened.signer });
        }
        if document.at > now.plus(CLOCK_SKEW) {
            return Err(TrustError::FromTheFuture { what: "the feed" });
        }
        check_size("the page of the feed", document.entries.len(), MAX_FEED_PAGE)?;
        let mut before = document.after;
        for entry in &document.entries {
            let foreign = match &entry.revoked {
                Revoked::Principal { principal, .. } => principal.realm != *realm,
                Revoked::Link { issuer, .. } => issuer.realm != *realm,
                Revoked::Transfer { .. } => false,
            };
            if entry.number <= before || entry.number > document.head || foreign {
                return Err(TrustError::malformed("the feed", "its entries are out of order, or another realm's"));
            }
            before = entry.number;
        }
        Ok(Self(document))
    }

    /// The realm's epoch.
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// Whether nothing is listed behind this page.
    fn is_last(&self) -> bool {
        self.0.entries.len() < MAX_FEED_PAGE
    }
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

    /// Takes in a page.
    ///
    /// # Errors
    /// [`TrustError::Rule`] if the page begins behind what is known here, or its realm's list was set back.
    pub fn apply(&mut self, page: &FeedPage, now: UnixMs) -> Result<Applied, TrustError> {
        let Document { epoch, at, after, head, entries, .. } = &page.0;
        if *after > self.number {
            return Err(TrustError::Rule(format!("a page of the feed of {} leaves something out", self.realm)));
        }
        if *head < self.number || *epoch < self.epoch {
            return Err(TrustError::Rule(format!("the feed of {} was set back", self.realm)));
        }
        self.forget(now);
        let known = self.number;
        let new: Vec<_> = entries.iter().filter(|entry| entry.number > known).collect();
        check_size("the list of revocations", self.len() + new.len(), MAX_REVOCATIONS)?;
        for entry in &new {
            self.take(entry);
        }
        let epoch_rose = *epoch > self.epoch;
        self.epoch = *epoch;
        if page.is_last() {
            self.number = *head;
            self.at = self.at.max(Some(*at));
        } else {
            self.number = entries.last().map_or(known, |entry| entry.number.max(known));
        }
        let new = new.into_iter().map(|entry| entry.revoked.clone()).collect();
        Ok(Applied { new, epoch_rose, more: !page.is_last() })
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
        let mut copy = Self::new(feed.realm.clone());
        feed.entries.iter().for_each(|entry| copy.take(entry));
        (copy.epoch, copy.number) = (feed.epoch, feed.number);
        copy
    }
}
