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
/// Of these, from one IPv4 address or one /64 of IPv6: one stranger keeps no other from asking.
pub const OPEN_REQUESTS_OF_ONE_SOURCE: u32 = OPEN_REQUESTS_PER_SECOND / 4;
/// A copy that says no makes the list be asked for again, at most this often for one group.
pub const GROUP_ASK_INTERVAL: Duration = Duration::from_secs(1);
/// How long one foreign list is waited for.
pub const GROUP_FETCH_DEADLINE: Duration = Duration::from_secs(3);
/// How long one decision waits for all foreign lists that it needs. What is not here then is unknown.
pub const GROUP_WAIT: Duration = Duration::from_secs(5);
/// Foreign groups remembered: count.
pub const MAX_FOREIGN_GROUPS: usize = 256;
/// How often the lists of foreign groups are looked at again on which sessions stand: twice in the life of a copy, so that a
/// question that is not answered ends nothing yet.
pub const GROUP_RECHECK: Duration = Duration::from_secs(trust::limits::GROUP_LIFE.as_secs() / 2);
/// Members that have left foreign groups, until their sessions are ended: count. If there are more, all sessions begin anew.
pub const MAX_LOST_MEMBERS: usize = 8192;
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
/// Wrong tokens that one source (an IPv4 address, or a /64 of IPv6) may show in a minute: count. Further ones are
/// answered 429; a good one is taken all the same, so that nobody locks out a neighbour.
pub const MAX_WRONG_TOKENS: u32 = 60;
/// Sources whose wrong tokens are counted in a minute: count. Those of others are counted as one source.
pub const MAX_WRONG_SOURCES: usize = 1024;
/// How often a node tells a second one where its audit log ends.
pub const WITNESS_INTERVAL: Duration = Duration::from_secs(60);
/// How long a node waits for its witness when it stops.
pub const LAST_WORD_DEADLINE: Duration = Duration::from_secs(1);
/// Nodes whose audit logs are witnessed here: count. Further ones are refused by name.
pub const MAX_WITNESSED: usize = 1024;
/// What is kept of one node's audit log: bytes.
pub const MAX_WITNESSED_BYTES: u64 = 4096;
/// How long the first need of a volume may look for its home.
pub const HOME_LOOKUP_DEADLINE: Duration = Duration::from_secs(10);

const _: () = assert!(GROUP_ASK_INTERVAL.as_secs() < trust::limits::GROUP_LIFE.as_secs());
const _: () = assert!(GROUP_FETCH_DEADLINE.as_secs() < GROUP_WAIT.as_secs());
const _: () = assert!(MAX_FOREIGN_GROUPS >= trust::limits::MAX_GROUPS_VISITED);
const _: () = assert!(MAX_OFFERED_PAGES * trust::limits::MAX_DOCUMENT_BYTES + 4096 <= MAX_CONTROL_BYTES);
const _: () = assert!(
    FEED_PAGES_AT_ONCE as usize >= 2 * trust::limits::MAX_REVOCATIONS.div_ceil(trust::limits::MAX_FEED_PAGE)
);
const _: () = assert!(GROUP_WAIT.as_secs() < REQUEST_DEADLINE.as_secs());

/// Readers that wait for news of a feed at one time, with a certificate, and as many without: count. One more is answered
/// at once.
pub const MAX_WAITING_READERS: usize = 2048;
/// Of those without, from one source: count.
pub const MAX_SOURCE_READERS: usize = MAX_WAITING_READERS / 4;
/// Realms whose feeds are followed: count. What stands on others is refused.
pub const MAX_FOLLOWED_REALMS: usize = 256;
/// How long after a failure a feed is asked for again, and how often newly trusted realms are looked for.
pub const FEED_RETRY: Duration = Duration::from_secs(1);
/// Pages that are taken of one realm's feed in the long run: count a second. Each may end connections and is stored, and a
/// realm may sign as many as it likes.
pub const FEED_PAGES_PER_SECOND: u64 = 10;
/// Pages that are taken of one realm's feed at once after a quiet time: count. Enough to read a full list twice.
pub const FEED_PAGES_AT_ONCE: u64 = 2000;
/// How often a feed in many small pages, or one that differs from what is known, is read from its beginning at most: a
/// realm that lists something else each time it is asked keeps its readers no busier than that.
pub const REREAD_INTERVAL: Duration = Duration::from_secs(60);
/// How long after an offer the same list is offered the same again: it has no use for it, or could not be told.
pub const FEED_OFFER_INTERVAL: Duration = Duration::from_secs(600);
/// Pages of a feed in one offer: count. So many of the longest fit into a control message.
pub const MAX_OFFERED_PAGES: usize = 3;
/// How long a start waits for the first words of the realms. Whoever has not answered by then fails closed.
pub const FEED_FIRST_WITHIN: Duration = Duration::from_secs(3);
/// Transfer certificates that a node's purse holds: count. One more is refused.
pub const MAX_PURSE: usize = 1024;
/// Of these, signed by one principal: count. Nobody fills the purse for others.
pub const MAX_PURSE_OF_ONE: usize = MAX_PURSE / 16;

/// Operations of one batch that run at once: count. They are committed together; the others wait.
pub const OPERATIONS_AT_ONCE: usize = 64;

/// Volumes of one realm: count. Further ones are refused by the realm's first node.
pub const MAX_REALM_VOLUMES: usize = 10_000;
/// How often a home asks the realm's first node whether it still is one.
pub const HOMES_LOOK: Duration = Duration::from_secs(10);
/// The same while a move is not decided.
pub const HOMES_LOOK_SOON: Duration = Duration::from_secs(1);
/// How long a start waits for the first node's word about the volumes here. Who hears nothing goes on as it was.
pub const HOMES_FIRST_WITHIN: Duration = Duration::from_secs(3);
/// Volumes that come to one node at once: count. Further ones are refused as busy.
pub const MAX_MOVES: usize = 4;
/// How long an offered volume waits to be fetched.
pub const OFFER_LIFE: Duration = Duration::from_secs(60);
/// How long the home of a volume that moves may be stopped: all that is left is sent, stored and confirmed in this time,
/// or it serves again. Whoever waits for it has time left of [`webfs::rules::limits::OPERATION_DEADLINE`].
pub const MOVE_STOP: Duration = Duration::from_secs(20);
/// How long changes that are under way may take to end when a volume's home stops to be moved.
pub const MOVE_DRAIN: Duration = Duration::from_secs(5);
/// Silence within the stream of a dump after which it is broken off.
pub const DUMP_PAUSE: Duration = Duration::from_secs(30);
/// Pieces of a dump between the disk and the network: count.
pub const DUMP_QUEUE: usize = 16;
/// One piece: bytes.
pub const DUMP_PIECE_BYTES: usize = 256 * 1024;

const _: () = assert!(MOVE_STOP.as_secs() < webfs::rules::limits::OPERATION_DEADLINE.as_secs());
const _: () = assert!(MOVE_DRAIN.as_secs() < MOVE_STOP.as_secs());
