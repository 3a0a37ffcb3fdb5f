//! What a replica forgets: what is too much to keep, and what a new epoch of the volume has undone.

use super::super::blocks::Counters;
use super::super::limits::HELD_BYTES;
use super::Owner;
use crate::rules::{Believed, HolderEvent, RelayEvent};

impl Owner {
    /// Takes the word of the volume's signed record. Answers how many objects it undid.
    pub(super) fn believe(&mut self, believed: &Believed) -> usize {
        let (undone, actions) = self.relay.believe(self.now(), believed);
        for object in &undone {
            self.held.remove(object);
            self.sieve.remove(object);
        }
        if !undone.is_empty() {
            let (volume, epoch) = (&self.blocks.volume, believed.epoch);
            tracing::warn!(%volume, %epoch, objects = undone.len(), "a new epoch has undone what was cached");
            Counters::add(&self.blocks.counters.undone, undone.len() as u64);
        }
        self.perform(actions, None);
        undone.len()
    }

    pub(super) fn forget_what_is_too_much(&mut self) {
        for object in self.sieve.shrink_to(HELD_BYTES, None) {
            self.held.remove(&object);
            self.step(RelayEvent::Above(HolderEvent::Evict { object }));
        }
    }
}
