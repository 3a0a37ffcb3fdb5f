//! What the daemon knows of one surrogate's lease, counted on its own clock: until when it surely holds, and when
//! it is surely over. A renewal whose answer is lost moves only the second.

use client::models::Ticket;
use client::models::lending::{DRIFT_ALLOWANCE, FENCE, LEASE, RENEW_EVERY};
use terms::BootMs;

#[derive(Debug, Clone, Copy)]
struct Held {
    ticket: Ticket,
    /// The surrogate issued the ticket between these two moments of ours.
    asked: BootMs,
    received: BootMs,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    newest: Option<Held>,
    /// The ticket that the call in flight gives back.
    sent: Option<Held>,
    holds_until: BootMs,
    over_at: BootMs,
}

impl Lease {
    /// A lease that holds for nobody and is over at the latest then.
    pub(crate) fn over_by(over_at: BootMs) -> Self {
        Self { newest: None, sent: None, holds_until: BootMs(0), over_at }
    }

    /// A start was sent that may arrive until then, and lives for one lease from its arrival.
    pub(crate) fn start_sent(&mut self, arrives_by: BootMs) {
        self.over_at = self.over_at.max(arrives_by.plus(LEASE).plus(DRIFT_ALLOWANCE));
    }

    /// An answer brought a ticket.
    pub(crate) fn ticket(&mut self, ticket: Ticket, asked: BootMs, received: BootMs) {
        self.newest = Some(Held { ticket, asked, received });
    }

    /// The ticket to give back now, if the group's membership was extended after the ticket came: so the right to
    /// read never ends before the lease.
    pub(crate) fn give_back(&mut self, granted: BootMs) -> Option<Ticket> {
        let held = self.newest.filter(|held| granted >= held.received)?;
        self.over_at = self.over_at.max(held.received.plus(LEASE).plus(DRIFT_ALLOWANCE));
        self.sent = Some(held);
        Some(held.ticket)
    }

    /// The call in flight ended. The ticket renewed the lease if the surrogate says so.
    pub(crate) fn answered(&mut self, renewed: bool) -> bool {
        let held = self.sent.take().filter(|_| renewed);
        if let Some(held) = held {
            self.holds_until = self.holds_until.max(held.asked.plus(LEASE).minus(DRIFT_ALLOWANCE));
        }
        held.is_some()
    }

    /// Whether the call in flight gives a ticket back.
    pub(crate) fn given_back(&self) -> bool {
        self.sent.is_some()
    }

    pub(crate) fn has_ticket(&self) -> bool {
        self.newest.is_some()
    }

    /// When a grant is old for the newest ticket.
    pub(crate) fn needs_grant_since(&self) -> BootMs {
        self.newest.map_or(BootMs(0), |held| held.received)
    }

    /// A third of the lease has gone since it was surely granted.
    pub(crate) fn renewal_due(&self, now: BootMs) -> bool {
        self.holds_until.since(now) <= LEASE - RENEW_EVERY
    }

    /// How long the surrogate is guaranteed to take requests.
    pub(crate) fn active_for(&self, now: BootMs) -> std::time::Duration {
        self.holds_until.minus(FENCE).since(now)
    }

    /// Whether the surrogate itself must have ended.
    pub(crate) fn over(&self, now: BootMs) -> bool {
        now >= self.over_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_answer_lost_moves_only_the_end() {
        let mut lease = Lease::over_by(BootMs(0));
        lease.ticket(Ticket(77), BootMs(1_000), BootMs(1_200));
        assert_eq!(lease.give_back(BootMs(1_199)), None, "the group first");
        assert_eq!(lease.give_back(BootMs(1_250)), Some(Ticket(77)));
        assert!(!lease.answered(false));
        assert_eq!(lease.active_for(BootMs(1_300)), Duration::ZERO);
        assert!(!lease.over(BootMs(11_299)) && lease.over(BootMs(11_300)));

        lease.give_back(BootMs(1_250));
        assert!(lease.answered(true));
        let active = lease.active_for(BootMs(1_300));
        assert_eq!(active, LEASE - FENCE - DRIFT_ALLOWANCE - Duration::from_millis(300));
        assert!(!lease.answered(true), "one answer for one call");
    }

    #[test]
    fn renewals_come_at_a_third() {
        let mut lease = Lease::over_by(BootMs(0));
        assert!(lease.renewal_due(BootMs(1_000)));
        lease.ticket(Ticket(1), BootMs(1_000), BootMs(1_000));
        lease.give_back(BootMs(1_000));
        lease.answered(true);
        assert!(!lease.renewal_due(BootMs(1_100)));
        assert!(lease.renewal_due(BootMs(1_000 + 3_333)));
    }
}
