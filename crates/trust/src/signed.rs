//! Signed documents: COSE_Sign1 with ES256, the kind of document as external data, the signer's certificate
//! chain (`x5chain`) or the key's thumbprint (`kid`) in the protected header, and nothing unprotected. No part
//! of the encoding is an id: whoever needs one takes it from the signed content.

use crate::codec::{check_size, decode, encode};
use crate::error::TrustError;
use crate::identity::Identity;
use crate::key::{KeyPair, PublicKey};
use crate::limits::{MAX_CHAIN_CERTIFICATES, MAX_DOCUMENT_BYTES};
use crate::store::{Certified, TrustStore};
use ciborium::Value;
use coset::{
    CoseSign1, CoseSign1Builder, Header, HeaderBuilder, ProtectedHeader, SignatureContext, TaggedCborSerializable,
    iana, sig_structure_data,
};
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use terms::{Principal, Thumbprint, UnixMs};

const WHAT: &str = "the signed document";
/// RFC 9360: an ordered bag of certificates, leaf first.
const X5CHAIN: i64 = iana::HeaderParameter::X5Chain as i64;

/// A document whose signature was verified, and whose signer's chain ends in the signer's pinned realm.
#[derive(Debug, Clone)]
pub struct Opened<T> {
    /// Who signed.
    pub signer: Principal,
    /// With which key.
    pub key: PublicKey,
    /// When the signer's chain ends.
    pub not_after: UnixMs,
    /// What was signed.
    pub value: T,
}

/// Signs a document as a principal; the certificates travel with it.
///
/// # Errors
/// [`TrustError::TooLarge`] if nobody would read it; [`TrustError::Crypto`].
pub fn sign<T: Serialize>(identity: &Identity, kind: &'static str, value: &T) -> Result<Vec<u8>, TrustError> {
    sign_bytes(identity, kind, encode(WHAT, value)?)
}

/// Signs content that is CBOR already.
pub(crate) fn sign_value(identity: &Identity, kind: &'static str, value: Value) -> Result<Vec<u8>, TrustError> {
    sign_bytes(identity, kind, encode(WHAT, &value)?)
}

fn sign_bytes(identity: &Identity, kind: &'static str, payload: Vec<u8>) -> Result<Vec<u8>, TrustError> {
    // The root stays at home: who verifies has it pinned, and who has not will not believe it.
    let chain = identity.chain();
    let travelling = chain.get(..chain.len().saturating_sub(1).max(1)).unwrap_or(chain);
    let certificates = travelling.iter().map(|der| Value::Bytes(der.to_vec())).collect();
    let header = HeaderBuilder::new().algorithm(iana::Algorithm::ES256);
    let header = header.value(X5CHAIN, Value::Array(certificates)).build();
    seal(identity.key(), header, kind, payload)
}

/// Signs a document with a key whose holder the reader knows by other means; only its thumbprint travels.
///
/// # Errors
/// As [`sign`].
pub fn sign_short<T: Serialize>(key: &KeyPair, kind: &'static str, value: &T) -> Result<Vec<u8>, TrustError> {
    let header = HeaderBuilder::new().algorithm(iana::Algorithm::ES256).key_id(key.thumbprint().0.to_vec());
    seal(key, header.build(), kind, encode(WHAT, value)?)
}

/// Opens a document that was signed by a principal of a trusted realm. Which principal may sign such a
/// document is the caller's to check.
///
/// # Errors
/// [`TrustError::TooLarge`] above 64 KiB, [`TrustError::Malformed`], [`TrustError::Chain`] and
/// [`TrustError::Signature`].
pub fn open<T: DeserializeOwned>(
    bytes: &[u8],
    kind: &'static str,
    store: &TrustStore,
    now: UnixMs,
) -> Result<Opened<T>, TrustError> {
    let (certified, payload) = open_certified(bytes, kind, store, now)?;
    Ok(Opened {
        signer: certified.principal,
        key: certified.key,
        not_after: certified.end,
        value: decode(WHAT, &payload, MAX_DOCUMENT_BYTES)?,
    })
}

/// Opens a document that was signed with exactly this key.
///
/// # Errors
/// [`TrustError::WrongKey`] if it names another one; otherwise as [`open`].
pub fn open_with<T: DeserializeOwned>(bytes: &[u8], kind: &'static str, key: &PublicKey) -> Result<T, TrustError> {
    let sealed = Sealed::parse(bytes)?;
    let (expected, found) = (key.thumbprint(), sealed.key_id()?);
    if expected != found {
        return Err(TrustError::WrongKey { kind: kind.into(), expected, found });
    }
    decode(WHAT, &sealed.verify(kind, key)?, MAX_DOCUMENT_BYTES)
}

/// The key that a document made by [`sign_short`] claims to be signed with. Nothing is verified: it serves to
/// choose the key for [`open_with`].
///
/// # Errors
/// [`TrustError::Malformed`] and [`TrustError::TooLarge`].
pub fn claimed_key(bytes: &[u8]) -> Result<Thumbprint, TrustError> {
    Sealed::parse(bytes)?.key_id()
}

/// Decodes without verifying, for people to read and to choose by.
pub(crate) fn peek<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, TrustError> {
    decode(WHAT, &Sealed::parse(bytes)?.payload, MAX_DOCUMENT_BYTES)
}

/// Signs a document with a key whose certificate travels with it.
pub(crate) fn sign_certified<T: Serialize>(
    certificate: &CertificateDer<'_>,
    key: &KeyPair,
    kind: &'static str,
    value: &T,
) -> Result<Vec<u8>, TrustError> {
    let header = HeaderBuilder::new().algorithm(iana::Algorithm::ES256);
    let header = header.value(X5CHAIN, Value::Array(vec![Value::Bytes(certificate.to_vec())])).build();
    seal(key, header, kind, encode(WHAT, value)?)
}

/// Opens a document that itself says with which key to verify it: `judge` is given the certificates and the content
/// before the signature is checked, and answers the key or a refusal.
pub(crate) fn open_judged<T: DeserializeOwned>(
    bytes: &[u8],
    kind: &'static str,
    judge: impl FnOnce(&[CertificateDer<'static>], &T) -> Result<PublicKey, TrustError>,
) -> Result<T, TrustError> {
    let sealed = Sealed::parse(bytes)?;
    let claimed: T = decode(WHAT, &sealed.payload, MAX_DOCUMENT_BYTES)?;
    let Signer::Chain(chain) = &sealed.signer else {
        return Err(TrustError::malformed(WHAT, "it carries no certificates"));
    };
    let key = judge(chain, &claimed)?;
    // The content that was judged is the one that was signed: both come from the same bytes.
    sealed.verify(kind, &key)?;
    Ok(claimed)
}

/// Verifies certificates and signature; answers the signer and the signed bytes.
pub(crate) fn open_certified(
    bytes: &[u8],
    kind: &'static str,
    store: &TrustStore,
    now: UnixMs,
) -> Result<(Certified, Vec<u8>), TrustError> {
    let sealed = Sealed::parse(bytes)?;
    let Signer::Chain(chain) = &sealed.signer else {
        return Err(TrustError::malformed(WHAT, "it carries no certificates"));
    };
    let (leaf, intermediates) =
        chain.split_first().ok_or_else(|| TrustError::malformed(WHAT, "it carries no certificates"))?;
    let certified = store.certify(leaf, intermediates, now)?;
    let payload = sealed.verify(kind, &certified.key)?;
    Ok((certified, payload))
}

fn seal(key: &KeyPair, header: Header, kind: &str, payload: Vec<u8>) -> Result<Vec<u8>, TrustError> {
    let sealed = CoseSign1Builder::new()
        .protected(header)
        .payload(payload)
        .try_create_signature(kind.as_bytes(), |message| key.sign(message))?
        .build();
    let bytes = sealed.to_tagged_vec().map_err(|error| TrustError::malformed(WHAT, error))?;
    check_size(WHAT, bytes.len(), MAX_DOCUMENT_BYTES)?;
    Ok(bytes)
}

/// Who a document says has signed it.
enum Signer {
    Chain(Vec<CertificateDer<'static>>),
    Key(Thumbprint),
}

/// A document that was parsed, not verified.
struct Sealed {
    protected: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
    signer: Signer,
}

impl Sealed {
    fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        let refuse = |why: &str| TrustError::malformed(WHAT, why);
        let value: Value = decode(WHAT, bytes, MAX_DOCUMENT_BYTES)?;
        let parts = match value {
            Value::Tag(CoseSign1::TAG, inner) => inner.into_array().ok().and_then(|parts| parts.try_into().ok()),
            _ => None,
        };
        let Some([protected, unprotected, payload, signature]): Option<[Value; 4]> = parts else {
            return Err(refuse("it is not a COSE_Sign1"));
        };
        if !unprotected.as_map().ok_or_else(|| refuse("it is not a COSE_Sign1"))?.is_empty() {
            return Err(refuse("its unprotected header is not empty"));
        }
        let protected = protected.into_bytes().map_err(|_| refuse("it has no protected header"))?;
        let payload = payload.into_bytes().map_err(|_| refuse("it has no content"))?;
        let signature = signature.into_bytes().map_err(|_| refuse("it has no signature"))?;
        let signer = read_signer(&protected)?;
        Ok(Self { protected, payload, signature, signer })
    }

    fn key_id(&self) -> Result<Thumbprint, TrustError> {
        match &self.signer {
            Signer::Key(key) => Ok(*key),
            Signer::Chain(_) => Err(TrustError::malformed(WHAT, "it names no key by its thumbprint")),
        }
    }

    fn verify(self, kind: &'static str, key: &PublicKey) -> Result<Vec<u8>, TrustError> {
        // The header is signed in the bytes in which it came.
        let header = ProtectedHeader { original_data: Some(self.protected), header: Header::default() };
        let message = sig_structure_data(SignatureContext::CoseSign1, header, None, kind.as_bytes(), &self.payload);
        match key.verify(&message, &self.signature) {
            true => Ok(self.payload),
            false => Err(TrustError::Signature { kind: kind.into() }),
        }
    }
}

/// Exactly an algorithm and one way to find the key. What else there may be in a header, we do not use. It is CBOR within
/// CBOR, and gets the same bound on its depth.
fn read_signer(protected: &[u8]) -> Result<Signer, TrustError> {
    const ALG: i64 = iana::HeaderParameter::Alg as i64;
    const KID: i64 = iana::HeaderParameter::Kid as i64;
    let refuse = |why: &str| TrustError::malformed(WHAT, why);
    let header: Value = decode("the protected header", protected, MAX_DOCUMENT_BYTES)?;
    let (mut algorithm, mut key_id, mut certificates) = (None, None, None);
    for (label, value) in header.into_map().map_err(|_| refuse("its protected header is not a map"))? {
        let place = match label.as_integer().and_then(|label| i64::try_from(label).ok()) {
            Some(ALG) => &mut algorithm,
            Some(KID) => &mut key_id,
            Some(X5CHAIN) => &mut certificates,
            _ => return Err(refuse("its header holds what we do not use")),
        };
        if place.replace(value).is_some() {
            return Err(refuse("its header says something twice"));
        }
    }
    if algorithm != Some(Value::from(iana::Algorithm::ES256 as i64)) {
        return Err(refuse("its algorithm is not ES256"));
    }
    match (key_id, certificates) {
        (Some(key_id), None) => {
            let key = key_id.as_bytes().and_then(|bytes| Thumbprint::from_slice(bytes));
            key.map(Signer::Key).ok_or_else(|| refuse("its key id is not a thumbprint"))
        }
        (None, Some(Value::Array(certificates))) => {
            check_size("the certificate chain", certificates.len(), MAX_CHAIN_CERTIFICATES)?;
            let der = |value: Value| value.into_bytes().map(CertificateDer::from);
            let chain: Result<Vec<_>, _> = certificates.into_iter().map(der).collect();
            chain.map(Signer::Chain).map_err(|_| refuse("its certificates are not bytes"))
        }
        _ => Err(refuse("it names neither certificates nor a key")),
    }
}
