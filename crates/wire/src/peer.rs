//! Who is at the other end: what a certificate check must tell, and what a caller expects.

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::Arc;
use terms::{Principal, Problem, Thumbprint, UnixMs};

/// A certificate chain, leaf first, with the leaf's key.
pub struct Credentials {
    /// Leaf, issuing certificate, root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} certificates)", self.chain.len())
    }
}

/// The TLS exporter's value of one connection: what is signed over it cannot be replayed on another one. A request that
/// came with a body and without a certificate carries it among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding(pub [u8; 32]);

/// An authenticated peer: its chain was valid, in its own realm's pinned bundle, when the connection began.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its identity.
    pub principal: Principal,
    /// The key that it proved to hold.
    pub key: Thumbprint,
    /// When its own certificate was issued: a revocation ends what was issued before it.
    pub issued: UnixMs,
    /// When its chain ends; the connection is closed then.
    pub not_after: UnixMs,
    /// The chain as it came, leaf first.
    pub chain: Arc<[CertificateDer<'static>]>,
}

/// What can be said of a certificate without a pinned realm.
#[derive(Debug, Clone)]
pub struct Described {
    /// The leaf's key.
    pub key: Thumbprint,
    /// SHA-256 of the self-signed certificate at the end of the chain, if the chain verifies to one.
    pub root: Option<[u8; 32]>,
}

/// Reads and checks certificates. The only implementation that counts is `trust`'s.
pub trait PeerCheck: Send + Sync + 'static {
    /// Accepts a chain that ends in the pinned bundle of exactly the realm which its leaf names.
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixMs,
    ) -> Result<Peer, Problem>;

    /// Tells key and root of a chain whose realm need not be known.
    fn describe(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixMs,
    ) -> Result<Described, Problem>;
}

/// Whom a client expects at an address. Anybody else is refused before a byte of the request is sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expect {
    /// This principal, by a chain to its pinned realm.
    Principal(Principal),
    /// The holder of this key, named by a service certificate or a right to serve.
    Key(Thumbprint),
    /// A server of the realm with this root (SHA-256 of the certificate): first contact by invitation.
    Root([u8; 32]),
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(principal) => principal.fmt(f),
            Self::Key(key) => write!(f, "the holder of key {key}"),
            Self::Root(_) => f.write_str("a server of the inviting realm"),
        }
    }
}
