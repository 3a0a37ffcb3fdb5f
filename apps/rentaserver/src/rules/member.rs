//! One server as the daemon sees it: which call is due next, and what its answer means. A small state machine for
//! each server; none waits for another.

use crate::limits::{
    BEAT_LEAD, POLL_EVERY, READY_WITHIN, REMOVE_WITHIN, RETRY_AFTER, SILENT_BEATS, START_WITHIN, TELL_FIRST_WITHIN,
};
use crate::model::{Failure, Server};
use crate::rules::calls::Answer;
use crate::rules::lease::Lease;
use client::models::lending::{DRAIN_WITHIN, DRIFT_ALLOWANCE, LEASE, TABLE_EVERY};
use client::models::{BeatAnswer, BeatReply, Phase, Report, StartAnswer, Ticket};
use std::time::Duration;
use terms::{BootMs, Epoch, UnixMs};

/// How a borrowed server's time ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Drained,
    Lost(String),
    NotStarted(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Always a member; only asked for its load.
    Primary,
    /// Perhaps started by the daemon before. `expected`: that one said so.
    Adopting { expected: bool },
    /// On the way to serving. `ready`: only the first renewal is missing.
    Recruiting { started: bool, ready: bool, adopted: bool },
    /// Named to clients.
    Serving,
    /// No longer named; finishing.
    Draining { told: bool, until: BootMs, end: End },
    /// It has ended; the group's membership has to go.
    Leaving { until: BootMs, end: End },
}

/// The next call about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Grant,
    Start,
    Beat { renew: bool },
    Drain { within: Duration },
    Remove,
}

/// What an answer, or the passed time, changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Serves {
        adopted: bool,
    },
    Renewed,
    Silent(String),
    /// Its owner takes it back.
    Withdrawn,
    /// Somebody with a greater epoch was here.
    Stale(Epoch),
    /// It has gone, and was never ours.
    Forget,
    /// It has gone, and holds no rights. `removed` is false if the group did not confirm it.
    Gone {
        end: End,
        removed: bool,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) server: Server,
    pub(crate) stage: Stage,
    pub(crate) lease: Lease,
    pub(crate) since: BootMs,
    /// From when its right to serve is dated.
    pub(crate) right_from: Option<UnixMs>,
    pub(crate) report: Option<(Report, BootMs)>,
    calling: bool,
    granted: Option<BootMs>,
    next_at: BootMs,
    failures: u32,
}

impl Member {
    pub(crate) fn new(server: Server, stage: Stage, now: BootMs) -> Self {
        // Whatever a daemon before this one granted is over by then.
        let lease = Lease::over_by(now.plus(LEASE).plus(DRIFT_ALLOWANCE));
        Self {
            server,
            stage,
            lease,
            since: now,
            right_from: None,
            report: None,
            calling: false,
            granted: None,
            next_at: now,
            failures: 0,
        }
    }

    pub(crate) fn silent(&self) -> bool {
        self.failures >= SILENT_BEATS
    }

    /// Whether it helps with the load, or will soon.
    pub(crate) fn helps(&self) -> bool {
        match self.stage {
            Stage::Primary => true,
            Stage::Adopting { expected } => expected && !self.silent(),
            Stage::Recruiting { .. } | Stage::Serving => !self.silent(),
            Stage::Draining { .. } | Stage::Leaving { .. } => false,
        }
    }

    /// Whether it counts for the bounds on the number of servers.
    pub(crate) fn counts(&self) -> bool {
        match self.stage {
            Stage::Adopting { expected } => expected,
            Stage::Primary | Stage::Recruiting { .. } | Stage::Serving => true,
            Stage::Draining { .. } | Stage::Leaving { .. } => false,
        }
    }

    /// Whether the next daemon has to know of it.
    pub(crate) fn borrowed(&self) -> bool {
        !matches!(self.stage, Stage::Primary | Stage::Adopting { expected: false })
    }

    /// The call to make now, if any. `named`: whether clients are still told of it.
    pub(crate) fn due(&self, now: BootMs, named: bool) -> Option<Due> {
        if self.calling || now < self.next_at {
            return None;
        }
        match &self.stage {
            Stage::Primary | Stage::Adopting { .. } => Some(Due::Beat { renew: false }),
            Stage::Recruiting { started: false, .. } if self.granted.is_none() => Some(Due::Grant),
            Stage::Recruiting { started: false, .. } => Some(Due::Start),
            Stage::Recruiting { ready, .. } => Some(self.beat(*ready || self.lease.renewal_due(now))),
            Stage::Serving => Some(self.beat(self.lease.renewal_due(now))),
            Stage::Draining { told: false, until, .. } => {
                let waited = now.since(self.since) >= TELL_FIRST_WITHIN;
                (!named || waited).then(|| Due::Drain { within: until.since(now) })
            }
            Stage::Draining { until, .. } => Some(self.beat(now < *until && self.lease.renewal_due(now))),
            Stage::Leaving { .. } => Some(Due::Remove),
        }
    }

    fn beat(&self, renew: bool) -> Due {
        let granted = self.granted.is_some_and(|at| at >= self.lease.needs_grant_since());
        match (renew && self.lease.has_ticket(), granted) {
            (true, false) => Due::Grant,
            (renew, _) => Due::Beat { renew },
        }
    }

    /// Notes that the call is made, and gives the ticket for a renewal.
    pub(crate) fn called(&mut self, now: BootMs, due: Due) -> Option<Ticket> {
        debug_assert!(!self.calling, "two calls to {}", self.server.principal);
        self.calling = true;
        match due {
            Due::Beat { renew: true } => self.lease.give_back(self.granted?),
            Due::Start => {
                // The start may arrive late, and lives for one lease then.
                self.lease.start_sent(now.plus(START_WITHIN));
                None
            }
            _ => None,
        }
    }

    /// Begins to return it.
    pub(crate) fn drain(&mut self, now: BootMs, within: Duration, end: End) {
        self.since = now;
        self.next_at = now;
        let unstarted = matches!(self.stage, Stage::Recruiting { started: false, .. });
        if unstarted && !self.calling {
            return self.leave(now, end);
        }
        self.stage = Stage::Draining { told: false, until: now.plus(within), end };
    }

    fn leave(&mut self, now: BootMs, end: End) {
        self.next_at = now;
        self.stage = Stage::Leaving { until: now.plus(REMOVE_WITHIN), end };
    }

    /// What the passed time means.
    pub(crate) fn pass_time(&mut self, now: BootMs) -> Change {
        let over = self.lease.over(now);
        match self.stage.clone() {
            Stage::Adopting { expected: false } if over && !self.calling => return Change::Forget,
            Stage::Adopting { expected: true } | Stage::Serving if over => {
                self.leave(now, End::Lost("its lease was not renewed".into()));
            }
            Stage::Recruiting { .. } if now.since(self.since) >= READY_WITHIN => {
                let why = format!("not ready within {} s", READY_WITHIN.as_secs());
                self.drain(now, Duration::ZERO, End::NotStarted(why));
            }
            Stage::Draining { .. } if over && self.silent() => {
                self.leave(now, End::Lost("it did not answer to the end of its lease".into()));
            }
            Stage::Draining { end, .. } if over => self.leave(now, end),
            Stage::Leaving { until, end } if now >= until && !self.calling => {
                return Change::Gone { end, removed: false };
            }
            _ => {}
        }
        Change::None
    }

    /// What an answer means.
    pub(crate) fn answered(&mut self, now: BootMs, sent: BootMs, answer: Answer) -> Change {
        self.calling = false;
        match answer {
            Answer::Granted(Ok(())) => self.granted = Some(sent),
            Answer::Granted(Err(_)) => self.next_at = now.plus(RETRY_AFTER),
            Answer::Started(result) => self.started(now, sent, result),
            Answer::Drained(result) => {
                if let Stage::Draining { told, .. } = &mut self.stage {
                    *told = result.is_ok();
                }
                return self.beaten(now, sent, result);
            }
            Answer::Beat(result) => return self.beaten(now, sent, result),
            Answer::Removed(Err(_)) => self.next_at = now.plus(RETRY_AFTER),
            Answer::Removed(Ok(())) => {
                if let Stage::Leaving { end, .. } = &self.stage {
                    return Change::Gone { end: end.clone(), removed: true };
                }
            }
        }
        Change::None
    }

    /// Has the next report of a server in steady use arrive just before the sample that needs it.
    pub(crate) fn meet(&mut self, sent: BootMs, sample: BootMs) {
        let steady = matches!(self.stage, Stage::Primary | Stage::Serving) && self.failures == 0;
        let before = BootMs(sample.0.saturating_sub(BEAT_LEAD.as_millis() as u64));
        if steady && before > sent {
            self.next_at = self.next_at.min(before);
        }
    }

    fn started(&mut self, now: BootMs, sent: BootMs, result: Result<StartAnswer, Failure>) {
        match result {
            Ok(StartAnswer::Accepted(reply)) => {
                self.failures = 0;
                self.lease.ticket(reply.ticket, sent, now);
                if let Stage::Recruiting { started, ready, .. } = &mut self.stage {
                    (*started, *ready) = (true, reply.phase >= Phase::Ready);
                }
            }
            Ok(StartAnswer::Refused(refusal)) => self.leave(now, End::NotStarted(refusal.to_string())),
            Err(failure) => {
                self.failures += 1;
                self.next_at = now.plus(RETRY_AFTER);
                if self.silent() && matches!(self.stage, Stage::Recruiting { .. }) {
                    self.leave(now, End::NotStarted(failure.to_string()));
                }
            }
        }
    }

    fn beaten(&mut self, now: BootMs, sent: BootMs, result: Result<BeatAnswer, Failure>) -> Change {
        let renewed = matches!(&result, Ok(BeatAnswer::Running(reply)) if reply.renewed);
        let tried = self.lease.given_back();
        let renewed = self.lease.answered(renewed);
        match result {
            Err(failure) => {
                self.failures = self.failures.saturating_add(1);
                self.next_at = now.plus(RETRY_AFTER);
                let told = self.failures == SILENT_BEATS && !matches!(self.stage, Stage::Adopting { .. });
                if told { Change::Silent(failure.to_string()) } else { Change::None }
            }
            Ok(BeatAnswer::StaleEpoch { seen }) => {
                self.next_at = now.plus(RETRY_AFTER);
                self.stale(now, seen)
            }
            Ok(BeatAnswer::NotRunning) => {
                self.next_at = sent.plus(TABLE_EVERY);
                self.not_running(now)
            }
            Ok(BeatAnswer::Running(reply)) => {
                self.failures = 0;
                self.lease.ticket(reply.ticket, sent, now);
                self.report = Some((reply.report.sane(), now));
                let steady = matches!(self.stage, Stage::Primary | Stage::Serving);
                self.next_at = sent.plus(if steady { TABLE_EVERY } else { POLL_EVERY });
                let change = self.running(now, &reply, renewed);
                // The first renewal follows at once; one that was not accepted is tried again at leisure.
                if !tried && matches!(self.stage, Stage::Recruiting { ready: true, .. }) {
                    self.next_at = now;
                }
                change
            }
        }
    }

    fn stale(&mut self, now: BootMs, seen: Epoch) -> Change {
        match self.stage {
            Stage::Adopting { .. } => return Change::Stale(seen),
            Stage::Recruiting { .. } | Stage::Serving | Stage::Draining { .. } => {
                self.leave(now, End::Lost(format!("epoch {seen} is in charge there")));
            }
            Stage::Primary | Stage::Leaving { .. } => {}
        }
        Change::None
    }

    fn not_running(&mut self, now: BootMs) -> Change {
        match self.stage.clone() {
            Stage::Adopting { expected: false } => return Change::Forget,
            Stage::Draining { end, .. } => self.leave(now, end),
            Stage::Adopting { .. } | Stage::Recruiting { .. } | Stage::Serving => {
                self.leave(now, End::Lost("nothing runs there any more".into()));
            }
            Stage::Primary | Stage::Leaving { .. } => {}
        }
        Change::None
    }

    fn running(&mut self, now: BootMs, reply: &BeatReply, renewed: bool) -> Change {
        let ended = reply.phase == Phase::Ended;
        match &mut self.stage {
            Stage::Primary | Stage::Leaving { .. } => {}
            Stage::Adopting { expected } if ended && !*expected => return Change::Forget,
            Stage::Draining { end, .. } if ended => {
                let end = end.clone();
                self.leave(now, end);
            }
            _ if ended => self.leave(now, End::Lost("its run has ended".into())),
            Stage::Draining { .. } => {}
            stage if reply.phase == Phase::Draining => {
                *stage = Stage::Draining { told: true, until: now.plus(DRAIN_WITHIN), end: End::Drained };
                self.since = now;
                return Change::Withdrawn;
            }
            Stage::Adopting { .. } => {
                let ready = reply.phase >= Phase::Ready;
                self.stage = Stage::Recruiting { started: true, ready, adopted: true };
            }
            Stage::Recruiting { ready, adopted, .. } => {
                *ready = reply.phase >= Phase::Ready;
                if renewed && reply.phase == Phase::Serving {
                    let adopted = *adopted;
                    self.stage = Stage::Serving;
                    return Change::Serves { adopted };
                }
            }
            Stage::Serving if renewed => return Change::Renewed,
            Stage::Serving => {}
        }
        Change::None
    }
}
