//! The signed pages that a reader keeps: together they prove all that it knows, and there are not many.

use crate::feeds::{Source, ended, source};
use crate::support::DAY;
use std::time::Duration;
use terms::{Serial, UnixMs};
use webos_trust::limits::{MAX_FEED_PAGE, MAX_KEPT_PAGES, SCATTERED_PAGES};
use webos_trust::{FeedCopy, FeedPage, FeedPages, TrustError};

struct Reader {
    copy: FeedCopy,
    pages: FeedPages,
}

impl Reader {
    fn new(source: &Source) -> Self {
        Self { copy: source.copy(), pages: FeedPages::new(source.feed.realm().clone()) }
    }

    fn ask(&mut self, source: &Source, after: Serial) -> bool {
        let page = source.page(after);
        let more = self.copy.apply(&page, source.lab.now()).expect("a page").more;
        self.pages.take(page, source.lab.now());
        more
    }

    fn follow(&mut self, source: &Source) {
        while self.ask(source, self.copy.number()) {}
    }

    /// Asks for the list from its beginning.
    fn ask_all(&mut self, source: &Source) {
        let mut after = Serial(0);
        while self.ask(source, after) {
            after = self.pages.newest().expect("just taken").reaches();
        }
    }
}

fn revoke_some(source: &mut Source, from: usize, count: usize) {
    for index in from..from + count {
        source.lab.clock.advance(Duration::from_secs(1));
        source.revoke(ended(&format!("spiffe://lab.example/user/u{index}"), source.lab.now()));
    }
}

fn is_revoked(copy: &FeedCopy, index: usize) -> bool {
    copy.is_revoked(&format!("spiffe://lab.example/user/u{index}").parse().expect("a name"), UnixMs(0))
}

#[test]
fn kept_pages_teach_another_reader_all_from_any_number() {
    let mut source = source();
    let mut reader = Reader::new(&source);
    revoke_some(&mut source, 0, MAX_FEED_PAGE + 3);
    reader.follow(&source);
    let middle = reader.copy.clone();
    revoke_some(&mut source, 200, 1);
    reader.follow(&source);
    revoke_some(&mut source, 300, 2);
    reader.follow(&source);
    for mut other in [source.copy(), middle, reader.copy.clone()] {
        for page in reader.pages.pages_after(other.number()) {
            other.apply(page, source.lab.now()).expect("in order");
        }
        assert!((0..MAX_FEED_PAGE + 3).chain([200, 300, 301]).all(|index| is_revoked(&other, index)));
        assert_eq!(other.number(), reader.copy.number());
    }
}

#[test]
fn heads_without_news_take_each_others_place() {
    let source = source();
    let mut reader = Reader::new(&source);
    for _ in 0..100 {
        source.lab.clock.advance(Duration::from_secs(20));
        reader.follow(&source);
    }
    assert_eq!(reader.pages.pages_after(reader.copy.number()).len(), 1);
    assert_eq!(reader.pages.newest().map(|page| page.at()), Some(source.lab.now()));
}

#[test]
fn many_small_pages_become_few_when_all_is_asked_for() {
    let mut source = source();
    let mut reader = Reader::new(&source);
    reader.follow(&source);
    assert!(!reader.pages.wants_all());
    for index in 0..SCATTERED_PAGES + 10 {
        revoke_some(&mut source, index, 1);
        reader.follow(&source);
    }
    assert!(reader.pages.wants_all());
    reader.ask_all(&source);
    assert!(!reader.pages.wants_all());
    assert_eq!((reader.pages.pages_after(Serial(0)).len(), reader.pages.lost().len()), (1, 0));
    // A reader that never asks so keeps no more than the limit, and knows that it lacks the beginning.
    let mut lazy = Reader::new(&source);
    for index in 0..MAX_KEPT_PAGES + 5 {
        revoke_some(&mut source, 1000 + index, 1);
        lazy.ask(&source, lazy.copy.number());
    }
    assert_eq!(lazy.pages.pages_after(lazy.copy.number()).len(), 1);
    assert!(lazy.pages.pages_after(Serial(0)).is_empty() && lazy.pages.wants_all());
}

#[test]
fn what_a_restored_list_lost_is_left_over_until_it_is_listed_or_forgotten() {
    let mut source = source();
    revoke_some(&mut source, 0, 3);
    let backup = source.feed.clone();
    let mut reader = Reader::new(&source);
    reader.follow(&source);
    revoke_some(&mut source, 3, 2);
    reader.follow(&source);
    source.lab.clock.advance(Duration::from_secs(60));
    source.feed = backup.resumed(source.lab.now());
    reader.follow(&source);
    reader.ask_all(&source);
    assert!((0..5).all(|index| is_revoked(&reader.copy, index)), "what is known is kept");
    let proven = |reader: &Reader| reader.pages.lost().iter().flat_map(|page| page.entries()).count();
    assert_eq!(proven(&reader), 2, "of the five the list holds three");
    // From disk it is the same.
    let bytes = wire::cbor::to_vec(&reader.pages);
    assert_eq!(wire::cbor::from_slice::<FeedPages>(&bytes).expect("whole"), reader.pages);
    // Listed again, it need not be proven.
    let mut healed = Reader { copy: reader.copy.clone(), pages: reader.pages.clone() };
    let before = source.feed.clone();
    for page in reader.pages.lost() {
        for entry in page.entries() {
            source.feed.revoke(entry.revoked.clone(), entry.forget, source.lab.now()).expect("listed");
        }
    }
    healed.follow(&source);
    assert_eq!(proven(&healed), 0);
    // Neither when it may be forgotten.
    source.feed = before;
    source.lab.clock.advance(32 * DAY);
    source.renew_signer();
    reader.follow(&source);
    assert_eq!(proven(&reader), 0);
}

#[test]
fn a_kept_page_counts_as_long_as_it_was_good_when_it_was_signed() -> Result<(), TrustError> {
    let mut source = source();
    revoke_some(&mut source, 0, 1);
    let page = source.page(Serial(0));
    source.lab.clock.advance(31 * DAY);
    let (realm, store, now) = (source.feed.realm(), &source.lab.store, source.lab.now());
    assert!(FeedPage::open(page.bytes(), realm, store, now).is_err(), "the feed's key has ended");
    assert_eq!(FeedPage::open_kept(page.bytes(), realm, store, now)?, page);
    // Not one that speaks of a time to come, nor one that is altered.
    let early = UnixMs(page.at().0 - 120_000);
    assert!(FeedPage::open_kept(page.bytes(), realm, store, early).is_err());
    let mut altered = page.bytes().to_vec();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    assert!(FeedPage::open_kept(&altered, realm, store, now).is_err());
    Ok(())
}

/// A source that was restored from a backup, and a reader that knows two revocations and an epoch more.
fn restored() -> (Source, Reader) {
    let mut source = source();
    revoke_some(&mut source, 0, 3);
    let backup = source.feed.clone();
    let mut reader = Reader::new(&source);
    reader.follow(&source);
    revoke_some(&mut source, 3, 2);
    reader.follow(&source);
    source.lab.clock.advance(Duration::from_secs(600));
    source.feed = backup.resumed(source.lab.now());
    (source, reader)
}

#[test]
fn a_restored_source_takes_the_lost_back_from_what_it_signed_itself() {
    let (mut source, mut reader) = restored();
    let page = source.page(reader.copy.number());
    reader.copy.apply(&page, source.lab.now()).expect("it goes on above");
    assert!(!reader.copy.agrees(&page, source.lab.now()), "the list has lost what the reader knows");
    reader.ask_all(&source);
    let (store, now, realm) = (&source.lab.store, source.lab.now(), source.feed.realm().clone());
    let kept = FeedPage::open_kept(reader.pages.lost()[0].bytes(), &realm, store, now).expect("its own");
    let recovered = source.feed.recover(&kept, now).expect("room");
    assert_eq!(recovered.revoked.len(), 2);
    assert!(source.feed.recover(&kept, now).expect("room").is_nothing(), "once");
    // Everybody hears of it: also who read the restored list before.
    let mut new = Reader::new(&source);
    new.follow(&source);
    assert!((0..5).all(|index| is_revoked(&new.copy, index)));
    let page = source.page(reader.copy.number());
    assert_eq!(page.entries().len(), 2, "new numbers");
    let forgets: Vec<_> = page.entries().iter().map(|entry| entry.forget).collect();
    assert_eq!(
        forgets,
        kept.entries().iter().map(|entry| entry.forget).collect::<Vec<_>>(),
        "not remembered longer"
    );
    reader.follow(&source);
    let page = source.page(reader.copy.number());
    assert!(reader.copy.agrees(&page, source.lab.now()) && reader.pages.lost().is_empty());
    // What is to be forgotten is not taken back.
    source.lab.clock.advance(32 * DAY);
    source.feed.revoke(ended("spiffe://lab.example/user/x", now), now, source.lab.now()).expect("listed");
    assert!(source.feed.recover(&kept, source.lab.now()).expect("room").is_nothing());
}

#[test]
fn a_source_set_back_behind_its_readers_catches_up_with_them() {
    let (mut source, mut reader) = restored();
    let backup = source.feed.clone();
    source.feed.raise_epoch(source.lab.now());
    reader.follow(&source);
    source.feed = backup;
    let set_back = reader.copy.apply(&source.page(reader.copy.number()), source.lab.now());
    assert!(matches!(set_back, Err(TrustError::SetBack { .. })), "{set_back:?}");
    let newest = reader.pages.newest().expect("kept").clone();
    let recovered = source.feed.recover(&newest, source.lab.now()).expect("room");
    assert!(recovered.epoch_rose && recovered.head_rose && recovered.revoked.is_empty(), "{recovered:?}");
    reader.follow(&source);
    assert_eq!((source.feed.epoch(), reader.copy.epoch()), (newest.epoch(), newest.epoch()));
}

#[test]
fn clocks_apart_make_no_list_differ() {
    let mut source = source();
    let mut reader = Reader::new(&source);
    revoke_some(&mut source, 0, 2);
    let soon = source.lab.now().plus(Duration::from_secs(200));
    source.feed.revoke(ended("spiffe://lab.example/user/short", soon), soon, source.lab.now()).expect("listed");
    for _ in 0..30 {
        // The reader is a minute ahead and forgets earlier.
        let page = source.page(reader.copy.number());
        let ahead = source.lab.now().plus(Duration::from_secs(60));
        reader.copy.apply(&page, ahead).expect("a page");
        assert!(reader.copy.agrees(&page, ahead));
        source.lab.clock.advance(Duration::from_secs(10));
    }
}

#[test]
fn an_old_page_of_a_copy_does_not_make_a_list_look_set_back() {
    let mut source = source();
    revoke_some(&mut source, 0, 2);
    let soon = source.lab.now().plus(Duration::from_secs(600));
    source.feed.revoke(ended("spiffe://lab.example/user/short", soon), soon, source.lab.now()).expect("listed");
    let mut reader = Reader::new(&source);
    reader.follow(&source);
    let page = source.page(reader.copy.number());
    assert!(reader.copy.agrees(&page, source.lab.now()));
    // The first node is away, and a further name server hands on what it has.
    for _ in 0..20 {
        source.lab.clock.advance(Duration::from_secs(60));
        reader.copy.apply(&page, source.lab.now()).expect("old, and true");
        assert!(reader.copy.agrees(&page, source.lab.now()), "what was forgotten here since was not lost there");
    }
}
