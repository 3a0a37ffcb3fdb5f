//! What a front's answers pass through on their way out: the meter, and the stated link if there is one.
//!
//! All answers of one front share one pipe. An answer that is given up, or whose client goes away, ends its
//! request in the meter like one that was sent whole, but is not counted as served.

use crate::limits::LINK_CHUNK_BYTES;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use process::model::Report;
use process::rules::{Link, Meter};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use terms::BootMs;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use wire::{Body, BodyError};
use world::World;

/// Meter and link of one front.
pub struct Pipe {
    world: World,
    meter: Mutex<Meter>,
    link: Option<Mutex<Link>>,
    link_bps: Option<u64>,
    sending: AtomicU64,
    cut: CancellationToken,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pipe {
    /// A pipe with a link of so many bits per second, or without.
    pub fn new(world: &World, link_bps: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            meter: Mutex::new(Meter::new(world.clock.boot())),
            link: link_bps.map(|rate| Mutex::new(Link::new(rate))),
            link_bps,
            sending: AtomicU64::new(0),
            cut: CancellationToken::new(),
        })
    }

    /// The load over the last second.
    pub fn report(&self) -> Report {
        held(&self.meter).report(self.world.clock.boot(), self.link_bps)
    }

    /// Body bytes of answers that have begun and not ended.
    pub fn sending(&self) -> u64 {
        self.sending.load(Ordering::Relaxed)
    }

    /// Breaks off all answers that are being sent.
    pub fn cut_off(&self) {
        self.cut.cancel();
    }

    /// A request began.
    pub fn begin(self: &Arc<Self>) -> Passage {
        let began = self.world.clock.boot();
        held(&self.meter).began(began);
        Passage { pipe: self.clone(), began, whole: false, on_end: None }
    }
}

/// One request on its way through the pipe; its end is told to the meter when it is dropped.
pub struct Passage {
    pipe: Arc<Pipe>,
    began: BootMs,
    whole: bool,
    on_end: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Passage {
    /// Also tells somebody else when the request ends.
    pub fn on_end(&mut self, tell: impl FnOnce() + Send + Sync + 'static) {
        self.on_end = Some(Box::new(tell));
    }

    /// The answer's body, sent at the link's rate and measured. `length` is what its header says of it: bytes.
    pub fn send(self, body: Body, length: Option<u64>) -> Body {
        if body.is_end_stream() {
            let mut passage = self;
            passage.whole = true;
            return body;
        }
        let cut = Box::pin(self.pipe.cut.clone().cancelled_owned());
        let length = body.size_hint().exact().or(length);
        let flow = Flow { passage: self, inner: body, rest: Bytes::new(), wait: None, cut, length, counted: 0 };
        http_body_util::BodyExt::boxed(flow)
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let now = self.pipe.world.clock.boot();
        held(&self.pipe.meter).ended(now, self.began, self.whole);
        if let Some(tell) = self.on_end.take() {
            tell();
        }
    }
}

/// A body that takes from the link before it sends.
struct Flow {
    passage: Passage,
    inner: Body,
    rest: Bytes,
    wait: Option<Pin<Box<Sleep>>>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// What the whole answer has, where that is known: bytes.
    length: Option<u64>,
    counted: u64,
}

impl Flow {
    /// Splits the next chunk off, and says how long it has to wait.
    fn next_chunk(&mut self) -> Bytes {
        let pipe = &self.passage.pipe;
        let Some(link) = &pipe.link else { return std::mem::take(&mut self.rest) };
        let chunk = self.rest.split_to(self.rest.len().min(LINK_CHUNK_BYTES));
        let wait = held(link).take(pipe.world.clock.boot(), chunk.len() as u64);
        if !wait.is_zero() {
            self.wait = Some(Box::pin(tokio::time::sleep(wait)));
        }
        chunk
    }

    fn sent(&mut self, bytes: u64) {
        let pipe = &self.passage.pipe;
        held(&pipe.meter).sent(pipe.world.clock.boot(), bytes);
        pipe.sending.fetch_add(bytes, Ordering::Relaxed);
        self.counted += bytes;
        // Whoever has the last byte may leave without waiting to be told that it was the last.
        self.passage.whole |= self.is_over();
    }

    fn is_over(&self) -> bool {
        self.length == Some(self.counted)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.passage.pipe.sending.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

impl HttpBody for Flow {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err("this server was ended while it sent".into())));
        }
        loop {
            if let Some(wait) = this.wait.as_mut() {
                std::task::ready!(wait.as_mut().poll(cx));
                this.wait = None;
            }
            if !this.rest.is_empty() {
                let chunk = this.next_chunk();
                this.sent(chunk.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            match std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                None => {
                    this.passage.whole = true;
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.size_hint();
        let rest = self.rest.len() as u64;
        let upper = hint.upper().map(|upper| upper + rest);
        hint = SizeHint::new();
        if let Some(upper) = upper {
            hint.set_exact(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    /// A body of two chunks that does not know its own length, as files have.
    fn pieces() -> Body {
        let chunks = [Ok::<_, BodyError>(Bytes::from_static(b"one")), Ok(Bytes::from_static(b"two"))];
        wire::body::stream(futures_util::stream::iter(chunks))
    }

    #[tokio::test]
    async fn an_answer_counts_once_its_last_byte_is_sent_though_nobody_waits_for_the_end() {
        let world = World::simulated(1).0;
        for (read, served) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
            let pipe = Pipe::new(&world, None);
            let mut body = pipe.begin().send(pieces(), Some(6));
            for frame in 0..read {
                let over = body.is_end_stream();
                assert_eq!((over, body.frame().await.is_some()), (frame == 2, frame < 2));
            }
            drop(body);
            let report = pipe.report();
            assert_eq!((report.served, report.inflight, pipe.sending()), (served, 0.0, 0), "{read} frames");
        }
        let pipe = Pipe::new(&world, None);
        let unknown = pipe.begin().send(pieces(), None);
        assert_eq!(unknown.collect().await.expect("whole").to_bytes().len(), 6);
        assert_eq!(pipe.report().served, 1, "a length that nobody states is found at the end");
    }
}
