//! The nodes of a local world, asked one by one how they stand: their own counters, not what the console makes of them.

use client::protocol::FrontStatus;
use client::{Client, Folder};
use std::collections::BTreeMap;
use terms::{GroupName, Principal, Who};
use tokio::runtime::Runtime;
use trust::GroupList;
use webos_tests::{LocalWorld, eventually};
use world::World;

/// Asks the nodes of a world how they stand, as its person.
pub struct Watch<'a> {
    world: &'a LocalWorld,
    runtime: Runtime,
    client: Client,
}

impl<'a> Watch<'a> {
    pub fn new(world: &'a LocalWorld) -> Self {
        let client = Client::open(Folder::new(world.home.path()), World::real()).expect("an identity");
        Self { world, runtime: Runtime::new().expect("threads"), client }
    }

    pub fn principal(&self, name: &str) -> Principal {
        format!("spiffe://{}/server/{name}", self.world.realm).parse().expect("valid")
    }

    pub fn node(&self, name: &str) -> client::Node {
        let address = self.world.node(name).url.trim_start_matches("https://");
        self.client.node(&self.principal(name), address)
    }

    pub fn front(&self, name: &str) -> Option<FrontStatus> {
        self.runtime.block_on(self.node(name).status()).expect("it answers").fronts.pop()
    }

    /// Body bytes that all fronts have sent since their start.
    pub fn sent(&self) -> u64 {
        self.world.nodes.iter().filter_map(|node| self.front(&node.name)).map(|front| front.bytes).sum()
    }

    /// Body bytes a second that are served in all, measured until so many are.
    pub fn rate(&self, bytes: u64) -> f64 {
        let clock = World::real().clock;
        let (before, began) = (self.sent(), clock.boot());
        let sent = eventually("bytes are sent", || Some(self.sent() - before).filter(|sent| *sent >= bytes));
        #[allow(clippy::cast_precision_loss)] // some megabytes
        let sent = sent as f64;
        sent / clock.boot().since(began).as_secs_f64()
    }

    /// The present members of the group that reads the service's files.
    pub fn members(&self) -> Vec<Who> {
        let realm = self.world.realm.parse().expect("valid");
        let group = GroupName { realm, name: "site-serving".parse().expect("valid") };
        let now = World::real().clock.unix();
        let signed = self.runtime.block_on(self.node("home").group(&group)).expect("the home has it");
        let list = GroupList::open(&signed, &self.principal("home"), self.client.trust(), now);
        let members: BTreeMap<_, _> = list.expect("signed by the home").0.members().clone();
        members.into_iter().filter(|(_, until)| until.is_none_or(|until| until > now)).map(|(who, _)| who).collect()
    }
}
