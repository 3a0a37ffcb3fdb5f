//! Builds and verifies certificate paths with webpki: to the pinned roots of one realm, at a time that the
//! caller gives, with the allowance for clocks that are apart.

use crate::error::ChainRefusal;
use crate::limits::{CLOCK_SKEW, MAX_CHAIN_CERTIFICATES};
use crate::x509::{self, Leaf, Validity};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::time::Duration;
use terms::{PrincipalKind, UnixMs};
use webpki::{EndEntityCert, Error, KeyUsage};

/// A pinned root, ready for path building.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    trust: TrustAnchor<'static>,
    validity: Validity,
}

impl Anchor {
    /// A root as an anchor. Whether it deserves trust is decided by who calls.
    pub fn new(root: &CertificateDer<'_>) -> Result<Self, ChainRefusal> {
        let trust = webpki::anchor_from_trusted_cert(root)
            .map_err(|error| ChainRefusal::Malformed(error.to_string()))?
            .to_owned();
        Ok(Self { trust, validity: x509::read_validity(root)? })
    }
}

/// What a leaf may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    Client,
    Server,
}

impl Usage {
    fn webpki(self) -> KeyUsage {
        match self {
            Self::Client => KeyUsage::client_auth(),
            Self::Server => KeyUsage::server_auth(),
        }
    }

    /// What a leaf of this kind must be good for: everybody asks, servers and services also answer.
    pub fn of(kind: PrincipalKind) -> &'static [Self] {
        match kind {
            PrincipalKind::User => &[Self::Client],
            PrincipalKind::Server | PrincipalKind::Service => &[Self::Client, Self::Server],
        }
    }
}

/// Verifies that `leaf` stands under one of the anchors now, for every usage given; answers when the path ends.
pub(crate) fn verify(
    leaf: &Leaf,
    der: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[Anchor],
    usages: &[Usage],
    now: UnixMs,
) -> Result<UnixMs, ChainRefusal> {
    if intermediates.len() >= MAX_CHAIN_CERTIFICATES {
        let why = format!(
            "the chain has {} certificates, at most {MAX_CHAIN_CERTIFICATES} are read",
            intermediates.len() + 1
        );
        return Err(ChainRefusal::Malformed(why));
    }
    for certificate in intermediates {
        x509::read_validity(certificate)?; // bounded and readable, all of them, before any signature work
    }
    let mut refusal = ChainRefusal::NotIssuedByRealm { principal: leaf.principal.clone() };
    for anchor in anchors {
        match verify_to(leaf, der, intermediates, anchor, usages, now) {
            Ok(end) => return Ok(end),
            // The root that issued the chain says why; the others only say that they did not.
            Err(ChainRefusal::NotIssuedByRealm { .. }) => {}
            Err(reason) => refusal = reason,
        }
    }
    Err(refusal)
}

fn verify_to(
    leaf: &Leaf,
    der: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchor: &Anchor,
    usages: &[Usage],
    now: UnixMs,
) -> Result<UnixMs, ChainRefusal> {
    let mut end = anchor.validity.end;
    for usage in usages {
        end = end.min(path_end(leaf, der, intermediates, anchor, *usage, now)?);
    }
    // Path building does not look at the root's own dates: it was told to trust it.
    let root_end = anchor.validity.end;
    if now >= root_end.plus(CLOCK_SKEW) {
        return Err(ChainRefusal::Expired { principal: leaf.principal.clone(), end: root_end, now });
    }
    if now.plus(CLOCK_SKEW) < anchor.validity.start {
        let start = anchor.validity.start;
        return Err(ChainRefusal::NotYetValid { principal: leaf.principal.clone(), start, now });
    }
    Ok(end)
}

/// Tries now, and what either clock may have meant: a little earlier, a little later.
fn path_end(
    leaf: &Leaf,
    der: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchor: &Anchor,
    usage: Usage,
    now: UnixMs,
) -> Result<UnixMs, ChainRefusal> {
    let at = |time| path_end_at(leaf, der, intermediates, anchor, usage, time);
    match at(now) {
        Err(Error::CertExpired { .. }) => at(now.minus(CLOCK_SKEW)),
        Err(Error::CertNotValidYet { .. }) => at(now.plus(CLOCK_SKEW)),
        other => other,
    }
    .map_err(|error| refusal(leaf, now, &error))
}

fn path_end_at(
    leaf: &Leaf,
    der: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchor: &Anchor,
    usage: Usage,
    time: UnixMs,
) -> Result<UnixMs, Error> {
    let certificate = EndEntityCert::try_from(der)?;
    let path = certificate.verify_for_usage(
        &[webpki::aws_lc_rs::ECDSA_P256_SHA256],
        std::slice::from_ref(&anchor.trust),
        intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(time.secs())),
        usage.webpki(),
        None,
        None,
    )?;
    path.intermediate_certificates().try_fold(leaf.validity.end, |end, certificate| {
        let validity = x509::read_validity(&certificate.der()).map_err(|_| Error::BadDer)?;
        Ok(end.min(validity.end))
    })
}

fn refusal(leaf: &Leaf, now: UnixMs, error: &Error) -> ChainRefusal {
    let principal = leaf.principal.clone();
    match error {
        Error::CertExpired { not_after, .. } => {
            ChainRefusal::Expired { principal, end: UnixMs::from_secs(not_after.as_secs()), now }
        }
        Error::CertNotValidYet { not_before, .. } => {
            ChainRefusal::NotYetValid { principal, start: UnixMs::from_secs(not_before.as_secs()), now }
        }
        // A path to another authority of the same name fails at the signature.
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => ChainRefusal::NotIssuedByRealm { principal },
        Error::CaUsedAsEndEntity => ChainRefusal::AuthorityAsLeaf,
        other => ChainRefusal::Rule { principal, rule: format!("{other:?}") },
    }
}
