//! Every way to bend a chain of several links, by name.

use crate::chains::{Scene, scene, whole};
use crate::support::{
    DAY, HOUR, certificates_header, chain_of, claims, grant, lab, links, principal, seal, to_server, trusted,
};
use ciborium::Value;
use std::time::Duration;
use webos_trust::transfer::verify;
use webos_trust::{Chain, CreateTransfer, Grant, Identity, Refusal, TransferCertificate};

const KIND: &str = "webos-transfer-v1";
const SUB: i64 = 2;
const AUD: i64 = 3;
const EXP: i64 = 4;
const NBF: i64 = 5;
const IAT: i64 = 6;
const CNF: i64 = 8;
const GRANTS: i64 = -70_001;
const DEPTH: i64 = -70_002;
const VIA: i64 = -70_003;
const EPOCH: i64 = -70_004;
const JOB: i64 = -70_005;

impl Scene {
    /// The last link made anew by its own signer, with one claim changed: what a hostile server can sign.
    fn last_with(&self, name: i64, value: Option<Value>) -> Chain {
        self.last_by(&self.servers[1], name, value)
    }

    fn last_by(&self, signer: &Identity, name: i64, value: Option<Value>) -> Chain {
        let mut links = self.links();
        let mut claims = claims(&links[2]);
        claims.retain(|(found, _)| *found != name.into());
        claims.extend(value.map(|value| (Value::from(name), value)));
        let header = certificates_header(&signer.chain()[..2]);
        links[2] = seal(signer.key(), header, KIND, &Value::Map(claims));
        chain_of(&links)
    }

    fn refused(&self, name: &str, chain: &Chain, expected: &str) {
        let refusal = self.shown_by(&self.servers[2], chain).expect_err(name);
        assert!(refusal.to_string().contains(expected), "{name}: expected '{expected}', got '{refusal}'");
    }
}

fn grants(grants: &[Grant]) -> Option<Value> {
    let value = |grant: &Grant| {
        let webos_trust::Resource::Path(location) = &grant.on else { panic!("a path") };
        let path = location.path.segments().map(|segment| Value::Text(segment.into())).collect();
        Value::Map(vec![
            ("volume".into(), Value::Text(location.volume.to_string())),
            ("path".into(), Value::Array(path)),
            ("exact".into(), Value::Bool(grant.exact)),
            ("rights".into(), Value::Text(grant.rights.to_string())),
        ])
    };
    Some(Value::Array(grants.iter().map(value).collect()))
}

fn number(value: u64) -> Option<Value> {
    Some(Value::from(value))
}

#[test]
fn widened() {
    let scene = scene();
    let cases = [
        ("above", vec![grant("data.lab.example", "r")]),
        ("beside", vec![grant("data.lab.example/inn", "r")]),
        ("another volume", vec![grant("date.lab.example/in", "r")]),
        ("one right more", vec![grant("data.lab.example/in", "rwm")]),
        ("one grant more", vec![grant("data.lab.example/in/x", "r"), grant("data.lab.example/out", "r")]),
    ];
    for (name, wider) in cases {
        scene.refused(
            name,
            &scene.last_with(GRANTS, grants(&wider)),
            "which the transfer certificate before it does not",
        );
    }
    // All of a subtree from a parent that names one file only.
    let exact = Grant::exactly("data.lab.example/in".parse().expect("a place"), "r".parse().expect("rights"));
    let first = chain_of(&scene.links()[..1]);
    let one = scene.passed(&first, 0, 1, vec![exact.clone()]).expect("narrower");
    assert!(scene.passed(&one, 1, 0, vec![grant("data.lab.example/in", "r")]).is_err());
    assert!(scene.passed(&one, 1, 0, vec![exact]).is_ok());
}

#[test]
fn longer_than_its_parent() {
    let scene = scene();
    let now = scene.lab.now().secs();
    scene.refused(
        "later end",
        &scene.last_with(EXP, number(now + 3601)),
        "is valid when the transfer certificate before",
    );
    // Backdated by the server that signs it.
    let mut all = scene.links();
    let mut set = claims(&all[2]);
    for (name, value) in &mut set {
        if *name == Value::from(NBF) || *name == Value::from(IAT) {
            *value = Value::from(now - 10);
        }
    }
    let signer = &scene.servers[1];
    all[2] = seal(signer.key(), certificates_header(&signer.chain()[..2]), KIND, &Value::Map(set));
    scene.refused("an earlier start", &chain_of(&all), "is valid when the transfer certificate before");
}

#[test]
fn deeper_than_allowed() {
    let scene = scene();
    scene.refused("as deep as its parent", &scene.last_with(DEPTH, number(2)), "may not be passed on so far");
    scene.refused("deeper than its parent", &scene.last_with(DEPTH, number(3)), "may not be passed on so far");
    // A parent that withholds the right to transfer.
    let closed = scene.passed(&chain_of(&scene.links()[..1]), 0, 0, whole()).expect("closed");
    let mut links = links(&closed.encode().expect("bytes"));
    let mut further = claims(&scene.links()[2]);
    further.retain(|(name, _)| *name != Value::from(VIA) && *name != Value::from(DEPTH));
    further.push((VIA.into(), Value::Bytes(sha256(&links[1]))));
    further.push((DEPTH.into(), 0.into()));
    let n2 = &scene.servers[1];
    links.push(seal(n2.key(), certificates_header(&n2.chain()[..2]), KIND, &Value::Map(further)));
    scene.refused("withheld", &chain_of(&links), "may not be passed on so far");
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec()
}

#[test]
fn reordered_left_out_and_repeated() {
    let scene = scene();
    let links = scene.links();
    let chain = |order: &[usize]| chain_of(&order.iter().map(|index| links[*index].clone()).collect::<Vec<_>>());
    for order in [[0, 2].as_slice(), &[1, 2], &[2], &[1, 0, 2], &[0, 1, 1, 2], &[2, 1, 0], &[0, 0, 1, 2]] {
        assert!(scene.shown_by(&scene.servers[2], &chain(order)).is_err(), "{order:?}");
    }
    assert!(scene.shown_by(&scene.servers[2], &chain(&[0, 1, 2])).is_ok());
    // A prefix is for its own audience only.
    assert!(scene.shown_by(&scene.servers[1], &chain(&[0, 1])).is_ok());
    assert!(matches!(scene.shown_by(&scene.servers[2], &chain(&[0, 1])), Err(Refusal::WrongAudience { .. })));
}

#[test]
fn spliced_from_two_chains() {
    let (scene, mut links) = {
        let scene = scene();
        let links = scene.links();
        (scene, links)
    };
    // The same people, the same grants, another first link: each part is valid, the whole is not.
    let other = CreateTransfer { depth: 3, ..to_server(&scene.servers[0], whole()) };
    let other = TransferCertificate::create(&scene.alice, other, &scene.lab.world).expect("made");
    links[0] = crate::support::links(&other.encode().expect("bytes")).remove(0);
    scene.refused("another first link", &chain_of(&links), "does not continue");
    // Bob's own first link before the rest of Alice's.
    let bob = scene.lab.identity("user/bob");
    let bobs = CreateTransfer { depth: 3, ..to_server(&scene.servers[0], whole()) };
    let bobs = TransferCertificate::create(&bob, bobs, &scene.lab.world).expect("made");
    links[0] = crate::support::links(&bobs.encode().expect("bytes")).remove(0);
    scene.refused("Bob's first link", &chain_of(&links), "does not continue");
    let wrong = Value::Bytes(sha256(&links[0]));
    scene.refused("via of another link", &scene.last_with(VIA, Some(wrong)), "does not continue");
    scene.refused("no via", &scene.last_with(VIA, None), "does not continue");
}

#[test]
fn a_further_link_signed_by_somebody_else() {
    let scene = scene();
    // By another server that is trusted just as well: the issuer is a claim, so it is changed with the signer.
    let n4 = &scene.servers[3];
    let mut all = scene.links();
    let mut set = claims(&all[2]);
    set.retain(|(name, _)| *name != Value::from(1));
    set.push((1.into(), Value::Text(n4.principal().to_string())));
    all[2] = seal(n4.key(), certificates_header(&n4.chain()[..2]), KIND, &Value::Map(set));
    scene.refused("another server", &chain_of(&all), "is for another server or key");
    scene.refused("in another's name", &scene.last_by(n4, DEPTH, number(1)), "signed it");
    // By another key of the same server: a clone that enrolled again, a key that was rotated.
    let twin = scene.lab.identity("server/n2");
    scene.refused("another key", &scene.last_by(&twin, DEPTH, number(1)), "is for another server or key");
    // By the first link's subject herself: she lent to n1, and did not pass anything on to n3.
    scene.refused("the subject", &scene.last_by(&scene.alice, DEPTH, number(1)), "signed it");
}

#[test]
fn the_subject_never_changes() {
    let scene = scene();
    for other in ["spiffe://lab.example/user/bob", "spiffe://lab.example/server/n2"] {
        scene.refused(other, &scene.last_with(SUB, Some(Value::Text(other.into()))), "acts for somebody else");
    }
}

#[test]
fn another_job_than_its_parents() {
    let scene = scene();
    // The parent names a job: the further link cannot leave it out, nor name another.
    let n1 = &scene.servers[0];
    let mut all = scene.links();
    let mut second = claims(&all[1]);
    second.push((JOB.into(), Value::Bytes(vec![7; 16])));
    all[1] = seal(n1.key(), certificates_header(&n1.chain()[..2]), KIND, &Value::Map(second));
    for (job, refused) in [(None, true), (Some(8), true), (Some(7), false)] {
        let mut third = claims(&all[2]);
        third.retain(|(name, _)| *name != Value::from(VIA));
        third.push((VIA.into(), Value::Bytes(sha256(&all[1]))));
        third.extend(job.map(|job| (Value::from(JOB), Value::Bytes(vec![job; 16]))));
        let n2 = &scene.servers[1];
        let link = seal(n2.key(), certificates_header(&n2.chain()[..2]), KIND, &Value::Map(third));
        let chain = chain_of(&[all[0].clone(), all[1].clone(), link]);
        let found = scene.shown_by(&scene.servers[2], &chain);
        assert_eq!(matches!(found, Err(Refusal::JobChanged(_))), refused, "{job:?}");
        assert_eq!(found.is_ok(), !refused, "{job:?}");
    }
}

#[test]
fn an_expired_parent_ends_all_that_follows() {
    let scene = scene();
    scene.lab.clock.advance(HOUR + Duration::from_secs(61));
    assert!(matches!(scene.shown_by(&scene.servers[2], &scene.chain), Err(Refusal::Expired { .. })));
}

#[test]
fn an_issuers_certificate_that_ended_ends_the_chain() {
    // n1's certificate ends before the link that it signed would: such a link cannot be made, nor slipped in.
    let lab = lab();
    let alice = lab.identity("user/alice");
    let n1 = lab.identity("server/n1");
    let first = CreateTransfer { depth: 1, valid_for: 10 * DAY, ..to_server(&n1, whole()) };
    let first = TransferCertificate::create(&alice, first, &lab.world).expect("made");
    let n2 = lab.identity("server/n2");
    let long = CreateTransfer { valid_for: 9 * DAY, ..to_server(&n2, whole()) };
    let error = TransferCertificate::pass_on(&first, &n1, long, &lab.world).expect_err("too long");
    assert!(error.to_string().contains("your own certificate ends"));
}

#[test]
fn an_epoch_that_ended_at_any_link() {
    let scene = scene();
    scene.refused("an old epoch in a further link", &scene.last_with(EPOCH, number(0)), "has ended all before 1");
}

#[test]
fn across_realms_each_issuer_needs_its_realm_pinned() {
    let scene = scene();
    let other = trusted(&scene.lab.world, &scene.lab.store, "other.example");
    let server = |name: &str| {
        let name = principal(&format!("spiffe://other.example/server/{name}"));
        other.issue_identity(&name, None, scene.lab.now()).expect("issued")
    };
    let (s1, s2) = (server("s1"), server("s2"));
    let first = CreateTransfer { depth: 1, ..to_server(&s1, whole()) };
    let first = TransferCertificate::create(&scene.alice, first, &scene.lab.world).expect("made");
    let chain =
        TransferCertificate::pass_on(&first, &s1, to_server(&s2, whole()), &scene.lab.world).expect("passed");
    assert!(scene.shown_by(&s2, &chain).is_ok());
    // A chain through a realm that is not trusted here is refused, wherever that realm stands in it.
    let peer = scene.lab.peer(&s2);
    scene.lab.store.remove(&"other.example".parse().expect("a realm"));
    assert!(matches!(verify(&chain, &peer, &scene.lab.store, scene.lab.now()), Err(Refusal::Issuer(_))));
    // A server of the same name in a realm that looks alike.
    let alike = trusted(&scene.lab.world, &scene.lab.store, "other.example.evil.example");
    let name = principal("spiffe://other.example.evil.example/server/s2");
    let imposter = alike.issue_identity(&name, None, scene.lab.now()).expect("issued");
    assert!(scene.shown_by(&imposter, &chain).is_err());
}

#[test]
fn an_audience_that_is_no_server() {
    let scene = scene();
    for other in ["spiffe://lab.example/user/bob", "spiffe://lab.example/service/site"] {
        scene.refused(other, &scene.last_with(AUD, Some(Value::Text(other.into()))), "is no server");
    }
    let key = Value::Map(vec![(3.into(), Value::Bytes(vec![9; 32]))]);
    scene.refused("another key", &scene.last_with(CNF, Some(key)), "for another key");
}

#[test]
fn each_altered_byte_of_each_link_is_found() {
    let scene = scene();
    let links = scene.links();
    for index in 0..3 {
        for at in (0..links[index].len()).step_by(7) {
            let mut altered = links.clone();
            altered[index][at] ^= 0x20;
            let bytes = crate::support::cbor(&Value::Array(altered.into_iter().map(Value::Bytes).collect()));
            let refused = Chain::decode(&bytes).and_then(|chain| scene.shown_by(&scene.servers[2], &chain));
            assert!(refused.is_err(), "link {index}, byte {at}");
        }
    }
}
