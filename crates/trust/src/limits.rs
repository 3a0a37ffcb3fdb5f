//! Limits on trust material. What exceeds one is refused with an error that names it; nothing is cut silently.

use std::time::Duration;

/// How far two wall clocks may be apart: granted at both ends of X.509 certificates and transfer
/// certificates, and of nothing else. Leases never get it.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// A realm's root: ten years. Replacing it means a new fingerprint at every realm that trusts this one.
pub const ROOT_LIFETIME: Duration = Duration::from_secs(3652 * DAY_S);
/// An issuing certificate: 90 days. It is on line, so a stolen one must end by itself.
pub const ISSUING_LIFETIME: Duration = Duration::from_secs(90 * DAY_S);
/// A server's leaf: 7 days, renewed without anybody's help.
pub const SERVER_LIFETIME: Duration = Duration::from_secs(7 * DAY_S);
/// A user's leaf: 30 days, because a person is not always there.
pub const USER_LIFETIME: Duration = Duration::from_secs(30 * DAY_S);
/// A service's leaf: 30 days, because it is signed by hand when the service is published.
pub const SERVICE_LIFETIME: Duration = Duration::from_secs(30 * DAY_S);
/// How long after its end a server's certificate can still be renewed, once, with a new key: a machine that was off for
/// a holiday comes back by itself.
pub const GRACE: Duration = Duration::from_secs(7 * DAY_S);
const DAY_S: u64 = 86_400;

/// One certificate in DER: bytes. Ours have about 600; the rest is room for long names.
pub const MAX_CERTIFICATE_BYTES: usize = 4096;
/// Certificates in a chain, leaf included: count. Ours have three; two issuing ones may overlap.
pub const MAX_CHAIN_CERTIFICATES: usize = 4;
/// Chains that were verified to a pinned root and are remembered: count. Each takes about 500 bytes; one that is not
/// remembered is verified again.
pub const MAX_CERTIFIED: usize = 8192;
/// Roots in a bundle: count. One, or two while a root is being replaced, and some room.
pub const MAX_ROOTS: usize = 4;
/// Statements by which roots name each other, in a bundle: count. Two for each change of the root.
pub const MAX_ENDORSEMENTS: usize = 2 * MAX_ROOTS;
/// Issuing certificates in force at one time: count. Two overlap; the rest is room for changing one by hand.
pub const MAX_ISSUING: usize = 8;
/// A passphrase: bytes, at least.
pub const MIN_PASSPHRASE_BYTES: usize = 8;
/// A passphrase: bytes, at most.
pub const MAX_PASSPHRASE_BYTES: usize = 1024;
/// Work of one try at a passphrase, as the power of two in scrypt: about a second and 256 MiB.
pub const SCRYPT_LOG_N: u8 = 18;
/// The same at most in a file that is opened: a file from elsewhere must not take all memory.
pub const SCRYPT_MAX_LOG_N: u8 = 20;
/// Name servers in a bundle: count. A client tries them in turn.
pub const MAX_NAME_SERVERS: usize = 16;
/// An address in a bundle or an invitation (`host:port`): bytes. A DNS name has at most 253.
pub const MAX_ADDRESS_BYTES: usize = 260;

/// A signed document as it comes: bytes. Checked before anything is decoded.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
/// A chain of transfer certificates as it comes: bytes. It travels in a header field of each request.
pub const MAX_TRANSFER_BYTES: usize = 32 * 1024;
/// Depth of nested CBOR in signed documents: count. Ours need six; each level costs stack.
pub const MAX_DEPTH: usize = 16;
/// Links in a chain: count.
pub const MAX_LINKS: usize = 4;
/// Further links that a link may allow: count.
pub const MAX_TRANSFER_DEPTH: u8 = 3;
/// Grants in one link: count.
pub const MAX_GRANTS: usize = 16;

/// Entries of one access control list: count. What needs more wants a group.
pub const MAX_BUCKET_ENTRIES: usize = 1024;
/// An encoded access control list: bytes. `MAX_BUCKET_ENTRIES` entries with the longest names.
pub const MAX_BUCKET_BYTES: usize = MAX_BUCKET_ENTRIES * 320;
/// Members of one group: count.
pub const MAX_MEMBERS: usize = 512;
/// A foreign group's list is used for so long after it was fetched.
pub const GROUP_LIFE: Duration = Duration::from_secs(60);
/// Decisions about entries of access lists that are kept warm: count. About 300 bytes each.
pub const WARM_DECISIONS: usize = 16 * 1024;
/// Groups within groups: depth.
pub const MAX_GROUP_NESTING: usize = 8;
/// Groups looked at for one question about membership: count. Bounds wide nests as the depth bounds deep ones.
pub const MAX_GROUPS_VISITED: usize = 64;

/// How long an invitation is good for.
pub const INVITATION_LIFETIME: Duration = Duration::from_secs(600);
/// An invitation line: bytes.
pub const MAX_INVITATION_BYTES: usize = 2048;
/// Invitations that are open at one time: count. The next one is refused until one ends.
pub const MAX_INVITATIONS: usize = 256;

/// A file with keys or certificates: bytes.
pub const MAX_KEY_FILE_BYTES: usize = 64 * 1024;
/// The file of open invitations: bytes.
pub const MAX_INVITATIONS_FILE_BYTES: usize = MAX_INVITATIONS * 1024;
/// One record of the audit log: bytes. Longer texts within it are cut, and the record says so.
pub const MAX_AUDIT_RECORD_BYTES: usize = 16 * 1024;
/// One text within an audit record: bytes as escaped there. A refusal must fit, whatever the path it names.
pub const MAX_AUDIT_TEXT: usize = 2048;
/// One file of the audit log: bytes. A full one is put aside under the number of its first record.
pub const MAX_AUDIT_FILE_BYTES: u64 = 64 << 20;
/// Full files of the audit log that are kept: count. The oldest goes when one more is put aside, so that the log takes
/// 1 GiB at most; whoever wants to keep more copies them away.
pub const MAX_AUDIT_OLD_FILES: usize = 15;
/// The note of where the audit log ended: bytes.
pub const MAX_AUDIT_NOTE_BYTES: usize = 1024;
/// Ends of one node's audit log that a witness lets be acknowledged as lost: count. Whoever restores a log more often than that
/// is contradicted.
pub const MAX_LOST_HEADS: usize = 8;
/// Refusals of one principal for one subject and right that are recorded whole in one minute: count. Further ones are summed.
pub const MAX_PEER_REFUSALS: u64 = 20;
/// Principals, each with one subject and right, whose refusals are counted in one minute: count. Those of others are summed to one
/// record more.
pub const MAX_PEER_SUMS: usize = 999;
/// Records of anonymous refusals in one minute: count. What exceeds it is summed to one record more.
pub const MAX_ANONYMOUS_SUMS: usize = 999;

/// What is read of the end of an audit log for a look at its newest records: bytes.
pub const MAX_AUDIT_TAIL_BYTES: u64 = 256 << 10;
/// Summed refusals that wait for a disk that cannot be written: count. Further ones are counted into the last one.
pub const MAX_UNWRITTEN_SUMS: usize = 2 * (MAX_ANONYMOUS_SUMS + MAX_PEER_SUMS + 2);

/// How long a bearer token is good for, at most. It can be copied by whoever sees it, so it ends the same day.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Tokens of one principal at one node: count. The next one is refused until one ends or is revoked.
pub const MAX_TOKENS_OF_ONE: usize = 32;
/// Tokens at one node: count.
pub const MAX_TOKENS: usize = 4096;
/// The file of tokens: bytes. `MAX_TOKENS` with all the grants that they may have would be more; it is refused by name.
pub const MAX_TOKENS_FILE_BYTES: usize = 16 << 20;
/// The value of an `Authorization` header with a token: bytes. More is no token.
pub const MAX_AUTHORIZATION_BYTES: usize = 512;

/// How old the word of a realm may be for `w`, `m`, `x`, `a` and `relay`, unless the site says otherwise.
pub const DEFAULT_ACTING_LIMIT: Duration = Duration::from_secs(60);
/// How old the word of a realm may be for `r`, unless the site says otherwise.
pub const DEFAULT_READING_LIMIT: Duration = Duration::from_secs(600);
/// The shortest of these limits that a site can choose: three times the interval of heads.
pub const MIN_FEED_LIMIT: Duration = Duration::from_secs(60);
/// The longest of these limits that a site can choose.
pub const MAX_FEED_LIMIT: Duration = Duration::from_secs(3600);
/// How often a realm says that its feed is all, to whoever listens.
pub const HEAD_INTERVAL: Duration = Duration::from_secs(20);
/// From this age on a reader looks for a newer word of the realm at another of its name servers.
pub const HEAD_OLD: Duration = Duration::from_secs(2 * HEAD_INTERVAL.as_secs());
/// Entries of one page of a feed: count. So many of the longest names fit into a document.
pub const MAX_FEED_PAGE: usize = 128;
/// How long a source uses one hash of its list, if the list does not change.
pub const LISTED_STEP: Duration = Duration::from_secs(60);
/// Signed pages of one feed that a reader keeps: count, and as many that the list no longer proves. A full list has
/// `MAX_REVOCATIONS` / `MAX_FEED_PAGE` pages, of about 20 KiB each.
pub const MAX_KEPT_PAGES: usize = 2048;
/// Pages beyond twice as many as a list needs, after which it is asked for anew in full pages: count.
pub const SCATTERED_PAGES: usize = 64;
/// After this time a name server asks anew for the pages that it hands on: long before the certificate of the key that
/// signed them ends.
pub const KEPT_PAGES_LIFE: Duration = Duration::from_secs(3600);
/// Revocations that a realm lists at one time: count. They are forgotten when what they end has ended by itself.
pub const MAX_REVOCATIONS: usize = 100_000;
/// Where transfer certificates are listed no more: count. The rest is for principals.
pub const MAX_REVOKED_TRANSFERS: usize = MAX_REVOCATIONS / 10 * 9;
/// How long a revocation is kept of which nobody knows how long its object lasts: longer than any leaf, and so any link.
pub const REVOCATION_MEMORY: Duration = Duration::from_secs(31 * DAY_S);

const _: () = assert!(HEAD_INTERVAL.as_secs() * 3 <= MIN_FEED_LIMIT.as_secs());
const _: () = assert!(HEAD_OLD.as_secs() < MIN_FEED_LIMIT.as_secs());
const _: () = assert!(REVOCATION_MEMORY.as_secs() > USER_LIFETIME.as_secs() + 2 * CLOCK_SKEW.as_secs());
const _: () = assert!(2 * MAX_REVOCATIONS.div_ceil(MAX_FEED_PAGE) + SCATTERED_PAGES < MAX_KEPT_PAGES);
const _: () = assert!(MAX_FEED_PAGE * 400 + 2 * MAX_CERTIFICATE_BYTES + 1024 <= MAX_DOCUMENT_BYTES);
const _: () = assert!(MAX_TRANSFER_BYTES <= MAX_DOCUMENT_BYTES);
const _: () = assert!(MAX_CERTIFICATE_BYTES * MAX_CHAIN_CERTIFICATES <= MAX_TRANSFER_BYTES);
const _: () = assert!(SCRYPT_LOG_N <= SCRYPT_MAX_LOG_N);
const _: () = assert!(MIN_PASSPHRASE_BYTES < MAX_PASSPHRASE_BYTES);
const _: () = assert!(SERVER_LIFETIME.as_secs() < ISSUING_LIFETIME.as_secs());
const _: () = assert!(ISSUING_LIFETIME.as_secs() < ROOT_LIFETIME.as_secs());
const _: () = assert!((MAX_TRANSFER_DEPTH as usize) < MAX_LINKS);
/// One grant of a chain within an audit record: bytes as escaped there.
pub const MAX_AUDIT_GRANT: usize = 256;
/// What one link of a chain covers within an audit record: bytes as escaped there.
pub const MAX_AUDIT_LINK: usize = 768;
/// Ids and names of one link within an audit record: bytes.
const AUDIT_LINK_REST: usize = 3 * 330 + 256;
/// All else in an audit record: names of at most 320 bytes, numbers, hashes and the names of fields.
const AUDIT_REST: usize = 3072;

const _: () = assert!(
    2 * MAX_AUDIT_TEXT + MAX_LINKS * (MAX_AUDIT_LINK + MAX_AUDIT_GRANT + AUDIT_LINK_REST) + AUDIT_REST
        <= MAX_AUDIT_RECORD_BYTES
);
const _: () = assert!(MAX_AUDIT_RECORD_BYTES as u64 * 16 < MAX_AUDIT_FILE_BYTES);
