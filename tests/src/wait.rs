//! Waiting for something to become true, with a deadline, by the boot clock.

use std::time::Duration;
use world::World;

/// How long anything may take before a test calls it hanging. Generous: no test fails because a machine is slow.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// Looks until there is something, or fails after [`DEADLINE`] with what was waited for.
///
/// # Panics
/// After the deadline.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let clock = World::real().clock;
    let end = clock.boot().plus(DEADLINE);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock.boot() < end, "in {} s this did not happen: {what}", DEADLINE.as_secs());
        std::thread::park_timeout(PAUSE);
    }
}
