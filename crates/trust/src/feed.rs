//! What a realm has taken back, as a numbered list: [`Feed`] at its source, [`FeedPage`] on its way,
//! [`crate::FeedCopy`] at a reader. Each page is signed and says "this is all, at this time". Nothing here waits or reads a
//! clock.

use crate::codec::check_size;
use crate::error::TrustError;
use crate::feed_copy::{FeedCopy, settled};
use crate::identity::Identity;
use crate::limits::{
    CLOCK_SKEW, HEAD_OLD, MAX_FEED_PAGE, MAX_REVOCATIONS, MAX_REVOKED_TRANSFERS, REVOCATION_MEMORY,
};
use crate::signed::{self, Opened};
use crate::store::TrustStore;
use serde::{Deserialize, Serialize};
use terms::{Digest, Epoch, Label, Principal, PrincipalKind, RealmName, Serial, TransferId, UnixMs};

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
pub(crate) struct Document {
    pub realm: RealmName,
    pub epoch: Epoch,
    pub at: UnixMs,
    pub after: Serial,
    pub head: Serial,
    /// The hash of all that is listed, by which a reader sees whether the list has lost what it knows.
    pub listed: Digest,
    pub entries: Vec<FeedEntry>,
}

/// A page of the list, opened: the entries behind a number, and the head of the list at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    pub(crate) document: Document,
    bytes: Vec<u8>,
}

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

    /// What it lists.
    pub(crate) fn entries(&self) -> &[FeedEntry] {
        &self.entries
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
        self.number = Serial(self.number.0.saturating_add(1).max(now.0));
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
        self.page_stating(&self.listed(now), after, signer, now)
    }

    /// The hash of the list that pages of this time state.
    pub fn listed(&self, now: UnixMs) -> ListHash {
        ListHash { until: settled(now), digest: FeedCopy::from(self).digest(now) }
    }

    /// The same page with a hash that was computed before, and [`ListHash::holds`].
    ///
    /// # Errors
    /// As [`Feed::page`].
    pub fn page_stating(
        &self,
        listed: &ListHash,
        after: Serial,
        signer: &Identity,
        now: UnixMs,
    ) -> Result<Vec<u8>, TrustError> {
        let expected = feed_signer(&self.realm)?;
        if *signer.principal() != expected {
            let found = signer.principal().clone();
            return Err(TrustError::WrongSigner { kind: KIND.into(), expected, found });
        }
        let behind = self.entries.iter().filter(|entry| entry.number > after && now < entry.forget);
        let entries: Vec<_> = behind.take(MAX_FEED_PAGE).cloned().collect();
        let (realm, epoch, head, listed) = (self.realm.clone(), self.epoch, self.number, listed.digest);
        signed::sign(signer, KIND, &Document { realm, epoch, at: now, after, head, listed, entries })
    }

    /// Lists again what a page proves that was listed once, and is not to be forgotten yet: the list was restored from a
    /// backup that did not know it. It gets new numbers, so that every reader hears of it. The caller has opened the page by
    /// [`FeedPage::open_kept`].
    ///
    /// # Errors
    /// [`TrustError::TooLarge`] if the list is full.
    pub fn recover(&mut self, page: &FeedPage, now: UnixMs) -> Result<Recovered, TrustError> {
        let known = FeedCopy::from(&*self);
        let Document { epoch, head, entries, .. } = &page.document;
        let lost: Vec<_> = entries.iter().filter(|entry| now < entry.forget && !known.lists(entry)).collect();
        self.entries.retain(|entry| now < entry.forget);
        check_size("the list of revocations", self.entries.len() + lost.len(), MAX_REVOCATIONS)?;
        let recovered = Recovered {
            revoked: lost.iter().map(|entry| entry.revoked.clone()).collect(),
            epoch_rose: *epoch > self.epoch,
            head_rose: *head > self.number,
        };
        (self.epoch, self.number) = (self.epoch.max(*epoch), self.number.max(*head));
        if recovered.epoch_rose {
            self.next(now);
        }
        for entry in lost {
            let number = self.next(now);
            self.entries.push(FeedEntry { number, ..entry.clone() });
        }
        Ok(recovered)
    }
}

/// The hash of a list, as pages state it for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListHash {
    until: UnixMs,
    digest: Digest,
}

impl ListHash {
    /// Whether pages of this time state it, if the list has not changed.
    pub fn holds(&self, now: UnixMs) -> bool {
        self.until == settled(now)
    }
}

/// What was listed again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// What was taken back once, and was not listed any more.
    pub revoked: Vec<Revoked>,
    /// The realm's epoch was higher.
    pub epoch_rose: bool,
    /// The newest number was higher.
    pub head_rose: bool,
}

impl Recovered {
    /// Whether the list was the same before.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl FeedPage {
    /// Opens a page that this realm's feed key signed.
    ///
    /// # Errors
    /// [`TrustError::WrongSigner`], [`TrustError::FromTheFuture`], [`TrustError::Malformed`] if its entries are out of
    /// order; as [`signed::open`].
    pub fn open(bytes: &[u8], realm: &RealmName, store: &TrustStore, now: UnixMs) -> Result<Self, TrustError> {
        Self::check(signed::open(bytes, KIND, store, now)?, bytes, realm, now)
    }

    /// Opens a page that was kept: it counts if it was good at the time it speaks of, whatever has ended since.
    ///
    /// # Errors
    /// As [`FeedPage::open`].
    pub fn open_kept(bytes: &[u8], realm: &RealmName, store: &TrustStore, now: UnixMs) -> Result<Self, TrustError> {
        let at = signed::peek::<Document>(bytes)?.at;
        Self::check(signed::open(bytes, KIND, store, at.min(now))?, bytes, realm, now)
    }

    /// Reads a page that was opened before it was kept here. Nothing is verified.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] and [`TrustError::TooLarge`].
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, TrustError> {
        Ok(Self { document: signed::peek(bytes)?, bytes: bytes.to_vec() })
    }

    fn check(opened: Opened<Document>, bytes: &[u8], realm: &RealmName, now: UnixMs) -> Result<Self, TrustError> {
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
        Ok(Self { document, bytes: bytes.to_vec() })
    }

    /// The page as it was signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The realm's epoch.
    pub fn epoch(&self) -> Epoch {
        self.document.epoch
    }

    /// When the realm said this.
    pub fn at(&self) -> UnixMs {
        self.document.at
    }

    /// Whether a newer word of the realm should be there by now.
    pub fn is_old(&self, now: UnixMs) -> bool {
        now >= self.at().plus(HEAD_OLD)
    }

    /// Behind which number it begins.
    pub fn after(&self) -> Serial {
        self.document.after
    }

    /// Up to which number a reader of this page knows the list.
    pub fn reaches(&self) -> Serial {
        match self.document.entries.last() {
            Some(last) if !self.is_last() => last.number,
            _ => self.document.head,
        }
    }

    /// The hash of all that was listed.
    pub fn listed(&self) -> Digest {
        self.document.listed
    }

    /// Its entries.
    pub fn entries(&self) -> &[FeedEntry] {
        &self.document.entries
    }

    /// Whether nothing is listed behind this page.
    pub fn is_last(&self) -> bool {
        self.document.entries.len() < MAX_FEED_PAGE
    }
}
