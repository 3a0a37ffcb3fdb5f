//! Messages about rights: pages of a realm's feed, chains for a purse, bearer tokens, words to a witness, renewals.
//! Whatever carries a signature gets one after it was altered.

use super::{Outcome, Target, accepted};
use crate::cases::honest_chain;
use crate::forge::{cbor, certificates_header, decoded, fill, filled, seal};
use crate::scene::{Scene, scene};
use ciborium::{Value, cbor};
use client::protocol::{
    PurseRequest, RenewRequest, RevokeRequest, TokenRequest, WitnessWord, grace_proof, renew_proof,
};
use rustls_pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use terms::{Epoch, Serial, TransferId, UnixMs};
use trust::limits::{CLOCK_SKEW, MAX_GRANTS, TOKEN_LIFETIME};
use trust::{
    AuditHead, Chain, Feed, FeedCopy, FeedEntry, FeedPage, Given, HEAD_KIND, HeadStatement, MintToken,
    RenewalAsked, RenewalId, RenewalVerdict, Revoked, Testimony, TokenGrant, Tokens, Witnessed, judge_renewal,
    signed,
    transfer::{verify, verify_last_signature},
};
use wire::Envelope;

pub const FEED: Target = Target {
    name: "feed",
    feeds: "a page of a realm's feed, signed by its feed key, as a reader takes it in",
    seeds: || {
        let now = scene().now;
        let page = |entries: &[Revoked]| {
            let numbered = entries.iter().zip(5u64..).map(|(revoked, number)| FeedEntry {
                number: Serial(number),
                revoked: revoked.clone(),
                forget: UnixMs(now.0 + 3_600_000),
            });
            let entries: Vec<_> = numbered.collect();
            let entries = Value::serialized(&entries).expect("entries");
            let listed = Value::serialized(&terms::Digest([5; 32])).expect("a hash");
            let page = cbor!({
                "realm" => "lab.example", "epoch" => 1, "at" => now.0, "after" => 0, "head" => 9,
                "listed" => listed, "entries" => entries,
            });
            cbor(&page.expect("a page"))
        };
        let principal = scene().identity("user/mallory").principal().clone();
        let transfer = Revoked::Transfer { id: TransferId([7; 16]) };
        vec![page(&[]), page(&[transfer, Revoked::Principal { principal, issued_until: now }])]
    },
    run: |input| {
        let scene = scene();
        let signer = scene.identity("service/feed");
        let bytes = seal(signer.key(), certificates_header(signer), "webos-feed-v1", filled(scene, input));
        let realm = &signer.principal().realm;
        let Ok(page) = FeedPage::open(&bytes, realm, &scene.store, scene.now) else { return Outcome::Refused };
        let mut copy = FeedCopy::new(realm.clone());
        let Ok(applied) = copy.apply(&page, scene.now) else { return Outcome::Refused };
        assert_eq!(copy.epoch(), page.epoch(), "the realm's word");
        assert!(copy.at().is_none_or(|at| at <= scene.now.plus(CLOCK_SKEW)), "no word from the future");
        for revoked in &applied.new {
            match revoked {
                Revoked::Principal { principal, issued_until } => {
                    assert_eq!(&principal.realm, realm, "a realm takes back its own only");
                    assert!(copy.is_revoked(principal, *issued_until), "{principal}");
                }
                Revoked::Transfer { id } => assert!(copy.has_ended(signer.principal(), *id, copy.epoch()), "{id}"),
                Revoked::Link { id, issuer } => assert!(copy.has_ended(issuer, *id, copy.epoch()), "{id}"),
            }
        }
        let again = copy.apply(&page, scene.now).expect("a page can come twice");
        assert!(again.new.is_empty() && !again.epoch_rose, "it says nothing new then");
        if let Ok(kept) = FeedPage::open_kept(&bytes, realm, &scene.store, scene.now) {
            let mut list = Feed::new(realm.clone(), Epoch(1), UnixMs(1));
            let lost = list.recover(&kept, scene.now).expect("one page has room");
            assert_eq!(lost.revoked.is_empty(), applied.new.is_empty(), "a list takes back what a reader knows");
            assert!(list.recover(&kept, scene.now).expect("room").is_nothing(), "once");
            assert!(FeedCopy::from(&list).lost(&kept, scene.now).is_empty(), "all of it");
        }
        accepted(page.epoch() > Epoch(1000) && !applied.new.is_empty())
    },
};

/// A message in its envelope, with every mark replaced.
fn message<T: DeserializeOwned>(content: &[u8], meaning: &dyn Fn(&str) -> Option<Vec<u8>>) -> Option<T> {
    let marked = decoded(content).and_then(|mut value| fill(&mut value, meaning).then(|| cbor(&value)));
    wire::cbor::from_slice::<Envelope<T>>(marked.as_deref().unwrap_or(content)).and_then(Envelope::into_body).ok()
}

fn enveloped(body: Value) -> Vec<u8> {
    cbor(&cbor!({ "v" => 1, "op" => null, "epoch" => 0, "body" => body }).expect("an envelope"))
}

/// The mark of an honest chain of so many links.
fn chain_mark(scene: &Scene, mark: &str) -> Option<Vec<u8>> {
    let links = mark.strip_prefix("@chain")?.parse().ok()?;
    (1..=crate::LONGEST_CHAIN).contains(&links).then(|| honest_chain(scene, links).0)
}

pub const PURSE: Target = Target {
    name: "purse",
    feeds: "a chain for a server's purse, in its envelope: @chain1 to @chain4 stand for honest ones",
    seeds: || {
        let purse = |mark: &str| cbor!({ "chain" => Value::Bytes(mark.into()) }).map(enveloped);
        ["@chain1", "@chain2", "@chain4"].map(|mark| purse(mark).expect("a message")).into()
    },
    run: |input| {
        let scene = scene();
        let Some(request) = message::<PurseRequest>(input, &|mark| chain_mark(scene, mark)) else {
            return Outcome::Refused;
        };
        let Ok(chain) = Chain::decode(&request.chain) else { return Outcome::Refused };
        let servers = (1..=crate::LONGEST_CHAIN).map(|number| scene.peer(&format!("server/n{number}")));
        let verified: Vec<_> =
            servers.filter_map(|own| Some((own, verify(&chain, own, &scene.store, scene.now).ok()?))).collect();
        let [(own, verified)] = verified.as_slice() else {
            assert!(verified.is_empty(), "a chain is for one server");
            return Outcome::Refused;
        };
        assert_eq!(verified.audience(), &own.principal, "only what is for it");
        accepted(verified.links().count() == 3)
    },
};

pub const REVOKE: Target = Target {
    name: "revoke",
    feeds: "what is to be taken back, in its envelope: @chain1 to @chain4 stand for honest chains",
    seeds: || {
        let mallory = scene().identity("user/mallory").principal().clone();
        let by_id = [
            RevokeRequest::Transfer(TransferId([7; 16])),
            RevokeRequest::Principal(mallory),
            RevokeRequest::AllChains,
        ];
        let by_id = by_id.iter().map(|request| Value::serialized(request).expect("a message"));
        let chain = cbor!({ "chain" => Value::Bytes(b"@chain2".to_vec()) }).expect("a message");
        by_id.chain([chain]).map(enveloped).collect()
    },
    run: |input| {
        let scene = scene();
        match message::<RevokeRequest>(input, &|mark| chain_mark(scene, mark)) {
            None => Outcome::Refused,
            Some(RevokeRequest::Chain(bytes)) => {
                let link =
                    Chain::decode(&bytes).and_then(|chain| verify_last_signature(&chain, &scene.store, scene.now));
                link.map_or(Outcome::Refused, |link| {
                    assert_eq!(link.issuer.realm.as_str(), "lab.example", "only the pinned realm signs");
                    accepted(false)
                })
            }
            Some(RevokeRequest::Transfer(id)) => accepted(id.0[0] >= 0x80),
            Some(RevokeRequest::Principal(_) | RevokeRequest::AllChains) => accepted(false),
        }
    },
};

pub const TOKEN: Target = Target {
    name: "token",
    feeds: "a bearer token asked for or ended, in its envelope, as a home mints it",
    seeds: || {
        let grant = |at: &str, rights: &str| TokenGrant {
            location: at.parse().expect("a place"),
            exact: false,
            rights: rights.parse().expect("rights"),
        };
        let mint = |grants| TokenRequest::Mint { grants, valid_ms: 60_000 };
        let both = vec![grant("data.lab.example/in", "r"), grant("data.lab.example/out", "rw")];
        let revoke = TokenRequest::Revoke { id: TransferId([7; 16]).to_string() };
        [mint(vec![grant("data.lab.example/in", "r")]), mint(both), revoke]
            .map(|request| enveloped(Value::serialized(&request).expect("a message")))
            .into()
    },
    run: |input| match message::<TokenRequest>(input, &|_| None) {
        None => Outcome::Refused,
        Some(TokenRequest::Revoke { id }) => accepted(id.is_empty()),
        Some(TokenRequest::Mint { grants, valid_ms }) => mint(grants, valid_ms),
    },
};

fn mint(grants: Vec<TokenGrant>, valid_ms: u64) -> Outcome {
    let scene = scene();
    let (world, _) = world::World::simulated(1);
    let folder = tempfile::tempdir().expect("a folder");
    let (alice, home) = (scene.peer("user/alice"), scene.identity("server/n1").principal().clone());
    let mut tokens = Tokens::open(&folder.path().join("tokens.json"), home).expect("no tokens yet");
    let rare = grants.len() == 3;
    let order = MintToken {
        subject: alice.principal.clone(),
        certified: alice.issued,
        subject_until: alice.not_after,
        grants,
        valid_for: std::time::Duration::from_millis(valid_ms),
        epoch: Epoch(1),
    };
    let Ok((token, info)) = tokens.mint(order, &world) else { return Outcome::Refused };
    let verified = tokens.verify(&token, scene.now, &trust::AllStand).expect("what was minted is good");
    assert_eq!(verified.subject(), &alice.principal, "for whoever asked");
    assert!(info.until <= scene.now.plus(TOKEN_LIFETIME), "it ends the same day");
    let given = verified.grants();
    assert!(!given.is_empty() && given.len() <= MAX_GRANTS, "{} grants", given.len());
    let beyond = "rwm".parse().expect("rights");
    assert!(given.iter().all(|grant| grant.rights.without(beyond).is_empty()), "r, w and m only");
    accepted(rare)
}

pub const WITNESS: Target = Target {
    name: "witness",
    feeds: "a node's word about the end of its audit log, in its envelope; the head is a value, which the node signs",
    seeds: || {
        let at = scene().now;
        let word = |records, address: &str| {
            let head = AuditHead { records, hash: terms::Digest([3; 32]) };
            let head =
                Value::serialized(&HeadStatement { head, at, acknowledged: Vec::new() }).expect("a statement");
            enveloped(cbor!({ "head" => head, "address" => address }).expect("a message"))
        };
        vec![word(4, "127.0.0.1:4433"), word(9, "n1.lab.example:443")]
    },
    run: |input| {
        let scene = scene();
        let node = scene.identity("server/n1");
        let Some(word) = decoded(input).and_then(|value| signed_word(scene, value)) else {
            return Outcome::Refused;
        };
        let opened = signed::open::<HeadStatement>(&word.head, HEAD_KIND, &scene.store, scene.now);
        let Ok(opened) = opened else { return Outcome::Refused };
        assert_eq!(&opened.signer, node.principal(), "a node speaks of its own log");
        let head = opened.value.head;
        let mut kept = Witnessed::new(AuditHead { records: 5, hash: terms::Digest([4; 32]) }, scene.now);
        let newer = kept.hear(head, scene.now, &[]) == Testimony::Newer;
        assert_eq!(newer, head.records > 5, "a witness never goes back");
        assert_eq!(kept.hear(head, scene.now, &[]) == Testimony::Same, newer, "the newest is the one kept");
        accepted(head.records > 1000)
    },
};

/// The word with its head signed by the node, unless it is bytes already.
fn signed_word(scene: &Scene, mut value: Value) -> Option<WitnessWord> {
    let node = scene.identity("server/n1");
    let head = entry(entry(&mut value, "body")?, "head")?;
    if !head.is_bytes() {
        *head = Value::Bytes(seal(node.key(), certificates_header(node), HEAD_KIND, cbor(head)));
    }
    message(&cbor(&value), &|_| None)
}

fn entry<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    value.as_map_mut()?.iter_mut().find(|(key, _)| key.as_text() == Some(name)).map(|(_, found)| found)
}

/// Signed by the key that the request names, or by the holder of the certificate shown.
const SIGN: &[u8] = b"@sign";

pub const RENEWAL: Target = Target {
    name: "renewal",
    feeds: "a renewal of n2 in its envelope, also with a certificate shown as in grace; @sign stands for signatures",
    seeds: || {
        let bytes = |text: &[u8]| Value::Bytes(text.to_vec());
        let request = |grace: Value| {
            let id = Value::serialized(&RenewalId([9; 16])).expect("an id");
            let request = cbor!({ "id" => id, "key" => bytes(b"@spki"), "proof" => bytes(SIGN), "grace" => grace });
            enveloped(request.expect("a message"))
        };
        let shown = cbor!({ "chain" => [bytes(b"@alice"), bytes(b"@issuing")], "signature" => bytes(SIGN) });
        vec![request(Value::Null), request(shown.expect("a proof"))]
    },
    run: |input| {
        let scene = scene();
        let Some(request) = message::<RenewRequest>(input, &|mark| scene.mark(mark)) else {
            return Outcome::Refused;
        };
        let shown = match &request.grace {
            None => Given::read(&scene.identity("server/n2").chain()[0]).ok(),
            Some(_) => graced(scene, &request),
        };
        let Some(shown) = shown else { return Outcome::Refused };
        let message = renew_proof(&shown.principal, request.id, &request.key);
        let proof = signature(scene, "server/n2", &request.proof, &message);
        if !request.key.verify(&message, &proof) {
            return Outcome::Refused;
        }
        assert_eq!(&request.key, scene.identity("server/n2").key().public(), "only a key that signed is certified");
        let asked = RenewalAsked { shown: &shown, id: request.id, key: &request.key };
        let verdict = judge_renewal(None, &asked, scene.now);
        assert_eq!(verdict, Ok(RenewalVerdict::Issue { by_grace: false }), "nothing here has ended");
        accepted(request.id.0[0] == 0xff)
    },
};

/// What the certificates of a proof say, if their key signed it.
fn graced(scene: &Scene, request: &RenewRequest) -> Option<Given> {
    let proof = request.grace.as_ref()?;
    let chain: Vec<_> = proof.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let (given, key) = Given::as_it_ended(&chain, &scene.store).ok()?;
    assert_eq!(given.key, key.thumbprint(), "the certificate's own key");
    let message = grace_proof(&wire::Binding([5; 32]), request.id, &request.key);
    let signed = signature(scene, "user/alice", &proof.signature, &message);
    key.verify(&message, &signed).then_some(given)
}

/// What is there, or where the mark stands what this identity signs.
fn signature(scene: &Scene, who: &str, there: &[u8], message: &[u8]) -> Vec<u8> {
    match there == SIGN {
        true => scene.identity(who).key().sign(message).expect("signed"),
        false => there.to_vec(),
    }
}
