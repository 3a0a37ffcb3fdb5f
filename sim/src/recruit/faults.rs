//! What goes wrong in the world of recruiting. The seed chooses which kinds happen at all, and how often.

use super::event::Event;
use super::{HOME, WORLD, World, lent_node};
use crate::dice::Dice;
use crate::network::Weather;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    CutBoth,
    CutOneWay,
    CrashNode,
    PauseNode,
    CrashDaemon,
    PauseHome,
    TroubleAtHome,
    JumpWall,
    Surge,
    Calm,
    Withdraw,
}

const KINDS: [Kind; 11] = [
    Kind::CutBoth,
    Kind::CutOneWay,
    Kind::CrashNode,
    Kind::PauseNode,
    Kind::CrashDaemon,
    Kind::PauseHome,
    Kind::TroubleAtHome,
    Kind::JumpWall,
    Kind::Surge,
    Kind::Calm,
    Kind::Withdraw,
];
/// The longest cut or pause: longer than a lease. Milliseconds.
const LONGEST_MS: u64 = 16_000;
/// The furthest jump of a wall clock, and a usual correction: milliseconds.
const JUMPS_MS: [u64; 3] = [3_600_000, 5_000, 1_500];

/// The faults of a run.
pub(super) struct Faults {
    kinds: Vec<Kind>,
    every_ms: u64,
}

impl Faults {
    pub(super) fn thrown(dice: &Dice) -> Self {
        let always = |kind: &Kind| matches!(kind, Kind::Surge | Kind::Calm);
        let kinds = KINDS.into_iter().filter(|kind| dice.happens(400) || always(kind)).collect();
        Self { kinds, every_ms: dice.between(200, 4_000) }
    }

    /// Whether wall clocks stay where they are in this run.
    pub(super) fn walls_are_steady(&self) -> bool {
        !self.kinds.contains(&Kind::JumpWall)
    }
}

impl World {
    pub(super) fn fault(&mut self) {
        if self.healed {
            return;
        }
        self.scheduler.after(self.dice.between(1, 2 * self.faults.every_ms), WORLD, Event::Fault);
        self.counts.faults += 1;
        let kind = *self.dice.one_of(&self.faults.kinds);
        let index = usize::try_from(self.dice.below(self.lent.len() as u64)).unwrap_or(0);
        let longest = *self.dice.one_of(&[300, 3_000, LONGEST_MS]);
        let for_ms = self.dice.between(10, longest);
        self.record.note(self.scheduler.now(), || format!("FAULT {kind:?} node {index} {for_ms} ms"));
        self.strike(kind, index, for_ms);
    }

    fn strike(&mut self, kind: Kind, index: usize, for_ms: u64) {
        let (node, until) = (lent_node(index), self.scheduler.now() + for_ms);
        match kind {
            Kind::CutBoth => {
                self.network.cut(node, HOME, until);
                self.network.cut(HOME, node, until);
            }
            Kind::CutOneWay => {
                let (from, to) = if self.dice.happens(500) { (node, HOME) } else { (HOME, node) };
                self.network.cut(from, to, until);
            }
            Kind::CrashNode if self.lent[index].up => {
                self.lent[index].crash();
                self.scheduler.after(for_ms, node, Event::Restart);
            }
            Kind::CrashNode => {}
            Kind::PauseNode => self.scheduler.pause(node, for_ms),
            Kind::CrashDaemon => {
                self.home.crash_daemon();
                self.scheduler.after(for_ms, HOME, Event::DaemonStart);
            }
            Kind::PauseHome => self.scheduler.pause(HOME, for_ms),
            Kind::TroubleAtHome => self.home.trouble_permille = *self.dice.one_of(&[0, 50, 500, 1_000]),
            Kind::JumpWall => {
                let far = i64::try_from(*self.dice.one_of(&JUMPS_MS)).unwrap_or(0);
                let by = if self.dice.happens(500) { far } else { -far };
                if self.dice.happens(500) {
                    self.home.clock.jump_wall(by);
                } else {
                    self.lent[index].clock.jump_wall(by);
                }
            }
            Kind::Surge => self.load = *self.dice.one_of(&[12.0, 25.0, 60.0]),
            Kind::Calm => self.load = *self.dice.one_of(&[0.0, 0.5, 5.0]),
            Kind::Withdraw => self.lent[index].offered = self.dice.happens(500),
        }
    }

    /// From now on nothing goes wrong, and there is much to do.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        self.network.heal();
        self.network.weather = Weather::CALM;
        self.home.trouble_permille = 0;
        self.load = 25.0;
        for index in 0..self.lent.len() {
            self.lent[index].offered = true;
        }
    }
}
