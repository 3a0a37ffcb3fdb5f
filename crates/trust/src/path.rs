//! Builds and verifies certificate paths with webpki: to the pinned roots of one realm, at a time that the
//! caller gives, with the allowance for clocks that are apart.

use crate::error::ChainRefusal;
use crate::limits::{CLOCK_SKEW, MAX_CHAIN_CERTIFICATES};
use crate::x509::{self, Leaf, Validity};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::time::Duration;
use terms::UnixMs;
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

/// A path to a root that was verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    /// When the last of the certificates shown begins, without allowance.
    pub from: UnixMs,
    /// When the first certificate on the path ends, without allowance.
    pub end: UnixMs,
}

/// What is looked at from every anchor.
struct Shown<'a> {
    leaf: &'a Leaf,
    der: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    validities: Vec<Validity>,
    now: UnixMs,
}

/// Verifies that `leaf` stands under one of the anchors now. What it may be used for was read with it; here it only has to
/// be something that asks, which everybody is.
pub(crate) fn verify(
    leaf: &Leaf,
    der: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[Anchor],
    now: UnixMs,
) -> Result<Path, ChainRefusal> {
    if intermediates.len() >= MAX_CHAIN_CERTIFICATES {
        let why = format!(
            "the chain has {} certificates, at most {MAX_CHAIN_CERTIFICATES} are read",
            intermediates.len() + 1
        );
        return Err(ChainRefusal::Malformed(why));
    }
    // Bounded and readable, all of them, before any signature work.
    let validities = intermediates.iter().map(|certificate| x509::read_intermediate(certificate));
    let validities = validities.collect::<Result<Vec<_>, _>>()?;
    let from = validities.iter().fold(leaf.validity.start, |from, validity| from.max(validity.start));
    let shown = Shown { leaf, der, intermediates, validities, now };
    let mut refusal = ChainRefusal::NotIssuedByRealm { principal: leaf.principal.clone() };
    for anchor in anchors {
        match shown.verify_to(anchor) {
            Ok(end) => return Ok(Path { from, end }),
            // The root that issued the chain says why; the others only say that they did not.
            Err(ChainRefusal::NotIssuedByRealm { .. }) => {}
            Err(reason) => refusal = reason,
        }
    }
    Err(refusal)
}

impl Shown<'_> {
    /// When the path to this anchor ends.
    fn verify_to(&self, anchor: &Anchor) -> Result<UnixMs, ChainRefusal> {
        let (leaf, now) = (self.leaf, self.now);
        let end = self.path_end(anchor)?.min(anchor.validity.end);
        // Path building does not look at the root's own dates, which it was told to trust, and counts whole seconds: with it
        // a certificate would be good for its last second, and for nothing that is decided by its end.
        if now >= end.plus(CLOCK_SKEW) {
            return Err(ChainRefusal::Expired { principal: leaf.principal.clone(), end, now });
        }
        if now.plus(CLOCK_SKEW) < anchor.validity.start {
            let start = anchor.validity.start;
            return Err(ChainRefusal::NotYetValid { principal: leaf.principal.clone(), start, now });
        }
        Ok(end)
    }

    /// Tries now, and what either clock may have meant: a little earlier, a little later.
    fn path_end(&self, anchor: &Anchor) -> Result<UnixMs, ChainRefusal> {
        let now = self.now;
        match self.path_end_at(anchor, now) {
            Err(Error::CertExpired { .. }) => self.path_end_at(anchor, now.minus(CLOCK_SKEW)),
            Err(Error::CertNotValidYet { .. }) => self.path_end_at(anchor, now.plus(CLOCK_SKEW)),
            other => other,
        }
        .map_err(|error| refusal(self.leaf, now, &error))
    }

    fn path_end_at(&self, anchor: &Anchor, time: UnixMs) -> Result<UnixMs, Error> {
        let certificate = EndEntityCert::try_from(self.der)?;
        let path = certificate.verify_for_usage(
            &[webpki::aws_lc_rs::ECDSA_P256_SHA256],
            std::slice::from_ref(&anchor.trust),
            self.intermediates,
            UnixTime::since_unix_epoch(Duration::from_secs(time.secs())),
            KeyUsage::client_auth(),
            None,
            None,
        )?;
        path.intermediate_certificates().try_fold(self.leaf.validity.end, |end, on_path| {
            let der = on_path.der();
            let shown = self.intermediates.iter().zip(&self.validities).find(|(shown, _)| **shown == der);
            shown.map(|(_, validity)| end.min(validity.end)).ok_or(Error::BadDer)
        })
    }
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
