//! The event stream of one page: the whole state first, then each second what is new, and happenings at once.
//! A page that stops reading loses its connection; the place it took is free again when its stream ends.

use super::answer::Body;
use super::limits::{STATE_EVERY, STREAM_QUEUE, STREAM_STALL};
use super::model::Theatre;
use bytes::Bytes;
use futures_util::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use terms::UnixMs;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What one stream needs: the world, its place among the bounded number of streams, and when to stop.
pub(super) struct Feed {
    pub(super) theatre: Arc<dyn Theatre>,
    pub(super) place: OwnedSemaphorePermit,
    pub(super) stop: CancellationToken,
}

/// Opens a stream fed by a task of `tasks`; `connection` is cancelled if the page stops reading.
pub(super) fn open(feed: Feed, tasks: &TaskTracker, connection: CancellationToken) -> Body {
    let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
    tasks.spawn(run(feed, Queue { sender, connection }));
    let frames = unfold(receiver, |mut receiver| async move {
        let bytes: Bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), receiver))
    });
    BodyExt::boxed(StreamBody::new(frames))
}

async fn run(feed: Feed, queue: Queue) {
    let Feed { theatre, place, stop } = feed;
    let mut happenings = theatre.subscribe();
    let mut open = true;
    let mut ticks = interval(STATE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut seen_t, mut seen_id) = (UnixMs(0), 0);
    let mut alive = true;
    while alive {
        tokio::select! {
            () = stop.cancelled() => break,
            () = queue.sender.closed() => break,
            _ = ticks.tick() => {
                let state = theatre.snapshot().bounded().later_than(seen_t, seen_id);
                seen_t = state.history.last().map_or(seen_t, |point| point.t);
                seen_id = state.events.last().map_or(seen_id, |event| event.id);
                alive = queue.send("state", &state).await;
            }
            happening = happenings.recv(), if open => match happening {
                Ok(event) => alive = queue.send("event", &event).await,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => open = false,
            },
        }
    }
    drop(place);
}

/// The way to one page.
struct Queue {
    sender: mpsc::Sender<Bytes>,
    connection: CancellationToken,
}

impl Queue {
    /// Sends one message; false when the page is gone or has not read for [`STREAM_STALL`].
    async fn send<T: Serialize>(&self, name: &str, value: &T) -> bool {
        let text = match serde_json::to_string(value) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%error, name, "a console message has no JSON form");
                return false;
            }
        };
        let message = Bytes::from(format!("event: {name}\ndata: {text}\n\n"));
        match timeout(STREAM_STALL, self.sender.send(message)).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                self.connection.cancel();
                false
            }
        }
    }
}
