//! Answers whose client does not take them: a connection that leaves one lying too long can be told from one
//! whose server has nothing to send.

use crate::body::{Body, BodyError};
use crate::places::Work;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use terms::BootMs;
use world::World;

#[derive(Default)]
struct Given {
    next: u64,
    since: HashMap<u64, BootMs>,
}

/// The answers of one connection that wait for their client.
#[derive(Clone)]
pub(crate) struct Stalls {
    world: World,
    given: Arc<Mutex<Given>>,
}

impl Stalls {
    /// A connection without answers.
    pub fn new(world: &World) -> Self {
        Self { world: world.clone(), given: Arc::default() }
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same body, watched; what comes with it is dropped when the body is.
    pub fn watch(&self, body: Body, work: Option<Work>) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let number = {
            let mut given = self.given();
            given.next += 1;
            given.next
        };
        Watched { body, number, stalls: self.clone(), _work: work }.boxed()
    }

    /// For how long the client has left an answer lying.
    pub fn longest(&self) -> Duration {
        let now = self.world.clock.boot();
        self.given().since.values().map(|since| now.since(*since)).max().unwrap_or_default()
    }
}

struct Watched {
    body: Body,
    number: u64,
    stalls: Stalls,
    _work: Option<Work>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        // Who asks for more has taken what was given.
        this.stalls.given().since.remove(&this.number);
        let frame = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        if frame.is_some() {
            let now = this.stalls.world.clock.boot();
            this.stalls.given().since.insert(this.number, now);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stalls.given().since.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, StreamExt};

    #[test]
    fn only_what_the_client_leaves_lying_counts() {
        let (world, clock) = World::simulated(1);
        let stalls = Stalls::new(&world);
        let part = || Ok::<_, BodyError>(Bytes::from_static(b"part"));
        let parts = futures_util::stream::iter([part(), part()]).chain(futures_util::stream::pending());
        let mut body = stalls.watch(crate::body::stream(parts), None);
        let hour = Duration::from_secs(3600);
        clock.advance(hour);
        assert_eq!(stalls.longest(), Duration::ZERO, "nothing was given yet");
        assert!(body.frame().now_or_never().is_some());
        clock.advance(hour);
        assert_eq!(stalls.longest(), hour);
        assert!(body.frame().now_or_never().is_some());
        assert_eq!(stalls.longest(), Duration::ZERO, "it was taken");
        clock.advance(hour);
        assert!(body.frame().now_or_never().is_none(), "now it is the server that has nothing");
        clock.advance(hour);
        assert_eq!(stalls.longest(), Duration::ZERO);
        drop(body);
    }
}
