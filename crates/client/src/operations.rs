//! Many changes in one request, at a volume's home. Each has its own number in this client's session, so that a batch
//! whose answer was lost is sent again and happens once.

use crate::Volume;
use crate::limits::BATCH_ATTEMPTS;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use terms::{Code, Problem, SessionId, VolumeName};
use webfs::limits::{MAX_BATCH, MAX_BATCH_BYTES};
use webfs::protocol::{BATCH_ROUTE, Batch, BatchReply, Done, Operation};

/// What an operation costs in a batch beside paths and content: bytes, roughly.
const OPERATION_BYTES: usize = 64;

/// The numbers of a client's operations: which are under way, and so below which one all outcomes are known.
#[derive(Debug)]
pub(crate) struct Numbers {
    session: SessionId,
    state: Mutex<NumbersState>,
}

#[derive(Debug, Default)]
struct NumbersState {
    last: u64,
    under_way: BTreeMap<VolumeName, BTreeSet<u64>>,
}

/// Numbers that were given out; settled when this is dropped.
struct Given<'a> {
    numbers: &'a Numbers,
    volume: VolumeName,
    first: u64,
    count: u64,
}

impl Numbers {
    pub(crate) fn new(session: SessionId) -> Self {
        Self { session, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, NumbersState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, volume: &VolumeName, count: u64) -> Given<'_> {
        let mut state = self.state();
        let first = state.last + 1;
        state.last += count;
        state.under_way.entry(volume.clone()).or_default().insert(first);
        Given { numbers: self, volume: volume.clone(), first, count }
    }

    /// Below which number nothing is under way at this volume.
    fn settled(&self, volume: &VolumeName) -> u64 {
        let state = self.state();
        state.under_way.get(volume).and_then(|numbers| numbers.first().copied()).unwrap_or(state.last + 1)
    }
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        let mut state = self.numbers.state();
        if let Some(numbers) = state.under_way.get_mut(&self.volume) {
            numbers.remove(&self.first);
            if numbers.is_empty() {
                state.under_way.remove(&self.volume);
            }
        }
    }
}

impl Volume {
    /// Makes changes, in as few requests as they fit into; one outcome each. Those that meet happen in their order.
    pub async fn perform(&self, operations: Vec<Operation>) -> Result<Vec<Result<Done, Problem>>, Problem> {
        let mut outcomes = Vec::with_capacity(operations.len());
        for batch in batches(operations) {
            outcomes.extend(self.send_batch(batch).await?);
        }
        Ok(outcomes)
    }

    /// Makes one change.
    pub async fn perform_one(&self, operation: Operation) -> Result<Done, Problem> {
        let nothing = || Problem::new(Code::Internal, format!("the home of {} left out the answer", self.name()));
        self.perform(vec![operation]).await?.pop().ok_or_else(nothing)?
    }

    async fn send_batch(&self, operations: Vec<Operation>) -> Result<Vec<Result<Done, Problem>>, Problem> {
        let node = self.node();
        let numbers = node.client().numbers();
        let given = numbers.give(self.name(), operations.len() as u64);
        let settled = numbers.settled(self.name());
        let operations = (given.first..given.first + given.count).zip(operations).collect();
        let batch = Batch { session: numbers.session, settled, operations };
        let route = format!("{BATCH_ROUTE}/{}", self.name());
        let (mut attempt, until) = (1, self.follows_until());
        let reply: BatchReply = loop {
            match self.node().post(&route, &batch).await {
                Err(problem) if problem.code == Code::Unavailable && attempt < BATCH_ATTEMPTS => attempt += 1,
                Err(problem) if problem.code == Code::Moved && self.go_after(until).await => {}
                other => break other?,
            }
        };
        if reply.outcomes.len() == batch.operations.len() {
            return Ok(reply.outcomes);
        }
        let what =
            format!("{} answered {} of {} operations", self.node().principal(), reply.outcomes.len(), given.count);
        Err(Problem::new(Code::Internal, what).next("look at what is there now; ask who keeps the volume's home"))
    }
}

/// Operations in their order, as few batches as the limits allow.
fn batches(operations: Vec<Operation>) -> Vec<Vec<Operation>> {
    let mut batches: Vec<Vec<Operation>> = Vec::new();
    let mut bytes = 0;
    for operation in operations {
        let cost = cost(&operation);
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_BATCH && bytes + cost <= MAX_BATCH_BYTES / 2 => {
                bytes += cost;
                batch.push(operation);
            }
            _ => {
                bytes = cost;
                batches.push(vec![operation]);
            }
        }
    }
    batches
}

fn cost(operation: &Operation) -> usize {
    let content = match operation {
        Operation::Put { content, .. } | Operation::Append { content, .. } => content.len(),
        Operation::Symlink { target, .. } => target.len(),
        _ => 0,
    };
    OPERATION_BYTES
        + operation.path().as_str().len()
        + operation.target().map_or(0, |to| to.as_str().len())
        + content
}

#[cfg(test)]
mod tests {
    use super::*;
    use terms::VolumePath;
    use webfs::protocol::When;

    #[test]
    fn batches_keep_the_order_and_the_limits() {
        let put = |index: usize, len: usize| Operation::Put {
            path: VolumePath::new(&format!("f{index}")).expect("valid"),
            content: vec![0; len],
            parents: false,
            when: When::Always,
        };
        for (count, len, expected) in
            [(0, 0, 0), (1, 10, 1), (MAX_BATCH, 0, 1), (MAX_BATCH + 1, 0, 2), (100, 60_000, 3)]
        {
            let operations: Vec<_> = (0..count).map(|index| put(index, len)).collect();
            let batches = batches(operations.clone());
            assert_eq!(batches.len(), expected, "{count} of {len}");
            assert_eq!(batches.concat(), operations);
        }
    }

    #[test]
    fn what_is_under_way_is_not_settled() {
        let (numbers, volume) = (Numbers::new(SessionId([1; 16])), "data.lab.example".parse().expect("valid"));
        assert_eq!(numbers.settled(&volume), 1);
        let first = numbers.give(&volume, 3);
        let second = numbers.give(&volume, 2);
        assert_eq!((first.first, second.first, numbers.settled(&volume)), (1, 4, 1));
        drop(first);
        assert_eq!(numbers.settled(&volume), 4);
        drop(second);
        assert_eq!(numbers.settled(&volume), 6);
    }
}
