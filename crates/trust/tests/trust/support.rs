//! Realms for tests: made in memory, at a simulated time, with keys that are at hand for forging.

use ciborium::Value;
use coset::{CoseSign1, CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable, iana};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use terms::{Epoch, Location, Principal, Rights, UnixMs};
use webos_trust::{
    Authority, Bundle, Chain, CreateTransfer, Grant, Identity, KeyPair, Root, TransferCertificate, TrustStore,
};
use wire::{Peer, PeerCheck};
use world::{SimulatedClock, World};

pub const DAY: Duration = Duration::from_secs(86_400);
pub const HOUR: Duration = Duration::from_secs(3600);

pub struct Lab {
    pub world: World,
    pub clock: Arc<SimulatedClock>,
    pub store: TrustStore,
    pub authority: Authority,
    pub root: Root,
}

/// A folder of its owner's alone, as an authority's is.
pub fn private_folder() -> tempfile::TempDir {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    tempfile::Builder::new().permissions(mode).tempdir().expect("a folder")
}

/// A world with one trusted realm, `lab.example`.
pub fn lab() -> Lab {
    let (world, clock) = World::simulated(1);
    let store = TrustStore::new();
    let now = world.clock.unix();
    let root = root("lab.example", now);
    let authority = Authority::found(&root, now).expect("an authority");
    pin(&store, &authority, Epoch(1), now);
    Lab { world, clock, store, authority, root }
}

/// The root of a realm.
pub fn root(realm: &str, now: UnixMs) -> Root {
    Root::create(realm.parse().expect("a realm"), now).expect("a root")
}

/// A new realm, not trusted by anybody.
pub fn realm(world: &World, name: &str) -> Authority {
    Authority::create(name.parse().expect("a realm"), world).expect("an authority")
}

/// A new realm, pinned in this store.
pub fn trusted(world: &World, store: &TrustStore, name: &str) -> Authority {
    let authority = realm(world, name);
    pin(store, &authority, Epoch(1), world.clock.unix());
    authority
}

pub fn pin(store: &TrustStore, authority: &Authority, epoch: Epoch, now: UnixMs) {
    let bytes = authority.bundle(Vec::new(), epoch, now).expect("a bundle");
    assert!(store.insert(Bundle::open(&bytes, &authority.fingerprint(), now).expect("our own bundle")));
}

pub fn principal(text: &str) -> Principal {
    text.parse().expect("a principal")
}

pub fn place(text: &str) -> Location {
    text.parse().expect("a location")
}

pub fn rights(text: &str) -> Rights {
    text.parse().expect("rights")
}

pub fn grant(location: &str, rights_text: &str) -> Grant {
    Grant::below(place(location), rights(rights_text))
}

impl Lab {
    pub fn now(&self) -> UnixMs {
        self.world.clock.unix()
    }

    /// An identity of `lab.example`, such as `user/alice`.
    pub fn identity(&self, kind_and_name: &str) -> Identity {
        let principal = principal(&format!("spiffe://lab.example/{kind_and_name}"));
        self.authority.issue_identity(&principal, None, self.now()).expect("an identity")
    }

    /// What the listener makes of a connection of this identity.
    pub fn peer(&self, identity: &Identity) -> Peer {
        self.check(identity.chain()).expect("an accepted peer")
    }

    pub fn check(&self, chain: &[CertificateDer<'static>]) -> Result<Peer, terms::Problem> {
        self.store.check(&chain[0], &chain[1..], self.now())
    }

    /// A transfer of `lab.example/…` for an hour, from one identity to another.
    pub fn transfer(&self, from: &Identity, to: &Identity, grants: Vec<Grant>) -> Chain {
        TransferCertificate::create(from, to_server(to, grants), &self.world).expect("a transfer")
    }
}

pub fn to_server(to: &Identity, grants: Vec<Grant>) -> CreateTransfer {
    CreateTransfer {
        audience: to.principal().clone(),
        audience_key: to.key().thumbprint(),
        grants,
        valid_for: HOUR,
        depth: 0,
        epoch: Epoch(1),
    }
}

/// The protected header that an identity's documents carry.
pub fn certificates_header(chain: &[CertificateDer<'static>]) -> Header {
    let chain = chain.iter().map(|der| Value::Bytes(der.to_vec())).collect();
    HeaderBuilder::new().algorithm(iana::Algorithm::ES256).value(33, Value::Array(chain)).build()
}

/// Any COSE_Sign1 that a forger can make.
pub fn seal(key: &KeyPair, header: Header, kind: &str, payload: &Value) -> Vec<u8> {
    let builder = CoseSign1Builder::new().protected(header).payload(cbor(payload));
    let signed = builder.create_signature(kind.as_bytes(), |message| key.sign(message).expect("signed"));
    signed.build().to_tagged_vec().expect("encoded")
}

pub fn cbor(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("encoded");
    bytes
}

/// A chain from links made elsewhere.
pub fn chain_of(links: &[Vec<u8>]) -> Chain {
    let links = links.iter().map(|link| Value::Bytes(link.clone())).collect();
    Chain::decode(&cbor(&Value::Array(links))).expect("a decodable chain")
}

/// The links of an encoded chain.
pub fn links(chain: &[u8]) -> Vec<Vec<u8>> {
    let value: Value = ciborium::from_reader(chain).expect("CBOR");
    let links = value.into_array().expect("a list");
    links.into_iter().map(|link| link.into_bytes().expect("bytes")).collect()
}

/// The claims of a link, as they travel.
pub fn claims(link: &[u8]) -> Vec<(Value, Value)> {
    let payload = CoseSign1::from_tagged_slice(link).expect("COSE").payload.expect("content");
    let value: Value = ciborium::from_reader(payload.as_slice()).expect("CBOR");
    value.into_map().expect("a map")
}
