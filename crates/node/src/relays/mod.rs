//! Relaying: files of volumes that live elsewhere, served from the verified cache to whoever may read them, and to
//! holders with leases of their own.
//!
//! A node relays what it holds the right `relay` for. It checks its clients as the home would, with the access
//! list that comes with each lease.

mod below;

use crate::gatekeeper::Caller;
use crate::limits::MAX_RELAYED;
use crate::node::State;
use crate::replica::ReplicaFiles;
use client::Client;
use http::request::Parts;
use http::{Method, Response};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use terms::{Code, Location, Problem, RealmName, Right, VolumeName, VolumePath};
use trust::{Authorised, Bucket};
use webfs::relay::ReplicaObject;
use webfs::serve::{Directory, Face};
use wire::Body;

struct Relayed {
    files: Arc<ReplicaFiles>,
    /// Whether an access list gave this node `relay` the last time one was read.
    holds: bool,
    /// Whether any has ever done so.
    held: bool,
}

/// The volumes that this node relays.
pub struct Relays {
    client: Client,
    volumes: Mutex<BTreeMap<VolumeName, Relayed>>,
}

impl Relays {
    /// No volume yet: the first request for one opens it.
    pub fn new(client: Client) -> Self {
        Self { client, volumes: Mutex::default() }
    }

    fn volumes(&self) -> std::sync::MutexGuard<'_, BTreeMap<VolumeName, Relayed>> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this node was seen to hold `relay` on files of a volume.
    pub fn holds(&self, volume: &VolumeName) -> bool {
        self.volumes().get(volume).is_some_and(|relayed| relayed.holds)
    }

    /// The same for any volume of a realm.
    pub fn holds_any(&self, realm: &RealmName) -> bool {
        self.volumes().iter().any(|(volume, relayed)| volume.realm == *realm && relayed.holds)
    }

    /// What is left of each relayed volume's lease: milliseconds.
    pub async fn status(&self) -> Vec<(VolumeName, u32)> {
        let held: Vec<_> = {
            let volumes = self.volumes();
            let held = volumes.iter().filter(|(_, relayed)| relayed.holds);
            held.map(|(volume, relayed)| (volume.clone(), relayed.files.clone())).collect()
        };
        let mut status = Vec::with_capacity(held.len());
        for (volume, files) in held {
            status.push((volume, files.lease_left_ms().await));
        }
        status
    }

    fn files(&self, state: &State, volume: &VolumeName) -> Result<Arc<ReplicaFiles>, Problem> {
        let mut volumes = self.volumes();
        if let Some(relayed) = volumes.get(volume) {
            return Ok(relayed.files.clone());
        }
        if volumes.len() >= MAX_RELAYED {
            // Whoever asks for volumes that are not relayed here keeps none from being relayed.
            let idle = volumes.iter().find(|(_, relayed)| !relayed.held).map(|(volume, _)| volume.clone());
            let full = || Problem::new(Code::Busy, format!("this node relays {MAX_RELAYED} volumes already"));
            volumes.remove(&idle.ok_or_else(full)?);
        }
        let top = Location { volume: volume.clone(), path: VolumePath::root() };
        let via = state.settings.relay_via.get(volume).cloned();
        let files = Arc::new(ReplicaFiles::new(state, &top, "relay").via(via));
        volumes.insert(volume.clone(), Relayed { files: files.clone(), holds: false, held: false });
        Ok(files)
    }

    /// What only the home does, of a volume that is relayed here.
    pub fn only_at_home(&self, volume: &VolumeName) -> Option<Problem> {
        let home = self.volumes().get(volume)?.files.home()?;
        let what = format!("{volume} is only relayed here: this is done at its home, {home}");
        Some(
            Problem::new(Code::Unsupported, what).next(format!("ask {home}; the volume's record says where it is")),
        )
    }

    fn set_holds(&self, volume: &VolumeName, holds: bool) {
        if let Some(relayed) = self.volumes().get_mut(volume) {
            relayed.holds = holds;
            relayed.held |= holds;
        }
    }

    /// Answers a GET or HEAD of a file that lives elsewhere.
    pub async fn answer(
        &self,
        state: &Arc<State>,
        caller: &Caller,
        volume: &VolumeName,
        path: &VolumePath,
        parts: &Parts,
    ) -> Result<Response<Body>, Problem> {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            let unknown = || {
                Problem::new(Code::Unsupported, format!("{volume} is not changed through a relay"))
                    .next("write to the volume's home")
            };
            return Err(self.only_at_home(volume).unwrap_or_else(unknown));
        }
        // A volume of a realm that nobody here trusts is not asked for.
        self.client.name_servers(&volume.realm)?;
        let files = self.files(state, volume)?;
        let location = Location { volume: volume.clone(), path: path.clone() };
        let found = match files.open(path).await {
            Ok(found) => found,
            Err(problem) => return Err(self.not_found(state, caller, (&files, &location), problem).await),
        };
        let authorised = self.allow(state, caller, &location, found.bucket()).await?;
        let now = state.world.clock.unix();
        let entry = *found.entry();
        match found {
            ReplicaObject::File(file) => {
                Ok(webfs::serve::file(&authorised, Arc::new(file), parts, Face::Volume, now).await)
            }
            ReplicaObject::Link(link) => {
                let what = format!("{location} leads on through a link, which this relay does not follow");
                let leads = link.leads_to().map(|path| format!("ask for {volume}/{path}"));
                Err(Problem::new(Code::Unsupported, what)
                    .next(leads.unwrap_or_else(|| "it leads to no place in the volume".into())))
            }
            ReplicaObject::Directory(directory) => {
                let beyond = || {
                    Problem::new(Code::Unsupported, format!("{location} is too long for a relay to list"))
                        .next("list it at the volume's home")
                };
                let listing = directory.listing(&webfs::serve::after(parts)?).ok_or_else(beyond)?;
                let change = directory.change();
                let found = Directory { volume, path, entry: &entry, change, listing: &listing };
                Ok(webfs::serve::directory(&authorised, found, parts, Face::Volume, now))
            }
        }
    }
}

impl Relays {
    /// The caller's right to read what this node may relay.
    async fn allow(
        &self,
        state: &State,
        caller: &Caller,
        location: &Location,
        list: &Bucket,
    ) -> Result<Authorised, Problem> {
        let holds = state.gate.would_allow(&state.itself(), location, Right::Relay, list).await.is_some();
        self.set_holds(&location.volume, holds);
        if !holds {
            return Err(not_relayed(Problem::new(Code::Denied, ""), state, location));
        }
        state.gate.allow(caller, location, Right::Read, list).await
    }

    /// Why something was not opened. That it does not exist is said only to whoever may read where it would lie.
    async fn not_found(
        &self,
        state: &State,
        caller: &Caller,
        (files, location): (&ReplicaFiles, &Location),
        problem: Problem,
    ) -> Problem {
        if problem.code != Code::NotFound {
            // The relay's own right to read is the home's to check; a refusal of the relay says nothing of the caller.
            return not_relayed(problem, state, location);
        }
        let mut above = location.path.parent();
        while let Some(path) = above {
            match files.open(&path).await {
                Ok(found) => {
                    return self.allow(state, caller, location, found.bucket()).await.err().unwrap_or(problem);
                }
                Err(missing) if missing.code == Code::NotFound => above = path.parent(),
                Err(other) => return not_relayed(other, state, location),
            }
        }
        problem
    }
}

fn not_relayed(problem: Problem, state: &State, location: &Location) -> Problem {
    if problem.code != Code::Denied {
        return problem;
    }
    let what = format!("{} does not relay {location}", state.own.principal);
    // A refusal by whoever is asked has words; one of this node's own has none.
    match state.settings.relay_via.get(&location.volume).filter(|_| !problem.detail.is_empty()) {
        Some(via) => Problem::new(Code::Denied, format!("{what}: {}, which it asks, refused", via.principal))
            .next("ask the volume's home, or have relay granted to that node, and r to this one"),
        None => Problem::new(Code::Denied, what)
            .next("ask the volume's home, or have the right relay granted to this node"),
    }
}
