//! A move at the old home: offered by who may administer the volume, streamed while it serves, then a short stop in
//! which the rest goes over and the realm's first node is told. Only that word moves the home; until it is known
//! nobody serves here, and a stop that is not used in time ends by itself.

use super::{Here, ask_first, away, home_volume, own_claim, settle, supersede};
use crate::control::home_of;
use crate::gatekeeper::Caller;
use crate::limits::{MOVE_DRAIN, MOVE_STOP, OFFER_LIFE};
use crate::node::{HomeVolume, State};
use client::Standing;
use client::protocol::{DumpPurpose, HomeClaim, HomeRequest, MoveReply};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terms::{
    BootMs, ChangeNumber, Code, Epoch, Location, Principal, PrincipalKind, Problem, Right, VolumeName, VolumePath,
};
use trust::AuditRecord;
use webfs::store::{Dumping, Sent};

/// A volume that is offered.
struct Going {
    to: Principal,
    /// When it was offered, or the last stream began.
    since: BootMs,
    sent: Sent,
    stopped: Option<Stopped>,
}

/// Nobody serves: up to here the volume is as it was.
#[derive(Clone)]
struct Stopped {
    volume: Arc<HomeVolume>,
    change: ChangeNumber,
    /// The first node is being asked: only its word ends this.
    asking: bool,
}

/// The volumes that are offered.
#[derive(Default)]
pub struct Goings(Mutex<BTreeMap<VolumeName, Going>>);

impl Goings {
    fn all(&self) -> MutexGuard<'_, BTreeMap<VolumeName, Going>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a volume has stopped to be moved.
    pub fn is_running(&self, name: &VolumeName) -> bool {
        self.all().get(name).is_some_and(|going| going.stopped.is_some())
    }
}

/// Lets a node take a volume, on the word of who may administer all of it.
pub async fn offer(
    state: &Arc<State>,
    caller: &Caller,
    name: &VolumeName,
    to: Principal,
) -> Result<MoveReply, Problem> {
    caller.for_itself()?;
    let here = home_of(state, name)?;
    let location = Location { volume: name.clone(), path: VolumePath::root() };
    let store = here.home.store();
    let bucket = store.bucket(store.lookup(&location.path).await?.bucket()).await?;
    state.gate.allow(caller, &location, Right::Administer, &bucket).await?;
    if to.realm != name.realm || to.kind != PrincipalKind::Server {
        let what = format!("{to} is no server of {}, and a home of {name} must be one", name.realm);
        return Err(Problem::new(Code::Invalid, what));
    }
    if to == state.own.principal {
        return Err(Problem::new(Code::Invalid, format!("{name} has its home at {to} already")));
    }
    must_not_be_published(state, name)?;
    state.gate.note_change(caller, &name.to_string(), &format!("lets {to} take it over"))?;
    let mut all = state.goings.all();
    if all.get(name).is_some_and(|going| going.stopped.is_some()) {
        return Err(away(name, &going_to(all.get(name).map_or(&to, |going| &going.to))));
    }
    let since = state.world.clock.boot();
    all.insert(name.clone(), Going { to, since, sent: Sent::default(), stopped: None });
    Ok(MoveReply::Offered)
}

fn going_to(to: &Principal) -> Standing {
    Standing::Going { to: to.clone(), address: String::new(), epoch: Epoch::default() }
}

/// A service's front reads from the store, and knows of no other.
fn must_not_be_published(state: &State, name: &VolumeName) -> Result<(), Problem> {
    match state.published.from(name) {
        None => Ok(()),
        Some(service) => {
            let what = format!("{name} cannot be moved: {service} is published from it, here");
            Err(Problem::new(Code::Unsupported, what)
                .next("move the files of the service to a volume of their own"))
        }
    }
}

/// The next stream of a volume, for the node that it is offered to.
pub async fn part(
    state: &Arc<State>,
    caller: &Caller,
    name: &VolumeName,
    purpose: DumpPurpose,
) -> Result<Dumping, Problem> {
    let peer = caller.for_itself()?.principal.clone();
    let here = home_of(state, name)?;
    let now = state.world.clock.boot();
    let mut sent = {
        let mut all = state.goings.all();
        let going = all.get_mut(name).filter(|going| going.to == peer);
        let going = going.filter(|going| now.since(going.since) < OFFER_LIFE || purpose != DumpPurpose::Copy);
        let going = going.ok_or_else(|| not_offered(name, &peer))?;
        going.since = now;
        if purpose == DumpPurpose::Copy { Sent::default() } else { going.sent.clone() }
    };
    if purpose == DumpPurpose::Last {
        stop(state, name, &here, &peer).await?;
    }
    let begun = here.home.store().begin_dump().await;
    let dumping = match begun {
        Ok(dumping) => dumping.after(&mut sent),
        Err(error) => {
            if purpose == DumpPurpose::Last {
                go_on(state, name).await;
            }
            return Err(error.for_owner());
        }
    };
    if let Some(going) = state.goings.all().get_mut(name) {
        going.sent = sent;
        if let Some(stopped) = &mut going.stopped {
            stopped.change = dumping.change();
        }
    }
    Ok(dumping)
}

fn not_offered(name: &VolumeName, peer: &Principal) -> Problem {
    Problem::new(Code::Denied, format!("{name} is not offered to {peer}"))
        .next(format!("`webos volume move {name} {}` offers it", peer.name))
}

/// Nothing is granted and no change admitted from here on, and those under way have ended.
async fn stop(
    state: &Arc<State>,
    name: &VolumeName,
    here: &Arc<HomeVolume>,
    to: &Principal,
) -> Result<(), Problem> {
    must_not_be_published(state, name)?;
    let stopped = Stopped { volume: here.clone(), change: here.home.store().change(), asking: false };
    match state.goings.all().get_mut(name).filter(|going| going.to == *to && going.stopped.is_none()) {
        Some(going) => going.stopped = Some(stopped),
        None => return Err(not_offered(name, to)),
    }
    state.homes.set(name, Here::Away(away(name, &going_to(to))));
    here.stop().await;
    if !here.coherence.drained(MOVE_DRAIN).await {
        go_on(state, name).await;
        let what = format!("changes of {name} that were under way did not end within {} s", MOVE_DRAIN.as_secs());
        return Err(Problem::new(Code::Busy, what).next("try again when less is written"));
    }
    let (state, name) = (state.clone(), name.clone());
    state.tasks.clone().spawn(async move {
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep(MOVE_STOP) => {}
        }
        let unused = state.goings.all().get(&name).and_then(|going| going.stopped.as_ref().map(|it| !it.asking));
        if unused == Some(true) {
            tracing::warn!(volume = %name, "the new home did not confirm in time: it is served here again");
            go_on(&state, &name).await;
        }
    });
    Ok(())
}

/// The volume was not handed over: it is served here again.
async fn go_on(state: &Arc<State>, name: &VolumeName) {
    let stopped = state.goings.all().remove(name).and_then(|going| going.stopped);
    let Some(stopped) = stopped else { return };
    let again = async {
        let home = home_volume(stopped.volume.home.store().clone(), &state.world, &state.identity()?).await?;
        state.homes.set(name, Here::Home(home));
        Ok::<(), Problem>(())
    };
    if let Err(problem) = again.await {
        tracing::error!(volume = %name, %problem, "it cannot be served again until the node starts anew");
    }
}

/// The new home has all of it on disk: hands the volume over.
pub async fn confirm(state: &Arc<State>, caller: &Caller, claim: HomeClaim) -> Result<MoveReply, Problem> {
    let peer = caller.for_itself()?.clone();
    let name = claim.volume.clone();
    let stopped = {
        let mut all = state.goings.all();
        let going = all.get_mut(&name).filter(|going| going.to == peer.principal);
        let stopped = going.and_then(|going| going.stopped.as_mut()).filter(|stopped| !stopped.asking);
        let stopped = stopped.ok_or_else(|| not_offered(&name, &peer.principal))?;
        let whole = claim.change == stopped.change && claim.epoch > stopped.volume.home.store().epoch();
        if !whole || claim.key.thumbprint() != peer.key {
            let what = format!("{} confirms something else than it was sent of {name}", peer.principal);
            return Err(Problem::new(Code::Invalid, what));
        }
        stopped.asking = true;
        stopped.clone()
    };
    // Whether the caller waits or not.
    let (state, by) = (state.clone(), caller.kept());
    let handing = tokio::spawn(async move { hand(&state, &by, claim, stopped).await });
    handing.await.map_err(|error| Problem::new(Code::Internal, error.to_string()))?
}

async fn hand(
    state: &Arc<State>,
    caller: &Caller,
    claim: HomeClaim,
    stopped: Stopped,
) -> Result<MoveReply, Problem> {
    let (name, to) = (claim.volume.clone(), caller.for_itself()?.principal.clone());
    let dir = state.settings.folder.volume(&name);
    let own = own_claim(state, stopped.volume.home.store())?;
    let going = Standing::Going { to: to.clone(), address: claim.address.clone(), epoch: claim.epoch };
    let entered = match ask_first(state, HomeRequest::Register(own)).await {
        Ok(entry) => going.write(&dir).map(|()| entry),
        Err(problem) => Err(problem),
    };
    let number = match entered {
        Ok(entry) => entry.number,
        Err(problem) => {
            // Nothing was asked for yet.
            go_on(state, &name).await;
            return Err(problem);
        }
    };
    let handed = ask_first(state, HomeRequest::Hand { number, to: to.clone(), claim }).await;
    match handed {
        Ok(entry) if entry.home == to => {
            let superseded = supersede(state, &name, &entry).await;
            state.goings.all().remove(&name);
            superseded?;
            let what = format!("handed over to {to}, in epoch {}", entry.epoch);
            let (now, own) = (state.world.clock.unix(), &state.own.principal);
            state.gate.note(&AuditRecord::of_change(now, own, &name.to_string(), &what))?;
            Ok(MoveReply::Handed(entry))
        }
        Ok(entry) if entry.home == state.own.principal => {
            Standing::Home.write(&dir)?;
            go_on(state, &name).await;
            let what = format!("the realm's first node did not enter {to} as the home of {name}");
            Err(Problem::new(Code::Conflict, what).next("move it again"))
        }
        Ok(entry) => {
            let superseded = supersede(state, &name, &entry).await;
            state.goings.all().remove(&name);
            superseded?;
            Err(away(&name, &Standing::read(&dir)?))
        }
        Err(problem) => {
            // Only the first node knows whether that counted. It is asked until it answers; nobody serves before.
            state.goings.all().remove(&name);
            drop(stopped);
            settle(state, &name).await;
            Err(problem)
        }
    }
}
