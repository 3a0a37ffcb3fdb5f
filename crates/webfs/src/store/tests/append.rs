//! Appends against an obvious model, with other policies in between, and what they write.

use super::policies::set;
use super::{assert_whole, cat, code, content, filled, found, path, put, volume};
use crate::limits::{BLOCK_BYTES, MAX_APPEND_BYTES};
use crate::model::{Manifest, Policy};
use crate::store::{Change, Conditions, Object, Outcome, Store, StoreError};
use bytes::Bytes;
use futures_util::future::join_all;
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;
use terms::{Code, OperationId, SessionId};
use world::{Entropy, SimulatedEntropy, World};

fn change(store: &Store, at: &str, bytes: &[u8]) -> Change {
    let append = store.append(&path(at), Bytes::copy_from_slice(bytes));
    Change::Append { append, may_create: true, may_append: true }
}

async fn append(store: &Store, at: &str, bytes: &[u8]) -> Result<Outcome, StoreError> {
    store.apply(change(store, at, bytes), Conditions::none()).await
}

fn rows(store: &Store, table: &str) -> i64 {
    let database = Connection::open(store.dir().join("volume.db")).expect("opens");
    database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("counted")
}

#[tokio::test]
async fn an_append_is_placed_at_the_end_and_told_where() {
    let (_dir, store) = volume(&World::real());
    let made = append(&store, "l", b"one\n").await.expect("made");
    assert_eq!((made.offset, made.created, made.entry.expect("a file").size), (Some(0), true, 4));
    assert!(matches!(append(&store, "l", b"two\n").await, Err(StoreError::Moved { .. })), "it is no log");
    set(&store, "l", Policy::Log, false).await.expect("set");
    let before = store.touched(&change(&store, "l", b"x")).await.expect("looked at");
    assert!(before.objects.is_empty() && before.subtrees.is_empty(), "nothing is recalled");
    let directory = found(&store, "").await.expect("there").entry.version;
    let second = append(&store, "l", b"two\n").await.expect("appended");
    assert_eq!((second.offset, second.created), (Some(4), false));
    assert_eq!(found(&store, "").await.expect("there").entry.version, directory, "listings stay what they are");
    assert_eq!(cat(&store, "l").await.as_deref(), Some(&b"one\ntwo\n"[..]));
    assert_eq!(second.entry.expect("a file").etag, Some(Manifest::of(b"one\ntwo\n").expect("small").root()));
    let only_create = Change::Append {
        append: store.append(&path("l"), Bytes::from_static(b"x")),
        may_create: true,
        may_append: false,
    };
    assert_eq!(code(store.apply(only_create, Conditions::none()).await), Some(Code::Denied));
    let no_create = Change::Append {
        append: store.append(&path("m"), Bytes::from_static(b"x")),
        may_create: false,
        may_append: true,
    };
    assert_eq!(code(store.apply(no_create, Conditions::none()).await), Some(Code::Denied));
    assert_eq!(code(append(&store, "no/such", b"x").await), Some(Code::NotFound));
    assert_eq!(code(append(&store, "", b"x").await), Some(Code::Invalid));
    assert_whole(&store).await;
}

#[tokio::test]
async fn a_retried_append_is_told_the_first_place() {
    let (_dir, store) = volume(&World::real());
    set(&store, "", Policy::Log, false).await.expect("set");
    append(&store, "l", b"0").await.expect("made");
    let under = |sequence| Conditions::none().operation(OperationId { session: SessionId([1; 16]), sequence });
    let first = store.apply(change(&store, "l", b"line\n"), under(1)).await.expect("appended");
    append(&store, "l", b"between\n").await.expect("appended");
    let again = store.apply(change(&store, "l", b"line\n"), under(1)).await.expect("told again");
    assert_eq!((again.offset, again.replayed, first.replayed), (first.offset, true, false));
    let other = store.apply(change(&store, "l", b"other\n"), under(1)).await;
    assert!(matches!(other, Err(StoreError::OperationReused { .. })));
    assert_eq!(cat(&store, "l").await.as_deref(), Some(&b"0line\nbetween\n"[..]));
}

/// Ten thousand small appends: each byte is written once as a piece, and only the present end has rows.
#[tokio::test]
async fn ten_thousand_appends_are_in_one_order_and_leave_only_what_is_there() {
    let (_dir, store) = volume(&World::real());
    set(&store, "", Policy::Log, false).await.expect("set");
    append(&store, "l", b"begin\n").await.expect("made");
    let mut lines = Vec::new();
    for start in (0..10_000).step_by(500) {
        let text = |index: usize| format!("{index:0>119}\n");
        let outcomes = join_all((start..start + 500).map(|index| {
            let store = store.clone();
            async move { append(&store, "l", text(index).as_bytes()).await.expect("appended") }
        }));
        let outcomes = outcomes.await;
        lines.extend(
            (start..start + 500).zip(outcomes).map(|(index, done)| (done.offset.expect("told"), text(index))),
        );
    }
    let all = cat(&store, "l").await.expect("there");
    assert_eq!(all.len(), 6 + 10_000 * 120);
    for (offset, text) in lines {
        let offset = usize::try_from(offset).expect("small");
        assert_eq!(&all[offset..offset + text.len()], text.as_bytes());
    }
    assert_eq!((rows(&store, "content"), rows(&store, "block")), (1, 2));
    let beyond = all.len() - usize::try_from(BLOCK_BYTES).expect("small");
    assert!(rows(&store, "piece") as usize <= beyond / 120 + 1, "the full block lies in a file");
    assert_whole(&store).await;
}

fn below(dice: &SimulatedEntropy, end: u64) -> u64 {
    let mut bytes = [0; 8];
    dice.fill(&mut bytes);
    u64::from_le_bytes(bytes) % end
}

struct Scene {
    store: Store,
    model: Vec<u8>,
    /// Versions that somebody opened, with what was in them.
    open: Vec<(Arc<Object>, Vec<u8>)>,
}

impl Scene {
    async fn step(&mut self, dice: &SimulatedEntropy) {
        let log = found(&self.store, "l").await.is_some_and(|object| object.entry.policy == Policy::Log);
        let len = [1, 100, 5_000, 40_000, MAX_APPEND_BYTES][below(dice, 5) as usize];
        let bytes = if below(dice, 4) == 0 { vec![0; len] } else { filled(below(dice, 1 << 30), len) };
        match below(dice, 12) {
            0 => set(&self.store, "l", if log { Policy::Cto } else { Policy::Log }, false).await.expect("set"),
            1 if !log => {
                let at = below(dice, self.model.len() as u64 + 1) as usize;
                let object = found(&self.store, "l").await.expect("there");
                let mut patch = self.store.patch(object, at as u64).await.expect("begun");
                patch.write(bytes.clone().into()).await.expect("taken");
                let patch = patch.finish().await.expect("made");
                self.store.apply(Change::Patch(patch), Conditions::none()).await.expect("changed");
                let end = (at + bytes.len()).max(self.model.len());
                self.model.resize(end, 0);
                self.model[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            2 if !log => {
                let size = below(dice, self.model.len() as u64 + 1);
                let object = found(&self.store, "l").await.expect("there");
                let shorter = self.store.resize(&object, size).await.expect("made");
                self.store.apply(Change::Patch(shorter), Conditions::none()).await.expect("cut");
                self.model.truncate(size as usize);
            }
            3 if !log => {
                put(&self.store, "l", &bytes).await.expect("stored");
                self.model = bytes;
            }
            4 => {
                let object = found(&self.store, "l").await.expect("there");
                self.open.push((object, self.model.clone()));
            }
            5 => drop(self.store.collect().await.expect("collected")),
            _ if log => {
                let done = append(&self.store, "l", &bytes).await.expect("appended");
                assert_eq!(done.offset, Some(self.model.len() as u64));
                self.model.extend_from_slice(&bytes);
            }
            _ => {
                let object = found(&self.store, "l").await.expect("there");
                let patch = self.store.append_to(object, bytes.clone().into()).await.expect("made");
                let done = self.store.apply(Change::Patch(patch), Conditions::none()).await.expect("appended");
                assert_eq!(done.offset, Some(self.model.len() as u64));
                self.model.extend_from_slice(&bytes);
            }
        }
    }

    async fn check(&self) {
        let object = found(&self.store, "l").await.expect("there");
        let expected = Manifest::of(&self.model).expect("small").root();
        assert_eq!(object.entry.etag, Some(expected), "equal content has an equal root however it was written");
        assert!(content(&self.store, &object).await.expect("readable") == self.model, "its bytes are the model's");
        for (object, bytes) in &self.open {
            match content(&self.store, object).await {
                Ok(read) => assert!(read == *bytes, "an open version is what it was"),
                Err(error) => assert!(matches!(error, StoreError::Gone { .. }), "{error}"),
            }
        }
    }
}

#[tokio::test]
async fn random_appends_and_policies_agree_with_the_model() {
    for seed in 0..6 {
        println!("seed {seed}");
        let dice = SimulatedEntropy::new(seed);
        let (world, driver) = World::simulated(seed);
        let (dir, store) = volume(&world);
        put(&store, "l", b"").await.expect("made");
        set(&store, "l", Policy::Log, false).await.expect("set");
        let mut scene = Scene { store, model: Vec::new(), open: Vec::new() };
        for step in 0..150 {
            scene.step(&dice).await;
            if step % 10 == 0 {
                scene.check().await;
            }
            if below(&dice, 30) == 0 {
                driver.advance(Duration::from_secs(3_700));
            }
            if step % 50 == 49 {
                assert_whole(&scene.store).await;
                scene.open.clear();
                let Scene { store, model, open } = scene;
                drop(store);
                let store = Store::open(&dir.path().join("v"), world.clone()).expect("opened again");
                scene = Scene { store, model, open };
            }
        }
        scene.check().await;
        let remove = Change::Remove { path: path("l") };
        scene.store.apply(remove, Conditions::none()).await.expect("removed");
        driver.advance(Duration::from_secs(7_400));
        scene.store.collect().await.expect("collected");
        assert_eq!((rows(&scene.store, "piece"), rows(&scene.store, "block")), (0, 0));
    }
}

#[tokio::test]
async fn an_append_that_failed_is_not_in_the_next_ones_hash() {
    let (_dir, store) = volume(&World::real());
    set(&store, "", Policy::Log, false).await.expect("set");
    append(&store, "l", b"begin").await.expect("made");
    let limit = |pages: i64| {
        store.write(move |database, _| {
            database
                .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
                .map_err(|error| StoreError::database("limiting", error))
        })
    };
    limit(1).await.expect("limited");
    let mut expected = b"begin".to_vec();
    let refused = loop {
        let bytes = filled(expected.len() as u64, 5_000);
        match append(&store, "l", &bytes).await {
            Ok(_) => expected.extend_from_slice(&bytes),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code(), Code::NoSpace, "{refused}");
    limit(1 << 30).await.expect("a larger disk");
    let other = filled(77, 5_000);
    append(&store, "l", &other).await.expect("appended");
    expected.extend_from_slice(&other);
    assert!(cat(&store, "l").await.expect("there") == expected);
    assert_whole(&store).await;
}

/// While nothing but appends happens, each opened version stays readable, also when its end has become a full block.
#[tokio::test]
async fn what_was_opened_stays_a_prefix_of_the_log() {
    let (_dir, store) = volume(&World::real());
    set(&store, "", Policy::Log, false).await.expect("set");
    let mut expected = Vec::new();
    let mut open = Vec::new();
    for index in 0..40u64 {
        let bytes = filled(index, 60_000);
        append(&store, "l", &bytes).await.expect("appended");
        expected.extend_from_slice(&bytes);
        open.push((found(&store, "l").await.expect("there"), expected.len()));
    }
    for (object, len) in open {
        assert!(content(&store, &object).await.expect("readable") == expected[..len]);
    }
}

/// What an append of 100 bytes writes to disk, at the beginning and in the middle of a block.
#[tokio::test]
#[ignore = "ten thousand synced appends one by one; prints figures"]
async fn what_an_append_writes() {
    let (_dir, store) = volume(&World::real());
    set(&store, "", Policy::Log, false).await.expect("set");
    append(&store, "l", b"x").await.expect("made");
    let written = || {
        let io = std::fs::read_to_string("/proc/self/io").expect("told");
        io.lines()
            .find_map(|line| line.strip_prefix("wchar: "))
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
    };
    for round in 0..10 {
        let before = written();
        for _ in 0..1_000 {
            append(&store, "l", &[7; 100]).await.expect("appended");
        }
        let per = (written() - before) / 1_000;
        println!("appends {round}000 to {}000: {per} bytes each", round + 1);
    }
}
