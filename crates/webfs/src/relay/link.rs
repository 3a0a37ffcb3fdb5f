//! The way from a replica to the server above it, the volume's home or a relay: the session stream, opens, and blocks.
//! It says whether the server answered at all, because only then may anything be concluded.

use super::limits::{BLOCK_DEADLINE, FETCHES_A_LANE, OPEN_DEADLINE};
use crate::limits::BLOCK_BYTES;
use crate::manifest::{MAX_NODE_BYTES, NodePlace};
use crate::model::{NODE_TYPE, etag_text};
use crate::session::limits::MAX_OPEN_ANSWER_BYTES;
use crate::session::{OpenAnswer, OpenRequest};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use http::header::{ACCEPT, CONTENT_TYPE, IF_MATCH, RANGE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use terms::{Code, Digest, Principal, Problem, VolumeName, VolumePath};
use tokio::time::timeout;
use wire::limits::BULK_LANES;
use wire::{Body, Envelope, Expect, Pool, Purpose, Target};

/// Why a request to the home brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The home was not reached, or broke off.
    #[error("the home was not reached")]
    Unreachable(#[source] Problem),
    /// The home answered: no.
    #[error("the home refused")]
    Refused(#[source] Problem),
}

/// The way to a volume's home, or to a relay of it. Real ones go over the network.
pub trait HomeLink: Send + Sync + 'static {
    /// Who the home is.
    fn home(&self) -> &Principal;
    /// Who is asked: the home, unless a relay is.
    fn server(&self) -> &Principal {
        self.home()
    }
    /// Opens a session stream: `up` is what the holder says, the result is what the server says.
    fn stream(&self, up: Body) -> BoxFuture<'_, Result<Body, LinkError>>;
    /// Opens an object.
    fn open(&self, request: OpenRequest) -> BoxFuture<'_, Result<OpenAnswer, LinkError>>;
    /// Some bytes, at most a block, of a file as it is at the version with this root; without one, of a file that only
    /// grows. The caller compares them with their hash.
    fn read<'a>(
        &'a self,
        path: &'a VolumePath,
        root: Option<Digest>,
        bytes: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, LinkError>>;
    /// A node of the tree of the blocks of a file as it is at the version with this root.
    fn node<'a>(
        &'a self,
        path: &'a VolumePath,
        root: Digest,
        place: NodePlace,
    ) -> BoxFuture<'a, Result<Bytes, LinkError>>;
}

/// The home, or a relay, over the network: control and bulk on separate connections.
#[derive(Clone)]
pub struct PoolLink {
    pool: Pool,
    volume: VolumeName,
    home: Principal,
    server: Principal,
    control: Target,
    bulk: Target,
    /// Blocks on their way: count.
    reading: Arc<AtomicUsize>,
}

impl PoolLink {
    /// The home of a volume at an address (`host:port`); who is there is checked.
    pub fn new(pool: Pool, volume: VolumeName, home: Principal, address: &str) -> Self {
        Self::via(pool, volume, home.clone(), (home, address))
    }

    /// A relay of a volume with this home, at an address; who is there is checked.
    pub fn via(pool: Pool, volume: VolumeName, home: Principal, (server, address): (Principal, &str)) -> Self {
        let target =
            |purpose| Target { address: address.into(), expect: Expect::Principal(server.clone()), purpose };
        let (control, bulk) = (target(Purpose::Control), target(Purpose::Bulk));
        Self { pool, volume, home, server, control, bulk, reading: Arc::default() }
    }

    /// The connection for a block, with the place that it takes there: a further one only when those before are busy.
    fn lane(&self) -> (Target, OnTheWay) {
        let before = self.reading.fetch_add(1, Ordering::Relaxed);
        let lane = u8::try_from(before / FETCHES_A_LANE).unwrap_or(u8::MAX).min(BULK_LANES - 1);
        let purpose = if lane == 0 { Purpose::Bulk } else { Purpose::Lane(lane) };
        (Target { purpose, ..self.bulk.clone() }, OnTheWay(self.reading.clone()))
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let uri = format!("https://{}{path}", self.server.dns_twin());
        Request::builder().method(method).uri(uri)
    }

    async fn send(
        &self,
        target: &Target,
        request: Result<Request<Body>, http::Error>,
    ) -> Result<Response<Incoming>, LinkError> {
        let malformed = |error| LinkError::Refused(Problem::new(Code::Internal, format!("no request: {error}")));
        let sent = self.pool.request(target, request.map_err(malformed)?).await;
        let response = sent.map_err(|error| LinkError::Unreachable(error.into()))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(LinkError::Refused(wire::problem_from(response).await))
    }
}

/// A block on its way, until dropped.
struct OnTheWay(Arc<AtomicUsize>);

impl Drop for OnTheWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for PoolLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolLink").field("server", &self.server).field("address", &self.control.address).finish()
    }
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, LinkError>> + Send,
) -> Result<T, LinkError> {
    let late = || Problem::new(Code::Timeout, format!("no answer within {} s", deadline.as_secs()));
    timeout(deadline, work).await.map_err(|_| LinkError::Unreachable(late()))?
}

async fn body(response: Response<Incoming>, limit: usize) -> Result<Bytes, LinkError> {
    wire::read_body(response.into_body(), limit).await.map_err(LinkError::Unreachable)
}

impl HomeLink for PoolLink {
    fn home(&self) -> &Principal {
        &self.home
    }

    fn server(&self) -> &Principal {
        &self.server
    }

    fn stream(&self, up: Body) -> BoxFuture<'_, Result<Body, LinkError>> {
        async move {
            let request = self.request(Method::POST, &format!("/.webos/session/{}", self.volume)).body(up);
            let response = self.send(&self.control, request).await?;
            Ok(response.into_body().map_err(Into::into).boxed())
        }
        .boxed()
    }

    fn open(&self, request: OpenRequest) -> BoxFuture<'_, Result<OpenAnswer, LinkError>> {
        let work = async move {
            let content = wire::cbor::to_vec(&Envelope::new(request));
            let request = self
                .request(Method::POST, &format!("/.webos/open/{}", self.volume))
                .header(CONTENT_TYPE, "application/cbor")
                .body(wire::body::full(content));
            let answer = body(self.send(&self.control, request).await?, MAX_OPEN_ANSWER_BYTES).await?;
            wire::cbor::from_slice(&answer).and_then(Envelope::into_body).map_err(LinkError::Refused)
        };
        within(OPEN_DEADLINE, work).boxed()
    }

    fn read<'a>(
        &'a self,
        path: &'a VolumePath,
        root: Option<Digest>,
        bytes: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, LinkError>> {
        let work = async move {
            let request = || {
                let mut request = self
                    .request(Method::GET, &format!("/{}/{}", self.volume, path.to_url()))
                    .header(RANGE, format!("bytes={}-{}", bytes.start, bytes.end.saturating_sub(1)));
                if let Some(root) = root {
                    request = request.header(IF_MATCH, etag_text(root));
                }
                request.body(wire::body::empty())
            };
            let (lane, _place) = self.lane();
            let response = match self.send(&lane, request()).await {
                // What one connection does not reach the first one may.
                Err(LinkError::Unreachable(_)) if lane != self.bulk => self.send(&self.bulk, request()).await?,
                sent => sent?,
            };
            if response.status() != StatusCode::PARTIAL_CONTENT {
                let detail = format!("asked for a part of /{path}, {} answered {}", self.server, response.status());
                return Err(LinkError::Refused(Problem::new(Code::Internal, detail)));
            }
            #[allow(clippy::cast_possible_truncation)] // 1 MiB
            body(response, BLOCK_BYTES as usize).await
        };
        within(BLOCK_DEADLINE, work).boxed()
    }

    fn node<'a>(
        &'a self,
        path: &'a VolumePath,
        root: Digest,
        place: NodePlace,
    ) -> BoxFuture<'a, Result<Bytes, LinkError>> {
        let work = async move {
            let request = self
                .request(Method::GET, &format!("/{}/{}?node={place}", self.volume, path.to_url()))
                .header(IF_MATCH, etag_text(root))
                .header(ACCEPT, NODE_TYPE)
                .body(wire::body::empty());
            body(self.send(&self.bulk, request).await?, MAX_NODE_BYTES).await
        };
        within(BLOCK_DEADLINE, work).boxed()
    }
}
