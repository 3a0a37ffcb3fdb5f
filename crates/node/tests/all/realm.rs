//! A realm for tests: an authority, a home with a volume, users and further nodes that join by invitation.

use client::{Client, Folder, enrol};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use terms::{Label, Principal, PrincipalKind, RealmName, Rights, VolumeName, VolumePath, Who};
use trust::{Authority, Bucket, FeedLimits, Invitations};
use webfs::store::Store;
use webos_node::{Node, Settings};
use world::World;

pub const REALM: &str = "lab.example";

/// A realm whose home runs.
pub struct Realm {
    pub world: World,
    pub authority: Authority,
    pub home: Option<Node>,
    /// The stated link of the nodes that start.
    pub link_bps: Option<u64>,
    dir: TempDir,
}

pub fn path(text: &str) -> VolumePath {
    VolumePath::new(text).expect("a path")
}

pub fn principal(kind: PrincipalKind, name: &str) -> Principal {
    Principal::new(RealmName::new(REALM).expect("a realm"), kind, Label::new(name).expect("a label"))
}

pub fn volume() -> VolumeName {
    format!("data.{REALM}").parse().expect("a volume")
}

impl Realm {
    /// A realm with the user alice, who owns the volume `data`.
    pub async fn start() -> Self {
        Self::build(REALM, None).await
    }

    /// The same, each node with a stated link.
    pub async fn start_with_link(link_bps: Option<u64>) -> Self {
        Self::build(REALM, link_bps).await
    }

    /// The same under another name.
    pub async fn named(name: &str) -> Self {
        Self::build(name, None).await
    }

    async fn build(name: &str, link_bps: Option<u64>) -> Self {
        let world = World::real();
        let authority = Authority::create(RealmName::new(name).expect("a realm"), &world).expect("an authority");
        Self::under(authority, link_bps).await
    }

    /// The same by other clocks.
    pub async fn in_world(name: &str, world: &World) -> Self {
        let authority = Authority::create(RealmName::new(name).expect("a realm"), world).expect("an authority");
        Self::with(authority, None, world.clone()).await
    }

    /// The same under an authority that was made elsewhere.
    pub async fn under(authority: Authority, link_bps: Option<u64>) -> Self {
        Self::with(authority, link_bps, World::real()).await
    }

    async fn with(authority: Authority, link_bps: Option<u64>, world: World) -> Self {
        let name = authority.realm().to_string();
        let dir = tempfile::tempdir().expect("a folder");
        let mut realm = Self { world, authority, home: None, link_bps, dir };
        let folder = realm.folder("home");
        realm.authority.save(&folder.authority()).expect("saved");
        realm.issue("home", PrincipalKind::Server);
        let owner = format!("{}\n", realm.principal(PrincipalKind::Server, "home"));
        client::durable::replace(&folder.owner(), owner.as_bytes()).expect("written");
        let alice = Who::Principal(realm.principal(PrincipalKind::User, "alice"));
        let bucket = Bucket::new([(alice, Rights::OWNER)]).expect("a list");
        let volume = format!("data.{name}").parse().expect("a volume");
        drop(Store::create(&folder.volume(&volume), &volume, &bucket, realm.world.clone()).expect("a volume"));
        realm.start_home("127.0.0.1:0").await;
        realm.issue("alice", PrincipalKind::User);
        realm
    }

    /// Somebody of this realm.
    pub fn principal(&self, kind: PrincipalKind, name: &str) -> Principal {
        Principal::new(self.authority.realm().clone(), kind, Label::new(name).expect("a label"))
    }

    /// Pins another realm in these folders and in the running home.
    pub fn trust(&self, other: &Self, folders: &[&str]) {
        let realm = other.authority.realm();
        let bundle = other.home().client().trust().bundle(realm).expect("its own");
        for name in folders {
            let pinned = client::realms::pin(&self.folder(name), &bundle);
            pinned.expect("pinned");
        }
        self.home().client().trust().insert((*bundle).clone());
    }

    /// Waits until the home of this realm has heard what another one has taken back.
    pub async fn hears(&self, other: &Self) {
        hears(self.home(), other).await;
    }

    pub fn folder(&self, name: &str) -> Folder {
        Folder::new(self.dir.path().join(name))
    }

    pub fn settings(&self, name: &str, listen: &str) -> Settings {
        let folder = self.folder(name);
        Settings {
            folder,
            listen: listen.into(),
            address: None,
            link_bps: self.link_bps,
            place: None,
            feed_limits: FeedLimits::default(),
            group_recheck: Duration::from_millis(200),
            relay_via: Default::default(),
        }
    }

    pub async fn start_home(&mut self, listen: &str) {
        self.home = Some(Node::start(self.settings("home", listen), self.world.clone()).await.expect("the home"));
    }

    pub fn home(&self) -> &Node {
        self.home.as_ref().expect("the home runs")
    }

    /// A certificate straight from the authority.
    pub fn issue(&self, name: &str, kind: PrincipalKind) {
        let identity = self.authority.issue_identity(&self.principal(kind, name), None, self.world.clock.unix());
        identity.expect("a certificate").save(&self.folder(name).identity()).expect("saved");
        self.pin(name);
    }

    /// The realm's present bundle, pinned in a folder.
    pub fn pin(&self, name: &str) {
        let from: PathBuf = self.folder("home").realm(self.authority.realm());
        let to = self.folder(name).realm(self.authority.realm());
        if from.exists() {
            std::fs::create_dir_all(self.folder(name).realms()).expect("a folder");
            if from != to {
                std::fs::copy(from, to).expect("copied");
            }
        }
    }

    /// An invitation line of the home.
    pub fn invite(&self, kind: PrincipalKind, name: &str) -> String {
        let folder = self.folder("home");
        let mut invitations = Invitations::open(&folder.invitations()).expect("invitations");
        let address = self.home().address().to_string();
        let made =
            invitations.create(self.principal(kind, name), address, self.authority.fingerprint(), &self.world);
        made.expect("an invitation").line().expect("a line").to_string()
    }

    /// Joins by invitation and starts a node.
    pub async fn join(&self, name: &str) -> Node {
        let line = self.invite(PrincipalKind::Server, name);
        enrol::join(&self.folder(name), &line, PrincipalKind::Server, &self.world).await.expect("joined");
        Node::start(self.settings(name, "127.0.0.1:0"), self.world.clone()).await.expect("a node")
    }

    pub fn client(&self, name: &str) -> Client {
        Client::open(self.folder(name), self.world.clone()).expect("a client")
    }

    pub async fn files(&self, name: &str) -> client::Volume {
        self.client(name).volume(&volume()).await.expect("a volume")
    }
}

/// A node as somebody's client sees it.
pub fn seen(client: &Client, node: &Node) -> client::Node {
    client.node(node.principal(), &node.address().to_string())
}

/// Waits until a node has heard what a realm has taken back.
pub async fn hears(node: &Node, realm: &Realm) {
    let trust = node.client().trust();
    let heard = async {
        while trust.feed(realm.authority.realm()).is_none_or(|feed| feed.at().is_none()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.expect("its feed is followed");
}

/// Waits until this holds: at the latest after a few turns of everything that is asked for anew after some time.
pub async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        while !holds() {
            look.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), wait).await.expect("in time");
}
