//! Sessions that stand on a membership end with it, also where the list is held elsewhere: while anybody holds a session, the
//! copies that holders stand on are asked for again, and whoever is not known to be a member any more comes again with its
//! rights looked at anew. What changes in a list that is held here is [`super::orders`]' to act on at once.

use crate::node::State;
use std::collections::BTreeSet;
use std::sync::Arc;
use terms::{Principal, Problem};
use tokio::time::{MissedTickBehavior, interval};

/// Looks after the holders of all volumes for as long as the node runs.
pub async fn keep(state: Arc<State>) {
    let mut due = interval(state.settings.group_recheck);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (groups, mut looked) = (state.gate.groups().clone(), state.world.clock.unix());
    loop {
        let round = async {
            tokio::select! {
                _ = due.tick() => {
                    let holders = holders(&state).await;
                    let now = state.world.clock.unix();
                    groups.lose_ended(std::mem::replace(&mut looked, now), now);
                    groups.look_again(&holders).await;
                }
                () = groups.lost.notified() => {}
            }
            if let Err(problem) = expel(&state, &groups.take_lost()).await {
                tracing::warn!(%problem, "leases that stand on a membership could not be ended; they run out");
            }
        };
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = round => {}
        }
    }
}

/// Who holds a session with any volume here, and who relays for them.
async fn holders(state: &State) -> BTreeSet<Principal> {
    let mut holders = state.relays.holders().await;
    // What is relayed stands on this node's own memberships too.
    if !holders.is_empty() {
        holders.insert(state.own.principal.clone());
    }
    for volume in state.homes.all() {
        // A volume whose leases have stopped has none.
        holders.extend(volume.coherence.state().await.map(|state| state.holders).unwrap_or_default());
    }
    holders
}

/// What somebody has cached under a membership is not its any more: its sessions end, and begin anew with rights looked
/// at again. Where a list is not here, everybody might have been a member.
pub async fn expel(state: &State, (principals, all_known): &(BTreeSet<Principal>, bool)) -> Result<(), Problem> {
    if principals.is_empty() && *all_known {
        return Ok(());
    }
    for volume in state.homes.all() {
        for holder in volume.coherence.state().await?.holders {
            if !all_known || principals.contains(&holder) {
                tracing::info!(%holder, "its sessions end: a membership that they may stand on has ended");
                volume.coherence.expel(holder).await?;
            }
        }
    }
    let all = !all_known || principals.contains(&state.own.principal);
    state.relays.expel(|holder| all || principals.contains(holder)).await;
    Ok(())
}
