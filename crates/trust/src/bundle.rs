//! A realm's bundle: its roots and name servers, signed by the root whose fingerprint a person compared.

use crate::codec::check_size;
use crate::error::TrustError;
use crate::key::{KeyPair, sha256};
use crate::limits::{CLOCK_SKEW, MAX_ADDRESS_BYTES, MAX_DOCUMENT_BYTES, MAX_NAME_SERVERS, MAX_ROOTS};
use crate::path::Anchor;
use crate::{signed, x509};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::sync::Arc;
use terms::{Epoch, Principal, RealmName, UnixMs};

/// External data of bundles.
const KIND: &str = "webos-bundle-v1";

/// Where a realm's names are answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameServer {
    /// `host:port`.
    pub address: String,
    /// Who answers there.
    pub principal: Principal,
}

/// What a realm says of itself. A value was signed by one of its roots, and that root's fingerprint was
/// compared with the one pinned here.
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
    anchors: Arc<[Anchor]>,
    encoded: Arc<[u8]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    realm: RealmName,
    roots: Vec<ByteBuf>,
    name_servers: Vec<NameServer>,
    epoch: Epoch,
    issued: UnixMs,
}

impl Bundle {
    pub(crate) fn sign(
        root: &CertificateDer<'_>,
        key: &KeyPair,
        name_servers: Vec<NameServer>,
        epoch: Epoch,
        now: UnixMs,
    ) -> Result<Vec<u8>, TrustError> {
        let realm = x509::read_authority(root)?.realm;
        let roots = vec![ByteBuf::from(root.to_vec())];
        let document = Document { realm, roots, name_servers, epoch, issued: now };
        check_document(&document, now)?;
        signed::sign_short(key, KIND, &document)
    }

    /// Opens a bundle whose root's fingerprint (SHA-256 of the certificate) came by another way.
    ///
    /// # Errors
    /// [`TrustError::Fingerprint`] if no root has this fingerprint; otherwise what is wrong with the bytes,
    /// the signature, the dates or the names.
    pub fn open(bytes: &[u8], fingerprint: &[u8; 32], now: UnixMs) -> Result<Self, TrustError> {
        check_size("the bundle", bytes.len(), MAX_DOCUMENT_BYTES)?;
        let claimed: Document = signed::peek(bytes)?;
        check_document(&claimed, now)?;
        let pinned = claimed.roots.iter().find(|root| &sha256(root) == fingerprint);
        let pinned = pinned.ok_or_else(|| TrustError::Fingerprint { realm: claimed.realm.clone() })?;
        // From here on only the signed content counts.
        let document: Document = signed::open_with(bytes, KIND, &x509::read_authority(pinned)?.key)?;
        let roots: Vec<_> = document.roots.iter().map(|root| CertificateDer::from(root.to_vec())).collect();
        let anchors = roots.iter().map(Anchor::new).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            realm: document.realm,
            roots,
            name_servers: document.name_servers,
            epoch: document.epoch,
            issued: document.issued,
            anchors: anchors.into(),
            encoded: bytes.into(),
        })
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

fn check_document(document: &Document, now: UnixMs) -> Result<(), TrustError> {
    let refuse = |why: &str| Err(TrustError::malformed("the bundle", why));
    check_size("the list of roots", document.roots.len(), MAX_ROOTS)?;
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
        if now >= root.validity.end.plus(CLOCK_SKEW) {
            return Err(TrustError::AuthorityEnded { which: "root", realm: root.realm });
        }
    }
    if document.issued > now.plus(CLOCK_SKEW) {
        return Err(TrustError::FromTheFuture { what: "the bundle" });
    }
    Ok(())
}
