//! A realm whose list says something else each time, and takes back nothing of what it is told that it has lost.

use crate::name_servers::{bundle, named};
use crate::realm::{Realm, principal, until};
use client::protocol::FEED_ROUTE;
use http::{Request, Response};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use terms::{Code, Epoch, PrincipalKind, Problem, Serial};
use tokio::net::TcpListener;
use trust::{Feed, Identity, Revoked, feed_signer};
use wire::{Handler, HandlerFuture, Peer, Recheck, Server};
use world::World;

/// Lists one revocation at the first question, and never again.
struct Fickle {
    world: World,
    signer: Identity,
    feed: Mutex<Feed>,
    asked: AtomicUsize,
    from_the_beginning: AtomicUsize,
}

impl Fickle {
    fn page(&self, after: Serial) -> Vec<u8> {
        let mut feed = self.feed.lock().expect("not poisoned");
        if after == Serial(0) {
            self.from_the_beginning.fetch_add(1, Ordering::Relaxed);
        }
        let now = self.world.clock.unix();
        let page = feed.page(after, &self.signer, now).expect("signed");
        let (realm, next) = (feed.realm().clone(), feed.head().0 + 1);
        *feed = Feed::new(realm, Epoch(1), now).resumed(terms::UnixMs(next));
        self.asked.fetch_add(1, Ordering::Relaxed);
        page
    }
}

impl Handler for Fickle {
    fn handle(&self, request: Request<Incoming>, _: Option<Arc<Peer>>, _: SocketAddr) -> HandlerFuture {
        let query = request.uri().query().unwrap_or_default();
        let after = query.split('&').find_map(|part| part.strip_prefix("after=")?.parse().ok()).map(Serial);
        let answer = match after.filter(|_| request.uri().path() == FEED_ROUTE) {
            Some(after) => Response::new(wire::body::full(self.page(after))),
            None => wire::problem_response(&Problem::new(Code::NotFound, "there is no such thing")),
        };
        Box::pin(async move { answer })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_always_differs_is_not_read_anew_in_a_circle() {
    let (a, b) = (Realm::named("a.example").await, Realm::named("b.example").await);
    let (world, realm) = (a.world.clone(), a.authority.realm().clone());
    let now = world.clock.unix();
    let signer = a.authority.issue_identity(&feed_signer(&realm).expect("a name"), None, now).expect("certified");
    let mut feed = Feed::new(realm.clone(), Epoch(1), now);
    let who = a.principal(PrincipalKind::User, "bob");
    assert_ne!(who, principal(PrincipalKind::User, "bob"));
    let revoked = Revoked::Principal { principal: who, issued_until: now };
    feed.revoke(revoked, Feed::forget_at_last(now), now).expect("room");
    let (asked, from_the_beginning) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let fickle = Fickle { world: world.clone(), signer, feed: Mutex::new(feed), asked, from_the_beginning };
    let fickle = Arc::new(fickle);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let identity = a.home().client().identity().expect("a node");
    let check = Arc::new(a.home().client().trust().clone());
    let server =
        Server::start(&world, listener, &identity.credentials(), check, fickle.clone(), &Recheck::default());
    let server = server.expect("it listens");
    let from_b = bundle(&a, vec![named(a.home(), address)], 10);
    client::realms::pin(&b.folder("home"), &from_b).expect("pinned");
    b.home().client().trust().insert(from_b);
    until(|| fickle.asked.load(Ordering::Relaxed) >= 10).await;
    let anew = fickle.from_the_beginning.load(Ordering::Relaxed);
    assert_eq!(anew, 2, "once to know it, and once because it differs");
    server.shutdown().await;
}
