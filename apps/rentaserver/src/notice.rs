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
        /// Whether that is as many as it may have.
        full: bool,
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
            Self::Sized { servers, change, full, reason, figures } => {
                size(f, *servers, *change, *full, figures.demand)?;
                let Figures { latency_ms, inflight, rps, .. } = figures;
                let load = format!("mean {latency_ms:.0} ms; {inflight:.1} in flight; {rps:.1} requests/s");
                write!(f, ": {} ({load})", reason.as_str())
            }
            Self::Recruiting { .. } => f.write_str("recruited, and gets ready to serve"),
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

/// What a sizing decision comes to.
fn size(f: &mut fmt::Formatter<'_>, servers: usize, change: i32, full: bool, demand: f64) -> fmt::Result {
    let has = if servers == 1 { "1 server".into() } else { format!("{servers} servers") };
    // Whole numbers of servers, so exact.
    let needs = if demand > servers as f64 { format!("{demand:.1} servers") } else { format!("more than {has}") };
    match change {
        0 if full => write!(f, "needs {needs}, has {servers}, the most it may have"),
        0 => write!(f, "needs {needs}, has {servers}, and no lent node is free"),
        1.. => write!(f, "has {has}, recruits {change}"),
        _ => write!(f, "has {has}, returns {}", change.unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_words() {
        let load = "(mean 120 ms; 9.0 in flight; 80.0 requests/s)";
        for (servers, change, full, demand, words) in [
            (1, 2, false, 2.7, "has 1 server, recruits 2: two samples over the goal"),
            (3, -1, false, 1.2, "has 3 servers, returns 1: two samples over the goal"),
            (4, 0, false, 4.5, "needs 4.5 servers, has 4, and no lent node is free: two samples over the goal"),
            (4, 0, true, 4.5, "needs 4.5 servers, has 4, the most it may have: two samples over the goal"),
            (
                1,
                0,
                false,
                0.9,
                "needs more than 1 server, has 1, and no lent node is free: two samples over the goal",
            ),
        ] {
            let figures = Figures { latency_ms: 120.0, inflight: 9.0, rps: 80.0, demand, ..Figures::default() };
            let notice = Notice::Sized { servers, change, full, reason: Reason::OverGoal, figures };
            assert_eq!(notice.to_string(), format!("{words} {load}"));
        }
    }
}
