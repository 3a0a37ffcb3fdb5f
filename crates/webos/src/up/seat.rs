//! What the supervisor knows of one node: its process, how it said it stands, and what that is to the console.

use super::child::Child;
use crate::console::model::{NodeState, Phase, Role};
use client::models::lending::LEASE;
use client::models::{Load, Phase as RunPhase};
use client::protocol::{FrontStatus, NodeStatus};
use std::time::Duration;
use terms::{BootMs, Label, Principal, ServiceName, VolumeName};

/// A count that begins anew whenever the front behind it does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    before: u64,
    last: u64,
}

impl Count {
    /// The front counts so many now; `None`: there is no front.
    pub fn see(&mut self, now: Option<u64>) {
        let now = now.unwrap_or(0);
        if now < self.last {
            self.before += self.last;
        }
        self.last = now;
    }

    /// Over all fronts.
    pub fn total(&self) -> u64 {
        self.before + self.last
    }
}

/// One node.
#[derive(Debug)]
pub struct Seat {
    /// Its name.
    pub name: Label,
    /// Who it is.
    pub principal: Principal,
    /// Whether it is the home.
    pub is_home: bool,
    /// `host:port` where it listens.
    pub address: String,
    /// Its process, while there is one.
    pub child: Option<Child>,
    /// A person killed it: its end is no surprise.
    pub killed: bool,
    /// It ended without being asked to.
    pub fell: bool,
    /// It is being started again.
    pub reviving: bool,
    /// It has been asked and has not answered yet.
    pub asked: bool,
    /// It did not answer the last time.
    pub silent: bool,
    /// The lease of its present run was told of.
    pub lease_told: bool,
    /// Requests answered, over all its runs.
    pub requests: Count,
    /// Bytes sent, over all its runs.
    pub bytes: Count,
    front: Option<FrontStatus>,
    heard: BootMs,
}

impl Seat {
    /// A node that runs.
    pub fn new(name: Label, principal: Principal, is_home: bool, child: Child) -> Self {
        Self {
            name,
            principal,
            is_home,
            address: child.address.clone(),
            child: Some(child),
            killed: false,
            fell: false,
            reviving: false,
            asked: false,
            silent: false,
            lease_told: false,
            requests: Count::default(),
            bytes: Count::default(),
            front: None,
            heard: BootMs(0),
        }
    }

    /// The node said how it stands.
    pub fn stands(&mut self, status: &NodeStatus, service: &ServiceName, now: BootMs) {
        self.front = status.fronts.iter().find(|front| front.service == *service).cloned();
        self.heard = now;
        self.requests.see(self.front.as_ref().map(|front| front.requests));
        self.bytes.see(self.front.as_ref().map(|front| front.bytes));
    }

    /// The process is gone.
    pub fn gone(&mut self) {
        self.child = None;
        self.front = None;
        self.silent = false;
        self.requests.see(None);
        self.bytes.see(None);
    }

    /// Whether it ever said how it stands.
    pub fn was_heard(&self) -> bool {
        self.heard > BootMs(0)
    }

    /// Whether it can be asked.
    pub fn is_up(&self) -> bool {
        self.child.is_some() && !self.silent
    }

    /// Whether it takes requests.
    pub fn serves(&self) -> bool {
        self.is_up() && self.front.as_ref().is_some_and(|front| front.primary || front.phase == RunPhase::Serving)
    }

    /// Its load, while it serves or finishes.
    pub fn load(&self) -> Load {
        self.front.as_ref().filter(|_| self.is_up()).map(|front| front.load).unwrap_or_default()
    }

    fn phase(&self) -> Phase {
        if !self.is_up() {
            return Phase::Down;
        }
        match self.front.as_ref().map(|front| front.phase) {
            _ if self.is_home => Phase::Home,
            None => Phase::Idle,
            Some(RunPhase::Starting | RunPhase::Ready) => Phase::Starting,
            Some(RunPhase::Serving) => Phase::Serving,
            Some(RunPhase::Fenced | RunPhase::Draining) => Phase::Draining,
            Some(RunPhase::Ended) => Phase::Ended,
        }
    }

    fn rights(&self, phase: Phase, service: &ServiceName, volume: &VolumeName) -> Vec<String> {
        match phase {
            Phase::Home => {
                vec![format!("sequences the writes of {volume}"), format!("decides who serves {service}")]
            }
            Phase::Starting => {
                vec![format!("reads the files of {service} as a member of {}-serving", service.name)]
            }
            Phase::Serving => vec![
                format!("serves {service}"),
                format!("reads its files as a member of {}-serving", service.name),
            ],
            Phase::Draining => vec![format!("finishes what it began for {service}")],
            Phase::Idle | Phase::Ended | Phase::Down => Vec::new(),
        }
    }

    /// As the console shows it, and when its lease ends by our clock.
    pub fn state(&self, service: &ServiceName, volume: &VolumeName) -> (NodeState, Option<BootMs>) {
        let (phase, load) = (self.phase(), self.load());
        let runs = matches!(phase, Phase::Serving | Phase::Starting | Phase::Draining);
        let left = self.front.as_ref().filter(|_| runs).and_then(|front| front.lease_left_ms);
        let lease_end = left.map(|left| self.heard.plus(Duration::from_millis(left.into())));
        let state = NodeState {
            name: self.name.clone(),
            role: if self.is_home { Role::Home } else { Role::Lent },
            phase,
            pid: self.child.as_ref().map(|child| child.pid),
            url: format!("https://{}", self.address),
            rps: load.rps,
            bytes_per_s: load.bytes_per_s,
            latency_ms: (load.rps > 0.0).then_some(load.latency_ms),
            inflight: load.inflight,
            lease_remaining_ms: None,
            lease_total_ms: u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX),
            requests_total: self.requests.total(),
            rights: self.rights(phase, service, volume),
        };
        (state, lease_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_on_when_a_front_begins_anew() {
        let mut count = Count::default();
        for (seen, total) in
            [(Some(5), 5), (Some(9), 9), (None, 9), (None, 9), (Some(2), 11), (Some(4), 13), (Some(1), 14)]
        {
            count.see(seen);
            assert_eq!(count.total(), total, "{seen:?}");
        }
    }
}
