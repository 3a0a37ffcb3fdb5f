//! A map bounded by weight that forgets what was used least recently.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

struct Slot<V> {
    value: V,
    weight: usize,
    used: u64,
}

/// Values by key, together no heavier than the limit.
pub(crate) struct Recent<K, V> {
    slots: HashMap<K, Slot<V>>,
    by_use: BTreeMap<u64, K>,
    uses: u64,
    weight: usize,
    limit: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Recent<K, V> {
    /// An empty one that holds up to `limit` of weight.
    pub(crate) fn new(limit: usize) -> Self {
        Self { slots: HashMap::new(), by_use: BTreeMap::new(), uses: 0, weight: 0, limit }
    }

    /// The value, which counts as used now.
    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        let slot = self.slots.get_mut(key)?;
        // The newest keeps its place: a hot key costs no reordering.
        if slot.used != self.uses
            && let Some(key) = self.by_use.remove(&slot.used)
        {
            self.uses += 1;
            slot.used = self.uses;
            self.by_use.insert(self.uses, key);
        }
        Some(slot.value.clone())
    }

    /// Keeps the value; forgets others for it. A value heavier than the limit is not kept.
    pub(crate) fn insert(&mut self, key: K, value: V, weight: usize) {
        self.remove(&key);
        if weight > self.limit {
            return;
        }
        self.uses += 1;
        self.weight += weight;
        self.by_use.insert(self.uses, key.clone());
        self.slots.insert(key, Slot { value, weight, used: self.uses });
        while self.weight > self.limit {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some(slot) = self.slots.remove(&oldest) {
                self.weight -= slot.weight;
            }
        }
    }

    /// Forgets one.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(slot) = self.slots.remove(key) {
            self.by_use.remove(&slot.used);
            self.weight -= slot.weight;
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.by_use.clear();
        self.weight = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut recent = Recent::new(3);
        for key in ["a", "b", "c"] {
            recent.insert(key, key, 1);
        }
        assert_eq!(recent.get(&"a"), Some("a"));
        assert_eq!(recent.get(&"a"), Some("a"));
        recent.insert("d", "d", 1);
        assert_eq!(recent.get(&"b"), None);
        recent.insert("e", "e", 2);
        assert_eq!((recent.get(&"c"), recent.get(&"a"), recent.get(&"d")), (None, None, Some("d")));
        recent.insert("huge", "huge", 4);
        assert_eq!(recent.get(&"huge"), None);
        recent.remove(&"d");
        assert_eq!((recent.weight, recent.slots.len(), recent.by_use.len()), (2, 1, 1));
        recent.clear();
        assert_eq!((recent.weight, recent.slots.len(), recent.by_use.len()), (0, 0, 0));
    }
}
