//! A realm's authority: its root and its issuing certificate, and the profile of every certificate they sign.
//! It holds keys and never decides who deserves a name; it reads no clock.

use crate::bundle::{Bundle, NameServer};
use crate::error::TrustError;
use crate::files::{read_private, write_private};
use crate::identity::Identity;
use crate::key::{KeyPair, PublicKey, pem, sha256};
use crate::limits::{
    CLOCK_SKEW, ISSUING_LIFETIME, MAX_KEY_FILE_BYTES, ROOT_LIFETIME, SERVER_LIFETIME, SERVICE_LIFETIME,
    USER_LIFETIME,
};
use crate::x509;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyUsagePurpose, NameConstraints, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;
use std::time::Duration;
use terms::{Epoch, Principal, PrincipalKind, RealmName, UnixMs};

const ROOT_FILE: &str = "root.pem";
const ISSUING_FILE: &str = "issuing.pem";

/// A certificate of the authority and the key it certifies.
#[derive(Debug, Clone)]
struct Held {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// The authority of one realm.
#[derive(Debug, Clone)]
pub struct Authority {
    realm: RealmName,
    root: Held,
    issuing: Held,
}

impl Authority {
    /// Makes a realm: a new root and its first issuing certificate, valid from now.
    ///
    /// # Errors
    /// [`TrustError::Crypto`] if the library fails.
    pub fn create(realm: RealmName, world: &world::World) -> Result<Self, TrustError> {
        let now = world.clock.unix();
        let (root_key, issuing_key) = (KeyPair::generate()?, KeyPair::generate()?);
        let params = authority_params(&realm, "root", root_key.public(), 1, now, now.plus(ROOT_LIFETIME))?;
        let certificate = params.self_signed(&root_key.for_issuing()?).map_err(issuing_failed)?;
        let root = Held { certificate: certificate.der().clone(), key: root_key };
        let issuing = issue_authority(&realm, &root, issuing_key, now)?;
        Ok(Self { realm, root, issuing })
    }

    /// Reads an authority from its folder.
    ///
    /// # Errors
    /// [`TrustError::Exposed`] if others can read its keys; [`TrustError::Damaged`] if keys, certificates
    /// and realm do not belong together.
    pub fn load(folder: &Path) -> Result<Self, TrustError> {
        let load = |name: &str| {
            let file = folder.join(name);
            load_held(&file).map_err(|error| error.in_file(&file, DAMAGED))
        };
        let ((realm, root), (same, issuing)) = (load(ROOT_FILE)?, load(ISSUING_FILE)?);
        if realm != same {
            let error = TrustError::malformed("the authority", "its two certificates are of different realms");
            return Err(error.in_file(folder, DAMAGED));
        }
        Ok(Self { realm, root, issuing })
    }

    /// Writes the authority to a folder: mode 0700, files 0600, each replaced atomically.
    ///
    /// # Errors
    /// [`TrustError::Io`].
    pub fn save(&self, folder: &Path) -> Result<(), TrustError> {
        save_held(&folder.join(ROOT_FILE), &self.root)?;
        save_held(&folder.join(ISSUING_FILE), &self.issuing)
    }

    /// The realm.
    pub fn realm(&self) -> &RealmName {
        &self.realm
    }

    /// SHA-256 of the root certificate: what people compare.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.root.certificate)
    }

    /// When the issuing certificate ends.
    ///
    /// # Errors
    /// Never for an authority that was created or loaded here.
    pub fn issuing_end(&self) -> Result<UnixMs, TrustError> {
        Ok(x509::read_validity(&self.issuing.certificate)?.end)
    }

    /// Re-issues the issuing certificate, for the same key, once half of its time is over. Answers whether it
    /// did; the caller then saves the authority and re-issues what stands under it.
    ///
    /// # Errors
    /// [`TrustError::AuthorityEnded`] if the root itself has ended.
    pub fn renew(&mut self, now: UnixMs) -> Result<bool, TrustError> {
        if now >= x509::read_validity(&self.root.certificate)?.end {
            return Err(TrustError::AuthorityEnded { which: "root", realm: self.realm.clone() });
        }
        if now < self.issuing_end()?.minus(ISSUING_LIFETIME / 2) {
            return Ok(false);
        }
        self.issuing = issue_authority(&self.realm, &self.root, self.issuing.key.clone(), now)?;
        Ok(true)
    }

    /// Certifies a key for a principal of this realm: leaf, issuing certificate, root. The leaf never outlives
    /// the issuing certificate.
    ///
    /// # Errors
    /// [`TrustError::ForeignName`] for a principal of another realm, [`TrustError::AuthorityEnded`] if the
    /// issuing certificate has ended.
    pub fn issue(
        &self,
        principal: &Principal,
        key: &PublicKey,
        now: UnixMs,
    ) -> Result<Vec<CertificateDer<'static>>, TrustError> {
        if principal.realm != self.realm {
            let (realm, principal) = (self.realm.clone(), principal.clone());
            return Err(TrustError::ForeignName { realm, principal });
        }
        let issuing_end = self.issuing_end()?;
        if now >= issuing_end {
            return Err(TrustError::AuthorityEnded { which: "issuing", realm: self.realm.clone() });
        }
        let params = leaf_params(principal, key, now, issuing_end)?;
        let leaf = sign(&params, key, &self.issuing)?;
        Ok(vec![leaf, self.issuing.certificate.clone(), self.root.certificate.clone()])
    }

    /// An identity with its key: the one given, or a new one.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_identity(
        &self,
        principal: &Principal,
        key: Option<KeyPair>,
        now: UnixMs,
    ) -> Result<Identity, TrustError> {
        let key = key.map_or_else(KeyPair::generate, Ok)?;
        Identity::new(self.issue(principal, key.public(), now)?, key)
    }

    /// The realm's signed bundle.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] if a name server is of another realm, [`TrustError::TooLarge`] for too many.
    pub fn bundle(&self, name_servers: Vec<NameServer>, epoch: Epoch, now: UnixMs) -> Result<Vec<u8>, TrustError> {
        Bundle::sign(&self.root.certificate, &self.root.key, name_servers, epoch, now)
    }
}

/// What helps when a file of the authority is damaged.
const DAMAGED: &str = "restore it from a copy: without it nobody can join the realm, and no certificate is renewed";

fn load_held(path: &Path) -> Result<(RealmName, Held), TrustError> {
    let text = zeroize::Zeroizing::new(read_private(path, MAX_KEY_FILE_BYTES)?);
    let certificate = CertificateDer::from_pem_slice(&text)
        .map_err(|_| TrustError::malformed("the authority", "there is no certificate in its file"))?
        .into_owned();
    let text = std::str::from_utf8(&text).map_err(|error| TrustError::malformed("the authority", error))?;
    let key = KeyPair::from_pem(text)?;
    let read = x509::read_authority(&certificate)?;
    if &read.key != key.public() {
        return Err(TrustError::malformed("the authority", "its key does not belong to its certificate"));
    }
    Ok((read.realm, Held { certificate, key }))
}

fn save_held(path: &Path, held: &Held) -> Result<(), TrustError> {
    let mut text = zeroize::Zeroizing::new(pem("CERTIFICATE", &held.certificate));
    text.push_str(&held.key.to_pem());
    write_private(path, text.as_bytes())
}

fn issuing_failed(error: rcgen::Error) -> TrustError {
    TrustError::Crypto { action: "issue a certificate", why: error.to_string() }
}

fn issue_authority(realm: &RealmName, root: &Held, key: KeyPair, now: UnixMs) -> Result<Held, TrustError> {
    let root_end = x509::read_validity(&root.certificate)?.end;
    let end = now.plus(ISSUING_LIFETIME).min(root_end);
    let params = authority_params(realm, "issuing", key.public(), 0, now, end)?;
    let certificate = sign(&params, key.public(), root)?;
    Ok(Held { certificate, key })
}

fn sign(params: &CertificateParams, key: &PublicKey, issuer: &Held) -> Result<CertificateDer<'static>, TrustError> {
    let issuer =
        Issuer::from_ca_cert_der(&issuer.certificate, issuer.key.for_issuing()?).map_err(issuing_failed)?;
    let certified = SubjectPublicKeyInfo::from_der(key.spki()).map_err(issuing_failed)?;
    debug_assert_eq!(certified.algorithm(), &rcgen::PKCS_ECDSA_P256_SHA256);
    Ok(params.signed_by(&certified, &issuer).map_err(issuing_failed)?.der().clone())
}

/// What all certificates share: dates in whole seconds, backdated by the allowance for clocks that are apart
/// (also for foreign TLS stacks), and a serial that differs whenever subject, key or time do.
fn base_params(common_name: &str, key: &PublicKey, now: UnixMs, end: UnixMs) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now.minus(CLOCK_SKEW).secs());
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(end.secs());
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "WebOS");
    params.distinguished_name.push(DnType::CommonName, common_name);
    let mut hash = blake3::Hasher::new_derive_key("webos certificate serial v1");
    hash.update(key.spki()).update(&now.0.to_le_bytes()).update(common_name.as_bytes());
    let mut serial = [0u8; 16];
    hash.finalize_xof().fill(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x40; // positive, and of one length
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.use_authority_key_identifier_extension = true;
    params
}

fn dns(name: String) -> Result<SanType, TrustError> {
    Ok(SanType::DnsName(name.try_into().map_err(issuing_failed)?))
}

fn authority_params(
    realm: &RealmName,
    role: &str,
    key: &PublicKey,
    below: u8,
    now: UnixMs,
    end: UnixMs,
) -> Result<CertificateParams, TrustError> {
    let mut params = base_params(&format!("{role} authority"), key, now, end);
    params.distinguished_name.push(DnType::OrganizationalUnitName, realm.as_str());
    params.subject_alt_names = vec![dns(realm.to_string())?];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(realm.to_string())],
        excluded_subtrees: Vec::new(),
    });
    Ok(params)
}

fn leaf_params(
    principal: &Principal,
    key: &PublicKey,
    now: UnixMs,
    issuing_end: UnixMs,
) -> Result<CertificateParams, TrustError> {
    let (lifetime, usages) = match principal.kind {
        PrincipalKind::User => (USER_LIFETIME, vec![ExtendedKeyUsagePurpose::ClientAuth]),
        PrincipalKind::Server => (SERVER_LIFETIME, both()),
        PrincipalKind::Service => (SERVICE_LIFETIME, both()),
    };
    let mut params = base_params(principal.name.as_str(), key, now, now.plus(lifetime).min(issuing_end));
    let uri = SanType::URI(principal.to_string().try_into().map_err(issuing_failed)?);
    params.subject_alt_names = vec![uri, dns(principal.dns_twin())?];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages;
    Ok(params)
}

fn both() -> Vec<ExtendedKeyUsagePurpose> {
    vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth]
}
