//! Services for programs that only know HTTP: a reverse proxy by host name, as a function from request to answer.
//!
//! It acts without identity, reads only, and passes on no cookie. What it sends was verified block by block; when
//! a server dies in the middle of a body, the body goes on from another one.

use super::open::First;
use super::{FileStream, SmartClient};
use crate::headers::field;
use bytes::Bytes;
use futures_util::stream;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, HeaderMap,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, ORIGIN, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use terms::{Code, Label, Problem, RealmName, ServiceName, VolumePath};
use tokio::sync::{Mutex, mpsc};
use trust::TrustStore;
use wire::{Body, Pool};
use world::World;

/// Services that one proxy knows at once: count. The first one goes when there are more.
const MAX_PROXIED: usize = 64;
/// Verified blocks of one body that wait to be sent: count.
const BODY_QUEUE: usize = 2;
/// How long a request may go without progress.
const PATIENCE: Duration = Duration::from_secs(10);

/// A reverse proxy for all services of the trusted realms.
pub struct Proxy {
    world: World,
    pool: Pool,
    trust: TrustStore,
    clients: Mutex<BTreeMap<ServiceName, SmartClient>>,
}

impl Proxy {
    /// A proxy over a connection cache; as nobody, if that has no credentials.
    pub fn new(world: &World, pool: Pool, trust: TrustStore) -> Self {
        Self { world: world.clone(), pool, trust, clients: Mutex::default() }
    }

    /// Answers one request.
    pub async fn answer(&self, request: &Parts) -> Response<Body> {
        match self.proxied(request).await {
            Ok(response) => response,
            Err(problem) => wire::problem_response(&problem),
        }
    }

    async fn proxied(&self, request: &Parts) -> Result<Response<Body>, Problem> {
        let host = host_of(request)?;
        let service = self.service(host)?;
        check_origin(&request.headers, host)?;
        if request.method != Method::GET && request.method != Method::HEAD {
            let text = format!("the proxy passes on GET and HEAD, not {}", request.method);
            return Err(Problem::new(Code::Unsupported, text));
        }
        let path = VolumePath::from_url(request.uri.path())
            .map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
        let client = self.client(service).await?;
        let partial = [RANGE, IF_NONE_MATCH].iter().any(|name| request.headers.contains_key(name));
        let first = if partial || request.method == Method::HEAD { First::Manifest } else { First::Bytes };
        let stream = FileStream::open_for(first, &client, &path, PATIENCE, &mut |_| {}).await?;
        respond(request, stream)
    }

    /// The service that a host name stands for: `NAME.REALM`, or `NAME.REALM.localhost`, of a trusted realm.
    fn service(&self, host: &str) -> Result<ServiceName, Problem> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let forms = [Some(name), name.strip_suffix(".localhost")];
        forms.into_iter().flatten().find_map(|form| self.known(form)).ok_or_else(|| {
            Problem::new(Code::Invalid, format!("'{}' is no service of a trusted realm", name.escape_default()))
                .next("use http://NAME.REALM.localhost:PORT/, such as http://site.demo.localhost:8470/")
        })
    }

    fn known(&self, form: &str) -> Option<ServiceName> {
        let (name, realm) = form.split_once('.')?;
        let (name, realm) = (Label::new(name).ok()?, RealmName::new(realm).ok()?);
        self.trust.bundle(&realm).map(|_| ServiceName { name, realm })
    }

    /// The lock is held while a service is looked up, on purpose: all who want it wait for one look-up.
    async fn client(&self, service: ServiceName) -> Result<SmartClient, Problem> {
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(&service) {
            return Ok(client.clone());
        }
        let (pool, trust) = (self.pool.clone(), self.trust.clone());
        let client = SmartClient::open(&self.world, pool, trust, service.clone(), None).await?;
        if clients.len() >= MAX_PROXIED {
            clients.pop_first();
        }
        clients.insert(service, client.clone());
        Ok(client)
    }
}

fn host_of(request: &Parts) -> Result<&str, Problem> {
    let host = field(&request.headers, HOST.as_str());
    let authority = request.uri.authority().map(|authority| authority.as_str());
    host.or(authority).ok_or_else(|| Problem::new(Code::Invalid, "the request names no host"))
}

/// A page of another origin may not read through this proxy.
fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let foreign =
        headers.get(ORIGIN).is_some_and(|origin| origin.as_bytes() != format!("http://{host}").as_bytes());
    let cross = field(headers, "sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site");
    let navigates = field(headers, "sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    if foreign || (cross && !navigates) {
        return Err(Problem::new(Code::Denied, "a page of another origin may not read through this proxy"));
    }
    Ok(())
}

fn respond(request: &Parts, stream: FileStream) -> Result<Response<Body>, Problem> {
    let (size, etag) = (stream.manifest().size(), stream.manifest().etag());
    let mut head = HeaderMap::new();
    for name in [CONTENT_TYPE, LAST_MODIFIED] {
        if let Some(value) = stream.fields().get(&name) {
            head.insert(name, value.clone());
        }
    }
    let text = |text: &str| HeaderValue::from_str(text).map_err(|_| Problem::new(Code::Internal, "odd header"));
    head.insert(ETAG, text(&etag)?);
    head.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    head.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let matches = field(&request.headers, IF_NONE_MATCH.as_str());
    if matches.is_some_and(|tags| tags == "*" || tags.split(',').any(|tag| weak(tag.trim()) == etag)) {
        return Ok(answer(StatusCode::NOT_MODIFIED, head, wire::body::empty()));
    }
    let wanted = field(&request.headers, RANGE.as_str()).filter(|_| is_of_version(&request.headers, &etag));
    let (status, start, end) = match wanted.map(|text| range(text, size)) {
        None | Some(Wanted::Whole) => (StatusCode::OK, 0, size),
        Some(Wanted::Part(start, end)) => (StatusCode::PARTIAL_CONTENT, start, end),
        Some(Wanted::Beyond) => {
            head.insert(CONTENT_RANGE, text(&format!("bytes */{size}"))?);
            return Ok(answer(StatusCode::RANGE_NOT_SATISFIABLE, head, wire::body::empty()));
        }
    };
    if status == StatusCode::PARTIAL_CONTENT {
        head.insert(CONTENT_RANGE, text(&format!("bytes {start}-{}/{size}", end - 1))?);
    }
    head.insert(CONTENT_LENGTH, HeaderValue::from(end - start));
    let body = if request.method == Method::HEAD { wire::body::empty() } else { part_of(stream, start, end) };
    Ok(answer(status, head, body))
}

/// Without the mark of a weak tag, by which a cached copy is compared too (RFC 9110, 13.1.2).
fn weak(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

fn answer(status: StatusCode, head: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = head;
    response
}

/// Whether a part may be answered with a part: it is to fit what the client has (RFC 9110, 13.1.5). Only a strong ETag
/// tells; a date has whole seconds, in which a file may change twice.
fn is_of_version(headers: &HeaderMap, etag: &str) -> bool {
    headers.get_all(IF_RANGE).iter().all(|given| given.as_bytes() == etag.as_bytes())
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(u64, u64),
    Beyond,
}

/// One range of bytes; what is no single range means the whole (RFC 9110, 14.2).
fn range(text: &str, size: u64) -> Wanted {
    let Some(spec) = text.strip_prefix("bytes=") else { return Wanted::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Wanted::Whole };
    match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if last < first => Wanted::Whole,
        (Ok(first), _) if first >= size => Wanted::Beyond,
        (Ok(first), Ok(last)) => Wanted::Part(first, last.saturating_add(1).min(size)),
        (Ok(first), Err(_)) if last.trim().is_empty() => Wanted::Part(first, size),
        (Err(_), Ok(0)) if first.trim().is_empty() => Wanted::Beyond,
        (Err(_), Ok(count)) if first.trim().is_empty() => Wanted::Part(size.saturating_sub(count), size),
        _ => Wanted::Whole,
    }
}

/// The bytes from `start` to `end`, cut out of verified blocks. An error breaks the body off.
fn part_of(mut stream: FileStream, start: u64, end: u64) -> Body {
    let first = (0..stream.manifest().block_count()).find(|block| stream.manifest().range(*block).end > start);
    stream.skip_to(first.unwrap_or(usize::MAX));
    let at = stream.manifest().range(stream.position()).start;
    let (blocks, mut queue) = mpsc::channel::<Result<Bytes, Problem>>(BODY_QUEUE);
    tokio::spawn(cut_out(stream, at, start..end, blocks));
    wire::body::stream(stream::poll_fn(move |context| queue.poll_recv(context)))
}

/// Ends when the body is whole, broken, or not wanted any more.
async fn cut_out(
    mut stream: FileStream,
    mut at: u64,
    wanted: Range<u64>,
    blocks: mpsc::Sender<Result<Bytes, Problem>>,
) {
    let mut nobody = |_| {};
    while at < wanted.end {
        let next = tokio::select! {
            next = stream.next(&mut nobody) => next,
            () = blocks.closed() => return,
        };
        let part = match next {
            Ok(None) => return,
            Ok(Some(block)) => {
                let length = block.len() as u64;
                let cut = |position: u64| usize::try_from(position.clamp(at, at + length) - at).unwrap_or(0);
                let part = block.slice(cut(wanted.start)..cut(wanted.end));
                at += length;
                Ok(part)
            }
            Err(problem) => Err(problem),
        };
        let broken = part.is_err();
        if blocks.send(part).await.is_err() || broken {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, wanted) in [
            ("bytes=0-", Wanted::Part(0, 100)),
            ("bytes=10-19", Wanted::Part(10, 20)),
            ("bytes=10-1000", Wanted::Part(10, 100)),
            ("bytes=-5", Wanted::Part(95, 100)),
            ("bytes=-500", Wanted::Part(0, 100)),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=100-", Wanted::Beyond),
            ("bytes=9-3", Wanted::Whole),
            ("bytes=1-2,4-5", Wanted::Whole),
            ("items=1-2", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=x-y", Wanted::Whole),
        ] {
            assert_eq!(range(text, 100), wanted, "{text}");
        }
    }
}
