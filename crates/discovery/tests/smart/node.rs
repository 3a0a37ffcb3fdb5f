//! One in-process server of the tests: serves names, state and one file, as well or as badly as it is told.

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use terms::{Code, Epoch, Problem, UnixMs, Version, VolumePath};
use trust::signed::sign_short;
use trust::{Identity, KeyPair};
use webos_discovery::headers::{self, table_to_header};
use webos_discovery::manifest::{SignedManifest, blocks_of, root_of};
use webos_discovery::model::{MANIFEST_KIND, MANIFEST_TYPE, StateReply};
use wire::{Body, Handler, HandlerFuture, Peer};
use world::World;

/// Bytes of a chunk that a server sends at once: not a divisor of a block, so that cuts fall anywhere.
const CHUNK: usize = 50_001;

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    /// As it should.
    Honest,
    /// The body breaks after so many bytes, once; then it is honest.
    CutOnce(usize),
    /// The body ends in order after so many bytes, though more were announced.
    EndEarly(usize),
    /// The byte at this offset of the file is another one.
    Flip(usize),
    /// Signs manifests of other content itself.
    Forge,
    /// Says that it does not serve now.
    Elsewhere,
    /// Says that it does not serve now, so many times; then it is honest.
    AwayFor(usize),
    /// Says that the file is not there.
    Denies,
    /// Has a fault, and says which.
    Faulty(&'static str),
    /// Sends so many bytes of the body, then nothing more.
    Silent(usize),
}

/// One version of the one file.
#[derive(Clone)]
pub struct Edition {
    pub content: Bytes,
    pub version: Version,
}

/// What one server has and does, changed by the test while it runs.
pub struct Node {
    pub manner: Mutex<Manner>,
    pub edition: Mutex<Edition>,
    /// Requests for files: count.
    pub asked: Mutex<usize>,
    pub identity: Identity,
    pub home: KeyPair,
    pub names: Mutex<Option<Names>>,
    pub table: Mutex<Option<Vec<u8>>>,
    pub world: World,
}

/// What the name server hands out.
#[derive(Clone)]
pub struct Names {
    pub certificate: Vec<u8>,
    pub state: Option<(Vec<u8>, Vec<Vec<u8>>)>,
}

impl Node {
    pub fn be(&self, manner: Manner) {
        *self.manner.lock().expect("valid") = manner;
    }

    pub fn asked(&self) -> usize {
        *self.asked.lock().expect("valid")
    }
}

/// The node as a handler of requests.
pub struct NodeHandler(pub Arc<Node>);

impl Handler for NodeHandler {
    fn handle(&self, request: Request<Incoming>, _: Option<Arc<Peer>>, _: SocketAddr) -> HandlerFuture {
        let node = self.0.clone();
        Box::pin(async move { node.answer(&request) })
    }
}

impl Node {
    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if path.starts_with("/.webos/name/site") {
            return self.answer_name(path.ends_with("/state"));
        }
        *self.asked.lock().expect("valid") += 1;
        let unavailable = |elsewhere: bool| {
            let mut response = wire::problem_response(&Problem::new(Code::Unavailable, "not served here"));
            if elsewhere {
                response.headers_mut().insert(headers::ELSEWHERE, "?1".parse().expect("valid"));
            }
            response
        };
        let manner = *self.manner.lock().expect("valid");
        match manner {
            Manner::Elsewhere => return unavailable(true),
            Manner::AwayFor(0) => self.be(Manner::Honest),
            Manner::AwayFor(left) => {
                self.be(Manner::AwayFor(left - 1));
                return unavailable(false);
            }
            Manner::Denies => {
                return wire::problem_response(&Problem::new(Code::NotFound, "there is no such file"));
            }
            Manner::Faulty(why) => return wire::problem_response(&Problem::new(Code::Internal, why)),
            _ => {}
        }
        if path != "/file.bin" {
            return wire::problem_response(&Problem::new(Code::NotFound, "there is no such file"));
        }
        self.answer_file(request, manner)
    }

    fn answer_name(&self, state: bool) -> Response<Body> {
        let Some(names) = self.names.lock().expect("valid").clone() else {
            return wire::problem_response(&Problem::new(Code::Unavailable, "no names here"));
        };
        if !state {
            return Response::new(wire::body::full(names.certificate));
        }
        let (table, rights) = names.state.expect("valid");
        let rights = rights.into_iter().map(Into::into).collect();
        let reply = StateReply { table, rights, now: self.world.clock.unix() };
        Response::new(wire::body::full(wire::cbor::to_vec(&reply)))
    }

    fn manifest(&self, edition: &Edition, manner: Manner) -> (Vec<u8>, String) {
        let blocks = blocks_of(&edition.content);
        let size = edition.content.len() as u64;
        let root = root_of(size, &blocks);
        let statement = SignedManifest {
            volume: "site.lab.example".parse().expect("valid"),
            path: VolumePath::new("public/file.bin").expect("valid"),
            epoch: Epoch(1),
            version: edition.version,
            size,
            root,
            blocks,
            at: UnixMs(1),
        };
        let key = if manner == Manner::Forge { self.identity.key() } else { &self.home };
        (sign_short(key, MANIFEST_KIND, &statement).expect("valid"), format!("\"{root}\""))
    }

    fn answer_file(&self, request: &Request<Incoming>, manner: Manner) -> Response<Body> {
        let edition = self.edition.lock().expect("valid").clone();
        let (signed, etag) = self.manifest(&edition, manner);
        let asked = |name: header::HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        if asked(header::ACCEPT) == Some(MANIFEST_TYPE) {
            return Response::new(wire::body::full(signed));
        }
        let range =
            asked(header::RANGE).and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let start: usize = match range {
            Some(start) if asked(header::IF_RANGE) == Some(&etag) => start,
            _ => 0,
        };
        let size = edition.content.len();
        let mut response = Response::new(self.body(edition.content, start, manner));
        let fields = response.headers_mut();
        fields.insert(header::ETAG, etag.parse().expect("valid"));
        fields.insert(headers::SERVER, self.identity.principal().name.as_str().parse().expect("valid"));
        let table = self.table.lock().expect("valid").clone();
        if let Some(text) = table.as_deref().and_then(table_to_header) {
            fields.insert(headers::TABLE, text.parse().expect("valid"));
        }
        if range.is_some() && start > 0 {
            fields.insert(
                header::CONTENT_RANGE,
                format!("bytes {start}-{}/{size}", size - 1).parse().expect("valid"),
            );
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response
    }

    fn body(&self, content: Bytes, start: usize, manner: Manner) -> Body {
        let mut content = content;
        if let Manner::Flip(at) = manner {
            let mut copy = content.to_vec();
            copy[at] ^= 1;
            content = copy.into();
        }
        let rest = content.slice(start..);
        type Piece = Result<Bytes, std::io::Error>;
        let (limit, last): (usize, Option<Piece>) = match manner {
            Manner::CutOnce(bytes) => {
                self.be(Manner::Honest);
                (bytes, Some(Err(std::io::ErrorKind::ConnectionReset.into())))
            }
            Manner::EndEarly(bytes) => (bytes, None),
            Manner::Silent(bytes) => {
                let sent = rest.slice(..bytes.min(rest.len()));
                let chunks = chunks(sent).into_iter().map(Ok::<_, std::io::Error>);
                let pending = futures_util::StreamExt::chain(stream::iter(chunks), stream::pending());
                return wire::body::stream(pending);
            }
            _ => (rest.len(), None),
        };
        let sent = rest.slice(..limit.min(rest.len()));
        let pieces: Vec<Piece> = chunks(sent).into_iter().map(Ok).chain(last).collect();
        wire::body::stream(stream::iter(pieces))
    }
}

fn chunks(bytes: Bytes) -> Vec<Bytes> {
    (0..bytes.len()).step_by(CHUNK).map(|at| bytes.slice(at..(at + CHUNK).min(bytes.len()))).collect()
}
