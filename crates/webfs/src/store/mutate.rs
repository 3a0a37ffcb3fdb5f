//! A change as work for the writer: applied in its transaction, answered after the commit, its permit ended.

use super::apply::{self, Moment};
use super::change::{Change, Conditions, Outcome};
use super::error::StoreError;
use super::writer::{Position, Work};
use crate::gate::{ChangeEnd, ChangePermit, Touched};
use rusqlite::Connection;
use tokio::sync::oneshot;
use world::World;

pub(super) struct Mutation {
    pub(super) change: Change,
    pub(super) conditions: Conditions,
    pub(super) world: World,
    pub(super) permit: Box<dyn ChangePermit>,
    pub(super) answer: oneshot::Sender<Result<Outcome, StoreError>>,
    pub(super) outcome: Option<Outcome>,
}

impl Work for Mutation {
    fn run(&mut self, database: &Connection, position: &mut Position) -> Result<Touched, StoreError> {
        let now = Moment { unix: self.world.clock.unix(), boot: self.world.clock.boot() };
        let (outcome, touched) = apply::apply(database, position, now, &self.change, &self.conditions)?;
        self.outcome = Some(outcome);
        Ok(touched)
    }

    fn end(self: Box<Self>, result: Result<(), StoreError>) {
        let Self { change, permit, answer, outcome, .. } = *self;
        let result = result.and_then(|()| outcome.ok_or(StoreError::Closed));
        // Ours if the content is in the database now. A replayed operation has its content there already. A commit
        // that failed leaves the files to the collector.
        let kept = match (&result, &outcome) {
            (Ok(outcome), _) => !outcome.replayed,
            (Err(_), ran) => ran.is_some(),
        };
        if kept {
            match &change {
                Change::Put(put) => put.content.hand_over(),
                Change::Patch(patch) => patch.hand_over(),
                Change::Append { append, .. } => append.hand_over(),
                _ => {}
            }
        }
        drop(change);
        permit.ended(match &result {
            Ok(outcome) if !outcome.replayed => ChangeEnd::Committed(outcome.change),
            _ => ChangeEnd::NotCommitted,
        });
        // A caller that has gone away finds the outcome in the ledger.
        let _ = answer.send(result);
    }
}
