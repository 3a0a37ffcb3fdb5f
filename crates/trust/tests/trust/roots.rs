//! Roots: off line under a passphrase, replaced with a succession that the old one signs; and what an issuing
//! certificate alone, or somebody with an old bundle, can try.

use crate::support::{DAY, Lab, certificates_header, lab, pin, private_folder, root, seal};
use ciborium::Value;
use rustls_pki_types::CertificateDer;
use terms::{Epoch, UnixMs};
use webos_trust::{Authority, Bundle, KeyPair, Passphrase, Root, TrustError, TrustStore};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_string().into()).expect("long enough")
}

fn open(authority: &Authority, fingerprint: &[u8; 32], now: UnixMs) -> Result<Bundle, TrustError> {
    let bytes = authority.bundle(Vec::new(), Epoch(1), now).expect("signed");
    Bundle::open(&bytes, fingerprint, now)
}

#[test]
fn a_root_under_a_passphrase_can_lie_elsewhere() {
    let mut lab = lab();
    let (folder, elsewhere) = (private_folder(), tempfile::tempdir().expect("a folder"));
    lab.authority.save(folder.path()).expect("saved");
    let file = elsewhere.path().join("our-root.age");
    lab.root.save(&file, Some(&passphrase("correct horse"))).expect("saved");
    let text = std::fs::read(&file).expect("readable");
    assert!(!text.windows(7).any(|bytes| bytes == b"PRIVATE"));
    assert!(Root::is_sealed(&file).expect("readable"));
    for wrong in [None, Some(&passphrase("correct house"))] {
        assert!(matches!(Root::open(&file, wrong), Err(TrustError::Passphrase)));
    }
    let root = Root::open(&file, Some(&passphrase("correct horse"))).expect("opened");
    lab.authority = Authority::load(folder.path()).expect("loaded");
    lab.clock.advance(50 * DAY);
    lab.authority.renew(&root, lab.now()).expect("renewed");
    assert!(lab.check(lab.identity("user/alice").chain()).is_ok());
}

#[test]
fn a_root_in_the_clear_is_found_in_the_folder() {
    let lab = lab();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(Root::PLAIN_FILE);
    lab.root.save(&file, None).expect("saved");
    assert_eq!(Root::file_in(folder.path()), Some(file.clone()));
    assert_eq!(Root::open(&file, None).expect("opened").fingerprint(), lab.root.fingerprint());
}

/// The realm gets a new root; answers it.
fn succeed(lab: &mut Lab) -> Root {
    let new = root("lab.example", lab.now());
    lab.authority.succeed(&lab.root, &new, lab.now()).expect("succeeded");
    new
}

#[test]
fn a_site_follows_a_succession_and_pins_the_new_root() {
    let mut lab = lab();
    let before = lab.identity("user/alice");
    let old = lab.root.fingerprint();
    let new = succeed(&mut lab);
    lab.clock.advance(DAY);
    let bundle = open(&lab.authority, &old, lab.now()).expect("the old root names the new one");
    assert_eq!(bundle.pin(), &new.fingerprint());
    assert_eq!(bundle.roots.len(), 2);
    assert_eq!(open(&lab.authority, &new.fingerprint(), lab.now()).expect("both ways").pin(), &new.fingerprint());
    assert!(lab.store.insert(bundle));
    lab.authority.renew(&new, lab.now()).expect("the next issuing certificate is the new root's");
    assert!(lab.authority.renew(&lab.root, lab.now()).is_err(), "the old one makes no more");
    assert_eq!(lab.authority.fingerprint(), new.fingerprint());
    for identity in [before, lab.identity("user/alice")] {
        assert!(lab.check(identity.chain()).is_ok(), "leaves under both are accepted");
    }
    let folder = private_folder();
    lab.authority.save(folder.path()).expect("saved");
    let loaded = Authority::load(folder.path()).expect("loaded");
    assert_eq!(open(&loaded, &old, lab.now()).expect("a later one").pin(), &new.fingerprint());
}

#[test]
fn the_old_root_goes_when_it_ends() {
    let mut lab = lab();
    let old = lab.root.fingerprint();
    lab.clock.advance(3600 * DAY);
    let new = succeed(&mut lab);
    lab.authority.renew(&new, lab.now()).expect("renewed");
    lab.clock.advance(60 * DAY);
    let bundle = open(&lab.authority, &new.fingerprint(), lab.now()).expect("the new one stays");
    assert_eq!(bundle.roots.len(), 1);
    assert!(open(&lab.authority, &old, lab.now()).is_err(), "who slept through it compares fingerprints again");
}

/// A bundle as the holder of an issuing certificate can make one, with these roots and these statements.
fn forged(lab: &Lab, roots: &[CertificateDer<'_>], endorsements: &[Vec<u8>], signer: &Forger) -> Vec<u8> {
    let bytes = |all: Vec<&[u8]>| Value::Array(all.into_iter().map(|one| Value::Bytes(one.to_vec())).collect());
    let text = |text: &str| Value::Text(text.into());
    let content = Value::Map(vec![
        (text("realm"), text("lab.example")),
        (text("roots"), bytes(roots.iter().map(AsRef::as_ref).collect())),
        (text("endorsements"), bytes(endorsements.iter().map(Vec::as_slice).collect())),
        (text("name_servers"), Value::Array(Vec::new())),
        (text("epoch"), Value::Integer(9.into())),
        (text("issued"), Value::Integer(lab.now().0.into())),
    ]);
    seal(&signer.key, certificates_header(std::slice::from_ref(&signer.certificate)), "webos-bundle-v2", &content)
}

struct Forger {
    key: KeyPair,
    certificate: CertificateDer<'static>,
}

/// The issuing certificate and key of an authority, as a thief takes them from its folder.
fn stolen(authority: &Authority) -> Forger {
    let folder = tempfile::tempdir().expect("a folder");
    authority.save(folder.path()).expect("saved");
    let text = std::fs::read_to_string(folder.path().join("issuing.pem")).expect("readable");
    let certificate = rustls_pki_types::pem::PemObject::from_pem_slice(text.as_bytes()).expect("a certificate");
    Forger { key: KeyPair::from_pem(&text).expect("a key"), certificate }
}

#[test]
fn an_issuing_certificate_alone_adds_no_root() {
    let lab = lab();
    let thief = stolen(&lab.authority);
    let own = lab.authority.roots().to_vec();
    let evil = root("lab.example", lab.now());
    let evils = Authority::found(&evil, lab.now()).expect("an authority");
    let both = [own.clone(), evils.roots().to_vec()].concat();
    let open = |bytes: &[u8]| Bundle::open(bytes, &lab.root.fingerprint(), lab.now());
    assert!(open(&forged(&lab, &own, &[], &thief)).is_ok(), "else the tests below prove nothing");
    let named = |key: &KeyPair, kind| {
        let content = Value::Map(vec![(Value::Text("root".into()), Value::Bytes(both[1].to_vec()))]);
        let header = coset::HeaderBuilder::new().algorithm(coset::iana::Algorithm::ES256);
        seal(key, header.key_id(key.thumbprint().0.to_vec()).build(), kind, &content)
    };
    let kinds = ["webos-root-successor-v1", "webos-root-predecessor-v1"];
    let by_thief = kinds.map(|kind| named(&thief.key, kind)).to_vec();
    let by_evil = kinds.map(|kind| named(&stolen(&evils).key, kind)).to_vec();
    for (what, bytes) in [
        ("nothing names it", forged(&lab, &both, &[], &thief)),
        ("the issuing key names it", forged(&lab, &both, &by_thief, &thief)),
        ("its own authority names it", forged(&lab, &both, &by_evil, &thief)),
        (
            "only the new root, and its own issuing certificate",
            forged(&lab, &both[1..], &by_thief, &stolen(&evils)),
        ),
        ("the new root's issuing certificate signs", forged(&lab, &own, &[], &stolen(&evils))),
        ("both, and the new one's issuing certificate signs", forged(&lab, &both, &by_thief, &stolen(&evils))),
    ] {
        assert!(open(&bytes).is_err(), "{what}");
    }
}

#[test]
fn a_leaf_or_a_root_signs_no_bundle() {
    let lab = lab();
    let own = lab.authority.roots().to_vec();
    let alice = lab.identity("user/alice");
    let leaf = Forger { key: alice.key().clone(), certificate: alice.chain()[0].clone() };
    assert!(Bundle::open(&forged(&lab, &own, &[], &leaf), &lab.root.fingerprint(), lab.now()).is_err());
    let mixed = Forger { key: alice.key().clone(), certificate: alice.chain()[1].clone() };
    assert!(Bundle::open(&forged(&lab, &own, &[], &mixed), &lab.root.fingerprint(), lab.now()).is_err());
}

#[test]
fn an_ended_issuing_certificate_signs_no_bundle_but_what_it_signed_is_kept() {
    let lab = lab();
    let bytes = lab.authority.bundle(Vec::new(), Epoch(1), lab.now()).expect("signed");
    lab.clock.advance(100 * DAY);
    let fingerprint = lab.root.fingerprint();
    let refused = Bundle::open(&bytes, &fingerprint, lab.now()).expect_err("its signer has ended");
    assert!(matches!(refused, TrustError::AuthorityEnded { which: "issuing", .. }), "{refused}");
    assert!(Bundle::reopen(&bytes, &fingerprint, lab.now()).is_ok(), "from the own folder");
}

#[test]
fn a_bundle_rolled_back_to_before_a_succession_is_not_taken() {
    let mut lab = lab();
    let old = lab.authority.bundle(Vec::new(), Epoch(1), lab.now()).expect("signed");
    let before = lab.root.fingerprint();
    let new = succeed(&mut lab);
    lab.clock.advance(DAY);
    let store = TrustStore::new();
    pin(&store, &lab.authority, Epoch(1), lab.now());
    assert!(!store.insert(Bundle::open(&old, &before, lab.now()).expect("once it was good")));
    assert!(matches!(Bundle::open(&old, &new.fingerprint(), lab.now()), Err(TrustError::Fingerprint { .. })));
}
