//! Watching a volume at its home: what has changed below a path, or what was added to a file.
//!
//! A watch survives cuts and moves: it asks again until the home answers, wherever that is, from where it has heard. What was missed for good it says;
//! nothing is told twice of a file that is followed.

use crate::Volume;
use crate::limits::{WATCH_RETRY_FIRST, WATCH_RETRY_MOST};
use crate::session::request;
use http::Method;
use http_body_util::BodyExt;
use std::time::Duration;
use terms::{Code, Problem, VolumePath};
use tokio::time::{sleep, timeout};
use webfs::limits::WATCH_ALIVE;
use webfs::session::FrameReader;
use webfs::watch::{Heard, Seen, WATCH_ROUTE, Watch};
use wire::{Envelope, Purpose};

/// A home that says nothing for so long is not there any more.
const SILENCE: Duration = WATCH_ALIVE.saturating_mul(3);

/// What somebody who watches hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// From the home.
    Seen(Seen),
    /// The home is not heard any more; it is asked again and again.
    Cut(Problem),
}

/// A watch. It ends when it is dropped.
pub struct Watching {
    volume: Volume,
    path: VolumePath,
    heard: Option<Heard>,
    tail: Option<u64>,
    frames: Option<FrameReader>,
    retry: Duration,
    cut: bool,
}

impl Volume {
    /// Tells of changes of an object and of what is below it, from now on.
    ///
    /// # Errors
    /// What the home answers when it is asked for the first time.
    pub async fn watch(&self, path: &VolumePath) -> Result<Watching, Problem> {
        self.begin_watch(path, None).await
    }

    /// Tells the bytes of a file from this offset on, and those that are added to it.
    ///
    /// # Errors
    /// What the home answers when it is asked for the first time.
    pub async fn follow(&self, path: &VolumePath, offset: u64) -> Result<Watching, Problem> {
        self.begin_watch(path, Some(offset)).await
    }

    async fn begin_watch(&self, path: &VolumePath, tail: Option<u64>) -> Result<Watching, Problem> {
        let (volume, path) = (self.clone(), path.clone());
        let mut watching =
            Watching { volume, path, heard: None, tail, frames: None, retry: WATCH_RETRY_FIRST, cut: false };
        watching.frames = Some(watching.ask().await?);
        Ok(watching)
    }
}

impl Watching {
    /// The next news. Cancelled, it loses nothing.
    ///
    /// # Errors
    /// Why nothing more can be told: the right was taken away, or what was followed is gone.
    pub async fn next(&mut self) -> Result<News, Problem> {
        loop {
            if self.frames.is_none()
                && let Some(news) = self.again().await?
            {
                return Ok(news);
            }
            let Some(frames) = &mut self.frames else { continue };
            let problem = match timeout(SILENCE, frames.next::<Seen>()).await {
                Ok(Ok(Some(Seen::Ended { problem }))) if !is_passing(&problem) => return Err(problem),
                Ok(Ok(Some(Seen::Ended { problem }))) => problem,
                Ok(Ok(Some(seen))) => {
                    self.cut = false;
                    self.retry = WATCH_RETRY_FIRST;
                    if self.note(&seen)? {
                        return Ok(News::Seen(seen));
                    }
                    continue;
                }
                Ok(Ok(None)) => self.silent("ended the watch"),
                Ok(Err(error)) => self.silent(&format!("broke off: {error}")),
                Err(_) => self.silent(&format!("was silent for {} s", SILENCE.as_secs())),
            };
            self.frames = None;
            if !std::mem::replace(&mut self.cut, true) {
                return Ok(News::Cut(problem));
            }
        }
    }

    /// Takes down how far the home has told; whether it is news.
    fn note(&mut self, seen: &Seen) -> Result<bool, Problem> {
        match seen {
            Seen::From { heard, .. } | Seen::Changed { heard, .. } | Seen::Alive { heard } => {
                self.heard = Some(*heard);
                Ok(!matches!(seen, Seen::Alive { .. }))
            }
            Seen::Appended { offset, bytes } => {
                if self.tail != Some(*offset) {
                    let what =
                        format!("{} tells of other bytes than were asked for", self.volume.node().principal());
                    return Err(Problem::new(Code::Invalid, what).next("ask who keeps the volume's home"));
                }
                self.tail = Some(offset + bytes.len() as u64);
                Ok(true)
            }
            Seen::Shorter { .. } => {
                self.tail = self.tail.map(|_| 0);
                Ok(true)
            }
            Seen::Ended { .. } => Ok(true),
        }
    }

    /// Asks again after a pause; says so the first time that it fails.
    async fn again(&mut self) -> Result<Option<News>, Problem> {
        let fraction = self.volume.node().client().world().entropy.fraction();
        sleep(self.retry.mul_f64(0.5 + fraction)).await;
        match self.ask().await {
            Ok(frames) => self.frames = Some(frames),
            Err(problem) if is_passing(&problem) => {
                // A home that is away may have come up elsewhere.
                self.volume.look_again().await;
                self.retry = (self.retry * 2).min(WATCH_RETRY_MOST);
                if !std::mem::replace(&mut self.cut, true) {
                    return Ok(Some(News::Cut(problem)));
                }
            }
            Err(problem) => return Err(problem),
        }
        Ok(None)
    }

    /// Asks the home, and goes after it if it moves.
    async fn ask(&self) -> Result<FrameReader, Problem> {
        let until = self.volume.follows_until();
        loop {
            match self.ask_once().await {
                Err(problem) if problem.code == Code::Moved && self.volume.go_after(until).await => {}
                answer => return answer,
            }
        }
    }

    async fn ask_once(&self) -> Result<FrameReader, Problem> {
        let node = self.volume.node();
        let watch = Watch { path: self.path.clone(), since: self.heard, tail: self.tail };
        let body = wire::body::full(wire::cbor::to_vec(&Envelope::new(watch)));
        let route = format!("{WATCH_ROUTE}/{}", self.volume.name());
        let answer = node.send(Purpose::Control, request(Method::POST, node.principal(), &route, body)?).await?;
        Ok(FrameReader::new(answer.into_body().map_err(Into::into).boxed()))
    }

    fn silent(&self, what: &str) -> Problem {
        let (volume, node) = (self.volume.name(), self.volume.node());
        Problem::new(Code::Unavailable, format!("the home of {volume}, {}, {what}", node.principal()))
    }
}

/// Whether it may be otherwise in a moment.
fn is_passing(problem: &Problem) -> bool {
    matches!(problem.code, Code::Moved | Code::Unavailable | Code::Timeout | Code::Busy)
}
