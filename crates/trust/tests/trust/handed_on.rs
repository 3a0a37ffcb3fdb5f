//! Signed pages handed on by a server that did not sign them: a reader that begins anywhere, and goes to and fro between
//! it and the source, knows in the end what a reader of the source knows.

use crate::feeds::{Source, source};
use crate::support::HOUR;
use std::time::Duration;
use terms::{Epoch, Serial, TransferId};
use webos_trust::limits::{HEAD_INTERVAL, HEAD_OLD, MAX_FEED_PAGE};
use webos_trust::{FeedCopy, FeedPages, Revoked, Worth};
use world::World;

const SEEDS: u64 = 12;
const STEPS: usize = 60;

struct Realm {
    source: Source,
    /// A server that copies the feed.
    pages: FeedPages,
    copied: FeedCopy,
    revoked: Vec<TransferId>,
}

fn realm() -> Realm {
    let source = source();
    let (pages, copied) = (FeedPages::new(source.feed.realm().clone()), source.copy());
    Realm { source, pages, copied, revoked: Vec::new() }
}

impl Realm {
    fn now(&self) -> terms::UnixMs {
        self.source.lab.now()
    }

    fn advance(&self, time: Duration) {
        self.source.lab.clock.advance(time);
    }

    fn revoke(&mut self, count: usize) {
        for _ in 0..count {
            let id = TransferId((self.revoked.len() as u128 + 1).to_le_bytes());
            self.source.revoke(Revoked::Transfer { id });
            self.revoked.push(id);
        }
    }

    fn raise_epoch(&mut self) {
        let now = self.now();
        self.source.feed.raise_epoch(now);
    }

    /// The server asks the source until it has all, from the beginning if that is due.
    fn copy(&mut self) {
        let mut after = if self.pages.wants_all() { Serial(0) } else { self.copied.number() };
        loop {
            let page = self.source.page(after);
            let worth = self.copied.weigh(&page, after, self.now()).expect("a page");
            assert!(matches!(worth, Worth::News | Worth::Fresh), "{worth:?}");
            self.copied.apply(&page, self.now()).expect("a page");
            (after, _) = (page.reaches(), self.pages.take(page.clone(), self.now()));
            if page.is_last() {
                return;
            }
        }
    }

    /// A reader takes one page from the source.
    fn read_at_source(&self, copy: &mut FeedCopy) {
        copy.apply(&self.source.page(copy.number()), self.now()).expect("a page");
    }

    /// A reader takes one page from the server.
    fn read_at_copy(&self, copy: &mut FeedCopy) -> Worth {
        let page = self.pages.pages_after(copy.number()).first().expect("pages");
        let worth = copy.weigh(page, copy.number(), self.now()).expect("a page");
        if worth != Worth::Behind {
            copy.apply(page, self.now()).expect("a page");
        }
        worth
    }

    /// A reader reads from the server until there is nothing new, and must know all then.
    fn must_know_all(&self, mut copy: FeedCopy) {
        while self.read_at_copy(&mut copy) == Worth::News {}
        assert_eq!((copy.number(), copy.epoch()), (self.source.feed.head(), self.source.feed.epoch()));
        assert_eq!(copy.at(), self.copied.at(), "the newest word");
        let signer = self.source.lab.identity("user/alice");
        let unknown = self.revoked.iter().filter(|id| !copy.has_ended(signer.principal(), **id, Epoch(u64::MAX)));
        assert_eq!(unknown.count(), 0, "of {}", self.revoked.len());
    }
}

fn below(world: &World, bound: u64) -> usize {
    usize::try_from(world.entropy.number() % bound).expect("small")
}

#[test]
fn a_reader_that_begins_anywhere_knows_all_in_the_end() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let (dice, _) = World::simulated(seed);
        let mut realm = realm();
        let mut readers: Vec<_> = (0..3).map(|_| realm.source.copy()).collect();
        realm.copy();
        for _ in 0..STEPS {
            let reader = &mut readers[below(&dice, 3)];
            match below(&dice, 12) {
                0 => realm.revoke(MAX_FEED_PAGE),
                1 => realm.revoke(below(&dice, 5) + MAX_FEED_PAGE),
                2 | 3 => realm.revoke(1),
                4 => realm.raise_epoch(),
                5 | 6 => realm.copy(),
                7 | 8 => realm.read_at_source(reader),
                9 | 10 => {
                    // A server that is behind the reader is no use to it, and says nothing wrong.
                    let ahead = reader.number() > realm.copied.number() || reader.epoch() > realm.copied.epoch();
                    assert_eq!(realm.read_at_copy(reader) == Worth::Behind, ahead);
                }
                _ => realm.advance(if below(&dice, 4) == 0 { HOUR } else { HEAD_INTERVAL }),
            }
        }
        realm.advance(Duration::from_secs(1));
        realm.copy();
        readers.push(realm.source.copy());
        readers.into_iter().for_each(|reader| realm.must_know_all(reader));
    }
}

#[test]
fn an_epoch_that_rose_between_two_parts_stops_no_reader() {
    let mut realm = realm();
    realm.revoke(MAX_FEED_PAGE + 1);
    realm.copy();
    realm.advance(Duration::from_secs(1));
    realm.raise_epoch();
    let mut reader = realm.source.copy();
    // The source's first part is newer than what the server has of the rest.
    realm.read_at_source(&mut reader);
    assert_eq!(realm.read_at_copy(&mut reader), Worth::News);
    realm.advance(Duration::from_secs(1));
    realm.copy();
    realm.must_know_all(reader);
}

#[test]
fn an_old_word_is_told_from_a_fresh_one() {
    let mut realm = realm();
    realm.copy();
    let mut reader = realm.source.copy();
    assert_eq!(realm.read_at_copy(&mut reader), Worth::News);
    assert_eq!(realm.read_at_copy(&mut reader), Worth::Fresh);
    realm.advance(HEAD_OLD - Duration::from_millis(1));
    assert_eq!(realm.read_at_copy(&mut reader), Worth::Fresh);
    realm.advance(Duration::from_millis(1));
    let heard = reader.at();
    assert_eq!(realm.read_at_copy(&mut reader), Worth::Old);
    assert_eq!(reader.at(), heard, "an old word makes nothing younger");
    realm.copy();
    assert_eq!(realm.read_at_copy(&mut reader), Worth::Fresh);
    assert_eq!(reader.at(), Some(realm.now()));
    // What comes late from another server that is behind takes the place of nothing.
    let late = realm.source.page(realm.copied.number());
    realm.advance(HEAD_INTERVAL);
    realm.copy();
    realm.pages.take(late, realm.now());
    assert_eq!(realm.pages.newest().map(|page| page.at()), Some(realm.now()));
}

#[test]
fn a_part_that_does_not_go_on_is_refused() {
    let mut realm = realm();
    realm.revoke(2 * MAX_FEED_PAGE);
    let mut reader = realm.source.copy();
    let first = realm.source.page(Serial(0));
    assert_eq!(reader.weigh(&first, Serial(0), realm.now()).expect("a page"), Worth::News);
    reader.apply(&first, realm.now()).expect("a page");
    let again = reader.weigh(&first, reader.number(), realm.now()).expect_err("the same part again");
    assert!(again.to_string().contains("does not go on"), "{again}");
    // Whoever asks from the beginning, to hand it on, is given the beginning.
    let rest = realm.source.page(reader.number());
    let gap = reader.weigh(&rest, Serial(0), realm.now()).expect_err("a gap");
    assert!(gap.to_string().contains("leaves something out"), "{gap}");
}
