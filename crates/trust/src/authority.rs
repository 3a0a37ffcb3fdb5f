//! A realm's authority: its issuing certificates, and the profile of every certificate that is signed.
//! It holds keys and never decides who deserves a name; it reads no clock.

use crate::bundle::{Bundle, Content, NameServer, PREDECESSOR, SUCCESSOR};
use crate::codec::{check_size, decode, encode};
use crate::error::TrustError;
use crate::files::{check_private_folder, read_private, write_private};
use crate::identity::{Identity, lifetime};
use crate::key::{KeyPair, PublicKey, pem, sha256};
use crate::limits::{CLOCK_SKEW, ISSUING_LIFETIME, MAX_DOCUMENT_BYTES, MAX_ISSUING, MAX_KEY_FILE_BYTES, MAX_ROOTS};
use crate::root::Root;
use crate::x509;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyUsagePurpose, NameConstraints, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_bytes::ByteBuf;
use std::path::Path;
use std::time::Duration;
use terms::{Epoch, Principal, PrincipalKind, RealmName, UnixMs};

const ROOTS_FILE: &str = "root.pem";
const EARLIER_FILE: &str = "issuing-earlier.pem";
const ENDORSEMENTS_FILE: &str = "successions";

/// A certificate of the authority and the key it certifies.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub certificate: CertificateDer<'static>,
    pub key: KeyPair,
}

impl Held {
    /// Reads a certificate and its key from PEM.
    pub fn read(text: &[u8]) -> Result<Self, TrustError> {
        let certificate = CertificateDer::from_pem_slice(text)
            .map_err(|_| TrustError::malformed("the authority", "there is no certificate in its file"))?
            .into_owned();
        let text = std::str::from_utf8(text).map_err(|error| TrustError::malformed("the authority", error))?;
        let key = KeyPair::from_pem(text)?;
        if &x509::read_authority(&certificate)?.key != key.public() {
            return Err(TrustError::malformed("the authority", "its key does not belong to its certificate"));
        }
        Ok(Self { certificate, key })
    }

    /// The same as PEM.
    pub fn text(&self) -> zeroize::Zeroizing<String> {
        let mut text = zeroize::Zeroizing::new(pem("CERTIFICATE", &self.certificate));
        text.push_str(&self.key.to_pem());
        text
    }
}

/// The authority of one realm as it works every day: the newest issuing certificate with its key. The roots are here
/// as certificates only; what needs a root's key takes a [`Root`].
#[derive(Debug, Clone)]
pub struct Authority {
    realm: RealmName,
    /// The newest root first.
    roots: Vec<CertificateDer<'static>>,
    /// By which the roots name each other.
    endorsements: Vec<ByteBuf>,
    issuing: Held,
    /// Which of the roots signed the issuing certificate.
    under: CertificateDer<'static>,
    /// Earlier issuing certificates that have not ended: what they signed is still good.
    earlier: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// The newest issuing certificate with its key, in an authority's folder: replaced last when anything changes.
    pub const ISSUING_FILE: &'static str = "issuing.pem";

    /// The authority of a new realm, with its first issuing certificate.
    ///
    /// # Errors
    /// [`TrustError::AuthorityEnded`] if the root has ended; [`TrustError::Crypto`].
    pub fn found(root: &Root, now: UnixMs) -> Result<Self, TrustError> {
        let (realm, certificate) = (root.realm().clone(), root.certificate().clone());
        let (issuing, under) = (root.issue(now)?, certificate.clone());
        Ok(Self { realm, roots: vec![certificate], endorsements: Vec::new(), issuing, under, earlier: Vec::new() })
    }

    /// The authority of a realm whose root's key is forgotten at once: it lasts as long as its issuing certificate.
    ///
    /// # Errors
    /// [`TrustError::Crypto`] if the library fails.
    pub fn create(realm: RealmName, world: &world::World) -> Result<Self, TrustError> {
        let now = world.clock.unix();
        Self::found(&Root::create(realm, now)?, now)
    }

    /// Reads an authority from its folder. No root's key is read, or needs to be there.
    ///
    /// # Errors
    /// [`TrustError::Exposed`] or [`TrustError::ExposedFolder`] if others have access to its keys or its folder;
    /// [`TrustError::Damaged`] if keys, certificates and realm do not belong together.
    pub fn load(folder: &Path) -> Result<Self, TrustError> {
        check_private_folder(folder)?;
        let (roots_file, issuing_file) = (folder.join(ROOTS_FILE), folder.join(Self::ISSUING_FILE));
        let text = zeroize::Zeroizing::new(read_private(&issuing_file, MAX_KEY_FILE_BYTES)?);
        let issuing = Held::read(&text).map_err(|error| error.in_file(&issuing_file, DAMAGED))?;
        let roots = read_certificates(&roots_file).map_err(|error| error.in_file(&roots_file, DAMAGED))?;
        if roots.is_empty() {
            let none = TrustError::malformed("the authority", "there is no certificate in its file");
            return Err(none.in_file(&roots_file, DAMAGED));
        }
        let optional = |name: &str| Some(folder.join(name)).filter(|file| file.exists());
        let earlier = optional(EARLIER_FILE).map_or(Ok(Vec::new()), |file| {
            read_certificates(&file).map_err(|error| error.in_file(&file, DAMAGED))
        })?;
        let endorsements = optional(ENDORSEMENTS_FILE).map_or(Ok(Vec::new()), |file| {
            let bytes = read_private(&file, MAX_DOCUMENT_BYTES)?;
            decode("the successions", &bytes, MAX_DOCUMENT_BYTES).map_err(|error| error.in_file(&file, DAMAGED))
        })?;
        let refuse = |why| TrustError::malformed("the authority", why).in_file(folder, DAMAGED);
        let realm = x509::read_authority(&issuing.certificate)?.realm;
        let signed = |root: &&CertificateDer<'static>| {
            x509::read_authority(root)
                .is_ok_and(|root| root.realm == realm && x509::is_signed_by(&issuing.certificate, &root.key))
        };
        let under = roots.iter().find(signed).cloned();
        let under = under.ok_or_else(|| refuse("its issuing certificate was not made by its root"))?;
        Ok(Self { realm, roots, endorsements, issuing, under, earlier })
    }

    /// Writes the authority to a folder: mode 0700, files 0600, each replaced atomically. A root's key is not
    /// among them: [`Root::save`] writes it where its owner wants it.
    ///
    /// # Errors
    /// [`TrustError::Io`].
    pub fn save(&self, folder: &Path) -> Result<(), TrustError> {
        let texts = |all: &[CertificateDer<'_>]| all.iter().map(|der| pem("CERTIFICATE", der)).collect::<String>();
        write_private(&folder.join(ROOTS_FILE), texts(&self.roots).as_bytes())?;
        write_private(&folder.join(ENDORSEMENTS_FILE), &encode("the successions", &self.endorsements)?)?;
        write_private(&folder.join(EARLIER_FILE), texts(&self.earlier).as_bytes())?;
        // Last: a cut before it leaves the issuing certificate that was in use, under a root that is still here.
        write_private(&folder.join(Self::ISSUING_FILE), self.issuing.text().as_bytes())
    }

    /// The realm.
    pub fn realm(&self) -> &RealmName {
        &self.realm
    }

    /// SHA-256 of the root certificate under which this authority issues: what people compare.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.under)
    }

    /// The realm's roots, the newest first.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The newest issuing certificate.
    pub fn issuing(&self) -> &CertificateDer<'static> {
        &self.issuing.certificate
    }

    /// When the newest issuing certificate ends.
    ///
    /// # Errors
    /// Never for an authority that was made or loaded here.
    pub fn issuing_end(&self) -> Result<UnixMs, TrustError> {
        Ok(x509::read_validity(&self.issuing.certificate)?.end)
    }

    /// When the earlier issuing certificates end.
    ///
    /// # Errors
    /// Never for an authority that was made or loaded here.
    pub fn earlier_ends(&self) -> Result<Vec<UnixMs>, TrustError> {
        self.earlier.iter().map(|certificate| Ok(x509::read_validity(certificate)?.end)).collect()
    }

    /// Each root's fingerprint and end, the newest first.
    ///
    /// # Errors
    /// Never for an authority that was made or loaded here.
    pub fn root_ends(&self) -> Result<Vec<([u8; 32], UnixMs)>, TrustError> {
        self.roots.iter().map(|root| Ok((sha256(root), x509::read_validity(root)?.end))).collect()
    }

    /// Whether half of the issuing certificate's time is over.
    ///
    /// # Errors
    /// Never for an authority that was made or loaded here.
    pub fn is_renewal_due(&self, now: UnixMs) -> Result<bool, TrustError> {
        Ok(now >= self.issuing_end()?.minus(ISSUING_LIFETIME / 2))
    }

    /// Makes the next issuing certificate, with a key of its own. The present one issues no more, and what it signed
    /// stays good until its end. The caller then saves the authority.
    ///
    /// # Errors
    /// [`TrustError::Rule`] if it is not the realm's newest root; [`TrustError::AuthorityEnded`] if that has ended;
    /// [`TrustError::TooLarge`] if too many issuing certificates are in force.
    pub fn renew(&mut self, root: &Root, now: UnixMs) -> Result<(), TrustError> {
        self.must_be_newest(root)?;
        let issuing = root.issue(now)?;
        let mut earlier = self.earlier.clone();
        earlier.insert(0, self.issuing.certificate.clone());
        earlier.retain(|certificate| x509::read_validity(certificate).is_ok_and(|validity| now < validity.end));
        check_size("the list of issuing certificates", earlier.len() + 1, MAX_ISSUING)?;
        (self.earlier, self.issuing, self.under) = (earlier, issuing, root.certificate().clone());
        Ok(())
    }

    /// Takes a new root beside the present one; each names the other. Issuing goes on under the present one until the
    /// next [`Authority::renew`], so that other realms can learn of the new one first.
    ///
    /// # Errors
    /// [`TrustError::Rule`] if `old` is not the realm's newest root, or `new` is of another realm;
    /// [`TrustError::TooLarge`] if too many roots are in force.
    pub fn succeed(&mut self, old: &Root, new: &Root, now: UnixMs) -> Result<(), TrustError> {
        self.must_be_newest(old)?;
        let mut roots = self.roots.clone();
        roots.retain(|root| x509::read_validity(root).is_ok_and(|validity| now < validity.end));
        roots.insert(0, new.certificate().clone());
        check_size("the list of roots", roots.len(), MAX_ROOTS)?;
        let (forth, back) = (old.endorse(new, SUCCESSOR)?, new.endorse(old, PREDECESSOR)?);
        self.endorsements.extend([ByteBuf::from(forth), ByteBuf::from(back)]);
        self.roots = roots;
        Ok(())
    }

    fn must_be_newest(&self, root: &Root) -> Result<(), TrustError> {
        if self.roots.first() == Some(root.certificate()) {
            return Ok(());
        }
        Err(TrustError::Rule(format!("this is not the newest root of {}", self.realm)))
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
        Ok(vec![leaf, self.issuing.certificate.clone(), self.under.clone()])
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

    /// The realm's bundle, signed with the issuing key. Roots that have ended are left out.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] if a name server is of another realm, [`TrustError::TooLarge`] for too many.
    pub fn bundle(&self, name_servers: Vec<NameServer>, epoch: Epoch, now: UnixMs) -> Result<Vec<u8>, TrustError> {
        let live = |root: &&CertificateDer<'static>| x509::read_validity(root).is_ok_and(|found| now < found.end);
        let roots = self.roots.iter().filter(live).map(|root| ByteBuf::from(root.to_vec())).collect();
        let endorsements = self.endorsements.clone();
        let content = Content { realm: self.realm.clone(), roots, endorsements, name_servers, epoch, issued: now };
        Bundle::sign(&self.issuing.certificate, &self.issuing.key, content)
    }
}

/// What helps when a file of the authority is damaged.
const DAMAGED: &str = "restore it from a copy: without it nobody can join the realm, and no certificate is renewed";

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let text = zeroize::Zeroizing::new(read_private(path, MAX_KEY_FILE_BYTES)?);
    let malformed = |error: rustls_pki_types::pem::Error| TrustError::malformed("the authority", error);
    let all = CertificateDer::pem_slice_iter(&text).map(|found| found.map(CertificateDer::into_owned));
    all.collect::<Result<_, _>>().map_err(malformed)
}

pub(crate) fn issuing_failed(error: rcgen::Error) -> TrustError {
    TrustError::Crypto { action: "issue a certificate", why: error.to_string() }
}

pub(crate) fn sign(
    params: &CertificateParams,
    key: &PublicKey,
    issuer: &Held,
) -> Result<CertificateDer<'static>, TrustError> {
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

pub(crate) fn authority_params(
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
    let usages = match principal.kind {
        PrincipalKind::User => vec![ExtendedKeyUsagePurpose::ClientAuth],
        PrincipalKind::Server | PrincipalKind::Service => both(),
    };
    let lifetime = lifetime(principal.kind);
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
