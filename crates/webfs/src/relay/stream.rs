//! The present session stream of a replica.

use super::limits::LEAVE_DEADLINE;
use super::link::{HomeLink, LinkError};
use crate::rules::Down;
use crate::session::limits::STREAM_QUEUE;
use crate::session::{FrameError, FrameReader};
use bytes::Bytes;
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio::time::timeout;
use wire::Body;

/// A stream to the home.
pub(super) struct Stream {
    pub(super) up: mpsc::Sender<Bytes>,
    pub(super) down: FrameReader,
    /// The rules' number; known once they have greeted.
    pub(super) connection: Option<u64>,
}

/// Opens a stream.
pub(super) async fn connect(link: &dyn HomeLink) -> (mpsc::Sender<Bytes>, Result<Body, LinkError>) {
    let (up, mut frames) = mpsc::channel::<Bytes>(STREAM_QUEUE);
    let frames = futures_util::stream::poll_fn(move |context| {
        frames.poll_recv(context).map(|frame| frame.map(Ok::<_, Infallible>))
    });
    (up, link.stream(wire::body::stream(frames)).await)
}

/// Lets a stream end in order, so that the last frame arrives. A home that does not take note waits for the lease.
pub(super) async fn drain(stream: Stream) {
    let Stream { up, mut down, .. } = stream;
    drop(up);
    let drained = async { while let Ok(Some(_)) = down.next::<Down>().await {} };
    let _ = timeout(LEAVE_DEADLINE, drained).await;
}

/// The next frame from the home; never, without a stream.
pub(super) async fn next_frame(stream: &mut Option<Stream>) -> Result<Option<Down>, FrameError> {
    match stream {
        Some(stream) => stream.down.next().await,
        None => std::future::pending().await,
    }
}
