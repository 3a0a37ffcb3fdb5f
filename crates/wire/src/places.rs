//! A bounded number of places for which somebody else gives way: of the source that holds most, the one that idles
//! longest. So neither a few silent connections nor a few greedy sources keep anybody out.

use crate::crowd::{Full, source};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
struct Holder {
    ended: CancellationToken,
    /// Requests that are being answered: count.
    at_work: usize,
    /// The order in which holders began to idle; one that never worked idles since it came.
    idle_since: u64,
}

#[derive(Debug, Default)]
struct Source {
    holders: BTreeMap<u64, Holder>,
    /// Who idles, and since when.
    idle: BTreeSet<(u64, u64)>,
}

/// Greedier sources come later; of equals the one that has somebody idle, and of these the one of whom somebody idles
/// longest: an address does not decide who gives way.
type Greed = (usize, bool, Reverse<u64>, IpAddr);

impl Source {
    fn greed(&self, source: IpAddr) -> Greed {
        let longest = self.idle.first().map_or(0, |(since, _)| *since);
        (self.holders.len(), !self.idle.is_empty(), Reverse(longest), source)
    }

    /// Who gives way: whoever idles longest, else whoever came first.
    fn first_to_go(&self) -> Option<u64> {
        let longest = self.idle.first().map(|(_, number)| *number);
        longest.or_else(|| self.holders.first_key_value().map(|(number, _)| *number))
    }
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    all: usize,
    by_source: BTreeMap<IpAddr, Source>,
    by_greed: BTreeSet<Greed>,
}

impl Held {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn count(&self, source: IpAddr) -> usize {
        self.by_source.get(&source).map_or(0, |own| own.holders.len())
    }

    /// Changes what is known of a source, and keeps the order by greed.
    fn change<T>(&mut self, source: IpAddr, change: impl FnOnce(&mut Source) -> T) -> T {
        let own = self.by_source.entry(source).or_default();
        self.by_greed.remove(&own.greed(source));
        self.all -= own.holders.len();
        let changed = change(own);
        self.all += own.holders.len();
        if own.holders.is_empty() {
            self.by_source.remove(&source);
        } else {
            self.by_greed.insert(own.greed(source));
        }
        changed
    }

    fn give_way(&mut self, source: IpAddr) {
        if let Some(number) = self.by_source.get(&source).and_then(Source::first_to_go)
            && let Some(holder) = self.remove(source, number)
        {
            holder.ended.cancel();
        }
    }

    fn remove(&mut self, source: IpAddr, number: u64) -> Option<Holder> {
        self.change(source, |own| {
            let holder = own.holders.remove(&number)?;
            own.idle.remove(&(holder.idle_since, number));
            Some(holder)
        })
    }
}

/// Places, and who has them.
#[derive(Debug)]
pub(crate) struct Places {
    at_most: usize,
    of_one_source: usize,
    held: Mutex<Held>,
}

impl Places {
    /// So many places, of which one source may have so many: counts.
    pub fn new(at_most: usize, of_one_source: usize) -> Self {
        Self { at_most, of_one_source, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for somebody at this address; somebody else may have to give way. Who is at work does so only for a source
    /// that has less even then.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let source = source(address);
        let mut held = self.held();
        let own = held.count(source);
        if own >= self.of_one_source {
            if held.by_source.get(&source).is_none_or(|own| own.idle.is_empty()) {
                return Err(Full::Source(self.of_one_source));
            }
            held.give_way(source);
        } else if held.all >= self.at_most {
            match held.by_greed.last().copied() {
                Some((count, idle, _, greediest)) if idle || count > own + 1 => held.give_way(greediest),
                _ => return Err(Full::All(self.at_most)),
            }
        }
        let ended = CancellationToken::new();
        let number = held.number();
        let holder = Holder { ended: ended.clone(), at_work: 0, idle_since: number };
        held.change(source, |own| {
            own.holders.insert(number, holder);
            own.idle.insert((number, number));
        });
        Ok(Place { all: self.clone(), source, number, ended })
    }
}

/// One place: free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    all: Arc<Places>,
    source: IpAddr,
    number: u64,
    ended: CancellationToken,
}

impl Place {
    /// Resolves when the holder has to give way.
    pub async fn must_end(&self) {
        self.ended.cancelled().await;
    }

    /// The holder does not idle until what is returned is dropped.
    pub fn work(self: &Arc<Self>) -> Work {
        self.all.held().change(self.source, |own| {
            if let Some(holder) = own.holders.get_mut(&self.number) {
                own.idle.remove(&(holder.idle_since, self.number));
                holder.at_work += 1;
            }
        });
        Work(self.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.held().remove(self.source, self.number);
    }
}

/// Something that the holder of a place is about.
#[derive(Debug)]
pub(crate) struct Work(Arc<Place>);

impl Drop for Work {
    fn drop(&mut self) {
        let mut held = self.0.all.held();
        let now = held.number();
        held.change(self.0.source, |own| {
            if let Some(holder) = own.holders.get_mut(&self.0.number) {
                holder.at_work -= 1;
                if holder.at_work == 0 {
                    holder.idle_since = now;
                    own.idle.insert((now, self.0.number));
                }
            }
        });
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
