//! Links that do not lie within their parent: times, rights, places, order, depth.

use super::{Change, Draft, VOLUME, encoded};
use crate::LONGEST_CHAIN;
use crate::transfer_claims as claim;
use ciborium::Value;

pub(super) const CHANGES: &[(&str, Change)] = &[
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
];
