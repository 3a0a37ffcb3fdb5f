//! Long files in parts: asked for ahead over several connections, handed on in their order.
//!
//! What is asked for lies in the windows of its streams until its turn comes, so that memory is bounded by the parts
//! asked for ahead. A part that breaks off goes on at its last byte over another connection. All parts are of one
//! version: each names it, and a file that changes meanwhile is an error. Checks no content: that is the reader's.

use crate::files::{Download, Volume, value};
use crate::limits::{LANES_FROM_BYTES, PART_ATTEMPTS, PART_BYTES, PARTS_AHEAD};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use http::header::{HeaderMap, IF_MATCH, RANGE};
use http::{Method, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use terms::{Code, Digest, Problem, VolumePath};
use webfs::model::etag_text;
use wire::limits::BULK_LANES;
use wire::{BodyError, Purpose};

/// The body of a file that comes in parts.
pub type PartsBody = UnsyncBoxBody<Bytes, BodyError>;
type Chunks = BoxStream<'static, Result<Bytes, BodyError>>;

/// Where parts come from; a test puts a fickle one in its place.
trait Source: Send + Sync + 'static {
    /// These bytes over the connection of this number.
    fn part(&self, lane: u8, bytes: Range<u64>) -> BoxFuture<'_, Result<PartsBody, Problem>>;
}

/// One version of a file.
struct Version {
    volume: Volume,
    path: VolumePath,
    root: Digest,
}

impl Source for Version {
    fn part(&self, lane: u8, bytes: Range<u64>) -> BoxFuture<'_, Result<PartsBody, Problem>> {
        async move {
            let (volume, purpose) = (&self.volume, if lane == 0 { Purpose::Bulk } else { Purpose::Lane(lane) });
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, value(&format!("bytes={}-{}", bytes.start, bytes.end.saturating_sub(1)))?);
            headers.insert(IF_MATCH, value(&etag_text(self.root))?);
            let url = volume.url(&self.path);
            let answer = volume.ask_over(|_| purpose, Method::GET, &url, headers, Bytes::new()).await?;
            if answer.status() == StatusCode::PARTIAL_CONTENT {
                return Ok(answer.into_body().map_err(Into::into).boxed_unsync());
            }
            let (file, node) = (volume.location(&self.path), volume.node().principal().clone());
            Err(Problem::new(Code::Internal, format!("asked for a part of {file}, {node} sends all of it")))
        }
        .boxed()
    }
}

impl Volume {
    /// Starts to read a whole file. A long one comes in parts over several connections; a short one is all in the first
    /// answer.
    pub async fn fetch(&self, path: &VolumePath) -> Result<Download<PartsBody>, Problem> {
        self.fetch_ahead(path, PARTS_AHEAD).await
    }

    /// The same with so many parts asked for at once, for whoever fetches several files.
    pub async fn fetch_ahead(&self, path: &VolumePath, ahead: usize) -> Result<Download<PartsBody>, Problem> {
        let Download { entry, manifest, led_to, body } = self.get(path, Some((0, Some(PART_BYTES))), None).await?;
        let body = body.map_err(Into::into).boxed_unsync();
        let body = match entry.etag {
            Some(root) if entry.size > PART_BYTES => {
                let path = led_to.as_ref().unwrap_or(path).clone();
                let version = Version { volume: self.clone(), path, root };
                let parts = Parts::new(Arc::new(version), body, entry.size, ahead);
                StreamBody::new(parts.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
            }
            _ => body,
        };
        Ok(Download { entry, manifest, led_to, body })
    }
}

/// The connections over which one file comes.
struct Lanes {
    /// Of how many.
    count: u8,
    /// Those that failed, one bit each: nothing more is asked over them.
    failed: AtomicU8,
}

impl Lanes {
    /// Short files are not worth more than the one connection that is there.
    fn new(left: u64) -> Self {
        Self { count: if left > LANES_FROM_BYTES { BULK_LANES } else { 1 }, failed: AtomicU8::new(0) }
    }

    /// Over which the part of this number goes, at this attempt. The first one is never given up.
    fn of(&self, number: usize, attempt: u32) -> u8 {
        // The first connection is at its speed when the others are only being opened.
        if attempt == 0 && number as u64 * PART_BYTES < LANES_FROM_BYTES {
            return 0;
        }
        let failed = self.failed.load(Ordering::Relaxed);
        let usable: Vec<u8> = (0..self.count).filter(|lane| *lane == 0 || failed & (1 << lane) == 0).collect();
        usable[(number + attempt as usize) % usable.len()]
    }

    fn failed(&self, lane: u8) {
        self.failed.fetch_or(1 << lane, Ordering::Relaxed);
    }
}

/// A part that was asked for.
enum Begun {
    Asked(BoxFuture<'static, Chunks>),
    Arriving(Chunks),
}

/// The bytes of a file in order, from parts that are under way at once.
struct Parts {
    source: Arc<dyn Source>,
    lanes: Arc<Lanes>,
    begun: VecDeque<Begun>,
    /// The number of the part to ask for next, and the bytes that nobody was asked for.
    next: (usize, Range<u64>),
    ahead: usize,
}

impl Parts {
    /// A file of `size` bytes, whose first part is there.
    fn new(source: Arc<dyn Source>, first: PartsBody, size: u64, ahead: usize) -> Self {
        let end = size.min(PART_BYTES);
        let lanes = Arc::new(Lanes::new(size - end));
        let first = Part { number: 0, left: 0..end, body: Some((0, first)), attempt: 0 };
        let begun = VecDeque::from([Begun::Arriving(first.chunks(source.clone(), lanes.clone()))]);
        Self { source, lanes, begun, next: (1, end..size), ahead: ahead.max(1) }
    }

    fn ask(&mut self, context: &mut Context<'_>) {
        while self.begun.len() < self.ahead && !self.next.1.is_empty() {
            let (number, left) = &mut self.next;
            let bytes = left.start..left.end.min(left.start + PART_BYTES);
            left.start = bytes.end;
            let part = Part { number: *number, left: bytes, body: None, attempt: 0 };
            *number += 1;
            self.begun.push_back(Begun::Asked(part.begin(self.source.clone(), self.lanes.clone()).boxed()));
        }
        for begun in &mut self.begun {
            if let Begun::Asked(asked) = begun
                && let Poll::Ready(chunks) = asked.poll_unpin(context)
            {
                *begun = Begun::Arriving(chunks);
            }
        }
    }
}

impl Stream for Parts {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            self.ask(context);
            let Some(Begun::Arriving(chunks)) = self.begun.front_mut() else {
                return if self.begun.is_empty() { Poll::Ready(None) } else { Poll::Pending };
            };
            match ready!(chunks.poll_next_unpin(context)) {
                Some(Ok(chunk)) => return Poll::Ready(Some(Ok(chunk))),
                Some(Err(error)) => {
                    // Nothing may follow what is missing.
                    self.begun.clear();
                    self.next.1 = 0..0;
                    return Poll::Ready(Some(Err(error)));
                }
                None => drop(self.begun.pop_front()),
            }
        }
    }
}

/// What has not come yet of a part.
struct Part {
    number: usize,
    left: Range<u64>,
    /// Where it comes from, and over which connection.
    body: Option<(u8, PartsBody)>,
    attempt: u32,
}

impl Part {
    /// Asks for it; why it did not come is told when its turn comes.
    async fn begin(mut self, source: Arc<dyn Source>, lanes: Arc<Lanes>) -> Chunks {
        match self.ask(source.as_ref(), &lanes).await {
            Ok(()) => self.chunks(source, lanes),
            Err(problem) => stream::iter([Err(problem.into())]).boxed(),
        }
    }

    /// Asks for what is left, over one connection after the other.
    async fn ask(&mut self, source: &dyn Source, lanes: &Lanes) -> Result<(), Problem> {
        loop {
            let lane = lanes.of(self.number, self.attempt);
            match source.part(lane, self.left.clone()).await {
                Ok(body) => {
                    self.body = Some((lane, body));
                    return Ok(());
                }
                Err(problem) => self.broke(lane, problem, lanes)?,
            }
        }
    }

    /// A connection failed: another one is tried, or it is told.
    fn broke(&mut self, lane: u8, problem: Problem, lanes: &Lanes) -> Result<(), Problem> {
        if !matches!(problem.code, Code::Unavailable | Code::Timeout) {
            return Err(problem);
        }
        lanes.failed(lane);
        self.attempt += 1;
        if self.attempt < PART_ATTEMPTS { Ok(()) } else { Err(problem) }
    }

    fn chunks(self, source: Arc<dyn Source>, lanes: Arc<Lanes>) -> Chunks {
        stream::try_unfold((self, source, lanes), |(mut part, source, lanes)| async move {
            let chunk = part.next(source.as_ref(), &lanes).await?;
            Ok(chunk.map(|chunk| (chunk, (part, source, lanes))))
        })
        .boxed()
    }

    async fn next(&mut self, source: &dyn Source, lanes: &Lanes) -> Result<Option<Bytes>, Problem> {
        while !self.left.is_empty() {
            let Some((lane, body)) = &mut self.body else {
                self.ask(source, lanes).await?;
                continue;
            };
            let lane = *lane;
            let why = match body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut chunk) if !chunk.is_empty() => {
                        // What comes beyond the part was not asked for.
                        let most = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
                        chunk.truncate(most);
                        self.left.start += chunk.len() as u64;
                        return Ok(Some(chunk));
                    }
                    _ => continue,
                },
                Some(Err(error)) => error.to_string(),
                None => "it ended early".to_string(),
            };
            self.body = None;
            let what = format!("the bytes from {} on stopped on their way: {why}", self.left.start);
            self.broke(lane, Problem::new(Code::Unavailable, what), lanes)?;
        }
        Ok(None)
    }
}

#[cfg(test)]
#[path = "parts_tests.rs"]
mod tests;
