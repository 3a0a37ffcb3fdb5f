//! Links that somebody else signed, or whose bytes were touched afterwards.

use super::{Change, Draft, NAMES, encoded};
use crate::forge::{certificates_header, seal};
use crate::scene::Scene;
use crate::transfer_claims as claim;
use ciborium::Value;
use coset::{CoseSign1, TaggedCborSerializable, iana};
use trust::{Identity, KeyPair};

pub(super) const CHANGES: &[(&str, Change)] = &[
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
];

/// The identity that signs this link, certified anew.
fn rotated(draft: &Draft<'_>, index: usize, key: Option<KeyPair>) -> Identity {
    let scene = draft.scene;
    scene.authority.issue_identity(draft.signer(index).principal(), key, scene.now).expect("issued")
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
