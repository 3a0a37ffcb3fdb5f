//! Limits of discovery. What a peer exceeds is ignored (hints) or refused by name (documents).

use std::time::Duration;

/// Bytes of a service certificate, table, right or manifest before it is decoded. The same as `trust`'s limit on
/// a signed document.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
/// Bytes of a whole state reply: one table and a right for each surrogate.
pub const MAX_STATE_BYTES: usize = 256 * 1024;
/// Servers of one service certificate: count. Bounds every loop of the director.
pub const MAX_SERVERS: usize = 64;
/// Entries of one table: count. A table of this size still fits into [`MAX_DOCUMENT_BYTES`].
pub const MAX_TABLE_ENTRIES: usize = 128;
/// Bytes of an address, `host:port`.
pub const MAX_ADDRESS_BYTES: usize = 300;
/// Bytes of a small structured header; a longer one is ignored.
pub const MAX_HEADER_BYTES: usize = 1024;
/// Bytes of the `webos-table` header. HTTP/2 peers accept 16 KiB of headers in all; a server whose table is
/// longer leaves the header out and the client asks for the state instead.
pub const MAX_TABLE_HEADER_BYTES: usize = 12 * 1024;
/// Bytes of the `webos-manifest` header: eight blocks with names and signature.
pub const MAX_MANIFEST_HEADER_BYTES: usize = 12 * 1024;
/// The largest number in a load header. What is larger is no load.
pub const MAX_LOAD_VALUE: f64 = 1e11;

/// A surrogate is used only under a table at most this old by service time: it ends a dishonest surrogate.
pub const MAX_TABLE_AGE: Duration = Duration::from_secs(5);
/// From this age on a request asks for a newer table.
pub const ASK_TABLE_AGE: Duration = Duration::from_secs(3);
/// How long a right to serve is valid.
pub const RIGHT_LIFETIME: Duration = Duration::from_secs(120);
/// Every so many responses carry the table.
pub const TABLE_EVERY: u64 = 10;
/// A document may be signed this much in the future of our service time: two honest clocks differ.
pub const MAX_AHEAD: Duration = Duration::from_secs(2);

/// Bytes of a block of a file: all but the last have exactly this.
pub const BLOCK_BYTES: u64 = 1 << 20;
/// Bytes of a file that can be checked here: as many blocks as a signed manifest of one document can name.
pub const MAX_FILE_BYTES: u64 = BLOCK_BYTES * 1024;

/// Files whose latest publication a client remembers, so that it never goes back: count.
pub const MAX_SEEN_FILES: usize = 4096;

/// One question to a name server.
pub const NAME_DEADLINE: Duration = Duration::from_secs(3);
/// How long after one name server's answer those of others are waited for.
pub const OTHER_ANSWERS: Duration = Duration::from_millis(300);
/// One question for the state of a group, asked while a request waits.
pub const STATE_DEADLINE: Duration = Duration::from_secs(2);
/// Between two questions for the state of the same group.
pub const STATE_PAUSE: Duration = Duration::from_millis(500);
/// A service certificate is asked for anew after this time.
pub const CERTIFICATE_FRESH: Duration = Duration::from_secs(300);
/// A director's memory on disk (latencies, ejections) is forgotten after this time.
pub const SNAPSHOT_KEEP: Duration = Duration::from_secs(600);
/// From a request to the head of its answer, at one server.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Silence within a body after which a server counts as gone, whatever the retry budget says.
pub const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// No silence shorter than this is a stall.
pub const MIN_STALL: Duration = Duration::from_millis(250);
/// The same as [`MIN_STALL`] for a server whose usual pace is not known yet: first contact costs a handshake, and a
/// surrogate's first answer a look-up at the home.
pub const FIRST_STALL: Duration = Duration::from_millis(1000);
/// Times a file may change under one download before the download gives up.
pub const MAX_RESTARTS: u32 = 8;

const _: () = assert!(ASK_TABLE_AGE.as_millis() < MAX_TABLE_AGE.as_millis());
const _: () = assert!(MAX_TABLE_HEADER_BYTES < 16 * 1024);
const _: () = assert!(MAX_SERVERS <= MAX_TABLE_ENTRIES);

/// Raises of a volume's epoch in its record: count. Whoever holds something of before asks for it anew.
pub const MAX_RAISES: usize = 32;
