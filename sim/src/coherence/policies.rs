//! Objects under other policies than the usual one, and what is promised of them: a copy with a time to live is no staler
//! than that, a log shows all that was acknowledged before it was opened though its appends recall nothing, and what is
//! read through an open handle under `strong` is never older than the last completed change.

use super::World;
use super::holder::ReadCall;
use std::collections::BTreeMap;
use terms::{BootMs, VolumePath};
use webfs::gate::Touched;
use webfs::model::{ObjectVersion, Policy};

/// The time to live of the object that has one: seconds.
const TTL_SECS: u32 = 2;
/// What rounding between a machine's clock and the true time may cost: milliseconds.
const ROUNDING_MS: u64 = 2;

/// The objects under other policies.
pub(super) const OBJECTS: [&str; 3] = ["live", "log", "strong"];

/// The policy of an object: fixed.
pub(super) fn policy(object: &VolumePath) -> Policy {
    match object.as_str() {
        "live" => Policy::Ttl(TTL_SECS),
        "log" => Policy::Log,
        "strong" => Policy::Strong,
        _ => Policy::Cto,
    }
}

/// What a change recalls of all that it touches: an append to a log nothing.
pub(super) fn recalled(touched: &Touched) -> Touched {
    let objects = touched.objects.iter().filter(|object| policy(object) != Policy::Log);
    Touched { objects: objects.cloned().collect(), subtrees: touched.subtrees.clone() }
}

/// When which version of an object was committed: true milliseconds.
#[derive(Default)]
pub(super) struct History(BTreeMap<VolumePath, Vec<(u64, ObjectVersion)>>);

impl History {
    pub(super) fn committed(&mut self, object: &VolumePath, at: u64, version: ObjectVersion) {
        if policy(object).kept_unasked().is_some() {
            self.0.entry(object.clone()).or_default().push((at, version));
        }
    }

    fn version_at(&self, object: &VolumePath, at: u64) -> ObjectVersion {
        let all = self.0.get(object).map(Vec::as_slice).unwrap_or_default();
        all[..all.partition_point(|(committed, _)| *committed <= at)]
            .last()
            .map(|(_, version)| *version)
            .unwrap_or_default()
    }
}

impl World {
    /// What a read that begins now must show, or something later.
    pub(super) fn floor(&self, index: usize, object: &VolumePath) -> ObjectVersion {
        let Some(kept) = policy(object).kept_unasked() else { return self.home.store.version(object) };
        let (clock, now) = (self.holders[index].clock, self.scheduler.now());
        let kept_ms = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
        let since = clock.true_time(BootMs(clock.boot(now).0.saturating_sub(kept_ms)));
        self.home.store.history.version_at(object, since.saturating_sub(ROUNDING_MS))
    }

    /// A read was served: under `strong` through the handle that is open, if that is still what it was.
    pub(super) fn served(&mut self, index: usize, call: &ReadCall, version: ObjectVersion) {
        if policy(&call.object) != Policy::Strong {
            return;
        }
        let (checked, floor) = (self.rules.checks.strong_reads, call.floor);
        let Some(process) = &mut self.holders[index].process else { return };
        let handle = *process.handle.get_or_insert(version);
        if handle == version {
            self.counts.handle_reads += 1;
        } else if checked {
            // The reader is told that it was replaced, and opens it again.
            process.handle = Some(version);
            self.counts.handles_replaced += 1;
        }
        if handle < floor && (handle == version || !checked) {
            self.violated(format!(
                "holder {index} read {handle} through an open handle, {floor} was committed before the read began"
            ));
        }
    }
}
