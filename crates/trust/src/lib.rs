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
mod files;
mod group;
mod identity;
mod invitation;
mod key;
pub mod limits;
mod member;
mod path;
mod reason;
mod root;
pub mod signed;
mod store;
pub mod transfer;
mod vault;
mod x509;

pub use audit::{
    AuditFault, AuditHead, AuditLink, AuditLog, AuditOutcome, AuditRecord, AuditSummary, verify_audit,
};
pub use authority::Authority;
pub use bucket::Bucket;
pub use bundle::{Bundle, NameServer};
pub use decide::{
    Asker, Authorised, Decision, Object, ObjectDecision, ObjectQuestion, Question, decide, decide_object,
};
pub use error::{ChainRefusal, TrustError};
pub use group::{GroupChange, GroupList, Groups, Member, Membership, NoGroups};
pub use identity::Identity;
pub use invitation::{Invitation, InvitationRefusal, Invitations, Secret};
pub use key::{KeyPair, PublicKey};
pub use member::{
    Given, LastRenewal, RealmMember, RenewalAsked, RenewalId, RenewalRefusal, RenewalVerdict, Standing,
    judge_renewal,
};
pub use reason::{Ground, Reason, Resource};
pub use root::Root;
pub use signed::Opened;
pub use store::TrustStore;
pub use transfer::{Chain, CreateTransfer, Grant, Refusal, TransferCertificate, TransferId, VerifiedChain};
pub use vault::Passphrase;
