//! Transfer certificates that must be refused, each by name.

use crate::support::{
    DAY, HOUR, Lab, cbor, certificates_header, chain_of, claims, grant, lab, links, pin, principal, seal,
    to_server, trusted,
};
use ciborium::Value;
use coset::{AsCborValue, CoseSign1, TaggedCborSerializable};
use std::time::Duration;
use terms::{Epoch, UnixMs};
use webos_trust::transfer::{HEADER, verify};
use webos_trust::{Chain, CreateTransfer, Identity, Refusal, TransferCertificate};

const KIND: &str = "webos-transfer-v1";

/// Alice lends `in` to n2, for an hour.
struct Scene {
    lab: Lab,
    alice: Identity,
    n2: Identity,
    chain: Chain,
}

fn scene() -> Scene {
    let lab = lab();
    let (alice, n2) = (lab.identity("user/alice"), lab.identity("server/n2"));
    let chain = lab.transfer(&alice, &n2, vec![grant("data.lab.example/in", "r")]);
    Scene { lab, alice, n2, chain }
}

impl Scene {
    fn shown_by(&self, identity: &Identity, chain: &Chain) -> Result<(), Refusal> {
        verify(chain, &self.lab.peer(identity), &self.lab.store, self.lab.now()).map(drop)
    }

    fn link(&self) -> Vec<u8> {
        self.chain.encode().ok().and_then(|bytes| links(&bytes).into_iter().next()).expect("one link")
    }

    /// The true claims with one altered, signed by Alice herself: what a careless or hostile issuer can make.
    fn with_claim(&self, name: i64, value: Option<Value>) -> Chain {
        let mut claims = claims(&self.link());
        claims.retain(|(found, _)| *found != name.into());
        claims.extend(value.map(|value| (Value::from(name), value)));
        self.signed_by(&self.alice, claims)
    }

    fn signed_by(&self, identity: &Identity, claims: Vec<(Value, Value)>) -> Chain {
        let header = certificates_header(&identity.chain()[..2]);
        chain_of(&[seal(identity.key(), header, KIND, &Value::Map(claims))])
    }

    fn refused(&self, name: &str, chain: &Chain, expected: &str) {
        let refusal = self.shown_by(&self.n2, chain).expect_err(name);
        assert!(refusal.to_string().contains(expected), "{name}: expected '{expected}', got '{refusal}'");
    }
}

const ISS: i64 = 1;
const SUB: i64 = 2;
const AUD: i64 = 3;
const EXP: i64 = 4;
const NBF: i64 = 5;
const IAT: i64 = 6;
const CTI: i64 = 7;
const CNF: i64 = 8;
const GRANTS: i64 = -70_001;
const DEPTH: i64 = -70_002;
const VIA: i64 = -70_003;
const EPOCH: i64 = -70_004;

fn text(value: &str) -> Option<Value> {
    Some(Value::Text(value.into()))
}

fn number(value: u64) -> Option<Value> {
    Some(Value::from(value))
}

fn grant_value(volume: &str, path: &[&str], rights: &str) -> Value {
    let path = path.iter().map(|segment| Value::Text((*segment).into())).collect();
    let member = |name: &str, value| (Value::Text(name.into()), value);
    Value::Map(vec![
        member("volume", Value::Text(volume.into())),
        member("path", Value::Array(path)),
        member("exact", Value::Bool(false)),
        member("rights", Value::Text(rights.into())),
    ])
}

#[test]
fn the_honest_one_is_accepted_and_travels() {
    let scene = scene();
    let header = scene.chain.to_header().expect("a header");
    assert!(header.len() < 4096, "{HEADER} has {} bytes", header.len());
    let chain = Chain::from_header(&header).expect("our own");
    let verified = verify(&chain, &scene.lab.peer(&scene.n2), &scene.lab.store, scene.lab.now()).expect("valid");
    assert_eq!(verified.subject(), scene.alice.principal());
    assert_eq!(verified.grants(), [grant("data.lab.example/in", "r")]);
    assert_eq!(verified.until(), UnixMs::from_secs(scene.lab.now().plus(HOUR).secs() + 60));
}

#[test]
fn altered_after_signing() {
    let scene = scene();
    let link = scene.link();
    let altered = |find: &[u8], replace: &[u8]| {
        let at = link.windows(find.len()).rposition(|window| window == find).expect("found");
        let mut bytes = link.clone();
        bytes[at..at + find.len()].copy_from_slice(replace);
        chain_of(&[bytes])
    };
    scene.refused("another path", &altered(b"\x62in", b"\x62on"), "does not match");
    scene.refused("another server", &altered(b"/server/n2", b"/server/n3"), "does not match");
    scene.refused("another subject", &altered(b"/user/alice", b"/user/alicf"), "does not match");
    scene.refused("more rights", &altered(b"\x66rights\x61r", b"\x66rights\x61a"), "does not match");
    let mut signature = link.clone();
    *signature.last_mut().expect("bytes") ^= 1;
    scene.refused("the signature", &chain_of(&[signature]), "does not match");
    // Every single bit, in every byte: none passes.
    for index in 0..link.len() {
        let mut bytes = link.clone();
        bytes[index] ^= 1 << (index % 8);
        assert!(scene.shown_by(&scene.n2, &chain_of(&[bytes])).is_err(), "byte {index}");
    }
}

#[test]
fn for_somebody_else() {
    let scene = scene();
    let n3 = scene.lab.identity("server/n3");
    let refusal = scene.shown_by(&n3, &scene.chain).expect_err("another server");
    assert!(matches!(refusal, Refusal::WrongAudience { .. }), "{refusal}");
    let refusal = scene.shown_by(&scene.alice, &scene.chain).expect_err("its own issuer");
    assert!(matches!(refusal, Refusal::WrongAudience { .. }), "{refusal}");
    // n2 with a new key is not the n2 that was meant.
    let rotated = scene.lab.identity("server/n2");
    let refusal = scene.shown_by(&rotated, &scene.chain).expect_err("another key");
    assert!(matches!(refusal, Refusal::WrongKey { .. }), "{refusal}");
    // A renewed certificate for the same key is.
    let key = Some(scene.n2.key().clone());
    scene.lab.clock.advance(HOUR / 2);
    let renewed = scene.lab.authority.issue_identity(scene.n2.principal(), key, scene.lab.now()).expect("renewed");
    assert_eq!(scene.shown_by(&renewed, &scene.chain), Ok(()));
    // Nobody lends to a person.
    let bob = scene.lab.identity("user/bob");
    let chain = scene.with_claim(AUD, text("spiffe://lab.example/user/bob"));
    assert!(scene.shown_by(&bob, &chain).is_err());
    assert!(TransferCertificate::create(&scene.alice, to_server(&bob, vec![]), &scene.lab.world).is_err());
}

#[test]
fn signed_by_another() {
    let scene = scene();
    let mallory = scene.lab.identity("user/mallory");
    let own = claims(&scene.link());
    scene.refused("a copy under another name", &scene.signed_by(&mallory, own.clone()), "user/mallory signed it");
    let issuer_swapped: Vec<_> = own
        .iter()
        .map(|(name, value)| match *name == ISS.into() {
            true => (name.clone(), Value::Text(mallory.principal().to_string())),
            false => (name.clone(), value.clone()),
        })
        .collect();
    scene.refused("a foreign subject", &scene.signed_by(&mallory, issuer_swapped), "cannot lend what belongs to");
    // Alice's certificates, Mallory's signature.
    let header = certificates_header(&scene.alice.chain()[..2]);
    let forged = seal(mallory.key(), header, KIND, &Value::Map(own.clone()));
    scene.refused("another key behind the certificates", &chain_of(&[forged]), "does not match");
    // A signature of Alice on another kind of document.
    let header = certificates_header(&scene.alice.chain()[..2]);
    let other_kind = seal(scene.alice.key(), header, "webos-manifest-v1", &Value::Map(own.clone()));
    scene.refused("another kind", &chain_of(&[other_kind]), "does not match");
    // Alice of a realm that nobody trusts here.
    let foreign = crate::support::realm(&scene.lab.world, "lab.example");
    let foreign = foreign.issue_identity(scene.alice.principal(), None, scene.lab.now()).expect("issued");
    scene.refused("a forged issuer", &scene.signed_by(&foreign, own), "not issued by the realm");
}

#[test]
fn at_another_time() {
    let scene = scene();
    let (store, peer) = (&scene.lab.store, scene.lab.peer(&scene.n2));
    let end = scene.lab.now().plus(HOUR);
    let second = Duration::from_secs(1);
    assert!(verify(&scene.chain, &peer, store, end.plus(59 * second)).is_ok(), "the allowance for clocks");
    let refusal = verify(&scene.chain, &peer, store, end.plus(61 * second)).expect_err("ended");
    assert!(matches!(refusal, Refusal::Expired { .. }), "{refusal}");
    let now = scene.lab.now();
    let later = scene.with_claim(NBF, number(now.plus(HOUR / 2).secs()));
    scene.refused("not yet", &later, "not valid yet");
    let soon = scene.with_claim(NBF, number(now.plus(50 * second).secs()));
    assert_eq!(scene.shown_by(&scene.n2, &soon), Ok(()));
    scene.refused("ends before it starts", &scene.with_claim(EXP, number(now.secs() - 1)), "ends before it starts");
    scene.refused("signed later", &scene.with_claim(IAT, number(now.secs() + 30)), "starts before it was signed");
    scene.refused("for ever", &scene.with_claim(EXP, number(i64::MAX as u64)), "longer than its issuer's");
    scene.refused("half a second", &scene.with_claim(EXP, Some(Value::Float(2e9))), "not whole seconds");
    scene.refused("before 1970", &scene.with_claim(NBF, Some(Value::from(-5))), "before 1970");
    // When the issuer's own certificate has ended, so has all it signed.
    let refusal = verify(&scene.chain, &peer, store, now.plus(31 * DAY)).expect_err("the issuer ended");
    assert!(matches!(refusal, Refusal::Issuer(_)), "{refusal}");
}

#[test]
fn nobody_signs_beyond_his_own_end() {
    let scene = scene();
    let mut transfer = to_server(&scene.n2, vec![grant("data.lab.example/in", "r")]);
    for (valid_for, ok) in [(29 * DAY, true), (31 * DAY, false), (Duration::ZERO, false)] {
        transfer.valid_for = valid_for;
        let made = TransferCertificate::create(&scene.alice, transfer.clone(), &scene.lab.world);
        assert_eq!(made.is_ok(), ok, "{valid_for:?}");
    }
}

#[test]
fn missing_strange_and_malformed_claims() {
    let scene = scene();
    for (name, expected) in [
        (ISS, "no claim iss"),
        (SUB, "no claim sub"),
        (AUD, "no claim aud"),
        (EXP, "no claim exp"),
        (NBF, "no claim nbf"),
        (IAT, "no claim iat"),
        (CTI, "no claim cti"),
        (CNF, "no claim cnf"),
        (GRANTS, "no claim grants"),
        (DEPTH, "no claim depth"),
        (EPOCH, "no claim epoch"),
    ] {
        scene.refused(expected, &scene.with_claim(name, None), expected);
    }
    let whole = Value::Array(vec![grant_value("data.lab.example", &["in"], "r")]);
    assert_eq!(scene.shown_by(&scene.n2, &scene.with_claim(GRANTS, Some(whole))), Ok(()));
    let path = |segments: &[&str]| Some(Value::Array(vec![grant_value("data.lab.example", segments, "r")]));
    let many = Value::Array(vec![grant_value("data.lab.example", &["in"], "r"); 17]);
    let cases = [
        (-70_005, text("job-7"), "job is wrong"),
        (-70_099, number(1), "not understood here"),
        (VIA, Some(Value::Bytes(vec![0; 32])), "continues another one"),
        (VIA, Some(Value::Bytes(vec![0; 31])), "via is wrong"),
        (AUD, text("n2"), "aud is wrong"),
        (CTI, Some(Value::Bytes(vec![1; 15])), "cti is wrong"),
        (CNF, Some(Value::Bytes(vec![1; 32])), "cnf is wrong"),
        (DEPTH, number(4), "depth 4"),
        (DEPTH, Some(Value::from(-1)), "depth is wrong"),
        (GRANTS, Some(Value::Array(vec![])), "0 grants"),
        (GRANTS, Some(many), "17 grants"),
        (GRANTS, Some(Value::Array(vec![grant_value("data.lab.example", &["in"], "-")])), "gives nothing"),
        (GRANTS, Some(Value::Array(vec![grant_value("data", &["in"], "r")])), "grants is wrong"),
        (GRANTS, path(&[".."]), "grants is wrong"),
        (GRANTS, path(&["in", ".", "x"]), "grants is wrong"),
        (GRANTS, path(&["in/x"]), "grants is wrong"),
        (GRANTS, path(&[""]), "grants is wrong"),
        (GRANTS, path(&["in\0"]), "grants is wrong"),
    ];
    for (name, value, expected) in cases {
        scene.refused(expected, &scene.with_claim(name, value), expected);
    }
    let mut twice = claims(&scene.link());
    twice.push((Value::from(AUD), Value::Text("spiffe://lab.example/server/n3".into())));
    scene.refused("a claim twice", &scene.signed_by(&scene.alice, twice), "not understood");
}

#[test]
fn after_the_realm_ended_all() {
    let scene = scene();
    pin(&scene.lab.store, &scene.lab.authority, Epoch(2), scene.lab.now());
    scene.refused("an old epoch", &scene.chain, "has ended all before 2");
    let transfer =
        CreateTransfer { epoch: Epoch(2), ..to_server(&scene.n2, vec![grant("data.lab.example/in", "r")]) };
    let chain = TransferCertificate::create(&scene.alice, transfer, &scene.lab.world).expect("made");
    assert_eq!(scene.shown_by(&scene.n2, &chain), Ok(()));
}

#[test]
fn between_trusted_realms() {
    let scene = scene();
    let other = trusted(&scene.lab.world, &scene.lab.store, "other.example");
    let server = principal("spiffe://other.example/server/b");
    let server = other.issue_identity(&server, None, scene.lab.now()).expect("issued");
    let chain = scene.lab.transfer(&scene.alice, &server, vec![grant("data.lab.example/in", "r")]);
    assert_eq!(scene.shown_by(&server, &chain), Ok(()));
}

#[test]
fn a_malleated_signature_is_the_same_transfer() {
    let scene = scene();
    let mut cose = CoseSign1::from_tagged_slice(&scene.link()).expect("COSE");
    let s: [u8; 32] = cose.signature[32..].try_into().expect("32 bytes");
    cose.signature[32..].copy_from_slice(&negate_modulo_order(s));
    let other = chain_of(&[cose.to_tagged_vec().expect("bytes")]);
    assert_ne!(other, scene.chain);
    let peer = scene.lab.peer(&scene.n2);
    let id = |chain| verify(chain, &peer, &scene.lab.store, scene.lab.now()).map(|verified| verified.id());
    // Both verify, so only the signed content may name the transfer.
    assert_eq!(id(&other).expect("still valid"), id(&scene.chain).expect("valid"));
}

/// n - s for the order n of P-256.
fn negate_modulo_order(s: [u8; 32]) -> [u8; 32] {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut result = [0u8; 32];
    let mut borrow = 0i16;
    for index in (0..32).rev() {
        let difference = i16::from(ORDER[index]) - i16::from(s[index]) - borrow;
        borrow = i16::from(difference < 0);
        result[index] = u8::try_from(difference + 256 * borrow).expect("one byte");
    }
    result
}

#[test]
fn sizes_and_depths_before_decoding() {
    let scene = scene();
    let decoded = |bytes: &[u8]| Chain::decode(bytes).map(drop);
    assert!(matches!(decoded(&vec![0x81; 32 * 1024 + 1]), Err(Refusal::TooLarge { .. })));
    assert!(matches!(decoded(&vec![0x81; 32 * 1024]), Err(Refusal::Malformed(_))));
    assert!(decoded(&[0x80]).is_err(), "no link");
    assert!(decoded(&cbor(&Value::Array(vec![Value::Bytes(vec![]); 5]))).is_err(), "five links");
    assert!(decoded(&[scene.chain.encode().expect("bytes"), vec![0]].concat()).is_err(), "trailing");
    assert!(Chain::from_header(&"A".repeat(100_000)).is_err());
    assert!(Chain::from_header("not base64!").is_err());
    // Depth hidden in the link, in the protected header and in the claims.
    let deep = (0..100).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    scene.refused("a deep link", &chain_of(&[cbor(&deep)]), "not understood");
    scene.refused("a deep claim", &scene.with_claim(-70_098, Some(deep.clone())), "not understood");
    let mut cose = CoseSign1::from_tagged_slice(&scene.link()).expect("COSE").to_cbor_value().expect("CBOR");
    let header = Value::Map(vec![(Value::from(1), Value::from(-7)), (Value::from(99), deep)]);
    cose.as_array_mut().expect("a list")[0] = Value::Bytes(cbor(&header));
    let tagged = Value::Tag(18, Box::new(cose));
    scene.refused("a deep header", &chain_of(&[cbor(&tagged)]), "the protected header is not understood");
}
