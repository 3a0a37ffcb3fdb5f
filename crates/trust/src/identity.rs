//! A principal's own identity: its certificate chain and its key, in one private file that curl can use too.

use crate::error::TrustError;
use crate::files::{read_private, write_private};
use crate::key::{KeyPair, pem};
use crate::limits::{
    CLOCK_SKEW, MAX_CHAIN_CERTIFICATES, MAX_KEY_FILE_BYTES, SERVER_LIFETIME, SERVICE_LIFETIME, USER_LIFETIME,
};
use crate::x509;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use terms::{Principal, PrincipalKind, UnixMs};
use zeroize::Zeroizing;

/// Who this program is. Clones are cheap. A value's key belongs to its leaf; whether others accept the chain
/// is theirs to say.
#[derive(Debug, Clone)]
pub struct Identity {
    principal: Principal,
    chain: Arc<[CertificateDer<'static>]>,
    key: KeyPair,
    issued: UnixMs,
    not_after: UnixMs,
}

impl Identity {
    /// The file within the folder given to [`Identity::save`]: the chain, leaf first, then the key, as PEM.
    pub const FILE: &'static str = "identity.pem";

    /// An identity from its chain (leaf, issuing certificate, root) and the leaf's key.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] or [`TrustError::Chain`] if they do not belong together.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: KeyPair) -> Result<Self, TrustError> {
        let refuse = |why| TrustError::malformed("the identity", why);
        if chain.len() > MAX_CHAIN_CERTIFICATES {
            return Err(refuse("its chain is too long"));
        }
        let leaf = x509::read_leaf(chain.first().ok_or_else(|| refuse("it has no certificate"))?)?;
        if &leaf.key != key.public() {
            return Err(refuse("its key does not belong to its certificate"));
        }
        let ends = chain.iter().map(|certificate| Ok(x509::read_validity(certificate)?.end));
        let ends = ends.collect::<Result<Vec<_>, TrustError>>()?;
        let not_after = ends.into_iter().fold(leaf.validity.end, UnixMs::min);
        let issued = leaf.validity.start.plus(CLOCK_SKEW);
        Ok(Self { principal: leaf.principal, chain: chain.into(), key, issued, not_after })
    }

    /// Reads an identity from its folder.
    ///
    /// # Errors
    /// [`TrustError::Exposed`] if others can read it; as [`Identity::new`] for its content.
    pub fn load(folder: &Path) -> Result<Self, TrustError> {
        let file = folder.join(Self::FILE);
        Self::read(&file).map_err(|error| error.in_file(&file, "restore it, or remove it and get a new one"))
    }

    fn read(file: &Path) -> Result<Self, TrustError> {
        let text = Zeroizing::new(read_private(file, MAX_KEY_FILE_BYTES)?);
        let malformed = |error: rustls_pki_types::pem::Error| TrustError::malformed("the identity", error);
        let chain = CertificateDer::pem_slice_iter(&text)
            .map(|certificate| certificate.map(CertificateDer::into_owned).map_err(malformed))
            .collect::<Result<Vec<_>, _>>()?;
        let text = std::str::from_utf8(&text).map_err(|error| TrustError::malformed("the identity", error))?;
        Self::new(chain, KeyPair::from_pem(text)?)
    }

    /// Writes the identity to a folder, mode 0600, replaced atomically.
    ///
    /// # Errors
    /// [`TrustError::Io`].
    pub fn save(&self, folder: &Path) -> Result<(), TrustError> {
        let mut text = Zeroizing::new(self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect::<String>());
        text.push_str(&self.key.to_pem());
        write_private(&folder.join(Self::FILE), text.as_bytes())
    }

    /// Whether it is past half of its life and to be renewed; or not begun: the clock was ahead when it was issued.
    pub fn is_renewal_due(&self, now: UnixMs) -> bool {
        let life = lifetime(self.principal.kind);
        now >= self.not_after.minus(life / 2) || self.not_after > now.plus(life + CLOCK_SKEW)
    }

    /// Chain and key for TLS.
    pub fn credentials(&self) -> wire::Credentials {
        wire::Credentials { chain: self.chain.to_vec(), key: self.key.to_der() }
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The leaf's key.
    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// When its certificate was issued.
    pub fn issued(&self) -> UnixMs {
        self.issued
    }

    /// When the first certificate of the chain ends.
    pub fn not_after(&self) -> UnixMs {
        self.not_after
    }
}

/// How long a leaf of this kind lasts.
pub(crate) fn lifetime(kind: PrincipalKind) -> Duration {
    match kind {
        PrincipalKind::User => USER_LIFETIME,
        PrincipalKind::Server => SERVER_LIFETIME,
        PrincipalKind::Service => SERVICE_LIFETIME,
    }
}
