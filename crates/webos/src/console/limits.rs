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
/// Connections at a time: count. A browser opens six a page; beyond the limit new ones are closed unread.
pub const MAX_CONNECTIONS: usize = 64;
/// Event streams at a time: count. Each costs a snapshot a second; beyond the limit the answer is 429.
pub const MAX_STREAMS: usize = 16;
/// A request's line and headers together: bytes. Beyond it the answer is 431 and the connection ends.
pub const MAX_HEAD_BYTES: usize = 16 << 10;
/// Headers of a request: count. Beyond it the answer is 431 and the connection ends.
pub const MAX_HEADERS: usize = 64;
/// A request's body: bytes; the largest that makes sense has under 64. Beyond it the answer is 413.
pub const MAX_BODY_BYTES: usize = 4 << 10;
/// How long a request's line and headers may take, from the moment the connection is idle.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How long a request's body may take. Beyond it the answer is 504.
pub const BODY_DEADLINE: Duration = Duration::from_secs(5);
/// How long killing, reviving and the like may take. Beyond it the answer is 504; the action may still end well.
pub const ACTION_DEADLINE: Duration = Duration::from_secs(30);
/// From one `state` event to the next.
pub const STATE_EVERY: Duration = Duration::from_secs(1);
/// How long a page may leave its event stream unread before its connection is closed.
pub const STREAM_STALL: Duration = Duration::from_secs(20);
/// Messages that wait for one page: count.
pub const STREAM_QUEUE: usize = 8;
/// Happenings that wait for a lagging page: count. What overflows comes with the next `state`.
pub const EVENT_QUEUE: usize = 64;
/// How long open requests may take to end when the console stops.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(2);
/// Rest after a failed accept (no file descriptors left, say), so that failing does not spin.
pub const ACCEPT_REST: Duration = Duration::from_millis(100);
/// The token of one start: random bytes, written as base64url.
pub const TOKEN_BYTES: usize = 32;

const _: () = assert!(MAX_STREAMS * 2 <= MAX_CONNECTIONS, "streams leave room for requests");
const _: () = assert!(MAX_HEAD_BYTES >= 8192, "the least that hyper takes");
