//! Tests of the HTTP name space, below the connection: requests in, responses out.

mod policies;
mod reads;
mod sparse;
mod watch;
mod writes;

use super::{Home, WriteRights};
use crate::gate::ChangeGate;
use crate::store::{Change, Conditions, Lookup, Put, Store};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use std::sync::Arc;
use tempfile::TempDir;
use terms::{Location, Right, Rights, Thumbprint, UnixMs, VolumePath};
use trust::{AllStand, Asker, Authorised, Bucket, KeyPair, NoGroups, Question};
use wire::{Body, Peer};
use world::World;

pub(super) fn path(text: &str) -> VolumePath {
    VolumePath::new(text).expect("a valid path")
}

pub(super) fn owner() -> Bucket {
    let user = "spiffe://lab.example/user/owner".parse().expect("valid");
    Bucket::new([(user, Rights::OWNER)]).expect("a small list")
}

/// A proof as the node would get it: by deciding for the owner.
pub(super) fn proof(at: &str, right: Right) -> Authorised {
    let peer = Peer {
        principal: "spiffe://lab.example/user/owner".parse().expect("valid"),
        key: Thumbprint([1; 32]),
        issued: UnixMs(0),
        not_after: UnixMs(u64::MAX),
        chain: Vec::new().into(),
    };
    let location = Location { volume: "data.lab.example".parse().expect("valid"), path: path(at) };
    let question = Question {
        now: World::real().clock.unix(),
        asker: Asker { peer: Some(&peer), chain: None, token: None },
        location: &location,
        right,
        bucket: &owner(),
        groups: &NoGroups,
        standing: &AllStand,
    };
    trust::decide(&question).into_result().expect("the owner may")
}

pub(super) fn rights(at: &str) -> WriteRights {
    WriteRights {
        decided_on: owner().hash(),
        create: Some(proof(at, Right::Write)),
        replace: Some(proof(at, Right::Modify)),
    }
}

pub(super) struct Fixture {
    pub(super) dir: TempDir,
    pub(super) home: Home,
    pub(super) key: KeyPair,
}

impl Fixture {
    pub(super) fn new(gate: Arc<dyn ChangeGate>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let name = "data.lab.example".parse().expect("valid");
        let store = Store::create(&dir.path().join("v"), &name, &owner(), World::real()).expect("a new volume");
        let key = KeyPair::generate().expect("a key");
        Self { dir, home: Home::new(store, key.clone(), gate, World::real()), key }
    }

    pub(super) fn store(&self) -> &Store {
        self.home.store()
    }

    pub(super) async fn store_file(&self, at: &str, bytes: &[u8]) {
        let mut upload = self.store().upload();
        upload.write(Bytes::copy_from_slice(bytes)).await.expect("takes content");
        let content = upload.finish().await.expect("synced");
        let put = Put { path: path(at), content, parents: true, may_create: true, may_replace: true };
        self.store().apply(Change::Put(put), Conditions::none()).await.expect("stored");
    }

    /// GET or HEAD with the owner's proof.
    pub(super) async fn read(&self, at: &str, request: &Parts) -> Answer {
        let change = self.store().change();
        let Lookup::Found(object) = self.store().lookup(&path(at)).await.expect("works") else {
            panic!("/{at} does not exist")
        };
        Answer::of(self.home.get(&proof(at, Right::Read), object, change, request).await).await
    }

    pub(super) async fn get(&self, at: &str, lines: &[(&'static str, &str)]) -> Answer {
        self.read(at, &request("GET", lines)).await
    }

    pub(super) async fn put(&self, at: &str, lines: &[(&'static str, &str)], bytes: &[u8]) -> Answer {
        let body = wire::body::full(bytes.to_vec());
        Answer::of(self.home.put(&rights(at), &path(at), &request("PUT", lines), body).await).await
    }

    pub(super) async fn delete(&self, at: &str, lines: &[(&'static str, &str)]) -> Answer {
        Answer::of(self.home.delete(&rights(at), &path(at), &request("DELETE", lines)).await).await
    }
}

pub(super) fn request(method: &str, lines: &[(&'static str, &str)]) -> Parts {
    let builder = Request::builder().method(method).uri("https://node/data.lab.example/x");
    let builder = lines.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(()).expect("a request").into_parts().0
}

/// A response with its body, or how the body broke.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<Bytes, String>,
}

impl Answer {
    pub(super) async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map(|whole| whole.to_bytes()).map_err(|error| error.to_string());
        Self { status: parts.status, headers: parts.headers, body }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.body.as_ref().expect("a whole body")
    }
}

/// Content that differs by position.
pub(super) fn filled(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}
