//! Messages by which a member asks for its next certificate.

use serde::{Deserialize, Serialize};
use terms::Principal;
use trust::{PublicKey, RenewalId};

/// What the proof of a renewal's key signs: this, the principal, the id, the key.
pub const RENEW_PROOF: &[u8] = b"webos-renew-v1";
/// What the proof of an ended certificate's key signs: this, the connection's binding, the id, the key.
pub const GRACE_PROOF: &[u8] = b"webos-renew-grace-v1";

/// Asks for the next certificate of whoever asks.
#[derive(Clone, Serialize, Deserialize)]
pub struct RenewRequest {
    /// Stored by the sender before it was sent: the same id gets the same certificate.
    pub id: RenewalId,
    /// The key to certify: the present one, or a new one.
    pub key: PublicKey,
    /// [`RENEW_PROOF`] and what belongs to it, signed with that key.
    #[serde(with = "serde_bytes")]
    pub proof: Vec<u8>,
    /// In the time of grace, when TLS shows no certificate.
    #[serde(default)]
    pub grace: Option<GraceProof>,
}

/// Proves that the sender holds the key of a certificate that has ended.
#[derive(Clone, Serialize, Deserialize)]
pub struct GraceProof {
    /// The ended certificate, and what it stood under.
    pub chain: Vec<serde_bytes::ByteBuf>,
    /// [`GRACE_PROOF`] and what belongs to it, signed with its key.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// What the proof of a renewal's key signs.
pub fn renew_proof(principal: &Principal, id: RenewalId, key: &PublicKey) -> Vec<u8> {
    [RENEW_PROOF, principal.to_string().as_bytes(), &id.0, key.spki()].concat()
}

/// What the proof of an ended certificate's key signs.
pub fn grace_proof(binding: &wire::Binding, id: RenewalId, key: &PublicKey) -> Vec<u8> {
    [GRACE_PROOF, &binding.0, &id.0, key.spki()].concat()
}

/// The next certificate.
#[derive(Clone, Serialize, Deserialize)]
pub struct RenewReply {
    /// Leaf, issuing certificate, root, in DER.
    pub chain: Vec<serde_bytes::ByteBuf>,
}
