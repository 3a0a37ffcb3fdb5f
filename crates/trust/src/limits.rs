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
/// Links in a chain that can be decoded: count. More than one is refused by name in this release.
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
/// Refusals of one principal for one subject and right that are recorded whole in one minute: count. Further ones are summed.
pub const MAX_PEER_REFUSALS: u64 = 20;
/// Principals, each with one subject and right, whose refusals are counted in one minute: count. Those of others are summed to one
/// record more.
pub const MAX_PEER_SUMS: usize = 999;
/// Records of anonymous refusals in one minute: count. What exceeds it is summed to one record more.
pub const MAX_ANONYMOUS_SUMS: usize = 999;

const _: () = assert!(MAX_TRANSFER_BYTES <= MAX_DOCUMENT_BYTES);
const _: () = assert!(MAX_CERTIFICATE_BYTES * MAX_CHAIN_CERTIFICATES <= MAX_TRANSFER_BYTES);
const _: () = assert!(SCRYPT_LOG_N <= SCRYPT_MAX_LOG_N);
const _: () = assert!(MIN_PASSPHRASE_BYTES < MAX_PASSPHRASE_BYTES);
const _: () = assert!(SERVER_LIFETIME.as_secs() < ISSUING_LIFETIME.as_secs());
const _: () = assert!(ISSUING_LIFETIME.as_secs() < ROOT_LIFETIME.as_secs());
const _: () = assert!((MAX_TRANSFER_DEPTH as usize) < MAX_LINKS);
/// One grant of a chain within an audit record: bytes as escaped there.
pub const MAX_AUDIT_GRANT: usize = 256;
/// All else in an audit record: six names of at most 320 bytes, numbers, hashes and the names of fields.
const AUDIT_REST: usize = 4096;

const _: () = assert!(2 * MAX_AUDIT_TEXT + MAX_GRANTS * MAX_AUDIT_GRANT + AUDIT_REST <= MAX_AUDIT_RECORD_BYTES);
const _: () = assert!(MAX_AUDIT_RECORD_BYTES as u64 * 16 < MAX_AUDIT_FILE_BYTES);
