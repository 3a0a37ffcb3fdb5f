//! What the load daemon tells people: one value for each thing that happened, with its reasons.

use serde::Serialize;
use std::fmt;
use terms::{Epoch, Principal};

/// The figures that a sizing decision rests on.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Figures {
    /// Requests in flight at all servers, averaged over the last second.
    pub inflight: f64,
    /// Requests answered in a second by all servers.
    pub rps: f64,
    /// Mean response time: milliseconds.
    pub latency_ms: f64,
    /// What one request costs a usual server: milliseconds; nothing when it is not known.
    pub service_ms: Option<f64>,
    /// How many usual servers this load needs.
    pub demand: f64,
    /// The greatest demand of the stabilization window.
    pub peak: f64,
    /// The power of the servers that help now or soon.
    pub power: f64,
}

/// Why the size is changed or kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The goal is kept.
    WithinGoal,
    /// Over the goal, but for too short a time.
    FirstSampleOver,
    /// Over the goal, and what is there or coming would do.
    EnoughComing,
    /// Over the goal for two samples.
    OverGoal,
    /// Over the goal by half.
    FarOverGoal,
    /// Fewer servers than the least number.
    BelowMinimum,
    /// The load of the whole window fits into fewer servers.
    Calm,
}

impl Reason {
    /// The reason in plain words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WithinGoal => "the goal is kept",
            Self::FirstSampleOver => "one sample over the goal",
            Self::EnoughComing => "over the goal, and enough servers are coming",
            Self::OverGoal => "two samples over the goal",
            Self::FarOverGoal => "over the goal by half",
            Self::BelowMinimum => "fewer servers than the least number",
            Self::Calm => "the load of the whole window fits into fewer servers",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Notice {
    /// The daemon is in charge.
    InCharge {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// A decision that changes the number of servers, or cannot for want of offers.
    Sized {
        /// Servers now, the primaries included.
        servers: usize,
        /// How many are recruited (positive) or drained (negative) now.
        change: i32,
        /// Why.
        reason: Reason,
        /// From what.
        figures: Figures,
    },
    /// A server is asked to serve.
    Recruiting {
        /// Which.
        server: Principal,
    },
    /// A server serves now.
    Recruited {
        /// Which.
        server: Principal,
        /// From the decision: milliseconds.
        took_ms: u64,
    },
    /// A server that served before the daemon started was taken over.
    Adopted {
        /// Which.
        server: Principal,
    },
    /// A server did not start.
    NotStarted {
        /// Which.
        server: Principal,
        /// Why not.
        why: String,
    },
    /// A lease was renewed.
    Renewed {
        /// Whose.
        server: Principal,
        /// How long it is guaranteed to serve: milliseconds.
        active_for_ms: u64,
    },
    /// A server does not answer and is not renewed meanwhile.
    Silent {
        /// Which.
        server: Principal,
        /// What the last call said.
        why: String,
    },
    /// A server takes no new clients.
    Draining {
        /// Which.
        server: Principal,
        /// Why.
        why: String,
    },
    /// A server has finished, and holds no rights any more.
    Drained {
        /// Which.
        server: Principal,
        /// From the decision: milliseconds.
        took_ms: u64,
    },
    /// A server is gone: its lease is over, and it holds no rights any more.
    Lost {
        /// Which.
        server: Principal,
        /// Why.
        why: String,
    },
    /// Something at home did not work; it is tried again.
    Trouble {
        /// What, and why.
        what: String,
    },
}

impl Notice {
    /// The server that it is about.
    pub fn server(&self) -> Option<&Principal> {
        match self {
            Self::Recruiting { server }
            | Self::Recruited { server, .. }
            | Self::Adopted { server }
            | Self::NotStarted { server, .. }
            | Self::Renewed { server, .. }
            | Self::Silent { server, .. }
            | Self::Draining { server, .. }
            | Self::Drained { server, .. }
            | Self::Lost { server, .. } => Some(server),
            Self::InCharge { .. } | Self::Sized { .. } | Self::Trouble { .. } => None,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(server) = self.server() {
            write!(f, "{}: ", server.name)?;
        }
        match self {
            Self::InCharge { epoch } => write!(f, "the load daemon is in charge under epoch {epoch}"),
            Self::Sized { servers, change, reason, figures } => write!(
                f,
                "{servers} servers {change:+}: {} (mean {:.0} ms; {:.1} in flight; {:.1} requests/s; needs {:.1})",
                reason.as_str(),
                figures.latency_ms,
                figures.inflight,
                figures.rps,
                figures.demand
            ),
            Self::Recruiting { .. } => f.write_str("asked to serve"),
            Self::Recruited { took_ms, .. } => write!(f, "serves, after {took_ms} ms"),
            Self::Adopted { .. } => f.write_str("taken over from the daemon before"),
            Self::NotStarted { why, .. } => write!(f, "did not start: {why}"),
            Self::Renewed { active_for_ms, .. } => write!(f, "lease renewed, active for {active_for_ms} ms"),
            Self::Silent { why, .. } => write!(f, "does not answer: {why}"),
            Self::Draining { why, .. } => write!(f, "drained: {why}"),
            Self::Drained { took_ms, .. } => write!(f, "has finished, after {took_ms} ms; no rights left"),
            Self::Lost { why, .. } => write!(f, "is gone: {why}; no rights left"),
            Self::Trouble { what } => f.write_str(what),
        }
    }
}
