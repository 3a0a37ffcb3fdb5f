//! Content on its way to a home: piece by piece, never all of it in memory.

use crate::limits::READ_BYTES;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use wire::Body;

/// The bytes of a reader.
pub fn read_from(reader: impl AsyncRead + Send + Sync + Unpin + 'static) -> Body {
    wire::body::stream(stream::try_unfold(reader, |mut reader| async move {
        let mut piece = BytesMut::with_capacity(READ_BYTES);
        let count = reader.read_buf(&mut piece).await?;
        Ok::<_, io::Error>((count > 0).then(|| (piece.freeze(), reader)))
    }))
}

/// The pieces that somebody else reads.
pub fn handed_over(mut pieces: mpsc::Receiver<io::Result<Bytes>>) -> Body {
    wire::body::stream(stream::poll_fn(move |context| pieces.poll_recv(context)))
}
