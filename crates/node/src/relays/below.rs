//! Holders below a relay: their sessions and opens, answered as the home would answer them, and what ends them.

use super::{Relays, not_relayed};
use crate::gatekeeper::Caller;
use crate::node::State;
use crate::replica::ReplicaFiles;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::Arc;
use terms::{Code, Location, Principal, Problem, Right, VolumeName, VolumePath};
use trust::Bucket;
use webfs::session::{OpenAnswer, OpenRequest};
use wire::Body;

impl Relays {
    /// Takes the session stream of a holder. What it registers is looked at as what it opens: whether this node may
    /// relay it, and whether the holder may read it.
    pub async fn session(
        &self,
        state: &Arc<State>,
        caller: &Caller,
        volume: &VolumeName,
        up: Body,
    ) -> Result<Body, Problem> {
        let holder = caller.for_itself()?.principal.clone();
        let files = self.relayed(state, volume).await?;
        let (gate, own, kept) = (state.gate.clone(), state.itself(), caller.kept());
        let may_read = move |location: &Location, list: &Bucket| {
            let may = |who: &Caller, right| gate.would_allow_now(who, location, right, list).is_some();
            may(&own, Right::Relay) && may(&kept, Right::Read)
        };
        files.replica().await?.stream(holder, Arc::new(may_read), up).await
    }

    /// Answers an open of a holder.
    pub async fn open(
        &self,
        state: &Arc<State>,
        caller: &Caller,
        volume: &VolumeName,
        request: OpenRequest,
    ) -> Result<OpenAnswer, Problem> {
        let holder = caller.for_itself()?.principal.clone();
        self.client.name_servers(&volume.realm)?;
        let files = self.files(state, volume)?;
        let at = |path: &VolumePath| Location { volume: volume.clone(), path: path.clone() };
        // Decided before a callback is given, so that nobody holds up changes of what it may not read; and again for
        // what is given.
        let asked = at(&request.path);
        let (replica, looked_at) = match files.look_below(holder, request).await {
            Ok(found) => found,
            Err(problem) => return Err(self.not_found(state, caller, (&files, &asked), problem).await),
        };
        let found = looked_at.object();
        self.allow(state, caller, &at(found.path()), found.bucket()).await?;
        let own = state.itself();
        let decide = |location: &Location, list: &Bucket| {
            let relays = state.gate.would_allow_now(&own, location, Right::Relay, list).is_some();
            if !relays {
                return Err(not_relayed(Problem::new(Code::Denied, ""), state, location));
            }
            state.gate.allow_now(caller, location, Right::Read, list)
        };
        replica.open_below(looked_at, decide).await.map_err(|problem| match problem.code {
            Code::NotFound => Problem::new(Code::NotFound, format!("{asked} has just been removed")),
            _ => problem,
        })
    }

    /// The files of a volume that this node relays: some of them, as it has seen, or the topmost folder.
    async fn relayed(&self, state: &Arc<State>, volume: &VolumeName) -> Result<Arc<ReplicaFiles>, Problem> {
        self.client.name_servers(&volume.realm)?;
        let files = self.files(state, volume)?;
        if !self.holds(volume) {
            let top = Location { volume: volume.clone(), path: VolumePath::root() };
            let found = files.open(&top.path).await.map_err(|problem| not_relayed(problem, state, &top))?;
            let own = state.itself();
            let holds = state.gate.would_allow(&own, &top, Right::Relay, found.bucket()).await.is_some();
            self.set_holds(volume, holds);
            if !holds {
                return Err(not_relayed(Problem::new(Code::Denied, ""), state, &top));
            }
        }
        Ok(files)
    }

    fn all(&self) -> Vec<Arc<ReplicaFiles>> {
        self.volumes().values().map(|relayed| relayed.files.clone()).collect()
    }

    /// Who holds a session with any volume that is relayed here.
    pub async fn holders(&self) -> BTreeSet<Principal> {
        join_all(self.all().iter().map(|files| files.holders())).await.into_iter().flatten().collect()
    }

    /// Ends the sessions of these holders: they come again, with their rights looked at anew.
    pub async fn expel(&self, whose: impl Fn(&Principal) -> bool) {
        for files in self.all() {
            for holder in files.holders().await.into_iter().filter(&whose) {
                tracing::info!(%holder, "its sessions with a relayed volume end: what they may stand on has ended");
                files.expel(holder).await;
            }
        }
    }

    /// Ends all sessions, above and below, so that nobody waits for this node.
    pub async fn close(&self) {
        join_all(self.all().iter().map(|files| files.close())).await;
    }
}
