//! Limits of the console: what a page may ask, and what one misbehaving program on this machine may cost.

use std::time::Duration;

/// Where the console listens unless that port is taken.
pub const DEFAULT_PORT: u16 = 8480;
/// Ports tried one after another from the first: count. Beyond it something else is wrong.
pub const PORTS_TRIED: u16 = 50;
/// History on the page: points of one second, so ten minutes.
pub const HISTORY_POINTS: usize = 600;
/// Events on the page: count.
pub const MAX_EVENTS: usize = 200;
/// Smart clients of one surge: count. All run on this machine, beside the nodes they load.
pub const MAX_SURGE_CLIENTS: u32 = 200;
/// Length of one surge: seconds. A forgotten surge ends by itself.
pub const MAX_SURGE_SECONDS: u32 = 600;
