//! Who of those that connect gets how far: first a turn for a handshake, then a place among the unfinished handshakes,
//! and for somebody without a certificate a place among the strangers. It says who is too many, never who may do what.

use crate::crowd::{Crowd, Full, source};
use crate::limits::{
    HANDSHAKE_BURST, HANDSHAKE_PATIENCE, HANDSHAKES_PER_SECOND, MAX_ANONYMOUS_CONNECTIONS, MAX_HANDSHAKES,
    MAX_RATED_SOURCES, MAX_SOURCE_CONNECTIONS, MAX_SOURCE_WAITING, MAX_WAITING_CONNECTIONS,
};
use crate::places::{Place, Places};
use crate::rates::{Rate, Rates, TooOften};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::sleep;
use world::World;

/// What a listener admits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Handshakes of one source.
    pub rate: Rate,
    /// Connections without a certificate: count.
    pub strangers: usize,
    /// Of these, connections from one source: count.
    pub of_one_source: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        let rate = Rate { per_second: HANDSHAKES_PER_SECOND, burst: HANDSHAKE_BURST, patience: HANDSHAKE_PATIENCE };
        Self { rate, strangers: MAX_ANONYMOUS_CONNECTIONS, of_one_source: MAX_SOURCE_CONNECTIONS }
    }
}

/// The entrance of one listener.
pub(crate) struct Admission {
    world: World,
    rates: Mutex<Rates>,
    waiting: Arc<Crowd>,
    handshakes: Arc<Places>,
    strangers: Arc<Places>,
}

impl Admission {
    /// Nobody came yet.
    pub fn new(world: &World, bounds: Bounds) -> Self {
        Self {
            world: world.clone(),
            rates: Mutex::new(Rates::new(bounds.rate, MAX_RATED_SOURCES)),
            waiting: Arc::new(Crowd::new(MAX_WAITING_CONNECTIONS, MAX_SOURCE_WAITING)),
            handshakes: Arc::new(Places::new(MAX_HANDSHAKES, MAX_HANDSHAKES)),
            strangers: Arc::new(Places::new(bounds.strangers, bounds.of_one_source)),
        }
    }

    /// Waits for the turn of somebody who has connected and not said anything yet. None if there are too many.
    pub async fn turn(&self, from: SocketAddr) -> Option<()> {
        let turn = {
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            rates.turn(source(from.ip()), self.world.clock.boot())
        };
        let wait = match turn {
            Ok(wait) if wait.is_zero() => return Some(()),
            Ok(wait) => wait,
            Err(TooOften { news }) => {
                if news {
                    let most = HANDSHAKES_PER_SECOND;
                    tracing::info!(%from, most, "connections were closed: their source makes too many a second");
                }
                return None;
            }
        };
        let Ok(_seat) = self.waiting.enter(from.ip()) else {
            tracing::debug!(%from, "a connection was closed: too many wait for their handshake");
            return None;
        };
        sleep(wait).await;
        Some(())
    }

    /// A place among the unfinished handshakes. Somebody else's may end for it.
    pub fn handshake(&self, from: SocketAddr) -> Option<Place> {
        self.handshakes.enter(from.ip()).ok()
    }

    /// A place for a connection without a certificate. Somebody else's may end for it.
    pub fn stranger(&self, from: SocketAddr) -> Option<Arc<Place>> {
        match self.strangers.enter(from.ip()) {
            Ok(place) => Some(Arc::new(place)),
            Err(Full::All(_)) => {
                tracing::info!(%from, "a connection without a certificate was refused: there are too many");
                None
            }
            Err(Full::Source(_)) => {
                tracing::info!(%from, "a connection without a certificate was refused: its source has its share");
                None
            }
        }
    }
}
