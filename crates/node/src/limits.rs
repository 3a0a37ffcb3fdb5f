//! Limits of a node.

use std::time::Duration;

/// Any request from its header to its answer's header, session streams excepted.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// A control message: bytes.
pub const MAX_CONTROL_BYTES: usize = 256 * 1024;
/// What an open route takes in: bytes.
pub const MAX_OPEN_BYTES: usize = 64 * 1024;
/// How often a node looks whether its certificate is to be renewed, and whether its authority was changed beside it.
pub const RENEWAL_LOOK: Duration = Duration::from_secs(1);
/// After a renewal that failed, how long until the next try: half of the certificate's life is left for it.
pub const RENEWAL_RETRY: Duration = Duration::from_secs(60);
/// Requests a second that open routes answer, in all: a flood of strangers costs no more than this.
pub const OPEN_REQUESTS_PER_SECOND: u32 = 2000;
/// A foreign group's list is used for so long after it was fetched.
pub const GROUP_LIFE: Duration = Duration::from_secs(60);
/// A member whose end has come makes the list be asked for again, at most this often for one group.
pub const GROUP_ASK_INTERVAL: Duration = Duration::from_secs(1);
/// Foreign groups remembered: count.
pub const MAX_FOREIGN_GROUPS: usize = 256;
/// Groups with their list here: count.
pub const MAX_OWN_GROUPS: usize = 10_000;
/// Nodes remembered as candidates of one service: count.
pub const MAX_CANDIDATES: usize = 1024;
/// The address in a node's word for itself: bytes.
pub const MAX_ADDRESS_BYTES: usize = 300;
/// Services published or served by one node: count.
pub const MAX_SERVICES: usize = 256;
/// A service certificate is valid for so long, and re-signed at half of it.
pub const SERVICE_CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Requests a front serves at once; more are answered "elsewhere".
pub const MAX_FRONT_REQUESTS: usize = 4096;
/// Of them, requests from one source (an IPv4 address, or a /64 of IPv6): count. So that nobody takes all places; far
/// above what the clients of a local world need, which all come from one address.
pub const MAX_SOURCE_REQUESTS: usize = MAX_FRONT_REQUESTS / 4;
/// When a client that got no place is told to try here again: seconds.
pub const RETRY_AFTER_S: u16 = 1;
/// One chunk that a front's link sends at a time: bytes. Small enough that streams share a slow link evenly.
pub const LINK_CHUNK_BYTES: usize = 16 * 1024;
/// After so many responses a front sends the table again.
pub const TABLE_EVERY: u64 = 10;
/// A table that the client saw longer ago than this is sent again.
pub const TABLE_STALE: Duration = Duration::from_secs(3);
/// Relayed volumes: count.
pub const MAX_RELAYED: usize = 64;
/// Silence within an upload after which it is broken off; nothing of it is stored.
pub const UPLOAD_PAUSE: Duration = Duration::from_secs(30);
/// What one cache may hold: bytes.
pub const CACHE_BYTES: u64 = 10 << 30;
/// How long the first need of a volume may look for its home.
pub const HOME_LOOKUP_DEADLINE: Duration = Duration::from_secs(10);

const _: () = assert!(GROUP_ASK_INTERVAL.as_secs() < GROUP_LIFE.as_secs());
