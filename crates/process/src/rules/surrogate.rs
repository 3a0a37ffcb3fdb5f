//! One run of a service's server on a lent node: when it serves, and how it ends. It ends by this machine's boot
//! clock when nobody renews it. It never learns why the load daemon wants what it wants.

use crate::limits::{FENCE, MAX_LEASE};
use crate::model::{BeatReply, Phase, Report, Ticket};
use crate::rules::Admitted;
use std::time::Duration;
use terms::{BootMs, Epoch, ServiceName, UnixMs};

/// What happens to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The files can be read and the server answers its health check.
    Healthy,
    /// The server or its files cannot be had.
    Failed,
    /// The load daemon asks, and renews if it gives a ticket back.
    Beat {
        /// Its epoch.
        epoch: Epoch,
        /// The ticket of an earlier answer.
        ticket: Option<Ticket>,
        /// How long the lease is from the ticket's moment.
        lease: Duration,
    },
    /// The load daemon wants it to end.
    Drain {
        /// Its epoch.
        epoch: Epoch,
        /// How long what is in flight may take.
        within: Duration,
    },
    /// The owner wants the node back.
    Withdrawn {
        /// How long what is in flight may take.
        within: Duration,
    },
    /// A request that [`Surrogate::begin`] let in is over.
    Finished,
    /// Time has passed.
    Tick,
}

/// What the node does about it, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Open the files, start the server, check its health; then say `Healthy` or `Failed`.
    Prepare,
    /// Cut off the requests in flight: their clients resume elsewhere.
    CutOff,
    /// Stop the server and forget its open files, callbacks and rights.
    ForgetFiles,
    /// Remove the service's files from the cache.
    DropCache,
}

/// A message that was not obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Somebody with this greater epoch is in charge.
    StaleEpoch {
        /// The greatest epoch seen.
        seen: Epoch,
    },
}

/// What one step leads to. Actions stand also beside a refusal: time passes for every message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// What to do.
    pub actions: Vec<Action>,
    /// Whether the event's ticket renewed the lease.
    pub renewed: bool,
    /// Why the event was not obeyed.
    pub refused: Option<Refused>,
}

/// Why a request is not served here: the front answers 503 and "elsewhere".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotServing {
    /// Not yet.
    #[error("this server is still starting")]
    Starting,
    /// Too close to the end of its lease.
    #[error("this server's lease is running out and was not renewed")]
    Fenced,
    /// Not any more.
    #[error("this server is being drained")]
    Draining,
    /// Over.
    #[error("this server's lease is over")]
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    Active,
    Draining { until: BootMs },
    Ended,
}

/// The run of one service on this node.
#[derive(Debug, Clone)]
pub struct Surrogate {
    service: ServiceName,
    epoch: Epoch,
    started: BootMs,
    lease_end: BootMs,
    /// When the owner's loan ends: the run is over by then, drained before.
    loan_end: Option<BootMs>,
    keep_cache: bool,
    in_flight: u32,
    state: State,
}

impl Surrogate {
    /// Starts a run. It lives for one lease without serving; the first renewal lets it serve.
    pub fn start(now: BootMs, wall: UnixMs, admitted: &Admitted, lease: Duration) -> (Self, Vec<Action>) {
        let run = Self {
            service: admitted.service().clone(),
            epoch: admitted.epoch(),
            started: now,
            lease_end: now.plus(lease.min(MAX_LEASE)),
            loan_end: admitted.until().map(|until| now.plus(until.since(wall))),
            keep_cache: admitted.keep_cache(),
            in_flight: 0,
            state: State::Starting,
        };
        (run, vec![Action::Prepare])
    }

    /// Moves on. Each step first does what the passed time asks for.
    pub fn step(&mut self, now: BootMs, event: Event) -> Step {
        let mut step = Step::default();
        self.pass_time(now, &mut step.actions);
        match event {
            Event::Healthy if self.state == State::Starting => self.state = State::Ready,
            Event::Failed => self.end(&mut step.actions),
            Event::Beat { epoch, ticket, lease } => match self.heed(epoch) {
                Err(refused) => step.refused = Some(refused),
                Ok(()) => step.renewed = ticket.is_some_and(|ticket| self.renew(now, ticket, lease)),
            },
            Event::Drain { epoch, within } => match self.heed(epoch) {
                Err(refused) => step.refused = Some(refused),
                Ok(()) => self.drain(now, within, &mut step.actions),
            },
            Event::Withdrawn { within } => self.drain(now, within, &mut step.actions),
            Event::Finished => self.finished(&mut step.actions),
            Event::Healthy | Event::Tick => {}
        }
        step
    }

    /// Lets a request in, if this front may serve now. Each one let in ends with [`Event::Finished`].
    ///
    /// # Errors
    /// Why not. Time decides here too, whether or not a tick has come since.
    pub fn begin(&mut self, now: BootMs) -> Result<(), NotServing> {
        let refusal = match self.phase(now) {
            Phase::Serving => {
                self.in_flight += 1;
                return Ok(());
            }
            Phase::Starting | Phase::Ready => NotServing::Starting,
            Phase::Fenced => NotServing::Fenced,
            Phase::Draining => NotServing::Draining,
            Phase::Ended => NotServing::Ended,
        };
        Err(refusal)
    }

    /// Where it stands now, whether or not a tick has come since.
    pub fn phase(&self, now: BootMs) -> Phase {
        if now >= self.ends_at() {
            return Phase::Ended;
        }
        match self.state {
            State::Starting => Phase::Starting,
            State::Ready => Phase::Ready,
            State::Active if now >= self.fence_at() => Phase::Fenced,
            State::Active => Phase::Serving,
            State::Draining { .. } => Phase::Draining,
            State::Ended => Phase::Ended,
        }
    }

    /// The answer to a beat or a drain, after its step.
    pub fn reply(&self, now: BootMs, step: &Step, report: Report) -> BeatReply {
        let left = self.ends_at().since(now).as_millis();
        BeatReply {
            phase: self.phase(now),
            ticket: Ticket(now.0),
            renewed: step.renewed,
            lease_left_ms: u32::try_from(left).unwrap_or(u32::MAX),
            in_flight: self.in_flight,
            report,
        }
    }

    /// When to tick next at the latest; nothing once it has ended.
    pub fn wakes_at(&self) -> Option<BootMs> {
        let drain = self.loan_end.map(|end| end.minus(FENCE)).filter(|_| self.state == State::Active);
        (self.state != State::Ended).then(|| self.ends_at().min(drain.unwrap_or(BootMs(u64::MAX))))
    }

    /// The service.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The greatest epoch that it has obeyed.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    fn fence_at(&self) -> BootMs {
        let loan = self.loan_end.unwrap_or(BootMs(u64::MAX));
        self.lease_end.min(loan).minus(FENCE)
    }

    fn ends_at(&self) -> BootMs {
        let drained = match self.state {
            State::Draining { until } => until,
            _ => BootMs(u64::MAX),
        };
        self.lease_end.min(self.loan_end.unwrap_or(BootMs(u64::MAX))).min(drained)
    }

    fn pass_time(&mut self, now: BootMs, actions: &mut Vec<Action>) {
        if now >= self.ends_at() {
            self.end(actions);
        } else if let Some(loan_end) = self.loan_end
            && now >= loan_end.minus(FENCE)
            && matches!(self.state, State::Starting | State::Ready | State::Active)
        {
            self.drain(now, loan_end.since(now), actions);
        }
    }

    fn heed(&mut self, epoch: Epoch) -> Result<(), Refused> {
        if epoch < self.epoch {
            return Err(Refused::StaleEpoch { seen: self.epoch });
        }
        self.epoch = epoch;
        Ok(())
    }

    /// A lease counts from the ticket's moment. A ticket from before this run or from the future is none of ours.
    fn renew(&mut self, now: BootMs, ticket: Ticket, lease: Duration) -> bool {
        let issued = BootMs(ticket.0);
        let ours = self.started <= issued && issued <= now;
        if !ours || self.state == State::Ended {
            return false;
        }
        let end = issued.plus(lease.min(MAX_LEASE));
        if end <= now {
            return false;
        }
        if self.state == State::Ready {
            self.state = State::Active;
            self.lease_end = end;
        }
        self.lease_end = self.lease_end.max(end);
        true
    }

    fn drain(&mut self, now: BootMs, within: Duration, actions: &mut Vec<Action>) {
        match self.state {
            State::Ended => {}
            State::Draining { until } => self.state = State::Draining { until: until.min(now.plus(within)) },
            _ => self.state = State::Draining { until: now.plus(within) },
        }
        if self.in_flight == 0 {
            self.end(actions);
        }
    }

    fn finished(&mut self, actions: &mut Vec<Action>) {
        debug_assert!(self.in_flight > 0, "an end without a beginning");
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.in_flight == 0 && matches!(self.state, State::Draining { .. }) {
            self.end(actions);
        }
    }

    fn end(&mut self, actions: &mut Vec<Action>) {
        if self.state == State::Ended {
            return;
        }
        self.state = State::Ended;
        if self.in_flight > 0 {
            actions.push(Action::CutOff);
        }
        actions.push(Action::ForgetFiles);
        if !self.keep_cache {
            actions.push(Action::DropCache);
        }
    }
}

#[cfg(test)]
#[path = "surrogate_tests.rs"]
mod tests;
