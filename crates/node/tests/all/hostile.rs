//! A hostile surrogate: it holds a real node's keys, ignores its lease, and lies when it likes. Clients refuse it
//! when its time is over, believe no byte that the home did not sign, and its home refuses its reads.

use crate::realm::{Realm, path, seen, volume};
use crate::service::{published, service};
use client::models::{Load, RightToServe, Table, TableEntry};
use client::protocol::StateUpdate;
use client::{Condition, PutOptions};
use discovery::smart::{Fetch, SmartClient};
use http::{Request, Response};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use terms::{Code, Epoch, Generation, PrincipalKind, UnixMs};
use tokio::net::TcpListener;
use trust::Identity;
use wire::{Handler, HandlerFuture, Peer, Pool, Recheck, Server};

/// Answers every request with the same answer of long ago, and counts.
struct Stale {
    asked: AtomicU64,
    etag: String,
    manifest: String,
    body: Vec<u8>,
}

impl Handler for Stale {
    fn handle(&self, _: Request<Incoming>, _: Option<Arc<Peer>>, _: SocketAddr) -> HandlerFuture {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut response = Response::new(wire::body::full(self.body.clone()));
        let fields = response.headers_mut();
        fields.insert("etag", self.etag.parse().expect("a header"));
        fields.insert("webos-manifest", self.manifest.parse().expect("a header"));
        fields.insert("webos-server", "n1".parse().expect("a header"));
        Box::pin(async move { response })
    }
}

struct Bed {
    realm: Realm,
    identity: Identity,
    hostile: Arc<Stale>,
    server: Server,
    client: SmartClient,
    content: Vec<u8>,
}

/// `lies`: whether the hostile server alters the content.
async fn bed(lies: bool) -> Bed {
    let realm = Realm::start().await;
    realm.issue("n1", PrincipalKind::Server);
    published(&realm).await;
    let content = vec![b'x'; 100_000];
    let put = PutOptions { condition: Condition::None, parents: true, operation: None };
    realm.files("alice").await.put_bytes(&path("www/page"), put, content.clone()).await.expect("put");
    let files = realm.files("alice").await;
    let download = files.get(&path("www/page"), None, None).await.expect("the home's answer");
    let mut body = content.clone();
    if lies {
        body[50_000] = b'y';
    }
    let hostile = Arc::new(Stale {
        asked: AtomicU64::new(0),
        etag: format!("\"{}\"", download.entry.etag.expect("a file")),
        manifest: download.manifest.expect("a short file").to_header(),
        body,
    });
    let identity = Identity::load(&realm.folder("n1").identity()).expect("the stolen keys");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let trust = realm.client("alice").trust().clone();
    let check = Arc::new(trust.clone());
    let server =
        Server::start(&realm.world, listener, &identity.credentials(), check, hostile.clone(), &Recheck::default());
    let pool = Pool::new(&realm.world, None, Arc::new(trust.clone()));
    let client = SmartClient::open(&realm.world, pool, trust, service(), None).await.expect("a service");
    Bed { identity, hostile, server: server.expect("a listener"), client, content, realm }
}

impl Bed {
    /// The load daemon's word: n1 is active for so long from now.
    async fn tell(&self, generation: u64, active: Duration) -> UnixMs {
        let now = self.realm.world.clock.unix();
        let address = self.server.local_addr().to_string();
        let (principal, key) = (self.identity.principal().clone(), self.identity.key().thumbprint());
        let entry = TableEntry {
            server: principal.clone(),
            key,
            address: address.clone(),
            place: None,
            power: 50.0,
            load: Load::default(),
            load_age_ms: 0,
            active_for_ms: u32::try_from(active.as_millis()).expect("short"),
            primary: false,
        };
        let (service, epoch) = (service(), Epoch(5));
        let generation = Generation(generation);
        let table = Table { service: service.clone(), epoch, generation, signed_at: now, entries: vec![entry] };
        let not_after = now.plus(Duration::from_secs(120));
        let right = RightToServe {
            service: service.clone(),
            server: principal,
            key,
            address,
            epoch,
            not_before: now,
            not_after,
        };
        let home = self.realm.home().client();
        let table = home.sign_table(&table).expect("signed");
        let rights = vec![home.sign_right(&right).expect("signed").into()];
        let update = StateUpdate { service, table, rights };
        seen(home, self.realm.home()).update_state(&update).await.expect("taken");
        now
    }

    async fn fetch(&self) -> Vec<u8> {
        let to = self.realm.folder("fetched").path().to_path_buf();
        let what = Fetch { path: path("page"), to: to.clone(), patience: Duration::from_secs(10) };
        self.client.fetch(&what, &mut |_| {}).await.expect("fetched");
        std::fs::read(to).expect("there")
    }

    fn asked(&self) -> u64 {
        self.hostile.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_surrogate_is_asked_nothing_more_and_reads_nothing() {
    let bed = bed(false).await;
    let active = Duration::from_secs(2);
    let told = bed.tell(1, active).await;
    let used = tokio::time::timeout(Duration::from_secs(2), async {
        while bed.asked() == 0 {
            assert_eq!(bed.fetch().await, bed.content);
        }
    });
    used.await.expect("while it is active it is used: else this test shows nothing");
    let now = || bed.realm.world.clock.unix();
    while now().since(told) <= active {
        assert_eq!(bed.fetch().await, bed.content);
    }
    let before = bed.asked();
    for _ in 0..30 {
        assert_eq!(bed.fetch().await, bed.content);
    }
    assert_eq!(bed.asked(), before, "it ignores its lease, its clients do not");
    let n1 = bed.realm.client("n1");
    let read = n1.volume(&volume()).await.expect("a volume").read(&path("www/page"), 1 << 20).await;
    assert_eq!(read.expect_err("no member of the serving group").code, Code::Denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_the_home_did_not_sign_never_arrive() {
    let bed = bed(true).await;
    bed.tell(1, Duration::from_secs(10)).await;
    for _ in 0..20 {
        assert_eq!(bed.fetch().await, bed.content);
    }
    assert!(bed.asked() > 0, "it was tried: else this test shows nothing");
    assert!(bed.asked() <= 3, "a liar is shut out: asked {} times", bed.asked());
}
