//! The connection cache: one authenticated HTTP/2 connection a peer and purpose, shared by all requests.
//!
//! It relies on [`crate::tls`] for who is there. A connection is dropped when it breaks, when the peer's or
//! the own certificate ends, and when it is the one unused longest of too many.

use crate::body::Body;
use crate::call_error::CallError;
use crate::gulp::Gulping;
use crate::limits::{
    ANSWER_DEADLINE, CONNECT_DEADLINE, FRAME_BYTES, HANDSHAKE_DEADLINE, MAX_CONNECTION_AGE, MAX_HEADER_BYTES,
    MAX_POOLED, PING_DEADLINE, PING_INTERVAL, POOLED_WINDOW_BYTES, SEND_BUFFER_BYTES, STREAM_WINDOW_BYTES,
};
use crate::peer::{Binding, Credentials, Expect, PeerCheck};
use crate::tls;
use crate::until::Sending;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use terms::{BootMs, Thumbprint, UnixMs};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use world::World;

/// What a connection is for. Control and bulk are apart, so that a recall never waits behind a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Control messages and session streams.
    Control,
    /// File content between nodes.
    Bulk,
    /// One more connection for the content of long files, by its number from 1 on.
    Lane(u8),
    /// Requests of a service's clients.
    Service,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// Who must be there.
    pub expect: Expect,
    /// What for.
    pub purpose: Purpose,
}

struct Connection {
    sender: SendRequest<Body>,
    /// When its handshake was done.
    opened: BootMs,
    used: AtomicU64,
    until: UnixMs,
    /// That of the peer, where a principal was expected.
    key: Option<Thumbprint>,
    /// The chain that the peer showed.
    chain: Vec<CertificateDer<'static>>,
    binding: Option<Binding>,
}

type Slot = Arc<tokio::sync::Mutex<Option<Arc<Connection>>>>;

struct Inner {
    world: World,
    credentials: RwLock<Option<Credentials>>,
    check: Arc<dyn PeerCheck>,
    slots: Mutex<HashMap<Target, Slot>>,
    handshakes: AtomicU64,
    hits: AtomicU64,
}

/// What a connection cache has done since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoolCounts {
    /// Connections that are kept now.
    pub kept: u64,
    /// Requests that found a connection.
    pub hits: u64,
    /// Handshakes, for requests that found none.
    pub handshakes: u64,
}

/// The connection cache of one identity. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

impl Pool {
    /// An empty cache. Without credentials it speaks as nobody.
    pub fn new(world: &World, credentials: Option<Credentials>, check: Arc<dyn PeerCheck>) -> Self {
        Self(Arc::new(Inner {
            world: world.clone(),
            credentials: RwLock::new(credentials),
            check,
            slots: Mutex::new(HashMap::new()),
            handshakes: AtomicU64::new(0),
            hits: AtomicU64::new(0),
        }))
    }

    /// Speaks with these from now on. What was begun on earlier connections goes on there.
    pub fn replace_credentials(&self, credentials: Credentials) {
        *self.0.credentials.write().unwrap_or_else(PoisonError::into_inner) = Some(credentials);
        self.slots().clear();
    }

    /// What binds a signature to the connection that requests to this target use now.
    ///
    /// # Errors
    /// As [`Pool::request`] without having sent anything.
    pub async fn binding(&self, target: &Target) -> Result<Binding, CallError> {
        let refused =
            || CallError::Refused { address: target.address.clone(), reason: "TLS exports no keys".into() };
        self.connection(target).await?.binding.ok_or_else(refused)
    }

    /// Handshakes done since the start: shows that the second request costs none.
    pub fn handshakes(&self) -> u64 {
        self.0.handshakes.load(Ordering::Relaxed)
    }

    /// What it has done since its start.
    pub fn counts(&self) -> PoolCounts {
        let (hits, kept) = (self.0.hits.load(Ordering::Relaxed), self.slots().len() as u64);
        PoolCounts { kept, hits, handshakes: self.handshakes() }
    }

    /// Sends a request to the target and waits for the header of the answer, at most [`ANSWER_DEADLINE`] after the last of
    /// its body was taken.
    /// The URI must be absolute; its authority is the one the server sees.
    pub async fn request(&self, target: &Target, request: Request<Body>) -> Result<Response<Incoming>, CallError> {
        let (sending, mut request) = Sending::watch(&self.0.world, request);
        // A cached connection may have died unnoticed: what was not sent on it is sent once on a new one.
        for _ in 0..2 {
            let connection = self.connection(target).await?;
            connection.used.store(self.0.world.clock.boot().0, Ordering::Relaxed);
            let mut sender = connection.sender.clone();
            sending.goes_out(connection.opened, &mut request);
            match sending.answer(sender.try_send_request(request)).await {
                None => {
                    return Err(CallError::Deadline { address: target.address.clone(), after: ANSWER_DEADLINE });
                }
                Some(Ok(response)) => return Ok(response),
                Some(Err(mut error)) => {
                    self.forget(target, &connection).await;
                    match error.take_message() {
                        Some(unsent) => request = unsent,
                        None => {
                            return Err(CallError::Broken {
                                address: target.address.clone(),
                                source: error.into_error(),
                            });
                        }
                    }
                }
            }
        }
        Err(CallError::Connect {
            address: target.address.clone(),
            source: std::io::ErrorKind::ConnectionReset.into(),
        })
    }

    /// Makes a connection to the target, unless there is one. Gives the key of the principal that is there.
    ///
    /// # Errors
    /// As [`Pool::request`] without having sent anything.
    pub async fn open(&self, target: &Target) -> Result<Option<Thumbprint>, CallError> {
        Ok(self.connection(target).await?.key)
    }

    /// Whether a connection to the target is there for the next request.
    pub fn is_open(&self, target: &Target) -> bool {
        let slot = self.slots().get(target).cloned();
        let held = slot.as_ref().and_then(|slot| slot.try_lock().ok());
        held.is_some_and(|held| held.as_ref().is_some_and(|connection| self.is_usable(connection)))
    }

    fn is_usable(&self, connection: &Connection) -> bool {
        let clock = &self.0.world.clock;
        let young = clock.boot().since(connection.opened) < MAX_CONNECTION_AGE;
        young && !connection.sender.is_closed() && connection.until > clock.unix()
    }

    /// Drops the connections to a target: the next request makes a new one.
    pub fn close(&self, target: &Target) {
        self.slots().remove(target);
    }

    /// Looks at every cached connection again, after what makes peers acceptable has changed: those of peers that are
    /// refused now are dropped. What was sent on them already is answered, and nothing more is sent.
    pub fn recheck(&self) {
        let now = self.0.world.clock.unix();
        self.slots().retain(|target, slot| {
            // One that is being made is checked with what is known now.
            let Ok(held) = slot.try_lock() else { return true };
            match (&target.expect, held.as_ref().map(|connection| connection.chain.as_slice())) {
                (Expect::Principal(_), Some([leaf, rest @ ..])) => self.0.check.check(leaf, rest, now).is_ok(),
                _ => true,
            }
        });
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<Target, Slot>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot's lock is held while connecting, on purpose: all who want this peer wait for one handshake.
    async fn connection(&self, target: &Target) -> Result<Arc<Connection>, CallError> {
        let slot = self.slot(target);
        let mut held = slot.lock().await;
        if let Some(connection) = held.as_ref().filter(|connection| self.is_usable(connection)) {
            self.0.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(connection.clone());
        }
        let connection = Arc::new(self.connect(target).await?);
        *held = Some(connection.clone());
        Ok(connection)
    }

    fn slot(&self, target: &Target) -> Slot {
        let mut slots = self.slots();
        if !slots.contains_key(target) && slots.len() >= MAX_POOLED {
            let idle_since = |slot: &Slot| match slot.try_lock() {
                Ok(held) => held.as_ref().map_or(0, |connection| connection.used.load(Ordering::Relaxed)),
                Err(_) => u64::MAX,
            };
            let oldest = slots.iter().min_by_key(|(_, slot)| idle_since(slot)).map(|(target, _)| target.clone());
            if let Some(oldest) = oldest {
                slots.remove(&oldest);
            }
        }
        slots.entry(target.clone()).or_default().clone()
    }

    async fn forget(&self, target: &Target, connection: &Arc<Connection>) {
        let slot = self.slot(target);
        let mut held = slot.lock().await;
        if held.as_ref().is_some_and(|present| Arc::ptr_eq(present, connection)) {
            *held = None;
        }
    }

    async fn connect(&self, target: &Target) -> Result<Connection, CallError> {
        let refused = |reason: String| CallError::Refused { address: target.address.clone(), reason };
        let own = self.0.credentials.read().unwrap_or_else(PoisonError::into_inner).clone();
        let config = tls::client(&self.0.world, own.as_ref(), self.0.check.clone(), target.expect.clone())
            .map_err(|error| refused(format!("the own certificate is not usable: {error}")))?;
        let unreachable = |source| CallError::Connect { address: target.address.clone(), source };
        // The first random number of a process takes 15 ms to gather: meanwhile the other side is on its way.
        let gathered = tokio::task::spawn_blocking(tls::gather_randomness);
        let stream = timeout(CONNECT_DEADLINE, TcpStream::connect(&target.address))
            .await
            .map_err(|_| unreachable(std::io::ErrorKind::TimedOut.into()))?
            .map_err(unreachable)?;
        let _ = stream.set_nodelay(true);
        // If it failed TLS will say so itself.
        let _ = gathered.await;
        let name = server_name(target).map_err(refused)?;
        self.0.handshakes.fetch_add(1, Ordering::Relaxed);
        let stream =
            timeout(HANDSHAKE_DEADLINE, TlsConnector::from(Arc::new(config)).connect(name, Gulping::new(stream)))
                .await
                .map_err(|_| unreachable(std::io::ErrorKind::TimedOut.into()))?
                .map_err(|error| handshake_error(target, error))?;
        let opened = now(&self.0.world);
        let (until, key, chain) = self.chain_end(target, &stream);
        let binding = tls::binding(stream.get_ref().1).ok();
        let (sender, connection) = builder()
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| CallError::Broken { address: target.address.clone(), source })?;
        // Ends by itself when every sender and every answer's body is gone.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        let used = AtomicU64::new(now(&self.0.world).0);
        Ok(Connection { sender, opened, used, until, key, chain, binding })
    }

    /// When the peer's chain ends, the peer's key, and the chain. A peer known by key alone is bounded by the document that names the key.
    fn chain_end(
        &self,
        target: &Target,
        stream: &TlsStream<Gulping<TcpStream>>,
    ) -> (UnixMs, Option<Thumbprint>, Vec<CertificateDer<'static>>) {
        let far = UnixMs(u64::MAX);
        match (&target.expect, stream.get_ref().1.peer_certificates()) {
            (Expect::Principal(_), Some(chain @ [leaf, rest @ ..])) => {
                let peer = self.0.check.check(leaf, rest, self.0.world.clock.unix());
                let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
                let key = peer.as_ref().ok().map(|peer| peer.key);
                (peer.map_or(UnixMs(0), |peer| peer.not_after), key, chain)
            }
            _ => (far, None, Vec::new()),
        }
    }
}

fn now(world: &World) -> BootMs {
    world.clock.boot()
}

fn handshake_error(target: &Target, error: std::io::Error) -> CallError {
    let address = target.address.clone();
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(rustls::OtherError(inner)))) => {
            CallError::Refused { address, reason: inner.to_string() }
        }
        Some(inner) => CallError::Refused { address, reason: inner.to_string() },
        None => CallError::Connect { address, source: error },
    }
}

/// The name for SNI: the DNS twin where the principal is known, else the host of the address.
fn server_name(target: &Target) -> Result<ServerName<'static>, String> {
    let name = match &target.expect {
        Expect::Principal(principal) => principal.dns_twin(),
        Expect::Key(_) | Expect::Root(_) => {
            let host = target.address.rsplit_once(':').map_or(target.address.as_str(), |(host, _)| host);
            host.trim_matches(['[', ']']).to_string()
        }
    };
    ServerName::try_from(name).map_err(|_| format!("'{}' has no usable host name", target.address))
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(POOLED_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_DEADLINE);
    builder
}
