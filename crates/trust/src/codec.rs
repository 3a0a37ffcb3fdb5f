//! CBOR with limits: a size checked before decoding, a bounded depth, exactly one value. Foreign bytes enter
//! the crate here and nowhere else.

use crate::TrustError;
use crate::limits::MAX_DEPTH;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Encodes one value.
pub(crate) fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, TrustError> {
    let mut bytes = Vec::with_capacity(256);
    ciborium::into_writer(value, &mut bytes).map_err(|error| TrustError::malformed(what, error))?;
    Ok(bytes)
}

/// Decodes exactly one value of at most `limit` bytes.
pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8], limit: usize) -> Result<T, TrustError> {
    check_size(what, bytes.len(), limit)?;
    let mut rest = bytes;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH)
        .map_err(|error| TrustError::malformed(what, error))?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(TrustError::malformed(what, format_args!("{} bytes stand behind its end", rest.len())))
    }
}

/// Refuses what is larger than its limit.
pub(crate) fn check_size(what: &'static str, size: usize, limit: usize) -> Result<(), TrustError> {
    if size <= limit { Ok(()) } else { Err(TrustError::TooLarge { what, size, limit }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ciborium::Value;

    #[test]
    fn size_depth_and_end_are_bounded() {
        let deep: Vec<u8> = vec![0x81; 1000];
        let cases: [(&str, Vec<u8>); 5] = [
            ("empty", vec![]),
            ("too long", vec![0x40; 101]),
            ("trailing", vec![0x01, 0x01]),
            ("deep", deep[..100].to_vec()),
            ("an array that claims 2^40 elements", vec![0x9b, 0, 0, 1, 0, 0, 0, 0, 0]),
        ];
        for (name, bytes) in cases {
            assert!(decode::<Value>("test", &bytes, 100).is_err(), "{name}");
        }
        assert!(decode::<Value>("test", &[0x01], 100).is_ok());
    }
}
