//! Alters a seed as a fuzzer without coverage would: flips, cuts, doublings, numbers at their bounds, words of the
//! dictionary. The same number gives the same alterations.

use crate::forge::{cbor, decoded};
use ciborium::Value;

/// Values within a value, itself included: count.
fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(nodes).sum(),
        Value::Map(pairs) => pairs.iter().map(|(key, item)| nodes(key) + nodes(item)).sum(),
        Value::Tag(_, inner) => nodes(inner),
        _ => 0,
    }
}

/// A small generator (Steele's splitmix64) and what it does to bytes.
pub struct Mutator(u64);

impl Mutator {
    /// The same number, the same alterations.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below the bound.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % bound.max(1) as u64).unwrap_or(0)
    }

    /// Up to four alterations of a copy.
    pub fn altered(&mut self, seed: &[u8], words: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            self.alter(&mut bytes, words);
        }
        bytes
    }

    /// One alteration of a value within CBOR, or within CBOR behind one byte that chooses the kind of
    /// message; nothing if it is neither.
    pub fn altered_values(&mut self, seed: &[u8]) -> Option<Vec<u8>> {
        let (front, content) = match seed.split_first() {
            Some((front, content)) if *front < 0x10 && !content.is_empty() => (Some(*front), content),
            _ => (None, seed),
        };
        let mut value = decoded(content)?;
        let mut at = self.below(nodes(&value));
        self.alter_node(&mut value, &mut at);
        Some(front.into_iter().chain(cbor(&value)).collect())
    }

    /// Walks to the node that `at` counts down to.
    fn alter_node(&mut self, value: &mut Value, at: &mut usize) -> bool {
        if *at == 0 {
            self.alter_value(value);
            return true;
        }
        *at -= 1;
        match value {
            Value::Array(items) => items.iter_mut().any(|item| self.alter_node(item, at)),
            Value::Map(pairs) => {
                pairs.iter_mut().any(|(key, item)| self.alter_node(key, at) || self.alter_node(item, at))
            }
            Value::Tag(_, inner) => self.alter_node(inner, at),
            _ => false,
        }
    }

    fn alter_value(&mut self, value: &mut Value) {
        const BOUNDS: [u64; 9] = [0, 1, 23, 255, 1 << 16, u32::MAX as u64, 1 << 53, i64::MAX as u64, u64::MAX];
        match value {
            _ if self.below(8) == 0 => *value = self.other_kind(),
            Value::Integer(number) => {
                let small = i128::from(*number).saturating_add(i128::from(self.number() % 9) - 4);
                let near = i64::try_from(small).map_or(Value::Null, Value::from);
                *value = if self.below(2) == 0 { near } else { Value::from(BOUNDS[self.below(9)]) };
            }
            Value::Bytes(bytes) => self.alter(bytes, &[]),
            Value::Text(text) => {
                let mut bytes = std::mem::take(text).into_bytes();
                self.alter(&mut bytes, &[]);
                *text = String::from_utf8_lossy(&bytes).into_owned();
            }
            Value::Bool(flag) => *flag = !*flag,
            Value::Array(items) => self.alter_list(items),
            Value::Map(pairs) => self.alter_list(pairs),
            _ => *value = self.other_kind(),
        }
    }

    /// A small value of any kind.
    fn other_kind(&mut self) -> Value {
        match self.below(7) {
            0 => Value::Null,
            1 => Value::Bool(true),
            2 => Value::from(1),
            3 => Value::Text(String::new()),
            4 => Value::Bytes(Vec::new()),
            5 => Value::Array(Vec::new()),
            _ => Value::Map(Vec::new()),
        }
    }

    /// One item gone, twice, or at another place.
    fn alter_list<T: Clone>(&mut self, items: &mut Vec<T>) {
        if items.is_empty() {
            return;
        }
        let (from, to) = (self.below(items.len()), self.below(items.len()));
        match self.below(3) {
            0 => drop(items.remove(from)),
            1 => items.insert(to, items[from].clone()),
            _ => items.swap(from, to),
        }
    }

    fn alter(&mut self, bytes: &mut Vec<u8>, words: &[Vec<u8>]) {
        let at = self.below(bytes.len());
        let to = at + self.below(bytes.len() - at + 1).min(16);
        match self.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => bytes[at] = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x40, 0x60, 0x9b][self.below(8)],
            2 => drop(bytes.drain(at..to)),
            3 => {
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
            4 if !words.is_empty() => {
                let word = words[self.below(words.len())].clone();
                bytes.splice(at..at, word);
            }
            5 if !words.is_empty() => {
                let word = words[self.below(words.len())].clone();
                let end = (at + word.len()).min(bytes.len());
                bytes.splice(at..end, word);
            }
            _ => bytes.truncate(at),
        }
    }
}
