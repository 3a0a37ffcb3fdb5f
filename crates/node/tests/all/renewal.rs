//! Renewals at a realm's first node, asked for by whoever should not: over real TLS, with hand-made requests.

use crate::realm::{Realm, principal};
use client::protocol::{GraceProof, RENEW_ROUTE, RenewReply, RenewRequest, grace_proof, renew_proof};
use client::register::Register;
use serde_bytes::ByteBuf;
use std::sync::Arc;
use terms::{Code, PrincipalKind, Problem};
use trust::{Identity, KeyPair, MemberState, RenewalId};
use wire::{Binding, Envelope, Expect, Pool, Purpose, Target};

fn identity(realm: &Realm, name: &str) -> Identity {
    Identity::load(&realm.folder(name).identity()).expect("an identity")
}

fn target(realm: &Realm, purpose: Purpose) -> Target {
    let home = realm.home();
    Target { address: home.address().to_string(), expect: Expect::Principal(home.principal().clone()), purpose }
}

fn pool(realm: &Realm, as_whom: Option<&Identity>) -> Pool {
    let trust = realm.client("alice").trust().clone();
    Pool::new(&realm.world, as_whom.map(Identity::credentials), Arc::new(trust))
}

fn request(of: &Identity, id: u8, key: &KeyPair, grace: Option<GraceProof>) -> RenewRequest {
    let id = RenewalId([id; 16]);
    let proof = key.sign(&renew_proof(of.principal(), id, key.public())).expect("signed");
    RenewRequest { id, key: key.public().clone(), proof, grace }
}

async fn ask(pool: &Pool, target: &Target, request: RenewRequest) -> Result<RenewReply, Problem> {
    let body = wire::body::full(wire::cbor::to_vec(&Envelope::new(request)));
    let url = format!("https://{}{RENEW_ROUTE}", target.address);
    let answer = pool.request(target, http::Request::post(url).body(body).expect("a request")).await?;
    if !answer.status().is_success() {
        return Err(wire::problem_from(answer).await);
    }
    wire::cbor::from_slice(&wire::read_body(answer.into_body(), 1 << 20).await?)
}

fn over(binding: &Binding, of: &Identity, signer: &KeyPair, id: u8, key: &KeyPair) -> GraceProof {
    let chain = of.chain().iter().map(|der| ByteBuf::from(der.to_vec())).collect();
    let message = grace_proof(binding, RenewalId([id; 16]), key.public());
    GraceProof { chain, signature: signer.sign(&message).expect("signed") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grace_proof_counts_on_its_own_connection_only_and_for_its_own_key() {
    let realm = Realm::start().await;
    realm.issue("n2", PrincipalKind::Server);
    let (n2, nobody) = (identity(&realm, "n2"), pool(&realm, None));
    let (here, elsewhere) = (target(&realm, Purpose::Control), target(&realm, Purpose::Bulk));
    let binding = nobody.binding(&here).await.expect("a connection");
    assert_ne!(binding, nobody.binding(&elsewhere).await.expect("another one"));
    let (key, others) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let good = over(&binding, &n2, n2.key(), 1, &key);
    for (what, at, refused) in [
        ("replayed on another connection", &elsewhere, request(&n2, 1, &key, Some(good.clone()))),
        ("with another id", &here, request(&n2, 2, &key, Some(good.clone()))),
        ("for another key", &here, request(&n2, 1, &others, Some(good.clone()))),
        ("signed by another key", &here, request(&n2, 1, &key, Some(over(&binding, &n2, &others, 1, &key)))),
        ("without any proof", &here, request(&n2, 1, &key, None)),
    ] {
        assert_eq!(ask(&nobody, at, refused).await.err().map(|problem| problem.code), Some(Code::Denied), "{what}");
    }
    let (mut stolen, mallory) = (request(&n2, 1, &key, Some(good.clone())), KeyPair::generate().expect("a key"));
    stolen.proof = mallory.sign(b"something else").expect("signed");
    assert!(ask(&nobody, &here, stolen).await.is_err(), "the key to certify did not sign");
    ask(&nobody, &here, request(&n2, 1, &key, Some(good))).await.expect("else the refusals prove nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_given_again_and_a_second_id_cordons() {
    let realm = Realm::start().await;
    let (alice, at) = (identity(&realm, "alice"), target(&realm, Purpose::Control));
    let as_alice = pool(&realm, Some(&alice));
    let first = ask(&as_alice, &at, request(&alice, 1, alice.key(), None)).await.expect("renewed");
    let again = ask(&as_alice, &at, request(&alice, 1, alice.key(), None)).await.expect("the same again");
    assert_eq!(first.chain, again.chain);
    let problem = ask(&as_alice, &at, request(&alice, 2, alice.key(), None)).await.err().expect("refused");
    assert!(problem.detail.contains("renewed before"), "{problem}");
    let problem = ask(&as_alice, &at, request(&alice, 1, alice.key(), None)).await.err().expect("refused");
    assert!(problem.detail.contains("cordoned"), "also the one that was first: {problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_member_is_renewed_no_more_and_joins_only_on_a_later_invitation() {
    let realm = Realm::start().await;
    let (alice, at) = (identity(&realm, "alice"), target(&realm, Purpose::Control));
    let who = principal(PrincipalKind::User, "alice");
    let register = Register::new(&realm.folder("home"));
    let early = realm.invite(PrincipalKind::User, "alice");
    let now = realm.world.clock.unix();
    assert!(register.revoke(&who, now).expect("revoked"));
    assert!(!register.revoke(&who, now).expect("once"));
    let as_alice = pool(&realm, Some(&alice));
    let problem = ask(&as_alice, &at, request(&alice, 1, alice.key(), None)).await.err().expect("refused");
    assert!(problem.detail.contains("was revoked"), "{problem}");
    let join = |folder: &str, line: String| {
        let (folder, world) = (realm.folder(folder), realm.world.clone());
        async move { client::enrol::join(&folder, &line, PrincipalKind::User, &world).await }
    };
    let problem = join("again", early).await.expect_err("invited before it was revoked");
    assert!(problem.detail.contains("was revoked"), "{problem}");
    assert_eq!(register.member(&who).expect("readable").expect("known").standing, MemberState::Revoked(now));
    let later = realm.invite(PrincipalKind::User, "alice");
    join("again", later).await.expect("invited again");
    assert_eq!(register.member(&who).expect("readable").expect("known").standing, MemberState::Active);
}
