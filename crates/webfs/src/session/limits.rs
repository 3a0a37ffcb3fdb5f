//! Limits of the session stream and of opens: each with its unit, its reason, and what the other side sees.

use std::time::Duration;

/// From the start of a stream to its first frame. Later, the home ends the stream.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(5);
/// Session streams of one volume, greeted or not: count. Further ones end at once.
pub const MAX_STREAMS: usize = crate::rules::limits::MAX_SESSIONS + 1000;
/// Frames that wait to be sent on one stream: count. A reader so slow that more wait loses its stream.
pub const STREAM_QUEUE: usize = 256;
/// Events that wait for the owner of a volume's leases: count. Whoever brings more waits.
pub const HOME_QUEUE: usize = 4096;
/// How long a clean stop waits for holders to leave. Those who do not stay recorded, and the restart waits for them.
pub const STOP_DEADLINE: Duration = Duration::from_secs(1);
/// Content that travels within the answer to an open: bytes. Saves the second round trip of a small file.
pub const OPEN_INLINE_BYTES: u64 = 64 << 10;
/// The body of an open: bytes. A path and three numbers.
pub const MAX_OPEN_BYTES: usize = 8 << 10;
/// The answer to an open: bytes. A full page of a listing with long names, or a manifest with inline content.
pub const MAX_OPEN_ANSWER_BYTES: usize = 4 << 20;

const _: () = assert!(
    HOME_QUEUE > 2 * crate::rules::limits::MAX_PENDING_CHANGES,
    "changes reserve the place of their end, and must leave room for the acknowledgements that they wait for"
);
