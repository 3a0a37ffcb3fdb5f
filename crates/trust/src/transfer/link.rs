//! One link as people and the audit log read it.

use super::claims::Claims;
use super::grant::Grant;
use terms::{Epoch, Principal, Thumbprint, TransferId, UnixMs};

/// What one link says. Read from a [`super::Chain`] it is unverified; within a [`super::VerifiedChain`] it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its id.
    pub id: TransferId,
    /// Who signed it.
    pub issuer: Principal,
    /// On whose behalf the whole chain acts.
    pub subject: Principal,
    /// The one server that may use it.
    pub audience: Principal,
    /// The key that this server must prove to hold.
    pub audience_key: Thumbprint,
    /// What it allows.
    pub grants: Vec<Grant>,
    /// From when, without allowance for clocks.
    pub from: UnixMs,
    /// Until just before when, without allowance for clocks.
    pub until: UnixMs,
    /// How many more links may follow.
    pub depth: u8,
    /// The epoch of its issuer's realm when it was signed.
    pub epoch: Epoch,
}

impl From<&Claims> for Link {
    fn from(claims: &Claims) -> Self {
        Self {
            id: claims.id,
            issuer: claims.issuer.clone(),
            subject: claims.subject.clone(),
            audience: claims.audience.clone(),
            audience_key: claims.audience_key,
            grants: claims.grants.clone(),
            from: UnixMs::from_secs(claims.not_before),
            until: UnixMs::from_secs(claims.expires),
            depth: claims.depth,
            epoch: claims.epoch,
        }
    }
}
