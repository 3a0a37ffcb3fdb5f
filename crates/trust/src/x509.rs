//! Reads certificates of our profile: whom a leaf names, which realm an authority serves, when each ends.
//! Nothing read here is believed before `path` has verified the chain.

use crate::error::ChainRefusal;
use crate::key::{PublicKey, sha256};
use crate::limits::MAX_CERTIFICATE_BYTES;
use terms::{Principal, PrincipalKind, RealmName, UnixMs};
use x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// When a certificate is valid: from `start` until just before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub start: UnixMs,
    pub end: UnixMs,
}

/// What a leaf says.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub principal: Principal,
    pub key: PublicKey,
    pub validity: Validity,
}

/// What the certificate of an authority says.
#[derive(Debug, Clone)]
pub(crate) struct AuthorityCertificate {
    pub realm: RealmName,
    pub key: PublicKey,
    pub validity: Validity,
    pub self_issued: bool,
}

fn malformed(why: impl std::fmt::Display) -> ChainRefusal {
    ChainRefusal::Malformed(why.to_string())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, ChainRefusal> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(malformed(format_args!(
            "it has {} bytes, at most {MAX_CERTIFICATE_BYTES} are read",
            der.len()
        )));
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(malformed("bytes stand behind its end")),
        Err(_) => Err(malformed("it is not X.509 in DER")),
    }
}

fn validity(certificate: &X509Certificate<'_>) -> Result<Validity, ChainRefusal> {
    let secs = |time: i64| u64::try_from(time).map_err(|_| malformed("its dates lie before 1970"));
    let (start, end) = (&certificate.validity().not_before, &certificate.validity().not_after);
    Ok(Validity {
        start: UnixMs::from_secs(secs(start.timestamp())?),
        end: UnixMs::from_secs(secs(end.timestamp())?),
    })
}

fn names<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a [GeneralName<'a>], ChainRefusal> {
    match certificate.subject_alternative_name() {
        Ok(Some(extension)) => Ok(&extension.value.general_names),
        Ok(None) => Err(ChainRefusal::Names("it carries no names".into())),
        Err(_) => Err(malformed("its names are there twice or cannot be read")),
    }
}

fn is_authority(certificate: &X509Certificate<'_>) -> Result<bool, ChainRefusal> {
    let constraints = certificate.basic_constraints().map_err(|_| malformed("its constraints are there twice"))?;
    let usage = certificate.key_usage().map_err(|_| malformed("its usages are there twice"))?;
    Ok(constraints.is_some_and(|found| found.value.ca) || usage.is_some_and(|found| found.value.key_cert_sign()))
}

fn key(certificate: &X509Certificate<'_>) -> Result<PublicKey, ChainRefusal> {
    PublicKey::from_spki(certificate.public_key().raw).map_err(malformed)
}

/// Whether a leaf may be used for exactly what its kind is for: everybody asks, servers and services also answer.
fn check_usages(certificate: &X509Certificate<'_>, principal: &Principal) -> Result<(), ChainRefusal> {
    let refuse = |rule: &str| Err(ChainRefusal::Rule { principal: principal.clone(), rule: rule.into() });
    let extension = certificate.extended_key_usage();
    let Some(extension) = extension.map_err(|_| malformed("its extended usages are there twice"))? else {
        return refuse("it does not say what it is used for");
    };
    let found = extension.value;
    let beyond = found.any
        || found.code_signing
        || found.email_protection
        || found.time_stamping
        || found.ocsp_signing
        || !found.other.is_empty();
    if beyond || !found.client_auth || found.server_auth != answers(principal.kind) {
        return refuse("it is not for exactly what its kind is used for");
    }
    Ok(())
}

/// Whether principals of this kind answer connections, and do not only ask.
pub(crate) fn answers(kind: PrincipalKind) -> bool {
    match kind {
        PrincipalKind::User => false,
        PrincipalKind::Server | PrincipalKind::Service => true,
    }
}

/// When this certificate of an authority on the way to a root is valid. One that restricts the usages of what is below it
/// is none of ours, and is refused.
pub(crate) fn read_intermediate(der: &[u8]) -> Result<Validity, ChainRefusal> {
    let certificate = parse(der)?;
    match certificate.extended_key_usage() {
        Ok(None) => validity(&certificate),
        _ => Err(malformed("the certificate of an authority names extended usages")),
    }
}

/// When this certificate is valid.
pub(crate) fn read_validity(der: &[u8]) -> Result<Validity, ChainRefusal> {
    validity(&parse(der)?)
}

/// Whether this key signed this certificate, with the one algorithm that we use.
pub(crate) fn is_signed_by(der: &[u8], issuer: &PublicKey) -> bool {
    parse(der).is_ok_and(|certificate| {
        certificate.signature_algorithm.algorithm == OID_SIG_ECDSA_WITH_SHA256
            && issuer.verify_der(certificate.tbs_certificate.as_ref(), &certificate.signature_value.data)
    })
}

/// SHA-256 of what the issuer signed: a certificate's name that does not change with its signature.
pub(crate) fn content_hash(der: &[u8]) -> Result<[u8; 32], ChainRefusal> {
    Ok(sha256(parse(der)?.tbs_certificate.as_ref()))
}

/// Whose certificate this is: exactly one SPIFFE id, its DNS twin byte for byte, no other name, and the usages of its kind.
pub(crate) fn read_leaf(der: &[u8]) -> Result<Leaf, ChainRefusal> {
    let certificate = parse(der)?;
    if is_authority(&certificate)? {
        return Err(ChainRefusal::AuthorityAsLeaf);
    }
    let (uri, dns) = match names(&certificate)? {
        [GeneralName::URI(uri), GeneralName::DNSName(dns)] | [GeneralName::DNSName(dns), GeneralName::URI(uri)] => {
            (*uri, *dns)
        }
        other => return Err(ChainRefusal::Names(format!("it carries {} names of some kinds", other.len()))),
    };
    let principal: Principal =
        uri.parse().map_err(|error: terms::NameError| ChainRefusal::Names(error.to_string()))?;
    if dns != principal.dns_twin() {
        return Err(ChainRefusal::Names(format!("'{}' is not the twin of {principal}", dns.escape_default())));
    }
    check_usages(&certificate, &principal)?;
    Ok(Leaf { principal, key: key(&certificate)?, validity: validity(&certificate)? })
}

/// Which realm this authority serves; `self_issued` is what makes a certificate a root.
pub(crate) fn read_authority(der: &[u8]) -> Result<AuthorityCertificate, ChainRefusal> {
    let certificate = parse(der)?;
    if !is_authority(&certificate)? {
        return Err(malformed("it does not belong to an authority"));
    }
    let realm = match names(&certificate)? {
        [GeneralName::DNSName(dns)] => RealmName::new(dns).map_err(malformed)?,
        _ => return Err(ChainRefusal::Names("an authority's certificate names exactly its realm".into())),
    };
    Ok(AuthorityCertificate {
        realm,
        key: key(&certificate)?,
        validity: validity(&certificate)?,
        self_issued: certificate.issuer().as_raw() == certificate.subject().as_raw(),
    })
}
