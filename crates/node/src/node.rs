//! A running node: put together from its folder, started, stopped.
//!
//! Everything that a request handler needs is in [`State`]; what changes there has an owner of its own.

use crate::audit::Witness;
use crate::authority::Registrar;
use crate::candidates::Candidates;
use crate::feeds::{self, Followed, Source};
use crate::gatekeeper::{Caller, Gatekeeper};
use crate::groups::Groups;
use crate::handed_on::HandedOn;
use crate::handle::Requests;
use crate::homes::{Comings, Goings, HomeRegister, Homes};
use crate::names::Names;
use crate::published::Published;
use crate::relays::Relays;
use crate::serving::Serving;
use crate::settings::Settings;
use crate::tokens::HomeTokens;
use client::{Client, Folder};
use process::offers::Offers;
use rustls_pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use terms::{Code, Principal, PrincipalKind, Problem, RealmName, UnixMs};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trust::{AuditLog, AuditRecord, Identity, NameServer};
use webfs::coherence::Coherence;
use webfs::serve::Home;
use wire::{Peer, Recheck, Server};
use world::World;

/// A volume that has its home here.
pub struct HomeVolume {
    /// Its files.
    pub home: Home,
    /// Its leases.
    pub coherence: Coherence,
}

impl HomeVolume {
    /// Ends all watches and leases. From here on nothing is granted and no change is admitted.
    pub async fn stop(&self) {
        self.home.stop();
        self.coherence.stop().await;
    }
}

/// All that the request handlers of one node share.
pub struct State {
    pub(crate) settings: Settings,
    pub(crate) world: World,
    pub(crate) client: Client,
    pub(crate) own: Arc<Peer>,
    pub(crate) address: SocketAddr,
    pub(crate) advertised: String,
    pub(crate) started: UnixMs,
    pub(crate) gate: Arc<Gatekeeper>,
    pub(crate) registrar: Option<Registrar>,
    pub(crate) feed: Option<Source>,
    pub(crate) followed: Followed,
    pub(crate) handed_on: HandedOn,
    pub(crate) recheck: Recheck,
    pub(crate) names: Names,
    pub(crate) homes: Homes,
    /// Who is the home of which volume, at the realm's first node.
    pub(crate) register: Option<HomeRegister>,
    pub(crate) goings: Goings,
    pub(crate) comings: Comings,
    pub(crate) published: Published,
    pub(crate) serving: Serving,
    pub(crate) relays: Relays,
    pub(crate) candidates: Candidates,
    pub(crate) offers: Mutex<Offers>,
    pub(crate) owners: Vec<Principal>,
    pub(crate) witness: Witness,
    pub(crate) tokens: HomeTokens,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl State {
    pub(crate) fn identity(&self) -> Result<Identity, Problem> {
        self.client.require_identity()
    }

    pub(crate) fn realm(&self) -> &RealmName {
        &self.own.principal.realm
    }

    /// This node as it asks for itself.
    pub(crate) fn itself(&self) -> Caller {
        Caller::of_peer(Some(self.own.clone()), self.address)
    }

    /// This node as a name server of its realm.
    pub(crate) fn as_name_server(&self) -> NameServer {
        NameServer { address: self.advertised.clone(), principal: self.own.principal.clone() }
    }

    /// Whether this node is the realm's first: it holds groups, names and the authority.
    pub(crate) fn is_first(&self) -> bool {
        self.registrar.is_some()
    }
}

/// A node that answers.
pub struct Node {
    state: Arc<State>,
    server: Server,
}

/// How often a node looks after what has become old.
const HOUSEKEEPING: Duration = Duration::from_secs(20);

impl Node {
    /// Starts a node in its folder.
    pub async fn start(settings: Settings, world: World) -> Result<Self, Problem> {
        crate::private::check(&settings.folder)?;
        crate::renewal::before_start(&settings.folder, &world).await?;
        let client = Client::open(settings.folder.clone(), world.clone())?;
        let identity = client.require_identity()?;
        if identity.principal().kind != PrincipalKind::Server {
            return Err(Problem::new(
                Code::Invalid,
                format!(
                    "{} holds the identity of {}, which is no server",
                    settings.folder.path().display(),
                    identity.principal()
                ),
            )
            .next("a node has a folder of its own: choose it with WEBOS_HOME or --home"));
        }
        let listener = listen(&settings.listen).await?;
        let address = listener.local_addr().map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        let state = Arc::new(compose(settings, world.clone(), client, &identity, address).await?);
        let requests = Arc::new(Requests::new(state.clone()));
        let check = Arc::new(state.client.trust().clone());
        feeds::begin(&state).await;
        crate::homes::begin(&state).await;
        let server = Server::start(&world, listener, &identity.credentials(), check, requests, &state.recheck)
            .map_err(|error| Problem::new(Code::Internal, format!("{error}: {}", source(&error))))?;
        crate::published::resume(&state).await?;
        state.tasks.spawn(housekeeping(state.clone()));
        state.tasks.spawn(crate::homes::keep(state.clone()));
        state.tasks.spawn(crate::serving::announce(state.clone()));
        state.tasks.spawn(crate::groups::recheck::keep(state.clone()));
        state.tasks.spawn(crate::audit::tell_witness(state.clone()));
        state.tasks.spawn(crate::renewal::keep(state.clone(), server.shown()));
        state.tasks.spawn(crate::realms::follow(state.clone()));
        state.tasks.spawn(crate::realms::refresh_all(state.clone()));
        Ok(Self { state, server })
    }

    /// Who this node is.
    pub fn principal(&self) -> &Principal {
        &self.state.own.principal
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.state.address
    }

    /// The node's own client: acts as the node itself.
    pub fn client(&self) -> &Client {
        &self.state.client
    }

    /// The services that are published here, and each one that is published later.
    pub fn publications(&self) -> tokio::sync::watch::Receiver<Vec<crate::published::Publication>> {
        self.state.published.watch()
    }

    /// Ends leases and requests in order, so that a restart waits for nobody.
    pub async fn stop(self) {
        self.state.stop.cancel();
        for volume in self.state.homes.all() {
            volume.stop().await;
        }
        self.state.relays.close().await;
        self.server.shutdown().await;
        self.state.tasks.close();
        let _ = tokio::time::timeout(wire::limits::SHUTDOWN_DEADLINE, self.state.tasks.wait()).await;
        off_thread(&self.state, Gatekeeper::finish).await;
        crate::audit::last_word(&self.state).await;
    }
}

/// Has the gatekeeper write to the disk where that keeps no request waiting.
pub(crate) async fn off_thread(state: &Arc<State>, write: impl FnOnce(&Gatekeeper) + Send + 'static) {
    let gate = state.gate.clone();
    if let Err(error) = tokio::task::spawn_blocking(move || write(&gate)).await {
        tracing::error!(%error, "the audit log was not written");
    }
}

fn source(error: &dyn std::error::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

async fn listen(address: &str) -> Result<TcpListener, Problem> {
    TcpListener::bind(address).await.map_err(|error| {
        Problem::new(Code::Unavailable, format!("{address} cannot be listened on: {error}"))
            .next("choose another with --listen; port 0 takes a free one")
    })
}

async fn compose(
    settings: Settings,
    world: World,
    client: Client,
    identity: &Identity,
    address: SocketAddr,
) -> Result<State, Problem> {
    let folder = settings.folder.clone();
    let realm = identity.principal().realm.clone();
    let advertised = settings.advertised(address)?;
    settings.check_relays(identity.principal())?;
    client.trust().set_limits(settings.feed_limits);
    let registrar = Registrar::open(&folder, &world)?.filter(|registrar| registrar.realm() == realm);
    let feed = match &registrar {
        Some(registrar) => {
            let first = NameServer { address: advertised.clone(), principal: identity.principal().clone() };
            registrar.sign_bundle(client.trust(), &first)?;
            let feed = Source::open(&folder, &world, client.trust(), registrar)?;
            registrar.keep_up(client.trust(), &first)?;
            Some(feed)
        }
        None => None,
    };
    let groups = Arc::new(Groups::load(client.clone(), &folder, realm.clone(), registrar.is_some())?);
    let audit = open_audit(&folder, &world, identity.principal())?;
    let gate = Arc::new(Gatekeeper::new(world.clone(), client.trust().clone(), groups, audit));
    let own = Arc::new(Peer {
        principal: identity.principal().clone(),
        key: identity.key().thumbprint(),
        issued: identity.issued(),
        // Nobody's word is needed for who one is oneself; others look at the certificate that is shown to them.
        not_after: UnixMs(u64::MAX),
        chain: identity.chain().iter().cloned().map(CertificateDer::into_owned).collect(),
    });
    let offers = Offers::load(folder.offers())
        .map_err(|error| Problem::new(Code::Internal, format!("{error}: {}", source(&error))))?;
    Ok(State {
        names: Names::load(&folder, &world, client.trust(), &realm),
        homes: Homes::open(&folder, &world, identity).await?,
        register: registrar.as_ref().map(|_| HomeRegister::load(&folder)).transpose()?,
        goings: Goings::default(),
        comings: Comings::default(),
        relays: Relays::new(client.clone()),
        owners: owners(&folder)?,
        witness: Witness::load(&folder)?,
        tokens: HomeTokens::open(&folder, identity.principal(), &world)?,
        started: world.clock.unix(),
        published: Published::default(),
        serving: Serving::default(),
        candidates: Candidates::default(),
        offers: Mutex::new(offers),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
        settings,
        world,
        client,
        own,
        address,
        advertised,
        gate,
        registrar,
        feed,
        followed: Followed::new(),
        handed_on: HandedOn::new(),
        recheck: Recheck::default(),
    })
}

/// Opens the audit log. What is wrong with it is said aloud, and is what it goes on with.
fn open_audit(folder: &Folder, world: &World, own: &Principal) -> Result<AuditLog, Problem> {
    let path = folder.audit();
    let audit = AuditLog::open(&path)?;
    if let Some(fault) = audit.damage() {
        let found = format!("at a start, the audit log was not as it was left: {fault}");
        tracing::error!("{found}; find out who was at {}, and compare it with a copy", path.display());
        audit.record(&AuditRecord::of_change(world.clock.unix(), own, "audit log", &found))?;
    }
    Ok(audit)
}

fn owners(folder: &Folder) -> Result<Vec<Principal>, Problem> {
    let Ok(text) = std::fs::read_to_string(folder.owner()) else { return Ok(Vec::new()) };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| line.parse())
        .collect::<Result<_, _>>()
        .map_err(|error| Problem::new(Code::Invalid, format!("{}: {error}", folder.owner().display())))
}

async fn housekeeping(state: Arc<State>) {
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep(HOUSEKEEPING) => {}
        }
        off_thread(&state, Gatekeeper::flush).await;
        crate::published::refresh(&state);
        for volume in state.homes.all() {
            if let Err(error) = volume.home.store().collect().await {
                tracing::warn!(volume = %volume.home.store().name(), %error, "old versions could not be collected");
            }
        }
    }
}
