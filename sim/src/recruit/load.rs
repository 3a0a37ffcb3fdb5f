//! The load of this world, by the operational laws: so many requests in flight, spread evenly over the servers
//! that serve; each takes a usual server 20 ms.

use super::World;
use process::model::{BeatAnswer, BeatReply, Phase, Report, Ticket};

const SERVICE_MS: f64 = 20.0;

impl World {
    fn share(&self) -> f64 {
        let true_ms = self.scheduler.now();
        let serving =
            self.lent.iter().filter(|node| node.up && node.phase(true_ms) == Some(Phase::Serving)).count();
        #[allow(clippy::cast_precision_loss)] // a handful
        let servers = 1.0 + serving as f64;
        self.load / servers
    }

    fn report(&self, share: f64) -> Report {
        let busy = share.min(1.0);
        Report {
            inflight: share,
            rps: busy * 1000.0 / SERVICE_MS,
            latency_ms: SERVICE_MS * share.max(1.0),
            bytes_per_s: busy * 1e7,
            busy: Some(busy),
            ..Report::default()
        }
    }

    pub(super) fn report_of_home(&self) -> Report {
        self.report(self.share())
    }

    pub(super) fn report_of(&self, index: usize) -> Report {
        let serving = self.lent[index].phase(self.scheduler.now()) == Some(Phase::Serving);
        if serving { self.report(self.share()) } else { Report::default() }
    }
}

pub(super) fn primary_answer(report: Report) -> BeatAnswer {
    BeatAnswer::Running(BeatReply {
        phase: Phase::Serving,
        ticket: Ticket(0),
        renewed: false,
        lease_left_ms: 0,
        in_flight: 0,
        report,
    })
}
