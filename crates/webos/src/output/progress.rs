//! A progress bar on a terminal for what takes longer than a second; nothing otherwise.

use super::text::shown;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;
use terms::BootMs;
use world::World;

/// What ends sooner shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// Redraws per second: often enough to look alive, seldom enough to cost nothing.
const DRAWS_PER_SECOND: u8 = 10;

/// One bar. Dropping it clears its line.
pub struct Progress {
    bar: ProgressBar,
    what: String,
    world: World,
    since: BootMs,
    /// Not on a terminal, or drawn already.
    settled: bool,
}

impl Progress {
    pub(super) fn new(world: World, wanted: bool, what: &str, total: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = match total {
            Some(_) => "{msg} {bar:24} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
            None => "{msg} {spinner} {binary_bytes} {binary_bytes_per_sec} {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let what = shown(what).into_owned();
        bar.set_message(what.clone());
        let since = world.clock.boot();
        Self { bar, what, world, since, settled: !wanted }
    }

    /// So many bytes are to be done, as it turns out, and so many of them are done already.
    pub fn begin(&mut self, total: u64, done: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.reset_eta();
    }

    /// So many bytes more are done.
    pub fn advance(&mut self, bytes: u64) {
        self.bar.inc(bytes);
        self.show();
    }

    /// Whether nothing comes for now.
    pub fn waits(&mut self, waits: bool) {
        self.bar.set_message(if waits { format!("{} (waiting)", self.what) } else { self.what.clone() });
        self.show();
    }

    /// Prints above the bar.
    pub fn beside(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    fn show(&mut self) {
        if !self.settled && self.world.clock.boot().since(self.since) >= PATIENCE {
            self.settled = true;
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND));
            self.bar.tick();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
