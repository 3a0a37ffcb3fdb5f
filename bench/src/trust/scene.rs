//! A realm with the people and servers that the rows speak of, at a time that stands still.

use anyhow::Result;
use terms::{Epoch, Location, Principal, UnixMs};
use trust::{Authority, Bundle, Chain, CreateTransfer, Grant, Identity, TransferCertificate, TrustStore};
use wire::{Peer, PeerCheck};
use world::World;

/// The realm `lab.example`, its store, Alice and four servers.
pub struct Scene {
    pub world: World,
    pub now: UnixMs,
    pub authority: Authority,
    pub alice: Identity,
    pub servers: Vec<Identity>,
}

impl Scene {
    pub fn new() -> Result<Self> {
        let world = World::simulated(1).0;
        let now = world.clock.unix();
        let authority = Authority::create("lab.example".parse()?, &world)?;
        let identity = |name: &str| -> Result<Identity> {
            let principal: Principal = format!("spiffe://lab.example/{name}").parse()?;
            Ok(authority.issue_identity(&principal, None, now)?)
        };
        let alice = identity("user/alice")?;
        let servers = (1..=4).map(|number| identity(&format!("server/n{number}"))).collect::<Result<_>>()?;
        Ok(Self { world, now, authority, alice, servers })
    }

    /// A store that trusts the realm and has seen nothing of it yet.
    pub fn store(&self) -> Result<TrustStore> {
        let store = TrustStore::new();
        let bundle = self.authority.bundle(Vec::new(), Epoch(1), self.now)?;
        store.insert(Bundle::open(&bundle, &self.authority.fingerprint(), self.now)?);
        Ok(store)
    }

    pub fn peer(&self, identity: &Identity) -> Result<Peer> {
        let chain = identity.chain();
        self.store()?.check(&chain[0], &chain[1..], self.now).map_err(|problem| anyhow::anyhow!("{problem}"))
    }

    /// A new chain of so many links, from Alice to the last of so many servers.
    pub fn chain(&self, links: usize) -> Result<Chain> {
        let at: Location = "data.lab.example/in".parse()?;
        let transfer = |index: usize| -> Result<CreateTransfer> {
            Ok(CreateTransfer {
                audience: self.servers[index].principal().clone(),
                audience_key: self.servers[index].key().thumbprint(),
                grants: vec![Grant::below(at.clone(), "r".parse()?)],
                valid_for: std::time::Duration::from_secs(3600),
                depth: u8::try_from(links - 1 - index)?,
                epoch: Epoch(1),
            })
        };
        let mut chain = TransferCertificate::create(&self.alice, transfer(0)?, &self.world)?;
        for index in 1..links {
            chain = TransferCertificate::pass_on(&chain, &self.servers[index - 1], transfer(index)?, &self.world)?;
        }
        Ok(chain)
    }
}
