//! Relaying: files of volumes that live elsewhere, served from the verified cache to whoever may read them.
//!
//! A node relays what it holds the right `relay` for. It checks its clients as the home would, with the access
//! list that comes with each lease.

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
use webfs::relay::ReplicaObject;
use webfs::serve::{Directory, Face};
use wire::Body;

struct Relayed {
    files: Arc<ReplicaFiles>,
    /// Whether an access list gave this node `relay` the last time one was read.
    holds: bool,
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
            return Err(Problem::new(Code::Busy, format!("this node relays {MAX_RELAYED} volumes already")));
        }
        let top = Location { volume: volume.clone(), path: VolumePath::root() };
        let files = Arc::new(ReplicaFiles::new(state, &top, "relay"));
        volumes.insert(volume.clone(), Relayed { files: files.clone(), holds: false });
        Ok(files)
    }

    fn set_holds(&self, volume: &VolumeName, holds: bool) {
        if let Some(relayed) = self.volumes().get_mut(volume) {
            relayed.holds = holds;
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
            return Err(Problem::new(Code::Unsupported, format!("{volume} is not changed through a relay"))
                .next("write to the volume's home"));
        }
        // A volume of a realm that nobody here trusts is not asked for.
        self.client.name_servers(&volume.realm)?;
        let files = self.files(state, volume)?;
        let location = Location { volume: volume.clone(), path: path.clone() };
        // The relay's own right to read is the home's to check; a refusal of the relay says nothing of the caller.
        let found = files.open(path).await.map_err(|problem| not_relayed(problem, state, &location))?;
        let own = Caller::of_peer(Some(state.own.clone()), state.address);
        let holds = state.gate.would_allow(&own, &location, Right::Relay, found.bucket()).await.is_some();
        self.set_holds(volume, holds);
        if !holds {
            return Err(not_relayed(Problem::new(Code::Denied, ""), state, &location));
        }
        let authorised = state.gate.allow(caller, &location, Right::Read, found.bucket()).await?;
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

fn not_relayed(problem: Problem, state: &State, location: &Location) -> Problem {
    if problem.code != Code::Denied {
        return problem;
    }
    Problem::new(Code::Denied, format!("{} does not relay {location}", state.own.principal))
        .next("ask the volume's home, or have the right relay granted to this node")
}
