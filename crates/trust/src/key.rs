//! P-256 keys: made where they are used, written only to private files, named by the SHA-256 of their public
//! half. Signatures are never ids: ECDSA signatures can be altered without becoming invalid.

use crate::TrustError;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    ParsedPublicKey, UnparsedPublicKey,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::sync::Arc;
use terms::Thumbprint;
use zeroize::Zeroizing;

/// What stands before the point in the SubjectPublicKeyInfo of every P-256 key (RFC 5480).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// An uncompressed P-256 point.
const POINT_BYTES: usize = 65;

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// The public half of a P-256 key, as SubjectPublicKeyInfo in DER. A value is always a point on the curve.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; SPKI_PREFIX.len() + POINT_BYTES]);

impl PublicKey {
    /// Reads the one encoding of a P-256 key that we accept: named curve, uncompressed point, nothing behind.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] for anything else, also for a point that is not on the curve.
    pub fn from_spki(der: &[u8]) -> Result<Self, TrustError> {
        let refuse = |why| TrustError::malformed("the public key", why);
        let bytes: [u8; _] = der.try_into().map_err(|_| refuse("it is not a P-256 key in its usual form"))?;
        let key = Self(bytes);
        if !key.0.starts_with(&SPKI_PREFIX) || key.point()[0] != 0x04 {
            return Err(refuse("it is not a P-256 key in its usual form"));
        }
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point())
            .map_err(|_| refuse("its point is not on the curve"))?;
        Ok(key)
    }

    fn point(&self) -> &[u8] {
        &self.0[SPKI_PREFIX.len()..]
    }

    /// SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> &[u8] {
        &self.0
    }

    /// The key's name: SHA-256 of its SubjectPublicKeyInfo.
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint(sha256(&self.0))
    }

    /// Whether this key signed this message; the signature is r and s, 32 bytes each.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.point()).verify(message, signature).is_ok()
    }
}

impl PublicKey {
    /// The same of a signature as X.509 carries it: in DER.
    pub(crate) fn verify_der(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.point()).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.thumbprint())
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::Bytes::new(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        Self::from_spki(&bytes).map_err(de::Error::custom)
    }
}

struct Inner {
    pkcs8: Zeroizing<Vec<u8>>,
    signer: EcdsaKeyPair,
    public: PublicKey,
}

/// A P-256 key pair. Clones share one copy of the secret, which is wiped when the last one goes.
#[derive(Clone)]
pub struct KeyPair(Arc<Inner>);

impl KeyPair {
    /// Makes a new key from the system's entropy: the cryptographic library takes no other.
    ///
    /// # Errors
    /// [`TrustError::Crypto`] if the library cannot make one.
    pub fn generate() -> Result<Self, TrustError> {
        let failed = |_| TrustError::Crypto { action: "make a key", why: "the library refused".into() };
        let signer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
        let pkcs8 = Zeroizing::new(signer.to_pkcs8v1().map_err(failed)?.as_ref().to_vec());
        Self::from_parts(signer, pkcs8)
    }

    fn from_parts(signer: EcdsaKeyPair, pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, TrustError> {
        let mut spki = SPKI_PREFIX.to_vec();
        spki.extend_from_slice(signer.public_key().as_ref());
        let public = PublicKey::from_spki(&spki)?;
        Ok(Self(Arc::new(Inner { pkcs8, signer, public })))
    }

    /// Reads the first private key (PKCS #8) of a PEM text.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] if there is none, or it is not a P-256 key. The text is never quoted.
    pub fn from_pem(pem: &str) -> Result<Self, TrustError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| TrustError::malformed("the private key", "there is no PKCS #8 key in the text"))?;
        let pkcs8 = Zeroizing::new(der.secret_pkcs8_der().to_vec());
        let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8)
            .map_err(|_| TrustError::malformed("the private key", "it is not a P-256 key"))?;
        Self::from_parts(signer, pkcs8)
    }

    /// The private key as PEM, wiped when dropped. For private files only.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem("PRIVATE KEY", &self.0.pkcs8))
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.0.public
    }

    /// The name of the public half.
    pub fn thumbprint(&self) -> Thumbprint {
        self.0.public.thumbprint()
    }

    /// Signs: ECDSA with SHA-256, r and s of 32 bytes each.
    ///
    /// # Errors
    /// [`TrustError::Crypto`] if the library cannot sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TrustError> {
        let signature = self.0.signer.sign(&SystemRandom::new(), message);
        signature
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| TrustError::Crypto { action: "sign", why: "the library refused".into() })
    }

    /// The key for a TLS stack.
    pub fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.pkcs8.to_vec()))
    }

    pub(crate) fn for_issuing(&self) -> Result<rcgen::KeyPair, TrustError> {
        let der = PrivatePkcs8KeyDer::from(self.0.pkcs8.as_slice());
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|error| TrustError::Crypto { action: "use the key for issuing", why: error.to_string() })
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.thumbprint())
    }
}

/// PEM (RFC 7468): base64 in lines of 64 characters between two marks.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(der));
    let mut text = String::with_capacity(encoded.len() + encoded.len() / 64 + 2 * label.len() + 40);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_round_trips_through_pem_and_signs() {
        let key = KeyPair::generate().expect("a key");
        let same = KeyPair::from_pem(&key.to_pem()).expect("our own PEM");
        assert_eq!(same.public(), key.public());
        let signature = same.sign(b"message").expect("signed");
        assert_eq!(signature.len(), 64);
        assert!(key.public().verify(b"message", &signature));
        assert!(!key.public().verify(b"massage", &signature));
        assert!(!KeyPair::generate().expect("a key").public().verify(b"message", &signature));
    }

    #[test]
    fn only_one_encoding_of_a_public_key_is_read() {
        let key = KeyPair::generate().expect("a key").public().clone();
        let good = key.spki().to_vec();
        assert_eq!(PublicKey::from_spki(&good).expect("ours"), key);
        let altered = |index: usize, by: u8| {
            let mut bytes = good.clone();
            bytes[index] ^= by;
            bytes
        };
        for (name, bytes) in [
            ("empty", vec![]),
            ("short", good[..90].to_vec()),
            ("trailing", [good.as_slice(), &[0]].concat()),
            ("another curve", altered(22, 1)),
            ("off the curve", altered(90, 1)),
            ("a compressed mark", altered(26, 6)),
        ] {
            assert!(PublicKey::from_spki(&bytes).is_err(), "{name}");
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug_texts_or_errors() {
        let key = KeyPair::generate().expect("a key");
        assert_eq!(format!("{key:?}"), format!("KeyPair({})", key.thumbprint()));
        let error = KeyPair::from_pem("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
        assert!(!error.expect_err("not a key").to_string().contains("c2VjcmV0"));
    }
}
