//! Watching: tells of what has changed below a path, or was added to a file, as it is committed.
//!
//! The stream is driven by its reader: nothing is queued for one that is slow, which hears later and of all at once.
//! Each path is shown only to whoever may read it at that moment.

use super::body::{Shared, cut};
use super::look::MayShow;
use super::{FileSource, Home, HomeFile};
use crate::gate::Touched;
use crate::limits::{MAX_WATCHERS, MAX_WATCHERS_PER_PRINCIPAL, WATCH_ALIVE, WATCH_EVENTS};
use crate::session::encode;
use crate::store::{Lookup, Object};
use crate::watch::{Event, Heard, Seen, Watch};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terms::{ChangeNumber, Code, Location, Principal, Problem, VolumeName, VolumePath};
use tokio::sync::watch::{Receiver, Sender};
use tokio::time::timeout;
use wire::Body;

/// Who watches a volume, and the home that each is told from: what stops takes it from all of them, also from those that
/// nobody reads.
#[derive(Debug)]
pub(super) struct Watchers {
    all: Mutex<All>,
    stopped: Sender<bool>,
}

#[derive(Debug, Default)]
struct All {
    last: u64,
    places: BTreeMap<u64, (Option<Principal>, Option<Home>)>,
}

/// A place among the watchers, given back when it is dropped.
struct Place {
    watchers: Arc<Watchers>,
    number: u64,
}

impl Default for Watchers {
    fn default() -> Self {
        Self { all: Mutex::default(), stopped: Sender::new(false) }
    }
}

impl Watchers {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, who: Option<Principal>, home: Option<Home>) -> Result<Place, Problem> {
        let mut all = self.all();
        if *self.stopped.borrow() {
            return Err(stopping());
        }
        let own = all.places.values().filter(|(other, _)| *other == who).count();
        let refused = match () {
            () if own >= MAX_WATCHERS_PER_PRINCIPAL => format!("you watch it {own} times already"),
            () if all.places.len() >= MAX_WATCHERS => format!("{MAX_WATCHERS} watch it already"),
            () => {
                all.last += 1;
                let number = all.last;
                all.places.insert(number, (who, home));
                return Ok(Place { watchers: self.clone(), number });
            }
        };
        Err(Problem::new(Code::Busy, refused).next("end a watch, or try again later"))
    }

    pub(super) fn stop(&self) {
        let mut all = self.all();
        self.stopped.send_replace(true);
        let homes: Vec<_> = all.places.values_mut().map(|(_, home)| home.take()).collect();
        drop(all);
        drop(homes);
    }
}

impl Place {
    fn home(&self) -> Result<Home, Problem> {
        self.watchers.all().places.get(&self.number).and_then(|(_, home)| home.clone()).ok_or_else(stopping)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let place = self.watchers.all().places.remove(&self.number);
        drop(place);
    }
}

fn stopping() -> Problem {
    Problem::new(Code::Unavailable, "the volume's home is stopping").next("try again in a moment")
}

struct Watcher<M> {
    place: Place,
    volume: VolumeName,
    may: M,
    path: VolumePath,
    told: Receiver<ChangeNumber>,
    stopped: Receiver<bool>,
    /// Up to which change all was told; nothing before the first word.
    heard: Option<ChangeNumber>,
    since: Option<Heard>,
    /// The next byte to be told of a file.
    tail: Option<u64>,
    words: VecDeque<Seen>,
    ended: bool,
}

impl Home {
    /// Answers a watch with a stream of [`Seen`] frames. `who` is on whose behalf it is made.
    pub async fn watch<M>(&self, who: Option<Principal>, watch: Watch, may: M) -> Result<Body, Problem>
    where
        M: MayShow + Send + 'static,
    {
        let place = self.watchers.enter(who, Some(self.clone()))?;
        let Watch { path, since, tail } = watch;
        let (told, stopped) = (self.store.follow(), self.watchers.stopped.subscribe());
        let (volume, words) = (self.store.name().clone(), VecDeque::new());
        let mut watcher =
            Watcher { place, volume, may, path, told, stopped, heard: None, since, tail, words, ended: false };
        // Before the answer begins, so that a refusal is one.
        watcher.begin().await?;
        let frames = stream::unfold(watcher, |mut watcher| async move {
            let word = watcher.next().await?;
            Some((Ok::<Bytes, Infallible>(encode(&word)), watcher))
        });
        Ok(wire::body::stream(Shared::new(frames.boxed())))
    }
}

impl<M: MayShow> Watcher<M> {
    async fn begin(&mut self) -> Result<(), Problem> {
        let found = self.show(&self.path, true).await?;
        if self.tail.is_some() && found.is_none_or(|object| object.manifest().is_none()) {
            let what = format!("{} is no file", self.location(&self.path));
            return Err(Problem::new(Code::Invalid, what).next("name a file"));
        }
        Ok(())
    }

    /// The next word; nothing after the last.
    async fn next(&mut self) -> Option<Seen> {
        loop {
            if let Some(word) = self.words.pop_front() {
                return Some(word);
            }
            if self.ended {
                return None;
            }
            match self.look().await {
                Ok(()) => {}
                Err(problem) => {
                    self.ended = true;
                    return Some(Seen::Ended { problem });
                }
            }
        }
    }

    /// Finds something to say, or waits for it.
    async fn look(&mut self) -> Result<(), Problem> {
        let Some(heard) = self.heard else { return self.first().await };
        if self.tell_tail().await? {
            return Ok(());
        }
        let woken = tokio::select! {
            woken = timeout(WATCH_ALIVE, self.told.changed()) => woken,
            _ = self.stopped.wait_for(|stopped| *stopped) => return Err(stopping()),
        };
        // Whoever has lost the right is told so at the next change, or in a moment.
        self.show(&self.path, false).await?;
        match woken {
            Err(_) => {
                let heard = here(&self.place.home()?, heard);
                self.words.push_back(Seen::Alive { heard });
                Ok(())
            }
            Ok(Err(_)) => Err(stopping()),
            Ok(Ok(())) => self.catch_up(heard).await,
        }
    }

    /// The first word, and what the watcher has missed if that is known.
    async fn first(&mut self) -> Result<(), Problem> {
        self.told.borrow_and_update();
        let home = self.place.home()?;
        let epoch = home.store.epoch();
        let after = self.since.filter(|since| since.epoch == epoch).map(|since| since.change);
        let known = after.filter(|after| !home.store.since(*after).missed);
        let heard = known.unwrap_or_else(|| home.store.change());
        let missed = self.since.is_some() && known.is_none();
        self.heard = Some(heard);
        self.words.push_back(Seen::From { heard: here(&home, heard), missed });
        if known.is_some() { self.catch_up(heard).await } else { Ok(()) }
    }

    async fn catch_up(&mut self, after: ChangeNumber) -> Result<(), Problem> {
        let home = self.place.home()?;
        let since = home.store.since(after);
        self.heard = Some(since.upto);
        if self.tail.is_some() {
            return Ok(());
        }
        if since.missed {
            self.words.push_back(Seen::From { heard: here(&home, since.upto), missed: true });
        }
        let touched = since.touched.iter().flat_map(|touched| touched.iter());
        let mut events = Vec::new();
        for path in concerned(&self.path, touched) {
            match self.show(&path, false).await {
                Ok(object) => events.push(Event { path, entry: object.map(|object| object.entry) }),
                // It is not for the watcher's eyes.
                Err(problem) if problem.code == Code::Denied => {}
                Err(problem) => return Err(problem),
            }
        }
        for events in events.chunks(WATCH_EVENTS) {
            self.words.push_back(Seen::Changed { heard: here(&home, since.upto), events: events.to_vec() });
        }
        Ok(())
    }

    /// Whether there was something to say of the file that is followed.
    async fn tell_tail(&mut self) -> Result<bool, Problem> {
        let Some(offset) = self.tail else { return Ok(false) };
        let home = self.place.home()?;
        let change = home.store.change();
        let object = self.show(&self.path, true).await?;
        let file = object.and_then(|object| HomeFile::new(&home, object, change));
        let gone = || Problem::new(Code::NotFound, format!("{} is gone", self.location(&self.path)));
        let file: Arc<dyn FileSource> = Arc::new(file.ok_or_else(gone)?);
        let size = file.entry().size;
        if size < offset {
            self.tail = Some(0);
            self.words.push_back(Seen::Shorter { size });
            return Ok(true);
        }
        let Some(index) = file.manifest().blocks_of(&(offset..size)).next() else { return Ok(false) };
        let bytes = cut(&file, index, file.read_block(index).await?, &(offset..size));
        self.tail = Some(offset + bytes.len() as u64);
        self.words.push_back(Seen::Appended { offset, bytes: bytes.to_vec() });
        Ok(true)
    }

    /// What stands at a path, if the watcher may see it.
    async fn show(&self, path: &VolumePath, asked: bool) -> Result<Option<Arc<Object>>, Problem> {
        let home = self.place.home()?;
        let lookup = home.store.lookup(path).await?;
        let bucket = home.store.bucket(lookup.bucket()).await?;
        let location = self.location(path);
        self.may.may_show(&location, &bucket, asked).await?;
        Ok(match lookup {
            Lookup::Found(object) => Some(object),
            Lookup::Missing(_) if asked && self.heard.is_none() => {
                return Err(Problem::new(Code::NotFound, format!("there is no {location}")));
            }
            Lookup::Missing(_) => None,
        })
    }

    fn location(&self, path: &VolumePath) -> Location {
        Location { volume: self.volume.clone(), path: path.clone() }
    }
}

fn here(home: &Home, change: ChangeNumber) -> Heard {
    Heard { epoch: home.store.epoch(), change }
}

/// Which paths at or below `top` are to be told of: not folders of which only what lies in them has changed, when that is
/// told.
fn concerned<'a>(top: &VolumePath, touched: impl Iterator<Item = &'a Touched>) -> BTreeSet<VolumePath> {
    let mut paths = BTreeSet::new();
    for one in touched {
        paths.extend(one.objects.iter().filter(|path| path.below(top).is_some()).cloned());
        for subtree in &one.subtrees {
            if subtree.below(top).is_some() {
                paths.insert(subtree.clone());
            } else if top.below(subtree).is_some() {
                paths.insert(top.clone());
            }
        }
    }
    let folders: BTreeSet<_> = paths.iter().filter_map(VolumePath::parent).collect();
    paths.retain(|path| !folders.contains(path));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told() {
        let path = |text: &&str| VolumePath::new(text).expect("valid");
        let mut moved = Touched::objects(["a", "b"].iter().map(path));
        moved.subtrees = ["a/x", "b/y"].iter().map(path).collect();
        for (top, touched, expected) in [
            ("", Touched::objects(["a", "a/f"].iter().map(path)), vec!["a/f"]),
            ("a", Touched::objects(["a", "a/f"].iter().map(path)), vec!["a/f"]),
            ("a/f", Touched::objects(["a", "a/f"].iter().map(path)), vec!["a/f"]),
            ("b", Touched::objects(["a", "a/f"].iter().map(path)), vec![]),
            ("", Touched::objects(["d"].iter().map(path)), vec!["d"]),
            ("", moved.clone(), vec!["a/x", "b/y"]),
            ("a/x/deep", moved, vec!["a/x/deep"]),
        ] {
            let told = concerned(&path(&top), [&touched].into_iter());
            assert_eq!(told, expected.iter().map(path).collect(), "{top}");
        }
    }

    #[test]
    fn nobody_takes_all_places() {
        let watchers = Arc::new(Watchers::default());
        let who = |name: usize| Some(format!("spiffe://lab.example/user/u{name}").parse().expect("valid"));
        let own: Vec<_> =
            (0..MAX_WATCHERS_PER_PRINCIPAL).map(|_| watchers.enter(who(0), None).expect("room")).collect();
        assert_eq!(watchers.enter(who(0), None).map(drop).expect_err("full").code, Code::Busy);
        let others: Vec<_> = (0..MAX_WATCHERS - own.len())
            .map(|number| watchers.enter(who(1 + number / MAX_WATCHERS_PER_PRINCIPAL), None).expect("room"))
            .collect();
        assert_eq!(watchers.enter(who(9999), None).map(drop).expect_err("full").code, Code::Busy);
        drop((own, others));
        assert!(watchers.all().places.is_empty());
        watchers.stop();
        assert_eq!(watchers.enter(who(0), None).map(drop).expect_err("stopped").code, Code::Unavailable);
    }
}
