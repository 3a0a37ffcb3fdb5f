//! The bytes of a file as a response body: a block at a time, read a little ahead, never the whole file.

use super::source::FileSource;
use crate::limits::{READ_AHEAD_BLOCKS, READ_AHEAD_MOST};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, MaybeDone, maybe_done};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use std::collections::VecDeque;
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
    let read = move |index: usize| {
        let (source, bytes) = (source.clone(), bytes.clone());
        async move { source.read_block(index).await.map(|block| cut(&source, index, block, &bytes)) }.boxed()
    };
    let rest = Ahead::new(blocks.start + 1..blocks.end, read);
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

type Reading = BoxFuture<'static, Result<Bytes, Problem>>;

/// Blocks in order, read ahead: the further, the more often their receiver had to wait; less far again when all is there
/// before it is wanted.
struct Ahead<F> {
    read: F,
    left: Range<usize>,
    begun: VecDeque<MaybeDone<Reading>>,
    ahead: usize,
    /// The receiver waits for the first one.
    waits: bool,
}

impl<F: Fn(usize) -> Reading + Unpin> Ahead<F> {
    fn new(left: Range<usize>, read: F) -> Self {
        Self { read, left, begun: VecDeque::new(), ahead: READ_AHEAD_BLOCKS, waits: false }
    }

    /// Begins what may be begun. Tells how many have come.
    fn go_on(&mut self, context: &mut Context<'_>) -> usize {
        while self.begun.len() < self.ahead
            && let Some(index) = self.left.next()
        {
            self.begun.push_back(maybe_done((self.read)(index)));
        }
        self.begun.iter_mut().filter_map(|block| block.poll_unpin(context).is_ready().then_some(())).count()
    }
}

impl<F: Fn(usize) -> Reading + Unpin> Stream for Ahead<F> {
    type Item = Result<Bytes, Problem>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let come = self.go_on(context);
        let Some(first) = self.begun.front_mut() else { return Poll::Ready(None) };
        if let Some(block) = Pin::new(first).take_output() {
            if !self.waits && come == self.begun.len() && self.ahead > READ_AHEAD_BLOCKS {
                self.ahead -= 1;
            }
            self.begun.pop_front();
            self.waits = false;
            return Poll::Ready(Some(block));
        }
        if !self.waits {
            self.waits = true;
            self.ahead = (self.ahead * 2).min(READ_AHEAD_MOST);
            self.go_on(context);
        }
        Poll::Pending
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::time::{sleep, timeout};

    /// Blocks that take 40 ms each: the most that were begun and not taken at once.
    async fn read(pause: Duration) -> usize {
        let (begun, taken, most) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let shared = Arc::new((begun, taken, most));
        let counts = shared.clone();
        let mut ahead = Ahead::new(0..64, move |index| {
            let begun = counts.0.fetch_add(1, Ordering::Relaxed) + 1;
            counts.2.fetch_max(begun - counts.1.load(Ordering::Relaxed), Ordering::Relaxed);
            async move {
                // The later ones are quicker.
                sleep(Duration::from_millis(40 - index as u64 % 4)).await;
                Ok(Bytes::copy_from_slice(&[index as u8]))
            }
            .boxed()
        });
        let mut next = 0;
        while let Some(block) = ahead.next().await {
            assert_eq!(block.expect("read")[0], next, "in order");
            next += 1;
            shared.1.fetch_add(1, Ordering::Relaxed);
            sleep(pause).await;
        }
        assert_eq!(next, 64);
        shared.2.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_read_ahead_for_and_who_is_slow_takes_little_memory() {
        let one_by_one = Duration::from_millis(64 * 40);
        let most = timeout(one_by_one / 4, read(Duration::ZERO)).await.expect("many at once");
        assert!(most > READ_AHEAD_BLOCKS && most <= READ_AHEAD_MOST, "{most} at once");
        let most = read(Duration::from_millis(200)).await;
        assert!(most <= 2 * READ_AHEAD_BLOCKS, "{most} at once, after one wait for the first");
    }
}
