//! Follows the folder one way: what the system reports as changed is looked at and copied, after a short wait for
//! the rest of the same save. Reports only say where to look; when some are lost, everything is looked at.

use super::limits::{CHANGE_QUEUE, DEBOUNCE, MAX_CHANGED_PATHS, QUIET, RESCAN, RESCAN_UNWATCHED, ROOT_CHECK};
use super::mirror::{Mirror, Shelf, Synced};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use terms::{Problem, VolumePath};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// What a follower has to say.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// Files were copied or removed.
    Synced(Synced),
    /// Something fails and will be tried again. Told once, until it works.
    Failed(Problem),
    /// It works again.
    Recovered,
    /// The system does not report changes, for this reason: everything is looked at once a second.
    Unwatched(String),
}

/// Where to look.
#[derive(Debug, Default)]
struct Places {
    paths: BTreeSet<VolumePath>,
    everything: bool,
}

impl Places {
    fn is_empty(&self) -> bool {
        !self.everything && self.paths.is_empty()
    }

    fn add(&mut self, path: VolumePath) {
        if self.paths.len() >= MAX_CHANGED_PATHS {
            self.everything = true;
        } else {
            self.paths.insert(path);
        }
    }

    /// The places, as they are to be looked at; nothing is left.
    fn take(&mut self, links: bool) -> Vec<VolumePath> {
        let all = std::mem::take(self);
        if all.everything || (links && !all.paths.is_empty()) {
            return vec![VolumePath::root()];
        }
        all.paths.into_iter().collect()
    }
}

/// One report of the system, for what is served.
#[derive(Debug, PartialEq, Eq)]
enum Report {
    /// Something was saved, moved, made or removed.
    Changed(VolumePath),
    /// Something is being written.
    Written(VolumePath),
}

/// What the system's event means for the folder: nothing for what is only read, or not served.
fn reports(root: &Path, event: &Event) -> Vec<Report> {
    let written = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Create(_) | EventKind::Remove(_) => {
            false
        }
        EventKind::Modify(ModifyKind::Data(_)) => true,
        EventKind::Modify(_) | EventKind::Any | EventKind::Other => false,
        EventKind::Access(_) => return Vec::new(),
    };
    let served = event.paths.iter().filter_map(|path| {
        let path = VolumePath::new(path.strip_prefix(root).ok()?.to_str()?).ok()?;
        let hidden = path.segments().any(|segment| segment.starts_with('.'));
        (!hidden).then_some(path)
    });
    served.map(|path| if written { Report::Written(path) } else { Report::Changed(path) }).collect()
}

/// The system's reports of one folder, until it is dropped.
struct Watch {
    /// `None` when the system does not report.
    _watcher: Option<RecommendedWatcher>,
    arrivals: mpsc::Receiver<Vec<Report>>,
    lost: Arc<AtomicBool>,
}

impl Watch {
    fn new(root: &Path) -> (Self, Option<String>) {
        let (sender, arrivals) = mpsc::channel(CHANGE_QUEUE);
        let lost = Arc::new(AtomicBool::new(false));
        let (place, missed) = (root.to_path_buf(), lost.clone());
        let handler = move |event: notify::Result<Event>| {
            let found = match &event {
                Ok(event) if !event.need_rescan() => reports(&place, event),
                _ => {
                    missed.store(true, Ordering::Release);
                    return;
                }
            };
            // The queue is full: looking at everything finds what does not fit.
            if !found.is_empty() && sender.try_send(found).is_err() {
                missed.store(true, Ordering::Release);
            }
        };
        let started = notify::recommended_watcher(handler)
            .and_then(|mut watcher| watcher.watch(root, RecursiveMode::Recursive).map(|()| watcher));
        match started {
            Ok(watcher) => (Self { _watcher: Some(watcher), arrivals, lost }, None),
            Err(error) => (Self { _watcher: None, arrivals, lost }, Some(error.to_string())),
        }
    }
}

/// A folder that is followed.
pub struct Follower<S, T> {
    mirror: Mirror<S>,
    root: PathBuf,
    watch: Watch,
    unwatched: bool,
    now: Places,
    later: Places,
    failing: bool,
    tell: T,
}

enum Wake {
    Stop,
    Reports(Vec<Report>),
    Quiet,
    Check,
    Rescan,
}

impl<S: Shelf, T: FnMut(Told)> Follower<S, T> {
    /// Begins to listen for changes: those from now on are not missed.
    pub fn new(mirror: Mirror<S>, mut tell: T) -> Self {
        let root = mirror.tree().path().to_path_buf();
        let (watch, fault) = Watch::new(&root);
        let unwatched = fault.is_some();
        if let Some(why) = fault {
            tell(Told::Unwatched(why));
        }
        let (now, later) = (Places::default(), Places::default());
        Self { mirror, root, watch, unwatched, now, later, failing: false, tell }
    }

    /// Makes everything equal now.
    pub async fn sync_all(&mut self) -> Result<Synced, Problem> {
        self.mirror.sync(&[VolumePath::root()]).await
    }

    /// Follows until told to stop. A copy under way is dropped then; the next start completes it.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut check = interval(ROOT_CHECK);
        let mut rescan = interval(if self.unwatched { RESCAN_UNWATCHED } else { RESCAN });
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        rescan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        rescan.reset();
        loop {
            let wake = tokio::select! {
                () = stop.cancelled() => Wake::Stop,
                Some(found) = self.watch.arrivals.recv() => Wake::Reports(found),
                () = sleep(QUIET), if !self.later.is_empty() => Wake::Quiet,
                _ = check.tick() => Wake::Check,
                _ = rescan.tick() => Wake::Rescan,
            };
            match wake {
                Wake::Stop => return,
                Wake::Reports(found) => {
                    self.note(found);
                    self.drain();
                    if !self.now.is_empty() {
                        sleep(DEBOUNCE).await;
                    }
                }
                Wake::Quiet => self.now.paths.append(&mut std::mem::take(&mut self.later).paths),
                Wake::Check => self.check_root(),
                Wake::Rescan => self.now.everything = true,
            }
            self.drain();
            self.now.everything |= self.watch.lost.swap(false, Ordering::AcqRel);
            if !self.now.is_empty() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.look() => {}
                }
            }
        }
    }

    /// Takes what has arrived meanwhile.
    fn drain(&mut self) {
        while let Ok(found) = self.watch.arrivals.try_recv() {
            self.note(found);
        }
    }

    fn note(&mut self, found: Vec<Report>) {
        for report in found {
            match report {
                Report::Changed(path) => {
                    self.later.paths.remove(&path);
                    self.now.add(path);
                }
                Report::Written(path) => self.later.add(path),
            }
        }
        // Too many to tell apart.
        self.now.everything |= std::mem::take(&mut self.later.everything);
    }

    /// The folder may have been removed and made again, as site generators do: then that one is followed.
    fn check_root(&mut self) {
        match self.mirror.reopen() {
            Ok(false) => self.now.everything |= self.failing,
            Ok(true) => {
                let (watch, fault) = Watch::new(&self.root);
                self.watch = watch;
                self.now.everything = true;
                if let Some(why) = fault {
                    (self.tell)(Told::Unwatched(why));
                }
            }
            // Nothing is removed because of it: a folder that went away takes no page with it.
            Err(problem) => self.failed(problem),
        }
    }

    async fn look(&mut self) {
        if !self.mirror.tree().is_same() {
            // Looking now would find nothing and remove everything; the next check tells.
            return;
        }
        let places = self.now.take(self.mirror.has_links());
        match self.mirror.sync(&places).await {
            Ok(done) => {
                if std::mem::take(&mut self.failing) {
                    (self.tell)(Told::Recovered);
                }
                if !done.copied.is_empty() || !done.removed.is_empty() {
                    (self.tell)(Told::Synced(done));
                }
            }
            Err(problem) => {
                places.into_iter().for_each(|path| self.now.add(path));
                self.failed(problem);
            }
        }
    }

    fn failed(&mut self, problem: Problem) {
        if !std::mem::replace(&mut self.failing, true) {
            (self.tell)(Told::Failed(problem));
        }
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
