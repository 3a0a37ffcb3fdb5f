//! A body that stands on a transfer certificate or a token: it ends as broken when a realm takes that back, while it is sent or
//! received. Bodies of peers for themselves need none: their connections are closed.

use crate::gatekeeper::Caller;
use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};
use trust::{TrustStore, VerifiedChain, VerifiedToken};
use wire::Body;
use wire::body::BodyError;

/// What somebody without rights of its own on the connection asks under.
enum Under {
    Chain(VerifiedChain),
    Token(VerifiedToken),
}

struct Guarded {
    body: Body,
    under: Under,
    trust: TrustStore,
    /// The state of the trust store for which the chain was last seen to stand.
    seen: u64,
}

impl Guarded {
    fn stands(&mut self) -> Result<(), BodyError> {
        let present = self.trust.generation();
        if present != self.seen {
            let stands = match &self.under {
                Under::Chain(chain) => chain.stands(&self.trust),
                Under::Token(token) => token.stands(&self.trust),
            };
            stands.map_err(|ground| ground.to_string())?;
            self.seen = present;
        }
        Ok(())
    }
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Err(revoked) = self.stands() {
            return Poll::Ready(Some(Err(revoked)));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// The same body, which ends with what its caller stands on.
pub fn body(caller: &Caller, trust: &TrustStore, body: Body) -> Body {
    let chain = caller.chain().cloned().map(Under::Chain);
    match chain.or(caller.token().cloned().map(Under::Token)) {
        None => body,
        // Nothing was seen yet: the first frame looks.
        Some(under) => Guarded { body, under, trust: trust.clone(), seen: u64::MAX }.boxed(),
    }
}

/// The same answer, with such a body.
pub fn answer(caller: &Caller, trust: &TrustStore, response: Response<Body>) -> Response<Body> {
    response.map(|inner| body(caller, trust, inner))
}
