//! OpenSSL says the same of certificate chains, but for the rules that it does not know: these stand apart, by name.

use crate::attack_certificates::{self as forged, Stolen, dns, first_key, stolen, uri};
use crate::support::{DAY, Lab, lab, realm};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer};
use rustls_pki_types::CertificateDer;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use terms::UnixMs;
use wire::PeerCheck;

const ID: &str = "spiffe://lab.example/server/n1";
const TWIN: &str = "n1.server.lab.example";

/// What is expected of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    BothAccept,
    BothRefuse,
    /// A rule of ours alone.
    OnlyWeRefuse,
    /// We allow a minute for clocks that are apart.
    OnlyWeAccept,
}

struct Case {
    name: &'static str,
    chain: Vec<CertificateDer<'static>>,
    at: UnixMs,
    expected: Expected,
}

fn write(folder: &Path, name: &str, certificates: &[CertificateDer<'_>]) -> std::path::PathBuf {
    let folder_file = |index: usize| folder.join(format!("{name}-{index}.der"));
    let mut text = String::new();
    for (index, der) in certificates.iter().enumerate() {
        std::fs::write(folder_file(index), der).expect("written");
        let pem = Command::new("openssl").args(["x509", "-inform", "der", "-in"]).arg(folder_file(index)).output();
        text.push_str(&String::from_utf8(pem.expect("openssl runs").stdout).expect("PEM"));
    }
    let file = folder.join(format!("{name}.pem"));
    std::fs::write(&file, text).expect("written");
    file
}

/// `openssl verify` for both ends of a connection.
fn openssl_accepts(lab: &Lab, case: &Case) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let root = lab.identity("server/n1").chain()[2].clone();
    let root = write(folder.path(), "root", &[root]);
    let leaf = write(folder.path(), "leaf", &case.chain[..1]);
    let above = write(folder.path(), "above", &case.chain[1..]);
    ["sslclient", "sslserver"].iter().all(|purpose| {
        let mut command = Command::new("openssl");
        command.args(["verify", "-no-CApath", "-no-CAstore", "-x509_strict", "-purpose", purpose]);
        command.arg("-attime").arg(case.at.secs().to_string()).arg("-CAfile").arg(&root);
        if case.chain.len() > 1 {
            command.arg("-untrusted").arg(&above);
        }
        command.arg(&leaf).output().expect("openssl runs").status.success()
    })
}

/// As an authority would issue it: OpenSSL, when strict, wants the issuer's key to be named.
fn params(lab: &Lab, names: &[rcgen::SanType]) -> rcgen::CertificateParams {
    let mut params = forged::params(lab, names);
    params.use_authority_key_identifier_extension = true;
    params
}

fn leaf(lab: &Lab, thief: &Stolen, names: &[rcgen::SanType]) -> Vec<CertificateDer<'static>> {
    thief.issue(&params(lab, names))
}

fn of_dates(lab: &Lab) -> Vec<Case> {
    let honest = lab.identity("server/n1");
    let (chain, end) = (honest.chain()[..2].to_vec(), honest.not_after());
    let second = Duration::from_secs(1);
    let at = |name, at, expected| Case { name, chain: chain.clone(), at, expected };
    vec![
        at("an honest leaf", lab.now(), Expected::BothAccept),
        at("the last second", end.minus(second), Expected::BothAccept),
        at("within the allowance for clocks", end.plus(59 * second), Expected::OnlyWeAccept),
        at("ended", end.plus(62 * second), Expected::BothRefuse),
        at("not yet valid", lab.now().minus(DAY), Expected::BothRefuse),
        at("the issuing certificate has ended", lab.now().plus(91 * DAY), Expected::BothRefuse),
    ]
}

fn of_issuers(lab: &Lab, thief: &Stolen) -> Vec<Case> {
    let now = |name, chain, expected| Case { name, chain, at: lab.now(), expected };
    let names = [uri(ID), dns(TWIN)];
    let twin_realm = realm(&lab.world, "lab.example");
    let other = realm(&lab.world, "other.example");
    let issue = |authority: &webos_trust::Authority, id: &str| {
        authority.issue(&id.parse().expect("a principal"), lab.identity("server/n1").key().public(), lab.now())
    };
    let foreign = issue(&twin_realm, ID).expect("issued");
    let stranger = issue(&other, "spiffe://other.example/server/n1").expect("issued");
    let honest = lab.identity("server/n1");
    let spliced = vec![foreign[0].clone(), honest.chain()[1].clone()];
    let mut altered = leaf(lab, thief, &names);
    let mut bytes = altered[0].to_vec();
    *bytes.last_mut().expect("bytes") ^= 1;
    altered[0] = bytes.into();
    let mallory = lab.identity("user/mallory");
    let folder = tempfile::tempdir().expect("a folder");
    mallory.save(folder.path()).expect("saved");
    let key = first_key(&std::fs::read_to_string(folder.path().join("identity.pem")).expect("read"));
    let issuer = Issuer::from_ca_cert_der(&mallory.chain()[0], key).expect("an issuer");
    let subject = rcgen::KeyPair::generate().expect("a key");
    let below = params(lab, &names).signed_by(&subject, &issuer).expect("issued").der().clone();
    vec![
        now("a leaf by the issuing key", leaf(lab, thief, &names), Expected::BothAccept),
        now("another authority of the same name", foreign, Expected::BothRefuse),
        now("another realm's root", stranger, Expected::BothRefuse),
        now("another authority's leaf behind true certificates", spliced, Expected::BothRefuse),
        now("an altered signature", altered, Expected::BothRefuse),
        now("without the issuing certificate", vec![honest.chain()[0].clone()], Expected::BothRefuse),
        now("a leaf that issues", [vec![below], mallory.chain()[..2].to_vec()].concat(), Expected::BothRefuse),
    ]
}

fn of_profiles(lab: &Lab, thief: &Stolen) -> Vec<Case> {
    let now = |name, chain, expected| Case { name, chain, at: lab.now(), expected };
    let names = [uri(ID), dns(TWIN)];
    let mut authority = params(lab, &names);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let mut asking = params(lab, &names);
    asking.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let outside = [uri("spiffe://other.example/server/n1"), dns("n1.server.other.example")];
    let issuing = thief.chain[..1].to_vec();
    vec![
        now("outside the name constraints", leaf(lab, thief, &outside), Expected::BothRefuse),
        now("good for asking only", thief.issue(&asking), Expected::BothRefuse),
        now("an authority below an authority that may have none", thief.issue(&authority), Expected::BothRefuse),
        now("the issuing certificate as a leaf", issuing, Expected::BothRefuse),
        now("no SPIFFE id", leaf(lab, thief, &[dns(TWIN)]), Expected::OnlyWeRefuse),
        now("no twin", leaf(lab, thief, &[uri(ID)]), Expected::OnlyWeRefuse),
        now("a wrong twin", leaf(lab, thief, &[uri(ID), dns("n2.server.lab.example")]), Expected::OnlyWeRefuse),
        now(
            "two SPIFFE ids",
            leaf(lab, thief, &[uri(ID), uri("spiffe://lab.example/user/alice"), dns(TWIN)]),
            Expected::OnlyWeRefuse,
        ),
        now(
            "a SPIFFE id of another realm",
            leaf(lab, thief, &[uri("spiffe://other.example/server/n1"), dns(TWIN)]),
            Expected::OnlyWeRefuse,
        ),
    ]
}

#[test]
fn openssl_accepts_and_refuses_the_same_certificates() {
    let lab = lab();
    let thief = stolen(&lab, &lab.authority);
    let cases = of_dates(&lab).into_iter().chain(of_issuers(&lab, &thief)).chain(of_profiles(&lab, &thief));
    for case in cases {
        let ours = lab.store.check(&case.chain[0], &case.chain[1..], case.at);
        let found = match (ours.is_ok(), openssl_accepts(&lab, &case)) {
            (true, true) => Expected::BothAccept,
            (false, false) => Expected::BothRefuse,
            (false, true) => Expected::OnlyWeRefuse,
            (true, false) => Expected::OnlyWeAccept,
        };
        assert_eq!(found, case.expected, "{}: {ours:?}", case.name);
    }
}
