//! Really signed documents. The keys are made once a process: they decide nothing that a run depends on.

use discovery::model::{
    RIGHT_KIND, RightToServe, SERVICE_KIND, ServerEntry, ServiceCertificate, TABLE_KIND, Table,
};
use discovery::verified::Certificate;
use std::sync::OnceLock;
use terms::{Epoch, Principal, Serial, ServiceName, Thumbprint, UnixMs};
use trust::{Authority, Bundle, KeyPair, TrustStore, signed};
use world::World;

/// What all runs share.
pub(super) struct Documents {
    home: KeyPair,
    /// The service's verified certificate: its only server and authority is the home.
    pub(super) certificate: Certificate,
}

/// The service of this world.
///
/// # Panics
/// Never: the text is a name.
pub(super) fn service() -> ServiceName {
    "service://site.lab.example".parse().expect("a service name")
}

/// A server of this world's realm.
///
/// # Panics
/// If the text is not a label.
pub(super) fn server_principal(name: &str) -> Principal {
    format!("spiffe://lab.example/server/{name}").parse().expect("a label")
}

/// The one set of documents.
pub(super) fn documents() -> &'static Documents {
    static ONCE: OnceLock<Documents> = OnceLock::new();
    ONCE.get_or_init(|| make().unwrap_or_else(|error| panic!("the simulation cannot make its keys: {error}")))
}

fn make() -> Result<Documents, Box<dyn std::error::Error>> {
    let (world, _) = World::simulated(0);
    let now = world.clock.unix();
    let (service, realm) = (service(), service().realm);
    let authority = Authority::create(realm.clone(), &world)?;
    let bundle = authority.bundle(Vec::new(), Epoch(1), now)?;
    let trust = TrustStore::new();
    trust.insert(Bundle::open(&bundle, &authority.fingerprint(), now)?);
    let home = KeyPair::generate()?;
    let entry = ServerEntry {
        principal: server_principal("home"),
        key: home.public().clone(),
        address: "home.lab.example:443".into(),
        place: None,
        power: 1.0,
        price: 0.0,
        primary: true,
        authority: true,
    };
    let value = ServiceCertificate {
        service: service.clone(),
        serial: Serial(1),
        epoch: Epoch(0),
        servers: vec![entry],
        files: "site.lab.example/".parse()?,
        readers: trust::Bucket::default(),
        goal_ms: 200,
        stickiness: 0.0,
        valid_from: now,
        valid_until: UnixMs(now.0 + 86_400_000),
    };
    let principal = "spiffe://lab.example/service/site".parse()?;
    let signer = authority.issue_identity(&principal, None, now)?;
    let bytes = signed::sign(&signer, SERVICE_KIND, &value)?;
    let certificate = Certificate::open(&bytes, &service, &trust, now)?;
    Ok(Documents { home, certificate })
}

impl Documents {
    /// The thumbprint of the home's key.
    pub(super) fn home_key(&self) -> Thumbprint {
        self.home.thumbprint()
    }

    /// Signs as the home does.
    ///
    /// # Panics
    /// If a table of this world is too large to be signed.
    pub(super) fn sign_table(&self, table: &Table) -> Vec<u8> {
        signed::sign_short(&self.home, TABLE_KIND, table).expect("small")
    }

    /// Signs as the home does.
    ///
    /// # Panics
    /// Never: a right is small.
    pub(super) fn sign_right(&self, right: &RightToServe) -> Vec<u8> {
        signed::sign_short(&self.home, RIGHT_KIND, right).expect("small")
    }
}
