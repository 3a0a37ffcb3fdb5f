//! A realm with a home and surrogates as in-process servers over real TLS, each of which can be told to misbehave.

use crate::node::{Edition, Manner, Names, Node, NodeHandler};
use bytes::Bytes;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use terms::{
    Epoch, Generation, Principal, PrincipalKind, Problem, RealmName, Right, Rights, Serial, ServiceName, Version,
    Who,
};
use tokio::net::TcpListener;
use trust::signed::{sign, sign_short};
use trust::{Authority, Bucket, Bundle, Identity, NameServer, TrustStore};
use webos_discovery::limits::BLOCK_BYTES;
use webos_discovery::model::{
    Load, RIGHT_KIND, RightToServe, SERVICE_KIND, ServerEntry, ServiceCertificate, TABLE_KIND, Table, TableEntry,
};
use webos_discovery::smart::SmartClient;
use wire::{Pool, Recheck, Server};
use world::World;

/// The names and times in the documents that the home hands out.
#[derive(Clone, Copy)]
pub struct Papers {
    /// How old the table is.
    pub table_age: Duration,
    /// How long the rights are still valid; ended for zero.
    pub right_left: Duration,
    /// The epoch of the rights.
    pub right_epoch: Epoch,
    /// Whether the rights are signed by a surrogate.
    pub self_signed: bool,
    /// How long the surrogates are said to be active.
    pub active_for: Duration,
}

impl Default for Papers {
    fn default() -> Self {
        Self {
            table_age: Duration::ZERO,
            right_left: Duration::from_secs(100),
            right_epoch: Epoch(1),
            self_signed: false,
            active_for: Duration::from_secs(600),
        }
    }
}

pub struct Realm {
    pub world: World,
    pub nodes: Vec<Arc<Node>>,
    pub trust: TrustStore,
    pub service: ServiceName,
    pub keep: tempfile::TempDir,
    servers: Vec<Server>,
    addresses: Vec<SocketAddr>,
    own: Identity,
    authority: Authority,
}

fn realm_name() -> RealmName {
    RealmName::new("lab.example").expect("valid")
}

pub fn principal(name: &str) -> Principal {
    Principal::new(realm_name(), PrincipalKind::Server, name.parse().expect("valid"))
}

/// Content without a repeating block.
pub fn content(blocks: usize, seed: u8) -> Bytes {
    let size = blocks * BLOCK_BYTES as usize + 12_345;
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes.into()
}

impl Realm {
    /// A home (`home`, the first node) and surrogates `n1`, `n2`, …, all with this content. The home says that it is
    /// busy, so that surrogates are asked first.
    pub async fn new(surrogates: usize, content: Bytes) -> Self {
        let world = World::real();
        let now = world.clock.unix();
        let authority = Authority::create(realm_name(), &world).expect("valid");
        let names = std::iter::once("home".to_string()).chain((1..=surrogates).map(|n| format!("n{n}")));
        let identities: Vec<Identity> =
            names.map(|name| authority.issue_identity(&principal(&name), None, now).expect("valid")).collect();
        let service: ServiceName = "service://site.lab.example".parse().expect("valid");
        let own_name = Principal::new(realm_name(), PrincipalKind::Service, service.name.clone());
        let own = authority.issue_identity(&own_name, None, now).expect("valid");
        let (mut nodes, mut servers, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        let trust = TrustStore::new();
        for identity in &identities {
            let node = Arc::new(Node {
                manner: Mutex::new(Manner::Honest),
                edition: Mutex::new(Edition { content: content.clone(), version: Version(1) }),
                asked: Mutex::new(0),
                identity: identity.clone(),
                home: identities[0].key().clone(),
                names: Mutex::new(None),
                table: Mutex::new(None),
                world: world.clone(),
            });
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("valid");
            addresses.push(listener.local_addr().expect("valid"));
            let handler = Arc::new(NodeHandler(node.clone()));
            let credentials = identity.credentials();
            servers.push(
                Server::start(
                    &world,
                    listener,
                    &credentials,
                    Arc::new(trust.clone()),
                    handler,
                    &Recheck::default(),
                )
                .expect("valid"),
            );
            nodes.push(node);
        }
        let name_server = NameServer { address: addresses[0].to_string(), principal: principal("home") };
        let signed = authority.bundle(vec![name_server], Epoch(1), now).expect("valid");
        trust.insert(Bundle::open(&signed, &authority.fingerprint(), now).expect("valid"));
        let keep = tempfile::tempdir().expect("valid");
        let realm = Self { world, nodes, trust, service, keep, servers, addresses, own, authority };
        realm.publish(Serial(1), Papers::default());
        realm
    }

    fn certificate(&self, serial: Serial, signer: &Identity) -> Vec<u8> {
        let home = &self.nodes[0].identity;
        let now = self.world.clock.unix();
        let value = ServiceCertificate {
            service: self.service.clone(),
            serial,
            epoch: Epoch(1),
            servers: vec![ServerEntry {
                principal: home.principal().clone(),
                key: home.key().public().clone(),
                address: self.addresses[0].to_string(),
                place: None,
                power: 1.0,
                price: 0.0,
                primary: true,
                authority: true,
            }],
            files: "site.lab.example/public".parse().expect("valid"),
            readers: Bucket::empty().grant(Who::Anyone, Rights::of(&[Right::Read])).expect("valid"),
            goal_ms: 50,
            stickiness: 0.0,
            valid_from: now,
            valid_until: now.plus(Duration::from_secs(3600)),
        };
        sign(signer, SERVICE_KIND, &value).expect("valid")
    }

    /// Hands these papers out from now on.
    pub fn publish(&self, serial: Serial, papers: Papers) {
        let now = self.world.clock.unix();
        let entry = |(node, address): (&Arc<Node>, &SocketAddr)| {
            let primary = node.identity.principal().name.as_str() == "home";
            let busy = if primary { 500.0 } else { 0.0 };
            TableEntry {
                server: node.identity.principal().clone(),
                key: node.identity.key().thumbprint(),
                address: address.to_string(),
                place: None,
                power: 1.0,
                load: Load { inflight: busy, waiting: busy as u32, latency_ms: 5.0, ..Load::default() },
                load_age_ms: 0,
                active_for_ms: papers.active_for.as_millis() as u32,
                primary,
            }
        };
        let table = Table {
            service: self.service.clone(),
            epoch: Epoch(1),
            generation: Generation(serial.0),
            signed_at: now.minus(papers.table_age),
            entries: self.nodes.iter().zip(&self.addresses).map(entry).collect(),
        };
        let home = self.nodes[0].identity.key();
        let table = sign_short(home, TABLE_KIND, &table).expect("valid");
        let right = |(node, address): (&Arc<Node>, &SocketAddr)| {
            let right = RightToServe {
                service: self.service.clone(),
                server: node.identity.principal().clone(),
                key: node.identity.key().thumbprint(),
                address: address.to_string(),
                epoch: papers.right_epoch,
                not_before: now.minus(Duration::from_secs(20)),
                not_after: now.plus(papers.right_left),
            };
            let key = if papers.self_signed { node.identity.key() } else { home };
            sign_short(key, RIGHT_KIND, &right).expect("valid")
        };
        let rights = self.nodes.iter().zip(&self.addresses).skip(1).map(right).collect();
        let names =
            Names { certificate: self.certificate(serial, &self.own), state: Some((table.clone(), rights)) };
        *self.nodes[0].names.lock().expect("valid") = Some(names);
        for node in &self.nodes {
            *node.table.lock().expect("valid") = Some(table.clone());
        }
    }

    /// Hands out a certificate that somebody else has signed.
    pub fn publish_signed_by(&self, signer: &Identity) {
        let certificate = self.certificate(Serial(50), signer);
        *self.nodes[0].names.lock().expect("valid") = Some(Names { certificate, state: None });
    }

    /// The home answers no questions for names and state any more.
    pub fn silence_names(&self) {
        *self.nodes[0].names.lock().expect("valid") = None;
    }

    /// Lets another identity of the realm be made, such as a service principal that is not this service's.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    pub fn set_edition(&self, node: usize, content: &Bytes, version: u64) {
        *self.nodes[node].edition.lock().expect("valid") =
            Edition { content: content.clone(), version: Version(version) };
    }

    pub fn pool(&self) -> Pool {
        Pool::new(&self.world, None, Arc::new(self.trust.clone()))
    }

    pub fn cache(&self) -> PathBuf {
        self.keep.path().join("site.certificate")
    }

    pub async fn try_client(&self) -> Result<SmartClient, Problem> {
        let (pool, trust) = (self.pool(), self.trust.clone());
        SmartClient::open(&self.world, pool, trust, self.service.clone(), Some(self.cache())).await
    }

    pub async fn client(&self) -> SmartClient {
        self.try_client().await.expect("a client")
    }

    pub async fn shutdown(self) {
        for server in self.servers {
            server.shutdown().await;
        }
    }
}
