//! Project Wycheproof's vectors: signatures that other implementations got wrong.

use rustls_pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm, alg_id};
use webos_trust::PublicKey;
use wycheproof::TestResult;
use wycheproof::ecdsa::{TestName, TestSet};

fn check(name: TestName, at_least: usize, verify: impl Fn(&[u8], &[u8], &[u8]) -> bool) {
    let set = TestSet::load(name).expect("the vectors");
    let mut count = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let found = verify(&group.der, &test.msg, &test.sig);
            // No vector of these sets leaves the answer open.
            assert_ne!(test.result, TestResult::Acceptable);
            assert_eq!(found, test.result == TestResult::Valid, "{name:?} {}: {}", test.tc_id, test.comment);
            count += 1;
        }
    }
    assert!(count >= at_least, "{name:?} has {count} vectors");
}

/// Signed documents carry r and s side by side.
#[test]
fn wycheproof_signatures_of_documents() {
    check(TestName::EcdsaSecp256r1Sha256P1363, 250, |spki, message, signature| {
        PublicKey::from_spki(spki).is_ok_and(|key| key.verify(message, signature))
    });
}

/// Certificates carry them in DER, checked by the algorithm with which paths are built.
#[test]
fn wycheproof_signatures_of_certificates() {
    let algorithm: &dyn SignatureVerificationAlgorithm = webpki::aws_lc_rs::ECDSA_P256_SHA256;
    let expected: AlgorithmIdentifier = alg_id::ECDSA_SHA256;
    assert_eq!(algorithm.signature_alg_id(), expected);
    check(TestName::EcdsaSecp256r1Sha256, 450, |spki, message, signature| {
        let key = PublicKey::from_spki(spki).expect("a point on the curve");
        let point = &key.spki()[26..];
        algorithm.verify_signature(point, message, signature).is_ok()
    });
}
