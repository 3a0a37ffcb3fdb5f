//! Until when a request may still change something: its sender gives up then, and what it was told has failed must not
//! happen later, when a server that was stopped or cut off reads what lay in its buffers.
//!
//! No clock is compared. The sender says how long after its handshake it gives up; the server counts that from when it
//! accepted the connection, which was earlier: so it never counts longer than the sender.

use crate::body::{Body, BodyError};
use crate::limits::{ANSWER_DEADLINE, LATEST_CHANGE, SHORT_BODY_BYTES};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use terms::BootMs;
use tokio::time::timeout;
use world::World;

/// Header or trailer field: milliseconds from the handshake until the sender may give up.
pub const WITHIN_HEADER: &str = "webos-within";

/// How often is looked whether a request gets on, while no answer comes.
const LOOKS: u32 = 6;

/// No end was stated.
const OPEN: u64 = u64::MAX;

/// Until when the sender of a request waits, by this server's clock. In the extensions of each request that may change
/// something.
#[derive(Debug, Clone)]
pub struct Until {
    accepted: BootMs,
    end: Arc<AtomicU64>,
}

impl Until {
    /// Notes it in a request that came on a connection accepted then.
    pub(crate) fn note<B>(accepted: BootMs, request: &mut Request<B>) {
        let until = Self::new(accepted, request.headers());
        request.extensions_mut().insert(until);
    }

    fn new(accepted: BootMs, headers: &HeaderMap) -> Self {
        let until = Self { accepted, end: Arc::new(AtomicU64::new(OPEN)) };
        until.read(headers);
        until
    }

    /// When it is too late to change anything; nothing if the sender did not say. Known when the body has ended.
    pub fn end(&self) -> Option<BootMs> {
        Some(BootMs(self.end.load(Ordering::Acquire))).filter(|end| end.0 != OPEN)
    }

    /// The request's body, whose end may say it.
    pub fn follow<B>(&self, body: B) -> Body
    where
        B: HttpBody<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<BodyError>,
    {
        let until = self.clone();
        let noted = body.map_err(Into::into).map_frame(move |frame| {
            if let Some(trailers) = frame.trailers_ref() {
                until.read(trailers);
            }
            frame
        });
        noted.boxed()
    }

    /// What is no number is over already: its sender meant to say something.
    fn read(&self, fields: &HeaderMap) {
        let Some(value) = fields.get(WITHIN_HEADER) else { return };
        let within = value.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        self.end.store(self.accepted.0.saturating_add(within).min(OPEN - 1), Ordering::Release);
    }
}

/// A request that is being sent: on which connection, and whether it gets on.
pub(crate) struct Sending {
    world: World,
    /// When the handshake of its connection was done.
    opened: AtomicU64,
    /// Frames that the connection has taken.
    taken: AtomicU64,
}

impl Sending {
    /// Watches over the request's body. A long one says at its end until when it may be acted on, a short one at once.
    pub(crate) fn watch(world: &World, request: Request<Body>) -> (Arc<Self>, Request<Body>) {
        let (opened, taken) = (AtomicU64::new(world.clock.boot().0), AtomicU64::new(0));
        let sending = Arc::new(Self { world: world.clone(), opened, taken });
        let changes = may_change(request.method());
        let late = changes && !is_short(request.body());
        let request = request.map(|body| Outgoing { body, sending: sending.clone(), late, ended: false }.boxed());
        (sending, request)
    }

    /// It goes out on a connection whose handshake was done then.
    pub(crate) fn goes_out(&self, opened: BootMs, request: &mut Request<Body>) {
        self.opened.store(opened.0, Ordering::Relaxed);
        if may_change(request.method()) && is_short(request.body()) {
            request.headers_mut().insert(WITHIN_HEADER, self.within());
        }
    }

    /// Waits for an answer as long as the connection takes something of the request now and then.
    pub(crate) async fn answer<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        let (mut silent, mut before) = (0, self.taken.load(Ordering::Relaxed));
        while silent < LOOKS {
            if let Ok(answered) = timeout(ANSWER_DEADLINE / LOOKS, answer.as_mut()).await {
                return Some(answered);
            }
            let taken = self.taken.load(Ordering::Relaxed);
            silent = if std::mem::replace(&mut before, taken) == taken { silent + 1 } else { 0 };
        }
        None
    }

    fn within(&self) -> HeaderValue {
        let since = self.world.clock.boot().since(BootMs(self.opened.load(Ordering::Relaxed)));
        let within = (since + LATEST_CHANGE).as_millis();
        HeaderValue::from(u64::try_from(within).unwrap_or(OPEN))
    }
}

fn may_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

fn is_short(body: &Body) -> bool {
    body.size_hint().exact().is_some_and(|bytes| bytes <= SHORT_BODY_BYTES)
}

struct Outgoing {
    body: Body,
    sending: Arc<Sending>,
    /// The end of the body says until when it may be acted on.
    late: bool,
    ended: bool,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.sending.taken.fetch_add(1, Ordering::Relaxed);
        if frame.is_some() || !self.late || std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(frame);
        }
        let fields = HeaderMap::from_iter([(http::HeaderName::from_static(WITHIN_HEADER), self.sending.within())]);
        Poll::Ready(Some(Ok(Frame::trailers(fields))))
    }

    fn is_end_stream(&self) -> bool {
        if self.late { self.ended } else { self.body.is_end_stream() }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn request(method: Method, body: Body) -> Request<Body> {
        Request::builder().method(method).uri("https://n/").body(body).expect("a request")
    }

    /// What a server that accepted at 5,000 ms of its own clock makes of a request.
    async fn heard(request: Request<Body>) -> Option<u64> {
        let until = Until::new(BootMs(5_000), request.headers());
        until.follow(request.into_body()).collect().await.expect("whole");
        until.end().map(|end| end.0)
    }

    #[tokio::test]
    async fn short_bodies_say_it_in_the_header_and_long_ones_at_their_end() {
        let (world, clock) = World::simulated(1);
        let long = vec![0; usize::try_from(SHORT_BODY_BYTES).expect("small") + 1];
        let latest = u64::try_from(LATEST_CHANGE.as_millis()).expect("small");
        let opened = world.clock.boot();
        clock.advance(Duration::from_millis(700));
        for (method, body, waits, expected) in [
            (Method::POST, crate::body::full("x"), 0, Some(5_000 + 700 + latest)),
            (Method::DELETE, crate::body::empty(), 0, Some(5_000 + 700 + latest)),
            (Method::PUT, crate::body::full(long.clone()), 0, Some(5_000 + 700 + latest)),
            (Method::PUT, crate::body::full(long), 100, Some(5_000 + 800 + latest)),
            (Method::GET, crate::body::empty(), 0, None),
        ] {
            let (sending, mut sent) = Sending::watch(&world, request(method.clone(), body));
            sending.goes_out(opened, &mut sent);
            clock.advance(Duration::from_millis(waits));
            assert_eq!(heard(sent).await, expected, "{method}");
        }
    }

    #[tokio::test]
    async fn what_is_no_time_is_over() {
        for (text, expected) in [("7", 5_007), ("x", 5_000), ("", 5_000), ("18446744073709551615", OPEN - 1)] {
            let mut sent = request(Method::POST, crate::body::empty());
            sent.headers_mut().insert(WITHIN_HEADER, HeaderValue::from_static(text));
            assert_eq!(heard(sent).await, Some(expected), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_waited_for_as_long_as_the_request_gets_on() {
        let world = World::simulated(1).0;
        let (sending, _) = Sending::watch(&world, request(Method::PUT, crate::body::empty()));
        let long = async {
            for _ in 0..5 {
                tokio::time::sleep(ANSWER_DEADLINE / 2).await;
                sending.taken.fetch_add(1, Ordering::Relaxed);
            }
        };
        assert!(sending.answer(long).await.is_some());
        assert!(sending.answer(std::future::pending::<()>()).await.is_none());
    }
}
