//! Keeps a running node's trusted realms as its folder and their name servers say.

use crate::node::State;
use client::limits::{REALM_ANSWER, REALMS_LOOK, REALMS_REFRESH};
use client::realms::{Follower, refresh};
use std::sync::Arc;
use tokio::time::{sleep, timeout};

/// Carries realms that were trusted or distrusted beside this node into it, until it stops.
pub async fn follow(state: Arc<State>) {
    let mut follower = Follower::default();
    loop {
        follower.look(&state.settings.folder, state.realm(), state.client.trust(), &state.world);
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = sleep(REALMS_LOOK) => {}
        }
    }
}

/// Fetches newer bundles of the trusted realms, until the node stops. The realm whose authority is here signs its own.
pub async fn refresh_all(state: Arc<State>) {
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = sleep(REALMS_REFRESH) => {}
        }
        for realm in state.client.trust().realms() {
            if state.is_first() && realm == *state.realm() {
                continue;
            }
            match timeout(REALM_ANSWER, refresh(&state.client, &realm)).await {
                Ok(Ok(true)) => tracing::info!(%realm, "took its newer bundle"),
                Ok(Ok(false)) => {}
                Ok(Err(problem)) => tracing::info!(%realm, %problem, "its bundle could not be asked for"),
                Err(_) => tracing::info!(%realm, "its name servers do not answer"),
            }
        }
    }
}
