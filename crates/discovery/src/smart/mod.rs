//! The smart client: holds a service's documents and director, and sends each request to a server that may and
//! should be asked. All requests of a process to one service share one.
//!
//! Nothing is believed that is not signed, and no server is asked that [`crate::eligible`] does not allow now.

mod budget;
mod fetch;
mod known;
mod open;
mod proxy;
mod request;
mod resolve;
mod stream;

pub use fetch::{Fetch, FetchEvent, Fetched, part_of};
pub use proxy::Proxy;
pub use request::Answer;
pub use stream::{FileStream, ServerCount};

use crate::limits::MAX_SEEN_FILES;
use crate::manifest::Manifest;
use crate::verified::Certificate;
use budget::Budget;
use known::Known;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terms::{BootMs, Epoch, Problem, ServiceName, Version, VolumePath};
use trust::TrustStore;
use wire::Pool;
use world::World;

struct Inner {
    world: World,
    service: ServiceName,
    trust: TrustStore,
    pool: Pool,
    cache: Option<PathBuf>,
    known: Mutex<Known>,
    budget: Mutex<Budget>,
    /// The latest publication of each file that was opened.
    seen: Mutex<BTreeMap<VolumePath, (Epoch, Version)>>,
    /// Held while the state is asked for: all who want it wait for one question. When it was asked last.
    refreshing: tokio::sync::Mutex<Option<BootMs>>,
}

/// A client of one service. Cheap to clone.
#[derive(Clone)]
pub struct SmartClient(Arc<Inner>);

impl SmartClient {
    /// Finds a service: from the cache file if that has a valid certificate, else from the realm's name servers.
    pub async fn open(
        world: &World,
        pool: Pool,
        trust: TrustStore,
        service: ServiceName,
        cache: Option<PathBuf>,
    ) -> Result<Self, Problem> {
        let stored = cache.as_deref().and_then(|path| resolve::cached(path, &trust, world, &service));
        // A stored certificate may name servers that have moved: the name servers' word is better, if there is one.
        // An older one than the stored it cannot be: name servers that are behind must not take a client back.
        let certificate = match (resolve::certificate(&pool, &trust, world, &service).await, stored) {
            (Ok(fresh), Some(stored)) if fresh.value().serial < stored.value().serial => {
                tracing::warn!(%service, serial = %fresh.value().serial, "the name servers have an older certificate");
                stored
            }
            (Ok(fresh), _) => {
                if let Some(path) = &cache {
                    resolve::keep(path, &fresh);
                }
                fresh
            }
            (Err(_), Some(stored)) => stored,
            (Err(problem), None) => return Err(problem),
        };
        let known = Mutex::new(Known::new(certificate, world.clock.boot()));
        Ok(Self(Arc::new(Inner {
            world: world.clone(),
            service,
            trust,
            pool,
            cache,
            known,
            budget: Mutex::default(),
            seen: Mutex::default(),
            refreshing: tokio::sync::Mutex::new(None),
        })))
    }

    /// The service.
    pub fn service(&self) -> &ServiceName {
        &self.0.service
    }

    /// The service certificate in force.
    pub fn certificate(&self) -> Certificate {
        self.known().certificate.clone()
    }

    /// Why a request would go where: one line a server, for people.
    pub fn explain(&self) -> String {
        self.known().director().explain(self.0.world.clock.boot())
    }

    /// Whether this client has seen a later publication of the file; if not, it remembers this one. A reader never
    /// goes back in time, whichever servers it is sent to.
    fn is_behind(&self, path: &VolumePath, manifest: &Manifest) -> bool {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = seen.get(path).copied().unwrap_or_default();
        if manifest.publication() < latest {
            return true;
        }
        if seen.len() >= MAX_SEEN_FILES && !seen.contains_key(path) {
            seen.pop_first();
        }
        seen.insert(path.clone(), manifest.publication());
        false
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.0.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
