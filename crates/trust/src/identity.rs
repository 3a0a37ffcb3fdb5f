//! A principal's own identity: its certificate chain and its key, in one private file that curl can use too, unless the
//! key is under a passphrase: then the file has it in the armoured age format, and only the chain is plain.

use crate::error::TrustError;
use crate::files::{read_private, write_private};
use crate::key::{KeyPair, PublicKey, pem};
use crate::limits::{
    CLOCK_SKEW, MAX_CHAIN_CERTIFICATES, MAX_KEY_FILE_BYTES, SERVER_LIFETIME, SERVICE_LIFETIME, USER_LIFETIME,
};
use crate::vault::{self, Passphrase};
use crate::x509;
use base64::Engine as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use terms::{Principal, PrincipalKind, UnixMs};
use zeroize::Zeroizing;

/// The mark of a key under a passphrase: that of age's own armour.
const SEALED: &str = "AGE ENCRYPTED FILE";
/// What is to be done about a file that cannot be read.
const DAMAGED: &str = "restore it, or remove it and get a new one";

/// Who this program is. Clones are cheap. A value's key belongs to its leaf; whether others accept the chain
/// is theirs to say.
#[derive(Debug, Clone)]
pub struct Identity {
    principal: Principal,
    chain: Arc<[CertificateDer<'static>]>,
    key: KeyPair,
    issued: UnixMs,
    not_after: UnixMs,
    /// What its key is kept under.
    passphrase: Option<Passphrase>,
}

impl Identity {
    /// The file within the folder given to [`Identity::save`]: the chain, leaf first, then the key, as PEM.
    pub const FILE: &'static str = "identity.pem";

    /// An identity from its chain (leaf, issuing certificate, root) and the leaf's key.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] or [`TrustError::Chain`] if they do not belong together.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: KeyPair) -> Result<Self, TrustError> {
        let leaf = Certified::read(&chain)?;
        if &leaf.key != key.public() {
            return Err(TrustError::malformed("the identity", "its key does not belong to its certificate"));
        }
        let Certified { principal, issued, not_after, .. } = leaf;
        Ok(Self { principal, chain: chain.into(), key, issued, not_after, passphrase: None })
    }

    /// Reads an identity from its folder.
    ///
    /// # Errors
    /// [`TrustError::Exposed`] if others can read it; [`TrustError::Sealed`] if its key is under a passphrase; as
    /// [`Identity::new`] for its content.
    pub fn load(folder: &Path) -> Result<Self, TrustError> {
        IdentityFile::read(folder)?.open(None)
    }

    /// Writes the identity to a folder, mode 0600, replaced atomically; its key as it was kept before.
    ///
    /// # Errors
    /// [`TrustError::Io`], [`TrustError::Crypto`].
    pub fn save(&self, folder: &Path) -> Result<(), TrustError> {
        let mut text = Zeroizing::new(self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect::<String>());
        text.push_str(&self.key_text(&self.key)?);
        write_private(&folder.join(Self::FILE), text.as_bytes())
    }

    /// The same identity, its key to be kept under this passphrase from now on, or under none.
    #[must_use]
    pub fn kept_under(self, passphrase: Option<Passphrase>) -> Self {
        Self { passphrase, ..self }
    }

    /// The same identity, its key to be kept as that one's is.
    #[must_use]
    pub fn kept_like(self, other: &Self) -> Self {
        self.kept_under(other.passphrase.clone())
    }

    /// A key as this identity keeps its own: as PEM, under the passphrase if there is one.
    ///
    /// # Errors
    /// [`TrustError::Crypto`].
    pub fn key_text(&self, key: &KeyPair) -> Result<Zeroizing<String>, TrustError> {
        let plain = key.to_pem();
        match &self.passphrase {
            Some(passphrase) => Ok(Zeroizing::new(pem(SEALED, &vault::seal(plain.as_bytes(), passphrase)?))),
            None => Ok(plain),
        }
    }

    /// Reads what [`Identity::key_text`] wrote.
    ///
    /// # Errors
    /// [`TrustError::Passphrase`], [`TrustError::Malformed`].
    pub fn read_key(&self, text: &str) -> Result<KeyPair, TrustError> {
        match (sealed_block(text)?, &self.passphrase) {
            (Some(sealed), Some(passphrase)) => unsealed(&sealed, passphrase),
            (Some(_), None) => Err(TrustError::Passphrase),
            (None, _) => KeyPair::from_pem(text),
        }
    }

    /// Whether it is past half of its life and to be renewed; or not begun: the clock was ahead when it was issued.
    pub fn is_renewal_due(&self, now: UnixMs) -> bool {
        is_renewal_due(&self.principal, self.not_after, now)
    }

    /// Chain and key for TLS.
    pub fn credentials(&self) -> wire::Credentials {
        wire::Credentials { chain: self.chain.to_vec(), key: self.key.to_der() }
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The leaf's key.
    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// When its certificate was issued.
    pub fn issued(&self) -> UnixMs {
        self.issued
    }

    /// When the first certificate of the chain ends.
    pub fn not_after(&self) -> UnixMs {
        self.not_after
    }
}

/// What a chain says of its first certificate, and when the first of it ends.
struct Certified {
    principal: Principal,
    key: PublicKey,
    issued: UnixMs,
    not_after: UnixMs,
}

impl Certified {
    fn read(chain: &[CertificateDer<'static>]) -> Result<Self, TrustError> {
        let refuse = |why| TrustError::malformed("the identity", why);
        if chain.len() > MAX_CHAIN_CERTIFICATES {
            return Err(refuse("its chain is too long"));
        }
        let leaf = x509::read_leaf(chain.first().ok_or_else(|| refuse("it has no certificate"))?)?;
        let ends = chain.iter().map(|certificate| Ok(x509::read_validity(certificate)?.end));
        let ends = ends.collect::<Result<Vec<_>, TrustError>>()?;
        let not_after = ends.into_iter().fold(leaf.validity.end, UnixMs::min);
        let issued = leaf.validity.start.plus(CLOCK_SKEW);
        Ok(Self { principal: leaf.principal, key: leaf.key, issued, not_after })
    }
}

/// An identity as its file keeps it: the chain can be read, the key may be under a passphrase.
pub struct IdentityFile {
    path: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    certified: Certified,
    text: Zeroizing<String>,
}

impl IdentityFile {
    /// Reads the file in this folder.
    ///
    /// # Errors
    /// [`TrustError::Exposed`] if others can read it; [`TrustError::Damaged`].
    pub fn read(folder: &Path) -> Result<Self, TrustError> {
        let path = folder.join(Identity::FILE);
        Self::parse(&path).map_err(|error| error.in_file(&path, DAMAGED))
    }

    fn parse(path: &Path) -> Result<Self, TrustError> {
        let bytes = Zeroizing::new(read_private(path, MAX_KEY_FILE_BYTES)?);
        let malformed = |error: rustls_pki_types::pem::Error| TrustError::malformed("the identity", error);
        let chain = CertificateDer::pem_slice_iter(&bytes)
            .map(|certificate| certificate.map(CertificateDer::into_owned).map_err(malformed))
            .collect::<Result<Vec<_>, _>>()?;
        let text = std::str::from_utf8(&bytes).map_err(|error| TrustError::malformed("the identity", error))?;
        let certified = Certified::read(&chain)?;
        Ok(Self { path: path.to_path_buf(), chain, certified, text: Zeroizing::new(text.to_string()) })
    }

    /// Whether the key is under a passphrase.
    pub fn is_sealed(&self) -> bool {
        self.text.contains(SEALED)
    }

    /// The identity, which goes on being kept under the passphrase that opened it.
    ///
    /// # Errors
    /// [`TrustError::Sealed`] without a passphrase that is needed; [`TrustError::Passphrase`] if it is wrong;
    /// [`TrustError::Damaged`] if key and certificate do not belong together.
    pub fn open(&self, passphrase: Option<&Passphrase>) -> Result<Identity, TrustError> {
        let opened = match (sealed_block(&self.text), passphrase) {
            (Ok(Some(_)), None) => return Err(TrustError::Sealed { path: self.path.clone() }),
            (Ok(Some(sealed)), Some(passphrase)) => unsealed(&sealed, passphrase)
                .and_then(|key| Ok(Identity::new(self.chain.clone(), key)?.kept_under(Some(passphrase.clone())))),
            (Ok(None), _) => KeyPair::from_pem(&self.text).and_then(|key| Identity::new(self.chain.clone(), key)),
            (Err(error), _) => Err(error),
        };
        opened.map_err(|error| error.in_file(&self.path, DAMAGED))
    }

    /// The same with what another identity is kept under.
    ///
    /// # Errors
    /// As [`IdentityFile::open`].
    pub fn open_like(&self, other: &Identity) -> Result<Identity, TrustError> {
        self.open(other.passphrase.as_ref())
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.certified.principal
    }

    /// The leaf's key.
    pub fn key(&self) -> &PublicKey {
        &self.certified.key
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// When the first certificate of the chain ends.
    pub fn not_after(&self) -> UnixMs {
        self.certified.not_after
    }

    /// As [`Identity::is_renewal_due`].
    pub fn is_renewal_due(&self, now: UnixMs) -> bool {
        is_renewal_due(self.principal(), self.not_after(), now)
    }
}

fn is_renewal_due(who: &Principal, not_after: UnixMs, now: UnixMs) -> bool {
    let life = lifetime(who.kind);
    now >= not_after.minus(life / 2) || not_after > now.plus(life + CLOCK_SKEW)
}

/// What stands between the marks of a sealed key, if the text has one.
fn sealed_block(text: &str) -> Result<Option<Vec<u8>>, TrustError> {
    let (begin, end) = (format!("-----BEGIN {SEALED}-----"), format!("-----END {SEALED}-----"));
    let Some((_, rest)) = text.split_once(&begin) else { return Ok(None) };
    let damaged = || TrustError::malformed("the encrypted key", "its text is damaged");
    let (body, _) = rest.split_once(&end).ok_or_else(damaged)?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    base64::engine::general_purpose::STANDARD.decode(body).map(Some).map_err(|_| damaged())
}

fn unsealed(sealed: &[u8], passphrase: &Passphrase) -> Result<KeyPair, TrustError> {
    let plain = vault::unseal(sealed, passphrase)?;
    let text = std::str::from_utf8(&plain).map_err(|error| TrustError::malformed("the encrypted key", error))?;
    KeyPair::from_pem(text)
}

/// How long a leaf of this kind lasts.
pub(crate) fn lifetime(kind: PrincipalKind) -> Duration {
    match kind {
        PrincipalKind::User => USER_LIFETIME,
        PrincipalKind::Server => SERVER_LIFETIME,
        PrincipalKind::Service => SERVICE_LIFETIME,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, Root};

    fn identity() -> Identity {
        let now = UnixMs(1_790_000_000_000);
        let root = Root::create("lab.example".parse().expect("a name"), now).expect("a root");
        let who = "spiffe://lab.example/user/alice".parse().expect("a principal");
        Authority::found(&root, now).and_then(|it| it.issue_identity(&who, None, now)).expect("issued")
    }

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.into())).expect("long enough")
    }

    #[test]
    fn a_key_under_a_passphrase_opens_with_it_alone_and_is_saved_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let (plain, right) = (identity(), passphrase("correct horse"));
        plain.clone().kept_under(Some(right.clone())).save(folder.path()).expect("saved");
        let file = folder.path().join(Identity::FILE);
        let text = std::fs::read_to_string(&file).expect("text");
        assert!(text.contains("BEGIN CERTIFICATE") && !text.contains("PRIVATE KEY"));
        assert!(matches!(Identity::load(folder.path()), Err(TrustError::Sealed { .. })));

        let sealed = IdentityFile::read(folder.path()).expect("its chain is plain");
        assert!(sealed.is_sealed());
        assert_eq!((sealed.principal(), sealed.key()), (plain.principal(), plain.key().public()));
        assert!(matches!(sealed.open(Some(&passphrase("correct house"))), Err(TrustError::Passphrase)));
        let opened = sealed.open(Some(&right)).expect("opened");
        assert_eq!(opened.key().public(), plain.key().public());

        // Whatever is made of it stays under the passphrase.
        let next = identity().kept_like(&opened);
        next.save(folder.path()).expect("saved");
        let again = IdentityFile::read(folder.path()).expect("there");
        assert!(again.is_sealed());
        assert_eq!(again.open_like(&opened).expect("the same passphrase").key().public(), next.key().public());
        let kept = next.key_text(plain.key()).expect("sealed");
        assert!(!kept.contains("PRIVATE KEY"));
        assert_eq!(next.read_key(&kept).expect("opened").public(), plain.key().public());
        assert!(plain.read_key(&kept).is_err(), "an identity without a passphrase opens nothing");

        // The certificate of one and the key of another are no identity.
        let chain = text.split("-----BEGIN AGE").next().expect("a chain");
        std::fs::write(&file, format!("{chain}{}", *next.key_text(next.key()).expect("sealed"))).expect("written");
        let mixed = IdentityFile::read(folder.path()).expect("there").open(Some(&right));
        assert!(matches!(mixed, Err(TrustError::Damaged { .. })), "{mixed:?}");
    }

    #[test]
    fn a_damaged_sealed_key_is_named_and_quotes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let right = passphrase("correct horse");
        identity().kept_under(Some(right.clone())).save(folder.path()).expect("saved");
        let file = folder.path().join(Identity::FILE);
        let text = std::fs::read_to_string(&file).expect("text");
        let cut = text.split("-----END AGE").next().expect("a beginning").to_string();
        for damaged in [cut, text.replacen("YWdl", "!!!!", 1)] {
            std::fs::write(&file, &damaged).expect("written");
            let error = IdentityFile::read(folder.path()).and_then(|file| file.open(Some(&right)));
            assert!(matches!(error, Err(TrustError::Damaged { .. })), "{error:?}");
        }
    }
}
