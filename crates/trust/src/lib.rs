//! Who asks, on whose behalf, and may they: identities, authorities, transfer certificates, access lists, the
//! three-step check, and the audit log.
//!
//! Promise: a value of [`wire::Peer`], [`VerifiedChain`] or [`Authorised`] exists only after the check that its
//! name says. This crate never reads a clock and never speaks to the network.

mod audit;
mod authority;
mod bucket;
mod bundle;
mod cache;
mod codec;
mod decide;
mod entries;
mod error;
mod feed;
mod feed_copy;
mod feed_pages;
mod files;
mod group;
mod identity;
mod invitation;
mod key;
pub mod limits;
mod member;
mod nest;
mod path;
mod reason;
mod recent;
mod root;
pub mod signed;
mod standing;
mod store;
mod tag;
mod token;
pub mod transfer;
mod vault;
mod why;
mod x509;

pub use audit::{
    AuditEntry, AuditFault, AuditHead, AuditLink, AuditLog, AuditOutcome, AuditQuery, AuditRecord, AuditSummary,
    HEAD_KIND, HeadStatement, Testimony, Witnessed, missing_audit, newest_audit, noted_head, read_audit,
    verify_audit, verify_newest_audit,
};
pub use authority::Authority;
pub use bucket::Bucket;
pub use bundle::{Bundle, NameServer};
pub use cache::{Decisions, Entries};
pub use decide::{
    Asker, Authorised, Decision, Object, ObjectDecision, ObjectQuestion, Question, decide, decide_object,
};
pub use entries::{Checked, check_entries};
pub use error::{ChainRefusal, TrustError};
pub use feed::{FEED_SERVICE, Feed, FeedEntry, FeedPage, ListHash, Recovered, Revoked, feed_signer};
pub use feed_copy::{Applied, FeedCopy, Worth};
pub use feed_pages::FeedPages;
pub use group::{GroupChange, GroupList, Member, Membership, NoGroups, SignedList};
pub use identity::{Identity, IdentityFile};
pub use invitation::{Invitation, InvitationRefusal, Invitations, Secret};
pub use key::{KeyPair, PublicKey};
pub use member::{
    Given, LastRenewal, MemberState, RealmMember, RenewalAsked, RenewalId, RenewalRefusal, RenewalVerdict,
    judge_renewal,
};
pub use nest::{Found, Groups, Listed, Lists, principals_below, search};
pub use reason::{Ground, Reason, Resource};
pub use root::Root;
pub use signed::Opened;
pub use standing::{AllStand, FeedLimits, Head, Standing};
pub use store::TrustStore;
pub use token::{BearerToken, MintToken, TokenGrant, TokenInfo, TokenRefusal, Tokens, VerifiedToken};
pub use transfer::{Chain, CreateTransfer, Grant, Link, Refusal, TransferCertificate, VerifiedChain, VerifiedLink};
pub use vault::Passphrase;
pub use why::{Change, Explanation, explain, explain_outside, reason_about, reason_revoked};
