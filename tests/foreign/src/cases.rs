//! Chains for the comparison with another implementation: honest ones of one to four links, and each with one thing
//! wrong. What a chain should be is known from how it was made; what it is, both implementations say.

use crate::LONGEST_CHAIN;
use crate::forge::{cbor, certificates_header, seal};
use crate::mutate::Mutator;
use crate::scene::Scene;
use crate::transfer_claims::{self as claim, Claims};
use ciborium::Value;
use coset::{CoseSign1, TaggedCborSerializable, iana};
use serde::Serialize;
use terms::Thumbprint;
use trust::{Identity, KeyPair};

const NAMES: [&str; 5] = ["user/alice", "server/n1", "server/n2", "server/n3", "server/n4"];

/// One chain as it is shown.
#[derive(Serialize)]
pub struct Case {
    /// What was done to it.
    pub name: String,
    /// The chain, in hexadecimal digits.
    pub chain: String,
    /// Who shows it.
    pub peer: String,
    /// With which key, in hexadecimal digits.
    pub key: String,
    /// When: seconds since 1970.
    pub now: u64,
    /// Whether it should be accepted.
    pub expected: bool,
}

/// A chain under construction: the claims of each link, and what is to be done to its bytes.
struct Draft<'a> {
    scene: &'a Scene,
    links: Vec<Claims>,
    peer: &'a Identity,
    now: u64,
}

/// So many cases; the same number gives the same kinds in the same order.
pub fn cases(scene: &Scene, count: usize) -> Vec<Case> {
    let mut dice = Mutator::new(1);
    let mut cases = Vec::with_capacity(count);
    let mut kind = 0;
    while cases.len() < count {
        let links = 1 + dice.below(LONGEST_CHAIN);
        let (name, change) = CHANGES[kind % CHANGES.len()];
        kind += 1;
        let mut draft = Draft::honest(scene, links, &mut dice);
        if let Some((bytes, expected)) = change(&mut draft, &mut dice) {
            cases.push(Case {
                name: format!("{name} ({links} links)"),
                chain: hexadecimal(&bytes),
                peer: draft.peer.principal().to_string(),
                key: draft.peer.key().thumbprint().to_string(),
                now: draft.now,
                expected,
            });
        }
    }
    cases
}

/// An honest chain of so many links, and who shows it.
pub fn honest_chain(scene: &Scene, links: usize) -> (Vec<u8>, &'static str) {
    let mut draft = Draft::honest(scene, links, &mut Mutator::new(1));
    for link in &mut draft.links {
        link.set(claim::NBF, scene.now.secs());
    }
    (encoded(&draft.signed()), NAMES[links])
}

/// Changes a draft, signs it, and says whether it should be accepted; nothing if there is no such change of it.
type Change = fn(&mut Draft<'_>, &mut Mutator) -> Option<(Vec<u8>, bool)>;

impl<'a> Draft<'a> {
    /// Alice's rights over so many servers, each lending a little less.
    fn honest(scene: &'a Scene, links: usize, dice: &mut Mutator) -> Self {
        let now = scene.now.secs();
        let mut drafted = Vec::new();
        for index in 0..links {
            let (from, to) = (scene.identity(NAMES[index]), scene.identity(NAMES[index + 1]));
            let depth = links - 1 - index + usize::from(index == 0 && links < 4 && dice.below(2) == 0);
            let mut claims = Claims::new(from, "spiffe://lab.example/user/alice", to, now);
            claims.set(claim::EXP, 7200 + now - 600 * index as u64);
            claims.set(claim::NBF, now + 10 * index as u64);
            claims.set(claim::IAT, now);
            claims.set(claim::DEPTH, depth as u64);
            let path: Vec<&str> = ["in", "a", "b", "c"][..=index].into();
            let rights = ["rwmx", "rwm", "rw", "r"][index];
            claims.set(claim::GRANTS, vec![claim::grant("data.lab.example", &path, false, rights)]);
            drafted.push(claims);
        }
        Self { scene, links: drafted, peer: scene.identity(NAMES[links]), now: now + 60 }
    }

    fn signer(&self, index: usize) -> &'a Identity {
        self.scene.identity(NAMES[index.min(4)])
    }

    /// Each link signed by whom the honest chain has there, and naming its parent.
    fn signed(&self) -> Vec<Vec<u8>> {
        self.signed_by(|index| self.signer(index))
    }

    fn signed_by(&self, signer: impl Fn(usize) -> &'a Identity) -> Vec<Vec<u8>> {
        self.sealed(|index, payload| crate::link(signer(index), &payload))
    }

    fn sealed(&self, seal: impl Fn(usize, Vec<u8>) -> Vec<u8>) -> Vec<Vec<u8>> {
        let mut links: Vec<Vec<u8>> = Vec::new();
        for (index, claims) in self.links.iter().enumerate() {
            let mut claims = claims.clone();
            if let Some(parent) = links.last()
                && !claims.has(claim::VIA)
            {
                claims.set(claim::VIA, Value::Bytes(claim::parent_hash(parent)));
            }
            links.push(seal(index, cbor(&claims.value())));
        }
        links
    }

    fn refused(&self) -> Option<(Vec<u8>, bool)> {
        Some((encoded(&self.signed()), false))
    }

    fn accepted(&self) -> Option<(Vec<u8>, bool)> {
        Some((encoded(&self.signed()), true))
    }

    /// A link other than the first, if there is one.
    fn further(&self, dice: &mut Mutator) -> Option<usize> {
        (self.links.len() > 1).then(|| 1 + dice.below(self.links.len() - 1))
    }

    fn any(&self, dice: &mut Mutator) -> usize {
        dice.below(self.links.len())
    }

    fn with(&mut self, index: usize, name: i64, value: impl Into<Value>) -> Option<(Vec<u8>, bool)> {
        self.links[index].set(name, value);
        self.refused()
    }

    /// The claim of one link, altered, in a chain that is refused for it.
    fn grants(&mut self, index: usize, grants: Vec<Value>, expected: bool) -> Option<(Vec<u8>, bool)> {
        self.links[index].set(claim::GRANTS, grants);
        Some((encoded(&self.signed()), expected))
    }
}

const VOLUME: &str = "data.lab.example";

/// Every way of making a chain.
const CHANGES: &[(&str, Change)] = &[
    ("honest", |draft, _| draft.accepted()),
    ("honest, another length", |draft, _| draft.accepted()),
    ("honest, near its end", |draft, _| {
        draft.now = draft.scene.now.secs() + 7200 - 600 * (draft.links.len() as u64 - 1) + 59;
        draft.accepted()
    }),
    ("expired", |draft, _| {
        draft.now = draft.scene.now.secs() + 7200 - 600 * (draft.links.len() as u64 - 1) + 60;
        draft.refused()
    }),
    ("not yet valid", |draft, _| {
        draft.now = draft.scene.now.secs() + 10 * (draft.links.len() as u64 - 1) - 61;
        draft.refused()
    }),
    ("rights wider than the parent's", |draft, dice| {
        let index = draft.further(dice)?;
        let path: Vec<&str> = ["in", "a", "b", "c"][..=index].into();
        draft.grants(index, vec![claim::grant(VOLUME, &path, false, "rwmxa")], false)
    }),
    ("a path above the parent's", |draft, dice| {
        let index = draft.further(dice)?;
        draft.grants(index, vec![claim::grant(VOLUME, &[], false, "r")], false)
    }),
    ("a path beside the parent's", |draft, dice| {
        let index = draft.further(dice)?;
        draft.grants(index, vec![claim::grant(VOLUME, &["inside"], false, "r")], false)
    }),
    ("another volume than the parent's", |draft, dice| {
        let index = draft.further(dice)?;
        draft.grants(index, vec![claim::grant("other.lab.example", &["in", "a", "b", "c"], false, "r")], false)
    }),
    ("one grant within, one not", |draft, dice| {
        let index = draft.further(dice)?;
        let inner = claim::grant(VOLUME, &["in", "a", "b", "c"], true, "r");
        draft.grants(index, vec![inner, claim::grant(VOLUME, &["out"], false, "r")], false)
    }),
    ("a subtree under an exact grant", |draft, _| {
        if draft.links.len() < 2 {
            return None;
        }
        draft.links[0].set(claim::GRANTS, vec![claim::grant(VOLUME, &["in", "a"], true, "rwmx")]);
        draft.grants(1, vec![claim::grant(VOLUME, &["in", "a"], false, "r")], false)
    }),
    ("an exact grant under an exact grant", |draft, _| {
        if draft.links.len() != 2 {
            return None;
        }
        draft.links[0].set(claim::GRANTS, vec![claim::grant(VOLUME, &["in", "a"], true, "rwmx")]);
        draft.grants(1, vec![claim::grant(VOLUME, &["in", "a"], true, "rx")], true)
    }),
    ("rights from two grants of the parent", |draft, _| {
        if draft.links.len() != 2 {
            return None;
        }
        let halves = ["r", "w"].map(|rights| claim::grant(VOLUME, &["in"], false, rights));
        draft.links[0].set(claim::GRANTS, halves.to_vec());
        draft.grants(1, vec![claim::grant(VOLUME, &["in", "a"], false, "rw")], true)
    }),
    ("a service and a group, passed on", |draft, _| {
        for link in &mut draft.links {
            let service = claim::object("service", "service://shop.lab.example", "r");
            link.set(claim::GRANTS, vec![claim::object("group", "spiffe://lab.example/group/team", "ra"), service]);
        }
        if LONGEST_CHAIN > 1 { draft.accepted() } else { None }
    }),
    ("another group", |draft, dice| {
        let index = draft.further(dice)?;
        draft.grants(index, vec![claim::object("group", "spiffe://lab.example/group/team", "r")], false)
    }),
    ("a place that is two", |draft, dice| {
        let index = draft.any(dice);
        let mut grant = claim::object("group", "spiffe://lab.example/group/team", "r");
        if let Value::Map(pairs) = &mut grant {
            pairs.push(("service".into(), "service://shop.lab.example".into()));
        }
        draft.grants(index, vec![grant], false)
    }),
    ("no grants", |draft, dice| {
        let index = draft.any(dice);
        draft.grants(index, vec![], false)
    }),
    ("seventeen grants", |draft, dice| {
        let index = draft.any(dice);
        draft.grants(index, vec![claim::grant(VOLUME, &["in", "a", "b", "c"], false, "r"); 17], false)
    }),
    ("a grant of nothing", |draft, dice| {
        let index = draft.any(dice);
        draft.grants(index, vec![claim::grant(VOLUME, &["in", "a", "b", "c"], false, "-")], false)
    }),
    ("an unknown right", |draft, dice| {
        let index = draft.any(dice);
        draft.grants(index, vec![claim::grant(VOLUME, &["in", "a", "b", "c"], false, "rz")], false)
    }),
    ("a path that steps out", |draft, dice| {
        let index = draft.any(dice);
        let step = ["..", ".", "", "a/b", "a\0b"][dice.below(5)];
        draft.grants(index, vec![claim::grant(VOLUME, &["in", "a", "b", step], false, "r")], false)
    }),
    ("an unknown member of a grant", |draft, dice| {
        let index = draft.any(dice);
        let mut grant = claim::grant(VOLUME, &["in", "a", "b", "c"], false, "r");
        if let Value::Map(pairs) = &mut grant {
            pairs.push(("until".into(), 7.into()));
        }
        draft.grants(index, vec![grant], false)
    }),
    ("reordered", |draft, dice| {
        let index = draft.further(dice)?;
        let mut links = draft.signed();
        links.swap(index - 1, index);
        Some((encoded(&links), false))
    }),
    ("without its first link", |draft, dice| {
        draft.further(dice)?;
        Some((encoded(&draft.signed()[1..]), false))
    }),
    ("a link twice", |draft, dice| {
        let index = draft.any(dice);
        let mut links = draft.signed();
        links.insert(index, links[index].clone());
        Some((encoded(&links), false))
    }),
    ("spliced from another chain of the same servers", |draft, dice| {
        let index = draft.further(dice)?;
        let other = Draft { links: draft.links.clone(), ..Draft::honest(draft.scene, 1, dice) };
        let (mut links, others) = (draft.signed(), other.signed());
        links[..index].clone_from_slice(&others[..index]);
        Some((encoded(&links), false))
    }),
    ("shown by another server", |draft, _| {
        draft.peer = draft.scene.identity(if draft.links.len() == 1 { "server/n3" } else { "server/n1" });
        draft.refused()
    }),
    ("for another key", |draft, dice| {
        let last = draft.links.len() - 1;
        let key = draft.scene.identity("user/mallory").key().thumbprint();
        let index = if dice.below(2) == 0 { last } else { draft.any(dice) };
        draft.with(index, claim::CNF, claim::confirmation(key))
    }),
    ("another parent named", |draft, dice| {
        let index = draft.further(dice)?;
        draft.with(index, claim::VIA, Value::Bytes(vec![9; 32]))
    }),
    ("a first link with a parent", |draft, _| draft.with(0, claim::VIA, Value::Bytes(vec![9; 32]))),
    ("a parent named by a short hash", |draft, dice| {
        let index = draft.any(dice);
        draft.with(index, claim::VIA, Value::Bytes(vec![9; 16]))
    }),
    ("deeper than the parent allows", |draft, dice| {
        let index = draft.further(dice)?;
        draft.with(index - 1, claim::DEPTH, 0u64)
    }),
    ("as deep as the parent", |draft, dice| {
        let index = draft.further(dice)?;
        let depth = draft.links[index - 1].get(claim::DEPTH)?;
        draft.with(index, claim::DEPTH, depth)
    }),
    ("a depth of four", |draft, _| draft.with(0, claim::DEPTH, 4u64)),
    ("a changed subject", |draft, dice| {
        let index = draft.further(dice)?;
        draft.with(index, claim::SUB, "spiffe://lab.example/user/mallory")
    }),
    ("a foreign first signer", |draft, _| {
        draft.links[0].set(claim::ISS, "spiffe://lab.example/user/mallory");
        let mallory = draft.scene.identity("user/mallory");
        Some((encoded(&draft.signed_by(|index| if index == 0 { mallory } else { draft.signer(index) })), false))
    }),
    ("signed by another than it says", |draft, dice| {
        let (wrong, mallory) = (draft.any(dice), draft.scene.identity("user/mallory"));
        Some((encoded(&draft.signed_by(|index| if index == wrong { mallory } else { draft.signer(index) })), false))
    }),
    ("another's signature behind true certificates", |draft, dice| {
        let (wrong, mallory) = (draft.any(dice), draft.scene.identity("user/mallory").key());
        let links = draft.sealed(|index, payload| {
            let signer = draft.signer(index);
            let key = if index == wrong { mallory } else { signer.key() };
            seal(key, certificates_header(signer), "webos-transfer-v1", payload)
        });
        Some((encoded(&links), false))
    }),
    ("a new key of the server that passes on", |draft, dice| {
        let wrong = draft.further(dice)?;
        let rotated = rotated(draft, wrong, None);
        let links = draft.sealed(|index, payload| {
            crate::link(if index == wrong { &rotated } else { draft.signer(index) }, &payload)
        });
        Some((encoded(&links), false))
    }),
    ("a renewed certificate for the same key", |draft, dice| {
        let index = draft.any(dice);
        let renewed = rotated(draft, index, Some(draft.signer(index).key().clone()));
        let links = draft
            .sealed(|at, payload| crate::link(if at == index { &renewed } else { draft.signer(at) }, &payload));
        Some((encoded(&links), true))
    }),
    ("a realm that is not trusted", |draft, dice| {
        let wrong = draft.any(dice);
        let scene = Scene::new();
        let foreign = scene.identity(NAMES[wrong]);
        let links = draft.sealed(|index, payload| {
            crate::link(if index == wrong { foreign } else { draft.signer(index) }, &payload)
        });
        Some((encoded(&links), false))
    }),
    ("an authority as signer", |draft, dice| {
        let (wrong, scene) = (draft.any(dice), draft.scene);
        let chain = scene.above().iter().map(|der| Value::Bytes(der.to_vec())).collect();
        let header = coset::HeaderBuilder::new().algorithm(iana::Algorithm::ES256).value(33, Value::Array(chain));
        let header = header.build();
        let links = draft.sealed(|index, payload| match index == wrong {
            true => seal(&scene.issuing, header.clone(), "webos-transfer-v1", payload),
            false => crate::link(draft.signer(index), &payload),
        });
        Some((encoded(&links), false))
    }),
    ("another kind of document", |draft, dice| {
        let wrong = draft.any(dice);
        let links = draft.sealed(|index, payload| {
            let kind = if index == wrong { "webos-manifest-v1" } else { "webos-transfer-v1" };
            seal(draft.signer(index).key(), certificates_header(draft.signer(index)), kind, payload)
        });
        Some((encoded(&links), false))
    }),
    ("no certificates", |draft, dice| {
        let wrong = draft.any(dice);
        let links = draft.sealed(|index, payload| {
            let signer = draft.signer(index);
            let header =
                if index == wrong { crate::forge::key_header(signer.key()) } else { certificates_header(signer) };
            seal(signer.key(), header, "webos-transfer-v1", payload)
        });
        Some((encoded(&links), false))
    }),
    ("an altered byte", |draft, dice| {
        let mut links = draft.signed();
        let index = draft.any(dice);
        let at = dice.below(links[index].len());
        links[index][at] ^= 1 << dice.below(8);
        Some((encoded(&links), false))
    }),
    ("a malleated signature", |draft, dice| {
        let mut links = draft.signed();
        let index = draft.any(dice);
        links[index] = malleated(&links[index])?;
        // It is as good a signature; but whoever passed the link on named its bytes.
        Some((encoded(&links), index + 1 == links.len()))
    }),
    ("an unprotected header", |draft, dice| {
        let mut links = draft.signed();
        let index = draft.any(dice);
        let mut cose = CoseSign1::from_tagged_slice(&links[index]).ok()?;
        cose.unprotected.key_id = vec![1];
        links[index] = cose.to_tagged_vec().ok()?;
        Some((encoded(&links), false))
    }),
    ("an old epoch", |draft, dice| {
        let index = draft.any(dice);
        draft.with(index, claim::EPOCH, 0u64)
    }),
    ("a later epoch", |draft, dice| {
        let index = draft.any(dice);
        draft.links[index].set(claim::EPOCH, 2u64);
        draft.accepted()
    }),
    ("an unknown claim", |draft, dice| {
        let index = draft.any(dice);
        draft.with(index, -70_099, 1u64)
    }),
    ("a claim with a text for its name", |draft, dice| {
        let index = draft.any(dice);
        draft.links[index].push(Value::from("note"), Value::from("hello"));
        draft.refused()
    }),
    ("a claim twice", |draft, dice| {
        let index = draft.any(dice);
        let name = [claim::AUD, claim::GRANTS, claim::DEPTH, claim::EXP][dice.below(4)];
        let value = draft.links[index].get(name)?;
        draft.links[index].push(Value::from(name), value);
        draft.refused()
    }),
    ("a missing claim", |draft, dice| {
        let index = draft.any(dice);
        draft.links[index].remove(claim::REQUIRED[dice.below(claim::REQUIRED.len())]);
        draft.refused()
    }),
    ("longer than the parent", |draft, dice| {
        let index = draft.further(dice)?;
        draft.with(index, claim::EXP, draft.scene.now.secs() + 7201)
    }),
    ("earlier than the parent", |draft, dice| {
        let index = draft.further(dice)?;
        draft.links[index].set(claim::IAT, draft.scene.now.secs() - 100);
        draft.with(index, claim::NBF, draft.scene.now.secs() - 1)
    }),
    ("longer than its issuer's certificate", |draft, _| {
        for link in &mut draft.links {
            link.set(claim::EXP, draft.scene.now.secs() + 40 * 86_400);
        }
        draft.refused()
    }),
    ("an end before its start", |draft, dice| {
        let index = draft.any(dice);
        draft.with(index, claim::EXP, draft.scene.now.secs() - 20)
    }),
    ("a start before it was signed", |draft, dice| {
        let index = draft.any(dice);
        draft.with(index, claim::IAT, draft.scene.now.secs() + 50)
    }),
    ("a time that is no whole number", |draft, dice| {
        let index = draft.any(dice);
        draft.with(index, claim::EXP, Value::Float((draft.scene.now.secs() + 3000) as f64))
    }),
    ("a person as audience", |draft, _| {
        let last = draft.links.len() - 1;
        draft.peer = draft.scene.identity("user/mallory");
        draft.links[last].set(claim::CNF, claim::confirmation(draft.peer.key().thumbprint()));
        draft.with(last, claim::AUD, "spiffe://lab.example/user/mallory")
    }),
    ("a name of no form", |draft, dice| {
        let index = draft.any(dice);
        let name = [
            "spiffe://lab.example/server/N1",
            "spiffe://lab.example/server/n1/",
            "n1",
            "https://lab.example/server/n1",
        ];
        draft.with(index, claim::AUD, name[dice.below(4)])
    }),
    ("a job that stays", |draft, _| {
        for link in &mut draft.links {
            link.set(claim::JOB, Value::Bytes(vec![4; 16]));
        }
        if LONGEST_CHAIN > 1 { draft.accepted() } else { None }
    }),
    ("a job that is dropped", |draft, dice| {
        let index = draft.further(dice)?;
        for link in &mut draft.links[..index] {
            link.set(claim::JOB, Value::Bytes(vec![4; 16]));
        }
        draft.refused()
    }),
    ("a short id", |draft, dice| {
        let index = draft.any(dice);
        draft.with(index, claim::CTI, Value::Bytes(vec![7; 15]))
    }),
    ("bytes behind its end", |draft, _| Some(([encoded(&draft.signed()), vec![0]].concat(), false))),
    ("no link", |_, _| Some((vec![0x80], false))),
    ("five links", |draft, _| {
        let links = draft.signed();
        Some((encoded(&vec![links[0].clone(); 5]), false))
    }),
];

/// The identity that signs this link, certified anew.
fn rotated(draft: &Draft<'_>, index: usize, key: Option<KeyPair>) -> Identity {
    let scene = draft.scene;
    scene.authority.issue_identity(draft.signer(index).principal(), key, scene.now).expect("issued")
}

fn encoded(links: &[Vec<u8>]) -> Vec<u8> {
    cbor(&Value::Array(links.iter().map(|link| Value::Bytes(link.clone())).collect()))
}

/// The same link with s replaced by n - s: for the order n of P-256, that is as good a signature.
fn malleated(link: &[u8]) -> Option<Vec<u8>> {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut cose = CoseSign1::from_tagged_slice(link).ok()?;
    let mut borrow = 0i16;
    for index in (0..32).rev() {
        let difference = i16::from(ORDER[index]) - i16::from(*cose.signature.get(32 + index)?) - borrow;
        borrow = i16::from(difference < 0);
        cose.signature[32 + index] = u8::try_from(difference + 256 * borrow).ok()?;
    }
    cose.to_tagged_vec().ok()
}

/// Bytes as digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a thumbprint's digits.
///
/// # Panics
/// For what is none.
pub fn thumbprint(digits: &str) -> Thumbprint {
    digits.parse().expect("a thumbprint")
}
