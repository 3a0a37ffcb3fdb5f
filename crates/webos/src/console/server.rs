//! The console's listener on loopback: connections, their limits, and their end. What a request means is told
//! by `routes`; who may make one by `guard`.

use super::guard::{Guard, Token};
use super::limits::{
    ACCEPT_REST, HEAD_DEADLINE, MAX_CONNECTIONS, MAX_HEAD_BYTES, MAX_HEADERS, MAX_STREAMS, PORTS_TRIED,
    SHUTDOWN_DEADLINE,
};
use super::model::Theatre;
use super::routes::{self, Shared};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use world::World;

/// Why there is no console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Every port that was tried is taken.
    #[error("the ports 127.0.0.1:{first} to {last} are all taken; name another with --port")]
    Taken {
        /// The first port tried.
        first: u16,
        /// The last port tried.
        last: u16,
    },
    /// The system refuses to listen.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port tried.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
}

/// A running console. Dropping it stops it at once; [`Console::shutdown`] lets open requests end.
#[derive(Debug)]
pub struct Console {
    guard: Guard,
    port: u16,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Console {
    /// Listens on 127.0.0.1 at `first_port` or, if that is taken, at the next free one (0: any); ask
    /// [`Console::port`] which it was. Makes a new token.
    pub async fn start(world: &World, theatre: Arc<dyn Theatre>, first_port: u16) -> Result<Self, ConsoleError> {
        let (listener, port) = listen(first_port).await?;
        let guard = Guard::new(port, Token::new(world));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shared = Arc::new(Shared {
            theatre,
            guard: guard.clone(),
            port,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        tasks.spawn(accept(listener, shared));
        Ok(Self { guard, port, stop, tasks })
    }

    /// The link that lets a browser in: it holds the token, so it is for the owner's eyes.
    pub fn link(&self) -> String {
        self.guard.link()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops listening, ends event streams, and waits for open requests for at most two seconds.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(SHUTDOWN_DEADLINE, self.tasks.wait()).await.is_err() {
            tracing::warn!(open = self.tasks.len(), "the console stopped with requests still open");
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn listen(first: u16) -> Result<(TcpListener, u16), ConsoleError> {
    let last = if first == 0 { 0 } else { first.saturating_add(PORTS_TRIED - 1) };
    for port in first..=last {
        let fault = |source| ConsoleError::Listen { port, source };
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => {
                let bound = listener.local_addr().map_err(fault)?.port();
                return Ok((listener, bound));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(source) => return Err(fault(source)),
        }
    }
    Err(ConsoleError::Taken { first, last })
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the console cannot take a connection");
                sleep(ACCEPT_REST).await;
                continue;
            }
        };
        // Without a free place the connection is closed unread: waiting would block those who come after it.
        if let Ok(place) = places.clone().try_acquire_owned() {
            let connection = shared.clone();
            shared.tasks.spawn(async move {
                serve(stream, connection).await;
                drop(place);
            });
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let stalled = CancellationToken::new();
    let service = service_fn(|request| {
        let (shared, stalled) = (shared.clone(), stalled.clone());
        async move { Ok::<_, Infallible>(routes::answer(&shared, request, &stalled).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stalled.cancelled() => return,
        () = shared.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(SHUTDOWN_DEADLINE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the console broke off");
    }
}
