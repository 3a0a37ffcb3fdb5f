//! The listener and the connection cache against each other, over real sockets and real TLS.
//! Certificates here are self-signed; who may be believed is `trust`'s business and tested there.

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use terms::{Code, Principal, Problem, Thumbprint, UnixMs};
use tokio::net::TcpListener;
use webos_wire::{
    Body, CallError, Credentials, Described, Expect, Handler, HandlerFuture, Peer, PeerCheck, Pool, PoolCounts,
    Purpose, Recheck, Server, Target, body, read_body,
};
use world::World;

/// Believes every certificate; the key is the hash of the certificate.
struct Believe;

fn key_of(end_entity: &CertificateDer<'_>) -> Thumbprint {
    Thumbprint(terms::Digest::of(end_entity).0)
}

impl PeerCheck for Believe {
    fn check(&self, end_entity: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: UnixMs) -> Result<Peer, Problem> {
        let principal: Principal = "spiffe://lab.example/server/n1".parse().expect("a principal");
        Ok(Peer {
            principal,
            key: key_of(end_entity),
            issued: UnixMs(0),
            not_after: UnixMs(u64::MAX),
            chain: Arc::from([]),
        })
    }

    fn describe(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixMs,
    ) -> Result<Described, Problem> {
        Ok(Described { key: key_of(end_entity), root: None })
    }
}

fn credentials() -> Credentials {
    let made = rcgen::generate_simple_self_signed(vec!["n1.server.lab.example".into()]).expect("a certificate");
    Credentials {
        chain: vec![made.cert.der().clone()],
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der())),
    }
}

/// Answers with who asked and how long the body was.
struct Echo;

impl Handler for Echo {
    fn handle(&self, request: Request<Incoming>, peer: Option<Arc<Peer>>, _: SocketAddr) -> HandlerFuture {
        Box::pin(async move {
            let who = peer.map_or("nobody".to_string(), |peer| peer.principal.to_string());
            match read_body(request.into_body(), 1 << 20).await {
                Ok(bytes) => Response::new(body::full(format!("{who} {}", bytes.len()))),
                Err(problem) => webos_wire::problem_response(&problem),
            }
        })
    }
}

struct Bed {
    world: World,
    server: Server,
    target: Target,
}

async fn bed() -> Bed {
    let world = World::real();
    let own = credentials();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let expect = Expect::Key(key_of(&own.chain[0]));
    let server = Server::start(&world, listener, &own, Arc::new(Believe), Arc::new(Echo), &Recheck::default())
        .expect("a listener");
    let target = Target { address: server.local_addr().to_string(), expect, purpose: Purpose::Control };
    Bed { world, server, target }
}

fn post(bytes: Vec<u8>) -> Request<Body> {
    Request::post("https://n1.server.lab.example/x").body(body::full(bytes)).expect("a request")
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = read_body(response.into_body(), 1 << 20).await.expect("a body");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn the_second_request_costs_no_handshake() {
    let bed = bed().await;
    let pool = Pool::new(&bed.world, Some(credentials()), Arc::new(Believe));
    for length in [0, 5, 100_000] {
        let answer = pool.request(&bed.target, post(vec![7; length])).await.expect("an answer");
        assert_eq!(text(answer).await, format!("spiffe://lab.example/server/n1 {length}"));
    }
    assert_eq!(pool.counts(), PoolCounts { kept: 1, hits: 2, handshakes: 1 });
}

#[tokio::test]
async fn a_client_without_certificate_is_nobody() {
    let bed = bed().await;
    let pool = Pool::new(&bed.world, None, Arc::new(Believe));
    let answer = pool.request(&bed.target, post(Vec::new())).await.expect("an answer");
    assert_eq!(text(answer).await, "nobody 0");
}

#[tokio::test]
async fn somebody_else_is_refused_before_anything_is_sent() {
    let bed = bed().await;
    let pool = Pool::new(&bed.world, None, Arc::new(Believe));
    let expect = Expect::Key(Thumbprint([1; 32]));
    let error =
        pool.request(&Target { expect, ..bed.target.clone() }, post(Vec::new())).await.expect_err("refused");
    assert!(error.not_sent() && matches!(error, CallError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("expected"), "{error}");
}

#[tokio::test]
async fn too_much_is_named() {
    let bed = bed().await;
    let pool = Pool::new(&bed.world, None, Arc::new(Believe));
    let answer = pool.request(&bed.target, post(vec![0; 2 << 20])).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let problem = webos_wire::problem_from(answer).await;
    assert_eq!((problem.code, problem.detail.contains("1048576")), (Code::TooLarge, true), "{problem}");
}

#[tokio::test]
async fn a_huge_header_does_not_reach_the_handler() {
    let bed = bed().await;
    let pool = Pool::new(&bed.world, None, Arc::new(Believe));
    let mut request = post(Vec::new());
    let value = http::HeaderValue::from_bytes(&vec![b'x'; 200 * 1024]).expect("a value");
    request.headers_mut().insert("x-huge", value);
    match pool.request(&bed.target, request).await {
        Ok(answer) => assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(error) => assert!(matches!(error, CallError::Broken { .. }), "{error}"),
    }
}

#[tokio::test]
async fn a_listener_and_a_cache_go_on_with_new_credentials() {
    let bed = bed().await;
    let pool = Pool::new(&bed.world, None, Arc::new(Believe));
    let answer = pool.request(&bed.target, post(Vec::new())).await.expect("an answer");
    assert_eq!(text(answer).await, "nobody 0");
    let new = credentials();
    bed.server.shown().replace(&new).expect("they fit");
    let target = Target { expect: Expect::Key(key_of(&new.chain[0])), ..bed.target.clone() };
    let answer = pool.request(&target, post(Vec::new())).await.expect("it shows the new certificate");
    assert_eq!(text(answer).await, "nobody 0");
    pool.replace_credentials(credentials());
    let answer = pool.request(&target, post(Vec::new())).await.expect("an answer");
    assert_eq!(text(answer).await, "spiffe://lab.example/server/n1 0", "on a new connection, as somebody");
    let stranger = Pool::new(&bed.world, None, Arc::new(Believe));
    assert!(stranger.request(&bed.target, post(Vec::new())).await.is_err(), "the former is not shown any more");
    let unfit = Credentials { chain: credentials().chain, key: new.key };
    assert!(bed.server.shown().replace(&unfit).is_err());
    assert!(stranger.request(&target, post(Vec::new())).await.is_ok(), "it goes on with what it had");
}

#[tokio::test]
async fn a_cached_connection_that_died_is_replaced() {
    let bed = bed().await;
    let pool = Pool::new(&bed.world, None, Arc::new(Believe));
    pool.request(&bed.target, post(Vec::new())).await.expect("an answer");
    let address = bed.server.local_addr();
    bed.server.shutdown().await;
    let error = pool.request(&bed.target, post(Vec::new())).await.expect_err("nobody listens");
    assert!(error.not_sent(), "{error}");
    let listener = TcpListener::bind(address).await.expect("the same port");
    let own = credentials();
    let target = Target { expect: Expect::Key(key_of(&own.chain[0])), ..bed.target };
    let _server = Server::start(&bed.world, listener, &own, Arc::new(Believe), Arc::new(Echo), &Recheck::default())
        .expect("a listener");
    let answer = pool.request(&target, post(Vec::new())).await.expect("an answer from the new one");
    assert_eq!(text(answer).await, "nobody 0");
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let bed = bed().await;
    let pool = Pool::new(&bed.world, None, Arc::new(Believe));
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(tokio::net::TcpStream::connect(bed.server.local_addr()).await.expect("connects"));
    }
    let patience = std::time::Duration::from_secs(8);
    let answer = tokio::time::timeout(patience, pool.request(&bed.target, post(vec![1]))).await;
    assert_eq!(answer.expect("not kept waiting").expect("answered").status(), StatusCode::OK);
    drop(silent);
}
