//! Checking and collecting a volume while its home runs: for the node's owners, and for the node itself, as which its
//! folder's commands come.

use crate::control::home_of;
use crate::gatekeeper::Caller;
use crate::node::State;
use client::protocol::{UpkeepReply, UpkeepRequest};
use terms::{Code, Problem};
use trust::AuditRecord;

/// Does what is asked, if the caller may ask.
pub async fn answer(state: &State, caller: &Caller, request: UpkeepRequest) -> Result<UpkeepReply, Problem> {
    let peer = caller.for_itself()?.principal.clone();
    let (UpkeepRequest::Check(volume) | UpkeepRequest::Collect(volume)) = &request;
    if peer != state.own.principal && !state.owners.contains(&peer) {
        let why = format!("{peer} is not the owner of {}", state.own.principal);
        let now = state.world.clock.unix();
        let mut record = AuditRecord::of_refusal(now, Some(caller.source()), &volume.to_string(), &why);
        record.peer = Some(peer);
        state.gate.note(&record)?;
        return Err(Problem::new(Code::Denied, why).next("ask its owner"));
    }
    let store = home_of(state, volume)?.home.store();
    match request {
        UpkeepRequest::Check(_) => store.fsck().await.map(|report| UpkeepReply::Checked(report.into())),
        UpkeepRequest::Collect(_) => store.collect().await.map(|done| UpkeepReply::Collected(done.into())),
    }
    .map_err(|error| error.for_owner())
}
