//! What a further name server of the realm hands on: the pages of its feed as they were signed at the first node, the
//! newest as soon as it came. Signs nothing and decides nothing: pages that grew old are handed on as they are, and their
//! readers see how old they are.

use crate::gatekeeper::Caller;
use crate::node::State;
use crate::strangers::WaitingReaders;
use std::sync::{Arc, Mutex, PoisonError};
use terms::{Code, Problem, Serial};
use tokio::sync::watch;
use trust::limits::HEAD_INTERVAL;
use trust::{FeedPage, FeedPages};

/// A page, apart from the reader that keeps it.
#[derive(Debug, Clone)]
struct Page {
    after: Serial,
    reaches: Serial,
    bytes: Arc<[u8]>,
}

/// The pages of the own realm's feed, from its beginning to its newest word. None on nodes that are no name server.
pub struct HandedOn {
    pages: Mutex<Vec<Page>>,
    changes: watch::Sender<u64>,
    readers: WaitingReaders,
}

impl HandedOn {
    /// Nothing yet.
    pub fn new() -> Self {
        let (changes, _) = watch::channel(0);
        Self { pages: Mutex::default(), changes, readers: WaitingReaders::new() }
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, Vec<Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on these pages from now on, and wakes whoever waits for news.
    pub fn replace(&self, pages: &FeedPages) {
        let chain = pages.pages_after(Serial(0));
        let mut present = self.pages();
        let kept = |page: &FeedPage| {
            let place = present.binary_search_by_key(&page.after(), |kept| kept.after).ok()?;
            present.get(place).filter(|kept| *kept.bytes == *page.bytes()).cloned()
        };
        let taken =
            |page: &FeedPage| Page { after: page.after(), reaches: page.reaches(), bytes: page.bytes().into() };
        let next = chain.iter().map(|page| kept(page).unwrap_or_else(|| taken(page))).collect();
        *present = next;
        drop(present);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Hands on nothing any more.
    pub fn clear(&self) {
        self.pages().clear();
    }

    /// The page from which a reader behind this number learns most.
    fn behind(&self, after: Serial) -> Option<Page> {
        let pages = self.pages();
        let fits = pages.partition_point(|page| page.after <= after);
        fits.checked_sub(1).and_then(|place| pages.get(place)).cloned()
    }

    /// The signed page behind a number; with `wait` once there is news or a newer word.
    pub async fn page(&self, (after, wait): (Serial, bool), caller: &Caller) -> Result<Arc<[u8]>, Problem> {
        let mut changes = self.changes.subscribe();
        let has_news = || self.behind(after).is_some_and(|page| page.reaches > after);
        // Whoever finds no seat is answered at once, and asks again.
        let seat =
            (wait && !has_news()).then(|| self.readers.enter(caller.peer().is_some(), caller.source())).flatten();
        if seat.is_some() {
            let _ = tokio::time::timeout(HEAD_INTERVAL, changes.changed()).await;
        }
        drop(seat);
        self.behind(after).map(|page| page.bytes).ok_or_else(|| {
            Problem::new(Code::Unavailable, "this name server has not heard its realm's feed yet")
                .next("ask the realm's first node, or try again in half a minute")
        })
    }
}

/// Whether this node is a further name server of its realm, as the bundle says that it knows.
pub fn is_name_server(state: &State) -> bool {
    let bundle = state.client.trust().bundle(state.realm());
    let named =
        |bundle: &trust::Bundle| bundle.name_servers.iter().any(|server| server.principal == state.own.principal);
    !state.is_first() && bundle.is_some_and(|bundle| named(&bundle))
}

/// What a further name server says of what only the first one has.
pub fn only_at_the_first(state: &State, what: &str) -> Problem {
    let first = state.client.first_node(state.realm());
    let first = first.map_or_else(|_| "the realm's first node".into(), |first| first.principal().to_string());
    Problem::new(Code::Unavailable, format!("{what} is not known at {}", state.own.principal))
        .next(format!("ask {first}"))
}
