//! Frames on a body: a length (4 bytes, big endian) and so many bytes of CBOR. The length is checked before
//! anything is kept, the value when the frame is whole.

use crate::rules::limits::MAX_FRAME_BYTES;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use terms::Problem;
use wire::Body;

const LENGTH_BYTES: usize = 4;

/// Why no further frame can be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The frame states a length above [`MAX_FRAME_BYTES`].
    #[error("a frame of {0} bytes is too long: at most {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// Its bytes are no such message.
    #[error("a frame is not understood")]
    Malformed(#[source] Problem),
    /// The stream ended within a frame.
    #[error("the stream ended within a frame")]
    Cut,
    /// The connection broke.
    #[error("the stream broke: {0}")]
    Broken(String),
}

/// A message as a frame.
pub fn encode<T: Serialize>(message: &T) -> Bytes {
    let content = wire::cbor::to_vec(message);
    debug_assert!(content.len() <= MAX_FRAME_BYTES, "our own frames respect the limit");
    let mut frame = BytesMut::with_capacity(LENGTH_BYTES + content.len());
    frame.put_u32(u32::try_from(content.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&content);
    frame.freeze()
}

/// Takes frames off a body.
#[derive(Debug)]
pub struct FrameReader {
    body: Body,
    buffer: BytesMut,
}

impl FrameReader {
    /// A reader at the start of a body.
    pub fn new(body: Body) -> Self {
        Self { body, buffer: BytesMut::new() }
    }

    /// The next message; nothing at the orderly end. Cancelled, it loses nothing.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        loop {
            if let Some(content) = self.whole_frame()? {
                return wire::cbor::from_slice(&content).map(Some).map_err(FrameError::Malformed);
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(FrameError::Cut),
                Some(Err(error)) => return Err(FrameError::Broken(error.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn whole_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(FrameError::TooLong(length));
        }
        if self.buffer.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Hello, Up};
    use futures_util::stream;
    use std::convert::Infallible;
    use terms::{ChangeNumber, SessionId, VolumePath};

    fn reader(chunks: Vec<Bytes>) -> FrameReader {
        FrameReader::new(wire::body::stream(stream::iter(chunks.into_iter().map(Ok::<_, Infallible>))))
    }

    #[tokio::test]
    async fn frames_survive_any_cutting() {
        let hello = Hello { session: SessionId([7; 16]), connection: 3 };
        let ack = Up::Ack { change: ChangeNumber(9), objects: vec![VolumePath::new("a/ü").expect("valid")] };
        let bytes = [encode(&hello), encode(&ack), encode(&Up::Leave)].concat();
        for size in [1, 2, 3, 5, 7, bytes.len()] {
            let mut frames = reader(bytes.chunks(size).map(Bytes::copy_from_slice).collect());
            assert_eq!(frames.next::<Hello>().await.expect("whole"), Some(hello));
            assert_eq!(frames.next::<Up>().await.expect("whole"), Some(ack.clone()));
            assert_eq!(frames.next::<Up>().await.expect("whole"), Some(Up::Leave));
            assert_eq!(frames.next::<Up>().await.expect("ended"), None);
        }
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        let long = u32::try_from(MAX_FRAME_BYTES + 1).expect("small").to_be_bytes();
        assert!(matches!(
            reader(vec![Bytes::copy_from_slice(&long)]).next::<Up>().await,
            Err(FrameError::TooLong(_))
        ));
        let cut = encode(&Up::Leave).slice(..5);
        assert!(matches!(reader(vec![cut]).next::<Up>().await, Err(FrameError::Cut)));
        let noise = Bytes::from_static(&[0, 0, 0, 2, 0xff, 0xff]);
        assert!(matches!(reader(vec![noise]).next::<Up>().await, Err(FrameError::Malformed(_))));
    }
}
