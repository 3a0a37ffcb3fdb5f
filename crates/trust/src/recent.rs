//! A bounded memory of what was found out lately: two generations of at most half the bound each. What is asked for
//! again survives, what is not goes with its generation; nothing is ever searched for something to evict.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by key, of which the least used go when there are too many.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// Remembers at most so many.
    pub fn new(bound: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (bound / 2).max(1) }
    }

    /// What is remembered of a key.
    pub fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.put(key, value.clone());
        Some(value)
    }

    /// Remembers a value.
    pub fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_bound_holds() {
        let mut recent = Recent::new(8);
        for key in 0..1000 {
            recent.put(key, key * 2);
            assert_eq!(recent.get(&0), Some(0), "asked for all the time");
            assert!(recent.young.len() + recent.old.len() <= 8);
        }
        assert_eq!(recent.get(&1), None, "never asked for again");
        assert_eq!(recent.get(&999), Some(1998));
    }
}
