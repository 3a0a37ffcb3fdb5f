//! The folders of the local world: made once, kept, never in use by two starts.
//!
//! Every step looks first whether it was done, so that a start that was cut short is completed by the next one.
//! Nothing here speaks to the network: nodes join over the real route once the home runs.

use crate::home::cannot;
use client::register::Register;
use client::{Folder, realms};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use terms::{
    Code, Epoch, Label, Location, NameError, Principal, PrincipalKind, Problem, RealmName, Right, Rights,
    ServiceName, VolumeName, VolumePath, Who,
};
use trust::{Authority, Bucket, Bundle, Given, Identity, IdentityFile, Invitations, NameServer, Root};
use webfs::store::Store;
use world::World;

/// The realm of every local world. Names below `localhost` never leave the machine.
const REALM: &str = "demo.localhost";
/// The volume, and the service.
const SITE: &str = "site";
/// The folder of the volume that is served.
const SERVED: &str = "www";
/// The caller's name when the system does not tell one.
const SOMEBODY: &str = "me";
/// Epochs of the realm: it has one authority for ever.
const EPOCH: Epoch = Epoch(1);
/// The file with the ports of the last start.
const STATE: &str = "world.json";
/// The file with [`STATE`]: bytes. Larger is damaged.
const MAX_STATE_BYTES: u64 = 64 * 1024;

/// The names of the local world: fixed, so that what is printed anywhere works everywhere.
#[derive(Debug, Clone)]
pub struct Names {
    /// The realm.
    pub realm: RealmName,
    /// The one volume.
    pub volume: VolumeName,
    /// What the service serves.
    pub served: Location,
    /// The service.
    pub service: ServiceName,
    /// Every node, the home first.
    pub nodes: Vec<Label>,
}

impl Names {
    /// The names of a world with so many lent nodes.
    pub fn new(surrogates: u8) -> Result<Self, NameError> {
        let realm = RealmName::new(REALM)?;
        let volume = VolumeName { name: Label::new(SITE)?, realm: realm.clone() };
        let served = Location { volume: volume.clone(), path: VolumePath::root().join(SERVED).unwrap_or_default() };
        let service = ServiceName { name: Label::new(SITE)?, realm: realm.clone() };
        let lent = (1..=surrogates).map(|number| Label::new(&format!("n{number}")));
        let nodes = std::iter::once(Label::new("home")).chain(lent).collect::<Result<_, _>>()?;
        Ok(Self { realm, volume, served, service, nodes })
    }

    /// The realm's first node.
    pub fn home(&self) -> &Label {
        &self.nodes[0]
    }

    /// A node's principal.
    pub fn node(&self, name: &Label) -> Principal {
        Principal::new(self.realm.clone(), PrincipalKind::Server, name.clone())
    }
}

/// What is kept from start to start besides the folders of the nodes.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    ports: BTreeMap<Label, u16>,
}

/// The local world of one person, with all that it consists of on disk.
pub struct LocalWorld {
    root: PathBuf,
    person: Folder,
    names: Names,
    authority: Authority,
    caller: Principal,
    world: World,
    state: State,
}

/// What a person should hear about the making.
pub type Remarks = Vec<String>;

impl LocalWorld {
    /// Makes what is missing, and renews what has ended or will soon.
    pub fn open(
        person: &Folder,
        names: Names,
        login: Option<&str>,
        world: &World,
    ) -> Result<(Self, Remarks), Problem> {
        let root = person.world();
        let mut remarks = Remarks::new();
        let home = Folder::new(root.join(names.home().as_str()));
        let mut authority = ensure_authority(person, &home, &names.realm, world, &mut remarks)?;
        super::renew::authority(&mut authority, &home, world, &mut remarks)?;
        let caller = ensure_caller(person, &names, &authority, login, world, &mut remarks)?;
        ensure_server(&home, &names.node(names.home()), &authority, world)?;
        let state = read_state(&root.join(STATE), &mut remarks);
        let me = Self { root, person: person.clone(), names, authority, caller, world: world.clone(), state };
        me.ensure_volume(&mut remarks)?;
        me.ensure_owner()?;
        me.ensure_members(&Register::new(&home))?;
        let folders = me.folders().map(|folder| folder.identity()).chain([person.identity()]);
        let renewed = super::renew::identities(&me.authority, &Register::new(&home), folders, world)?;
        if !renewed.is_empty() {
            remarks.push(format!("renewed the certificates of {}, with their keys", renewed.join(", ")));
        }
        Ok((me, remarks))
    }

    /// The names.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// A node's folder.
    pub fn folder(&self, node: &Label) -> Folder {
        Folder::new(self.root.join(node.as_str()))
    }

    fn folders(&self) -> impl Iterator<Item = Folder> {
        self.names.nodes.iter().map(|name| self.folder(name))
    }

    /// The folder of the sample site.
    pub fn sample(&self) -> PathBuf {
        self.root.join("sample")
    }

    /// Whether the node still has to join.
    pub fn is_new(&self, node: &Label) -> bool {
        !self.folder(node).identity().join(Identity::FILE).exists()
    }

    /// An invitation line for a node, to be redeemed at the home.
    pub fn invite(&self, node: &Label, home_address: &str) -> Result<impl AsRef<str> + use<>, Problem> {
        let file = self.folder(self.names.home()).invitations();
        let (who, fingerprint) = (self.names.node(node), self.authority.fingerprint());
        let invitation =
            Invitations::open(&file)?.create(who, home_address.to_string(), fingerprint, &self.world)?;
        Ok(LineText(invitation.line()?))
    }

    /// Signs the realm's bundle with the home's address and pins it in every folder.
    pub fn pin(&self, home_address: &str) -> Result<(), Problem> {
        let home = self.names.node(self.names.home());
        let server = NameServer { address: home_address.to_string(), principal: home };
        let now = self.world.clock.unix();
        let bytes = self.authority.bundle(vec![server], EPOCH, now)?;
        let bundle = Bundle::open(&bytes, &self.authority.fingerprint(), now)?;
        let joined = self.names.nodes.iter().filter(|name| !self.is_new(name)).map(|name| self.folder(name));
        for folder in joined.chain([self.person.clone()]) {
            realms::pin(&folder, &bundle)?;
        }
        Ok(())
    }

    /// The port of a node at the last start.
    pub fn port(&self, node: &Label) -> Option<u16> {
        self.state.ports.get(node).copied()
    }

    /// Keeps the ports for the next start.
    pub fn keep_ports(&mut self, ports: impl IntoIterator<Item = (Label, u16)>) -> Result<(), Problem> {
        self.state.ports.extend(ports);
        let text = serde_json::to_vec_pretty(&self.state)
            .map_err(|error| Problem::new(Code::Internal, format!("the ports cannot be written: {error}")))?;
        client::durable::replace(&self.root.join(STATE), &text)
    }

    /// The volume, with all rights for the caller, and nobody else.
    fn ensure_volume(&self, remarks: &mut Remarks) -> Result<(), Problem> {
        let folder = self.folder(self.names.home()).volume(&self.names.volume);
        if folder.join("volume.db").exists() {
            return Ok(());
        }
        let all = Rights::of(&[Right::Read, Right::Write, Right::Modify, Right::Execute, Right::Administer]);
        let bucket = Bucket::new([(Who::Principal(self.caller.clone()), all)])?;
        let made = Store::create(&folder, &self.names.volume, &bucket, self.world.clone());
        drop(made.map_err(|error| error.for_owner())?);
        remarks.push(format!("made the volume {} for {}", self.names.volume, self.caller));
        Ok(())
    }

    /// The register knows the two that hold no invitation.
    fn ensure_members(&self, register: &Register) -> Result<(), Problem> {
        for folder in [&self.person, &self.folder(self.names.home())] {
            let identity = IdentityFile::read(&folder.identity())?;
            if let (None, Some(leaf)) = (register.member(identity.principal())?, identity.chain().first()) {
                register.note(Given::read(leaf)?)?;
            }
        }
        Ok(())
    }

    /// Says in each node's folder who may lend it.
    fn ensure_owner(&self) -> Result<(), Problem> {
        let line = format!("{}\n", self.caller);
        for folder in self.folders() {
            if fs::read(folder.owner()).is_ok_and(|present| present == line.as_bytes()) {
                continue;
            }
            client::durable::replace(&folder.owner(), line.as_bytes())?;
        }
        Ok(())
    }
}

/// A secret line that is read and dropped.
struct LineText<T>(T);

impl<T: std::ops::Deref<Target = String>> AsRef<str> for LineText<T> {
    fn as_ref(&self) -> &str {
        self.0.as_str()
    }
}

fn ensure_authority(
    person: &Folder,
    home: &Folder,
    realm: &RealmName,
    world: &World,
    remarks: &mut Remarks,
) -> Result<Authority, Problem> {
    let folder = home.authority();
    if folder.join("issuing.pem").exists() {
        let identity = person.identity();
        let anew = format!("restore it, or remove {} and start anew with `webos up --fresh`", identity.display());
        return Authority::load(&folder).map_err(|error| error.advised(&anew));
    }
    let lost = [home.identity(), person.world().join(STATE)].into_iter().find(|trace| trace.exists());
    if let Some(trace) = lost {
        let what =
            format!("{} is gone, the authority of {realm}, though {} is there", folder.display(), trace.display());
        let next = "restore it from a copy, or start anew with `webos up --fresh`";
        return Err(Problem::new(Code::Internal, what).next(next));
    }
    let now = world.clock.unix();
    let root = Root::create(realm.clone(), now)?;
    root.save(&folder.join(Root::PLAIN_FILE), None)?;
    let authority = Authority::found(&root, now)?;
    authority.save(&folder)?;
    remarks.push(format!("made the realm {realm}; its root key lies unencrypted in {}", folder.display()));
    Ok(authority)
}

fn ensure_server(home: &Folder, who: &Principal, authority: &Authority, world: &World) -> Result<(), Problem> {
    if home.identity().join(Identity::FILE).exists() {
        return Ok(());
    }
    Ok(authority.issue_identity(who, None, world.clock.unix())?.save(&home.identity())?)
}

/// The person's identity: made by this world, or refused when it is somebody else's.
fn ensure_caller(
    person: &Folder,
    names: &Names,
    authority: &Authority,
    login: Option<&str>,
    world: &World,
    remarks: &mut Remarks,
) -> Result<Principal, Problem> {
    let folder = person.identity();
    if folder.join(Identity::FILE).exists() {
        let identity = IdentityFile::read(&folder)
            .map_err(|error| error.advised("remove it, and `webos up` makes a new one"))?;
        if is_of(&identity, authority) {
            return Ok(identity.principal().clone());
        }
        return Err(Problem::new(
            Code::Exists,
            format!(
                "{} holds the identity of {}, which does not belong to this local world",
                person.path().display(),
                identity.principal()
            ),
        )
        .next(format!("set WEBOS_HOME to another folder, or remove {}", folder.display())));
    }
    let who = Principal::new(names.realm.clone(), PrincipalKind::User, label_of(login.unwrap_or_default()));
    authority.issue_identity(&who, None, world.clock.unix())?.save(&folder)?;
    remarks.push(format!("you are {who}; your key is in {}", folder.display()));
    Ok(who)
}

/// Whether an identity was certified under a root of this authority.
pub fn is_of(identity: &IdentityFile, authority: &Authority) -> bool {
    identity.chain().last().is_some_and(|root| authority.roots().contains(root))
}

/// A login name as a name of ours: `Anna.Maria` becomes `anna-maria`.
fn label_of(login: &str) -> Label {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let text: String = login.chars().map(fit).take(terms::MAX_LABEL_BYTES).collect();
    let somebody = || Label::new(SOMEBODY).unwrap_or_else(|error| unreachable!("a constant: {error}"));
    Label::new(text.trim_matches('-')).unwrap_or_else(|_| somebody())
}

/// The state of the last start. A damaged one costs the ports, nothing else.
fn read_state(path: &Path, remarks: &mut Remarks) -> State {
    let text = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return State::default(),
        Ok(found) if found.len() > MAX_STATE_BYTES => Err(format!("it has {} bytes", found.len())),
        _ => fs::read(path).map_err(|error| cannot("read", path, &error).detail),
    };
    let state = text.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
    state.unwrap_or_else(|why| {
        remarks.push(format!("{} is damaged ({why}); the nodes get new ports", path.display()));
        State::default()
    })
}

#[cfg(test)]
#[path = "world_tests.rs"]
mod tests;
