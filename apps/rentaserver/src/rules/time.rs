//! The service's time: never goes back and never runs slower than the boot clock, whatever the wall clock does.
//! A step back of the wall clock would make new tables look old to every client.

use crate::model::Now;
use terms::UnixMs;

/// The clock that dates tables and rights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServiceTime {
    last: Now,
}

impl ServiceTime {
    pub(crate) fn new(now: Now) -> Self {
        Self { last: now }
    }

    pub(crate) fn at(&mut self, now: Now) -> UnixMs {
        let went_on = self.last.unix.plus(now.boot.since(self.last.boot));
        self.last = Now { boot: self.last.boot.max(now.boot), unix: went_on.max(now.unix) };
        self.last.unix
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use terms::BootMs;

    #[test]
    fn the_wall_clock_may_jump() {
        let now = |boot, unix| Now { boot: BootMs(boot), unix: UnixMs(unix) };
        let mut time = ServiceTime::new(now(10, 1_000));
        assert_eq!(time.at(now(20, 1_010)), UnixMs(1_010));
        assert_eq!(time.at(now(30, 500)), UnixMs(1_020), "a step back is not followed");
        assert_eq!(time.at(now(40, 510)), UnixMs(1_030));
        assert_eq!(time.at(now(50, 9_000)), UnixMs(9_000), "a step forward is");
        assert_eq!(time.at(now(60, 1_060)), UnixMs(9_010));
    }
}
