//! Limits of the file system: each with its unit, its reason, and what the other side sees when it is hit.

use std::time::Duration;

/// A block: bytes. Every block of a file but the last has exactly this length. One block fills a fast connection
/// for some milliseconds and is what a resumed download may have to fetch twice.
pub const BLOCK_BYTES: u64 = 1 << 20;
/// Content up to this size lies in the metadata database instead of a block file: bytes. One synced write instead
/// of three for small files.
pub const INLINE_BYTES: u64 = 16 << 10;
/// Blocks that a manifest lists: count. 40 KiB in a statement. The blocks of a longer file form a tree.
pub const FLAT_BLOCKS: usize = 1024;
/// Children of a node in a tree of blocks: count. A full node is 8 KiB, and three levels hold the largest file.
pub const NODE_CHILDREN: usize = 256;
/// Nodes of one tree that a reader keeps in memory: count. 2 MiB, which lead to 64 GiB of content.
pub const NODES_KEPT: usize = 256;
/// The largest file: bytes. 413 when exceeded.
pub const MAX_FILE_BYTES: u64 = 1 << 40;
/// A response carries its signed manifest as a header up to this many blocks: count. About 900 bytes of header.
pub const HEADER_MANIFEST_BLOCKS: usize = 8;
/// Entries in one answer to a listing: count. More are asked for with `?after=NAME`.
pub const LIST_PAGE: usize = 4096;

/// Names that one file may have: count. A change of the file recalls all of them. 413 when exceeded.
pub const MAX_NAMES: usize = 1000;
/// Symbolic links followed on the way to one object: count. More, or a circle, is an error.
pub const MAX_LINKS_FOLLOWED: usize = 16;
/// The text of a symbolic link: bytes.
pub const MAX_LINK_BYTES: usize = 4096;

/// The longest time that a copy is used without asking, under the policies `ttl` and `immutable`: seconds. So long may
/// rights that were taken away, and names that are gone, go on counting at holders. Longer ones are refused.
pub const MAX_TTL_SECS: u32 = 3600;

/// The greatest batch: operations. 400 when exceeded.
pub const MAX_BATCH: usize = 512;
/// The content of one file in a batch: bytes. Longer files are put on their own.
pub const MAX_BATCH_FILE_BYTES: usize = 64 << 10;
/// The body of a batch: bytes.
pub const MAX_BATCH_BYTES: usize = 4 << 20;
/// Folders named in one request to look: count.
pub const MAX_LOOK_FOLDERS: usize = 256;
/// The body of a request to look: bytes.
pub const MAX_LOOK_BYTES: usize = 256 << 10;
/// The most that one answer to a look holds: bytes, roughly. What is left is asked for again.
pub const LOOK_ANSWER_BYTES: usize = 1 << 20;

/// Verified blocks kept in memory: bytes. Hot files are answered without disk or hashing.
pub const RECENT_BLOCK_BYTES: usize = 64 << 20;
/// Looked-up objects kept in memory: bytes, roughly. Hot paths are answered without the database.
pub const RECENT_OBJECT_BYTES: usize = 16 << 20;
/// Distinct access control lists kept in memory: bytes of their encodings.
pub const RECENT_BUCKET_BYTES: usize = 4 << 20;
/// Blocks that a response reads ahead of its receiver, at first and for a slow one: count. Hides the disk; bounds the
/// memory that those who do not read can take.
pub const READ_AHEAD_BLOCKS: usize = 2;
/// The same for a receiver that has to wait for them: count. Doubled at each wait; hides the way from a relay to the home.
pub const READ_AHEAD_MOST: usize = 16;
/// Blocks that an upload may be hashing and writing at once: count. Bounds memory per upload.
pub const UPLOAD_BLOCKS_IN_FLIGHT: usize = 4;

/// Commits whose touched paths are kept for those who watch: count. Whoever was away for more is told to look anew.
pub const HISTORY_CHANGES: usize = 8192;
/// The touched paths of these commits: bytes, roughly.
pub const HISTORY_BYTES: usize = 4 << 20;
/// Who watches one volume: count. Further ones are refused as busy.
pub const MAX_WATCHERS: usize = 4096;
/// Of them, watches of one principal: count. So that nobody takes all places.
pub const MAX_WATCHERS_PER_PRINCIPAL: usize = 64;
/// Changes named in one message to a watcher: count. More are told in several.
pub const WATCH_EVENTS: usize = 256;
/// The part of a growing file that one message brings to a watcher: bytes, at most. One block.
pub const WATCH_BYTES: usize = BLOCK_BYTES as usize;
/// A watcher is told at least so often that it is not forgotten. Who hears nothing for three times as long is cut off.
pub const WATCH_ALIVE: Duration = Duration::from_secs(5);
/// The body of a request to watch: bytes.
pub const MAX_WATCH_BYTES: usize = 8 << 10;

/// The most that one append brings: bytes. It goes in a batch; longer input is appended in several.
pub const MAX_APPEND_BYTES: usize = MAX_BATCH_FILE_BYTES;
/// Attempts to append to a file that is no log while others change it: count. Then the client is told to try again.
pub const APPEND_ATTEMPTS: u32 = 4;
/// Unfinished ends of logs whose hash is kept in memory, 2 KiB each: count. Others are hashed again, at most a block.
pub const LOG_ENDS_KEPT: usize = 1024;

/// Read connections to a volume's database: count. Readers beyond wait.
pub const READERS: usize = 4;
/// Mutations waiting for the writer: count. Callers beyond wait.
pub const WRITE_QUEUE: usize = 1024;
/// Mutations in one transaction: count. Bounds how long one commit takes.
pub const WRITE_BATCH: usize = 256;
/// How long a reader waits for SQLite's own locks, which are held only around a checkpoint or recovery.
pub const DATABASE_BUSY: Duration = Duration::from_secs(10);

/// How long the blocks of a replaced or removed file stay readable for those who have it open.
pub const REPLACED_KEPT: Duration = Duration::from_secs(3600);
/// How long the ledger answers a retried operation. Longer than any client retries.
pub const LEDGER_KEPT: Duration = Duration::from_secs(24 * 3600);

/// How long a home knows a session whose outcomes it has forgotten, and refuses its retries by name.
pub const SETTLED_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

const _: () = assert!(READ_AHEAD_BLOCKS <= READ_AHEAD_MOST);
const _: () = assert!(INLINE_BYTES < BLOCK_BYTES, "inline content is one block");
const _: () = assert!(HEADER_MANIFEST_BLOCKS <= FLAT_BLOCKS);
const _: () = assert!(
    MAX_FILE_BYTES / BLOCK_BYTES <= (NODE_CHILDREN as u64).pow(3),
    "a tree has at most three levels above its blocks"
);
const _: () = assert!(FLAT_BLOCKS > NODE_CHILDREN, "a tree has at least two levels: its top is never a leaf");
const _: () = assert!(RECENT_BLOCK_BYTES as u64 >= 8 * BLOCK_BYTES, "the memory holds a few downloads' blocks");
const _: () = assert!(2 * WATCH_BYTES <= crate::rules::limits::MAX_FRAME_BYTES, "a block fits into a frame");
