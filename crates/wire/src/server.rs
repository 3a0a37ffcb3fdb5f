//! The listener: accepts, authenticates, bounds, and hands each request to one handler with its peer.

use crate::admission::{Admission, Bounds};
use crate::body::Body;
use crate::gulp::Gulping;
use crate::limits::{
    CONNECTION_WINDOW_BYTES, FRAME_BYTES, HANDSHAKE_DEADLINE, HEADER_DEADLINE, MAX_CONNECTIONS, MAX_HEADER_BYTES,
    MAX_STREAMS_PER_CONNECTION, PING_DEADLINE, PING_INTERVAL, SEND_BUFFER_BYTES, SHUTDOWN_DEADLINE, STALL_DEADLINE,
    UPLOAD_WINDOW_BYTES,
};
use crate::peer::{Credentials, Peer, PeerCheck};
use crate::places::Place;
use crate::stalls::Stalls;
use crate::tls::{self, Shown};
use crate::until::Until;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use world::World;

/// What a handler returns.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. `peer` is nobody when the client showed no certificate.
    fn handle(&self, request: Request<Incoming>, peer: Option<Arc<Peer>>, from: SocketAddr) -> HandlerFuture;
}

/// Why a listener could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The listener's own address is not to be had.
    #[error("the listening socket is not usable")]
    Socket(#[source] std::io::Error),
    /// Key and certificate do not fit, or TLS refuses them.
    #[error("the node's own certificate is not usable for TLS")]
    Tls(#[source] rustls::Error),
}

/// What a listener shows to clients. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ShownCredentials(Arc<Shown>);

impl ShownCredentials {
    /// Shows these to every client that connects from now on.
    ///
    /// # Errors
    /// [`ServerError::Tls`] if key and certificate do not fit; then it goes on with the former.
    pub fn replace(&self, credentials: &Credentials) -> Result<(), ServerError> {
        self.0.replace(credentials).map_err(ServerError::Tls)
    }
}

/// A running listener. Dropping it stops it at once; [`Server::shutdown`] lets requests in flight end.
pub struct Server {
    address: SocketAddr,
    shown: ShownCredentials,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

/// Tells listeners that what makes peers acceptable has changed: each connection's peer is checked again, and closed at
/// once if it is refused now. Clones share one.
#[derive(Debug, Clone, Default)]
pub struct Recheck(watch::Sender<u64>);

impl Recheck {
    /// Has every connection looked at again.
    pub fn all(&self) {
        self.0.send_modify(|round| *round += 1);
    }
}

struct Shared {
    world: World,
    recheck: Recheck,
    acceptor: TlsAcceptor,
    check: Arc<dyn PeerCheck>,
    handler: Arc<dyn Handler>,
    admission: Admission,
    stop: CancellationToken,
    abort: CancellationToken,
}

impl Server {
    /// Starts to accept on the listener.
    pub fn start(
        world: &World,
        listener: TcpListener,
        credentials: &Credentials,
        check: Arc<dyn PeerCheck>,
        handler: Arc<dyn Handler>,
        recheck: &Recheck,
    ) -> Result<Self, ServerError> {
        Self::start_within(Bounds::default(), world, listener, credentials, check, handler, recheck)
    }

    fn start_within(
        bounds: Bounds,
        world: &World,
        listener: TcpListener,
        credentials: &Credentials,
        check: Arc<dyn PeerCheck>,
        handler: Arc<dyn Handler>,
        recheck: &Recheck,
    ) -> Result<Self, ServerError> {
        let shown = Arc::new(Shown::new(credentials).map_err(ServerError::Tls)?);
        let config = tls::server(world, shown.clone(), check.clone()).map_err(ServerError::Tls)?;
        let address = listener.local_addr().map_err(ServerError::Socket)?;
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        let shared = Arc::new(Shared {
            world: world.clone(),
            recheck: recheck.clone(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            check,
            handler,
            admission: Admission::new(world, bounds),
            stop: stop.clone(),
            abort: abort.clone(),
        });
        tasks.spawn(accept_all(listener, shared, tasks.clone()));
        Ok(Self { address, shown: ShownCredentials(shown), stop, abort, tasks })
    }

    /// What it shows to clients, to be replaced while it runs.
    pub fn shown(&self) -> ShownCredentials {
        self.shown.clone()
    }

    /// The address that clients connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests in flight end for at most [`SHUTDOWN_DEADLINE`].
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = timeout(SHUTDOWN_DEADLINE, self.tasks.wait()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}

async fn accept_all(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, from)) => {
                let shared = shared.clone();
                tasks.spawn(async move {
                    serve_connection(&shared, stream, from).await;
                    drop(slot);
                });
            }
            // Out of descriptors, or the connection died in the backlog: wait a moment, then go on.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_connection(shared: &Shared, stream: TcpStream, from: SocketAddr) {
    let accepted = shared.world.clock.boot();
    let _ = stream.set_nodelay(true);
    let mut rounds = shared.recheck.0.subscribe();
    tokio::select! {
        turn = shared.admission.turn(from) => if turn.is_none() { return },
        () = shared.stop.cancelled() => return,
    }
    let Some(stream) = handshake(shared, stream, from).await else { return };
    let peer = match authenticated(shared, &stream) {
        Ok(peer) => peer,
        Err(problem) => {
            tracing::info!(%from, %problem, "a peer was refused");
            return;
        }
    };
    let place = if peer.is_none() { shared.admission.stranger(from) } else { None };
    if peer.is_none() && place.is_none() {
        return;
    }
    let visit = Visit {
        life: peer.as_ref().map(|peer| peer.not_after.since(shared.world.clock.unix())),
        asked: Arc::default(),
        place: place.clone(),
        stalls: Stalls::new(&shared.world),
    };
    let known = peer.clone();
    let (handler, asked, stalls) = (shared.handler.clone(), visit.asked.clone(), visit.stalls.clone());
    let binding = if peer.is_none() { tls::binding(stream.get_ref().1).ok() } else { None };
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(binding) = binding.filter(|_| request.method() == http::Method::POST) {
            request.extensions_mut().insert(binding);
        }
        Until::note(accepted, &mut request);
        asked.store(true, Ordering::Relaxed);
        let answer = handler.handle(request, peer.clone(), from);
        let (stalls, work) = (stalls.clone(), place.as_ref().map(Place::work));
        async move { Ok::<_, Infallible>(answer.await.map(|body| stalls.watch(body, work))) }
    });
    let builder = builder();
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let over = visit.over();
    tokio::pin!(connection, over);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%from, error = %error, "a connection ended with an error");
                }
                return;
            }
            () = shared.stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = shared.abort.cancelled() => return,
            Ok(()) = rounds.changed() => if let Some(problem) = refused_now(shared, known.as_deref()) {
                tracing::info!(%from, %problem, "a connection was closed: its peer is not accepted any more");
                return;
            },
            why = over.as_mut() => {
                tracing::info!(%from, why, "a connection was closed");
                return;
            }
        }
    }
}

/// Why a peer that was accepted is not any more.
fn refused_now(shared: &Shared, peer: Option<&Peer>) -> Option<terms::Problem> {
    let [leaf, rest @ ..] = &*peer?.chain else { return None };
    shared.check.check(leaf, rest, shared.world.clock.unix()).err()
}

/// What bounds the life of one connection.
struct Visit {
    /// What is left of the peer's certificate; nothing for a stranger.
    life: Option<Duration>,
    /// Whether a request ever came.
    asked: Arc<AtomicBool>,
    /// A stranger's place.
    place: Option<Arc<Place>>,
    stalls: Stalls,
}

impl Visit {
    /// Resolves when the connection has to end, with the reason.
    async fn over(&self) -> &'static str {
        let anonymous = self.life.is_none();
        tokio::select! {
            () = sleep(self.life.unwrap_or_default()), if !anonymous => "the peer's certificate has ended",
            () = self.stalled(), if anonymous => "its client does not take its answers",
            () = self.silent() => "no request came",
            () = self.must_end() => "it gave way to others without a certificate",
        }
    }

    async fn silent(&self) {
        sleep(HEADER_DEADLINE).await;
        if self.asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    async fn must_end(&self) {
        match &self.place {
            Some(place) => place.must_end().await,
            None => std::future::pending().await,
        }
    }

    async fn stalled(&self) {
        while self.stalls.longest() <= STALL_DEADLINE {
            sleep(STALL_DEADLINE / 4).await;
        }
    }
}

async fn handshake(shared: &Shared, stream: TcpStream, from: SocketAddr) -> Option<TlsStream<Gulping<TcpStream>>> {
    let begun = shared.admission.handshake(from)?;
    let finished = tokio::select! {
        finished = timeout(HANDSHAKE_DEADLINE, shared.acceptor.accept(Gulping::new(stream))) => finished,
        () = begun.must_end() => {
            tracing::debug!(%from, "a TLS handshake gave way to newer ones");
            return None;
        }
    };
    match finished {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%from, %error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%from, "a TLS handshake did not end in time");
            None
        }
    }
}

fn authenticated(
    shared: &Shared,
    stream: &TlsStream<Gulping<TcpStream>>,
) -> Result<Option<Arc<Peer>>, terms::Problem> {
    let Some([leaf, rest @ ..]) = stream.get_ref().1.peer_certificates() else { return Ok(None) };
    shared.check.check(leaf, rest, shared.world.clock.unix()).map(|peer| Some(Arc::new(peer)))
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(MAX_HEADER_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(UPLOAD_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_DEADLINE);
    builder
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
