//! Claims that are missing, unknown, twice there, or say what they cannot; and chains of another shape.

use super::{Change, encoded};
use crate::LONGEST_CHAIN;
use crate::transfer_claims as claim;
use ciborium::Value;

pub(super) const CHANGES: &[(&str, Change)] = &[
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
