//! Keeps the node's own certificate alive while it runs, and brings it back after a long pause.

use crate::authority::Registrar;
use crate::limits::{RENEWAL_LOOK, RENEWAL_RETRY};
use crate::node::State;
use client::Folder;
use client::renewal::{renew, renew_in_grace};
use std::sync::Arc;
use terms::{Code, Problem};
use tokio::time::sleep;
use trust::Identity;
use wire::ShownCredentials;
use world::World;

/// Before a start: an ended certificate is replaced, by this node's own authority or in grace by the realm's first node.
pub async fn before_start(folder: &Folder, world: &World) -> Result<(), Problem> {
    // What is missing or damaged is named with what helps when the node opens it.
    let Ok(present) = Identity::load(&folder.identity()) else { return Ok(()) };
    if present.not_after() > world.clock.unix() {
        return Ok(());
    }
    let renewed = match Registrar::open(folder, world)? {
        Some(registrar) => registrar.renew_own(&present, false)?,
        None => renew_in_grace(folder, world).await?,
    };
    tracing::info!(principal = %renewed.principal(), "the certificate had ended and was renewed");
    Ok(())
}

/// Gives a realm's first node, which does not run, a new key; nobody else can.
pub fn rotate_first(folder: &Folder, world: &World, present: &Identity) -> Result<Identity, Problem> {
    let registrar = Registrar::open(folder, world)?.ok_or_else(|| {
        Problem::new(Code::Unsupported, format!("{} holds no realm's authority", folder.path().display()))
            .next("its key is rotated with the realm's first node")
    })?;
    registrar.renew_own(present, true)
}

/// Renews at half of the certificate's life, until the node stops; what it shows to others changes with it.
pub async fn keep(state: Arc<State>, shown: ShownCredentials) {
    loop {
        let pause = match once(&state, &shown).await {
            Ok(()) => RENEWAL_LOOK,
            Err(problem) => {
                tracing::warn!(%problem, "the node's certificate could not be renewed");
                RENEWAL_RETRY
            }
        };
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

async fn once(state: &State, shown: &ShownCredentials) -> Result<(), Problem> {
    let present = state.identity()?;
    let due = present.is_renewal_due(state.world.clock.unix());
    let renewed = match &state.registrar {
        Some(registrar) => {
            if registrar.look()? {
                registrar.sign_bundle(state.client.trust(), &state.as_name_server())?;
            }
            if !due && !registrar.has_moved_on(&present) {
                return Ok(());
            }
            let renewed = registrar.renew_own(&present, false)?;
            state.client.replace_identity(renewed.clone());
            renewed
        }
        None if due => renew(&state.client, false).await?,
        None => return Ok(()),
    };
    let fits = shown.replace(&renewed.credentials());
    fits.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    tracing::info!(until_s = renewed.not_after().secs(), "the node's certificate was renewed");
    Ok(())
}
