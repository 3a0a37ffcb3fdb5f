//! A volume over HTTP: what a node answers after it has decided rights.
//!
//! Every function takes the proof of the right that it uses and checks that it is the right one; none decides. A
//! change recalls its objects before it is committed, through the volume's gate.

mod append;
mod body;
mod conditions;
mod directory;
mod file;
mod look;
mod media;
mod operate;
mod proofs;
mod range;
mod source;
mod watch;
mod write;

#[cfg(test)]
mod tests;

pub use directory::{Directory, after, directory};
pub use file::file;
pub use look::MayShow;
pub use operate::SmallPut;
pub use proofs::{ListRights, PlaceRights, TakeRights, WriteRights};
pub use source::{FileSource, HomeFile};

use crate::gate::ChangeGate;
use crate::store::{Object, Store};
use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, Response};
use std::sync::Arc;
use terms::{ChangeNumber, Code, Problem, Right, UnixMs, VolumeName, VolumePath};
use trust::{Authorised, KeyPair};
use watch::Watchers;
use wire::{Body, Until};
use world::World;

/// Under which host name content is served, and so what it may do in a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// Under the node's own name: sandboxed, so that a stored page has no power over the node.
    Volume,
    /// Under the service's own name.
    Service,
}

/// A volume that lives here, with what serving it takes. Cheap to clone.
#[derive(Clone)]
pub struct Home {
    store: Store,
    key: KeyPair,
    gate: Arc<dyn ChangeGate>,
    watchers: Arc<Watchers>,
    until: Option<Until>,
    world: World,
    /// Whose turn it is to append to a file that is no log.
    appends: Arc<tokio::sync::Mutex<()>>,
}

impl Home {
    /// A volume, the key that signs its manifests, and the gate that recalls before changes.
    pub fn new(store: Store, key: KeyPair, gate: Arc<dyn ChangeGate>, world: World) -> Self {
        Self { store, key, gate, watchers: Arc::default(), until: None, world, appends: Arc::default() }
    }

    /// The same for a request whose sender gives up then: it changes nothing any more afterwards.
    #[must_use]
    pub fn within(&self, until: Option<&Until>) -> Self {
        Self { until: until.cloned(), ..self.clone() }
    }

    /// Ends all watches, and lets none begin: the home is here no more, or begins anew. They keep nothing of the store.
    pub fn stop(&self) {
        self.watchers.stop();
    }

    /// The volume.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn key(&self) -> &KeyPair {
        &self.key
    }

    /// Answers a GET or HEAD of an object that was found while the change number was `change`.
    pub async fn get(
        &self,
        authorised: &Authorised,
        object: Arc<Object>,
        change: ChangeNumber,
        request: &Parts,
    ) -> Response<Body> {
        let now = self.world.clock.unix();
        if let Some(source) = HomeFile::new(self, object.clone(), change) {
            return file(authorised, Arc::new(source), request, Face::Volume, now).await;
        }
        match self.listing(authorised, &object, change, request, now).await {
            Ok(response) => response,
            Err(problem) => wire::problem_response(&problem),
        }
    }

    async fn listing(
        &self,
        authorised: &Authorised,
        object: &Object,
        change: ChangeNumber,
        request: &Parts,
        now: UnixMs,
    ) -> Result<Response<Body>, Problem> {
        check_right(authorised, self.store.name(), &object.path, Right::Read, now)?;
        let listing = self.store.list(&object.path, &after(request)?).await?;
        let found = Directory {
            volume: self.store.name(),
            path: &object.path,
            entry: &object.entry,
            change,
            listing: &listing,
        };
        Ok(directory(authorised, found, request, Face::Volume, now))
    }
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Whether a proof is the proof of this right, here and now. Another one is a fault of the caller, and denied.
fn check_right(
    authorised: &Authorised,
    volume: &VolumeName,
    path: &VolumePath,
    right: Right,
    now: UnixMs,
) -> Result<(), Problem> {
    let place = authorised.location();
    let fits = place.volume == *volume && place.path == *path && authorised.covers(place, right, now);
    if fits {
        Ok(())
    } else {
        Err(Problem::new(
            Code::Denied,
            format!("no proof of the right to {} {volume}/{path} at this time", right.verb()),
        ))
    }
}

/// Whether an Accept header names this media type. Wildcards do not: they mean the content itself.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut types = lines.flat_map(|line| line.split(','));
    types.any(|one| one.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(media_type)))
}
