//! Which core a process runs on, and how much of it it used: the server under test has one for itself.

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::time::Duration;

/// While it lives, the servers have the first core and this process the others; then this process has them all.
pub struct Apart {
    all: CpuSet,
}

impl Apart {
    /// Puts every thread of the servers on the first core. None, and nothing moved, where there is one core only.
    pub fn new(servers: &[u32]) -> Result<Option<Self>> {
        let all = sched_getaffinity(None).context("read the cores of this process")?;
        let Some(first) = (0..CpuSet::MAX_CPU).find(|core| all.is_set(*core)) else { return Ok(None) };
        if all.count() < 2 {
            return Ok(None);
        }
        let (mut one, mut others) = (CpuSet::new(), all);
        one.set(first);
        others.unset(first);
        for server in servers {
            pin(*server, &one)?;
        }
        pin(std::process::id(), &others)?;
        Ok(Some(Self { all }))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // It could be done a moment ago, so it can be now; if not, the next rows are a little slower.
        let _ = pin(std::process::id(), &self.all);
    }
}

/// Every thread of the process on these cores.
fn pin(process: u32, cores: &CpuSet) -> Result<()> {
    for thread in std::fs::read_dir(format!("/proc/{process}/task")).context("read a server's threads")? {
        let id = thread?.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
        let id = id.context("a thread's id is no number")?;
        sched_setaffinity(Some(id), cores).with_context(|| format!("move thread {id:?}"))?;
    }
    Ok(())
}

/// Processor time that the process has used.
pub fn used(process: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).context("read a server's times")?;
    // The second field is the name in parentheses and may hold anything; user and system time are the 14th and 15th.
    let (_, rest) = text.rsplit_once(')').context("a server's times are not as expected")?;
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}
