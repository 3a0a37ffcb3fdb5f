//! A file as a stream of verified blocks, from whichever servers can give them.
//!
//! When a server fails in the middle, the stream goes on at another one from the last whole block, under the same
//! strong ETag; no byte leaves before its block agrees with the manifest that the home signed.

use super::open::{First, Opened, first_answer, manifest_of};
use super::{Answer, FetchEvent, SmartClient};
use crate::director::{Failure, Outcome};
use crate::eligible::Usable;
use crate::headers::field;
use crate::limits::BODY_DEADLINE;
use crate::manifest::Manifest;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;
use terms::{BootMs, Code, Problem, Thumbprint, VolumePath};
use tokio::time::{sleep, timeout};

/// Between two rounds over all servers when none can serve.
const ROUND_PAUSE: Duration = Duration::from_millis(400);

/// What one server gave to one download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCount {
    /// The server's name.
    pub server: String,
    /// Body bytes that came from it.
    pub received: u64,
    /// Of these, bytes that had to be fetched again: of a block that was not whole, or wrong.
    pub discarded: u64,
    /// Blocks that were verified.
    pub blocks: u64,
}

pub(super) struct Source {
    pub(super) body: Incoming,
    pub(super) server: Usable,
    pub(super) count: usize,
    pub(super) last: BootMs,
}

/// A download in progress. It ends in order, or with an error; a silent mix of versions is impossible.
pub struct FileStream {
    client: SmartClient,
    path: VolumePath,
    manifest: Manifest,
    fields: HeaderMap,
    next: usize,
    source: Option<Source>,
    /// What is here of the present block.
    partial: BytesMut,
    /// What has arrived of the blocks after it.
    rest: Bytes,
    excluded: Vec<Thumbprint>,
    counts: Vec<ServerCount>,
    patience: Duration,
    progress: BootMs,
}

/// How one step of a download went wrong, and whether another server may do better.
enum Trouble {
    Server(Failure, Problem),
    Final(Problem),
}

impl FileStream {
    /// Opens a file; `patience` is how long it may go without progress before it fails.
    pub async fn open(
        client: &SmartClient,
        path: &VolumePath,
        patience: Duration,
        tell: &mut (dyn FnMut(FetchEvent) + Send),
    ) -> Result<Self, Problem> {
        Self::open_for(First::Bytes, client, path, patience, tell).await
    }

    /// The same, where its first bytes may not be wanted.
    pub(super) async fn open_for(
        first: First,
        client: &SmartClient,
        path: &VolumePath,
        patience: Duration,
        tell: &mut (dyn FnMut(FetchEvent) + Send),
    ) -> Result<Self, Problem> {
        let began = client.0.world.clock.boot();
        let mut excluded = Vec::new();
        let mut counts = Vec::new();
        loop {
            match first_answer(client, path, first, &mut excluded, &mut counts).await {
                Ok(Opened { manifest, fields, source }) => {
                    let progress = client.0.world.clock.boot();
                    return Ok(Self {
                        client: client.clone(),
                        path: path.clone(),
                        manifest,
                        fields,
                        next: 0,
                        source,
                        partial: BytesMut::new(),
                        rest: Bytes::new(),
                        excluded,
                        counts,
                        patience,
                        progress,
                    });
                }
                Err(problem) if may_pass(&problem) => {
                    if client.0.world.clock.boot().since(began) >= patience {
                        return Err(problem);
                    }
                    tell(FetchEvent::Waiting { why: problem.to_string() });
                    excluded.clear();
                    sleep(ROUND_PAUSE).await;
                }
                Err(problem) => return Err(problem),
            }
        }
    }

    /// The file's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The header of the first answer.
    pub fn fields(&self) -> &HeaderMap {
        &self.fields
    }

    /// What each server gave so far.
    pub fn counts(&self) -> &[ServerCount] {
        &self.counts
    }

    /// The block that comes next.
    pub fn position(&self) -> usize {
        self.next
    }

    /// Takes back the memory of a block that is done with, for the next one: new memory costs as much as the copy.
    pub(super) fn reuse(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        if self.partial.is_empty() && self.partial.capacity() < buffer.capacity() {
            self.partial = buffer;
        }
    }

    /// Goes on at this block: those before it are at hand and verified.
    pub fn skip_to(&mut self, block: usize) {
        if block != self.next {
            self.next = block.min(self.manifest.block_count());
            self.drop_pending();
            self.source = None;
        }
    }

    /// The next verified block; nothing at the end.
    pub async fn next(&mut self, tell: &mut (dyn FnMut(FetchEvent) + Send)) -> Result<Option<Bytes>, Problem> {
        while self.next < self.manifest.block_count() {
            match self.step().await {
                Ok(Some(block)) => {
                    self.next += 1;
                    self.progress = self.now();
                    self.excluded.clear();
                    return Ok(Some(block));
                }
                Ok(None) => {}
                Err(Trouble::Final(problem)) => return Err(problem),
                Err(Trouble::Server(failure, problem)) => self.give_up_source(failure, &problem, tell),
            }
            if self.source.is_none()
                && let Err(problem) = self.connect(tell).await
            {
                if self.now().since(self.progress) >= self.patience {
                    return Err(problem);
                }
                tell(FetchEvent::Waiting { why: problem.to_string() });
                self.excluded.clear();
                sleep(ROUND_PAUSE).await;
            }
        }
        if let Some(source) = self.source.take() {
            self.client.known().report(self.client.0.world.clock.boot(), source.server.key(), Outcome::Ended);
        }
        Ok(None)
    }

    fn now(&self) -> BootMs {
        self.client.0.world.clock.boot()
    }

    /// Reads until the present block is whole, and verifies it. Nothing: there is no source.
    async fn step(&mut self) -> Result<Option<Bytes>, Trouble> {
        let range = self.manifest.range(self.next);
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        if self.source.is_none() {
            return Ok(None);
        }
        self.partial.reserve(wanted.saturating_sub(self.partial.len()));
        while self.partial.len() < wanted {
            if self.rest.is_empty() {
                self.rest = self.read_some().await?;
            }
            let missing = (wanted - self.partial.len()).min(self.rest.len());
            self.partial.extend_from_slice(&self.rest.split_to(missing));
        }
        let block = std::mem::take(&mut self.partial).freeze();
        let Some(source) = &self.source else { return Ok(None) };
        if self.manifest.agrees(self.next, &block) {
            self.counts[source.count].blocks += 1;
            return Ok(Some(block));
        }
        self.counts[source.count].discarded += block.len() as u64;
        let text = format!("{} sent bytes that the home did not sign", source.server.principal());
        Err(Trouble::Server(Failure::Lied, Problem::new(Code::Denied, text)))
    }

    async fn read_some(&mut self) -> Result<Bytes, Trouble> {
        let now = self.now();
        let Some(source) = self.source.as_mut() else { return Ok(Bytes::new()) };
        let name = source.server.principal().clone();
        let lost = |failure, why: String| {
            Trouble::Server(failure, Problem::new(Code::Unavailable, format!("{name}: {why}")))
        };
        let patience = self.client.known().director().body_patience(source.server.key());
        let mut frame = std::pin::pin!(source.body.frame());
        let read = match timeout(patience, frame.as_mut()).await {
            Ok(read) => read,
            Err(_) if self.client.budget().pay() => {
                return Err(lost(Failure::Stall, format!("silent for {} ms", patience.as_millis())));
            }
            Err(_) => timeout(BODY_DEADLINE, frame)
                .await
                .map_err(|_| lost(Failure::Stall, format!("silent for {} s", BODY_DEADLINE.as_secs())))?,
        };
        let frame = match read {
            None => return Err(lost(Failure::Reset, "the answer ended early".into())),
            Some(Err(error)) => return Err(lost(Failure::Reset, format!("the connection broke: {error}"))),
            Some(Ok(frame)) => frame,
        };
        let data = frame.into_data().unwrap_or_default();
        let arrived = self.client.0.world.clock.boot();
        self.client.known().report(arrived, source.server.key(), Outcome::Gap(arrived.since(source.last.max(now))));
        source.last = arrived;
        self.counts[source.count].received += data.len() as u64;
        Ok(data)
    }

    fn drop_pending(&mut self) {
        self.partial.clear();
        self.rest.clear();
    }

    /// Leaves a server in the middle; what it gave of a block that is not whole is dropped.
    fn give_up_source(&mut self, failure: Failure, problem: &Problem, tell: &mut (dyn FnMut(FetchEvent) + Send)) {
        let Some(source) = self.source.take() else { return };
        self.counts[source.count].discarded += (self.partial.len() + self.rest.len()) as u64;
        self.drop_pending();
        self.client.failed(&source.server, failure);
        self.excluded.push(source.server.key());
        let server = source.server.principal().name.to_string();
        tell(FetchEvent::Left { server, why: problem.detail.clone() });
    }

    /// Goes on at another server, from the present block, under the same ETag.
    async fn connect(&mut self, tell: &mut (dyn FnMut(FetchEvent) + Send)) -> Result<(), Problem> {
        loop {
            let start = self.manifest.range(self.next).start;
            let mut fields = HeaderMap::new();
            let invalid = |_| Problem::new(Code::Internal, "a header value is not usable");
            fields.insert(RANGE, HeaderValue::from_str(&format!("bytes={start}-")).map_err(invalid)?);
            fields.insert(IF_RANGE, HeaderValue::from_str(&self.manifest.etag()).map_err(invalid)?);
            let answer = self.client.request(&self.path, &fields, &mut self.excluded).await?;
            match self.accept(answer, start).await {
                Ok(source) => {
                    let server = source.server.principal().name.to_string();
                    tell(FetchEvent::Joined { server, at: start });
                    self.source = Some(source);
                    return Ok(());
                }
                Err(Trouble::Final(problem)) => return Err(problem),
                Err(Trouble::Server(_, _)) => {}
            }
        }
    }

    async fn accept(&mut self, answer: Answer, start: u64) -> Result<Source, Trouble> {
        let same = field(answer.response.headers(), ETAG.as_str()) == Some(&self.manifest.etag());
        let from = field(answer.response.headers(), CONTENT_RANGE.as_str())
            .and_then(|text| text.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
        let fits = match answer.response.status() {
            StatusCode::PARTIAL_CONTENT => from == Some(start),
            StatusCode::OK => start == 0,
            _ => false,
        };
        if same && fits {
            let count = count_of(&mut self.counts, &answer.server);
            let (server, last) = (answer.server, self.client.0.world.clock.boot());
            return Ok(Source { body: answer.response.into_body(), server, count, last });
        }
        let server = answer.server.clone();
        if answer.response.status().is_success() && !same {
            // Another version: newer, and the download starts anew; older, and the server is behind.
            if let Ok(manifest) = manifest_of(&self.client, &self.path, &answer).await
                && manifest.publication() > self.manifest.publication()
            {
                let text = format!("{}/{} has changed during the download", self.client.service(), self.path);
                return Err(Trouble::Final(Problem::new(Code::Conflict, text)));
            }
        } else if answer.response.status().is_client_error() {
            let problem = wire::problem_from(answer.response).await;
            if server.certified() {
                return Err(Trouble::Final(problem));
            }
            self.client.known().report(self.now(), server.key(), Outcome::Ended);
            self.excluded.push(server.key());
            return Err(Trouble::Server(Failure::Wrong, problem));
        }
        self.client.failed(&server, Failure::Wrong);
        self.excluded.push(server.key());
        let text = format!("{} does not have this version of the file", server.principal());
        Err(Trouble::Server(Failure::Wrong, Problem::new(Code::Unavailable, text)))
    }
}

/// Whether a failure may pass by itself: servers away, not a refusal or a missing file.
pub(super) fn may_pass(problem: &Problem) -> bool {
    matches!(problem.code, Code::Unavailable | Code::Timeout | Code::Busy)
}

pub(super) fn count_of(counts: &mut Vec<ServerCount>, server: &Usable) -> usize {
    let name = server.principal().name.as_str();
    if let Some(index) = counts.iter().position(|count| count.server == name) {
        return index;
    }
    counts.push(ServerCount { server: name.to_string(), received: 0, discarded: 0, blocks: 0 });
    counts.len() - 1
}

impl Drop for FileStream {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            let now = self.client.0.world.clock.boot();
            self.client.known().report(now, source.server.key(), Outcome::Dropped);
        }
    }
}
