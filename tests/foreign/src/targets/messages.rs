//! Frames of session streams and control messages: every type that one side reads from the other.

use super::{Outcome, Target, accepted};
use crate::forge::{cbor, decoded};
use bytes::Bytes;
use ciborium::Value;
use futures_util::{FutureExt, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use terms::{ChangeNumber, Epoch, SessionId, VolumePath};
use webfs::rules::{Down, Hello, Up};
use webfs::session::{FrameReader, OpenAnswer, OpenRequest, encode};
use wire::Envelope;

pub const FRAMES: Target = Target {
    name: "frames",
    feeds: "a session stream, upwards if the first byte is even: a hello and what follows, or what the home says",
    seeds: || {
        let path = || VolumePath::new("a/b").expect("a path");
        let hello = Hello { session: SessionId([7; 16]), connection: 3 };
        let up = [Up::Renew { id: 1 }, Up::Ack { change: ChangeNumber(9), objects: vec![path()] }, Up::Leave];
        let welcome = Down::Welcome { epoch: Epoch(1), lease_ms: 9000, change: ChangeNumber(4), depth: 0 };
        let recall = Down::Recall { change: ChangeNumber(5), objects: vec![path(), path()] };
        let said = [
            welcome,
            recall,
            Down::Granted { id: 1, lease_ms: 9000, change: ChangeNumber(5), excluded: vec![path()] },
        ];
        let upwards = up.iter().map(encode).fold(encode(&hello).to_vec(), |all, frame| [&all[..], &frame].concat());
        let downwards: Vec<u8> = said.iter().flat_map(|down| encode(down).to_vec()).collect();
        let first = Value::serialized(&hello).expect("a message");
        let listed = up.iter().map(|up| Value::serialized(up).expect("a message"));
        let list = cbor(&Value::Array(std::iter::once(first).chain(listed).collect()));
        vec![[vec![0], upwards].concat(), [vec![1], downwards].concat(), [vec![0], list].concat()]
    },
    run: |input| match input.split_first() {
        Some((way, content)) if way % 2 == 0 => {
            let mut reader = reader(&framed(content));
            match frame::<Hello>(&mut reader) {
                Some(hello) => rest::<Up>(reader, hello.connection > 1000),
                None => Outcome::Refused,
            }
        }
        Some((_, content)) => rest::<Down>(reader(&framed(content)), false),
        None => Outcome::Refused,
    },
};

/// A list of messages as frames; anything else as it is.
fn framed(content: &[u8]) -> Vec<u8> {
    match decoded(content) {
        Some(Value::Array(messages)) => messages.iter().flat_map(|message| encode(message).to_vec()).collect(),
        _ => content.to_vec(),
    }
}

fn reader(content: &[u8]) -> FrameReader {
    let parts: Vec<_> = content.chunks(7).map(|part| Ok::<_, Infallible>(Bytes::copy_from_slice(part))).collect();
    FrameReader::new(wire::body::stream(stream::iter(parts)))
}

/// The next frame. Everything is there already, so the reader never waits.
fn frame<T: DeserializeOwned>(reader: &mut FrameReader) -> Option<T> {
    reader.next::<T>().now_or_never().expect("nothing to wait for").ok().flatten()
}

/// At least one further message: accepted. The same message written again is read again.
fn rest<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    mut reader: FrameReader,
    rare: bool,
) -> Outcome {
    let mut count = 0;
    while let Some(message) = frame::<T>(&mut reader) {
        let again = wire::cbor::from_slice::<T>(&wire::cbor::to_vec(&message));
        assert_eq!(again.as_ref(), Ok(&message));
        count += 1;
    }
    if count == 0 { Outcome::Refused } else { accepted(rare || count > 4) }
}

pub const ENVELOPES: Target = Target {
    name: "envelopes",
    feeds: "control messages in their envelope: a request to open, and the answer, by the first byte",
    seeds: || {
        let stream = Some(Hello { session: SessionId([7; 16]), connection: 3 });
        let path = VolumePath::new("a/b").expect("a path");
        let request = |stream| OpenRequest { relays: 0, stream, path: path.clone() };
        let sent = |stream| [vec![0], wire::cbor::to_vec(&Envelope::new(request(stream)))].concat();
        vec![sent(stream), sent(None)]
    },
    run: |input| match input.split_first() {
        Some((0, content)) => {
            envelope::<OpenRequest>(content, |request| request.stream.is_some_and(|s| s.connection > 1000))
        }
        Some((1, content)) => envelope::<OpenAnswer>(content, |answer| answer.callback),
        _ => Outcome::Refused,
    },
};

fn envelope<T: DeserializeOwned>(content: &[u8], rare: impl Fn(&T) -> bool) -> Outcome {
    let body = wire::cbor::from_slice::<Envelope<T>>(content).and_then(Envelope::into_body);
    body.map_or(Outcome::Refused, |body| accepted(rare(&body)))
}
