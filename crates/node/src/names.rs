//! What a name server hands out: signed service certificates, with the newest table and rights to serve.
//!
//! Documents are checked when they come in, and ordered by serial, epoch and generation: an older one never
//! replaces a newer one.

use crate::limits::MAX_SERVICES;
use client::models::StateReply;
use client::protocol::StateUpdate;
use client::{Folder, durable};
use discovery::verified::{Certificate, CheckedTable};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use terms::{BootMs, Code, Label, Problem, RealmName, ServiceName};
use trust::TrustStore;
use wire::Peer;
use world::World;

/// What the load daemon signed last, and when it came.
struct State {
    table: CheckedTable,
    update: StateUpdate,
    received: BootMs,
}

struct Service {
    certificate: Certificate,
    state: Option<State>,
}

/// The services of this node's realm, as its name server knows them.
pub struct Names {
    world: World,
    trust: TrustStore,
    realm: RealmName,
    folder: PathBuf,
    services: Mutex<BTreeMap<Label, Service>>,
}

impl Names {
    /// Loads what was handed out before. A document that is not valid any more is left out: its publisher signs a
    /// new one.
    pub fn load(folder: &Folder, world: &World, trust: &TrustStore, realm: &RealmName) -> Self {
        let names = Self {
            world: world.clone(),
            trust: trust.clone(),
            realm: realm.clone(),
            folder: folder.names(),
            services: Mutex::default(),
        };
        for entry in fs::read_dir(folder.names()).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".service"));
            let (Some(name), Ok(bytes)) = (name.and_then(|name| Label::new(name).ok()), fs::read(&path)) else {
                continue;
            };
            match names.open(&name, &bytes) {
                Ok(certificate) => drop(names.services().insert(name, Service { certificate, state: None })),
                Err(problem) => tracing::info!(%name, %problem, "a stored service certificate is left out"),
            }
        }
        names
    }

    fn services(&self) -> MutexGuard<'_, BTreeMap<Label, Service>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, name: &Label, bytes: &[u8]) -> Result<Certificate, Problem> {
        let service = ServiceName { name: name.clone(), realm: self.realm.clone() };
        Certificate::open(bytes, &service, &self.trust, self.world.clock.unix())
            .map_err(|error| Problem::new(Code::Denied, error.to_string()))
    }

    /// The present certificate.
    pub fn certificate(&self, name: &Label) -> Result<Certificate, Problem> {
        let services = self.services();
        let service = services.get(name).ok_or_else(|| {
            Problem::new(Code::NotFound, format!("there is no service {name} in {}", self.realm))
                .next("`webos service publish` makes one")
        })?;
        Ok(service.certificate.clone())
    }

    /// Takes a new certificate; one with a serial that is not higher is refused.
    pub fn publish(&self, name: &Label, bytes: &[u8]) -> Result<Certificate, Problem> {
        let certificate = self.open(name, bytes)?;
        let mut services = self.services();
        if let Some(present) = services.get(name)
            && certificate.value().serial <= present.certificate.value().serial
        {
            return Err(Problem::new(
                Code::Conflict,
                "a service certificate with this serial or a higher one is here",
            ));
        }
        if !services.contains_key(name) && services.len() >= MAX_SERVICES {
            return Err(Problem::new(Code::TooLarge, format!("a realm has at most {MAX_SERVICES} services")));
        }
        durable::replace(&self.folder.join(format!("{name}.service")), bytes)?;
        let state = services.remove(name).and_then(|service| service.state);
        services.insert(name.clone(), Service { certificate: certificate.clone(), state });
        Ok(certificate)
    }

    /// Takes what an authority of the service has signed.
    pub fn update(&self, peer: &Peer, update: StateUpdate) -> Result<(), Problem> {
        let mut services = self.services();
        let service = services.get_mut(&update.service.name).filter(|_| update.service.realm == self.realm);
        let service = service
            .ok_or_else(|| Problem::new(Code::NotFound, format!("{} is not published here", update.service)))?;
        let mut servers = service.certificate.value().servers.iter();
        if !servers.any(|server| server.authority && server.principal == peer.principal) {
            return Err(Problem::new(
                Code::Denied,
                format!("{} is no authority of {}", peer.principal, update.service),
            ));
        }
        let denied = |error: discovery::verified::DocumentError| Problem::new(Code::Denied, error.to_string());
        let table = service.certificate.open_table(&update.table).map_err(denied)?;
        for right in &update.rights {
            service.certificate.open_right(right).map_err(denied)?;
        }
        let order = |table: &CheckedTable| (table.epoch, table.generation, table.signed_at);
        if service.state.as_ref().is_some_and(|present| order(&table) < order(&present.table)) {
            return Err(Problem::new(Code::Conflict, "a newer table is here"));
        }
        service.state = Some(State { table, update, received: self.world.clock.boot() });
        Ok(())
    }

    /// The newest table and rights, with the service's time.
    pub fn state(&self, name: &Label) -> Result<StateReply, Problem> {
        let services = self.services();
        let state = services.get(name).and_then(|service| service.state.as_ref());
        let State { table, update, received } = state.ok_or_else(|| {
            Problem::new(Code::Unavailable, format!("the load daemon of {name} has not spoken yet"))
        })?;
        // The service's time never goes back, though the wall clock may: tables are dated by it.
        let clock = &self.world.clock;
        let now = clock.unix().max(table.signed_at.plus(clock.boot().since(*received)));
        Ok(StateReply { table: update.table.clone(), rights: update.rights.clone(), now })
    }
}
