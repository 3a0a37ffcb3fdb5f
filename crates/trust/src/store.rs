//! The realms pinned here, and the one place where a certificate becomes a principal: only a chain to the
//! pinned bundle of exactly the realm which it names counts.

use crate::bundle::Bundle;
use crate::error::ChainRefusal;
use crate::feed_copy::FeedCopy;
use crate::key::{PublicKey, sha256};
use crate::limits::{CLOCK_SKEW, MAX_CERTIFIED, MAX_CHAIN_CERTIFICATES};
use crate::path::{self, Anchor, Path};
use crate::recent::Recent;
use crate::standing::{FeedLimits, Head, Standing};
use crate::x509::{self, Leaf};
use rustls_pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use terms::{Epoch, Principal, Problem, RealmName, TransferId, UnixMs};
use wire::{Described, Peer, PeerCheck};

/// The bundles of the realms that are trusted here. Clones share one store. Trusting a realm means believing
/// its names, nothing else.
#[derive(Clone, Debug, Default)]
pub struct TrustStore(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    realms: RwLock<BTreeMap<RealmName, Realm>>,
    /// Rises with every change that can end something.
    generation: AtomicU64,
    limits: RwLock<FeedLimits>,
    certified: Certificates,
}

/// Chains that were verified lately, by the hash of their bytes.
#[derive(Debug)]
struct Certificates(Mutex<Recent<[u8; 32], Arc<Remembered>>>);

impl Default for Certificates {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(MAX_CERTIFIED)))
    }
}

/// A chain that was verified under a bundle, and holds until its end as long as that bundle is in force.
#[derive(Debug)]
struct Remembered {
    certified: Certified,
    from: UnixMs,
    bundle: Arc<Bundle>,
}

/// One trusted realm.
#[derive(Debug, Clone)]
struct Realm {
    bundle: Arc<Bundle>,
    feed: Option<Arc<FeedCopy>>,
    /// The feed is written here.
    own: bool,
}

impl Realm {
    fn epoch(&self) -> Epoch {
        self.feed.as_ref().map_or(self.bundle.epoch, |feed| feed.epoch().max(self.bundle.epoch))
    }
}

/// A leaf whose chain was verified.
#[derive(Debug, Clone)]
pub(crate) struct Certified {
    pub principal: Principal,
    pub key: PublicKey,
    /// When the first certificate of the chain ends, without allowance.
    pub end: UnixMs,
    /// When the leaf was issued: its start without the allowance for clocks.
    pub certified: UnixMs,
    /// The realm's epoch as known here.
    pub epoch: Epoch,
}

impl TrustStore {
    /// A store that trusts nobody.
    pub fn new() -> Self {
        Self::default()
    }

    fn realms_mut(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<RealmName, Realm>> {
        self.0.realms.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<T>(&self, realm: &RealmName, read: impl FnOnce(&Realm) -> T) -> Option<T> {
        self.0.realms.read().unwrap_or_else(PoisonError::into_inner).get(realm).map(read)
    }

    /// Pins a bundle, unless the store holds a later one of the same realm. Answers whether it is now in force.
    pub fn insert(&self, bundle: Bundle) -> bool {
        let mut realms = self.realms_mut();
        let present = realms.get(&bundle.realm);
        let older = present.is_some_and(|present| present.bundle.is_newer_than(&bundle));
        if !older {
            let (feed, own) = present.map_or((None, false), |present| (present.feed.clone(), present.own));
            realms.insert(bundle.realm.clone(), Realm { bundle: Arc::new(bundle), feed, own });
            self.0.generation.fetch_add(1, Ordering::Release);
        }
        !older
    }

    /// Trusts a realm no more.
    pub fn remove(&self, realm: &RealmName) {
        self.realms_mut().remove(realm);
        self.0.generation.fetch_add(1, Ordering::Release);
    }

    /// Takes a realm's feed as known here: a copy, or (`own`) the list that is written here.
    pub fn set_feed(&self, copy: FeedCopy, own: bool) {
        if let Some(realm) = self.realms_mut().get_mut(copy.realm()) {
            let old = realm.feed.replace(Arc::new(copy));
            let same = old.zip(realm.feed.clone()).is_some_and(|(old, new)| old.takes_back_the_same(&new));
            let same = same && realm.own == own;
            realm.own = own;
            if !same {
                self.0.generation.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// A realm's feed as known here.
    pub fn feed(&self, realm: &RealmName) -> Option<Arc<FeedCopy>> {
        self.look(realm, |realm| realm.feed.clone())?
    }

    /// How old the word of realms may be here.
    pub fn set_limits(&self, limits: FeedLimits) {
        *self.0.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Rises whenever a realm, its roots or what it has taken back changes: what was verified before has to be looked at
    /// again.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// The bundle of a realm.
    pub fn bundle(&self, realm: &RealmName) -> Option<Arc<Bundle>> {
        self.look(realm, |realm| realm.bundle.clone())
    }

    /// The epoch of a realm as known here: of its bundle or its feed, whichever is later.
    pub fn epoch(&self, realm: &RealmName) -> Epoch {
        self.look(realm, Realm::epoch).unwrap_or_default()
    }

    /// The realms that are trusted here.
    pub fn realms(&self) -> Vec<RealmName> {
        self.0.realms.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Verifies a chain to the pinned roots of the realm which its leaf names, and that it was not revoked. What was
    /// verified lately is not verified again.
    pub(crate) fn certify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixMs,
    ) -> Result<Certified, ChainRefusal> {
        let name = name_of(leaf, intermediates);
        let mut certified = match self.remembered(&name, now) {
            Some(certified) => certified,
            None => self.verify(name, leaf, intermediates, now)?,
        };
        if self.is_revoked(&certified.principal, certified.certified) {
            return Err(ChainRefusal::Revoked { principal: certified.principal });
        }
        certified.epoch = self.epoch(&certified.principal.realm);
        Ok(certified)
    }

    fn remembered(&self, name: &[u8; 32], now: UnixMs) -> Option<Certified> {
        let found = self.0.certified.0.lock().unwrap_or_else(PoisonError::into_inner).get(name)?;
        let Remembered { certified, from, bundle } = &*found;
        let in_force = self.look(&certified.principal.realm, |realm| Arc::ptr_eq(&realm.bundle, bundle));
        let holds = now.plus(CLOCK_SKEW) >= *from && now < certified.end.plus(CLOCK_SKEW);
        (in_force == Some(true) && holds).then(|| certified.clone())
    }

    fn verify(
        &self,
        name: [u8; 32],
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixMs,
    ) -> Result<Certified, ChainRefusal> {
        let read = x509::read_leaf(leaf)?;
        let realm = &read.principal.realm;
        let bundle = self.bundle(realm).ok_or_else(|| ChainRefusal::UnknownRealm {
            realm: realm.clone(),
            principal: read.principal.clone(),
        })?;
        let Path { from, end } = path::verify(&read, leaf, intermediates, bundle.anchors(), now)?;
        let certified = read.validity.start.plus(CLOCK_SKEW);
        let found = Certified { principal: read.principal, key: read.key, end, certified, epoch: bundle.epoch };
        let remembered = Arc::new(Remembered { certified: found.clone(), from, bundle });
        self.0.certified.0.lock().unwrap_or_else(PoisonError::into_inner).put(name, remembered);
        Ok(found)
    }
}

/// Names a chain by all its bytes.
fn name_of(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut hash = blake3::Hasher::new_derive_key("webos certificate chain v1");
    for certificate in std::iter::once(leaf).chain(intermediates) {
        hash.update(&(certificate.len() as u64).to_le_bytes()).update(certificate);
    }
    *hash.finalize().as_bytes()
}

impl Standing for TrustStore {
    fn head(&self, realm: &RealmName) -> Head {
        let head = |realm: &Realm| match (realm.own, &realm.feed) {
            (true, _) => Head::Own,
            (false, feed) => feed.as_ref().and_then(|feed| feed.at()).map_or(Head::Unheard, Head::At),
        };
        self.look(realm, head).unwrap_or(Head::Unheard)
    }

    fn limits(&self) -> FeedLimits {
        *self.0.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_revoked(&self, principal: &Principal, certified: UnixMs) -> bool {
        let revoked = |realm: &Realm| realm.feed.as_ref().is_some_and(|feed| feed.is_revoked(principal, certified));
        self.look(&principal.realm, revoked).unwrap_or(false)
    }

    fn has_ended(&self, issuer: &Principal, id: TransferId, epoch: Epoch) -> bool {
        let ended = |realm: &Realm| {
            epoch < realm.epoch() || realm.feed.as_ref().is_some_and(|feed| feed.has_ended(issuer, id, epoch))
        };
        self.look(&issuer.realm, ended).unwrap_or(true)
    }
}

impl PeerCheck for TrustStore {
    /// `Peer::not_after` is the first end in the chain with the allowance for clocks that are apart.
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixMs,
    ) -> Result<Peer, Problem> {
        let certified = self.certify(end_entity, intermediates, now)?;
        let chain = std::iter::once(end_entity).chain(intermediates);
        Ok(Peer {
            principal: certified.principal,
            key: certified.key.thumbprint(),
            issued: certified.certified,
            not_after: certified.end.plus(CLOCK_SKEW),
            chain: chain.map(|certificate| certificate.clone().into_owned()).collect(),
        })
    }

    fn describe(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixMs,
    ) -> Result<Described, Problem> {
        let leaf = x509::read_leaf(end_entity)?;
        check_dates(&leaf, now)?;
        if intermediates.len() >= MAX_CHAIN_CERTIFICATES {
            return Err(ChainRefusal::Malformed("the chain is too long".into()).into());
        }
        let root =
            intermediates.iter().rfind(|certificate| leads_to(certificate, &leaf, end_entity, intermediates, now));
        Ok(Described { key: leaf.key.thumbprint(), root: root.map(|certificate| sha256(certificate)) })
    }
}

fn check_dates(leaf: &Leaf, now: UnixMs) -> Result<(), ChainRefusal> {
    let (principal, validity) = (leaf.principal.clone(), leaf.validity);
    if now >= validity.end.plus(CLOCK_SKEW) {
        return Err(ChainRefusal::Expired { principal, end: validity.end, now });
    }
    if now.plus(CLOCK_SKEW) < validity.start {
        return Err(ChainRefusal::NotYetValid { principal, start: validity.start, now });
    }
    Ok(())
}

/// Whether the leaf is a server's under this self-issued root, which serves the leaf's own realm.
fn leads_to(
    root: &CertificateDer<'_>,
    leaf: &Leaf,
    der: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixMs,
) -> bool {
    let serves = x509::read_authority(root).is_ok_and(|a| a.self_issued && a.realm == leaf.principal.realm);
    serves
        && x509::answers(leaf.principal.kind)
        && Anchor::new(root).is_ok_and(|anchor| path::verify(leaf, der, intermediates, &[anchor], now).is_ok())
}
