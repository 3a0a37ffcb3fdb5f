//! The root of a realm with its key: needed to make issuing certificates and to name a successor, for nothing else.
//! Its file can lie on another medium, under a passphrase.

use crate::authority::{Held, authority_params, issuing_failed, sign};
use crate::bundle;
use crate::error::TrustError;
use crate::files::{read_private, write_private};
use crate::key::{KeyPair, sha256};
use crate::limits::{ISSUING_LIFETIME, MAX_KEY_FILE_BYTES, ROOT_LIFETIME};
use crate::vault::{self, Passphrase};
use crate::x509;
use rustls_pki_types::CertificateDer;
use std::path::{Path, PathBuf};
use terms::{RealmName, UnixMs};
use zeroize::Zeroizing;

/// What helps when the root's file is damaged.
const DAMAGED: &str = "restore it from a copy: without it no issuing certificate can be made";

/// A root and its key.
#[derive(Debug, Clone)]
pub struct Root {
    realm: RealmName,
    held: Held,
}

impl Root {
    /// The file in an authority's folder when it lies under a passphrase.
    pub const SEALED_FILE: &'static str = "root.age";
    /// The file in an authority's folder when it does not.
    pub const PLAIN_FILE: &'static str = "root.key";

    /// Makes the root of a realm, valid from now.
    ///
    /// # Errors
    /// [`TrustError::Crypto`] if the library fails.
    pub fn create(realm: RealmName, now: UnixMs) -> Result<Self, TrustError> {
        let key = KeyPair::generate()?;
        let params = authority_params(&realm, "root", key.public(), 1, now, now.plus(ROOT_LIFETIME))?;
        let certificate = params.self_signed(&key.for_issuing()?).map_err(issuing_failed)?;
        Ok(Self { realm, held: Held { certificate: certificate.der().clone(), key } })
    }

    /// The root's file in an authority's folder, if it was not moved away.
    pub fn file_in(folder: &Path) -> Option<PathBuf> {
        // Before roots had files of their own, `root.pem` held the key too.
        let files = [Self::SEALED_FILE, Self::PLAIN_FILE].map(|name| folder.join(name));
        files.into_iter().find(|file| file.exists()).or_else(|| {
            let old = folder.join("root.pem");
            let text = read_private(&old, MAX_KEY_FILE_BYTES).map(Zeroizing::new).ok()?;
            text.windows(11).any(|bytes| bytes == b"PRIVATE KEY").then_some(old)
        })
    }

    /// Whether a passphrase is needed to open this file.
    ///
    /// # Errors
    /// [`TrustError::Io`], [`TrustError::Exposed`].
    pub fn is_sealed(file: &Path) -> Result<bool, TrustError> {
        Ok(vault::is_sealed(&Zeroizing::new(read_private(file, MAX_KEY_FILE_BYTES)?)))
    }

    /// Opens the root's file.
    ///
    /// # Errors
    /// [`TrustError::Passphrase`] if it is wrong or missing; [`TrustError::Damaged`]; [`TrustError::Exposed`].
    pub fn open(file: &Path, passphrase: Option<&Passphrase>) -> Result<Self, TrustError> {
        let mut text = Zeroizing::new(read_private(file, MAX_KEY_FILE_BYTES)?);
        if vault::is_sealed(&text) {
            text = vault::unseal(&text, passphrase.ok_or(TrustError::Passphrase)?)
                .map_err(|error| error.in_file(file, DAMAGED))?;
        }
        Self::read(&text).map_err(|error| error.in_file(file, DAMAGED))
    }

    fn read(text: &[u8]) -> Result<Self, TrustError> {
        let held = Held::read(text)?;
        let read = x509::read_authority(&held.certificate)?;
        if !read.self_issued {
            return Err(TrustError::malformed("the root", "its certificate is not a root's"));
        }
        Ok(Self { realm: read.realm, held })
    }

    /// Writes the root to a file (mode 0600), under a passphrase if there is one.
    ///
    /// # Errors
    /// [`TrustError::Io`], [`TrustError::Crypto`].
    pub fn save(&self, file: &Path, passphrase: Option<&Passphrase>) -> Result<(), TrustError> {
        let text = self.held.text();
        match passphrase {
            Some(passphrase) => write_private(file, &vault::seal(text.as_bytes(), passphrase)?),
            None => write_private(file, text.as_bytes()),
        }
    }

    /// The realm.
    pub fn realm(&self) -> &RealmName {
        &self.realm
    }

    /// SHA-256 of the certificate: what people compare.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.held.certificate)
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.held.certificate
    }

    /// A new issuing certificate with a new key; it never outlives the root.
    pub(crate) fn issue(&self, now: UnixMs) -> Result<Held, TrustError> {
        let root_end = x509::read_validity(self.certificate())?.end;
        if now >= root_end {
            return Err(TrustError::AuthorityEnded { which: "root", realm: self.realm.clone() });
        }
        let (key, end) = (KeyPair::generate()?, now.plus(ISSUING_LIFETIME).min(root_end));
        let params = authority_params(&self.realm, "issuing", key.public(), 0, now, end)?;
        let certificate = sign(&params, key.public(), &self.held)?;
        Ok(Held { certificate, key })
    }

    /// Names another root of the realm: whoever believes this one may believe that one.
    pub(crate) fn endorse(&self, other: &Self, kind: &'static str) -> Result<Vec<u8>, TrustError> {
        if other.realm != self.realm {
            return Err(TrustError::Rule(format!("a root of {} cannot name one of {}", self.realm, other.realm)));
        }
        bundle::endorse(&self.held.key, kind, other.certificate())
    }
}
