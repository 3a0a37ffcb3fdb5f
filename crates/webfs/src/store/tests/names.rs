//! Names apart from nodes: moves, links and further names against an obvious model. No path ever shows a lower version
//! than before, and who was not recalled sees no change.

use super::{assert_whole, code, content, found, path, prepare, put, volume};
use crate::gate::Touched;
use crate::model::{FileKind, ObjectVersion};
use crate::store::{Change, Conditions, Lookup, Put, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use terms::{Code, VolumePath};
use world::{Entropy, SimulatedEntropy, World};

fn rename(from: &str, to: &str) -> Change {
    Change::Rename { from: path(from), to: path(to), replace: true }
}

fn link(from: &str, to: &str) -> Change {
    Change::Link { from: path(from), to: path(to) }
}

async fn text(store: &Store, at: &str) -> Option<String> {
    let object = found(store, at).await?;
    match object.entry.kind {
        FileKind::File => Some(String::from_utf8(content(store, &object).await.expect("readable")).expect("text")),
        FileKind::Directory => Some("/".into()),
        FileKind::Link => object.target().map(|target| format!("-> {target}")),
    }
}

#[tokio::test]
async fn moves_by_cases() {
    let (_dir, store) = volume(&World::real());
    for at in ["d/a", "d/b", "e/c", "f"] {
        put(&store, at, at.as_bytes()).await.expect("stored");
    }
    store
        .apply(Change::MakeDirectory { path: path("empty"), parents: false }, Conditions::none())
        .await
        .expect("made");
    for (from, to, expected) in [
        ("gone", "x", Some(Code::NotFound)),
        ("d", "d/below", Some(Code::Invalid)),
        ("", "x", Some(Code::Invalid)),
        ("f", "", Some(Code::Invalid)),
        ("f", "no/such", Some(Code::NotFound)),
        ("f", "d", Some(Code::Exists)),
        ("d", "f", Some(Code::Exists)),
        ("d", "e", Some(Code::Exists)),
        ("f", "f", None),
        ("f", "d/a", None),
        ("d", "empty", None),
        ("empty/a", "e/a", None),
    ] {
        assert_eq!(code(store.apply(rename(from, to), Conditions::none()).await), expected, "{from} -> {to}");
    }
    for (at, expected) in
        [("e/a", Some("f")), ("empty/b", Some("d/b")), ("d", None), ("f", None), ("empty/a", None)]
    {
        assert_eq!(text(&store, at).await.as_deref(), expected, "{at}");
    }
    let kept = Change::Rename { from: path("e/a"), to: path("e/c"), replace: false };
    assert_eq!(code(store.apply(kept, Conditions::none()).await), Some(Code::Exists));
    assert_whole(&store).await;
}

#[tokio::test]
async fn a_file_lives_until_its_last_name_goes_and_all_names_are_recalled() {
    let (_dir, store) = volume(&World::real());
    for at in ["d/a", "e/x"] {
        put(&store, at, b"one").await.expect("stored");
    }
    store.apply(link("d/a", "e/b"), Conditions::none()).await.expect("linked");
    assert_eq!(code(store.apply(link("d/a", "e/x"), Conditions::none()).await), Some(Code::Exists));
    assert_eq!(code(store.apply(link("d", "e/d"), Conditions::none()).await), Some(Code::Exists));
    let two = || async {
        let content = prepare(&store, b"two").await;
        Change::Put(Put { path: path("e/b"), content, parents: false, may_create: false, may_replace: true })
    };
    let touched = store.touched(&two().await).await.expect("looked");
    assert_eq!(touched, Touched::objects(["d", "d/a", "e", "e/b"].map(path)));
    let partly = Conditions { recalled: Touched::objects([path("e"), path("e/b")]), ..Conditions::none() };
    assert!(matches!(store.apply(two().await, partly).await, Err(StoreError::Moved { .. })));
    store.apply(two().await, Conditions::none()).await.expect("stored");
    assert_eq!(text(&store, "d/a").await.as_deref(), Some("two"));
    store.apply(Change::Remove { path: path("d/a") }, Conditions::none()).await.expect("removed");
    assert_eq!((text(&store, "d/a").await, text(&store, "e/b").await.as_deref()), (None, Some("two")));
    store.apply(Change::Remove { path: path("e/b") }, Conditions::none()).await.expect("removed");
    assert_whole(&store).await;
}

#[tokio::test]
async fn a_symbolic_link_is_told_and_never_leads_out() {
    let (_dir, store) = volume(&World::real());
    put(&store, "d/a", b"x").await.expect("stored");
    let make = |at: &str, target: &str| Change::MakeLink { path: path(at), target: target.into() };
    for (at, target, expected) in [
        ("d/l", "../d", None),
        ("d/l", "a", Some(Code::Exists)),
        ("m", "../x", Some(Code::Invalid)),
        ("m", "d/gone", None),
    ] {
        assert_eq!(code(store.apply(make(at, target), Conditions::none()).await), expected, "{at} -> {target}");
    }
    assert_eq!(text(&store, "d/l").await.as_deref(), Some("-> ../d"));
    let Lookup::Missing(missing) = store.lookup(&path("d/l/a")).await.expect("looked") else { panic!("followed") };
    assert_eq!((missing.nearest, missing.target.as_deref()), (path("d/l"), Some("../d")));
    assert_eq!(code(put(&store, "m", b"through").await), Some(Code::Exists));
    assert_eq!(code(put(&store, "d/l/b", b"through").await), Some(Code::Exists));
    let listed = store.list(&path("d"), "").await.expect("listed").entries;
    assert_eq!(listed[1].target.as_deref(), Some("../d"));
    assert_whole(&store).await;
}

/// What stands where: paths to nodes, and what nodes hold; nothing for a directory.
#[derive(Default)]
struct Model {
    names: BTreeMap<VolumePath, u64>,
    files: BTreeMap<u64, Option<String>>,
    next: u64,
}

impl Model {
    fn is_directory(&self, at: &VolumePath) -> bool {
        at.is_root() || self.names.get(at).is_some_and(|node| self.files[node].is_none())
    }

    fn has_children(&self, at: &VolumePath) -> bool {
        self.names.keys().any(|other| other != at && other.is_below(at))
    }

    fn free(&self, at: &VolumePath) -> bool {
        !at.is_root()
            && !self.names.contains_key(at)
            && at.parent().is_some_and(|parent| self.is_directory(&parent))
    }

    fn make(&mut self, at: VolumePath, what: Option<String>) {
        self.next += 1;
        self.names.insert(at, self.next);
        self.files.insert(self.next, what);
    }

    fn put(&mut self, at: &VolumePath, text: String) -> bool {
        if self.free(at) {
            self.make(at.clone(), Some(text));
            return true;
        }
        let Some(node) = self.names.get(at).filter(|node| self.files[node].is_some()) else { return false };
        self.files.insert(*node, Some(text));
        true
    }

    fn remove(&mut self, at: &VolumePath) -> bool {
        !self.has_children(at) && self.names.remove(at).is_some()
    }

    fn link(&mut self, from: &VolumePath, to: &VolumePath) -> bool {
        let Some(node) = self.names.get(from).copied().filter(|_| !self.is_directory(from)) else { return false };
        self.free(to) && self.names.insert(to.clone(), node).is_none()
    }

    fn rename(&mut self, from: &VolumePath, to: &VolumePath) -> bool {
        let Some(node) = self.names.get(from).copied() else { return false };
        if to.is_root() || (to != from && to.is_below(from)) {
            return false;
        }
        if self.names.get(to) == Some(&node) {
            return true;
        }
        let fits = match self.names.get(to) {
            None => self.free(to),
            Some(_) => self.is_directory(from) == self.is_directory(to) && !self.has_children(to),
        };
        if !fits {
            return false;
        }
        let moved: Vec<_> = self.names.keys().filter(|at| at.is_below(from)).cloned().collect();
        for at in moved {
            let (node, below) = (self.names.remove(&at), at.below(from).expect("below"));
            self.names.insert(to.under(&below).expect("short"), node.expect("there"));
        }
        true
    }
}

struct Run {
    store: Store,
    model: Model,
    dice: SimulatedEntropy,
    seen: BTreeMap<VolumePath, ObjectVersion>,
    shown: BTreeMap<VolumePath, (ObjectVersion, Option<String>)>,
}

impl Run {
    fn path(&self) -> VolumePath {
        let depth = 1 + self.dice.number() % 3;
        let names = (0..depth).map(|_| ["a", "b", "c"][usize::try_from(self.dice.number() % 3).expect("small")]);
        path(&names.collect::<Vec<_>>().join("/"))
    }

    async fn step(&mut self, step: u32) {
        let (at, to, text) = (self.path(), self.path(), format!("content {step}"));
        let (change, fits) = match self.dice.number() % 8 {
            0 | 1 => {
                let content = prepare(&self.store, text.as_bytes()).await;
                let put = Put { path: at.clone(), content, parents: false, may_create: true, may_replace: true };
                (Change::Put(put), self.model.put(&at, text))
            }
            2 | 3 => {
                let fits = self.model.free(&at);
                if fits {
                    self.model.make(at.clone(), None);
                }
                (Change::MakeDirectory { path: at, parents: false }, fits)
            }
            4 => (Change::Remove { path: at.clone() }, self.model.remove(&at)),
            5 => (link(at.as_str(), to.as_str()), self.model.link(&at, &to)),
            _ => (rename(at.as_str(), to.as_str()), self.model.rename(&at, &to)),
        };
        let described = format!("{change:?}");
        let touched = self.store.touched(&change).await.expect("looked");
        let conditions = Conditions { recalled: touched.clone(), ..Conditions::none() };
        let said = self.store.apply(change, conditions).await;
        assert_eq!(said.is_ok(), fits, "{described}: {said:?}");
        self.compare(&touched, &described).await;
    }

    async fn compare(&mut self, touched: &Touched, described: &str) {
        let paths: BTreeSet<_> = self.model.names.keys().chain(self.shown.keys()).cloned().collect();
        let mut shown = BTreeMap::new();
        for at in paths {
            let expected =
                self.model.names.get(&at).map(|node| self.model.files[node].clone().unwrap_or("/".into()));
            let present = text(&self.store, at.as_str()).await;
            assert_eq!(present, expected, "'{at}' after {described}");
            if let Some(object) = found(&self.store, at.as_str()).await {
                let seen = self.seen.insert(at.clone(), object.entry.version).unwrap_or_default();
                assert!(seen <= object.entry.version, "'{at}' goes back after {described}");
                shown.insert(at, (object.entry.version, present));
            }
        }
        for at in self.shown.keys().chain(shown.keys()).filter(|at| !touched.covers(at)) {
            assert_eq!(self.shown.get(at), shown.get(at), "'{at}' changed without a recall by {described}");
        }
        self.shown = shown;
    }
}

#[tokio::test]
async fn random_moves_agree_with_the_model() {
    for seed in 0..6 {
        println!("seed {seed}");
        let (world, _) = World::simulated(seed);
        let (_dir, store) = volume(&world);
        let dice = SimulatedEntropy::new(seed);
        let (model, seen, shown) = (Model::default(), BTreeMap::new(), BTreeMap::new());
        let mut run = Run { store, model, dice, seen, shown };
        for step in 0..150 {
            run.step(step).await;
        }
        assert_whole(&run.store).await;
        let report = run.store.fsck().await.expect("checked");
        let nodes: BTreeSet<_> = run.model.names.values().collect();
        assert_eq!((report.files + report.directories, report.orphans), (nodes.len() as u64 + 1, 0));
    }
}
