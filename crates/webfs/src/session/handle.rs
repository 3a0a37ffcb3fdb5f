//! The two routes of coherence at a home, as a node mounts them: `POST /.webos/session/NAME.REALM` and
//! `POST /.webos/open/NAME.REALM`. The node has found the volume and authenticated the holder.

use super::limits::MAX_OPEN_BYTES;
use super::open::{OpenRequest, open};
use crate::coherence::{Coherence, MayRead};
use crate::serve::Home;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::BodyExt;
use terms::{Location, Principal, Problem};
use trust::{Authorised, Bucket};
use wire::{Body, BodyError, Envelope};

/// Answers the session route: both bodies go on until the session's stream ends. `may_read` tells whether the holder
/// may still read what it registers.
pub async fn session_answer<B>(
    coherence: &Coherence,
    holder: Principal,
    may_read: MayRead,
    request: Request<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<BodyError>,
{
    let up = request.into_body().map_err(Into::into).boxed();
    match coherence.stream(holder, may_read, up).await {
        Ok(down) => answered(down),
        Err(problem) => wire::problem_response(&problem),
    }
}

/// Answers the open route. `decide` gives the proof that the holder may read the location, under the access list
/// that governs it.
pub async fn open_answer<B>(
    home: &Home,
    coherence: &Coherence,
    holder: Principal,
    request: Request<B>,
    decide: impl Fn(&Location, &Bucket) -> Result<Authorised, Problem>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let opened = async {
        let body = wire::read_body(request.into_body(), MAX_OPEN_BYTES).await?;
        let request: OpenRequest = wire::cbor::from_slice(&body).and_then(Envelope::into_body)?;
        open(home, coherence, holder, request, decide).await
    };
    match opened.await {
        Ok(answer) => answered(wire::body::full(wire::cbor::to_vec(&Envelope::new(answer)))),
        Err(problem) => wire::problem_response(&problem),
    }
}

fn answered(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
