//! Services that are published from a volume here: certificate, group, front, and what a load daemon needs.
//!
//! Publishing needs `a` on the files; it gives the group `NAME-serving` the right to read them, and puts this
//! node into it for good.

use crate::candidates;
use crate::files;
use crate::front::{Front, FrontFile, FrontFiles, FrontObject, FrontSite};
use crate::gatekeeper::Caller;
use crate::groups::Term;
use crate::limits::SERVICE_CERTIFICATE_LIFE;
use crate::node::{HomeVolume, State};
use client::durable;
use client::models::{SERVICE_KIND, ServerEntry, ServiceCertificate};
use client::protocol::{AclChange, PublishReply, PublishRequest};
use discovery::verified::Certificate;
use futures_util::future::{BoxFuture, FutureExt};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terms::{
    Code, Epoch, GroupName, Label, Principal, PrincipalKind, Problem, Right, Rights, Serial, ServiceName,
    VolumePath, Who,
};
use tokio::sync::watch;
use trust::{Bucket, Identity, Object};
use webfs::serve::{Home, HomeFile};
use webfs::store::Lookup;

/// How much a client stays with its last server. More than this hurts under load: measured in the director's
/// simulation.
const STICKINESS: f64 = 0.2;

/// What a load daemon needs to know of a published service.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// What was asked for.
    pub request: PublishRequest,
    /// The signed certificate.
    pub certificate: Vec<u8>,
    /// Its epoch: the daemon's is greater.
    pub epoch: Epoch,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    request: PublishRequest,
    publisher: Principal,
    serial: Serial,
}

struct Service {
    front: Arc<Front>,
    publication: Publication,
}

/// The services published here.
pub struct Published {
    services: Mutex<BTreeMap<ServiceName, Service>>,
    changes: watch::Sender<Vec<Publication>>,
}

impl Default for Published {
    fn default() -> Self {
        Self { services: Mutex::default(), changes: watch::Sender::new(Vec::new()) }
    }
}

impl Published {
    fn services(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Service>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The front of a service published here.
    pub fn front(&self, service: &ServiceName) -> Option<Arc<Front>> {
        self.services().get(service).map(|service| service.front.clone())
    }

    /// What was asked for when a service was published here.
    pub fn request(&self, service: &ServiceName) -> Option<PublishRequest> {
        self.services().get(service).map(|service| service.publication.request.clone())
    }

    /// A service that is published from this volume.
    pub fn from(&self, volume: &terms::VolumeName) -> Option<ServiceName> {
        let services = self.services();
        let mut of_it = services.values().filter(|service| service.publication.request.files.volume == *volume);
        of_it.next().map(|service| service.publication.request.service.clone())
    }

    /// All fronts.
    pub fn fronts(&self) -> Vec<Arc<Front>> {
        self.services().values().map(|service| service.front.clone()).collect()
    }

    /// The services published now, and whenever that changes.
    pub fn watch(&self) -> watch::Receiver<Vec<Publication>> {
        self.changes.subscribe()
    }

    fn set(&self, service: Service) {
        let mut services = self.services();
        services.insert(service.publication.request.service.clone(), service);
        let all = services.values().map(|service| service.publication.clone()).collect();
        drop(services);
        self.changes.send_replace(all);
    }
}

/// The group whose members serve a service.
pub fn serving_group(service: &ServiceName) -> Result<GroupName, Problem> {
    let name = Label::new(&format!("{}-serving", service.name)).map_err(|error| {
        Problem::new(Code::Invalid, format!("the service's name is too long for its group: {error}"))
    })?;
    Ok(GroupName { realm: service.realm.clone(), name })
}

/// Where a service's load daemon keeps its state, in the volume that the service is published from.
pub fn state_folder(service: &ServiceName) -> Result<VolumePath, Problem> {
    VolumePath::new(&format!("services/{}", service.name))
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

/// Publishes a folder of a volume that lives here, or changes how it is published.
pub async fn publish(
    state: &Arc<State>,
    caller: &Caller,
    request: PublishRequest,
) -> Result<PublishReply, Problem> {
    let publisher = caller.for_itself()?.principal.clone();
    let volume = published_from(state, &request)?;
    candidates::lenders(&request.lenders)?;
    if let Some(list) = present_list(state, &request.service)? {
        let object = Object::Service(request.service.clone());
        state.gate.allow_object(caller, &object, Right::Administer, &list).await?;
    }
    let group = serving_group(&request.service)?;
    let grant = AclChange {
        who: Who::Group(group.clone()),
        rights: Rights::of(&[Right::Read]),
        grant: true,
        recursive: true,
    };
    files::change_acl(&volume.home, &state.gate, caller, &request.files.path, &grant, None).await?;
    files::make_state_folder(
        &volume.home,
        &state.gate,
        caller,
        &state_folder(&request.service)?,
        &state.own.principal,
    )
    .await?;
    let administer = Rights::of(&[Right::Administer]);
    let own = state.own.principal.clone();
    let holders = [(Who::Principal(publisher.clone()), administer), (Who::Principal(own.clone()), administer)];
    state.gate.groups().ensure(&group, Bucket::new(holders)?)?;
    let now = state.world.clock.unix();
    state.gate.groups().set_member(&group, &Who::Principal(own), Term::ForGood, now)?;
    let path = state.settings.folder.service(&request.service).join("published");
    let serial = read_stored(&path).ok().flatten().map_or(Serial(0), |stored| stored.serial);
    let publication = install(state, Stored { request, publisher, serial })?;
    Ok(PublishReply { certificate: publication.certificate })
}

fn published_from(state: &State, request: &PublishRequest) -> Result<Arc<HomeVolume>, Problem> {
    if !state.is_first() || request.service.realm != *state.realm() {
        return Err(Problem::new(
            Code::Unsupported,
            format!("{} can be published only at the first node of its own realm", request.service),
        ));
    }
    state.homes.find(&request.files.volume)?.ok_or_else(|| {
        Problem::new(Code::NotFound, format!("the volume {} has its home elsewhere", request.files.volume))
            .next("publish at the node that is its home")
    })
}

/// The access list of a service that exists, also of one that could not be published again since the start.
pub fn present_list(state: &State, service: &ServiceName) -> Result<Option<Bucket>, Problem> {
    if let Some(front) = state.published.front(service) {
        return Ok(Some(front.certificate().value().readers.clone()));
    }
    let stored = read_stored(&state.settings.folder.service(service).join("published"));
    match (stored, state.names.certificate(&service.name)) {
        (Ok(Some(stored)), _) => readers(&stored.request, &stored.publisher).map(Some),
        (_, Ok(certificate)) => Ok(Some(certificate.value().readers.clone())),
        (Ok(None), Err(_)) => Ok(None),
        (Err(damaged), Err(_)) => {
            tracing::error!(%service, problem = %damaged, "what is published cannot be told");
            Err(Problem::new(Code::Internal, format!("the record of {service} is damaged at its home"))
                .next("the log of the home names the file"))
        }
    }
}

fn read_stored(path: &std::path::Path) -> Result<Option<Stored>, Problem> {
    let Ok(bytes) = std::fs::read(path) else { return Ok(None) };
    wire::cbor::from_slice(&bytes).map(Some).map_err(|problem| {
        Problem::new(Code::Internal, format!("{} is damaged: {}", path.display(), problem.detail))
            .next("remove it and publish the service again")
    })
}

/// Signs a certificate with the next serial, hands it to the name server, and opens the front.
fn install(state: &Arc<State>, stored: Stored) -> Result<Publication, Problem> {
    let Stored { request, publisher, serial } = stored;
    // The record may be older than what was handed out, when it was damaged or put back.
    let known = state.names.certificate(&request.service.name).map(|known| known.value().serial);
    let serial = known.map_or(serial, |known| known.max(serial)).next();
    let folder = state.settings.folder.service(&request.service);
    let identity = service_identity(state, &request.service)?;
    let readers = readers(&request, &publisher)?;
    let epoch = Epoch(1);
    let value = certificate(state, &request, readers, serial, epoch)?;
    let bytes = trust::signed::sign(&identity, SERVICE_KIND, &value)?;
    // The serial is kept before it is used: no two certificates ever carry the same one.
    let stored = Stored { request: request.clone(), publisher, serial };
    durable::replace(&folder.join("published"), &wire::cbor::to_vec(&stored))?;
    let checked = state.names.publish(&request.service.name, &bytes)?;
    let front = match state.published.front(&request.service) {
        Some(front) => {
            front.set_certificate(checked);
            front
        }
        None => open_front(state, &request, checked)?,
    };
    let publication = Publication { request, certificate: bytes, epoch };
    state.published.set(Service { front, publication: publication.clone() });
    Ok(publication)
}

fn readers(request: &PublishRequest, publisher: &Principal) -> Result<Bucket, Problem> {
    let readers = request.readers.iter().map(|who| (who.clone(), Rights::of(&[Right::Read])));
    let publisher = (Who::Principal(publisher.clone()), Rights::of(&[Right::Read, Right::Administer]));
    Ok(Bucket::new(readers.chain([publisher]))?)
}

fn certificate(
    state: &State,
    request: &PublishRequest,
    readers: Bucket,
    serial: Serial,
    epoch: Epoch,
) -> Result<ServiceCertificate, Problem> {
    let now = state.world.clock.unix();
    let primary = ServerEntry {
        principal: state.own.principal.clone(),
        key: state.identity()?.key().public().clone(),
        address: state.advertised.clone(),
        place: state.settings.place,
        power: 1.0,
        price: 0.0,
        primary: true,
        authority: true,
    };
    Ok(ServiceCertificate {
        service: request.service.clone(),
        serial,
        epoch,
        servers: vec![primary],
        files: request.files.clone(),
        readers,
        goal_ms: request.goal_ms,
        stickiness: STICKINESS,
        valid_from: now,
        valid_until: now.plus(SERVICE_CERTIFICATE_LIFE),
    })
}

/// The service's own identity: its key is kept, its leaf is renewed by the authority each time.
fn service_identity(state: &State, service: &ServiceName) -> Result<Identity, Problem> {
    let registrar = state.registrar.as_ref().ok_or_else(|| {
        Problem::new(Code::Unsupported, "the realm's authority is not here, so no service can be certified")
    })?;
    let folder = state.settings.folder.service(service).join("identity");
    let principal = Principal::new(service.realm.clone(), PrincipalKind::Service, service.name.clone());
    let key = match Identity::load(&folder) {
        Ok(identity) => Some(identity.key().clone()),
        Err(_) if !folder.exists() => None,
        Err(error) => return Err(error.into()),
    };
    let identity = registrar.service_identity(&principal, key)?;
    identity.save(&folder)?;
    Ok(identity)
}

fn open_front(state: &State, request: &PublishRequest, certificate: Certificate) -> Result<Arc<Front>, Problem> {
    let home = published_from(state, request)?.home.clone();
    let site = FrontSite {
        world: state.world.clone(),
        own: state.own.clone(),
        address: state.address,
        link_bps: state.settings.link_bps,
    };
    Ok(Front::new(site, certificate, Box::new(HomeFiles(home)), None))
}

struct HomeFiles(Home);

impl FrontFiles for HomeFiles {
    fn find<'a>(&'a self, path: &'a VolumePath) -> BoxFuture<'a, Result<FrontObject, Problem>> {
        async move {
            let store = self.0.store();
            let change = store.change();
            let Lookup::Found(object) = store.lookup(path).await? else { return Ok(FrontObject::Missing) };
            // A link could lead out of what is published.
            if object.target().is_some() {
                return Ok(FrontObject::Missing);
            }
            let bucket = store.bucket(object.bucket).await?;
            Ok(match HomeFile::new(&self.0, object, change) {
                Some(file) => FrontObject::File(FrontFile { source: Arc::new(file), bucket }),
                None => FrontObject::Directory,
            })
        }
        .boxed()
    }
}

/// Publishes again, at a start, what was published before.
pub async fn resume(state: &Arc<State>) -> Result<(), Problem> {
    let folder = state.settings.folder.path().join("services");
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let stored = match read_stored(&entry.path().join("published")) {
            Ok(Some(stored)) => stored,
            Ok(None) => continue,
            Err(problem) => {
                tracing::error!(%problem, "a service could not be published again");
                continue;
            }
        };
        let service = stored.request.service.clone();
        if let Err(problem) = install(state, stored) {
            tracing::error!(%service, %problem, "a service could not be published again");
        }
    }
    Ok(())
}

/// Signs the certificates anew whose time is half over.
pub fn refresh(state: &Arc<State>) {
    let now = state.world.clock.unix();
    for front in state.published.fronts() {
        let certificate = front.certificate();
        if now.plus(SERVICE_CERTIFICATE_LIFE / 2) < certificate.value().valid_until {
            continue;
        }
        let path = state.settings.folder.service(&certificate.value().service).join("published");
        let renewed = read_stored(&path).and_then(|stored| stored.map(|stored| install(state, stored)).transpose());
        if let Err(problem) = renewed {
            tracing::error!(service = %certificate.value().service, %problem, "a certificate could not be renewed");
        }
    }
}
