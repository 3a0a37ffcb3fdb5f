//! Limits of a replica: each with its unit, its reason, and what its user sees when it is hit.

use std::time::Duration;

/// Opened objects kept in memory: bytes, roughly. Beyond, the least used are asked for again.
pub const HELD_BYTES: u64 = 64 << 20;
/// Verified blocks kept in memory: bytes. Hot files are served without disk or hashing.
pub const HOT_BLOCK_BYTES: u64 = 64 << 20;
/// Requests that wait for the owner of a replica: count. Callers beyond wait.
pub const REPLICA_QUEUE: usize = 1024;
/// Opens at the home at once: count. Others wait.
pub const OPENS_IN_FLIGHT: usize = 256;
/// Blocks fetched from the home at once: count. 16 MiB fill 1 Gbit/s at 100 ms. Others wait.
pub const FETCHES_IN_FLIGHT: usize = 16;
/// Blocks on their way over one connection before a further one is used: count. So who reads block after block makes no
/// more connections.
pub const FETCHES_A_LANE: usize = FETCHES_IN_FLIGHT / wire::limits::BULK_LANES as usize;
/// From an open to its answer. Then the reader is told that the home cannot be reached.
pub const OPEN_DEADLINE: Duration = Duration::from_secs(5);
/// From asking for a block to having it.
pub const BLOCK_DEADLINE: Duration = Duration::from_secs(20);
/// Between two attempts to reach the home: at first, and at most. Doubled each time, with a random part.
pub const RETRY_FIRST: Duration = Duration::from_millis(100);
/// See [`RETRY_FIRST`].
pub const RETRY_MOST: Duration = Duration::from_secs(2);
/// How long closing a replica waits for the home to take its leave.
pub const LEAVE_DEADLINE: Duration = Duration::from_secs(1);

const _: () = assert!(FETCHES_A_LANE > 0);
const _: () = assert!(RETRY_FIRST.as_millis() < RETRY_MOST.as_millis());
