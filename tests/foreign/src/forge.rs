//! Puts keys and signatures into content that names them, and signs whatever it is given, however wrong.

use crate::scene::Scene;
use ciborium::Value;
use coset::{CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable, iana};
use rustls_pki_types::CertificateDer;
use trust::{Identity, KeyPair};

/// RFC 9360: an ordered bag of certificates, leaf first.
const X5CHAIN: i64 = 33;
/// No mark of ours is longer; longer byte strings are content.
const LONGEST_MARK: usize = 8;

/// The protected header that an identity's documents carry: its leaf and the issuing certificate.
pub fn certificates_header(identity: &Identity) -> Header {
    header_of(&identity.chain()[..2])
}

/// The header of what the realm's issuing certificate signs itself.
pub(crate) fn issuing_header(scene: &Scene) -> Header {
    header_of(&scene.above()[..1])
}

fn header_of(certificates: &[CertificateDer<'_>]) -> Header {
    let chain = certificates.iter().map(|der| Value::Bytes(der.to_vec())).collect();
    HeaderBuilder::new().algorithm(iana::Algorithm::ES256).value(X5CHAIN, Value::Array(chain)).build()
}

/// The header of documents that are signed with a key known by other means.
pub(crate) fn key_header(key: &KeyPair) -> Header {
    HeaderBuilder::new().algorithm(iana::Algorithm::ES256).key_id(key.thumbprint().0.to_vec()).build()
}

/// A COSE_Sign1 over these bytes, which need not be CBOR.
///
/// # Panics
/// If the library cannot sign.
pub fn seal(key: &KeyPair, header: Header, kind: &str, payload: Vec<u8>) -> Vec<u8> {
    let builder = CoseSign1Builder::new().protected(header).payload(payload);
    let signed = builder.create_signature(kind.as_bytes(), |message| key.sign(message).expect("signed"));
    signed.build().to_tagged_vec().expect("encoded")
}

/// One link with these claims, signed by this identity.
pub fn link(identity: &Identity, claims: &[u8]) -> Vec<u8> {
    seal(identity.key(), certificates_header(identity), "webos-transfer-v1", claims.to_vec())
}

/// The content with every mark replaced by what it stands for. Content without marks, or that is no CBOR, stays as it
/// is, byte for byte.
pub fn filled(scene: &Scene, content: &[u8]) -> Vec<u8> {
    let Some(mut value) = decoded(content) else { return content.to_vec() };
    if fill(&mut value, &|mark| scene.mark(mark)) { cbor(&value) } else { content.to_vec() }
}

/// Replaces marks in place; answers whether there were any.
pub(crate) fn fill(value: &mut Value, meaning: &dyn Fn(&str) -> Option<Vec<u8>>) -> bool {
    match value {
        Value::Bytes(bytes) if bytes.first() == Some(&b'@') && bytes.len() <= LONGEST_MARK => {
            let found = std::str::from_utf8(bytes).ok().and_then(meaning);
            found.map(|meant| *bytes = meant).is_some()
        }
        Value::Array(items) => items.iter_mut().fold(false, |any, item| fill(item, meaning) | any),
        Value::Map(pairs) => pairs.iter_mut().fold(false, |any, (_, item)| fill(item, meaning) | any),
        Value::Tag(_, inner) => fill(inner, meaning),
        _ => false,
    }
}

/// A COSE_Sign1 from its description: the document's tag and parts, header and content as values rather than as
/// bytes, and for the signature the mark `@sign`, which Alice then makes.
pub(crate) fn described(scene: &Scene, kind: &str, description: &[u8]) -> Vec<u8> {
    let Some(mut value) = decoded(description) else { return description.to_vec() };
    fill(&mut value, &|mark| scene.mark(mark));
    if let Value::Tag(_, inner) = &mut value
        && let Value::Array(parts) = inner.as_mut()
        && let [protected, _, payload, signature] = parts.as_mut_slice()
    {
        if !payload.is_bytes() {
            *payload = Value::Bytes(cbor(payload));
        }
        let header = if protected.is_bytes() { protected.clone() } else { Value::Bytes(cbor(protected)) };
        if *signature == Value::Bytes(b"@sign".to_vec()) {
            let context = Value::Text("Signature1".into());
            let external = Value::Bytes(kind.as_bytes().to_vec());
            let message = cbor(&Value::Array(vec![context, header.clone(), external, payload.clone()]));
            let key = scene.identity("user/alice").key();
            *signature = Value::Bytes(key.sign(&message).expect("signed"));
        }
        *protected = header;
    }
    cbor(&value)
}

/// A certificate with this content (a TBSCertificate in DER, whatever it says), signed by the issuing key.
pub(crate) fn certificate(scene: &Scene, content: &[u8]) -> Vec<u8> {
    // ecdsa-with-SHA256 (RFC 5758).
    const ALGORITHM: [u8; 12] = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let signature = scene.issuing.sign(content).expect("signed");
    let (r, s) = signature.split_at(signature.len() / 2);
    let pair = der(0x30, &[integer(r), integer(s)].concat());
    let bits = der(0x03, &[vec![0], pair].concat());
    der(0x30, &[content, &ALGORITHM, &bits].concat())
}

/// The TBSCertificate within a certificate: the first element of its sequence.
pub(crate) fn signed_part(certificate: &[u8]) -> Option<&[u8]> {
    let inside = certificate.get(header_length(certificate)?..)?;
    let length = inside.get(2..4).map(|bytes| usize::from(bytes[0]) << 8 | usize::from(bytes[1]))?;
    inside.get(..4 + length)
}

fn header_length(element: &[u8]) -> Option<usize> {
    let first = *element.get(1)?;
    Some(if first < 0x80 { 2 } else { 2 + usize::from(first & 0x7f) })
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut element = vec![tag];
    if content.len() >= 0x80 {
        element.push(0x80 | u8::try_from(digits.len()).unwrap_or(0x7f));
    }
    element.extend_from_slice(digits);
    element.extend_from_slice(content);
    element
}

/// An unsigned number of big-endian bytes.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())..];
    let sign = if bytes.first().is_none_or(|byte| *byte >= 0x80) { &[0u8][..] } else { &[] };
    der(0x02, &[sign, bytes].concat())
}

pub(crate) fn decoded(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, 32).ok()?;
    rest.is_empty().then_some(value)
}

pub(crate) fn cbor(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("a value encodes");
    bytes
}
