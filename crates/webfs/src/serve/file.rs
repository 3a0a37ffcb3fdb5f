//! GET and HEAD of a file: conditions, one range, the signed manifest, the headers that keep content powerless.
//! It relies on the proof of the right and asks nobody else; it never reads the whole file into memory.

use super::body::body_of;
use super::conditions::{self, Verdict};
use super::media::type_of;
use super::range::{self, Part};
use super::source::FileSource;
use super::{Face, accepts, check_right};
use crate::limits::HEADER_MANIFEST_BLOCKS;
use crate::manifest::NodePlace;
use crate::model::{
    CHANGE_HEADER, Entry, MANIFEST_HEADER, MANIFEST_TYPE, NODE_TYPE, POLICY_HEADER, VERSION_HEADER, etag_text,
};
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use terms::{ChangeNumber, Code, Problem, Right, UnixMs};
use trust::Authorised;
use wire::Body;

/// Answers a GET or HEAD of a file.
pub async fn file(
    authorised: &Authorised,
    source: Arc<dyn FileSource>,
    request: &Parts,
    face: Face,
    now: UnixMs,
) -> Response<Body> {
    match answer(authorised, source, request, face, now).await {
        Ok(response) => response,
        Err(problem) => wire::problem_response(&problem),
    }
}

async fn answer(
    authorised: &Authorised,
    source: Arc<dyn FileSource>,
    request: &Parts,
    face: Face,
    now: UnixMs,
) -> Result<Response<Body>, Problem> {
    check_right(authorised, source.volume(), source.path(), Right::Read, now)?;
    if request.method != Method::GET && request.method != Method::HEAD {
        return Ok(method_not_allowed("GET, HEAD, PUT, DELETE"));
    }
    let root = source.manifest().root();
    let mut headers = HeaderMap::with_capacity(16);
    described(&mut headers, source.entry(), source.change(), face);
    if accepts(&request.headers, MANIFEST_TYPE) {
        return signed_manifest(source.as_ref(), headers, request);
    }
    match conditions::of_read(&request.headers, root) {
        Verdict::Go if accepts(&request.headers, NODE_TYPE) => {
            return node(source.as_ref(), headers, request).await;
        }
        Verdict::Go => {}
        Verdict::NotModified => return Ok(bodyless(StatusCode::NOT_MODIFIED, headers)),
        Verdict::Failed => {
            let detail =
                format!("/{} is not the version that the request names: its ETag is \"{root}\"", source.path());
            return Err(Problem::new(Code::Conflict, detail));
        }
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let media_type = type_of(source.path().name().unwrap_or_default());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    if source.manifest().block_count() <= HEADER_MANIFEST_BLOCKS
        && let Some(signed) = source.signed_manifest()
    {
        insert(&mut headers, MANIFEST_HEADER, &signed.to_header());
    }
    content(source, request, headers).await
}

async fn content(
    source: Arc<dyn FileSource>,
    request: &Parts,
    mut headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let (size, root) = (source.manifest().size(), source.manifest().root());
    if request.method == Method::HEAD {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        return Ok(bodyless(StatusCode::OK, headers));
    }
    let (status, bytes): (StatusCode, Range<u64>) = match part(&request.headers, root, size) {
        Part::Whole => (StatusCode::OK, 0..size),
        Part::Bytes(bytes) => (StatusCode::PARTIAL_CONTENT, bytes),
        Part::Unsatisfiable => {
            insert(&mut headers, CONTENT_RANGE, &format!("bytes */{size}"));
            headers.remove(CONTENT_TYPE);
            return Ok(bodyless(StatusCode::RANGE_NOT_SATISFIABLE, headers));
        }
    };
    if status == StatusCode::PARTIAL_CONTENT {
        insert(&mut headers, CONTENT_RANGE, &format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1));
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
    let mut response = Response::new(body_of(source, bytes).await?);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn part(headers: &HeaderMap, root: terms::Digest, size: u64) -> Part {
    let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
    match range {
        Some(text) if conditions::range_counts(headers, root) => range::part(text, size),
        _ => Part::Whole,
    }
}

/// The signed manifest instead of the content.
fn signed_manifest(
    source: &dyn FileSource,
    mut headers: HeaderMap,
    request: &Parts,
) -> Result<Response<Body>, Problem> {
    let missing = || Problem::new(Code::Unavailable, "this server has no signed manifest of the file");
    let signed = source.signed_manifest().ok_or_else(missing)?;
    // The tag is the content's, not this document's.
    headers.remove(ETAG);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MANIFEST_TYPE));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(signed.0.len() as u64));
    let mut response = bodyless(StatusCode::OK, headers);
    if request.method == Method::GET {
        *response.body_mut() = wire::body::full(signed.0.clone());
    }
    Ok(response)
}

const NODE_QUERY: &str = "node=";

/// A node of the tree of the file's blocks instead of the content. It is named by its place in this version of this
/// file, so that who knows a hash gets nothing by it.
async fn node(source: &dyn FileSource, mut headers: HeaderMap, request: &Parts) -> Result<Response<Body>, Problem> {
    let text = request.uri.query().and_then(|query| query.strip_prefix(NODE_QUERY)).unwrap_or_default();
    let place: NodePlace = text.parse().map_err(|error: String| Problem::new(Code::Invalid, error))?;
    let none = || Problem::new(Code::NotFound, format!("/{} has no node {place}", source.path()));
    let bytes = source.read_node(place).await?.ok_or_else(none)?;
    headers.remove(ETAG);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(NODE_TYPE));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len() as u64));
    let mut response = bodyless(StatusCode::OK, headers);
    if request.method == Method::GET {
        *response.body_mut() = wire::body::full(bytes);
    }
    Ok(response)
}

/// Headers of every answer about an existing object.
pub(super) fn described(headers: &mut HeaderMap, entry: &Entry, change: ChangeNumber, face: Face) {
    if let Some(root) = entry.etag {
        insert(headers, ETAG, &etag_text(root));
    }
    insert(headers, VERSION_HEADER, &entry.version.to_string());
    if !entry.policy.is_cto() {
        insert(headers, POLICY_HEADER, &entry.policy.to_string());
    }
    headers.insert(CHANGE_HEADER, HeaderValue::from(change.0));
    if let Some(time) = UNIX_EPOCH.checked_add(Duration::from_secs(entry.modified.secs()))
        && entry.modified.secs() < YEAR_9999
    {
        insert(headers, LAST_MODIFIED, &httpdate::fmt_http_date(time));
    }
    headers.insert(VARY, HeaderValue::from_static("accept"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    match face {
        Face::Volume => {
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        }
        Face::Service => {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
    }
}

/// HTTP dates have four digits of year: seconds since 1970.
const YEAR_9999: u64 = 253_370_764_800;

/// Inserts a value that we made of ASCII.
pub(super) fn insert(headers: &mut HeaderMap, name: impl http::header::IntoHeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

pub(super) fn bodyless(status: StatusCode, headers: HeaderMap) -> Response<Body> {
    let mut response = Response::new(wire::body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = bodyless(StatusCode::METHOD_NOT_ALLOWED, HeaderMap::new());
    let name: HeaderName = ALLOW;
    response.headers_mut().insert(name, HeaderValue::from_static(allowed));
    response
}
