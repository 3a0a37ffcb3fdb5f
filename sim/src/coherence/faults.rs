//! What goes wrong in the world of leases. The seed chooses which kinds happen at all, and how often.

use super::event::Event;
use super::{FIRST_HOLDER, HOME, WORLD, World};
use crate::dice::Dice;
use crate::network::Weather;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    CutBoth,
    CutOneWay,
    BreakStreams,
    PauseHolder,
    PauseHome,
    CrashHolder,
    CrashHome,
    StopHome,
    Leave,
    Evict,
    Expel,
    JumpWall,
}

const KINDS: [Kind; 12] = [
    Kind::CutBoth,
    Kind::CutOneWay,
    Kind::BreakStreams,
    Kind::PauseHolder,
    Kind::PauseHome,
    Kind::CrashHolder,
    Kind::CrashHome,
    Kind::StopHome,
    Kind::Leave,
    Kind::Evict,
    Kind::Expel,
    Kind::JumpWall,
];
/// The longest cut or pause: longer than a lease on any clock. Milliseconds.
const LONGEST_MS: u64 = 14_000;

/// The faults of a run.
pub(super) struct Faults {
    kinds: Vec<Kind>,
    every_ms: u64,
}

impl Faults {
    pub(super) fn thrown(dice: &Dice) -> Self {
        let kinds = KINDS.into_iter().filter(|_| dice.happens(400)).collect();
        Self { kinds, every_ms: dice.between(100, 4_000) }
    }
}

impl World {
    pub(super) fn fault(&mut self) {
        if self.healed {
            return;
        }
        self.scheduler.after(self.dice.between(1, 2 * self.faults.every_ms), WORLD, Event::Fault);
        if self.faults.kinds.is_empty() {
            return;
        }
        self.counts.faults += 1;
        let kind = *self.dice.one_of(&self.faults.kinds);
        let index = usize::try_from(self.dice.below(self.holders.len() as u64)).unwrap_or(0);
        let node = FIRST_HOLDER + index;
        let longest = *self.dice.one_of(&[300, 3_000, LONGEST_MS]);
        let for_ms = self.dice.between(10, longest);
        self.record.note(self.scheduler.now(), || format!("FAULT {kind:?} holder {index} {for_ms} ms"));
        self.strike(kind, index, node, for_ms);
    }

    fn strike(&mut self, kind: Kind, index: usize, node: usize, for_ms: u64) {
        let until = self.scheduler.now() + for_ms;
        match kind {
            Kind::CutBoth => {
                self.network.cut(node, HOME, until);
                self.network.cut(HOME, node, until);
            }
            Kind::CutOneWay if self.dice.happens(500) => self.network.cut(node, HOME, until),
            Kind::CutOneWay => self.network.cut(HOME, node, until),
            Kind::BreakStreams => {
                for (stream, _) in self.network.break_all(node) {
                    self.lose_stream(index, stream);
                }
            }
            Kind::PauseHolder => self.scheduler.pause(node, for_ms),
            Kind::PauseHome => {
                let before = self.scheduler.paused_for(HOME);
                self.scheduler.pause(HOME, for_ms);
                self.home.paused_ms += self.scheduler.paused_for(HOME) - before;
            }
            Kind::CrashHolder => self.end_holder(index),
            Kind::CrashHome if self.home.process.is_some() => self.end_home(),
            Kind::StopHome if self.home.process.is_some() => self.stop_home(),
            Kind::CrashHome | Kind::StopHome => {}
            Kind::Leave => self.leave(index),
            Kind::Evict => self.evict(index),
            Kind::Expel => self.expel(index),
            Kind::JumpWall => {
                let by_ms = i64::try_from(self.dice.below(7_200_000)).unwrap_or(0) - 3_600_000;
                self.home.clock.jump_wall(by_ms);
                self.holders[index].clock.jump_wall(-by_ms);
            }
        }
    }

    pub(super) fn heal(&mut self) {
        self.healed = true;
        self.network.heal();
        self.network.weather = Weather::CALM;
    }
}
