//! Certificates that must not become principals.

use crate::support::{DAY, Lab, lab, pin, principal, realm, trusted};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType};
use rustls_pki_types::CertificateDer;
use std::time::Duration;
use terms::UnixMs;
use webos_trust::Authority;
use wire::PeerCheck;

/// A realm's issuing key in an attacker's hands, who signs what he likes.
pub(crate) struct Stolen {
    issuer: Issuer<'static, rcgen::KeyPair>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
}

pub(crate) fn first_key(pem: &str) -> rcgen::KeyPair {
    let key = webos_trust::KeyPair::from_pem(pem).expect("a key");
    rcgen::KeyPair::from_pem(&key.to_pem()).expect("a key")
}

fn saved_key(authority: &Authority, file: &str) -> rcgen::KeyPair {
    let folder = tempfile::tempdir().expect("a folder");
    authority.save(folder.path()).expect("saved");
    first_key(&std::fs::read_to_string(folder.path().join(file)).expect("read"))
}

pub(crate) fn stolen(lab: &Lab, authority: &Authority) -> Stolen {
    let key = saved_key(authority, "issuing.pem");
    let anybody = principal(&format!("spiffe://{}/user/anybody", authority.realm()));
    let honest = authority.issue_identity(&anybody, None, lab.now()).expect("an identity");
    let chain = honest.chain()[1..].to_vec();
    Stolen { issuer: Issuer::from_ca_cert_der(&chain[0], key).expect("an issuer"), chain }
}

pub(crate) fn params(lab: &Lab, names: &[SanType]) -> CertificateParams {
    let mut params = CertificateParams::default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(lab.now().secs());
    params.not_after = epoch + Duration::from_secs(lab.now().plus(DAY).secs());
    params.subject_alt_names = names.to_vec();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params
}

impl Stolen {
    pub(crate) fn issue(&self, params: &CertificateParams) -> Vec<CertificateDer<'static>> {
        let key = rcgen::KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("issued").der().clone();
        [vec![leaf], self.chain.clone()].concat()
    }
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ascii"))
}

pub(crate) fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("ascii"))
}

fn refused(lab: &Lab, chain: &[CertificateDer<'static>], expected: &str) {
    let problem = lab.check(chain).expect_err(expected);
    assert!(problem.detail.contains(expected), "expected '{expected}', got '{problem}'");
    assert_eq!(problem.code, terms::Code::Denied, "{problem}");
}

#[test]
fn leaves_with_other_names_than_an_id_and_its_twin() {
    let lab = lab();
    let thief = stolen(&lab, &lab.authority);
    let (id, twin) = ("spiffe://lab.example/server/n1", "n1.server.lab.example");
    let good = thief.issue(&params(&lab, &[uri(id), dns(twin)]));
    assert_eq!(lab.check(&good).expect("the profile is accepted").principal, principal(id));
    let ip = SanType::IpAddress([127, 0, 0, 1].into());
    for (names, expected) in [
        (vec![], "no names"),
        (vec![uri(id)], "exactly one SPIFFE id"),
        (vec![dns(twin)], "exactly one SPIFFE id"),
        (vec![uri(id), uri("spiffe://lab.example/server/n2"), dns(twin)], "exactly one SPIFFE id"),
        (vec![uri(id), dns(twin), dns(twin)], "exactly one SPIFFE id"),
        (vec![uri(id), dns(twin), ip], "exactly one SPIFFE id"),
        (vec![uri(id), dns("n2.server.lab.example")], "not the twin"),
        (vec![uri(id), dns("N1.server.lab.example")], "not the twin"),
        (vec![uri(id), dns("*.server.lab.example")], "not the twin"),
        (vec![uri(id), dns("n1.server.lab.example.")], "not the twin"),
        (vec![uri(id), dns("n1.server.lab.examplf")], "not the twin"),
        (vec![uri("spiffe://lab.example/server/n1/"), dns(twin)], "is not a principal"),
        (vec![uri("spiffe://lab.example:443/server/n1"), dns(twin)], "is not a principal"),
        (vec![uri("spiffe://LAB.example/server/n1"), dns(twin)], "is not a principal"),
        (vec![uri("spiffe://lab.example/server/%6e1"), dns(twin)], "is not a principal"),
        (vec![uri("spiffe://lab.example/group/n1"), dns("n1.group.lab.example")], "is not a principal"),
        (vec![uri("https://lab.example/server/n1"), dns(twin)], "is not a principal"),
    ] {
        refused(&lab, &thief.issue(&params(&lab, &names)), expected);
    }
}

#[test]
fn an_issuing_key_names_nobody_outside_its_realm() {
    let lab = lab();
    // Three trusted neighbours: one looks alike, one encloses lab.example, one lies within it.
    for name in ["lab-example.net", "example", "deep.lab.example"] {
        let neighbour = trusted(&lab.world, &lab.store, name);
        let thief = stolen(&lab, &neighbour);
        let chain =
            thief.issue(&params(&lab, &[uri("spiffe://lab.example/server/home"), dns("home.server.lab.example")]));
        refused(&lab, &chain, "was not issued by the realm lab.example");
    }
    // And the other way round.
    let thief = stolen(&lab, &lab.authority);
    for id in ["spiffe://example/server/home", "spiffe://deep.lab.example/server/home"] {
        let twin = principal(id).dns_twin();
        let chain = thief.issue(&params(&lab, &[uri(id), dns(&twin)]));
        refused(&lab, &chain, "was not issued by the realm");
    }
}

#[test]
fn another_authority_of_the_same_name() {
    let lab = lab();
    let twin = realm(&lab.world, "lab.example");
    let home = principal("spiffe://lab.example/server/home");
    let forged = twin.issue_identity(&home, None, lab.now()).expect("issued");
    refused(&lab, forged.chain(), "was not issued by the realm lab.example");
    // The true issuing certificate and root put in between do not help.
    let honest = lab.identity("server/n1");
    let spliced = [forged.chain()[0].clone(), honest.chain()[1].clone(), honest.chain()[2].clone()];
    refused(&lab, &spliced, "was not issued by the realm lab.example");
}

#[test]
fn an_unknown_realm() {
    let lab = lab();
    let stranger = realm(&lab.world, "lab.exarnple");
    let home = principal("spiffe://lab.exarnple/server/home");
    let identity = stranger.issue_identity(&home, None, lab.now()).expect("issued");
    refused(&lab, identity.chain(), "the realm lab.exarnple");
}

#[test]
fn authorities_as_leaves() {
    let lab = lab();
    let honest = lab.identity("server/n1");
    let (issuing, root) = (honest.chain()[1].clone(), honest.chain()[2].clone());
    refused(&lab, &[issuing, root.clone()], "belongs to an authority");
    refused(&lab, &[root], "belongs to an authority");
    // A certificate with the names of a leaf and the powers of an authority.
    let thief = stolen(&lab, &lab.authority);
    let names = [uri("spiffe://lab.example/server/n1"), dns("n1.server.lab.example")];
    let mut both = params(&lab, &names);
    both.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    refused(&lab, &thief.issue(&both), "belongs to an authority");
    let mut usage_alone = params(&lab, &names);
    usage_alone.key_usages.push(KeyUsagePurpose::KeyCertSign);
    refused(&lab, &thief.issue(&usage_alone), "belongs to an authority");
}

#[test]
fn a_leaf_that_issues_leaves() {
    let lab = lab();
    let folder = tempfile::tempdir().expect("a folder");
    let mallory = lab.identity("user/mallory");
    mallory.save(folder.path()).expect("saved");
    let pem = std::fs::read_to_string(folder.path().join("identity.pem")).expect("read");
    let key = first_key(&pem);
    let issuer = Issuer::from_ca_cert_der(&mallory.chain()[0], key).expect("an issuer");
    let names = [uri("spiffe://lab.example/user/alice"), dns("alice.user.lab.example")];
    let subject = rcgen::KeyPair::generate().expect("a key");
    let leaf = params(&lab, &names).signed_by(&subject, &issuer).expect("issued").der().clone();
    let chain = [vec![leaf], mallory.chain().to_vec()].concat();
    assert!(lab.check(&chain).is_err());
}

#[test]
fn a_leaf_is_for_exactly_what_its_kind_is_used_for() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, Other, ServerAuth};
    let lab = lab();
    let thief = stolen(&lab, &lab.authority);
    let issue = |kind: &str, usages: &[ExtendedKeyUsagePurpose]| {
        let names = [uri(&format!("spiffe://lab.example/{kind}/x")), dns(&format!("x.{kind}.lab.example"))];
        let mut params = params(&lab, &names);
        params.extended_key_usages = usages.to_vec();
        thief.issue(&params)
    };
    for (kind, usages) in [("user", &[ClientAuth][..]), ("server", &[ServerAuth, ClientAuth])] {
        assert!(lab.check(&issue(kind, usages)).is_ok(), "{kind}");
    }
    for (kind, usages) in [
        ("server", &[][..]),
        ("server", &[ServerAuth]),
        ("service", &[ClientAuth]),
        ("user", &[ClientAuth, ServerAuth]),
        ("user", &[Any]),
        ("server", &[ClientAuth, ServerAuth, CodeSigning]),
        ("server", &[ClientAuth, ServerAuth, Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 30])]),
    ] {
        refused(&lab, &issue(kind, usages), "breaks a rule");
    }
}

#[test]
fn an_authority_that_restricts_usages_is_none_of_ours() {
    let lab = lab();
    let honest = lab.identity("server/n1");
    let mut chain = honest.chain().to_vec();
    chain.push(lab.identity("server/n2").chain()[0].clone());
    refused(&lab, &chain, "names extended usages");
}

#[test]
fn a_user_does_not_answer_for_a_server() {
    let lab = lab();
    let thief = stolen(&lab, &lab.authority);
    let mut asking_only = params(&lab, &[uri("spiffe://lab.example/server/n1"), dns("n1.server.lab.example")]);
    asking_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    refused(&lab, &thief.issue(&asking_only), "breaks a rule");
    // First contact by invitation: only a server's certificate leads to the realm's root.
    let (user, server) = (lab.identity("user/mallory"), lab.identity("server/home"));
    let describe = |chain: &[CertificateDer<'static>]| {
        lab.store.describe(&chain[0], &chain[1..], lab.now()).expect("described")
    };
    assert_eq!(describe(user.chain()).root, None);
    assert_eq!(describe(server.chain()).root, Some(lab.authority.fingerprint()));
    assert_eq!(describe(server.chain()).key, server.key().thumbprint());
    // Somebody else's root behind a chain says nothing about the chain.
    let other = realm(&lab.world, "lab.example");
    let other = other.issue_identity(server.principal(), None, lab.now()).expect("issued");
    let spliced = [other.chain()[0].clone(), other.chain()[1].clone(), server.chain()[2].clone()];
    assert_eq!(describe(&spliced).root, None);
    // Nor does a true chain to the root of another realm than the leaf's.
    let neighbour = stolen(&lab, &realm(&lab.world, "other.example"));
    let names = [uri("spiffe://other.example/server/home"), dns("home.server.other.example")];
    assert!(describe(&neighbour.issue(&params(&lab, &names))).root.is_some());
    let names = [uri("spiffe://deep.other.example/server/home"), dns("home.server.deep.other.example")];
    assert_eq!(describe(&neighbour.issue(&params(&lab, &names))).root, None);
}

#[test]
fn times_with_the_allowance_and_not_beyond() {
    let lab = lab();
    let alice = lab.identity("user/alice");
    let end = alice.not_after();
    let at = |now| lab.store.check(&alice.chain()[0], &alice.chain()[1..], now);
    let second = Duration::from_secs(1);
    assert!(at(UnixMs(end.plus(60 * second).0 - 1)).is_ok());
    for (now, expected) in [
        (end.plus(60 * second), "ended"),
        (UnixMs(end.plus(60 * second).0 + 999), "ended"),
        (end.plus(400 * DAY), "ended"),
        (lab.now().minus(122 * second), "not valid yet"),
        (lab.now().minus(DAY), "not valid yet"),
    ] {
        let problem = at(now).expect_err(expected);
        assert!(problem.detail.contains(expected), "{problem}");
    }
    assert_eq!(at(lab.now()).expect("accepted").not_after, end.plus(60 * second));
}

#[test]
fn what_is_no_certificate() {
    let lab = lab();
    let honest = lab.identity("server/n1");
    let leaf = honest.chain()[0].to_vec();
    let altered = |index: usize| {
        let mut der = leaf.clone();
        der[index] ^= 1;
        der
    };
    for (name, der) in [
        ("empty", vec![]),
        ("noise", vec![0x30; 700]),
        ("too large", [leaf.clone(), vec![0; 5000]].concat()),
        ("trailing", [leaf.clone(), vec![0]].concat()),
        ("cut", leaf[..leaf.len() - 1].to_vec()),
        ("an altered signature", altered(leaf.len() - 1)),
        ("an altered body", altered(40)),
    ] {
        let chain = [vec![CertificateDer::from(der)], honest.chain()[1..].to_vec()].concat();
        assert!(lab.check(&chain).is_err(), "{name}");
    }
    let long = vec![honest.chain()[0].clone(); 5];
    refused(&lab, &long, "the chain has 5 certificates");
    refused(&lab, &honest.chain()[..1], "was not issued by the realm");
}

#[test]
fn other_tls_stacks_find_the_realms_names_constrained() {
    let lab = lab();
    let thief = stolen(&lab, &lab.authority);
    let root = lab.identity("user/alice").chain()[2].clone();
    let anchors = [webpki::anchor_from_trusted_cert(&root).expect("an anchor")];
    let now = rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(lab.now().secs()));
    for (name, allowed) in [("n1.server.lab.example", true), ("bank.example", false), ("lab.example.net", false)] {
        let chain = thief.issue(&params(&lab, &[dns(name)]));
        let leaf = webpki::EndEntityCert::try_from(&chain[0]).expect("a certificate");
        let algorithms = [webpki::aws_lc_rs::ECDSA_P256_SHA256];
        let usage = webpki::KeyUsage::server_auth();
        let verified = leaf.verify_for_usage(&algorithms, &anchors, &chain[1..], now, usage, None, None);
        assert_eq!(
            verified.map(drop).err(),
            (!allowed).then_some(webpki::Error::NameConstraintViolation),
            "{name}"
        );
    }
}

#[test]
fn nothing_outlives_its_root() {
    let lab = lab();
    let honest = lab.identity("server/n1");
    let root = honest.chain()[2].clone();
    let folder = tempfile::tempdir().expect("a folder");
    lab.root.save(&folder.path().join("root.key"), None).expect("saved");
    let key = first_key(&std::fs::read_to_string(folder.path().join("root.key")).expect("readable"));
    let issuer = Issuer::from_ca_cert_der(&root, key).expect("an issuer");
    let names = [uri("spiffe://lab.example/server/n1"), dns("n1.server.lab.example")];
    let mut for_ever = params(&lab, &names);
    for_ever.not_after = rcgen::date_time_ymd(2050, 1, 1);
    let leaf = for_ever.signed_by(&rcgen::KeyPair::generate().expect("a key"), &issuer).expect("issued");
    let chain = [leaf.der().clone(), root];
    let peer = lab.check(&chain).expect("accepted while the root lasts");
    assert!(peer.not_after < lab.now().plus(3653 * DAY), "and no longer than the root");
    lab.clock.advance(3653 * DAY);
    refused(&lab, &chain, "ended");
}

#[test]
fn a_chain_verified_before_ends_in_time_and_with_its_roots() {
    let lab = lab();
    let alice = lab.identity("user/alice");
    let refused = |lab: &Lab| lab.check(alice.chain()).expect_err("refused").detail;
    for _ in 0..3 {
        assert!(lab.check(alice.chain()).is_ok());
    }
    // The same bytes, at other times.
    lab.clock.jump_wall(-1000 * 3600);
    assert!(refused(&lab).contains("not valid yet"));
    lab.clock.jump_wall(1000 * 3600);
    assert!(lab.check(alice.chain()).is_ok());
    lab.clock.advance(31 * DAY);
    assert!(refused(&lab).contains("ended"));
    // The same bytes, under another root of the same name.
    let lab = self::lab();
    let alice = lab.identity("user/alice");
    assert!(lab.check(alice.chain()).is_ok());
    lab.clock.advance(Duration::from_secs(1));
    let usurper = realm(&lab.world, "lab.example");
    pin(&lab.store, &usurper, terms::Epoch(2), lab.now());
    assert!(lab.check(alice.chain()).expect_err("another root").detail.contains("was not issued by the realm"));
    lab.store.remove(&"lab.example".parse().expect("a realm"));
    assert!(lab.check(alice.chain()).expect_err("no root").detail.contains("not trusted here"));
}
