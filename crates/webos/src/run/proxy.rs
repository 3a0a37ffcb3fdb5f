//! `proxy`: services for programs that only know HTTP, at `http://NAME.REALM.localhost:PORT/`, on loopback.
//!
//! It acts without identity, so it shows what `anyone` may read, and it hands on only bytes that the service's home
//! signed: a surrogate cannot forge a page through it.

use super::limits::{PROXY_CONNECTIONS, PROXY_END, PROXY_HEADER_BYTES, PROXY_HEADER_DEADLINE};
use super::{Setup, proxies};
use crate::output::{Failure, Out, Outcome};
use crate::settings::Origin;
use client::Client;
use discovery::smart::Proxy;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use std::convert::Infallible;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use terms::{Code, Problem, RealmName};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::Pool;

/// After the system refused a connection, for example for want of file handles.
const ACCEPT_REST: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Ready {
    event: &'static str,
    address: String,
    pid: u32,
    urls: Vec<String>,
}

/// Listens until SIGTERM or Ctrl-C.
pub async fn run(setup: &Setup, out: &mut Out) -> Outcome {
    let failed =
        |error: std::io::Error| Problem::new(Code::Internal, format!("signals cannot be received: {error}"));
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
    let listener = listen(setup, out).await?;
    let address = listener.local_addr().map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let noted = proxies::note(&setup.folder, address);
    if let Err(problem) = &noted {
        tracing::info!(%problem, "`webos status` will not list this proxy");
    }
    // It acts as nobody, so nobody is asked for a passphrase.
    let client = Client::nobody(setup.folder.clone(), setup.world.clone())?;
    let realms = client.trust().realms();
    let urls = realms.iter().map(|realm| url(realm, address)).collect();
    let ready = Ready { event: "ready", address: address.to_string(), pid: std::process::id(), urls };
    out.result(&ready, |out, ready| {
        out.line(&format!("services are at {}; Ctrl-C ends it", ready.urls.join(" and ")))?;
        out.flush()
    })?;
    let nobody = Pool::new(&setup.world, None, Arc::new(client.trust().clone()));
    let proxy = Arc::new(Proxy::new(&setup.world, nobody, client.trust().clone()));
    let told = async {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    accept(listener, proxy, told).await;
    Ok(())
}

/// Where the services of a realm are: names below `.localhost` lead to this machine without any DNS.
fn url(realm: &RealmName, at: SocketAddr) -> String {
    let below = if realm.as_str().ends_with(".localhost") { "" } else { ".localhost" };
    format!("http://NAME.{realm}{below}:{}/", at.port())
}

/// Listens where it is set. A taken port is replaced by another one unless it was asked for by flag.
async fn listen(setup: &Setup, out: &Out) -> Result<TcpListener, Failure> {
    let wished = &setup.settings.proxy_listen;
    let refuse = |code, what: String, next: &str| Failure::from(Problem::new(code, what).next(next));
    if !wished.value.ip().is_loopback() {
        let what = format!("{} is not loopback: the proxy would answer to the whole network", wished.value);
        return Err(refuse(Code::Invalid, what, "use 127.0.0.1:PORT"));
    }
    match TcpListener::bind(wished.value).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse && !matches!(wished.origin, Origin::Flag(_)) => {
            let any = SocketAddr::new(wished.value.ip(), 0);
            let listener = TcpListener::bind(any).await.map_err(|error| cannot_listen(any, &error))?;
            out.note(&format!("{} is in use; taking another port", wished.value));
            Ok(listener)
        }
        Err(error) => Err(cannot_listen(wished.value, &error).into()),
    }
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Problem {
    let why = crate::home::plain(error);
    Problem::new(Code::Unavailable, format!("cannot listen on {address}: {why}"))
        .next("choose another with --listen; port 0 takes a free one")
}

async fn accept(listener: TcpListener, proxy: Arc<Proxy>, told: impl Future<Output = ()>) {
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let places = Arc::new(Semaphore::new(PROXY_CONNECTIONS));
    tokio::pin!(told);
    loop {
        let accepted = tokio::select! {
            () = &mut told => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Err(error) => {
                tracing::warn!(%error, "the proxy cannot take a connection");
                sleep(ACCEPT_REST).await;
            }
            // Without a free place the connection is closed unread: waiting would block those who come after it.
            Ok((stream, _)) => {
                if let Ok(place) = places.clone().try_acquire_owned() {
                    let (proxy, stop) = (proxy.clone(), stop.clone());
                    tasks.spawn(async move {
                        serve(stream, proxy, stop).await;
                        drop(place);
                    });
                }
            }
        }
    }
    stop.cancel();
    tasks.close();
    // What takes longer is cut off with the process.
    let _ = timeout(PROXY_END, tasks.wait()).await;
}

async fn serve(stream: TcpStream, proxy: Arc<Proxy>, stop: CancellationToken) {
    let service = service_fn(|request: Request<Incoming>| {
        let proxy = proxy.clone();
        async move { Ok::<_, Infallible>(proxy.answer(&request.into_parts().0).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PROXY_HEADER_DEADLINE)
        .max_buf_size(PROXY_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the proxy broke off");
    }
}
