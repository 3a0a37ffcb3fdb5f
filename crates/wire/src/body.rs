//! Bodies of requests and responses: one boxed type, and bounded reading.

use crate::limits::{READ_OFF_BYTES, READ_OFF_WITHIN};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::TryStreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body as HttpBody, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use terms::{Code, Problem};

/// What can go wrong while a body is produced.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body whose kind is the producer's business.
pub type Body = BoxBody<Bytes, BodyError>;

/// No bytes.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// These bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// The chunks of a stream. An error ends the body as broken, never as complete.
pub fn stream<S, E>(chunks: S) -> Body
where
    S: Stream<Item = Result<Bytes, E>> + Send + Sync + 'static,
    E: Into<BodyError> + 'static,
{
    StreamBody::new(chunks.map_ok(Frame::data).map_err(Into::into)).boxed()
}

/// The same body, broken off when nothing comes for so long: a sender that stalls holds nothing for ever.
pub fn paced<B>(body: B, pause: Duration) -> Body
where
    B: HttpBody<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<BodyError>,
{
    Paced { body: Box::pin(body), pause, wait: Box::pin(tokio::time::sleep(pause)) }.boxed()
}

struct Paced<B> {
    body: Pin<Box<B>>,
    pause: Duration,
    wait: Pin<Box<tokio::time::Sleep>>,
}

impl<B> HttpBody for Paced<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) {
            this.wait = Box::pin(tokio::time::sleep(this.pause));
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        std::task::ready!(this.wait.as_mut().poll(cx));
        Poll::Ready(Some(Err(format!("nothing came for {} s", this.pause.as_secs()).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// Reads a whole body of at most `limit` bytes.
pub async fn read_body<B>(body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Problem::new(Code::TooLarge, format!("the body is longer than {limit} bytes")))
        }
        Err(error) => Err(Problem::new(Code::Unavailable, format!("the body ended early: {error}"))),
    }
}

/// Reads what is left of a refused request's body and drops it, within [`READ_OFF_BYTES`] and [`READ_OFF_WITHIN`]:
/// whoever still sends when its stream ends may never look at the answer.
pub async fn read_off<B>(body: B)
where
    B: HttpBody<Data = Bytes>,
{
    let mut body = std::pin::pin!(body);
    let reading = async {
        let mut left = READ_OFF_BYTES;
        while !body.is_end_stream() {
            let Some(Ok(frame)) = body.frame().await else { return };
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            left = rest;
        }
    };
    // Whoever is slower than that is answered all the same.
    let _ = tokio::time::timeout(READ_OFF_WITHIN, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_broken_off() {
        let endless = stream(futures_util::stream::pending::<Result<Bytes, BodyError>>());
        let read = read_body(paced(endless, Duration::from_secs(30)), 10).await;
        assert!(read.expect_err("stalled").detail.contains("30 s"));
        let whole = read_body(paced(full("all"), Duration::from_secs(30)), 10).await;
        assert_eq!(whole.as_deref(), Ok(&b"all"[..]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_body_is_read_off_within_bounds() {
        read_off(full("short")).await;
        let (mut polled, piece) = (0, Bytes::from(vec![0; 1 << 16]));
        let chunks = futures_util::stream::repeat_with(|| {
            polled += 1;
            Ok::<_, BodyError>(piece.clone())
        });
        read_off(StreamBody::new(chunks.map_ok(Frame::data))).await;
        assert_eq!(polled, (READ_OFF_BYTES >> 16) + 1);
        let silent = stream(futures_util::stream::pending::<Result<Bytes, BodyError>>());
        tokio::time::timeout(READ_OFF_WITHIN * 2, read_off(silent)).await.expect("not waited for any longer");
    }
}
