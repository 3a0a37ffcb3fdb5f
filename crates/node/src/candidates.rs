//! Nodes that say they are lent to a service: soft state, said again every few seconds, forgotten in silence.

use crate::limits::{MAX_CANDIDATES, MAX_SERVICES};
use client::limits::CANDIDATE_LIFE;
use client::protocol::{Announcement, Candidate};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use terms::{BootMs, Code, Label, Principal, Problem};
use wire::Peer;

type ByNode = BTreeMap<Principal, (Candidate, BootMs)>;

/// The candidates of the services of this realm.
#[derive(Default)]
pub struct Candidates(Mutex<BTreeMap<Label, ByNode>>);

impl Candidates {
    /// Takes a node's word for itself.
    pub fn heard(&self, service: &Label, peer: &Peer, word: Announcement, now: BootMs) -> Result<(), Problem> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(offer) = word.offer else {
            if let Some(nodes) = all.get_mut(service) {
                nodes.remove(&peer.principal);
            }
            return Ok(());
        };
        if !all.contains_key(service) && all.len() >= MAX_SERVICES {
            return Err(Problem::new(Code::TooLarge, format!("more than {MAX_SERVICES} services are named here")));
        }
        let nodes = all.entry(service.clone()).or_default();
        nodes.retain(|_, (_, heard)| now.since(*heard) < CANDIDATE_LIFE);
        if !nodes.contains_key(&peer.principal) && nodes.len() >= MAX_CANDIDATES {
            return Err(Problem::new(Code::Busy, format!("a service has at most {MAX_CANDIDATES} candidates")));
        }
        let candidate = Candidate {
            principal: peer.principal.clone(),
            key: peer.key,
            address: word.address,
            offer,
            relay: word.relay,
        };
        nodes.insert(peer.principal.clone(), (candidate, now));
        Ok(())
    }

    /// The candidates that were heard of lately.
    pub fn of(&self, service: &Label, now: BootMs) -> Vec<Candidate> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let nodes = all.get(service).into_iter().flatten();
        let fresh = nodes.filter(|(_, (_, heard))| now.since(*heard) < CANDIDATE_LIFE);
        fresh.map(|(_, (candidate, _))| candidate.clone()).collect()
    }
}
