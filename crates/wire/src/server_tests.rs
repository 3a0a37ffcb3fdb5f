//! The entrance from several sources: addresses of this machine, each of them a source of its own.

use super::*;
use crate::limits::{MAX_ANONYMOUS_CONNECTIONS, MAX_SOURCE_CONNECTIONS};
use crate::peer::{Described, Expect};
use crate::rates::Rate;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use std::io;
use terms::{Problem, Thumbprint, UnixMs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as ClientStream;
use world::SimulatedClock;

const GREEDY: &str = "127.0.0.2:0";
const OTHER: &str = "127.0.0.3:0";
const KEY: Thumbprint = Thumbprint([7; 32]);

/// Every certificate is the server's.
struct Any;

impl PeerCheck for Any {
    fn check(&self, _: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: UnixMs) -> Result<Peer, Problem> {
        Err(Problem::new(terms::Code::Denied, "nobody shows one here"))
    }

    fn describe(&self, _: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: UnixMs) -> Result<Described, Problem> {
        Ok(Described { key: KEY, root: None })
    }
}

/// Answers `ok`, but never to a POST: these are counted.
struct Answer(Arc<Semaphore>);

impl Handler for Answer {
    fn handle(&self, request: Request<Incoming>, _: Option<Arc<Peer>>, _: SocketAddr) -> HandlerFuture {
        let at_work = self.0.clone();
        Box::pin(async move {
            if request.method() == http::Method::POST {
                at_work.add_permits(1);
                std::future::pending::<()>().await;
            }
            Response::new(crate::body::full("ok"))
        })
    }
}

struct Bed {
    world: World,
    clock: Arc<SimulatedClock>,
    server: Server,
    at_work: Arc<Semaphore>,
}

async fn bed(bounds: Bounds) -> Bed {
    let (world, clock) = World::simulated(1);
    let made = rcgen::generate_simple_self_signed(vec!["n1.server.lab.example".into()]).expect("a certificate");
    let own = Credentials {
        chain: vec![made.cert.der().clone()],
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der())),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let recheck = Recheck::default();
    let at_work = Arc::new(Semaphore::new(0));
    let handler = Arc::new(Answer(at_work.clone()));
    let server = Server::start_within(bounds, &world, listener, &own, Arc::new(Any), handler, &recheck);
    Bed { world, clock, server: server.expect("a listener"), at_work }
}

impl Bed {
    async fn connect(&self, from: &str) -> io::Result<ClientStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(from.parse().expect("an address"))?;
        let stream = socket.connect(self.server.local_addr()).await?;
        let mut config = tls::client(&self.world, None, Arc::new(Any), Expect::Key(KEY)).expect("usable");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from("n1.server.lab.example").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

async fn ask(stream: &mut ClientStream<TcpStream>, method: &str) -> io::Result<String> {
    stream.write_all(format!("{method} / HTTP/1.1\r\nhost: n1\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
    let mut answer = [0; 1024];
    let length = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

async fn answered(stream: &mut ClientStream<TcpStream>) -> bool {
    ask(stream, "GET").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}

fn rate(per_second: u32, burst: u32, patience: Duration) -> Bounds {
    Bounds {
        rate: Rate { per_second, burst, patience },
        strangers: MAX_ANONYMOUS_CONNECTIONS,
        of_one_source: MAX_SOURCE_CONNECTIONS,
    }
}

#[tokio::test]
async fn a_source_with_too_many_handshakes_is_closed_unread_and_no_other() {
    let bed = bed(rate(1, 3, Duration::ZERO)).await;
    for _ in 0..3 {
        let mut stream = bed.connect(GREEDY).await.expect("within its burst");
        assert!(answered(&mut stream).await);
    }
    assert!(bed.connect(GREEDY).await.is_err(), "no handshake");
    assert!(answered(&mut bed.connect(OTHER).await.expect("another source")).await);
    assert!(bed.connect(GREEDY).await.is_err(), "still not");
    bed.clock.advance(Duration::from_secs(1));
    assert!(answered(&mut bed.connect(GREEDY).await.expect("one a second")).await);
}

#[tokio::test]
async fn a_little_too_fast_is_only_slowed() {
    let bed = bed(rate(1000, 1, Duration::from_secs(1))).await;
    for _ in 0..20 {
        assert!(answered(&mut bed.connect(GREEDY).await.expect("after a moment")).await);
    }
}

#[tokio::test]
async fn strangers_from_many_sources_keep_no_newcomer_out() {
    let bed = bed(Bounds { strangers: 4, of_one_source: 2, ..Bounds::default() }).await;
    let mut greedy = [bed.connect(GREEDY).await.expect("a place"), bed.connect(GREEDY).await.expect("a place")];
    let mut other = [bed.connect(OTHER).await.expect("a place"), bed.connect(OTHER).await.expect("a place")];
    for stream in greedy.iter_mut().chain(&mut other) {
        assert!(answered(stream).await);
    }
    for stream in greedy.iter_mut().take(1).chain(&mut other) {
        stream.write_all(b"POST / HTTP/1.1\r\nhost: n1\r\ncontent-length: 0\r\n\r\n").await.expect("sent");
    }
    let _all_but_one_at_work = bed.at_work.acquire_many(3).await.expect("counted");
    let mut newcomer = bed.connect("127.0.0.4:0").await.expect("a place");
    assert!(answered(&mut newcomer).await);
    assert!(!answered(&mut greedy[1]).await, "it gave way");
    assert!(answered(&mut newcomer).await, "not the newcomer");
}
