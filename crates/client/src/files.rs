//! The files of one volume over HTTP: at its home, or through another node that serves them.
//!
//! Answers carry what the home signed; [`Download::statement`] checks it. Never retries a mutation without its
//! operation id.

mod place;

use crate::limits::{MAX_ANSWER_BYTES, MAX_LISTED, MAX_LISTING_BYTES, PART_BYTES};
use crate::remote::Node;
use bytes::Bytes;
use http::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, ETAG, HeaderMap, IF_MATCH, IF_NONE_MATCH,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderValue, Method, Response};
use hyper::body::Incoming;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use place::Place;
use std::ops::Range;
use std::sync::{Arc, RwLock};
use terms::{Code, Digest, Location, OperationId, Problem, UnixMs, VolumeName, VolumePath};
use webfs::manifest::{MAX_NODE_BYTES, NodePlace};
use webfs::model::{
    DirEntry, Entry, FileKind, Listing, MANIFEST_HEADER, MANIFEST_KIND, MANIFEST_TYPE, ManifestStatement,
    NODE_TYPE, OPERATION_HEADER, ObjectVersion, PARENTS_HEADER, POLICY_HEADER, Policy, SignedManifest,
    VERSION_HEADER, etag_root, etag_text,
};
use wire::Purpose;

/// Under which circumstances a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// In any case.
    #[default]
    None,
    /// Only if this is the present content.
    IfMatch(Digest),
    /// Only if there is nothing yet.
    IfAbsent,
}

/// How to put a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PutOptions {
    /// Under which circumstances.
    pub condition: Condition,
    /// Create missing directories above it.
    pub parents: bool,
    /// Which mutation this is; a new one if there is none. Give it to repeat a put whose answer was lost.
    pub operation: Option<OperationId>,
}

/// A file that is on its way.
#[derive(Debug)]
pub struct Download<B = Incoming> {
    /// What the answer's header says of it.
    pub entry: Entry,
    /// The signed manifest, if it came along.
    pub manifest: Option<SignedManifest>,
    /// The path that symbolic links led to, if the volume's home followed some.
    pub led_to: Option<VolumePath>,
    /// The bytes asked for.
    pub body: B,
}

/// A volume's files at one node. At the volume's home it follows the volume when that moves.
#[derive(Clone)]
pub struct Volume {
    place: Arc<RwLock<Place>>,
    name: VolumeName,
    /// Whether the node that is asked is the volume's home.
    at_home: bool,
}

impl Volume {
    /// Which volume.
    pub fn name(&self) -> &VolumeName {
        &self.name
    }

    pub(crate) fn location(&self, path: &VolumePath) -> Location {
        Location { volume: self.name.clone(), path: path.clone() }
    }

    pub(crate) fn url(&self, path: &VolumePath) -> String {
        format!("/{}/{}", self.name, path.to_url())
    }

    /// The attributes of a file or directory.
    pub async fn stat(&self, path: &VolumePath) -> Result<Entry, Problem> {
        let answer = self.ask_after(Method::HEAD, &self.url(path), HeaderMap::new(), Bytes::new()).await;
        // The answer to HEAD has no body, so a problem has to be told by its status alone.
        let answer = answer.map_err(|problem| named(problem, &self.location(path)))?;
        entry_of(answer.headers())
    }

    /// All entries of a directory, in the order of their bytes.
    pub async fn list(&self, path: &VolumePath) -> Result<Vec<DirEntry>, Problem> {
        let mut entries: Vec<DirEntry> = Vec::new();
        loop {
            let after = entries.last().map_or(String::new(), |last| {
                format!("?after={}", utf8_percent_encode(&last.name, NON_ALPHANUMERIC))
            });
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static("application/cbor"));
            let url = format!("{}{after}", self.url(path));
            let answer = self.ask_after(Method::GET, &url, headers, Bytes::new()).await?;
            let bytes = wire::read_body(answer.into_body(), MAX_LISTING_BYTES).await?;
            let page: Listing = wire::cbor::from_slice(&bytes)?;
            if !goes_on(&entries, &page.entries) {
                let what = format!("{} lists {}/{path} in no order", self.node().principal(), self.name);
                return Err(Problem::new(Code::Invalid, what).next("ask who keeps the volume's home"));
            }
            if entries.len() + page.entries.len() > MAX_LISTED {
                let what = format!("{}/{path} has more than {MAX_LISTED} entries", self.name);
                return Err(Problem::new(Code::TooLarge, what).next("read its folders one by one"));
            }
            let progress = !page.entries.is_empty();
            entries.extend(page.entries);
            if !(page.more && progress) {
                return Ok(entries);
            }
        }
    }

    /// Starts to read a file: whole, or `range` as first byte and, if any, one past the last.
    pub async fn get(
        &self,
        path: &VolumePath,
        range: Option<(u64, Option<u64>)>,
        same_as: Option<Digest>,
    ) -> Result<Download, Problem> {
        let mut headers = HeaderMap::new();
        if let Some((first, end)) = range {
            let last = end.map_or(String::new(), |end| end.saturating_sub(1).to_string());
            headers.insert(RANGE, value(&format!("bytes={first}-{last}"))?);
        }
        if let Some(root) = same_as {
            headers.insert(IF_MATCH, value(&etag_text(root))?);
        }
        let over = |node: &Node| match range {
            Some((first, Some(end))) if end.saturating_sub(first) <= PART_BYTES => node.for_little(),
            _ => Purpose::Bulk,
        };
        let answer = self.ask_over(over, Method::GET, &self.url(path), headers, Bytes::new()).await?;
        let led_to = self.led_to(answer.headers());
        Ok(Download { led_to, ..download(answer)? })
    }

    /// Where links led. Only the home is believed: it says what stands at a path anyway.
    fn led_to(&self, headers: &HeaderMap) -> Option<VolumePath> {
        let place = headers.get(CONTENT_LOCATION).filter(|_| self.at_home)?.to_str().ok()?;
        let path = place.strip_prefix(&format!("/{}", self.name))?;
        VolumePath::from_url(path).ok()
    }

    /// Reads a small file.
    pub async fn read(&self, path: &VolumePath, limit: usize) -> Result<Bytes, Problem> {
        wire::read_body(self.get(path, None, None).await?.body, limit).await
    }

    /// The file's manifest as the home signed it, checked against the home's key.
    pub async fn manifest(&self, path: &VolumePath) -> Result<ManifestStatement, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(MANIFEST_TYPE));
        let answer = self.ask_after(Method::GET, &self.url(path), headers, Bytes::new()).await?;
        let bytes = wire::read_body(answer.into_body(), MAX_ANSWER_BYTES).await?;
        self.statement(path, &SignedManifest(bytes.to_vec()))
    }

    /// A node of the tree of a long file's blocks, as it is in the version with this root. It is not checked: who asked
    /// for it knows its hash.
    pub async fn manifest_node(&self, path: &VolumePath, root: Digest, place: NodePlace) -> Result<Bytes, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(NODE_TYPE));
        headers.insert(IF_MATCH, value(&etag_text(root))?);
        let url = format!("{}?node={place}", self.url(path));
        let answer = self.ask_after(Method::GET, &url, headers, Bytes::new()).await?;
        wire::read_body(answer.into_body(), MAX_NODE_BYTES).await
    }

    /// What a signed manifest states, if this volume's home signed it for this path.
    pub fn statement(&self, path: &VolumePath, signed: &SignedManifest) -> Result<ManifestStatement, Problem> {
        let statement: ManifestStatement = trust::signed::open_with(&signed.0, MANIFEST_KIND, &self.place().key)?;
        if statement.volume != self.name || statement.path != *path {
            return Err(Problem::new(
                Code::Denied,
                format!("{} answered with the manifest of another file", self.node().principal()),
            ));
        }
        statement.manifest().map_err(|error| Problem::new(Code::Denied, error.to_string()))?;
        Ok(statement)
    }

    /// Puts a whole file. The answer's entry is durable at the home.
    pub async fn put(&self, path: &VolumePath, how: PutOptions, body: wire::Body) -> Result<Entry, Problem> {
        let headers = self.put_headers(how)?;
        let answer = self.ask(Method::PUT, &self.url(path), headers, body).await;
        if answer.as_ref().is_err_and(|problem| problem.code == Code::Moved) {
            // The body is gone; whoever puts again does it at the new home.
            self.go_after(self.follows_until()).await;
        }
        entry_of(answer?.headers())
    }

    fn put_headers(&self, how: PutOptions) -> Result<HeaderMap, Problem> {
        let mut headers = self.conditions(how.condition, how.operation)?;
        if how.parents {
            headers.insert(PARENTS_HEADER, HeaderValue::from_static("?1"));
        }
        Ok(headers)
    }

    /// Writes these bytes of a file that is there; it becomes longer if it must. Behind the end a hole is left.
    pub async fn write(
        &self,
        path: &VolumePath,
        how: PutOptions,
        bytes: Range<u64>,
        body: wire::Body,
    ) -> Result<Entry, Problem> {
        if bytes.is_empty() {
            return Err(Problem::new(Code::Invalid, "a write of no bytes"));
        }
        self.patch(path, how, &format!("bytes {}-{}/*", bytes.start, bytes.end - 1), body).await
    }

    /// Cuts a file that is there, or extends it with a hole, to a length in bytes.
    pub async fn resize(&self, path: &VolumePath, how: PutOptions, size: u64) -> Result<Entry, Problem> {
        self.patch(path, how, &format!("bytes */{size}"), wire::body::empty()).await
    }

    async fn patch(
        &self,
        path: &VolumePath,
        how: PutOptions,
        range: &str,
        body: wire::Body,
    ) -> Result<Entry, Problem> {
        let mut headers = self.conditions(how.condition, how.operation)?;
        headers.insert(CONTENT_RANGE, value(range)?);
        let answer = self.ask(Method::PUT, &self.url(path), headers, body).await?;
        entry_of(answer.headers())
    }

    /// Puts a small file that is in memory. If the volume moves meanwhile, it is put once, there or here.
    pub async fn put_bytes(&self, path: &VolumePath, how: PutOptions, bytes: Vec<u8>) -> Result<Entry, Problem> {
        let answer = self.ask_after(Method::PUT, &self.url(path), self.put_headers(how)?, bytes.into()).await?;
        entry_of(answer.headers())
    }

    /// Removes a file or an empty directory.
    pub async fn remove(&self, path: &VolumePath, condition: Condition) -> Result<(), Problem> {
        let headers = self.conditions(condition, None)?;
        self.ask_after(Method::DELETE, &self.url(path), headers, Bytes::new()).await.map(drop)
    }

    fn conditions(&self, condition: Condition, operation: Option<OperationId>) -> Result<HeaderMap, Problem> {
        let mut headers = HeaderMap::new();
        match condition {
            Condition::None => {}
            Condition::IfMatch(root) => drop(headers.insert(IF_MATCH, value(&etag_text(root))?)),
            Condition::IfAbsent => drop(headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"))),
        }
        let operation = operation.unwrap_or_else(|| self.node().client().operation());
        headers.insert(OPERATION_HEADER, value(&format!("{}.{}", operation.session, operation.sequence))?);
        Ok(headers)
    }
}

/// A problem that has no words of its own gets the name of the thing.
fn named(problem: Problem, location: &Location) -> Problem {
    match problem.code {
        Code::NotFound => Problem::new(Code::NotFound, format!("there is no {location}")),
        Code::Denied => Problem::new(Code::Denied, format!("no right to read {location}"))
            .next("ask its administrator; `webos acl show` tells who is"),
        _ => problem,
    }
}

pub(crate) fn value(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(|_| Problem::new(Code::Invalid, "a header value has a control character"))
}

pub(crate) fn download(answer: Response<Incoming>) -> Result<Download, Problem> {
    let entry = entry_of(answer.headers())?;
    let manifest = answer.headers().get(MANIFEST_HEADER).and_then(|text| text.to_str().ok());
    let manifest = manifest.and_then(SignedManifest::from_header);
    Ok(Download { entry, manifest, led_to: None, body: answer.into_body() })
}

/// What the header fields of an answer say of a file or directory.
fn entry_of(headers: &HeaderMap) -> Result<Entry, Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let odd = || Problem::new(Code::Invalid, "the server's answer does not describe a file of a volume");
    let version: ObjectVersion = text(VERSION_HEADER).and_then(|text| text.parse().ok()).ok_or_else(odd)?;
    let etag = text(ETAG.as_str()).and_then(etag_root);
    let total = text("content-range").and_then(|text| text.rsplit('/').next()).or(text(CONTENT_LENGTH.as_str()));
    let size = match text("webos-size") {
        Some(size) => size.parse().map_err(|_| odd())?,
        None => total.and_then(|text| text.parse().ok()).unwrap_or(0),
    };
    let modified = text(LAST_MODIFIED.as_str()).and_then(|text| httpdate::parse_http_date(text).ok());
    let modified = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(Entry {
        kind: if etag.is_some() { FileKind::File } else { FileKind::Directory },
        size: if etag.is_some() { size } else { 0 },
        etag,
        version,
        modified: UnixMs::from_secs(modified.map_or(0, |span| span.as_secs())),
        policy: text(POLICY_HEADER).map_or(Ok(Policy::default()), str::parse)?,
    })
}

/// Whether a page goes on where the list stopped, its names rising: else a hostile home could make it endless.
fn goes_on(list: &[DirEntry], page: &[DirEntry]) -> bool {
    list.last().into_iter().chain(page).is_sorted_by(|one, next| one.name < next.name)
}

#[cfg(test)]
mod tests;
