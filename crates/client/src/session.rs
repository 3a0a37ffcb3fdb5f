//! One principal's view of the wide area: its identity, the realms it trusts, its connections.
//!
//! Relies on the folder that [`crate::enrol`] fills. Never speaks to a server whose certificate does not end in
//! the pinned bundle of its realm.

use crate::asking::Answering;
use crate::folder::Folder;
use crate::operations::Numbers;
use crate::records::Records;
use crate::{Node, Volume};
use http::{HeaderValue, Method, Request};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use terms::{Code, OperationId, Principal, Problem, RealmName, SessionId, Thumbprint, VolumeName};
use trust::{Chain, Identity, IdentityFile, Passphrase, TrustStore};
use wire::Pool;
use world::World;

struct Inner {
    world: World,
    folder: Folder,
    identity: RwLock<Option<Identity>>,
    trust: TrustStore,
    pool: Pool,
    /// Connections as nobody, for public documents.
    openly: Pool,
    session: SessionId,
    sequence: AtomicU64,
    numbers: Numbers,
    records: Records,
    answering: Answering,
}

/// A client of everything, as one principal (or as nobody). Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>, Option<Arc<HeaderValue>>);

impl Client {
    /// Opens the identity and the trusted realms in a folder. A folder without identity acts as nobody.
    pub fn open(folder: Folder, world: World) -> Result<Self, Problem> {
        Self::unlock(folder, None, world)
    }

    /// The same of a folder whose key may be under a passphrase.
    pub fn unlock(folder: Folder, passphrase: Option<&Passphrase>, world: World) -> Result<Self, Problem> {
        let identity = match IdentityFile::read(&folder.identity()).and_then(|file| file.open(passphrase)) {
            Ok(identity) => Some(identity),
            Err(_) if !folder.identity().join(Identity::FILE).exists() => None,
            Err(error) => return Err(unusable(&folder, error)),
        };
        if let Some(identity) = &identity
            && identity.not_after() <= world.clock.unix()
        {
            return Err(Problem::new(
                Code::Denied,
                format!("the certificate of {} in {} has expired", identity.principal(), folder.path().display()),
            )
            .next("check the clock; `webos up` renews what belongs to its world, else ask for a new invitation"));
        }
        let trust = TrustStore::new();
        let own = identity.as_ref().map(|identity| &identity.principal().realm);
        crate::realms::load_realms(&folder, own, &trust, &world)?;
        Ok(Self::with(folder, world, identity, trust))
    }

    /// A client that acts as nobody, whoever's folder it is: for what is open to all, and for what lies here.
    pub fn nobody(folder: Folder, world: World) -> Result<Self, Problem> {
        let own = IdentityFile::read(&folder.identity()).ok().map(|file| file.principal().realm.clone());
        let trust = TrustStore::new();
        crate::realms::load_realms(&folder, own.as_ref(), &trust, &world)?;
        Ok(Self::with(folder, world, None, trust))
    }

    /// A client from its parts, for a node that acts as itself.
    pub fn with(folder: Folder, world: World, identity: Option<Identity>, trust: TrustStore) -> Self {
        let credentials = identity.as_ref().map(Identity::credentials);
        let pool = Pool::new(&world, credentials, Arc::new(trust.clone()));
        let openly = Pool::new(&world, None, Arc::new(trust.clone()));
        let mut session = [0; 16];
        world.entropy.fill(&mut session);
        let mut batches = [0; 16];
        world.entropy.fill(&mut batches);
        let inner = Inner {
            world,
            folder,
            identity: RwLock::new(identity),
            trust,
            pool,
            openly,
            session: SessionId(session),
            sequence: AtomicU64::new(1),
            numbers: Numbers::new(SessionId(batches)),
            records: Records::default(),
            answering: Answering::default(),
        };
        Self(Arc::new(inner), None)
    }

    /// The same client acting for the subject of a chain, which must be for its own key: everything that it asks nodes
    /// from here on is asked under the chain, and its own rights count for nothing.
    pub fn under(&self, chain: &Chain) -> Result<Self, Problem> {
        let text = chain.to_header()?;
        let value = HeaderValue::from_str(&text)
            .map_err(|_| Problem::new(Code::Internal, "the transfer certificate is not encodable"))?;
        Ok(Self(self.0.clone(), Some(Arc::new(value))))
    }

    /// This client, or the same principal with an earlier key that is kept for the chains it is named in.
    pub fn holding(&self, key: Thumbprint) -> Result<Self, Problem> {
        let present = self.require_identity()?;
        if present.key().thumbprint() == key {
            return Ok(self.clone());
        }
        // Chains are for servers, whose keys lie under no passphrase.
        let kept = crate::renewal::retired(self.folder(), self.world())?.into_iter();
        let kept = kept.filter_map(|file| file.open(None).ok()).find(|identity| identity.key().thumbprint() == key);
        let identity = kept.ok_or_else(|| {
            Problem::new(Code::Denied, format!("{} holds the key {key} no more", present.principal()))
                .next("ask for a new transfer certificate: it is bound to the present key")
        })?;
        Ok(Self::with(self.folder().clone(), self.world().clone(), Some(identity), self.trust().clone()))
    }

    /// The chain under which this client asks.
    pub(crate) fn transfer(&self) -> Option<&HeaderValue> {
        self.1.as_deref()
    }

    /// Clocks and entropy.
    pub fn world(&self) -> &World {
        &self.0.world
    }

    /// The folder with everything that lasts.
    pub fn folder(&self) -> &Folder {
        &self.0.folder
    }

    /// Who this client is, if anybody.
    pub fn identity(&self) -> Option<Identity> {
        self.0.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on under a renewed certificate: new connections show it.
    pub fn replace_identity(&self, identity: Identity) {
        self.0.pool.replace_credentials(identity.credentials());
        *self.0.identity.write().unwrap_or_else(PoisonError::into_inner) = Some(identity);
    }

    /// Who this client is, or an error that says how to become somebody.
    pub fn require_identity(&self) -> Result<Identity, Problem> {
        self.identity().ok_or_else(|| {
            Problem::new(Code::Denied, format!("there is no identity in {}", self.0.folder.path().display()))
                .next("run `webos user register` with an invitation, or start a local world with `webos up`")
        })
    }

    /// The trusted realms.
    pub fn trust(&self) -> &TrustStore {
        &self.0.trust
    }

    /// Connections as nobody.
    pub(crate) fn openly(&self) -> &Pool {
        &self.0.openly
    }

    /// Where volumes live, as far as that is known.
    pub(crate) fn records(&self) -> &Records {
        &self.0.records
    }

    /// Which name servers answer.
    pub(crate) fn answering(&self) -> &Answering {
        &self.0.answering
    }

    /// The connection cache.
    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// An id for one mutation.
    pub fn operation(&self) -> OperationId {
        OperationId { session: self.0.session, sequence: self.0.sequence.fetch_add(1, Ordering::Relaxed) }
    }

    /// The numbers of operations that go in batches: a session of their own, so that what is settled is known.
    pub(crate) fn numbers(&self) -> &Numbers {
        &self.0.numbers
    }

    /// A node at a known address.
    pub fn node(&self, principal: &Principal, address: &str) -> Node {
        Node::new(self.clone(), principal.clone(), address.to_string())
    }

    /// The node that is the realm's first name server.
    pub fn first_node(&self, realm: &RealmName) -> Result<Node, Problem> {
        let servers = self.name_servers(realm)?;
        let first = servers.first().ok_or_else(|| {
            Problem::new(Code::Unavailable, format!("the bundle of {realm} names no name server"))
                .next("its first node names itself when it starts: `webos node run` there")
        })?;
        Ok(self.node(&first.principal, &first.address))
    }

    /// The files of a volume, at its home.
    pub async fn volume(&self, volume: &VolumeName) -> Result<Volume, Problem> {
        let record = self.record_or_kept(volume).await?;
        let home = self.node(&record.home, &record.address);
        Ok(Volume::new(home, record))
    }

    /// The same files through a given node, such as a relay.
    pub async fn volume_at(&self, volume: &VolumeName, node: &Node) -> Result<Volume, Problem> {
        let record = self.volume_record(volume).await?;
        Ok(Volume::new(node.clone(), record))
    }
}

/// Why a folder's identity cannot be used, and how its owner comes to a new one.
fn unusable(folder: &Folder, error: trust::TrustError) -> Problem {
    let advice = if folder.authority().exists() {
        "restore it from a copy: this folder is its realm's first node"
    } else if folder.world().exists() {
        "remove it: `webos up` makes a new one"
    } else {
        "restore it from a copy, or remove it and join again with a new invitation"
    };
    error.advised(advice)
}

/// A request to a node under its DNS twin.
pub(crate) fn request(
    method: Method,
    node: &Principal,
    path: &str,
    body: wire::Body,
) -> Result<Request<wire::Body>, Problem> {
    Request::builder().method(method).uri(format!("https://{}{path}", node.dns_twin())).body(body).map_err(
        |error| Problem::new(Code::Invalid, format!("'{}' is no request path: {error}", path.escape_default())),
    )
}
