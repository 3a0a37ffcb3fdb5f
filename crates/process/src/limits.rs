//! Times and sizes of lending. The times are a contract between load daemon, surrogate and client: change them
//! together, and only where the assertions below still hold.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How long a surrogate may serve without a renewal. Long enough for two lost renewals, short enough that a
/// surrogate that nobody can reach is gone before a person notices.
pub const LEASE: Duration = Duration::from_secs(10);

/// How often a lease is renewed: a third of it.
pub const RENEW_EVERY: Duration = Duration::from_millis(3_333);

/// How long before its lease's end an honest front answers "elsewhere": one renewal interval, so that requests
/// that began before still end under the lease.
pub const FENCE: Duration = RENEW_EVERY;

/// The longest lease that a surrogate believes, whatever the message says.
pub const MAX_LEASE: Duration = LEASE;

/// Validity of a right to serve. It names key and address and outlives many leases; the table is what ends a
/// surrogate that ignores its lease.
pub const RIGHT_TO_SERVE: Duration = Duration::from_secs(120);

/// How old a table may be, by service time, for a request to be sent to a surrogate under it.
pub const TABLE_MAX_AGE: Duration = Duration::from_secs(5);

/// How often the table is signed anew and each server is asked for its load.
pub const TABLE_EVERY: Duration = Duration::from_secs(1);

/// How far two boot clocks may drift apart during one lease: one percent, ten times what hardware does.
pub const DRIFT_ALLOWANCE: Duration = Duration::from_millis(100);

/// How long a drained surrogate may take to finish what it has begun; then it is cut off, and clients resume
/// elsewhere.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(20);

/// The power of a lent node: work compared with a usual node's. What is outside cannot be true of one machine, and
/// one such claim would make the load daemon believe that the group is large enough.
pub const OFFER_POWER: RangeInclusive<f64> = 0.001..=1000.0;

/// The price of a lent node per hour, in the realm's own unit. Prices are added up; the bound keeps sums finite.
pub const OFFER_PRICE: RangeInclusive<f64> = 0.0..=1e9;

/// Offers that one node keeps: count. More is refused by name.
pub const MAX_OFFERS: usize = 64;

/// Services that one node serves at a time as a surrogate: count. More is refused with `TooMany`.
pub const MAX_RUNNING: usize = 16;

/// A start, beat or drain message with its three signed documents: bytes. The peer sees `TooLarge`.
pub const MAX_MESSAGE_BYTES: usize = 256 << 10;

/// The file of offers: bytes. A larger one is damaged and refused.
pub const MAX_OFFERS_FILE_BYTES: u64 = 1 << 20;

/// The least stated link: bits per second. Below it a block of 1 MiB would outlive the lease.
pub const MIN_LINK_BITS_PER_S: u64 = 1_000_000;

/// How much a link may send at once after a pause: its rate for so long.
pub const LINK_BURST: Duration = Duration::from_millis(10);

/// What a report averages over.
pub const REPORT_WINDOW: Duration = Duration::from_secs(1);

const _: () = assert!(RENEW_EVERY.as_millis() * 3 <= LEASE.as_millis(), "three renewals fit into a lease");
const _: () = assert!(
    FENCE.as_millis() + RENEW_EVERY.as_millis() + 2 * TABLE_EVERY.as_millis() < LEASE.as_millis(),
    "after a renewal there is time for the next one, twice, before the fence"
);
const _: () =
    assert!(TABLE_MAX_AGE.as_millis() < LEASE.as_millis(), "a table never outlives the lease it tells of");
const _: () = assert!(LEASE.as_millis() * 2 < RIGHT_TO_SERVE.as_millis(), "rights outlive the leases they go with");
const _: () = assert!(DRIFT_ALLOWANCE.as_millis() * 10 < FENCE.as_millis());
const _: () = assert!(TABLE_EVERY.as_millis() * 3 <= TABLE_MAX_AGE.as_millis(), "two lost tables do no harm");
