//! Chains for the comparison with another implementation: honest ones of one to four links, and each with one thing
//! wrong. What a chain should be is known from how it was made; what it is, both implementations say.

mod grants;
mod members;
mod signers;

use crate::LONGEST_CHAIN;
use crate::forge::cbor;
use crate::mutate::Mutator;
use crate::scene::Scene;
use crate::transfer_claims::{self as claim, Claims};
use ciborium::Value;
use serde::Serialize;
use terms::Thumbprint;
use trust::Identity;

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
    let changes = [HONEST, grants::CHANGES, signers::CHANGES, members::CHANGES].concat();
    while cases.len() < count {
        let links = 1 + dice.below(LONGEST_CHAIN);
        let (name, change) = changes[kind % changes.len()];
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

const HONEST: &[(&str, Change)] = &[
    ("honest", |draft, _| draft.accepted()),
    ("honest, another length", |draft, _| draft.accepted()),
    ("honest, near its end", |draft, _| {
        draft.now = draft.scene.now.secs() + 7200 - 600 * (draft.links.len() as u64 - 1) + 59;
        draft.accepted()
    }),
];

fn encoded(links: &[Vec<u8>]) -> Vec<u8> {
    cbor(&Value::Array(links.iter().map(|link| Value::Bytes(link.clone())).collect()))
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
