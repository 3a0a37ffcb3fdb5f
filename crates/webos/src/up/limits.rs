//! Limits and times of the local world.

use std::time::Duration;

/// Files in the followed folder: count. Beyond it `up` says so and stops; a site has some hundreds.
pub const MAX_FILES: usize = 100_000;
/// Files copied at the same time: count. Hides the latency of a commit, bounds memory.
pub const COPIES_AT_ONCE: usize = 8;
/// What is read at a time from a file that is copied in: bytes.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Changes of the followed folder that wait to be looked at: batches. When full, everything is looked at anew.
pub const CHANGE_QUEUE: usize = 256;
/// Changed paths that are looked at one by one: count. More of them cost as much as looking at everything.
pub const MAX_CHANGED_PATHS: usize = 1024;
/// How long a change waits for others of the same save. Far below the second in which it has to be served.
pub const DEBOUNCE: Duration = Duration::from_millis(100);
/// How long a file that is being written without being closed has to be quiet before it is copied.
pub const QUIET: Duration = Duration::from_millis(500);
/// How often the followed folder itself is checked (it may have been replaced by another of its name), and what
/// failed is tried again.
pub const ROOT_CHECK: Duration = Duration::from_secs(1);
/// How often everything is looked at although nothing was reported: finds what the system does not report.
pub const RESCAN: Duration = Duration::from_secs(30);
/// How often everything is looked at when the system reports no changes at all.
pub const RESCAN_UNWATCHED: Duration = Duration::from_secs(1);

/// How long a node may take from its start until it is ready. A home after a crash waits for recorded leases.
pub const READY_WITHIN: Duration = Duration::from_secs(25);
/// How long a node has to end when it is asked to; then it is killed.
pub const END_WITHIN: Duration = Duration::from_secs(5);
/// How long `webos down` waits for `webos up` to end: its nodes' time and some of its own.
pub const DOWN_WITHIN: Duration = Duration::from_secs(15);
/// A line of a node's standard output: bytes. A longer one is left out.
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// Messages that wait for the stage: count. Nodes that talk more wait.
pub const INBOX: usize = 1024;
/// A node's log: bytes. When it is longer it begins anew, so that a world can run for months.
pub const MAX_LOG_BYTES: u64 = 10 << 20;
/// Lines of a node's log that are shown when it does not start: count.
pub const LOG_LINES: usize = 8;
/// Attempts to start a node when another program takes its port in between: count.
pub const START_ATTEMPTS: u32 = 3;

/// How often each node is asked how it stands: what the console shows is at most so old.
pub const POLL_EVERY: Duration = Duration::from_millis(250);
/// How often a point is added to the history.
pub const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// A node that takes longer to say how it stands counts as down. More than a loaded machine's worst second.
pub const POLL_DEADLINE: Duration = Duration::from_secs(3);

/// Smallest and greatest file that a surge asks for: bytes. Smaller ones tell nothing of a link; a greater one
/// would fill it alone.
pub const SURGE_FILE_BYTES: std::ops::RangeInclusive<u64> = 16 << 10..=1 << 20;
/// Files that a surge chooses among: count.
pub const MAX_SURGE_FILES: usize = 1000;
/// How long a client of a surge waits after a failure: a closed loop of failures would only burn the processor.
pub const SURGE_REST: Duration = Duration::from_millis(200);
/// How long a client of a surge looks for a server that answers before it counts a failure.
pub const SURGE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a client of a surge waits for one file.
pub const SURGE_DEADLINE: Duration = Duration::from_secs(60);

/// The mean time to answer that the service keeps by borrowing servers: milliseconds.
pub const GOAL_MS: u32 = 200;
/// What each node of the local world lends: thousandths of a core, and bytes.
pub const LENT_CPU_MILLI: u32 = 1000;
/// See [`LENT_CPU_MILLI`].
pub const LENT_MEMORY_BYTES: u64 = 512 << 20;

/// The large file of the sample site: bytes.
pub const SAMPLE_BYTES: u64 = 64 << 20;

const _: () = assert!(QUIET.as_millis() < ROOT_CHECK.as_millis(), "the check's tick begins the waiting anew");
const _: () = assert!(DEBOUNCE.as_millis() * 5 <= 1000, "a saved file is served within a second");
const _: () = assert!(END_WITHIN.as_secs() < DOWN_WITHIN.as_secs());

/// How long the console's questions about rights wait for the home.
pub const RIGHTS_PATIENCE: Duration = Duration::from_secs(3);
/// Audit records on the console, the newest of all nodes: count.
pub const AUDIT_SHOWN: usize = 50;
/// Members of the realm on the console: count.
pub const MEMBERS_SHOWN: usize = 200;
/// Transfer certificates on the console, those that end first: count.
pub const TRANSFERS_SHOWN: usize = 200;
