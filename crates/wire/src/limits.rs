//! Limits on what comes in from the network. Each is named in the error that the other side sees.

use std::time::Duration;

/// All header fields of one request or response together: bytes. More is answered 431 or closes the stream.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Requests in flight on one connection: count. More wait at the client, by HTTP/2's own rule.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 256;
/// Connections of one listener: count. Further ones wait in the kernel's backlog.
pub const MAX_CONNECTIONS: usize = 15_200;
/// Of them, connections without a certificate: count. The rest is kept for nodes and users, so that strangers
/// cannot keep them out. For one more the source that has most gives up the one that idles longest, so that strangers
/// do not keep out each other.
pub const MAX_ANONYMOUS_CONNECTIONS: usize = 11_000;
/// Of these, connections from one source (an IPv4 address, or a /64 of IPv6): count. For one more its own that idles
/// longest is closed; far above what a network behind one address needs.
pub const MAX_SOURCE_CONNECTIONS: usize = MAX_ANONYMOUS_CONNECTIONS / 4;
/// Handshakes that one source may begin in the long run: count a second. A handshake takes 0.3 to 0.5 ms of computing,
/// so one source has at most a fifth of one core. What comes faster waits, see [`HANDSHAKE_PATIENCE`].
pub const HANDSHAKES_PER_SECOND: u32 = 400;
/// Handshakes that one source may begin at once after a quiet time: count. It is a second of one core at most, and as many
/// clients behind one address as may stay come in within [`HANDSHAKE_PATIENCE`].
pub const HANDSHAKE_BURST: u32 = 2_000;
/// The longest that a connection waits for its turn before its handshake; what would wait longer is closed unread.
pub const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(2);
/// Sources whose handshakes are counted: count. Of more, those are forgotten that did least.
pub const MAX_RATED_SOURCES: usize = 4_096;
/// Connections that wait for their turn: count. More are closed unread.
pub const MAX_WAITING_CONNECTIONS: usize = 3_200;
/// Of these, connections from one source: count. So that no source keeps out all others.
pub const MAX_SOURCE_WAITING: usize = MAX_WAITING_CONNECTIONS / 4;
/// Unfinished TLS handshakes on one listener: count. For one more, of the source that has most the one begun longest ago
/// is broken off: silent connections keep nobody out.
pub const MAX_HANDSHAKES: usize = 512;
/// From accepted connection to finished handshake.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// From the first byte of a request to the end of its header; also from a handshake to the first request.
pub const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// A client without a certificate that leaves a part of an answer lying for so long loses its connection: else
/// a few idle readers would hold all places of a service.
pub const STALL_DEADLINE: Duration = Duration::from_secs(60);
/// A connection without traffic is probed after this time, and closed when the probe is not answered in
/// [`PING_DEADLINE`].
pub const PING_INTERVAL: Duration = Duration::from_secs(10);
/// See [`PING_INTERVAL`].
pub const PING_DEADLINE: Duration = Duration::from_secs(10);
/// From the start of a connection attempt to its TCP connection.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// From the request, or the last of its body that was taken, to the header of its answer, unless the caller has a shorter
/// deadline of its own.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// After so long a server does not begin to carry out a change: its sender gives up at [`ANSWER_DEADLINE`], and what it
/// calls failed must not happen afterwards. The rest is for the commit itself.
pub const LATEST_CHANGE: Duration = Duration::from_secs(25);
/// A cache's connection takes new requests for so long. The clocks of both ends, which count from its beginning until when a
/// change may be made, come apart by less than two seconds meanwhile even at 50 millionths.
pub const MAX_CONNECTION_AGE: Duration = Duration::from_secs(8 * 3600);
/// A request's body up to this length is sent at once: bytes. A longer one says at its end until when it may be acted on.
pub const SHORT_BODY_BYTES: u64 = 64 << 10;
/// How long a shutdown waits for requests in flight.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);
/// HTTP/2 window of one stream of a cache: bytes. 4 MiB fill 800 Mbit/s at 40 ms.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// HTTP/2 window of one connection at a listener: bytes.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// HTTP/2 window of one stream at a listener: bytes. An upload is one stream: 12 MiB fill 2.4 Gbit/s at 40 ms. Less than the
/// connection's, so that one whose content is not taken leaves room for others.
pub const UPLOAD_WINDOW_BYTES: u32 = 12 << 20;
/// HTTP/2 window of one connection of a cache: bytes. As much as all its streams, so that answers that nobody reads
/// yet cannot keep others on the same connection waiting; what is kept is bounded by the streams in use.
pub const POOLED_WINDOW_BYTES: u32 = MAX_STREAMS_PER_CONNECTION * STREAM_WINDOW_BYTES;
/// Largest HTTP/2 frame: bytes. Large enough for few headers, small enough to interleave, and below the size from
/// which the C library asks the system for new pages each time: with 256 KiB a download of 500 MB took 60,000 page
/// faults, with 64 KiB 4,000.
pub const FRAME_BYTES: u32 = 64 * 1024;
/// Bytes that wait to be sent on one stream before its producer has to wait.
pub const SEND_BUFFER_BYTES: usize = 1 << 20;
/// Connections for content to one server: count. Each has a congestion window of its own, which grows by itself; more would
/// be unfair to others on the same link.
pub const BULK_LANES: u8 = 4;
/// What is read of a connection at once: bytes. As the kernel counts what is left waiting against a reader,
/// it is more than arrives while a busy machine lets the reader wait.
pub const GULP_BYTES: usize = 512 << 10;
/// Connections of a process that hold what was read so: count. 16 MiB in all; others read as TLS asks, a record at a time.
pub const MAX_GULPS: usize = 32;
/// Authenticated connections kept by one connection cache: count. The one unused longest goes first.
pub const MAX_POOLED: usize = 512;
/// Depth of nested CBOR: count. Deeper input is refused.
pub const MAX_CBOR_DEPTH: usize = 32;
/// A control message's body: bytes, unless its route names another limit.
pub const MAX_CONTROL_BYTES: usize = 1 << 20;
/// A problem document: bytes. What is longer is cut.
pub const MAX_PROBLEM_BYTES: usize = 16 * 1024;
/// What is read and dropped of a refused request's body before the answer: bytes. Some clients, curl among them, do
/// not look at an answer that ends the stream on which they still send.
pub const READ_OFF_BYTES: usize = 1 << 20;
/// How long that may take.
pub const READ_OFF_WITHIN: Duration = Duration::from_secs(2);

const QUEUE_OF_ONE_SOURCE: usize = HANDSHAKES_PER_SECOND as usize * HANDSHAKE_PATIENCE.as_secs() as usize;
const _: () = assert!(UPLOAD_WINDOW_BYTES < CONNECTION_WINDOW_BYTES);
const _: () = assert!(BULK_LANES <= 8, "a set of them is a byte");
const _: () = assert!(MAX_PROBLEM_BYTES <= MAX_CONTROL_BYTES);
const _: () = assert!(MAX_ANONYMOUS_CONNECTIONS + MAX_HANDSHAKES + MAX_WAITING_CONNECTIONS < MAX_CONNECTIONS);
const _: () = assert!(QUEUE_OF_ONE_SOURCE <= MAX_SOURCE_WAITING);
const _: () = assert!(HANDSHAKE_BURST as usize + QUEUE_OF_ONE_SOURCE >= MAX_SOURCE_CONNECTIONS);
const _: () = assert!(LATEST_CHANGE.as_secs() + 5 <= ANSWER_DEADLINE.as_secs());
