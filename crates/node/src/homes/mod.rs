//! The volumes in this node's folder: which of them have their home here, and who has the others.
//!
//! The word of the realm's first node counts: it is asked at the start, at regular intervals, and whenever a move is
//! not decided. A home that meets a higher epoch stops, and remembers it. Data is never removed.

mod coming;
mod going;
mod register;
mod stream;

pub use coming::Comings;
pub use going::Goings;
pub use register::HomeRegister;

use crate::gatekeeper::Caller;
use crate::limits::{HOMES_FIRST_WITHIN, HOMES_LOOK, HOMES_LOOK_SOON};
use crate::node::{HomeVolume, State};
use client::models::{VOLUME_KIND, VolumeRecord};
use client::protocol::{EPOCH_HEADER, HomeClaim, HomeEntry, HomeRequest, MoveReply, MoveRequest};
use client::{Folder, Standing};
use http::HeaderMap;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use terms::{Code, Epoch, Label, Principal, Problem, VolumeName};
use trust::{AuditRecord, Identity, MemberState};
use webfs::coherence::Coherence;
use webfs::rules::LeaseRules;
use webfs::serve::Home;
use webfs::store::{Store, StoreError};
use world::World;

pub use stream::dump;

/// A volume in this node's folder.
#[derive(Clone)]
enum Here {
    /// Its home is here.
    Home(Arc<HomeVolume>),
    /// Somebody else has it, or will have.
    Away(Problem),
}

/// The volumes in this node's folder.
pub struct Homes(RwLock<BTreeMap<VolumeName, Here>>);

impl Homes {
    /// Opens those that had their home here when the node last ran.
    pub async fn open(folder: &Folder, world: &World, identity: &Identity) -> Result<Self, Problem> {
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(folder.volumes()).into_iter().flatten().flatten() {
            let dir = entry.path();
            let name = dir.file_name().and_then(|name| name.to_str()?.parse::<VolumeName>().ok());
            let Some(name) = name.filter(|name| name.realm == identity.principal().realm) else { continue };
            let here = match Standing::read(&dir)? {
                Standing::Home => Here::Home(open_home(dir, &name, world, identity).await?),
                standing => Here::Away(away(&name, &standing)),
            };
            all.insert(name, here);
        }
        Ok(Self(RwLock::new(all)))
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<VolumeName, Here>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A volume whose home is here.
    pub fn get(&self, name: &VolumeName) -> Option<Arc<HomeVolume>> {
        self.find(name).ok().flatten()
    }

    /// The same; whoever else has a volume that lies here is named.
    pub fn find(&self, name: &VolumeName) -> Result<Option<Arc<HomeVolume>>, Problem> {
        match self.read().get(name) {
            Some(Here::Home(volume)) => Ok(Some(volume.clone())),
            Some(Here::Away(problem)) => Err(problem.clone()),
            None => Ok(None),
        }
    }

    /// All whose home is here.
    pub fn all(&self) -> Vec<Arc<HomeVolume>> {
        let home = |here: &Here| match here {
            Here::Home(volume) => Some(volume.clone()),
            Here::Away(_) => None,
        };
        self.read().values().filter_map(home).collect()
    }

    /// All that lie here.
    fn names(&self) -> Vec<VolumeName> {
        self.read().keys().cloned().collect()
    }

    fn set(&self, name: &VolumeName, here: Here) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), here);
    }

    fn forget(&self, name: &VolumeName) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// Serves a volume from its store.
async fn home_volume(store: Store, world: &World, identity: &Identity) -> Result<Arc<HomeVolume>, StoreError> {
    let coherence = Coherence::start(store.clone(), world.clone(), LeaseRules::default()).await?;
    let home = Home::new(store, identity.key().clone(), Arc::new(coherence.clone()), world.clone());
    Ok(Arc::new(HomeVolume { home, coherence }))
}

async fn open_store(dir: PathBuf, name: &VolumeName, world: &World) -> Result<Store, Problem> {
    let (path, opening) = (dir.clone(), world.clone());
    let store = tokio::task::spawn_blocking(move || Store::open(&path, opening))
        .await
        .map_err(|error| Problem::new(Code::Internal, format!("{}: {error}", dir.display())))?
        .map_err(|error| error.for_owner())?;
    if store.name() == name {
        return Ok(store);
    }
    Err(Problem::new(Code::Internal, format!("{} holds the volume {}", dir.display(), store.name())))
}

async fn open_home(
    dir: PathBuf,
    name: &VolumeName,
    world: &World,
    identity: &Identity,
) -> Result<Arc<HomeVolume>, Problem> {
    let store = open_store(dir, name, world).await?;
    home_volume(store, world, identity).await.map_err(Problem::from)
}

/// What is answered about a volume that lies here and has its home elsewhere.
fn away(name: &VolumeName, standing: &Standing) -> Problem {
    let what = match standing {
        Standing::Home => format!("{name} is opened here"),
        Standing::Coming { from } => format!("{name} is on its way here from {from}"),
        Standing::Going { to, .. } => format!("{name} is on its way to {to}"),
        Standing::Superseded { by, address, epoch } => {
            format!("the home of {name} is {by} at {address}, in epoch {epoch}")
        }
    };
    Problem::new(Code::Moved, what).next(format!("`webos volume show {name}` tells where its home is now"))
}

/// What this node says of a volume of its own.
fn own_claim(state: &State, store: &Store) -> Result<HomeClaim, Problem> {
    let (volume, key) = (store.name().clone(), state.identity()?.key().public().clone());
    // What was taken over with an epoch is what was there when it was first said.
    let (address, epoch, change) = (state.advertised.clone(), store.epoch(), store.change());
    Ok(HomeClaim { volume, key, address, epoch, change })
}

/// Asks the realm's first node, which may be this one.
async fn ask_first(state: &State, request: HomeRequest) -> Result<HomeEntry, Problem> {
    if state.register.is_some() {
        return enter(state, &state.own.principal, &request);
    }
    state.client.first_node(state.realm())?.home(&request).await
}

/// Takes what a node of the realm says of a volume, at the realm's first node.
pub fn take(state: &State, caller: &Caller, request: &HomeRequest) -> Result<HomeEntry, Problem> {
    enter(state, &caller.for_itself()?.principal, request)
}

fn enter(state: &State, by: &Principal, request: &HomeRequest) -> Result<HomeEntry, Problem> {
    let (Some(register), Some(registrar)) = (&state.register, &state.registrar) else {
        let what = format!("{} does not keep the homes of volumes", state.own.principal);
        return Err(Problem::new(Code::Unsupported, what).next("ask the realm's first node"));
    };
    let is_lost = |home: &Principal| matches!(registrar.standing(home), Some(MemberState::Revoked(_)));
    let (entry, new) = register.take(by, request, is_lost)?;
    if new && !matches!(request, HomeRequest::Fence(_)) {
        let what = format!("entered {} as its home, in epoch {}", entry.home, entry.epoch);
        let volume = register::volume_of(request).to_string();
        state.gate.note(&AuditRecord::of_change(state.world.clock.unix(), by, &volume, &what))?;
    }
    Ok(entry)
}

/// The signed record of a volume; nothing if none is entered.
pub fn record(state: &State, name: &Label) -> Result<Option<Vec<u8>>, Problem> {
    let entered = state.register.as_ref().and_then(|register| register.find(name));
    let sign = |record: VolumeRecord| Ok(trust::signed::sign(&state.identity()?, VOLUME_KIND, &record)?);
    entered.map(|entered| sign(entered.record)).transpose()
}

/// Before the node answers anybody: the first node's word about all volumes here, if it comes in time.
pub async fn begin(state: &Arc<State>) {
    let all = async {
        for name in state.homes.names() {
            settle(state, &name).await;
        }
    };
    if tokio::time::timeout(HOMES_FIRST_WITHIN, all).await.is_err() {
        tracing::warn!("the realm's first node does not answer: the volumes here stay as they were");
    }
}

/// Follows the first node's word until the node stops.
pub async fn keep(state: Arc<State>) {
    loop {
        let mut undecided = false;
        for name in state.homes.names() {
            undecided |= !settle(&state, &name).await;
        }
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep(if undecided { HOMES_LOOK_SOON } else { HOMES_LOOK }) => {}
        }
    }
}

/// A client shows the epoch of the record that it has. If that is a higher one, the first node is asked at once, and
/// nothing is done under the present one.
pub async fn meet(state: &Arc<State>, here: &HomeVolume, headers: &HeaderMap) -> Result<(), Problem> {
    let shown = headers.get(EPOCH_HEADER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Epoch);
    let store = here.home.store();
    if shown.is_none_or(|shown| shown <= store.epoch()) {
        return Ok(());
    }
    settle(state, store.name()).await;
    state.homes.find(store.name())?;
    let what = format!(
        "{} has {} in epoch {}, and knows of none higher",
        state.own.principal,
        store.name(),
        store.epoch()
    );
    Err(Problem::new(Code::Moved, what)
        .next(format!("`webos volume show {}` tells where its home is", store.name())))
}

/// Has the first node's word about one volume come true here. Answers whether there was one, and nothing is open.
async fn settle(state: &Arc<State>, name: &VolumeName) -> bool {
    // While a move runs, it decides.
    if state.goings.is_running(name) || state.comings.is_running(name) {
        return true;
    }
    match settled(state, name).await {
        Ok(decided) => decided,
        Err(problem) => {
            tracing::info!(volume = %name, %problem, "whether its home is here could not be asked");
            // Who was its home goes on: nobody takes its place without being told by it, or by the realm's owners.
            state.homes.get(name).is_some()
        }
    }
}

async fn settled(state: &Arc<State>, name: &VolumeName) -> Result<bool, Problem> {
    let dir = state.settings.folder.volume(name);
    match Standing::read(&dir)? {
        Standing::Superseded { .. } => Ok(true),
        Standing::Home => {
            let Some(volume) = state.homes.get(name) else { return Ok(true) };
            let claim = own_claim(state, volume.home.store())?;
            let own_epoch = claim.epoch;
            let entry = ask_first(state, HomeRequest::Register(claim)).await?;
            if entry.home == state.own.principal && entry.epoch <= own_epoch {
                return Ok(true);
            }
            if entry.epoch < own_epoch {
                tracing::error!(volume = %name, home = %entry.home, epoch = %entry.epoch,
                    "the realm's first node has gone back behind this home: it was restored, or lied to");
                return Ok(true);
            }
            supersede(state, name, &entry).await.map(|()| true)
        }
        // A copy that does not count now may count later, if its old home has not heard yet.
        Standing::Coming { .. } => come_true(state, name).await.map(|_| true),
        Standing::Going { .. } => {
            let entry = ask_first(state, HomeRequest::Fence(name.clone())).await?;
            if entry.home != state.own.principal {
                return supersede(state, name, &entry).await.map(|()| true);
            }
            let home = open_home(dir.clone(), name, &state.world, &state.identity()?).await?;
            Standing::Home.write(&dir)?;
            state.homes.set(name, Here::Home(home));
            Ok(true)
        }
    }
}

/// A volume that has come whole is at home here once the first node says so.
async fn come_true(state: &Arc<State>, name: &VolumeName) -> Result<bool, Problem> {
    let dir = state.settings.folder.volume(name);
    if !webfs::store::is_volume(&dir) {
        return Ok(true);
    }
    let store = open_store(dir, name, &state.world).await?;
    let claim = own_claim(state, &store)?;
    let epoch = claim.epoch;
    let entry = ask_first(state, HomeRequest::Register(claim)).await?;
    if (&entry.home, entry.epoch) != (&state.own.principal, epoch) {
        let there = format!("{} is its home, in epoch {}", entry.home, entry.epoch);
        tracing::info!(volume = %name, %there, "the copy here does not count");
        return Ok(false);
    }
    serve(state, store).await.map(|()| true)
}

/// From here on this node is the home.
async fn serve(state: &Arc<State>, store: Store) -> Result<(), Problem> {
    let (name, epoch) = (store.name().clone(), store.epoch());
    let dir = store.dir().to_path_buf();
    let home = home_volume(store, &state.world, &state.identity()?).await?;
    Standing::Home.write(&dir)?;
    state.homes.set(&name, Here::Home(home));
    tracing::info!(volume = %name, %epoch, "its home is here now");
    Ok(())
}

/// From here on another node is the home. What lies here stays.
async fn supersede(state: &Arc<State>, name: &VolumeName, entry: &HomeEntry) -> Result<(), Problem> {
    let HomeEntry { home, address, epoch, .. } = entry.clone();
    let standing = Standing::Superseded { by: home, address, epoch };
    let problem = away(name, &standing);
    tracing::warn!(volume = %name, "{problem}; it is served here no more, and its data is kept");
    let present = state.homes.get(name);
    state.homes.set(name, Here::Away(problem));
    standing.write(&state.settings.folder.volume(name))?;
    if let Some(volume) = present {
        volume.stop().await;
    }
    Ok(())
}

/// A step of a move, at either end.
pub async fn step(state: &Arc<State>, caller: &Caller, request: MoveRequest) -> Result<MoveReply, Problem> {
    match request {
        MoveRequest::Offer { volume, to } => going::offer(state, caller, &volume, to).await,
        MoveRequest::Confirm(claim) => going::confirm(state, caller, claim).await,
        MoveRequest::Take { volume, from, address } => coming::take(state, caller, volume, (from, address)).await,
        MoveRequest::Look(volume) => coming::look(state, caller, &volume),
    }
}

/// Whether the caller owns this node, or is its folder's command.
pub fn must_own(state: &State, caller: &Caller, resource: &VolumeName) -> Result<(), Problem> {
    let peer = caller.for_itself()?.principal.clone();
    if peer == state.own.principal || state.owners.contains(&peer) {
        return Ok(());
    }
    let why = format!("{peer} is not the owner of {}", state.own.principal);
    let now = state.world.clock.unix();
    let mut record = AuditRecord::of_refusal(now, Some(caller.source()), &resource.to_string(), &why);
    record.peer = Some(peer);
    state.gate.note(&record)?;
    Err(Problem::new(Code::Denied, why).next("ask its owner"))
}
