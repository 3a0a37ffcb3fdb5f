//! Limits of the client side.

use std::time::Duration;

/// The body of a control answer: bytes.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;
/// A listing: bytes. Above it the directory has to be read in pages, which comes later.
pub const MAX_LISTING_BYTES: usize = 64 << 20;
/// Entries of one directory that are listed: count. About 300 MiB.
pub const MAX_LISTED: usize = 1_000_000;
/// How long a learned volume record is used before the name server is asked again.
pub const RECORD_LIFE: Duration = Duration::from_secs(30);
/// Volume records kept: count.
pub const MAX_RECORDS: usize = 1024;
/// An invitation line read from standard input: bytes.
pub const MAX_INVITATION_BYTES: usize = 4096;
/// How often a lent node says so to the service's authority.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(5);
/// After this time without a word a lent node is no candidate any more.
pub const CANDIDATE_LIFE: Duration = Duration::from_secs(16);

const _: () = assert!(CANDIDATE_LIFE.as_secs() > 3 * ANNOUNCE_INTERVAL.as_secs());
const _: () = assert!(MAX_ANSWER_BYTES <= MAX_LISTING_BYTES);

/// Files of a purse that are looked at: count.
pub const MAX_PURSE_FILES: usize = 4096;
