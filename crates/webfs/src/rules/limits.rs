//! Limits of leases and callbacks: each with its unit, its reason, and what the other side sees when it is hit.

use std::time::Duration;
use terms::MAX_PATH_BYTES;

/// A volume lease, counted at the home from granting it. The longest that a dead holder can delay a change.
pub const LEASE: Duration = Duration::from_secs(10);
/// A holder renews after this time. One renewal may be lost before it stops trusting its cache.
pub const RENEW_EVERY: Duration = Duration::from_secs(3);
/// What must be left of a relay's own lease when it answers a renewal from below. With less it renews its own first.
pub const FRESH_LEASE: Duration = Duration::from_secs(9);
/// Relays between a home and a holder: count. A further one sends its holders away as `TooDeep`.
pub const MAX_RELAYS_NESTED: u8 = 3;
/// A stream that is not greeted in this time is given up and opened anew.
pub const GREETING_DEADLINE: Duration = Duration::from_secs(5);
/// An operation fails after this time without progress at the home.
pub const OPERATION_DEADLINE: Duration = Duration::from_secs(30);

/// Sessions with one volume: count. Further ones are sent away as `Full`.
pub const MAX_SESSIONS: usize = 12_000;
/// Sessions of one principal with one volume: count. Each process of a user has one, so this is a user's processes
/// at a time, or the restarts of a relay within a lease. Further ones are sent away as `FullForYou`.
pub const MAX_SESSIONS_PER_HOLDER: usize = 64;
/// Callbacks of one session: count. Beyond, answers carry no callback and are used once.
pub const MAX_CALLBACKS_PER_SESSION: usize = 1 << 16;
/// Callbacks of one principal's sessions with one volume: count. Nobody takes all from the others.
pub const MAX_CALLBACKS_PER_HOLDER: usize = 1 << 18;
/// Callbacks of all sessions with one volume: count. About 200 MiB. Beyond, answers carry no callback.
pub const MAX_CALLBACKS: usize = 1 << 20;
/// Changes that wait for recalls or are being committed: count. Further ones are refused as busy.
pub const MAX_PENDING_CHANGES: usize = 1024;
/// Objects named in one frame: count. Longer lists are sent in several frames.
pub const MAX_FRAME_OBJECTS: usize = 256;
/// One frame of the session stream: bytes. A longer one ends the stream.
pub const MAX_FRAME_BYTES: usize = 2 << 20;
/// Reads that wait for one answer of the home together: count. Further ones ask on their own.
pub const MAX_JOINED: usize = 1024;
/// Advisory locks that a session holds or waits for: count. All fit into the frame in which it claims them. Further
/// ones are refused as too many.
pub const MAX_LOCKS_PER_SESSION: usize = MAX_FRAME_OBJECTS;
/// Advisory locks of one volume, held or waited for: count. About 30 MiB. Further ones are refused as too many.
pub const MAX_LOCKS: usize = 1 << 16;
/// Who waits for locks on one name: count. Further ones are refused as too many.
pub const MAX_LOCK_WAITERS: usize = 256;
/// The longest wait for a lock. Whoever asks for a longer one is told after this time that it is held.
pub const MAX_LOCK_WAIT: Duration = Duration::from_secs(3600);
/// Lock epochs recorded as used with one write to disk: count. A restart skips at most so many.
pub const LOCK_EPOCHS_AT_ONCE: u64 = 1 << 16;
/// Waits shown to a person: count.
pub const MAX_SHOWN_WAITS: usize = 100;

/// Bytes of CBOR around one path in a frame: its length, version, epoch and array heads.
const FRAME_BYTES_AROUND_PATH: usize = 64;

const _: () = assert!(FRESH_LEASE.as_millis() < LEASE.as_millis(), "a lease just renewed is fresh");
const _: () = assert!(
    2 * LEASE.as_millis() < OPERATION_DEADLINE.as_millis(),
    "a change may wait for a restart and then for a holder, and still ends before its deadline"
);
const _: () = assert!(
    3 * RENEW_EVERY.as_millis() > 2 * LEASE.as_millis() / 3
        && 2 * RENEW_EVERY.as_millis() < 2 * LEASE.as_millis() / 3,
    "two renewals fit into the time that a holder trusts its cache"
);
const _: () = assert!(MAX_FRAME_OBJECTS * (MAX_PATH_BYTES + FRAME_BYTES_AROUND_PATH) < MAX_FRAME_BYTES);
const _: () =
    assert!(MAX_CALLBACKS_PER_SESSION <= MAX_CALLBACKS_PER_HOLDER && MAX_CALLBACKS_PER_HOLDER < MAX_CALLBACKS);
const _: () = assert!(MAX_SESSIONS_PER_HOLDER < MAX_SESSIONS);
const _: () =
    assert!(MAX_LOCKS_PER_SESSION * MAX_SESSIONS_PER_HOLDER < MAX_LOCKS, "nobody takes all locks from the others");
const _: () = assert!(MAX_LOCKS_PER_SESSION * (MAX_PATH_BYTES + 2 * FRAME_BYTES_AROUND_PATH) < MAX_FRAME_BYTES);
