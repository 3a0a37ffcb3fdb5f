//! The control messages between a client and a node that belong to no lower crate: enrolment, access lists,
//! group members, reading for somebody else, publishing, status. All travel as CBOR.

use crate::models::{Load, Offer, OfferState, Phase};
use serde::{Deserialize, Serialize};
use terms::{Digest, GroupName, Location, Principal, PrincipalKind, RealmName, Rights, ServiceName, UnixMs, Who};
use trust::{PublicKey, RenewalId};

/// POST [`JoinRequest`], answered with [`JoinReply`]. Open to peers without a certificate.
pub const JOIN_ROUTE: &str = "/.webos/join";
/// POST [`RenewRequest`], answered with [`RenewReply`]. Open to peers without a certificate, for the time of grace.
pub const RENEW_ROUTE: &str = "/.webos/renew";
/// GET: the realm's signed bundle. Open to peers without a certificate.
pub const BUNDLE_ROUTE: &str = "/.webos/bundle";
/// GET [`AclView`], POST [`AclChange`]: `/.webos/acl/VOLUME/path`.
pub const ACL_ROUTE: &str = "/.webos/acl";
/// POST [`MemberChange`], GET the signed list: `/.webos/group/NAME`.
pub const GROUP_ROUTE: &str = "/.webos/group";
/// POST [`ViaRequest`]: the node reads for the caller and answers with the content.
pub const VIA_ROUTE: &str = "/.webos/via";
/// POST [`PublishRequest`], answered with [`PublishReply`].
pub const PUBLISH_ROUTE: &str = "/.webos/publish";
/// GET [`NodeStatus`].
pub const STATUS_ROUTE: &str = "/.webos/status";
/// POST [`StateUpdate`]: the load daemon gives the name server what it signed.
pub const STATE_ROUTE: &str = "/.webos/state";
/// POST [`Announcement`], GET a list of [`Candidate`]: `/.webos/candidates/NAME`.
pub const ANNOUNCE_ROUTE: &str = "/.webos/candidates";

/// What the proof of a joining key signs: this, the principal, the key.
pub const JOIN_PROOF: &[u8] = b"webos-join-v1";

/// Redeems an invitation.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    /// What is joining.
    pub kind: PrincipalKind,
    /// Under which name.
    pub name: terms::Label,
    /// The invitation's secret.
    pub secret: trust::Secret,
    /// The key that was made on the joining machine.
    pub key: PublicKey,
    /// [`JOIN_PROOF`], principal and key, signed with the key.
    #[serde(with = "serde_bytes")]
    pub proof: Vec<u8>,
}

/// What the proof signs.
pub fn join_proof(principal: &Principal, key: &PublicKey) -> Vec<u8> {
    [JOIN_PROOF, principal.to_string().as_bytes(), key.spki()].concat()
}

/// The certificate and the bundle of the realm joined.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinReply {
    /// Leaf, issuing certificate, root, in DER.
    pub chain: Vec<serde_bytes::ByteBuf>,
    /// The signed bundle.
    #[serde(with = "serde_bytes")]
    pub bundle: Vec<u8>,
}

/// What the proof of a renewal's key signs: this, the principal, the id, the key.
pub const RENEW_PROOF: &[u8] = b"webos-renew-v1";
/// What the proof of an ended certificate's key signs: this, the connection's binding, the id, the key.
pub const GRACE_PROOF: &[u8] = b"webos-renew-grace-v1";

/// Asks for the next certificate of whoever asks.
#[derive(Clone, Serialize, Deserialize)]
pub struct RenewRequest {
    /// Stored by the sender before it was sent: the same id gets the same certificate.
    pub id: RenewalId,
    /// The key to certify: the present one, or a new one.
    pub key: PublicKey,
    /// [`RENEW_PROOF`] and what belongs to it, signed with that key.
    #[serde(with = "serde_bytes")]
    pub proof: Vec<u8>,
    /// In the time of grace, when TLS shows no certificate.
    #[serde(default)]
    pub grace: Option<GraceProof>,
}

/// Proves that the sender holds the key of a certificate that has ended.
#[derive(Clone, Serialize, Deserialize)]
pub struct GraceProof {
    /// The ended certificate, and what it stood under.
    pub chain: Vec<serde_bytes::ByteBuf>,
    /// [`GRACE_PROOF`] and what belongs to it, signed with its key.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// What the proof of a renewal's key signs.
pub fn renew_proof(principal: &Principal, id: RenewalId, key: &PublicKey) -> Vec<u8> {
    [RENEW_PROOF, principal.to_string().as_bytes(), &id.0, key.spki()].concat()
}

/// What the proof of an ended certificate's key signs.
pub fn grace_proof(binding: &wire::Binding, id: RenewalId, key: &PublicKey) -> Vec<u8> {
    [GRACE_PROOF, &binding.0, &id.0, key.spki()].concat()
}

/// The next certificate.
#[derive(Clone, Serialize, Deserialize)]
pub struct RenewReply {
    /// Leaf, issuing certificate, root, in DER.
    pub chain: Vec<serde_bytes::ByteBuf>,
}

/// An access list as a person reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclView {
    /// The bucket's hash.
    pub bucket: Digest,
    /// Who may do what.
    pub entries: Vec<(Who, Rights)>,
}

/// A change of an access list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclChange {
    /// Whose entry.
    pub who: Who,
    /// Which rights.
    pub rights: Rights,
    /// Add them; else take them away.
    pub grant: bool,
    /// Everything below as well, as one operation.
    pub recursive: bool,
}

/// Puts a member into a group, moves its end, or takes it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChange {
    /// Which group.
    pub group: GroupName,
    /// Who.
    pub member: Principal,
    /// Until when; taken out if there is none.
    pub until: Option<UnixMs>,
}

/// Read this file at its home on my behalf, under the certificate in the `webos-transfer` header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViaRequest {
    /// What to read.
    pub location: Location,
}

/// Publish a folder of a volume as a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishRequest {
    /// The service.
    pub service: ServiceName,
    /// The folder.
    pub files: Location,
    /// The mean latency to keep: milliseconds.
    pub goal_ms: u32,
    /// Greatest number of servers, the primary included.
    pub max_servers: u32,
    /// Who may use the service: its bucket's entries (`r` is what counts).
    pub readers: Vec<Who>,
    /// What one server can send: bits per second, if stated (the local world's links).
    pub link_bps: Option<u64>,
    /// How long load must be gone before servers are returned: milliseconds; the load daemon's usual time if not
    /// said. Much less than that gives servers back too early.
    #[serde(default)]
    pub stabilization_ms: Option<u32>,
    /// Who besides the nodes of the service's own realm may lend to it: principals and groups, usually of other
    /// realms.
    #[serde(default)]
    pub lenders: Vec<Who>,
}

/// A node says that it is lent to a service, and again every [`crate::limits::ANNOUNCE_INTERVAL`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announcement {
    /// `host:port` where the node listens.
    pub address: String,
    /// What it lends; nothing when it takes its offer back.
    pub offer: Option<Offer>,
    /// Whether it holds `relay` on files of this realm: such a node is not recruited.
    pub relay: bool,
}

/// A node that may be recruited, as the authority heard of it over mutual TLS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The node.
    pub principal: Principal,
    /// Its key.
    pub key: terms::Thumbprint,
    /// `host:port`.
    pub address: String,
    /// What it lends.
    pub offer: Offer,
    /// Whether it relays for the realm.
    pub relay: bool,
}

/// A published service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishReply {
    /// The signed service certificate.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
}

/// What the load daemon signed last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StateUpdate {
    /// The service.
    pub service: ServiceName,
    /// The signed table.
    #[serde(with = "serde_bytes")]
    pub table: Vec<u8>,
    /// The signed rights to serve of the present surrogates.
    pub rights: Vec<serde_bytes::ByteBuf>,
}

/// How a node stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Who answers.
    pub node: Principal,
    /// Its key, to which transfer certificates are bound.
    pub key: terms::Thumbprint,
    /// The realm.
    pub realm: RealmName,
    /// Since when, by its wall clock.
    pub started: UnixMs,
    /// Until when its certificate holds.
    pub certificate_until: UnixMs,
    /// Volumes that have their home here.
    pub volumes: Vec<terms::VolumeName>,
    /// Whether it serves, as home or as surrogate.
    pub fronts: Vec<FrontStatus>,
    /// To whom it is lent.
    pub offers: Vec<OfferState>,
    /// Relay: volume, and how long its lease still is, milliseconds.
    pub relays: Vec<(terms::VolumeName, u32)>,
}

/// How a front stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrontStatus {
    /// The service.
    pub service: ServiceName,
    /// Whether this is the primary.
    pub primary: bool,
    /// Where it stands; a primary always serves.
    pub phase: Phase,
    /// Its load now.
    pub load: Load,
    /// What is left of its lease: milliseconds; nothing for the primary.
    pub lease_left_ms: Option<u32>,
    /// Requests answered since the start.
    pub requests: u64,
    /// Body bytes sent since the start.
    pub bytes: u64,
    /// Body bytes of answers that are being sent now and not yet complete: shows who is sending.
    pub sending: u64,
}
