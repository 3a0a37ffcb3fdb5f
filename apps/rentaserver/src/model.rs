//! What the load daemon knows and keeps: its settings, the servers it may borrow, its saved state.

use crate::limits::{BASE_MS, MAX_SERVERS, STABILIZATION};
use client::models::{Place, RightToServe, Table};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use terms::{BootMs, Epoch, Generation, Principal, ServiceName, Thumbprint, UnixMs};

/// Both clocks of the daemon's machine, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For leases and intervals.
    pub boot: BootMs,
    /// For documents.
    pub unix: UnixMs,
}

/// A server: the primary, or one that may be borrowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// The node.
    pub principal: Principal,
    /// Its key.
    pub key: Thumbprint,
    /// `host:port` of its front.
    pub address: String,
    /// Where it is, if its owner says.
    #[serde(default)]
    pub place: Option<Place>,
    /// How much work it does compared with a usual server (1.0): above 0.
    pub power: f64,
    /// Price per hour in the owner's unit; 0 is free.
    pub price: f64,
}

/// What the service wants. Checked by [`Settings::check`].
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The service.
    pub service: ServiceName,
    /// The servers of the service certificate: always members, never borrowed, never returned.
    pub primaries: Vec<Server>,
    /// The mean response time to keep: milliseconds.
    pub goal_ms: f64,
    /// What an answer takes besides waiting for the server: milliseconds, below the goal.
    pub base_ms: f64,
    /// Least number of servers, the primaries included.
    pub min_servers: usize,
    /// Greatest number of servers, the primaries included.
    pub max_servers: usize,
    /// How long the load must have been gone before servers are returned.
    pub stabilization: Duration,
    /// What a server of power 1 can send: bits per second, where that is stated.
    pub link_bits_per_s: Option<u64>,
    /// The epoch must be greater than this one: the service certificate's.
    pub epoch_above: Epoch,
}

/// Why settings were refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// Nobody holds the files.
    #[error("{0} has no primary server")]
    NoPrimary(ServiceName),
    /// The goal cannot be reached by any number of servers.
    #[error("a mean response time of {goal_ms} ms cannot be kept when {base_ms} ms go by without any load")]
    Goal {
        /// The goal.
        goal_ms: f64,
        /// The base.
        base_ms: f64,
    },
    /// The bounds contradict each other, or the limit.
    #[error(
        "at least {min}, at most {max} servers, {primaries} of them primaries: not possible (limit {MAX_SERVERS})"
    )]
    Bounds {
        /// The least number.
        min: usize,
        /// The greatest number.
        max: usize,
        /// The primaries.
        primaries: usize,
    },
}

impl Settings {
    /// Settings with the usual values: any number of servers up to `max_servers`, at least the primaries.
    pub fn new(service: ServiceName, primaries: Vec<Server>, goal_ms: f64, max_servers: usize) -> Self {
        Self {
            service,
            goal_ms,
            base_ms: BASE_MS.min(goal_ms / 10.0),
            min_servers: primaries.len(),
            max_servers,
            stabilization: STABILIZATION,
            link_bits_per_s: None,
            epoch_above: Epoch(0),
            primaries,
        }
    }

    /// Checks what the rules rely on.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), SettingsError> {
        let (min, max, primaries) = (self.min_servers, self.max_servers, self.primaries.len());
        if primaries == 0 {
            return Err(SettingsError::NoPrimary(self.service.clone()));
        }
        let sound = self.goal_ms.is_finite() && self.base_ms >= 0.0 && self.base_ms < self.goal_ms;
        if !sound {
            return Err(SettingsError::Goal { goal_ms: self.goal_ms, base_ms: self.base_ms });
        }
        if min > max || primaries > max || max > MAX_SERVERS {
            return Err(SettingsError::Bounds { min, max, primaries });
        }
        Ok(())
    }
}

/// What the daemon keeps, so that its successor adopts what still serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedState {
    /// The epoch of the daemon that wrote this.
    pub epoch: Epoch,
    /// The last generation of the membership.
    pub generation: Generation,
    /// The borrowed servers.
    pub borrowed: Vec<Server>,
}

/// What clients are told: to be signed and handed out.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The table.
    pub table: Table,
    /// The rights to serve of the surrogates in the table. One that is equal to an earlier one need not be
    /// signed again.
    pub rights: Vec<RightToServe>,
}

/// Why a call failed, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_refused() {
        let primary = Server {
            principal: "spiffe://lab.example/server/home".parse().expect("valid"),
            key: Thumbprint([0; 32]),
            address: "127.0.0.1:1".into(),
            place: None,
            power: 1.0,
            price: 0.0,
        };
        let good = Settings::new("service://site.lab.example".parse().expect("valid"), vec![primary], 200.0, 4);
        assert_eq!(good.check(), Ok(()));
        for bad in [
            Settings { primaries: vec![], ..good.clone() },
            Settings { goal_ms: 5.0, ..good.clone() },
            Settings { goal_ms: f64::NAN, ..good.clone() },
            Settings { min_servers: 5, ..good.clone() },
            Settings { max_servers: 0, min_servers: 0, ..good.clone() },
            Settings { max_servers: MAX_SERVERS + 1, ..good.clone() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
