//! A realm's bundle: its roots and name servers, signed by an issuing certificate under the root whose fingerprint a
//! person compared. An issuing certificate alone never adds a root: only a root names another.

use crate::codec::check_size;
use crate::error::TrustError;
use crate::key::{KeyPair, PublicKey, sha256};
use crate::limits::{
    CLOCK_SKEW, MAX_ADDRESS_BYTES, MAX_DOCUMENT_BYTES, MAX_ENDORSEMENTS, MAX_NAME_SERVERS, MAX_ROOTS,
};
use crate::path::Anchor;
use crate::{signed, x509};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::sync::Arc;
use terms::{Epoch, Principal, RealmName, UnixMs};

/// External data of bundles.
const KIND: &str = "webos-bundle-v2";
/// External data of what a root says of the one that comes after it.
pub(crate) const SUCCESSOR: &str = "webos-root-successor-v1";
/// External data of what a root says of the one that came before it.
pub(crate) const PREDECESSOR: &str = "webos-root-predecessor-v1";

/// Where a realm's names are answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameServer {
    /// `host:port`.
    pub address: String,
    /// Who answers there.
    pub principal: Principal,
}

/// What a realm says of itself. A value was signed under a root that is believed: its fingerprint is the one pinned
/// here, or the pinned root names it.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The realm.
    pub realm: RealmName,
    /// Its roots, in DER.
    pub roots: Vec<CertificateDer<'static>>,
    /// Its name servers, best first.
    pub name_servers: Vec<NameServer>,
    /// The realm's epoch: chains of an older one have ended.
    pub epoch: Epoch,
    /// When it was signed.
    pub issued: UnixMs,
    pin: [u8; 32],
    anchors: Arc<[Anchor]>,
    encoded: Arc<[u8]>,
}

/// What is signed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    pub realm: RealmName,
    pub roots: Vec<ByteBuf>,
    pub endorsements: Vec<ByteBuf>,
    pub name_servers: Vec<NameServer>,
    pub epoch: Epoch,
    pub issued: UnixMs,
}

/// What one root says of another.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Endorsement {
    root: ByteBuf,
}

/// Signs what one root says of another.
pub(crate) fn endorse(
    key: &KeyPair,
    kind: &'static str,
    other: &CertificateDer<'_>,
) -> Result<Vec<u8>, TrustError> {
    signed::sign_short(key, kind, &Endorsement { root: ByteBuf::from(other.to_vec()) })
}

impl Bundle {
    pub(crate) fn sign(
        issuing: &CertificateDer<'_>,
        key: &KeyPair,
        content: Content,
    ) -> Result<Vec<u8>, TrustError> {
        check_content(&content, content.issued)?;
        signed::sign_certified(issuing, key, KIND, &content)
    }

    /// Opens a bundle one of whose roots has a fingerprint (SHA-256 of the certificate) that came by another way. It
    /// counts if an issuing certificate under a root that is believed signed it. Believed are the pinned root, and
    /// what a believed root names as its successor or predecessor; any other root makes the bundle worthless.
    ///
    /// # Errors
    /// [`TrustError::Fingerprint`] if no root has this fingerprint; otherwise what is wrong with the bytes,
    /// the signature, the dates, the roots or the names.
    pub fn open(bytes: &[u8], fingerprint: &[u8; 32], now: UnixMs) -> Result<Self, TrustError> {
        Self::open_signed(bytes, fingerprint, now, |_| now)
    }

    /// The same of a bundle that was opened before and kept by its owner: that its signer's certificate has ended
    /// meanwhile does not make its roots worthless.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn reopen(bytes: &[u8], fingerprint: &[u8; 32], now: UnixMs) -> Result<Self, TrustError> {
        Self::open_signed(bytes, fingerprint, now, |content| content.issued)
    }

    fn open_signed(
        bytes: &[u8],
        fingerprint: &[u8; 32],
        now: UnixMs,
        signer_at: impl FnOnce(&Content) -> UnixMs,
    ) -> Result<Self, TrustError> {
        check_size("the bundle", bytes.len(), MAX_DOCUMENT_BYTES)?;
        let mut pin = *fingerprint;
        let content: Content = signed::open_judged(bytes, KIND, |chain, claimed: &Content| {
            check_content(claimed, now)?;
            pin = believe(claimed, fingerprint, now)?;
            issuer(chain, claimed, signer_at(claimed))
        })?;
        let roots: Vec<_> = content.roots.iter().map(|root| CertificateDer::from(root.to_vec())).collect();
        let anchors = roots.iter().map(Anchor::new).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            realm: content.realm,
            roots,
            name_servers: content.name_servers,
            epoch: content.epoch,
            issued: content.issued,
            pin,
            anchors: anchors.into(),
            encoded: bytes.into(),
        })
    }

    /// The fingerprint by which to believe the realm from now on: the one it was opened with, or its root's successor.
    pub fn pin(&self) -> &[u8; 32] {
        &self.pin
    }

    /// Each root's fingerprint and end.
    ///
    /// # Errors
    /// Never for a bundle that was opened.
    pub fn root_ends(&self) -> Result<Vec<([u8; 32], UnixMs)>, TrustError> {
        self.roots.iter().map(|root| Ok((sha256(root), x509::read_authority(root)?.validity.end))).collect()
    }

    /// Whether it was signed after the other: an older one never replaces it.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.epoch, self.issued) > (other.epoch, other.issued)
    }

    /// Whether the root with this fingerprint is one of its roots.
    pub fn has_root(&self, fingerprint: &[u8; 32]) -> bool {
        self.roots.iter().any(|root| sha256(root) == *fingerprint)
    }

    /// The signed bytes, to be passed on.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// The roots as PEM, for `curl --cacert` and browsers.
    pub fn roots_pem(&self) -> String {
        self.roots.iter().map(|root| crate::key::pem("CERTIFICATE", root)).collect()
    }

    pub(crate) fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }
}

/// Follows what the roots say of each other, from the pinned one. Answers the newest root's fingerprint.
fn believe(claimed: &Content, fingerprint: &[u8; 32], now: UnixMs) -> Result<[u8; 32], TrustError> {
    let realm = &claimed.realm;
    let pinned = claimed.roots.iter().find(|root| &sha256(root) == fingerprint);
    let pinned = pinned.ok_or_else(|| TrustError::Fingerprint { realm: realm.clone() })?;
    if now >= x509::read_authority(pinned)?.validity.end.plus(CLOCK_SKEW) {
        return Err(TrustError::AuthorityEnded { which: "root", realm: realm.clone() });
    }
    let (mut believed, mut pin) = (vec![pinned], *fingerprint);
    let mut next = 0;
    while let Some(root) = believed.get(next).copied() {
        next += 1;
        let key = x509::read_authority(root)?.key;
        let from_newest = sha256(root) == pin;
        for endorsement in &claimed.endorsements {
            let named = |kind| signed::open_with::<Endorsement>(endorsement, kind, &key).ok();
            let (successor, predecessor) = (named(SUCCESSOR), named(PREDECESSOR));
            let Some(named) = successor.as_ref().or(predecessor.as_ref()) else { continue };
            let Some(other) = claimed.roots.iter().find(|other| **other == named.root) else { continue };
            if from_newest && successor.is_some() {
                pin = sha256(other);
            }
            if !believed.contains(&other) {
                believed.push(other);
            }
        }
    }
    if claimed.roots.iter().all(|root| believed.contains(&root)) {
        return Ok(pin);
    }
    Err(TrustError::Rule(format!("the bundle of {realm} has a root that the root known here does not name")))
}

/// The key of the issuing certificate that signed, if it stands under one of the roots now.
fn issuer(chain: &[CertificateDer<'_>], claimed: &Content, now: UnixMs) -> Result<PublicKey, TrustError> {
    let refuse = |why: &str| TrustError::malformed("the bundle", why);
    let [issuing] = chain else { return Err(refuse("it is not signed by exactly one issuing certificate")) };
    let read = x509::read_authority(issuing)?;
    if read.realm != claimed.realm || read.self_issued {
        return Err(refuse("its signer is no issuing certificate of the realm"));
    }
    if now >= read.validity.end.plus(CLOCK_SKEW) {
        return Err(TrustError::AuthorityEnded { which: "issuing", realm: read.realm });
    }
    if now.plus(CLOCK_SKEW) < read.validity.start {
        return Err(TrustError::FromTheFuture { what: "the bundle's issuing certificate" });
    }
    let signed =
        |root: &ByteBuf| x509::read_authority(root).is_ok_and(|root| x509::is_signed_by(issuing, &root.key));
    if claimed.roots.iter().any(signed) {
        Ok(read.key)
    } else {
        Err(refuse("no root of the realm made its signer"))
    }
}

fn check_content(document: &Content, now: UnixMs) -> Result<(), TrustError> {
    let refuse = |why: &str| Err(TrustError::malformed("the bundle", why));
    check_size("the list of roots", document.roots.len(), MAX_ROOTS)?;
    check_size("the list of successions", document.endorsements.len(), MAX_ENDORSEMENTS)?;
    check_size("the list of name servers", document.name_servers.len(), MAX_NAME_SERVERS)?;
    for server in &document.name_servers {
        check_size("an address", server.address.len(), MAX_ADDRESS_BYTES)?;
        if server.principal.realm != document.realm {
            return refuse("a name server belongs to another realm");
        }
    }
    for root in &document.roots {
        let root = x509::read_authority(root)?;
        if root.realm != document.realm || !root.self_issued {
            return refuse("a root belongs to another realm or is none");
        }
    }
    if document.issued > now.plus(CLOCK_SKEW) {
        return Err(TrustError::FromTheFuture { what: "the bundle" });
    }
    Ok(())
}
