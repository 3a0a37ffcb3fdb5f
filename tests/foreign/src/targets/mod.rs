//! The targets: each feeds one decoder, says whether it accepted, and checks what must hold of everything accepted.

mod certificates;
mod documents;
mod messages;
mod rights;
mod texts;
mod transfers;

use crate::forge::decoded;
use ciborium::Value;
use std::collections::BTreeSet;

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The decoder refused it.
    Refused,
    /// The decoder accepted it.
    Accepted {
        /// The accepted value has what no seed has: here a fuzzer finds the fault that is planted to try it.
        rare: bool,
    },
}

/// One decoder of foreign bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it feeds.
    pub feeds: &'static str,
    /// Inputs that are accepted.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Feeds one input.
    pub run: fn(&[u8]) -> Outcome,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    certificates::LEAF,
    documents::COSE,
    documents::BUNDLE,
    documents::GROUP,
    documents::DISCOVERY,
    transfers::HEADER,
    transfers::CLAIMS,
    transfers::CHAIN,
    texts::BUCKET,
    texts::INVITATION,
    texts::HEADERS,
    texts::NAMES,
    messages::FRAMES,
    messages::ENVELOPES,
    rights::FEED,
    rights::PURSE,
    rights::REVOKE,
    rights::TOKEN,
    rights::WITNESS,
    rights::RENEWAL,
];

fn accepted(rare: bool) -> Outcome {
    Outcome::Accepted { rare }
}

/// The words of a target's seeds: texts, short byte strings and claim names, as they stand in the encoding. Texts
/// that are no CBOR give their parts.
pub fn dictionary(target: &Target) -> Vec<Vec<u8>> {
    let mut words = BTreeSet::new();
    for seed in (target.seeds)() {
        match decoded(&seed) {
            Some(value) => collect(&value, &mut words),
            None => words.extend(
                seed.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-')
                    .filter(|word| (2..=32).contains(&word.len()))
                    .map(<[u8]>::to_vec),
            ),
        }
    }
    words.into_iter().collect()
}

fn collect(value: &Value, words: &mut BTreeSet<Vec<u8>>) {
    const LONGEST: usize = 40;
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        Value::Map(pairs) => pairs.iter().for_each(|(key, item)| {
            collect(key, words);
            collect(item, words);
        }),
        Value::Tag(_, inner) => collect(inner, words),
        leaf => {
            let bytes = crate::forge::cbor(leaf);
            if bytes.len() <= LONGEST {
                words.insert(bytes);
            }
        }
    }
}
