//! The way from a replica to the volume's home: the session stream, opens, and blocks.
//! It says whether the home answered at all, because only then may anything be concluded.

use super::limits::{BLOCK_DEADLINE, OPEN_DEADLINE};
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
use std::time::Duration;
use terms::{Code, Digest, Principal, Problem, VolumeName, VolumePath};
use tokio::time::timeout;
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

/// The way to a volume's home. Real ones go over the network.
pub trait HomeLink: Send + Sync + 'static {
    /// Who the home is.
    fn home(&self) -> &Principal;
    /// Opens a session stream: `up` is what the holder says, the result is what the home says.
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

/// The home over the network: control and bulk on separate connections.
#[derive(Clone)]
pub struct PoolLink {
    pool: Pool,
    volume: VolumeName,
    home: Principal,
    control: Target,
    bulk: Target,
}

impl PoolLink {
    /// The home of a volume at an address (`host:port`); who is there is checked.
    pub fn new(pool: Pool, volume: VolumeName, home: Principal, address: &str) -> Self {
        let target = |purpose| Target { address: address.into(), expect: Expect::Principal(home.clone()), purpose };
        let (control, bulk) = (target(Purpose::Control), target(Purpose::Bulk));
        Self { pool, volume, home, control, bulk }
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let uri = format!("https://{}{path}", self.home.dns_twin());
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

impl std::fmt::Debug for PoolLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolLink").field("home", &self.home).field("address", &self.control.address).finish()
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
            let mut request = self
                .request(Method::GET, &format!("/{}/{}", self.volume, path.to_url()))
                .header(RANGE, format!("bytes={}-{}", bytes.start, bytes.end.saturating_sub(1)));
            if let Some(root) = root {
                request = request.header(IF_MATCH, etag_text(root));
            }
            let request = request.body(wire::body::empty());
            let response = self.send(&self.bulk, request).await?;
            if response.status() != StatusCode::PARTIAL_CONTENT {
                let detail = format!("asked for a part of /{path}, the home answered {}", response.status());
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
