//! The claims of one link as a CWT claims set (RFC 8392), read strictly: every claim of ours must be there
//! once, and a claim that is not understood is refused, because it might narrow what the others say.

use super::grant::{Grant, TravellingGrant};
use super::refusal::Refusal;
use crate::error::TrustError;
use crate::limits::{MAX_GRANTS, MAX_TRANSFER_DEPTH};
use crate::signed;
use ciborium::Value;
use coset::cwt::{ClaimName, ClaimsSet, ClaimsSetBuilder, Timestamp};
use coset::{AsCborValue, iana};
use std::fmt;
use terms::{Epoch, Principal, Thumbprint, TransferId};

// Private use (RFC 8392, section 9.1: below -65536).
const GRANTS: i64 = -70_001;
const DEPTH: i64 = -70_002;
const VIA: i64 = -70_003;
const EPOCH: i64 = -70_004;
const JOB: i64 = -70_005;
/// Confirmation by key id (RFC 8747, section 3.4): here the thumbprint.
const CNF_KEY_ID: i64 = 3;

/// The claims of one link. Times in seconds since 1970, as in the encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    pub issuer: Principal,
    pub subject: Principal,
    pub audience: Principal,
    pub audience_key: Thumbprint,
    pub not_before: u64,
    pub expires: u64,
    pub issued: u64,
    pub id: TransferId,
    pub grants: Vec<Grant>,
    pub depth: u8,
    pub via: Option<LinkHash>,
    pub epoch: Epoch,
    pub job: Option<JobId>,
}

/// SHA-256 of a whole link as it travels.
pub(crate) type LinkHash = [u8; 32];

/// The job that a link is for: 128 random bits.
pub(crate) type JobId = [u8; 16];

impl Claims {
    pub fn to_value(&self) -> Result<Value, TrustError> {
        let failed = |error: coset::CoseError| TrustError::malformed("the transfer certificate", error);
        let time = |secs: u64| i64::try_from(secs).map(Timestamp::WholeSeconds);
        let far = |_| TrustError::malformed("the transfer certificate", "its end is too far away");
        let key = Value::Bytes(self.audience_key.0.to_vec());
        let claims = ClaimsSetBuilder::new()
            .issuer(self.issuer.to_string())
            .subject(self.subject.to_string())
            .audience(self.audience.to_string())
            .not_before(time(self.not_before).map_err(far)?)
            .expiration_time(time(self.expires).map_err(far)?)
            .issued_at(time(self.issued).map_err(far)?)
            .cwt_id(self.id.0.to_vec())
            .claim(iana::CwtClaimName::Cnf, Value::Map(vec![(CNF_KEY_ID.into(), key)]))
            .private_claim(GRANTS, Value::Array(self.grants.iter().map(grant_value).collect::<Result<_, _>>()?))
            .private_claim(DEPTH, self.depth.into())
            .private_claim(EPOCH, self.epoch.0.into());
        let claims = match self.via {
            Some(parent) => claims.private_claim(VIA, Value::Bytes(parent.to_vec())),
            None => claims,
        };
        let claims = match self.job {
            Some(job) => claims.private_claim(JOB, Value::Bytes(job.to_vec())),
            None => claims,
        };
        claims.build().to_cbor_value().map_err(failed)
    }

    /// Reads the claims of a link without verifying it.
    pub fn peek(link: &[u8]) -> Result<Self, Refusal> {
        let value = signed::peek(link).map_err(|error| Refusal::Malformed(error.to_string()))?;
        Self::from_value(value)
    }

    pub fn from_value(value: Value) -> Result<Self, Refusal> {
        let mut set = ClaimsSet::from_cbor_value(value).map_err(|error| Refusal::Malformed(error.to_string()))?;
        let mut rest = Rest(std::mem::take(&mut set.rest));
        let audience_key = read_confirmation(rest.take(ClaimName::Assigned(iana::CwtClaimName::Cnf), "cnf")?)?;
        let grants = read_grants(rest.take(ClaimName::PrivateUse(GRANTS), "grants")?)?;
        let depth = read_number(&rest.take(ClaimName::PrivateUse(DEPTH), "depth")?, "depth")?;
        let epoch = read_number(&rest.take(ClaimName::PrivateUse(EPOCH), "epoch")?, "epoch")?;
        let via = read_optional(&mut rest, VIA, "via")?;
        let job = read_optional(&mut rest, JOB, "job")?;
        if let Some((name, _)) = rest.0.first() {
            return Err(Refusal::UnknownClaim(format!("{name:?}")));
        }
        let claims = Self {
            issuer: read_principal(set.issuer, "iss")?,
            subject: read_principal(set.subject, "sub")?,
            audience: read_principal(set.audience, "aud")?,
            audience_key,
            not_before: read_time(set.not_before, "nbf")?,
            expires: read_time(set.expiration_time, "exp")?,
            issued: read_time(set.issued_at, "iat")?,
            id: read_id(set.cwt_id)?,
            grants,
            depth: u8::try_from(depth).unwrap_or(u8::MAX),
            via,
            epoch: Epoch(epoch),
            job,
        };
        if claims.depth > MAX_TRANSFER_DEPTH {
            return Err(Refusal::Malformed(format!("depth {depth} is more than {MAX_TRANSFER_DEPTH}")));
        }
        Ok(claims)
    }
}

fn grant_value(grant: &Grant) -> Result<Value, TrustError> {
    Value::serialized(&TravellingGrant::from(grant)).map_err(|error| TrustError::malformed("a grant", error))
}

/// The claims that have no place of their own in the set, each taken once.
struct Rest(Vec<(ClaimName, Value)>);

impl Rest {
    fn take(&mut self, name: ClaimName, text: &'static str) -> Result<Value, Refusal> {
        let index = self.0.iter().position(|(found, _)| *found == name).ok_or(Refusal::MissingClaim(text))?;
        Ok(self.0.swap_remove(index).1)
    }
}

fn wrong(claim: &str, why: impl fmt::Display) -> Refusal {
    Refusal::Malformed(format!("its claim {claim} is wrong: {why}"))
}

fn read_principal(text: Option<String>, claim: &'static str) -> Result<Principal, Refusal> {
    text.ok_or(Refusal::MissingClaim(claim))?.parse().map_err(|error| wrong(claim, error))
}

fn read_time(time: Option<Timestamp>, claim: &'static str) -> Result<u64, Refusal> {
    match time.ok_or(Refusal::MissingClaim(claim))? {
        Timestamp::WholeSeconds(secs) => u64::try_from(secs).map_err(|_| wrong(claim, "before 1970")),
        Timestamp::FractionalSeconds(_) => Err(wrong(claim, "not whole seconds")),
    }
}

fn read_id(bytes: Option<Vec<u8>>) -> Result<TransferId, Refusal> {
    let bytes = bytes.ok_or(Refusal::MissingClaim("cti"))?;
    bytes.try_into().map(TransferId).map_err(|_| wrong("cti", "not 16 bytes"))
}

fn read_number(value: &Value, claim: &'static str) -> Result<u64, Refusal> {
    let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| wrong(claim, "not a number of at most 64 bits"))
}

/// A claim of exactly so many bytes that need not be there.
fn read_optional<const N: usize>(
    rest: &mut Rest,
    name: i64,
    text: &'static str,
) -> Result<Option<[u8; N]>, Refusal> {
    let Ok(value) = rest.take(ClaimName::PrivateUse(name), text) else { return Ok(None) };
    let bytes = value.as_bytes().and_then(|bytes| <[u8; N]>::try_from(bytes.as_slice()).ok());
    bytes.map(Some).ok_or_else(|| wrong(text, format_args!("not {N} bytes")))
}

fn read_confirmation(value: Value) -> Result<Thumbprint, Refusal> {
    let map = value.into_map().map_err(|_| wrong("cnf", "not a map"))?;
    match map.as_slice() {
        [(name, Value::Bytes(key))] if *name == CNF_KEY_ID.into() => {
            Thumbprint::from_slice(key).ok_or_else(|| wrong("cnf", "not a thumbprint"))
        }
        _ => Err(wrong("cnf", "not exactly one key id")),
    }
}

fn read_grants(value: Value) -> Result<Vec<Grant>, Refusal> {
    let grants = value.into_array().map_err(|_| wrong("grants", "not a list"))?;
    if grants.is_empty() || grants.len() > MAX_GRANTS {
        return Err(wrong("grants", format_args!("{} grants, not 1 to {MAX_GRANTS}", grants.len())));
    }
    grants.into_iter().map(read_grant).collect()
}

fn read_grant(value: Value) -> Result<Grant, Refusal> {
    let travelling: TravellingGrant = value.deserialized().map_err(|error| wrong("grants", error))?;
    Grant::try_from(travelling).map_err(|error| wrong("grants", error))
}
