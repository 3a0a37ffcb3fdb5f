//! The bytes of a file as a response body: a block at a time, read a little ahead, never the whole file.

use super::source::FileSource;
use crate::limits::READ_AHEAD_BLOCKS;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use terms::Problem;
use wire::Body;

/// A body with these bytes of the file. Its first block is read before this returns, so that a damaged one is
/// an answer with a name; a later failure ends the body as broken.
pub(super) async fn body_of(source: Arc<dyn FileSource>, bytes: Range<u64>) -> Result<Body, Problem> {
    let blocks = source.manifest().blocks_of(&bytes);
    if blocks.is_empty() {
        return Ok(wire::body::empty());
    }
    let first = match source.block_now(blocks.start) {
        Some(block) => block,
        None => source.read_block(blocks.start).await?,
    };
    let first = cut(&source, blocks.start, first, &bytes);
    if blocks.len() == 1 {
        return Ok(wire::body::full(first));
    }
    let rest = stream::iter(blocks.start + 1..blocks.end)
        .map(move |index| {
            let (source, bytes) = (source.clone(), bytes.clone());
            async move { source.read_block(index).await.map(|block| cut(&source, index, block, &bytes)) }
        })
        .buffered(READ_AHEAD_BLOCKS);
    let chunks = stream::iter([Ok(first)]).chain(rest).boxed();
    Ok(wire::body::stream(Shared::new(chunks)))
}

/// The part of a block that belongs to the bytes asked for. Shares the block's memory.
pub(super) fn cut(source: &Arc<dyn FileSource>, index: usize, block: Bytes, bytes: &Range<u64>) -> Bytes {
    let held = source.manifest().bytes_of(index);
    let (start, end) = (bytes.start.max(held.start) - held.start, bytes.end.min(held.end) - held.start);
    assert_eq!(block.len() as u64, held.end - held.start, "a source gives blocks as the manifest says");
    #[allow(clippy::cast_possible_truncation)] // within a block
    block.slice(start as usize..end as usize)
}

/// A stream that may be shared between threads, because it is only ever used through `&mut`: the lock is never
/// taken.
pub(super) struct Shared<E>(Mutex<BoxStream<'static, Result<Bytes, E>>>);

impl<E> Shared<E> {
    pub(super) fn new(chunks: BoxStream<'static, Result<Bytes, E>>) -> Self {
        Self(Mutex::new(chunks))
    }
}

impl<E> Stream for Shared<E> {
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll_next(context)
    }
}
