//! Who asks, on whose behalf, and may they: identities, authorities, transfer certificates, access lists, the
//! three-step check, and the audit log.
//!
//! Promise: a value of [`wire::Peer`], [`VerifiedChain`] or [`Authorised`] exists only after the check that its
//! name says. This crate never reads a clock and never speaks to the network.

mod audit;
mod authority;
mod bucket;
mod bundle;
mod codec;
mod decide;
mod error;
mod feed;
mod files;
mod group;
mod identity;
mod invitation;
mod key;
pub mod limits;
mod path;
mod reason;
mod recent;
pub mod signed;
mod standing;
mod store;
mod token;
pub mod transfer;
mod x509;

pub use audit::{
    AuditEntry, AuditFault, AuditHead, AuditLink, AuditLog, AuditOutcome, AuditQuery, AuditRecord, AuditSummary,
    HEAD_KIND, HeadStatement, Testimony, Witnessed, newest_audit, noted_head, read_audit, verify_audit,
};
pub use authority::Authority;
pub use bucket::Bucket;
pub use bundle::{Bundle, NameServer};
pub use decide::{
    Asker, Authorised, Decision, Object, ObjectDecision, ObjectQuestion, Question, decide, decide_object,
};
pub use error::{ChainRefusal, TrustError};
pub use feed::{Applied, FEED_SERVICE, Feed, FeedCopy, FeedEntry, FeedPage, Revoked, feed_signer};
pub use group::{GroupChange, GroupList, Groups, Member, Membership, NoGroups};
pub use identity::Identity;
pub use invitation::{Invitation, InvitationRefusal, Invitations, Secret};
pub use key::{KeyPair, PublicKey};
pub use reason::{Ground, Reason, Resource};
pub use signed::Opened;
pub use standing::{AllStand, FeedLimits, Head, Standing};
pub use store::TrustStore;
pub use token::{BearerToken, MintToken, TokenGrant, TokenInfo, TokenRefusal, Tokens, VerifiedToken};
pub use transfer::{Chain, CreateTransfer, Grant, Link, Refusal, TransferCertificate, VerifiedChain, VerifiedLink};
