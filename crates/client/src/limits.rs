//! Limits of the client side.

use std::time::Duration;

/// What may go over a connection for messages, if that alone is there: bytes. What waits behind it waits for about as long
/// as a handshake would take.
pub const LITTLE_BYTES: u64 = 64 * 1024;
/// The body of a control answer: bytes.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;
/// A listing: bytes. Above it the directory has to be read in pages, which comes later.
pub const MAX_LISTING_BYTES: usize = 64 << 20;
/// Entries of one directory that are listed: count. About 300 MiB.
pub const MAX_LISTED: usize = 1_000_000;
/// How long a learned volume record is used before the name server is asked again.
pub const RECORD_LIFE: Duration = Duration::from_secs(30);
/// How long a record that the folder keeps is believed without asking a name server, by the first request of a process.
/// Long enough for the commands of one sitting; so long a home that has moved may be looked for in its old place.
pub const RECORD_KEPT: Duration = Duration::from_secs(600);
/// The file of a kept record: bytes. A signed document and a time.
pub const MAX_KEPT_RECORD_BYTES: u64 = trust::limits::MAX_DOCUMENT_BYTES as u64 + 64;
/// Volume records kept: count.
pub const MAX_RECORDS: usize = 1024;
/// An invitation line read from standard input: bytes.
pub const MAX_INVITATION_BYTES: usize = 4096;
/// Realms that one folder trusts: count. Further ones are refused when they are pinned.
pub const MAX_TRUSTED_REALMS: usize = 256;
/// The file of a pinned realm: bytes. The fingerprint's line and a signed bundle.
pub const MAX_PINNED_BYTES: u64 = 65 + trust::limits::MAX_DOCUMENT_BYTES as u64;
/// How often a running node looks for realms that were trusted or distrusted beside it.
pub const REALMS_LOOK: Duration = Duration::from_secs(1);
/// How often a running node asks the realms it trusts for their newest bundle.
pub const REALMS_REFRESH: Duration = Duration::from_secs(180);
/// How long one realm may take to answer that.
pub const REALM_ANSWER: Duration = Duration::from_secs(10);
/// Members of one realm: count.
pub const MAX_REALM_MEMBERS: usize = 10_000;
/// What is kept of one member: bytes. Its last certificate chain, and names.
pub const MAX_MEMBER_BYTES: u64 = 32 * 1024;
/// A renewal that was begun: bytes. An id and a key.
pub const MAX_PENDING_BYTES: u64 = 4096;
/// How long an earlier identity is kept after its end: as long as any chain that names its key.
pub const RETIRED_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long a command waits for the renewal of its user's certificate before it goes on with the present one.
pub const RENEWAL_WITHIN: Duration = Duration::from_secs(3);
/// How often a lent node says so to the service's authority.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(5);
/// After this time without a word a lent node is no candidate any more.
pub const CANDIDATE_LIFE: Duration = Duration::from_secs(16);

const _: () = assert!(RECORD_LIFE.as_secs() < RECORD_KEPT.as_secs());
const _: () = assert!(CANDIDATE_LIFE.as_secs() > 3 * ANNOUNCE_INTERVAL.as_secs());
const _: () = assert!(MAX_ANSWER_BYTES <= MAX_LISTING_BYTES);

/// Files of a purse that are looked at: count.
pub const MAX_PURSE_FILES: usize = 4096;

/// A page of a feed as it comes: bytes. A signed document has at most 64 KiB.
pub const MAX_FEED_BYTES: usize = 64 * 1024;

/// How long one name server is waited for while there is another to ask.
pub const NAME_SERVER_ANSWER: Duration = Duration::from_secs(5);
/// How long one is waited for if there is nobody else to ask, its whole answer included: whoever sends it byte by byte must
/// not keep a reader from asking again until what it knows is too old.
pub const LAST_NAME_SERVER_ANSWER: Duration = Duration::from_secs(40);
/// How long a further name server that answered is asked before the first one.
pub const FIRST_AGAIN: Duration = Duration::from_secs(60);

const _: () = assert!(LAST_NAME_SERVER_ANSWER.as_secs() > wire::limits::ANSWER_DEADLINE.as_secs());
const _: () = assert!(LAST_NAME_SERVER_ANSWER.as_secs() < trust::limits::MIN_FEED_LIMIT.as_secs());

/// How long a command that a node does not let in asks whether its principal was revoked.
pub const REVOKED_WITHIN: Duration = Duration::from_secs(3);

/// The answer to one look at folders: bytes. What it may hold, and the overhead of its encoding.
pub const MAX_LOOK_ANSWER_BYTES: usize = 4 * webfs::limits::LOOK_ANSWER_BYTES;
/// Attempts of a batch whose answer was lost, all under the same numbers, so that it happens once: count.
pub const BATCH_ATTEMPTS: u32 = 3;
/// How soon a watch that was cut off asks again; each time twice as long, up to [`WATCH_RETRY_MOST`].
pub const WATCH_RETRY_FIRST: Duration = Duration::from_millis(100);
/// See [`WATCH_RETRY_FIRST`].
pub const WATCH_RETRY_MOST: Duration = Duration::from_secs(5);
/// How long a change that was not published is kept.
pub const RECOVERY_LIFE: Duration = Duration::from_secs(14 * 24 * 3600);
/// The longest content that is kept of a pipe: bytes. What is longer is sent all the same, but is gone if that fails.
pub const RECOVERY_BYTES: u64 = 1 << 30;
/// Changes kept at a time: count. Beyond, what fails is not kept, and said to be lost.
pub const MAX_KEPT_CHANGES: usize = 256;
/// What a killed command had taken down goes after this time.
pub const STALE_DRAFT: Duration = Duration::from_secs(24 * 3600);
/// What is read at a time of content on its way to a home: bytes.
pub const READ_BYTES: usize = 256 << 10;

/// A part of a long file: bytes. The first answer brings so much; fewer requests than blocks, and well below the window of a
/// stream, in which it waits for its turn.
pub const PART_BYTES: u64 = 2 << 20;
/// Parts of one file asked for at once: count. 32 MiB fill 6 Gbit/s at 40 ms, and are the most memory a download takes.
pub const PARTS_AHEAD: usize = 16;
/// So much of a file comes over one connection, and all of it if no more is left behind its first part: bytes. Others are
/// opened meanwhile, and would hardly be there in time for less.
pub const LANES_FROM_BYTES: u64 = 16 << 20;
/// Attempts for one part, each over another connection: count.
pub const PART_ATTEMPTS: u32 = 4;

const _: () = assert!(PART_BYTES <= wire::limits::STREAM_WINDOW_BYTES as u64, "a part waits in its window");

/// The file that says how a folder stands to the volume in it: bytes.
pub const MAX_STANDING_BYTES: u64 = 4096;
/// Between two questions for a volume's home while it moves: how long.
pub const MOVED_PAUSE: Duration = Duration::from_millis(200);
/// How long a request follows a volume that moves, and waits while nobody serves it.
pub const FOLLOW_WITHIN: Duration = webfs::rules::limits::OPERATION_DEADLINE;
