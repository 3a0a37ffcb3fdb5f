//! Transfer certificates: the header as text, and claims that are signed after they were altered.

use super::{Outcome, Target, accepted};
use crate::LONGEST_CHAIN;
use crate::forge::{cbor, decoded, fill, filled, link};
use crate::scene::{Scene, scene};
use crate::transfer_claims::{self as claim, AUD, Claims, ISS, VIA, parent_hash};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value;
use terms::Right;
use trust::{Chain, VerifiedChain, transfer::verify};

pub const HEADER: Target = Target {
    name: "header",
    feeds: "the value of the header webos-transfer, decoded and not verified",
    seeds: || {
        let links = |count: u8| Value::Array((0..count).map(|number| Value::Bytes(vec![number; 9])).collect());
        [1, 2, 4].map(|count| URL_SAFE_NO_PAD.encode(cbor(&links(count))).into_bytes()).into()
    },
    run: |input| {
        let Some(chain) = std::str::from_utf8(input).ok().and_then(|text| Chain::from_header(text).ok()) else {
            return Outcome::Refused;
        };
        let again = chain.to_header().expect("what was read can be written");
        assert_eq!(Chain::from_header(&again).as_ref(), Ok(&chain), "what was written is read");
        // No seed has three links.
        accepted(links_of(&chain) == 3)
    },
};

pub const CLAIMS: Target = Target {
    name: "claims",
    feeds: "the claims of a first link, signed by its subject, as n2 shows it",
    seeds: || {
        let mut all = claims("user/alice", "server/n2", "r", 0);
        all.set(claim::GRANTS, vec![claim::grant("data.lab.example", &["in"], false, "rwmxa")]);
        [claims("user/alice", "server/n2", "r", 0), claims("user/alice", "server/n2", "rw", 3), all]
            .iter()
            .map(|claims| cbor(&claims.value()))
            .collect()
    },
    run: |input| {
        let scene = scene();
        let payload = filled(scene, input);
        shown(scene, &[link(scene.identity("user/alice"), &payload)], "server/n2")
    },
};

pub const CHAIN: Target = Target {
    name: "chain",
    feeds: "the claims of all links, each signed by whom it names as its issuer, as the last audience shows them",
    seeds: || {
        let names = ["user/alice", "server/n1", "server/n2", "server/n3", "server/n4"];
        (1..=LONGEST_CHAIN)
            .map(|links| {
                let pairs = names.windows(2).take(links).enumerate();
                let list = pairs.map(|(index, pair)| {
                    let mut claims = claims(pair[0], pair[1], "rwmxa", 3 - u8::try_from(index).unwrap_or(3));
                    if index > 0 {
                        claims.set(VIA, Value::Bytes(b"@parent".to_vec()));
                    }
                    claims.value()
                });
                cbor(&Value::Array(list.collect()))
            })
            .collect()
    },
    run: |input| {
        let scene = scene();
        let Some(Value::Array(list)) = decoded(input) else { return Outcome::Refused };
        let mut links: Vec<Vec<u8>> = Vec::new();
        let mut last = "server/n1".to_owned();
        let mut parent = Vec::new();
        for mut claims in list.into_iter().take(5) {
            fill(&mut claims, &|mark| if mark == "@parent" { Some(parent.clone()) } else { scene.mark(mark) });
            let name = |claim: i64| text(&claims, claim).and_then(|name| scene.find(name));
            let issuer = name(ISS).unwrap_or(scene.identity("user/mallory"));
            if let Some(audience) = name(AUD) {
                last = format!("server/{}", audience.principal().name);
            }
            let payload = cbor(&claims);
            links.push(link(issuer, &payload));
            parent = parent_hash(links.last().map_or(&[], Vec::as_slice));
        }
        match scene.find(&format!("spiffe://lab.example/{last}")) {
            Some(_) => shown(scene, &links, &last),
            None => Outcome::Refused,
        }
    },
};

fn text(claims: &Value, name: i64) -> Option<&str> {
    claims.as_map()?.iter().find(|(found, _)| *found == Value::from(name))?.1.as_text()
}

/// Honest claims of one link of a chain of Alice's, for an hour, with a mark in the key's place.
fn claims(from: &str, to: &str, rights: &str, depth: u8) -> Claims {
    let scene = scene();
    let (from, server) = (scene.identity(from), scene.identity(to));
    let mut claims = Claims::new(from, "spiffe://lab.example/user/alice", server, scene.now.secs());
    let key = to.replace("server/", "@").into_bytes();
    claims.set(claim::CNF, Value::Map(vec![(3.into(), Value::Bytes(key))]));
    claims.set(claim::GRANTS, vec![claim::grant("data.lab.example", &["in"], false, rights)]);
    claims.set(claim::DEPTH, u64::from(depth));
    claims
}

fn links_of(chain: &Chain) -> usize {
    let bytes = chain.encode().expect("what was read can be written");
    decoded(&bytes).and_then(|value| value.into_array().ok()).map_or(0, |links| links.len())
}

fn shown(scene: &Scene, links: &[Vec<u8>], by: &str) -> Outcome {
    let bytes = cbor(&Value::Array(links.iter().map(|link| Value::Bytes(link.clone())).collect()));
    let Ok(chain) = Chain::decode(&bytes) else { return Outcome::Refused };
    let peer = scene.peer(by);
    match verify(&chain, peer, &scene.store, scene.now) {
        Err(_) => Outcome::Refused,
        Ok(verified) => {
            check(scene, &verified, peer);
            let rare = |grant: &trust::Grant| grant.exact && grant.rights.has(Right::Administer);
            accepted(verified.grants().iter().any(rare))
        }
    }
}

/// What holds of every chain that is accepted here.
fn check(scene: &Scene, verified: &VerifiedChain, peer: &wire::Peer) {
    assert_eq!(verified.audience(), &peer.principal, "only its audience shows it");
    assert_eq!(verified.audience_key(), peer.key, "only its audience's key shows it");
    assert!(verified.from() <= scene.now && scene.now < verified.until(), "only within its time");
    let grants = verified.grants();
    assert!(!grants.is_empty() && grants.len() <= trust::limits::MAX_GRANTS, "{} grants", grants.len());
}
