//! One trusted realm, `lab.example`, with the people and servers that forged material speaks of. Its keys are made
//! anew in each process; its time stands still.

use rustls_pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use terms::{Epoch, Principal, UnixMs};
use trust::{Authority, Bundle, Identity, KeyPair, TrustStore};
use wire::{Peer, PeerCheck};
use world::World;

/// Names within the scene's realm.
const NAMES: [&str; 8] = [
    "user/alice",
    "user/mallory",
    "server/n1",
    "server/n2",
    "server/n3",
    "server/n4",
    "service/shop",
    "service/feed",
];

/// Who there is, and what is trusted.
pub struct Scene {
    /// Stands still at the simulated start.
    pub now: UnixMs,
    /// Trusts exactly `lab.example`.
    pub store: TrustStore,
    /// The realm's authority.
    pub authority: Authority,
    /// The issuing key, for certificates and bundles.
    pub issuing: KeyPair,
    identities: BTreeMap<String, Identity>,
    peers: BTreeMap<String, Peer>,
}

impl Scene {
    /// A new scene, with keys of its own, at a time that stands still.
    ///
    /// # Panics
    /// As [`Scene::in_world`].
    pub fn new() -> Self {
        Self::in_world(&World::simulated(1).0)
    }

    /// The same at the present time of a world: what it signs is good for nodes that run there.
    ///
    /// # Panics
    /// If the library cannot make keys or a folder for them.
    pub fn in_world(world: &World) -> Self {
        let now = world.clock.unix();
        let authority = Authority::create("lab.example".parse().expect("a realm"), world).expect("an authority");
        let store = TrustStore::new();
        let bundle = authority.bundle(Vec::new(), Epoch(1), now).expect("a bundle");
        store.insert(Bundle::open(&bundle, &authority.fingerprint(), now).expect("our own bundle"));
        let identities: BTreeMap<_, _> = NAMES
            .iter()
            .map(|name| {
                let principal: Principal = format!("spiffe://lab.example/{name}").parse().expect("a principal");
                ((*name).to_owned(), authority.issue_identity(&principal, None, now).expect("an identity"))
            })
            .collect();
        let peer = |identity: &Identity| {
            store.check(&identity.chain()[0], &identity.chain()[1..], now).expect("an accepted peer")
        };
        let peers = identities.iter().map(|(name, identity)| (name.clone(), peer(identity))).collect();
        let folder = tempfile::tempdir().expect("a folder");
        authority.save(folder.path()).expect("saved");
        let issuing = std::fs::read_to_string(folder.path().join("issuing.pem")).expect("read");
        let issuing = KeyPair::from_pem(&issuing).expect("a key");
        Self { now, store, issuing, identities, peers, authority }
    }

    /// Somebody of the scene, such as `user/alice`.
    ///
    /// # Panics
    /// For a name that is not in the scene.
    pub fn identity(&self, name: &str) -> &Identity {
        self.identities.get(name).expect("somebody of the scene")
    }

    /// Somebody of the scene, if the principal is one.
    pub fn find(&self, principal: &str) -> Option<&Identity> {
        self.identities.get(principal.strip_prefix("spiffe://lab.example/")?)
    }

    /// What a listener makes of a connection of this server.
    ///
    /// # Panics
    /// For a name that is not in the scene.
    pub fn peer(&self, name: &str) -> &Peer {
        self.peers.get(name).expect("somebody of the scene")
    }

    /// The certificates above a leaf: issuing, then root.
    pub fn above(&self) -> &[CertificateDer<'static>] {
        &self.identity("user/alice").chain()[1..]
    }

    /// What a mark such as `@n2` stands for: a server's thumbprint, a certificate, or the fingerprint of the root.
    pub(crate) fn mark(&self, text: &str) -> Option<Vec<u8>> {
        match text {
            "@root" => Some(self.above()[1].to_vec()),
            "@issuing" => Some(self.above()[0].to_vec()),
            "@alice" => Some(self.identity("user/alice").chain()[0].to_vec()),
            "@spki" => Some(self.identity("server/n2").key().public().spki().to_vec()),
            _ => {
                let identity = self.identities.get(&format!("server/{}", text.strip_prefix('@')?))?;
                Some(identity.key().thumbprint().0.to_vec())
            }
        }
    }
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

/// The process's one scene.
pub fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(Scene::new)
}
