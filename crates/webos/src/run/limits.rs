//! Limits of the command line's own work.

use crate::console::{DEFAULT_PORT, PORTS_TRIED};
use std::time::Duration;

/// Files on their way at once in `put -r` and `get -r`: count. Hides the latency of small files; bounds memory.
pub const FILES_AT_ONCE: usize = 16;
/// Parts of each of these asked for at once: count. As much memory as for four files on their own.
pub const PARTS_OF_MANY: usize = 4;
/// Files in one `put -r` or `get -r`: count. More is refused by name, before anything is sent.
pub const MAX_FILES: usize = 1_000_000;
/// Pieces of standard input that wait to be sent: count.
pub const PIECES_AHEAD: usize = 4;
/// Blocks that are asked for to learn why a body broke off: count. So many are lost under way at most, usually.
pub const BLOCKS_ASKED: usize = 16;
/// Attempts of a put whose answer was lost, all under one operation id, so that it happens once: count.
pub const PUT_ATTEMPTS: u32 = 3;
/// What `cat --json` puts into one JSON object: bytes.
pub const MAX_JSON_CONTENT_BYTES: usize = 16 << 20;
/// What `tail` reads from the end of a file at most: bytes. It is kept in memory.
pub const MAX_TAIL_BYTES: u64 = 16 << 20;
/// Folders within folders in `put -r` and `get -r`: the depth that a path may have.
pub const MAX_DEPTH: usize = terms::MAX_PATH_SEGMENTS;
/// How long `fetch` goes on without progress: long enough to bring a home back by hand.
pub const FETCH_PATIENCE: Duration = Duration::from_secs(300);
/// Between two remarks on the progress of a download.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// How long a download waits before it says another reason for waiting: reasons of several servers take turns.
pub const ANOTHER_REASON_AFTER: Duration = Duration::from_secs(10);

/// Where the proxy listens unless another address is set.
pub const PROXY_PORT: u16 = 8470;
/// Connections to the proxy at once: count. More are closed unread.
pub const PROXY_CONNECTIONS: usize = 256;
/// The header of a request to the proxy: bytes. More is answered 431.
pub const PROXY_HEADER_BYTES: usize = 64 * 1024;
/// From an open connection to the end of a request's header.
pub const PROXY_HEADER_DEADLINE: Duration = Duration::from_secs(30);
/// How long requests under way may take when the proxy is told to end.
pub const PROXY_END: Duration = Duration::from_secs(2);

const _: () =
    assert!(PROXY_PORT < DEFAULT_PORT || PROXY_PORT >= DEFAULT_PORT + PORTS_TRIED, "no console listens there");

/// How long `audit verify` waits for each node that may vouch for the log's end.
pub const WITNESS_PATIENCE: Duration = Duration::from_secs(5);
/// Notes of proxies that `status` looks at: count.
pub const MAX_PROXIES_LISTED: usize = 64;
/// A running node that told its witness nothing for so long is worth a word: it tells it each minute.
pub const TOLD_WITHIN: Duration = Duration::from_secs(300);
/// How long `status` waits for a node: all are asked at once, and with it the command ends within two seconds.
pub const STATUS_PATIENCE: Duration = Duration::from_millis(1500);

const _: () = assert!(FILES_AT_ONCE * PARTS_OF_MANY <= 4 * client::limits::PARTS_AHEAD);
const _: () = assert!(STATUS_PATIENCE.as_millis() < 2000);

/// Between two looks at a volume that moves: how long.
pub const MOVE_LOOK: Duration = Duration::from_millis(200);
/// How often a new home that does not answer is asked again, before the move is given up: count.
pub const MOVE_ASKS: u32 = 10;
