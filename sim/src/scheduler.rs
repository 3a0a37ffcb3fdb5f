//! The order of all that happens in a simulated world: one queue of events by true time, each with the node that
//! it happens at, so that a node can be paused (SIGSTOP) and find its events in order when it goes on.

use std::collections::{BTreeMap, VecDeque};

/// A machine of the simulated world.
pub type NodeId = usize;

/// Events that were held back come before those that arrive in the same millisecond.
const HELD_BACK: u8 = 0;
const IN_TIME: u8 = 1;

#[derive(Debug)]
enum Entry<E> {
    At(NodeId, E),
    Resume(NodeId),
}

/// The queue of events. Times are true milliseconds, which no machine of the world can read.
#[derive(Debug)]
pub struct Scheduler<E> {
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u8, u64), Entry<E>>,
    paused: BTreeMap<NodeId, (u64, VecDeque<E>)>,
}

impl<E> Default for Scheduler<E> {
    fn default() -> Self {
        Self { now: 0, sequence: 0, queue: BTreeMap::new(), paused: BTreeMap::new() }
    }
}

impl<E> Scheduler<E> {
    /// The true time: milliseconds since the start of the run.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Lets something happen at a node after a delay.
    pub fn after(&mut self, delay_ms: u64, node: NodeId, event: E) {
        self.at(self.now + delay_ms, node, event);
    }

    /// Lets something happen at a node at a time, which is not in the past.
    pub fn at(&mut self, at_ms: u64, node: NodeId, event: E) {
        self.push(at_ms.max(self.now), IN_TIME, Entry::At(node, event));
    }

    /// Stops a node for so long; its events wait. A pause within a pause may only prolong it.
    pub fn pause(&mut self, node: NodeId, for_ms: u64) {
        let until = self.now + for_ms;
        let (end, _) = self.paused.entry(node).or_default();
        *end = until.max(*end);
        self.push(until, HELD_BACK, Entry::Resume(node));
    }

    /// How long a node that is paused now still will be: milliseconds.
    pub fn paused_for(&self, node: NodeId) -> u64 {
        self.paused.get(&node).map_or(0, |(until, _)| until - self.now)
    }

    /// The next event with its node; the time moves to it.
    pub fn pop(&mut self) -> Option<(NodeId, E)> {
        loop {
            let ((at, ..), entry) = self.queue.pop_first()?;
            self.now = at;
            match entry {
                Entry::At(node, event) => match self.paused.get_mut(&node) {
                    Some((_, waiting)) => waiting.push_back(event),
                    None => return Some((node, event)),
                },
                Entry::Resume(node) => {
                    if self.paused.get(&node).is_some_and(|(until, _)| *until <= at) {
                        let waiting = self.paused.remove(&node).map(|(_, waiting)| waiting).unwrap_or_default();
                        waiting.into_iter().for_each(|event| self.push(at, HELD_BACK, Entry::At(node, event)));
                    }
                }
            }
        }
    }

    fn push(&mut self, at: u64, order: u8, entry: Entry<E>) {
        self.sequence += 1;
        self.queue.insert((at, order, self.sequence), entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_node_finds_its_events_in_order() {
        let mut scheduler = Scheduler::default();
        for (at, node, event) in [(5, 1, "a"), (6, 2, "b"), (7, 1, "c"), (10, 1, "d")] {
            scheduler.at(at, node, event);
        }
        scheduler.pause(1, 10);
        let seen: Vec<_> = std::iter::from_fn(|| scheduler.pop().map(|(_, event)| event)).collect();
        assert_eq!(seen, ["b", "a", "c", "d"]);
        assert_eq!(scheduler.now(), 10);
    }

    #[test]
    fn pauses_only_prolong() {
        let mut scheduler = Scheduler::default();
        scheduler.at(1, 1, ());
        scheduler.pause(1, 10);
        scheduler.pause(1, 3);
        assert_eq!(scheduler.paused_for(1), 10);
        assert!(scheduler.pop().is_some());
        assert_eq!(scheduler.now(), 10);
    }
}
