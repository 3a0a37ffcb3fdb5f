//! The realms pinned here, and the one place where a certificate becomes a principal: only a chain to the
//! pinned bundle of exactly the realm which it names counts.

use crate::bundle::Bundle;
use crate::error::ChainRefusal;
use crate::key::{PublicKey, sha256};
use crate::limits::{CLOCK_SKEW, MAX_CHAIN_CERTIFICATES};
use crate::path::{self, Anchor, Usage};
use crate::x509::{self, Leaf};
use rustls_pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use terms::{Epoch, Principal, Problem, RealmName, UnixMs};
use wire::{Described, Peer, PeerCheck};

/// The bundles of the realms that are trusted here. Clones share one store. Trusting a realm means believing
/// its names, nothing else.
#[derive(Clone, Debug, Default)]
pub struct TrustStore(Arc<RwLock<BTreeMap<RealmName, Arc<Bundle>>>>);

/// A leaf whose chain was verified.
#[derive(Debug, Clone)]
pub(crate) struct Certified {
    pub principal: Principal,
    pub key: PublicKey,
    /// When the first certificate of the chain ends, without allowance.
    pub end: UnixMs,
    /// The realm's epoch as known here.
    pub epoch: Epoch,
}

impl TrustStore {
    /// A store that trusts nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Pins a bundle, unless the store holds a later one of the same realm. Answers whether it is now in force.
    pub fn insert(&self, bundle: Bundle) -> bool {
        let mut realms = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let older = realms.get(&bundle.realm).is_some_and(|present| present.is_newer_than(&bundle));
        if !older {
            realms.insert(bundle.realm.clone(), Arc::new(bundle));
        }
        !older
    }

    /// Trusts a realm no longer: what it says from now on is not believed.
    pub fn remove(&self, realm: &RealmName) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(realm);
    }

    /// The bundle of a realm.
    pub fn bundle(&self, realm: &RealmName) -> Option<Arc<Bundle>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(realm).cloned()
    }

    /// The realms that are trusted here.
    pub fn realms(&self) -> Vec<RealmName> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Verifies a chain to the pinned roots of the realm which its leaf names.
    pub(crate) fn certify(
        &self,
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
        let usages = Usage::of(read.principal.kind);
        let end = path::verify(&read, leaf, intermediates, bundle.anchors(), usages, now)?;
        Ok(Certified { principal: read.principal, key: read.key, end, epoch: bundle.epoch })
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
        && Anchor::new(root)
            .is_ok_and(|anchor| path::verify(leaf, der, intermediates, &[anchor], &[Usage::Server], now).is_ok())
}
