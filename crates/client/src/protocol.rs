//! The control messages between a client and a node that belong to no lower crate: enrolment, access lists,
//! group members, reading for somebody else, publishing, status. All travel as CBOR.

mod homes;
mod renewal;
mod rights;
mod servers;
mod upkeep;

pub use homes::{
    DUMP_ROUTE, DumpPurpose, DumpRequest, EPOCH_HEADER, HOMES_ROUTE, HomeClaim, HomeEntry, HomeRequest, MOVE_ROUTE,
    MoveProgress, MoveReply, MoveRequest,
};
pub use renewal::{GRACE_PROOF, GraceProof, RENEW_PROOF, RenewReply, RenewRequest, grace_proof, renew_proof};
pub use rights::{
    AclChange, AclSet, AclView, GroupLine, GroupMessage, GroupOrder, GroupReply, MemberTerm, WhyChange, WhyReply,
    WhyRequest,
};
pub use servers::{NAME_SERVERS_ROUTE, NameServersReply, NameServersRequest};
pub use upkeep::{UpkeepReply, UpkeepRequest, VolumeChecked, VolumeCollected};

use crate::models::{Load, Offer, OfferState, Phase};
use serde::{Deserialize, Serialize};
use terms::{Location, Principal, PrincipalKind, RealmName, ServiceName, UnixMs, Who};
use trust::PublicKey;

/// POST [`JoinRequest`], answered with [`JoinReply`]. Open to peers without a certificate.
pub const JOIN_ROUTE: &str = "/.webos/join";
/// POST [`RenewRequest`], answered with [`RenewReply`]. Open to peers without a certificate, for the time of grace.
pub const RENEW_ROUTE: &str = "/.webos/renew";
/// GET: the realm's signed bundle. Open to peers without a certificate.
pub const BUNDLE_ROUTE: &str = "/.webos/bundle";
/// GET [`AclView`], POST [`AclChange`], PUT [`AclSet`]: `/.webos/acl/VOLUME/path`.
pub const ACL_ROUTE: &str = "/.webos/acl";
/// POST [`GroupMessage`], GET the signed list: `/.webos/group/NAME`; GET [`AclView`]: `/.webos/group/NAME/acl`.
pub const GROUP_ROUTE: &str = "/.webos/group";
/// GET a list of [`GroupLine`]: the groups whose list is held there.
pub const GROUPS_ROUTE: &str = "/.webos/groups";
/// POST [`WhyRequest`]: `/.webos/why/VOLUME/path`, `/.webos/why/group/NAME`, `/.webos/why/service/NAME`.
pub const WHY_ROUTE: &str = "/.webos/why";
/// POST [`ViaRequest`]: the node reads for the caller and answers with the content.
pub const VIA_ROUTE: &str = "/.webos/via";
/// POST [`PublishRequest`], answered with [`PublishReply`].
pub const PUBLISH_ROUTE: &str = "/.webos/publish";
/// POST [`UpkeepRequest`], answered with [`UpkeepReply`]: has a volume checked or collected while its home runs.
pub const UPKEEP_ROUTE: &str = "/.webos/upkeep";
/// GET [`NodeStatus`].
pub const STATUS_ROUTE: &str = "/.webos/status";
/// POST [`StateUpdate`]: the load daemon gives the name server what it signed.
pub const STATE_ROUTE: &str = "/.webos/state";
/// POST [`Announcement`], GET a list of [`Candidate`]: `/.webos/candidates/NAME`.
pub const ANNOUNCE_ROUTE: &str = "/.webos/candidates";

/// POST [`WitnessWord`], GET [`WitnessReply`]: a node tells where its audit log ends, and asks what it told last.
pub const WITNESS_ROUTE: &str = "/.webos/witness";
/// GET a list of [`trust::TokenInfo`], POST [`TokenRequest`], answered with [`TokenReply`].
pub const TOKEN_ROUTE: &str = "/.webos/token";
/// GET: a signed page of the realm's feed: `/.webos/feed?after=NUMBER`, with `&wait=1` once there is news or a new head
/// is due. Open to peers without a certificate.
pub const FEED_ROUTE: &str = "/.webos/feed";
/// POST [`FeedOffer`], answered with [`FeedRecovered`]: pages of the realm's feed that its list does not prove any more.
pub const FEED_LOST_ROUTE: &str = "/.webos/feed/lost";
/// POST [`RevokeRequest`], answered with [`RevokeReply`].
pub const REVOKE_ROUTE: &str = "/.webos/revoke";
/// POST [`PurseRequest`]: gives a server a transfer certificate that is for it.
pub const PURSE_ROUTE: &str = "/.webos/purse";

/// Whether the further name servers of a realm have what is behind this route: what is signed by the realm itself.
pub fn is_copied(route: &str) -> bool {
    let path = route.split_once('?').map_or(route, |(path, _)| path);
    path == BUNDLE_ROUTE || path == FEED_ROUTE
}

/// The route of one page.
pub fn feed_route(after: terms::Serial, wait: bool) -> String {
    format!("{FEED_ROUTE}?after={}{}", after.0, if wait { "&wait=1" } else { "" })
}

/// Take something back, at the first node of the realm whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokeRequest {
    /// The last link of this encoded chain, which the caller signed.
    Chain(serde_bytes::ByteBuf),
    /// A link by its id. For owners of the realm's first node.
    Transfer(terms::TransferId),
    /// Every certificate of a principal. For owners of the realm's first node.
    Principal(Principal),
    /// Every chain that principals of the realm signed until now. For owners of the realm's first node.
    AllChains,
}

/// What was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeReply {
    /// In plain words.
    pub done: String,
    /// The realm's epoch.
    pub epoch: terms::Epoch,
}

/// Keep this for yourself: an encoded chain whose last link is for the node asked, signed by the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurseRequest {
    /// The encoded chain.
    #[serde(with = "serde_bytes")]
    pub chain: Vec<u8>,
}

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
    /// Its connection cache.
    #[serde(default)]
    pub connections: wire::PoolCounts,
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

/// Pages of a realm's feed, brought back to it by a reader: the list was restored from a backup that did not know them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedOffer {
    /// As they were signed.
    pub pages: Vec<serde_bytes::ByteBuf>,
}

/// What became of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedRecovered {
    /// Revocations that are listed again: count.
    pub recovered: u64,
}

/// A node's signed word about the end of its audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessWord {
    /// A [`trust::HeadStatement`], signed by the node.
    #[serde(with = "serde_bytes")]
    pub head: Vec<u8>,
    /// `host:port` where the node listens: where it can be asked to witness in its turn.
    pub address: String,
}

/// What a witness keeps of the node that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessReply {
    /// Nothing, if it was never told anything.
    pub kept: Option<trust::Witnessed>,
}

/// What is asked about bearer tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenRequest {
    /// Make one for the caller.
    Mint {
        /// What it gives.
        grants: Vec<trust::TokenGrant>,
        /// For how long: milliseconds.
        valid_ms: u64,
    },
    /// End one at once: the caller's own, or one on files that the caller administers.
    Revoke {
        /// Its id.
        id: String,
    },
}

/// The answer about a bearer token.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenReply {
    /// The token, when one was made. This is the only time that it is told.
    pub token: Option<String>,
    /// What is known of it.
    pub info: trust::TokenInfo,
}
