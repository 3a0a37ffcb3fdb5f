//! A connection that is read in large pieces, and holds no memory while nothing comes.
//!
//! TLS reads a record at a time. The kernel counts what waits meanwhile against the reader and leaves the window of the
//! connection as small as it was, for seconds. What is read in one piece also costs fewer system calls. The pieces belong
//! to the process, not to connections: of those there may be thousands.

use crate::limits::{GULP_BYTES, MAX_GULPS};
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Pieces of memory that nobody uses now, and how many there are in all.
struct Pieces {
    free: Vec<Box<[u8]>>,
    made: usize,
}

static PIECES: Mutex<Pieces> = Mutex::new(Pieces { free: Vec::new(), made: 0 });

/// A piece of memory, given back when dropped.
struct Piece(Box<[u8]>);

impl Piece {
    /// Nothing if too many read at once: then they read as TLS asks.
    fn take() -> Option<Self> {
        let mut pieces = PIECES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(piece) = pieces.free.pop() {
            return Some(Self(piece));
        }
        if pieces.made >= MAX_GULPS {
            return None;
        }
        pieces.made += 1;
        Some(Self(vec![0; GULP_BYTES].into()))
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut pieces = PIECES.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.free.push(std::mem::take(&mut self.0));
    }
}

/// A connection read in large pieces.
pub(crate) struct Gulping<S> {
    inner: S,
    /// What was read and not handed on: from, to.
    held: Option<(Piece, usize, usize)>,
}

impl<S> Gulping<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, held: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gulping<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let (piece, from, to) = match this.held.take() {
            Some(held) => held,
            None => {
                // Also for the first piece of what comes: it is then that the kernel looks how much is left waiting.
                let Some(mut piece) = Piece::take() else {
                    return Pin::new(&mut this.inner).poll_read(context, out);
                };
                let mut into = ReadBuf::new(&mut piece.0);
                ready!(Pin::new(&mut this.inner).poll_read(context, &mut into))?;
                let read = into.filled().len();
                (piece, 0, read)
            }
        };
        let part = out.remaining().min(to - from);
        out.put_slice(&piece.0[from..from + part]);
        this.held = (from + part < to).then_some((piece, from + part, to));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gulping<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn all_comes_in_order_and_who_waits_holds_no_memory() {
        let sent: Vec<u8> = (0..3_000_000u32).map(|i| (i / 5) as u8).collect();
        for (pipe, piece) in [(1 << 20, 100), (1 << 20, 16_384), (7, 5), (GULP_BYTES, GULP_BYTES * 2)] {
            let (mut writer, reader) = tokio::io::duplex(pipe);
            let sent = if pipe == 7 { &sent[..10_000] } else { &sent[..] };
            let mut reader = Gulping::new(reader);
            let mut received = Vec::new();
            let write = async {
                writer.write_all(sent).await.expect("written");
                writer
            };
            let read = async {
                let mut buffer = vec![0; piece];
                while received.len() < sent.len() {
                    let count = reader.read(&mut buffer).await.expect("read");
                    assert!(count > 0, "not the end");
                    received.extend_from_slice(&buffer[..count]);
                }
                reader
            };
            let (writer, mut reader) = tokio::join!(write, read);
            assert!(received == sent, "{pipe} {piece}");
            let mut one = [0];
            let waiting = futures_util::poll!(std::pin::pin!(reader.read(&mut one)));
            assert!(waiting.is_pending() && reader.held.is_none(), "{pipe} {piece}");
            drop(writer);
            assert_eq!(reader.read(&mut one).await.expect("the end"), 0);
        }
    }

    #[tokio::test]
    async fn too_many_at_once_still_read() {
        let (mut writer, reader) = tokio::io::duplex(1 << 20);
        let taken: Vec<_> = std::iter::from_fn(Piece::take).collect();
        let mut reader = Gulping::new(reader);
        writer.write_all(&[7; 1000]).await.expect("written");
        let mut received = [0; 1000];
        for part in received.chunks_mut(100) {
            assert_eq!(reader.read(part).await.expect("read"), 100);
            assert!(reader.held.is_none());
        }
        assert_eq!(received, [7; 1000]);
        drop(taken);
    }
}
