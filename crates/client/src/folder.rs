//! Where one principal keeps its things: the layout of `WEBOS_HOME`. Only names; no file is touched here.

use std::path::{Path, PathBuf};
use terms::{RealmName, ServiceName, VolumeName};

/// The folder of one principal: a person, or a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at this path, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Key and certificate.
    pub fn identity(&self) -> PathBuf {
        self.0.join("identity")
    }

    /// The pinned bundles of the realms that are trusted.
    pub fn realms(&self) -> PathBuf {
        self.0.join("realms")
    }

    /// The pinned bundle of one realm.
    pub fn realm(&self, realm: &RealmName) -> PathBuf {
        self.realms().join(format!("{realm}.bundle"))
    }

    /// The settings file.
    pub fn settings(&self) -> PathBuf {
        self.0.join("settings.toml")
    }

    /// The realm's authority, on the node that holds it.
    pub fn authority(&self) -> PathBuf {
        self.0.join("authority")
    }

    /// The invitations that are open, where the authority is.
    pub fn invitations(&self) -> PathBuf {
        self.authority().join("invitations")
    }

    /// The realm's members, where the authority is.
    pub fn members(&self) -> PathBuf {
        self.authority().join("members")
    }

    /// The realm's further name servers, where the authority is.
    pub fn name_servers(&self) -> PathBuf {
        self.authority().join("name-servers")
    }

    /// Earlier identities, whose keys chains may still name.
    pub fn retired(&self) -> PathBuf {
        self.identity().join("retired")
    }

    /// Who may lend this node: one SPIFFE id a line.
    pub fn owner(&self) -> PathBuf {
        self.0.join("owner")
    }

    /// The volumes that have their home here.
    pub fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    /// One volume that has its home here.
    pub fn volume(&self, volume: &VolumeName) -> PathBuf {
        self.volumes().join(volume.to_string())
    }

    /// Volumes that were at home here once, and came back by a move since.
    pub fn superseded(&self) -> PathBuf {
        self.0.join("superseded")
    }

    /// Keys and certificates of the services published here.
    pub fn service(&self, service: &ServiceName) -> PathBuf {
        self.0.join("services").join(format!("{}.{}", service.name, service.realm))
    }

    /// Signed group lists held here.
    pub fn groups(&self) -> PathBuf {
        self.0.join("groups")
    }

    /// What a name server keeps.
    pub fn names(&self) -> PathBuf {
        self.0.join("names")
    }

    /// Blocks cached for others (relay) or for a job (surrogate), and cached documents.
    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// Where a volume was the last time a name server was asked.
    pub fn record(&self, volume: &VolumeName) -> PathBuf {
        self.records().join(format!("{volume}.record"))
    }

    /// Where volumes live.
    pub fn records(&self) -> PathBuf {
        self.cache().join("records")
    }

    /// What the realm has taken back, where its authority is.
    pub fn feed(&self) -> PathBuf {
        self.authority().join("feed")
    }

    /// The copy of another realm's feed.
    pub fn feed_copy(&self, realm: &RealmName) -> PathBuf {
        self.0.join("feeds").join(format!("{realm}.feed"))
    }

    /// The signed pages that prove it.
    pub fn feed_pages(&self, realm: &RealmName) -> PathBuf {
        self.0.join("feeds").join(format!("{realm}.pages"))
    }

    /// The transfer certificates that this principal made or was given.
    pub fn purse(&self) -> PathBuf {
        self.0.join("purse")
    }

    /// Changes that could not be published.
    pub fn recovery(&self) -> PathBuf {
        self.0.join("recovery")
    }

    /// To whom this node is lent.
    pub fn offers(&self) -> PathBuf {
        self.0.join("offers.toml")
    }

    /// The audit log.
    pub fn audit(&self) -> PathBuf {
        self.0.join("audit.log")
    }

    /// What is kept here of other nodes' audit logs, one file a node.
    pub fn witness(&self) -> PathBuf {
        self.0.join("witness")
    }

    /// The bearer tokens for files that live here.
    pub fn tokens(&self) -> PathBuf {
        self.0.join("tokens")
    }

    /// The proxies that run here.
    pub fn proxies(&self) -> PathBuf {
        self.0.join("proxies")
    }

    /// The local world of `webos up`.
    pub fn world(&self) -> PathBuf {
        self.0.join("world")
    }
}
