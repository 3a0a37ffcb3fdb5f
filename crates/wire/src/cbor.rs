//! CBOR with limits, and the envelope of control messages.

use crate::limits::MAX_CBOR_DEPTH;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use terms::{Code, Epoch, OperationId, Problem};

/// The version of the control protocol that this build speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// A control message with what every message carries.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// Protocol version.
    pub v: u16,
    /// Names the mutation, so that a retry is answered and not repeated.
    #[serde(default)]
    pub op: Option<OperationId>,
    /// The lease epoch under which the sender speaks; 0 where none applies.
    #[serde(default)]
    pub epoch: Epoch,
    /// The message itself.
    pub body: T,
}

impl<T> Envelope<T> {
    /// A message that is no mutation and stands under no epoch.
    pub fn new(body: T) -> Self {
        Self { v: PROTOCOL_VERSION, op: None, epoch: Epoch(0), body }
    }

    /// The body, if the sender speaks a version that this build understands.
    pub fn into_body(self) -> Result<T, Problem> {
        if self.v == PROTOCOL_VERSION {
            return Ok(self.body);
        }
        Err(Problem::new(
            Code::Unsupported,
            format!("protocol version {} is not spoken here, only {PROTOCOL_VERSION}", self.v),
        )
        .next("use the same release of webos on both sides"))
    }
}

/// Encodes a value. Our own types always encode; a failure is a fault of ours.
///
/// # Panics
/// If the value holds something that CBOR cannot express, which no type of ours does.
pub fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    ciborium::into_writer(value, &mut bytes).expect("our own types encode as CBOR");
    bytes
}

/// Decodes exactly one value: bounded depth, nothing behind it. The caller has bounded the length.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut rest = bytes;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_CBOR_DEPTH)
        .map_err(|error| Problem::new(Code::Invalid, format!("the message is not understood: {}", why(error))))?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(Problem::new(Code::Invalid, format!("the message has {} bytes behind its end", rest.len())))
    }
}

fn why(error: ciborium::de::Error<std::io::Error>) -> String {
    use ciborium::de::Error;
    match error {
        Error::Io(_) => "it ends too early".into(),
        Error::Syntax(at) => format!("it is no CBOR at byte {at}"),
        Error::Semantic(_, what) => what,
        Error::RecursionLimitExceeded => format!("it is nested more than {MAX_CBOR_DEPTH} deep"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_and_nothing_behind() {
        let bytes = to_vec(&Envelope::new(7u32));
        assert_eq!(from_slice::<Envelope<u32>>(&bytes).and_then(Envelope::into_body), Ok(7));
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(from_slice::<Envelope<u32>>(&longer).is_err());
        assert!(from_slice::<Envelope<u32>>(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn deep_input_is_refused() {
        let deep = vec![0x81u8; 100_000];
        assert!(from_slice::<ciborium::Value>(&deep).is_err());
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let said = |bytes: &[u8]| from_slice::<Envelope<u32>>(bytes).expect_err("damaged").detail;
        assert_eq!(said(&[]), "the message is not understood: it ends too early");
        assert_eq!(said(&to_vec(&7u32)), "the message is not understood: invalid type: integer `7`, expected map");
        assert_eq!(
            from_slice::<ciborium::Value>(&[0x81u8; 100]).expect_err("deep").detail,
            "the message is not understood: it is nested more than 32 deep"
        );
    }

    #[test]
    fn foreign_versions_are_named() {
        let envelope = Envelope { v: 9, op: None, epoch: Epoch(0), body: () };
        let problem = envelope.into_body().expect_err("not ours");
        assert!(problem.detail.contains('9'), "{problem}");
    }
}
