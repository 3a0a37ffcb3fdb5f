//! Batches of changes and looks at many folders: each operation with the rights that it needs, decided one by one.

use crate::files::{Found, find};
use crate::gatekeeper::{Caller, Gatekeeper};
use crate::limits::OPERATIONS_AT_ONCE;
use crate::node::State;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use std::sync::Arc;
use terms::{Code, Location, OperationId, Problem, Right, VolumePath};
use trust::{Authorised, Bucket};
use webfs::limits::{MAX_BATCH, MAX_BATCH_FILE_BYTES, MAX_LOOK_FOLDERS};
use webfs::model::Policy;
use webfs::protocol::{Batch, BatchReply, Done, Look, LookReply, Operation, waves};
use webfs::serve::{Home, ListRights, MayShow, PlaceRights, SmallPut, TakeRights, WriteRights};
use webfs::store::{Change, Lookup, Outcome, TargetLists};
use webfs::watch::Watch;
use wire::Body;

/// The first number of a session.
const FIRST_NUMBER: u64 = 1;

/// Who asks what of which volume.
struct Asked<'a> {
    home: &'a Home,
    gate: &'a Gatekeeper,
    caller: &'a Caller,
}

/// Makes the changes of a batch. Those that do not meet run at once, so that one commit takes them all.
pub async fn batch(home: &Home, gate: &Gatekeeper, caller: &Caller, batch: Batch) -> Result<BatchReply, Problem> {
    if batch.operations.len() > MAX_BATCH {
        let what = format!("a batch of {} operations is too long: at most {MAX_BATCH}", batch.operations.len());
        return Err(Problem::new(Code::Invalid, what).next("send several batches"));
    }
    let asked = Asked { home, gate, caller };
    // At once with the first changes, so that one commit takes both: nothing of this batch is settled.
    let settle = async {
        match batch.settled > FIRST_NUMBER {
            true => home.settle(caller.subject(), batch.session, batch.settled).await,
            false => Ok(()),
        }
    };
    let (settled, outcomes) = futures_util::join!(settle, asked.perform_all(&batch));
    // What was forgotten too little is forgotten with the next batch; the outcomes are what counts.
    if let Err(problem) = settled {
        tracing::warn!(%problem, "outcomes that a client has could not be forgotten");
    }
    Ok(BatchReply { outcomes })
}

/// Shows folders, and what is below them.
pub async fn look(home: &Home, gate: &Gatekeeper, caller: &Caller, look: Look) -> Result<LookReply, Problem> {
    if look.folders.len() > MAX_LOOK_FOLDERS {
        let what = format!("{} folders at once are too many: at most {MAX_LOOK_FOLDERS}", look.folders.len());
        return Err(Problem::new(Code::Invalid, what).next("ask for some of them at a time"));
    }
    home.look(look, &Asked { home, gate, caller }).await
}

/// Tells whoever asks of changes, as long as it may read what it asked for.
pub async fn watch(home: &Home, state: &Arc<State>, caller: &Caller, watch: Watch) -> Result<Body, Problem> {
    let who = caller.subject().cloned();
    home.watch(who, watch, Watching { gate: state.gate.clone(), caller: caller.kept() }).await
}

/// Who watches, for longer than a request.
struct Watching {
    gate: Arc<Gatekeeper>,
    caller: Caller,
}

impl MayShow for Asked<'_> {
    async fn may_show(&self, location: &Location, bucket: &Bucket, asked: bool) -> Result<Authorised, Problem> {
        may_show(self.gate, self.caller, location, bucket, asked).await
    }
}

impl MayShow for Watching {
    async fn may_show(&self, location: &Location, bucket: &Bucket, asked: bool) -> Result<Authorised, Problem> {
        may_show(&self.gate, &self.caller, location, bucket, asked).await
    }
}

async fn may_show(
    gate: &Gatekeeper,
    caller: &Caller,
    location: &Location,
    bucket: &Bucket,
    asked: bool,
) -> Result<Authorised, Problem> {
    if asked {
        return gate.allow(caller, location, Right::Read, bucket).await;
    }
    let may = gate.would_allow(caller, location, Right::Read, bucket).await;
    may.ok_or_else(|| Problem::new(Code::Denied, format!("no right to read {location}")))
}

impl Asked<'_> {
    async fn perform_all(&self, batch: &Batch) -> Vec<Result<Done, Problem>> {
        let mut outcomes = Vec::with_capacity(batch.operations.len());
        for wave in waves(&batch.operations) {
            let mut operations: Vec<BoxFuture<'_, Result<Done, Problem>>> = Vec::with_capacity(wave.len());
            for (sequence, operation) in &batch.operations[wave] {
                let id = OperationId { session: batch.session, sequence: *sequence };
                operations.push(self.perform(operation, id).boxed());
            }
            outcomes.extend(stream::iter(operations).buffered(OPERATIONS_AT_ONCE).collect::<Vec<_>>().await);
        }
        outcomes
    }

    async fn perform(&self, operation: &Operation, id: OperationId) -> Result<Done, Problem> {
        let outcome = match self.outcome(operation, id).await {
            Ok(outcome) => outcome,
            // What a retry asks for has happened: its rights may not fit what is there now, and need not.
            Err(problem) => self.home.answered(self.caller.subject(), operation, id).await?.ok_or(problem)?,
        };
        let Outcome { change, entry, offset, created, .. } = outcome;
        Ok(Done { change, entry, offset, created })
    }

    async fn outcome(&self, operation: &Operation, id: OperationId) -> Result<Outcome, Problem> {
        let id = Some(id);
        match operation {
            Operation::Put { path, content, parents, when } => {
                if content.len() > MAX_BATCH_FILE_BYTES {
                    let what = format!("a file of a batch has at most {MAX_BATCH_FILE_BYTES} bytes");
                    return Err(Problem::new(Code::TooLarge, what).next("put it on its own"));
                }
                let rights = crate::files::put_rights(self.home, self.gate, self.caller, path).await?;
                let put = SmallPut { content: content.clone(), parents: *parents, when: *when };
                self.home.put_small(&rights, path, put, id).await
            }
            Operation::Append { path, content } => {
                let rights = self.appending(path).await?;
                self.home.append(&rights, path, content.clone().into(), id).await
            }
            Operation::Mkdir { path, parents } => {
                let rights = self.creating(path).await?;
                self.home.make_directory(&rights, path, *parents, id).await
            }
            Operation::Symlink { path, target } => {
                let rights = self.creating(path).await?;
                self.home.make_link(&rights, path, target.clone(), id).await
            }
            Operation::Remove { path, when } => {
                let found = find(self.home.store(), path).await?;
                let replace = self.gate.allow(self.caller, &found.location, Right::Modify, &found.bucket).await?;
                let rights =
                    WriteRights { decided_on: found.lookup.bucket(), create: None, replace: Some(replace) };
                self.home.remove(&rights, path, *when, id).await
            }
            Operation::Policy { path, policy, recursive } => {
                let rights = self.administering(path, *recursive).await?;
                self.home.set_policy(&rights, path, (*policy, *recursive), id).await
            }
            Operation::Link { from, to } => {
                let change = Change::Link { from: from.clone(), to: to.clone() };
                self.relocate(change, from, to, id).await
            }
            Operation::Rename { from, to, replace } => {
                let change = Change::Rename { from: from.clone(), to: to.clone(), replace: *replace };
                self.relocate(change, from, to, id).await
            }
        }
    }

    /// A log takes the right to write: what is in it is not modified.
    async fn appending(&self, path: &VolumePath) -> Result<WriteRights, Problem> {
        match self.home.store().lookup(path).await? {
            Lookup::Found(object) if object.entry.policy == Policy::Log => self.creating(path).await,
            _ => crate::files::put_rights(self.home, self.gate, self.caller, path).await,
        }
    }

    async fn creating(&self, path: &VolumePath) -> Result<WriteRights, Problem> {
        let found = find(self.home.store(), path).await?;
        let create = self.gate.allow(self.caller, &found.location, Right::Write, &found.bucket).await?;
        Ok(WriteRights { decided_on: found.lookup.bucket(), create: Some(create), replace: None })
    }

    /// The right to administer an object, and all below it if that changes too.
    async fn administering(&self, path: &VolumePath, recursive: bool) -> Result<ListRights, Problem> {
        let found = find(self.home.store(), path).await?;
        let administer = self.gate.allow(self.caller, &found.location, Right::Administer, &found.bucket).await?;
        let mut decided_on = vec![found.lookup.bucket()];
        if let (true, Lookup::Found(_)) = (recursive, &found.lookup) {
            let governing = found.lookup.bucket();
            let below = self.home.store().buckets_below(path).await?;
            for hash in below.into_iter().filter(|hash| *hash != governing) {
                let list = self.home.store().bucket(hash).await?;
                self.gate.allow(self.caller, &found.location, Right::Administer, &list).await?;
                decided_on.push(hash);
            }
        }
        Ok(ListRights { decided_on, administer })
    }

    async fn relocate(
        &self,
        change: Change,
        from: &VolumePath,
        to: &VolumePath,
        id: Option<OperationId>,
    ) -> Result<Outcome, Problem> {
        let taking = self.taking(from, matches!(change, Change::Link { .. })).await?;
        let placing = self.placing(to).await?;
        self.home.relocate(&taking, &placing, change, id).await
    }

    /// The right to take all of it: whoever moves or links what others may not read would hand it to readers of the new
    /// place.
    async fn taking(&self, from: &VolumePath, shared: bool) -> Result<TakeRights, Problem> {
        let found = find(self.home.store(), from).await?;
        let decided_on = match &found.lookup {
            Lookup::Found(_) => self.home.store().buckets_below(from).await?,
            Lookup::Missing(_) => vec![found.lookup.bucket()],
        };
        let take = self.both(&found, &found.bucket).await?;
        for hash in decided_on.iter().filter(|hash| **hash != found.lookup.bucket()) {
            let below = self.home.store().bucket(*hash).await?;
            self.both(&found, &below).await?;
        }
        // A further name shares the access list: whoever may change it there, changes it here.
        let administer = match shared {
            true => Some(self.gate.allow(self.caller, &found.location, Right::Administer, &found.bucket).await?),
            false => None,
        };
        Ok(TakeRights { decided_on, take, administer })
    }

    async fn both(&self, found: &Found, bucket: &Arc<Bucket>) -> Result<[Authorised; 2], Problem> {
        let read = self.gate.allow(self.caller, &found.location, Right::Read, bucket).await?;
        Ok([read, self.gate.allow(self.caller, &found.location, Right::Modify, bucket).await?])
    }

    async fn placing(&self, to: &VolumePath) -> Result<PlaceRights, Problem> {
        let directory = find(self.home.store(), &to.parent().unwrap_or_default()).await?;
        let there = find(self.home.store(), to).await?;
        let create = self.gate.allow(self.caller, &there.location, Right::Write, &directory.bucket).await?;
        let (replace, replaced) = match &there.lookup {
            Lookup::Missing(_) => (None, None),
            Lookup::Found(object) => {
                let replace = self.gate.allow(self.caller, &there.location, Right::Modify, &there.bucket).await?;
                (Some(replace), Some(object.bucket))
            }
        };
        let decided_on = TargetLists { directory: directory.lookup.bucket(), replaced };
        Ok(PlaceRights { decided_on, create, replace })
    }
}
