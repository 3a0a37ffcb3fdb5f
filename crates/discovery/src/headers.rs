//! The header fields by which servers and clients tell each other state (RFC 9651 dictionaries and items).
//!
//! Each parser is bounded before it looks and names what is wrong; a caller may ignore a bad field, because all of
//! them are hints: what must hold is signed.

use crate::limits::{MAX_HEADER_BYTES, MAX_LOAD_VALUE, MAX_TABLE_HEADER_BYTES};
use crate::model::{Load, Place};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use sfv::{BareItem, Decimal, DictSerializer, Dictionary, Item, Key, KeyRef, ListEntry, Parser};
use terms::Generation;

/// Response: the answering server's own load.
pub const LOAD: &str = "webos-load";
/// Response: the group's signed table.
pub const TABLE: &str = "webos-table";
/// Request: which table the client has.
pub const TABLE_SEEN: &str = "webos-table-seen";
/// Request: where the client is, as exactly as its user allows.
pub const LOCATION: &str = "webos-location";
/// Response, with 503: not served here; another server may.
pub const ELSEWHERE: &str = "webos-elsewhere";
/// Response: the name of the server that answered.
pub const SERVER: &str = "webos-server";
/// Response: the signed manifest of the file.
pub const MANIFEST: &str = "webos-manifest";

/// Why a header field was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Longer than its limit.
    #[error("the header {name} has {bytes} bytes, the limit is {limit}")]
    TooLong {
        /// The header.
        name: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It does not follow RFC 9651, or is no base64url.
    #[error("the header {name} is malformed")]
    Malformed {
        /// The header.
        name: &'static str,
    },
    /// A member is missing, of a wrong type or out of range.
    #[error("the header {name} has no usable member '{member}'")]
    Member {
        /// The header.
        name: &'static str,
        /// The member.
        member: &'static str,
    },
}

/// Which table a client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSeen {
    /// Its generation.
    pub generation: Generation,
    /// Milliseconds since it was signed.
    pub age_ms: u64,
}

fn bounded<'a>(name: &'static str, text: &'a str, limit: usize) -> Result<&'a str, HeaderError> {
    let bytes = text.len();
    if bytes > limit { Err(HeaderError::TooLong { name, bytes, limit }) } else { Ok(text) }
}

fn dictionary(name: &'static str, text: &str) -> Result<Dictionary, HeaderError> {
    let text = bounded(name, text, MAX_HEADER_BYTES)?;
    Parser::new(text).parse::<Dictionary>().map_err(|_| HeaderError::Malformed { name })
}

fn number(name: &'static str, dictionary: &Dictionary, member: &'static str) -> Result<f64, HeaderError> {
    let refused = HeaderError::Member { name, member };
    let key = Key::from_string(member.to_string()).map_err(|_| refused.clone())?;
    match dictionary.get(&key) {
        Some(ListEntry::Item(Item { bare_item: BareItem::Decimal(value), .. })) => Ok(f64::from(*value)),
        #[allow(clippy::cast_precision_loss)] // at most 15 digits
        Some(ListEntry::Item(Item { bare_item: BareItem::Integer(value), .. })) => Ok(i64::from(*value) as f64),
        _ => Err(refused),
    }
}

fn whole(name: &'static str, dictionary: &Dictionary, member: &'static str) -> Result<u64, HeaderError> {
    let refused = HeaderError::Member { name, member };
    let key = Key::from_string(member.to_string()).map_err(|_| refused.clone())?;
    match dictionary.get(&key) {
        Some(ListEntry::Item(Item { bare_item: BareItem::Integer(value), .. })) => {
            u64::try_from(i64::from(*value)).map_err(|_| refused)
        }
        _ => Err(refused),
    }
}

/// A number as a decimal of RFC 9651: at most twelve digits before and three behind the point.
fn decimal(value: f64) -> Decimal {
    let bounded = if value.is_finite() { value.clamp(-MAX_LOAD_VALUE, MAX_LOAD_VALUE) } else { 0.0 };
    Decimal::try_from(bounded).unwrap_or_else(|_| Decimal::from(0u8))
}

fn text_of(members: &[(&str, BareItem)]) -> String {
    let mut serializer = DictSerializer::new();
    for (member, value) in members {
        if let Ok(key) = KeyRef::from_str(member) {
            serializer.bare_item(key, value);
        }
    }
    serializer.finish().unwrap_or_default()
}

impl Load {
    /// The same load with values that are finite, not negative and within [`MAX_LOAD_VALUE`].
    #[must_use]
    pub fn bounded(self) -> Self {
        let bound = |value: f64| if value.is_finite() { value.clamp(0.0, MAX_LOAD_VALUE) } else { 0.0 };
        Self {
            inflight: bound(self.inflight),
            rps: bound(self.rps),
            bytes_per_s: bound(self.bytes_per_s),
            latency_ms: bound(self.latency_ms),
            waiting: self.waiting,
        }
    }

    /// The value of the header [`LOAD`].
    pub fn to_header(self) -> String {
        let load = self.bounded();
        text_of(&[
            ("inflight", BareItem::Decimal(decimal(load.inflight))),
            ("rps", BareItem::Decimal(decimal(load.rps))),
            ("bps", BareItem::Decimal(decimal(load.bytes_per_s))),
            ("latency", BareItem::Decimal(decimal(load.latency_ms))),
            ("waiting", BareItem::from(load.waiting)),
        ])
    }

    /// Parses the header [`LOAD`]. Unknown members are ignored.
    pub fn from_header(text: &str) -> Result<Self, HeaderError> {
        let members = dictionary(LOAD, text)?;
        let positive = |member| match number(LOAD, &members, member)? {
            value if (0.0..=MAX_LOAD_VALUE).contains(&value) => Ok(value),
            _ => Err(HeaderError::Member { name: LOAD, member }),
        };
        Ok(Self {
            inflight: positive("inflight")?,
            rps: positive("rps")?,
            bytes_per_s: positive("bps")?,
            latency_ms: positive("latency")?,
            waiting: u32::try_from(whole(LOAD, &members, "waiting")?)
                .map_err(|_| HeaderError::Member { name: LOAD, member: "waiting" })?,
        })
    }
}

impl TableSeen {
    /// The value of the header [`TABLE_SEEN`].
    pub fn to_header(self) -> String {
        const LARGEST: u64 = 999_999_999_999_999;
        let whole = |value: u64| {
            let bounded = i64::try_from(value.min(LARGEST)).unwrap_or(0);
            BareItem::Integer(bounded.try_into().unwrap_or(sfv::Integer::from(0u8)))
        };
        text_of(&[("gen", whole(self.generation.0)), ("age", whole(self.age_ms))])
    }

    /// Parses the header [`TABLE_SEEN`].
    pub fn from_header(text: &str) -> Result<Self, HeaderError> {
        let members = dictionary(TABLE_SEEN, text)?;
        Ok(Self {
            generation: Generation(whole(TABLE_SEEN, &members, "gen")?),
            age_ms: whole(TABLE_SEEN, &members, "age")?,
        })
    }
}

impl Place {
    /// The value of the header [`LOCATION`].
    pub fn to_header(self) -> String {
        text_of(&[("lat", BareItem::Decimal(decimal(self.lat()))), ("lon", BareItem::Decimal(decimal(self.lon())))])
    }

    /// Parses the header [`LOCATION`].
    pub fn from_header(text: &str) -> Result<Self, HeaderError> {
        let members = dictionary(LOCATION, text)?;
        Self::new(number(LOCATION, &members, "lat")?, number(LOCATION, &members, "lon")?)
            .map_err(|_| HeaderError::Member { name: LOCATION, member: "lat" })
    }
}

/// The value of the header [`TABLE`] for a signed table, or nothing if it is too long for a header: the client
/// then asks for the state.
pub fn table_to_header(signed: &[u8]) -> Option<String> {
    let text = URL_SAFE_NO_PAD.encode(signed);
    (text.len() <= MAX_TABLE_HEADER_BYTES).then_some(text)
}

/// The signed table in the header [`TABLE`].
pub fn table_from_header(text: &str) -> Result<Vec<u8>, HeaderError> {
    base64url(TABLE, text, MAX_TABLE_HEADER_BYTES)
}

/// The signed manifest in the header [`MANIFEST`].
pub fn manifest_from_header(text: &str) -> Result<Vec<u8>, HeaderError> {
    base64url(MANIFEST, text, crate::limits::MAX_MANIFEST_HEADER_BYTES)
}

fn base64url(name: &'static str, text: &str, limit: usize) -> Result<Vec<u8>, HeaderError> {
    URL_SAFE_NO_PAD.decode(bounded(name, text, limit)?).map_err(|_| HeaderError::Malformed { name })
}

/// Whether an answer says "elsewhere".
pub fn is_elsewhere(headers: &HeaderMap) -> bool {
    field(headers, ELSEWHERE).is_some_and(|text| {
        text.len() <= MAX_HEADER_BYTES
            && matches!(Parser::new(text).parse::<Item>(), Ok(Item { bare_item: BareItem::Boolean(true), .. }))
    })
}

/// A header's text if it stands there once and is ASCII.
pub fn field<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let only = values.next()?;
    if values.next().is_some() {
        return None;
    }
    only.to_str().ok()
}

#[cfg(test)]
mod tests;
