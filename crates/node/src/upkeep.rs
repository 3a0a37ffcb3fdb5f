//! Checking and collecting a volume while its home runs: for the node's owners, and for the node itself, as which its
//! folder's commands come.

use crate::control::home_of;
use crate::gatekeeper::Caller;
use crate::homes::must_own;
use crate::node::State;
use client::protocol::{UpkeepReply, UpkeepRequest};
use terms::Problem;

/// Does what is asked, if the caller may ask.
pub async fn answer(state: &State, caller: &Caller, request: UpkeepRequest) -> Result<UpkeepReply, Problem> {
    let (UpkeepRequest::Check(volume) | UpkeepRequest::Collect(volume)) = &request;
    must_own(state, caller, volume)?;
    let here = home_of(state, volume)?;
    let store = here.home.store();
    match request {
        UpkeepRequest::Check(_) => store.fsck().await.map(|report| UpkeepReply::Checked(report.into())),
        UpkeepRequest::Collect(_) => store.collect().await.map(|done| UpkeepReply::Collected(done.into())),
    }
    .map_err(|error| error.for_owner())
}
