//! Work under advisory locks: a holder locks an object, reads the number in it, writes the next one, and unlocks.
//! Checked at the home: each number that is committed is one more than the last.

use super::event::{Event, LockedWrite};
use super::{FIRST_HOLDER, HOME, World};
use terms::VolumePath;
use webfs::model::ObjectVersion;
use webfs::rules::{HolderEvent, LockEpoch, LockMode, LockWish};

/// A write that is not answered by then is given up, and the lock with it: true milliseconds.
const ANSWER_MS: u64 = 2_000;

/// What a holder does under a lock.
pub(super) struct LockWork {
    object: VolumePath,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting { waiter: u64 },
    Reading { waiter: u64, epoch: LockEpoch },
    Writing { epoch: LockEpoch, value: u64 },
}

impl World {
    /// Somebody at a holder begins work under a lock.
    pub(super) fn begin_work(&mut self, index: usize) {
        let node = FIRST_HOLDER + index;
        self.scheduler.after(self.dice.between(1, 2 * self.lock_every_ms), node, Event::Work);
        let object = self.dice.one_of(&self.objects[..2]).clone();
        let wait = std::time::Duration::from_millis(*self.dice.one_of(&[0, 300, 3_000, 15_000]));
        let Some(process) = &mut self.holders[index].process else { return };
        if process.work.is_some() {
            return;
        }
        process.next_waiter += 1;
        let waiter = process.next_waiter;
        process.work = Some(LockWork { object: object.clone(), stage: Stage::Waiting { waiter } });
        let wish = LockWish::whole(object, LockMode::Exclusive, 1);
        self.holder_step(index, HolderEvent::Lock { waiter, wish, wait });
        if self.dice.happens(30) {
            let event = Event::CancelLock { life: self.holders[index].life, waiter };
            self.scheduler.after(self.dice.below(3_000), node, event);
        }
    }

    pub(super) fn cancel_lock(&mut self, index: usize, waiter: u64) {
        let Some(process) = &mut self.holders[index].process else { return };
        if process.work.take_if(|work| work.stage == Stage::Waiting { waiter }).is_some() {
            self.holder_step(index, HolderEvent::CancelLock { waiter });
        }
    }

    pub(super) fn locked(&mut self, index: usize, waiter: u64, epoch: LockEpoch) {
        let Some(process) = &mut self.holders[index].process else { return };
        let Some(work) = process.work.as_mut().filter(|work| work.stage == Stage::Waiting { waiter }) else {
            return self.holder_step(index, HolderEvent::Unlock { epoch });
        };
        work.stage = Stage::Reading { waiter, epoch };
        let object = work.object.clone();
        self.counts.locks += 1;
        self.read_as(index, waiter, object);
    }

    pub(super) fn not_locked(&mut self, index: usize, waiter: u64) {
        let Some(process) = &mut self.holders[index].process else { return };
        process.work.take_if(|work| work.stage == Stage::Waiting { waiter });
    }

    /// Whoever is told that the lock is lost does not write.
    pub(super) fn lock_lost(&mut self, index: usize, lost: LockEpoch) {
        self.counts.locks_lost += 1;
        let Some(process) = &mut self.holders[index].process else { return };
        process.work.take_if(|work| match work.stage {
            Stage::Waiting { .. } => false,
            Stage::Reading { epoch, .. } | Stage::Writing { epoch, .. } => epoch == lost,
        });
    }

    /// The number was read, or could not be.
    pub(super) fn read_under_lock(&mut self, index: usize, by: u64, version: Option<ObjectVersion>) {
        let life = self.holders[index].life;
        let Some(process) = &mut self.holders[index].process else { return };
        let Some(work) = &mut process.work else { return };
        let Stage::Reading { waiter, epoch } = work.stage else { return };
        if waiter != by {
            return;
        }
        let Some(version) = version else {
            process.work = None;
            return self.holder_step(index, HolderEvent::Unlock { epoch });
        };
        let value = self.home.store.number(&work.object, version) + 1;
        work.stage = Stage::Writing { epoch, value };
        let (operation, object) = (waiter, work.object.clone());
        let longest = if self.healed { 50 } else { *self.dice.one_of(&[50, 1_000, 14_000]) };
        let write = LockedWrite { holder: index, life, operation, epoch, object, value };
        self.scheduler.after(self.dice.below(longest), FIRST_HOLDER + index, Event::SendWrite(write));
    }

    pub(super) fn send_write(&mut self, index: usize, write: LockedWrite) {
        let node = FIRST_HOLDER + index;
        let stage = Stage::Writing { epoch: write.epoch, value: write.value };
        let process = self.holders[index].process.as_ref();
        if !process.and_then(|process| process.work.as_ref()).is_some_and(|work| work.stage == stage) {
            return;
        }
        let (life, epoch) = (write.life, write.epoch);
        for at in self.network.message(&self.dice, self.scheduler.now(), node, HOME) {
            self.scheduler.at(at, HOME, Event::Writes(write.clone()));
        }
        self.scheduler.after(ANSWER_MS, node, Event::Written { life, epoch, done: false });
    }

    /// The write was answered, or given up: the lock goes back.
    pub(super) fn written(&mut self, index: usize, answered: LockEpoch, done: bool) {
        let healed = self.healed;
        let Some(process) = &mut self.holders[index].process else { return };
        let ours = |work: &mut LockWork| matches!(work.stage, Stage::Writing { epoch, .. } if epoch == answered);
        if process.work.take_if(ours).is_some() {
            process.written_since_heal += u64::from(healed && done);
            self.holder_step(index, HolderEvent::Unlock { epoch: answered });
        }
    }

    /// A write under a lock has ended at the home.
    pub(super) fn answer_write(&mut self, write: &LockedWrite, done: bool) {
        let to = FIRST_HOLDER + write.holder;
        for at in self.network.message(&self.dice, self.scheduler.now(), HOME, to) {
            let event = Event::Written { life: write.life, epoch: write.epoch, done };
            self.scheduler.at(at, to, event);
        }
    }

    /// Puts the number in its place, once.
    pub(super) fn commit_number(&mut self, write: &LockedWrite) -> bool {
        let store = &mut self.home.store;
        if !store.operations.insert((write.holder, write.life, write.operation)) {
            return false;
        }
        let last = store.numbers.insert(write.object.clone(), write.value).unwrap_or_default();
        self.counts.numbers += 1;
        if write.value != last + 1 {
            let LockedWrite { holder, epoch, object, value, .. } = write;
            self.violated(format!(
                "holder {holder} wrote {value} after {last} into {object} under the lock {epoch}: work was lost"
            ));
        }
        true
    }
}
