//! Limits of the disk cache: each with its unit, its reason, and what happens when it is hit.

/// What a cached object costs beside its blocks: bytes. Its record and the file system's own.
pub const OBJECT_OVERHEAD_BYTES: u64 = 4 << 10;
/// One record: bytes. A longer one is not kept, and a longer one on disk is dropped.
pub const MAX_RECORD_BYTES: u64 = 4 << 20;
/// The smallest useful cache: bytes. A smaller limit is raised to this.
pub const MIN_CACHE_BYTES: u64 = 16 << 20;

const _: () = assert!(MIN_CACHE_BYTES > 2 * MAX_RECORD_BYTES, "one object always fits");
