//! Limits on names and paths. What exceeds one is refused by the constructor, which names the limit.

/// A label (`n1`, `data`): bytes. The same as a DNS label, because names become DNS twins.
pub const MAX_LABEL_BYTES: usize = 63;
/// A realm name with its dots: bytes. Leaves room for `NAME.server.` in a 253-byte DNS name.
pub const MAX_REALM_BYTES: usize = 180;
/// One path segment: bytes. The same as `NAME_MAX` of Linux.
pub const MAX_SEGMENT_BYTES: usize = 255;
/// A whole path: bytes. The same as `PATH_MAX` of Linux.
pub const MAX_PATH_BYTES: usize = 4096;
/// Segments in a path: count. Bounds every walk from a root.
pub const MAX_PATH_SEGMENTS: usize = 128;

const _: () = assert!(MAX_SEGMENT_BYTES < MAX_PATH_BYTES);
