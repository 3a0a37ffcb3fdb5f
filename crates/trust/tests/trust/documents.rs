//! Signed documents: only the signed content of the right kind, from the right key, comes out.

use crate::support::{DAY, cbor, certificates_header, lab, realm, seal};
use ciborium::Value;
use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use terms::Thumbprint;
use webos_trust::{Bucket, Bundle, Chain, Invitation, KeyPair, PublicKey, TrustError, signed};
use world::World;

const KIND: &str = "webos-test-v1";

#[test]
fn a_document_opens_for_the_right_kind_signer_and_time() {
    let lab = lab();
    let home = lab.identity("server/home");
    let bytes = signed::sign(&home, KIND, &("hello", 7)).expect("signed");
    let opened = signed::open::<(String, u32)>(&bytes, KIND, &lab.store, lab.now()).expect("opened");
    assert_eq!((opened.value.0.as_str(), opened.value.1), ("hello", 7));
    assert_eq!((&opened.signer, &opened.key), (home.principal(), home.key().public()));
    assert_eq!(opened.not_after, home.not_after());

    let open = |bytes: &[u8], kind, at| signed::open::<(String, u32)>(bytes, kind, &lab.store, at).map(drop);
    assert!(matches!(open(&bytes, "webos-other-v1", lab.now()), Err(TrustError::Signature { .. })));
    assert!(matches!(open(&bytes, KIND, lab.now().plus(8 * DAY)), Err(TrustError::Chain(_))));
    let stranger = realm(&lab.world, "lab.example");
    let stranger = stranger.issue_identity(home.principal(), None, lab.now()).expect("issued");
    let forged = signed::sign(&stranger, KIND, &("hello", 7)).expect("signed");
    assert!(matches!(open(&forged, KIND, lab.now()), Err(TrustError::Chain(_))));
    for index in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[index] ^= 1 << (index % 8);
        assert!(open(&altered, KIND, lab.now()).is_err(), "byte {index}");
    }
}

#[test]
fn a_short_document_opens_with_its_key_only() {
    let (key, other) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let bytes = signed::sign_short(&key, KIND, &42u32).expect("signed");
    assert_eq!(signed::claimed_key(&bytes).expect("named"), key.thumbprint());
    assert_eq!(signed::open_with::<u32>(&bytes, KIND, key.public()).expect("opened"), 42);
    let error = signed::open_with::<u32>(&bytes, KIND, other.public()).expect_err("another key");
    assert!(matches!(error, TrustError::WrongKey { .. }), "{error}");
    assert!(signed::open_with::<u32>(&bytes, "webos-other-v1", key.public()).is_err());
    assert!(signed::open_with::<String>(&bytes, KIND, key.public()).is_err(), "another type");
    // It names the right key and is signed with another.
    let header = HeaderBuilder::new().algorithm(iana::Algorithm::ES256).key_id(key.thumbprint().0.to_vec()).build();
    let forged = seal(&other, header, KIND, &Value::from(42));
    assert!(matches!(signed::open_with::<u32>(&forged, KIND, key.public()), Err(TrustError::Signature { .. })));
}

#[test]
fn a_document_of_one_way_does_not_open_the_other_way() {
    let lab = lab();
    let home = lab.identity("server/home");
    let long = signed::sign(&home, KIND, &1u8).expect("signed");
    let short = signed::sign_short(home.key(), KIND, &1u8).expect("signed");
    assert!(signed::open_with::<u8>(&long, KIND, home.key().public()).is_err());
    assert!(signed::open::<u8>(&short, KIND, &lab.store, lab.now()).is_err());
}

#[test]
fn headers_that_are_not_ours() {
    let lab = lab();
    let home = lab.identity("server/home");
    let certificates = || certificates_header(&home.chain()[..2]);
    let with = |change: &dyn Fn(&mut coset::Header)| {
        let mut header = certificates();
        change(&mut header);
        seal(home.key(), header, KIND, &Value::from(1))
    };
    let key_id = home.key().thumbprint().0.to_vec();
    let algorithm = |algorithm| Some(coset::RegisteredLabelWithPrivate::Assigned(algorithm));
    let open = |bytes: &[u8]| signed::open::<u8>(bytes, KIND, &lab.store, lab.now());
    assert_eq!(open(&with(&|_| {})).expect("the plain header").value, 1);
    for (name, bytes) in [
        ("no algorithm", with(&|header| header.alg = None)),
        ("another algorithm", with(&|header| header.alg = algorithm(iana::Algorithm::ES384))),
        ("an algorithm without signature", with(&|header| header.alg = algorithm(iana::Algorithm::HMAC_256_256))),
        ("both ways", with(&|header| header.key_id = key_id.clone())),
        ("neither way", with(&|header| header.rest.clear())),
        (
            "critical extensions",
            with(&|header| {
                header.crit = vec![coset::RegisteredLabelWithPrivate::PrivateUse(-70_000)];
                header.rest.push((coset::Label::Int(-70_000), Value::Null));
            }),
        ),
        (
            "critical extensions that are not there",
            with(&|header| header.crit = vec![coset::RegisteredLabelWithPrivate::PrivateUse(-70_000)]),
        ),
        ("a content type", with(&|header| header.content_type = Some(coset::RegisteredLabel::Text("x".into())))),
        ("something unknown", with(&|header| header.rest.push((coset::Label::Int(99), Value::Null)))),
        ("no certificates", with(&|header| header.rest[0].1 = Value::Array(vec![]))),
        ("too many certificates", with(&|header| header.rest[0].1 = Value::Array(vec![Value::Bytes(vec![]); 5]))),
    ] {
        assert!(open(&bytes).is_err(), "{name}");
    }
    let good = CoseSign1::from_tagged_slice(&with(&|_| {})).expect("COSE");
    let mut unprotected = good.clone();
    unprotected.unprotected = certificates();
    assert!(open(&unprotected.to_tagged_vec().expect("bytes")).is_err(), "an unprotected header");
    assert!(open(&good.clone().to_vec().expect("bytes")).is_err(), "no tag");
    let mut detached = good;
    detached.payload = None;
    assert!(open(&detached.to_tagged_vec().expect("bytes")).is_err(), "no content");
}

#[test]
fn sizes_and_depths() {
    let lab = lab();
    let home = lab.identity("server/home");
    let large = serde_bytes::ByteBuf::from(vec![0; 64 * 1024]);
    assert!(matches!(signed::sign(&home, KIND, &large), Err(TrustError::TooLarge { .. })), "nobody would read it");
    let open = |bytes: &[u8]| signed::open::<Value>(bytes, KIND, &lab.store, lab.now()).map(drop);
    assert!(matches!(open(&vec![0xd2; 64 * 1024 + 1]), Err(TrustError::TooLarge { .. })));
    assert!(open(&vec![0xd2; 64 * 1024]).is_err(), "tags within tags");
    assert!(open(&[0xd2, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err(), "2^64 elements");
    let deep = (0..200).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let deep = seal(home.key(), certificates_header(&home.chain()[..2]), KIND, &deep);
    assert!(open(&deep).is_err(), "deep content, well signed");
    let empty_header = CoseSign1Builder::new().payload(cbor(&Value::Null)).signature(vec![0; 64]).build();
    assert!(open(&empty_header.to_tagged_vec().expect("bytes")).is_err());
    assert_eq!(Thumbprint::from_slice(&[0; 31]), None);
}

#[test]
fn noise_is_refused_and_nothing_worse() {
    let lab = lab();
    let home = lab.identity("server/home");
    let good = signed::sign(&home, KIND, &("hello", 7)).expect("signed");
    for seed in 0..3000u64 {
        let (dice, _) = World::simulated(seed);
        let below = |bound: usize| usize::try_from(dice.entropy.number() % bound as u64).expect("small");
        let mut bytes = good.clone();
        for _ in 0..=below(4) {
            let at = below(bytes.len());
            match below(4) {
                0 => bytes.truncate(at.max(1)),
                1 => dice.entropy.fill(&mut bytes[at..]),
                2 => bytes.insert(at, 0xff),
                _ => bytes[at] = bytes[at].wrapping_add(1),
            }
        }
        if bytes == good {
            continue;
        }
        assert!(signed::open::<Value>(&bytes, KIND, &lab.store, lab.now()).is_err(), "seed {seed}");
        assert!(Bundle::open(&bytes, &[0; 32], lab.now()).is_err(), "seed {seed}");
        assert!(Bucket::decode(&bytes).is_err(), "seed {seed}");
        assert!(PublicKey::from_spki(&bytes).is_err(), "seed {seed}");
        let text = String::from_utf8_lossy(&bytes);
        assert!(Invitation::parse(&text).is_err() && Chain::from_header(&text).is_err(), "seed {seed}");
        let _ = Chain::decode(&bytes); // some noise is a list of byte strings
    }
}
