//! Transfer certificates: a principal lends part of its rights to one server, which proves its key when it
//! uses them, and may lend on what it was lent, never more. A chain has at most four links, each bound to the key of the
//! server that signs the next.

mod claims;
mod grant;
mod link;
mod refusal;
mod verify;

pub use grant::Grant;
pub use link::Link;
pub use refusal::Refusal;
pub use verify::{VerifiedChain, VerifiedLink, verify, verify_last_signature};

use crate::codec::{check_size, decode, encode};
use crate::error::TrustError;
use crate::identity::Identity;
use crate::key::sha256;
use crate::limits::{MAX_GRANTS, MAX_LINKS, MAX_TRANSFER_BYTES, MAX_TRANSFER_DEPTH};
use crate::signed;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::Claims;
use serde_bytes::ByteBuf;
use std::fmt;
use std::time::Duration;
use terms::{Epoch, Principal, PrincipalKind, Thumbprint, TransferId, UnixMs};

/// The HTTP header that carries a chain: base64url without padding.
pub const HEADER: &str = "webos-transfer";
/// External data of links.
pub(crate) const KIND: &str = "webos-transfer-v1";
/// How long a transfer lasts unless told otherwise.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(8 * 3600);

/// What a principal is about to lend. `Display` says it in plain words, to be shown before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTransfer {
    /// The one server that may use it.
    pub audience: Principal,
    /// The key that this server must prove to hold.
    pub audience_key: Thumbprint,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// From now until when.
    pub valid_for: Duration,
    /// How many more links may follow; 0 withholds the right to transfer.
    pub depth: u8,
    /// The issuer's realm's epoch, from its bundle.
    pub epoch: Epoch,
}

impl fmt::Display for CreateTransfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} may, in your name, for {}:", self.audience, plain_time(self.valid_for))?;
        self.grants.iter().try_for_each(|grant| writeln!(f, "  {grant}"))?;
        match self.depth {
            0 => f.write_str("It may not pass this on."),
            depth => write!(f, "It may pass this on, over at most {depth} further servers."),
        }
    }
}

/// A time as people say it: in its two greatest units.
fn plain_time(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let mut left = seconds;
    let mut parts = Vec::new();
    for (length, unit) in units {
        if left >= length {
            parts.push(format!("{} {unit}", left / length));
            left %= length;
        }
    }
    parts.truncate(2);
    if parts.is_empty() { "0 s".into() } else { parts.join(" ") }
}

/// Makes transfer certificates.
#[derive(Debug, Clone, Copy)]
pub struct TransferCertificate;

impl TransferCertificate {
    /// Signs the first link of a chain.
    ///
    /// # Errors
    /// [`TrustError::Rule`] if the audience is no server, nothing is granted, the time is zero or goes beyond
    /// the issuer's own certificate; [`TrustError::TooLarge`] for more grants or depth than allowed.
    pub fn create(
        identity: &Identity,
        transfer: CreateTransfer,
        world: &world::World,
    ) -> Result<Chain, TrustError> {
        let now = world.clock.unix();
        check_rules(identity, &transfer, now)?;
        let claims = claims(identity, transfer, world);
        Chain(Vec::new()).with(identity, &claims)
    }

    /// Signs one more link, by the server that the last one is for: it passes on what it was lent, or less. Times
    /// that go beyond the parent's are cut to them; anything else that is wider is refused.
    ///
    /// # Errors
    /// [`TrustError::Rule`] if the chain is not for this identity's key, withholds the right to transfer, or grants
    /// less than is to be passed on; as [`TransferCertificate::create`].
    pub fn pass_on(
        parent: &Chain,
        identity: &Identity,
        transfer: CreateTransfer,
        world: &world::World,
    ) -> Result<Chain, TrustError> {
        let now = world.clock.unix();
        check_size("the chain", parent.0.len() + 1, MAX_LINKS)?;
        let last = parent.last()?;
        let mut transfer = transfer;
        let end = UnixMs::from_secs(last.expires);
        transfer.valid_for = transfer.valid_for.min(end.since(now));
        check_rules(identity, &transfer, now)?;
        check_passing(identity, &transfer, &last)?;
        let mut claims = claims(identity, transfer, world);
        claims.subject = last.subject;
        claims.not_before = claims.not_before.max(last.not_before);
        claims.via = parent.0.last().map(|link| sha256(link));
        claims.job = last.job;
        parent.clone().with(identity, &claims)
    }
}

fn claims(identity: &Identity, transfer: CreateTransfer, world: &world::World) -> Claims {
    let now = world.clock.unix();
    let mut id = [0u8; 16];
    world.entropy.fill(&mut id);
    Claims {
        issuer: identity.principal().clone(),
        subject: identity.principal().clone(),
        audience: transfer.audience,
        audience_key: transfer.audience_key,
        not_before: now.secs(),
        expires: now.plus(transfer.valid_for).secs(),
        issued: now.secs(),
        id: TransferId(id),
        grants: transfer.grants,
        depth: transfer.depth,
        via: None,
        epoch: transfer.epoch,
        job: None,
    }
}

/// The rules that others will hold a further link against, told to whoever is about to sign it.
fn check_passing(identity: &Identity, transfer: &CreateTransfer, parent: &Claims) -> Result<(), TrustError> {
    let rule = |text: String| Err(TrustError::Rule(text));
    if parent.audience != *identity.principal() {
        return rule(format!("the transfer certificate {} is for {}", parent.id, parent.audience));
    }
    if parent.audience_key != identity.key().thumbprint() {
        return rule(format!("the transfer certificate {} is for another key of {}", parent.id, parent.audience));
    }
    if parent.depth == 0 {
        return rule(format!("the transfer certificate {} may not be passed on", parent.id));
    }
    if transfer.depth >= parent.depth {
        let left = parent.depth - 1;
        return rule(format!("of the transfer certificate {}, at most {left} further links may follow", parent.id));
    }
    match transfer.grants.iter().find(|grant| !grant.within(&parent.grants)) {
        Some(grant) => rule(format!("the transfer certificate {} does not give {grant}", parent.id)),
        None => Ok(()),
    }
}

fn check_rules(identity: &Identity, transfer: &CreateTransfer, now: terms::UnixMs) -> Result<(), TrustError> {
    let rule = |text: String| Err(TrustError::Rule(text));
    if transfer.audience.kind != PrincipalKind::Server {
        return rule(format!("{} is no server: rights are lent to servers only", transfer.audience));
    }
    if transfer.grants.is_empty() || transfer.grants.iter().any(|grant| grant.rights.is_empty()) {
        return rule("a transfer certificate must grant something in each of its grants".into());
    }
    check_size("the list of grants", transfer.grants.len(), MAX_GRANTS)?;
    check_size("the depth", usize::from(transfer.depth), usize::from(MAX_TRANSFER_DEPTH))?;
    if transfer.valid_for < Duration::from_secs(1) {
        return rule("a transfer certificate lasts at least one second".into());
    }
    if now.plus(transfer.valid_for) > identity.not_after() {
        let left = identity.not_after().since(now).as_secs();
        return rule(format!("your own certificate ends in {left} s, and what you lend cannot last longer"));
    }
    Ok(())
}

/// A chain of links as it travels. Nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain(pub(crate) Vec<Vec<u8>>);

impl Chain {
    /// The same chain with one more link.
    fn with(mut self, identity: &Identity, claims: &Claims) -> Result<Self, TrustError> {
        self.0.push(signed::sign_value(identity, KIND, claims.to_value()?)?);
        check_size("the transfer certificate", self.encode()?.len(), MAX_TRANSFER_BYTES)?;
        Ok(self)
    }

    /// Its first links, at least one.
    #[must_use]
    pub fn up_to(&self, links: usize) -> Self {
        Self(self.0.iter().take(links.max(1)).cloned().collect())
    }

    /// What its last link says, unverified.
    fn last(&self) -> Result<Claims, TrustError> {
        let link = self.0.last().ok_or_else(|| TrustError::malformed("the chain", "it has no link"))?;
        let claims = Claims::peek(link);
        claims.map_err(|refusal| TrustError::malformed("the transfer certificate", refusal))
    }

    /// What its links say, first to last. Nothing of it is verified: for people to read, and to choose by.
    ///
    /// # Errors
    /// [`Refusal`] if a link cannot be read.
    pub fn links(&self) -> Result<Vec<Link>, Refusal> {
        self.0.iter().map(|link| Ok(Link::from(&Claims::peek(link)?))).collect()
    }

    /// The chain as bytes: a CBOR array of byte strings, each a COSE_Sign1.
    ///
    /// # Errors
    /// Never for a chain that was made or decoded here.
    pub fn encode(&self) -> Result<Vec<u8>, TrustError> {
        let links: Vec<ByteBuf> = self.0.iter().map(|link| ByteBuf::from(link.clone())).collect();
        encode("the transfer certificate", &links)
    }

    /// Reads a chain of 1 to 4 links, at most 32 KiB together. Nothing is verified.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] before anything is decoded; [`Refusal::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_TRANSFER_BYTES {
            return Err(Refusal::TooLarge { bytes: bytes.len() });
        }
        let links: Vec<ByteBuf> = decode("the chain", bytes, MAX_TRANSFER_BYTES)
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        if links.is_empty() || links.len() > MAX_LINKS {
            return Err(Refusal::Malformed(format!("it has {} links, not 1 to {MAX_LINKS}", links.len())));
        }
        Ok(Self(links.into_iter().map(ByteBuf::into_vec).collect()))
    }

    /// The chain as the value of [`HEADER`].
    ///
    /// # Errors
    /// As [`Chain::encode`].
    pub fn to_header(&self) -> Result<String, TrustError> {
        Ok(URL_SAFE_NO_PAD.encode(self.encode()?))
    }

    /// Reads the value of [`HEADER`].
    ///
    /// # Errors
    /// As [`Chain::decode`].
    pub fn from_header(value: &str) -> Result<Self, Refusal> {
        if value.len() > MAX_TRANSFER_BYTES.div_ceil(3) * 4 {
            return Err(Refusal::TooLarge { bytes: value.len() / 4 * 3 });
        }
        let bytes = URL_SAFE_NO_PAD.decode(value).map_err(|error| Refusal::Malformed(error.to_string()))?;
        Self::decode(&bytes)
    }
}
