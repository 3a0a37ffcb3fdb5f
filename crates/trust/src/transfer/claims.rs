//! The claims of one link as a CWT claims set (RFC 8392), read strictly: every claim of ours must be there
//! once, and a claim that is not understood is refused, because it might narrow what the others say.

use super::verify::Refusal;
use crate::error::TrustError;
use crate::limits::{MAX_GRANTS, MAX_TRANSFER_DEPTH};
use ciborium::Value;
use coset::cwt::{ClaimName, ClaimsSet, ClaimsSetBuilder, Timestamp};
use coset::{AsCborValue, iana};
use serde::{Deserialize, Serialize};
use std::fmt;
use terms::{Digest, Epoch, Location, Principal, Right, Rights, Thumbprint, VolumePath};

// Private use (RFC 8392, section 9.1: below -65536).
const GRANTS: i64 = -70_001;
const DEPTH: i64 = -70_002;
const VIA: i64 = -70_003;
const EPOCH: i64 = -70_004;
/// Confirmation by key id (RFC 8747, section 3.4): here the thumbprint.
const CNF_KEY_ID: i64 = 3;

/// Names one link: 128 random bits that its issuer chose. The signature is never used for this.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub [u8; 16]);

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransferId({self})")
    }
}

/// What a link allows at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The place.
    pub location: Location,
    /// Only the place itself, not what is below it.
    pub exact: bool,
    /// The rights.
    pub rights: Rights,
}

impl Grant {
    /// Whether this grant allows this right there. Paths are compared by whole segments.
    pub fn covers(&self, location: &Location, right: Right) -> bool {
        let within = match self.exact {
            true => location.path == self.location.path,
            false => location.path.below(&self.location.path).is_some(),
        };
        within && location.volume == self.location.volume && self.rights.has(right)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = if self.exact { "" } else { " and all below it" };
        write!(f, "{} on {}{below}", self.rights, crate::reason::plain(&self.location.to_string()))
    }
}

/// A grant as it travels: the path as its segments, so that there is nothing to normalise.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TravellingGrant {
    volume: terms::VolumeName,
    path: Vec<String>,
    exact: bool,
    rights: Rights,
}

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
    pub via: Option<Digest>,
    pub epoch: Epoch,
}

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
            Some(parent) => claims.private_claim(VIA, Value::Bytes(parent.0.to_vec())),
            None => claims,
        };
        claims.build().to_cbor_value().map_err(failed)
    }

    pub fn from_value(value: Value) -> Result<Self, Refusal> {
        let mut set = ClaimsSet::from_cbor_value(value).map_err(|error| Refusal::Malformed(error.to_string()))?;
        let mut rest = Rest(std::mem::take(&mut set.rest));
        let audience_key = read_confirmation(rest.take(ClaimName::Assigned(iana::CwtClaimName::Cnf), "cnf")?)?;
        let grants = read_grants(rest.take(ClaimName::PrivateUse(GRANTS), "grants")?)?;
        let depth = read_number(&rest.take(ClaimName::PrivateUse(DEPTH), "depth")?, "depth")?;
        let epoch = read_number(&rest.take(ClaimName::PrivateUse(EPOCH), "epoch")?, "epoch")?;
        let via = match rest.take(ClaimName::PrivateUse(VIA), "via") {
            Err(_) => None,
            Ok(value) => Some(read_digest(&value)?),
        };
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
        };
        if claims.depth > MAX_TRANSFER_DEPTH {
            return Err(Refusal::Malformed(format!("depth {depth} is more than {MAX_TRANSFER_DEPTH}")));
        }
        Ok(claims)
    }
}

fn grant_value(grant: &Grant) -> Result<Value, TrustError> {
    let path = grant.location.path.segments().map(String::from).collect();
    let volume = grant.location.volume.clone();
    Value::serialized(&TravellingGrant { volume, path, exact: grant.exact, rights: grant.rights })
        .map_err(|error| TrustError::malformed("a grant", error))
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

fn read_digest(value: &Value) -> Result<Digest, Refusal> {
    value.as_bytes().and_then(|bytes| Digest::from_slice(bytes)).ok_or_else(|| wrong("via", "not 32 bytes"))
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
    let TravellingGrant { volume, path, exact, rights } =
        value.deserialized().map_err(|error| wrong("grants", error))?;
    if rights.is_empty() {
        return Err(wrong("grants", "one gives nothing"));
    }
    let path = path.iter().try_fold(VolumePath::root(), |path, segment| path.join(segment));
    let path = path.map_err(|error| wrong("grants", error))?;
    Ok(Grant { location: Location { volume, path }, exact, rights })
}
