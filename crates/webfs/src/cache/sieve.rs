//! SIEVE: which entry a full cache gives up. A hand goes from the oldest entry to newer ones, spares once whoever was
//! used since it last came by, and takes the first that was not.
//!
//! Zhang, Yang, Yue, Vigfusson, Rashmi: "SIEVE is Simpler than LRU", NSDI 2024.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

#[derive(Debug)]
struct Slot {
    order: u64,
    weight: u64,
    used: bool,
}

/// Entries with their weights. It keeps keys only; what they stand for is its owner's.
#[derive(Debug)]
pub struct Sieve<K> {
    slots: HashMap<K, Slot>,
    by_age: BTreeMap<u64, K>,
    hand: u64,
    next: u64,
    weight: u64,
}

impl<K> Default for Sieve<K> {
    fn default() -> Self {
        Self { slots: HashMap::new(), by_age: BTreeMap::new(), hand: 0, next: 0, weight: 0 }
    }
}

impl<K: Clone + Eq + Hash> Sieve<K> {
    /// The weight of all entries.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// Takes in an entry, or changes the weight of one.
    pub fn put(&mut self, key: K, weight: u64) {
        if let Some(slot) = self.slots.get_mut(&key) {
            self.weight = self.weight - slot.weight + weight;
            slot.weight = weight;
            return;
        }
        self.next += 1;
        self.weight += weight;
        self.by_age.insert(self.next, key.clone());
        self.slots.insert(key, Slot { order: self.next, weight, used: false });
    }

    /// Notes a use.
    pub fn touch(&mut self, key: &K) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.used = true;
        }
    }

    /// Takes out an entry.
    pub fn remove(&mut self, key: &K) -> bool {
        let Some(slot) = self.slots.remove(key) else { return false };
        self.by_age.remove(&slot.order);
        self.weight -= slot.weight;
        true
    }

    /// Gives up entries until the weight is at most `limit`; `keep` is spared.
    pub fn shrink_to(&mut self, limit: u64, keep: Option<&K>) -> Vec<K> {
        let mut given_up = Vec::new();
        while self.weight > limit {
            let Some(victim) = self.victim(keep) else { break };
            self.remove(&victim);
            given_up.push(victim);
        }
        given_up
    }

    fn victim(&mut self, keep: Option<&K>) -> Option<K> {
        // Twice around at most: the first round clears every mark.
        for _ in 0..=2 * self.by_age.len() {
            let (order, key) = self.by_age.range(self.hand..).next().or_else(|| self.by_age.first_key_value())?;
            let (order, key) = (*order, key.clone());
            self.hand = order + 1;
            let slot = self.slots.get_mut(&key)?;
            if keep == Some(&key) {
                continue;
            }
            if !std::mem::take(&mut slot.used) {
                return Some(key);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unused_go_first_and_the_used_are_spared_once() {
        let mut sieve = Sieve::default();
        for key in ["a", "b", "c", "d"] {
            sieve.put(key, 10);
        }
        sieve.touch(&"a");
        sieve.touch(&"c");
        assert_eq!(sieve.shrink_to(20, None), ["b", "d"]);
        sieve.put("e", 10);
        assert_eq!(sieve.shrink_to(20, None), ["e"], "the hand goes on where it was");
        assert_eq!(sieve.shrink_to(0, None), ["a", "c"]);
        assert_eq!(sieve.weight(), 0);
    }

    #[test]
    fn one_may_be_spared_whatever_it_weighs() {
        let mut sieve = Sieve::default();
        sieve.put("a", 10);
        sieve.put("b", 10);
        sieve.put("a", 100);
        assert_eq!(sieve.shrink_to(50, Some(&"a")), ["b"]);
        assert_eq!(sieve.weight(), 100);
        assert!(sieve.remove(&"a") && !sieve.remove(&"a"));
    }

    #[test]
    fn a_scan_does_not_wash_out_what_is_used() {
        let mut sieve = Sieve::default();
        for hot in 0..10u32 {
            sieve.put(hot, 1);
        }
        for cold in 100..1100u32 {
            (0..10).for_each(|hot| sieve.touch(&hot));
            sieve.put(cold, 1);
            sieve.shrink_to(20, None);
        }
        assert!((0..10).all(|hot| sieve.remove(&hot)));
    }
}
