//! Random operations against an obvious model, with reopening: whatever the store says, the model says.

use super::{assert_whole, cat, filled, found, list, owner, path, put_if, set_all, volume};
use crate::model::{FileKind, Manifest};
use crate::store::{Change, Conditions, Precondition, Store};
use std::collections::BTreeMap;
use terms::{Code, Digest, VolumePath};
use trust::Bucket;
use world::{Entropy, SimulatedEntropy, World};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    File(Vec<u8>),
    Directory,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    kind: Kind,
    list: Bucket,
}

/// The whole volume: objects by path.
struct Model(BTreeMap<String, Node>);

fn parent(at: &str) -> &str {
    at.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn root_of(node: Option<&Node>) -> Option<Digest> {
    match node.map(|node| &node.kind) {
        Some(Kind::File(bytes)) => Some(Manifest::of(bytes).expect("small").root()),
        _ => None,
    }
}

impl Model {
    fn allows(&self, at: &str, precondition: &Precondition) -> bool {
        let node = self.0.get(at);
        match precondition {
            Precondition::None => true,
            Precondition::Absent => node.is_none(),
            Precondition::Exists => node.is_some(),
            Precondition::OneOf(roots) => root_of(node).is_some_and(|root| roots.contains(&root)),
        }
    }

    /// Makes the directories above; says what stops it.
    fn make_above(&mut self, at: &str) -> Result<Bucket, Code> {
        let above = parent(at).to_string();
        match self.0.get(&above) {
            Some(Node { kind: Kind::Directory, list }) => Ok(list.clone()),
            Some(_) => Err(Code::Exists),
            None => {
                let list = self.make_above(&above)?;
                self.0.insert(above, Node { kind: Kind::Directory, list: list.clone() });
                Ok(list)
            }
        }
    }

    fn put(&mut self, at: &str, bytes: Vec<u8>, precondition: &Precondition) -> Result<(), Code> {
        if !self.allows(at, precondition) {
            return Err(Code::Conflict);
        }
        if at.is_empty() {
            return Err(Code::Invalid);
        }
        match self.0.get_mut(at) {
            Some(Node { kind: Kind::Directory, .. }) => return Err(Code::Exists),
            Some(node) => node.kind = Kind::File(bytes),
            None => {
                let list = self.make_above(at)?;
                self.0.insert(at.into(), Node { kind: Kind::File(bytes), list });
            }
        }
        Ok(())
    }

    fn make_directory(&mut self, at: &str) -> Result<(), Code> {
        if self.0.contains_key(at) {
            return Err(Code::Exists);
        }
        let list = self.make_above(at)?;
        self.0.insert(at.into(), Node { kind: Kind::Directory, list });
        Ok(())
    }

    fn remove(&mut self, at: &str) -> Result<(), Code> {
        if at.is_empty() {
            return Err(Code::Invalid);
        }
        if !self.0.contains_key(at) {
            return Err(Code::NotFound);
        }
        if self.0.keys().any(|other| !other.is_empty() && parent(other) == at) {
            return Err(Code::Exists);
        }
        self.0.remove(at);
        Ok(())
    }

    fn set_list(&mut self, at: &str, list: &Bucket, recursive: bool) -> Result<(), Code> {
        if !self.0.contains_key(at) {
            return Err(Code::NotFound);
        }
        let top = path(at);
        for (other, node) in &mut self.0 {
            if other == at || (recursive && path(other).below(&top).is_some()) {
                node.list = list.clone();
            }
        }
        Ok(())
    }
}

struct Run {
    model: Model,
    dice: SimulatedEntropy,
}

impl Run {
    fn below(&self, limit: u64) -> u64 {
        self.dice.number() % limit
    }

    fn path(&self) -> String {
        let depth = self.below(4);
        let parts: Vec<&str> =
            (0..depth).map(|_| ["a", "b", "c"][usize::try_from(self.below(3)).expect("small")]).collect();
        parts.join("/")
    }

    fn precondition(&self, at: &str) -> Precondition {
        match self.below(6) {
            0 => Precondition::Absent,
            1 => Precondition::Exists,
            2 => Precondition::OneOf(root_of(self.model.0.get(at)).into_iter().collect()),
            3 => Precondition::OneOf(vec![Digest::of(b"wrong")]),
            _ => Precondition::None,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let len = [0, 10, 16_384, 16_385, 1_100_000][usize::try_from(self.below(5)).expect("small")];
        filled(self.below(3), len)
    }

    async fn step(&mut self, store: &Store) {
        let at = self.path();
        let (said, expected) = match self.below(10) {
            0..=4 => {
                let (bytes, precondition) = (self.bytes(), self.precondition(&at));
                let said = put_if(store, &at, &bytes, Conditions::none().when(precondition.clone())).await;
                (said, self.model.put(&at, bytes, &precondition))
            }
            5 => {
                let change = Change::MakeDirectory { path: path(&at), parents: false };
                let above = self.model.0.contains_key(parent(&at));
                let said = store.apply(change, Conditions::none()).await;
                let through_file = self.through_file(&at);
                let expected = match (self.model.0.contains_key(&at), above, through_file) {
                    (false, false, false) => Err(Code::NotFound),
                    _ => self.model.make_directory(&at),
                };
                (said, expected)
            }
            6..=7 => {
                let said = store.apply(Change::Remove { path: path(&at) }, Conditions::none()).await;
                (said, self.model.remove(&at))
            }
            _ => {
                let (list, recursive) = (list(&format!("u{}", self.below(5))), self.below(2) == 0);
                let change = match recursive {
                    true => set_all(store, &at, &list).await,
                    false => Change::SetBucket { path: path(&at), bucket: list.clone() },
                };
                let said = store.apply(change, Conditions::none()).await;
                (said, self.model.set_list(&at, &list, recursive))
            }
        };
        assert_eq!(said.as_ref().map(|_| ()).map_err(|error| error.code()), expected, "at '{at}': {said:?}");
    }

    fn through_file(&self, at: &str) -> bool {
        let mut up = std::iter::successors(path(at).parent(), VolumePath::parent);
        up.any(|above| matches!(self.model.0.get(above.as_str()), Some(Node { kind: Kind::File(_), .. })))
    }

    async fn compare(&self, store: &Store) {
        for (at, node) in &self.model.0 {
            let object = found(store, at).await.unwrap_or_else(|| panic!("'{at}' is missing"));
            assert_eq!(object.bucket, node.list.hash(), "the list of '{at}'");
            match &node.kind {
                Kind::File(bytes) => assert_eq!(cat(store, at).await.as_ref(), Some(bytes), "'{at}'"),
                Kind::Directory => {
                    assert_eq!(object.entry.kind, FileKind::Directory);
                    let listing = store.list(&path(at), "").await.expect("lists");
                    let listed: Vec<_> =
                        listing.entries.iter().map(|entry| (entry.name.as_str(), entry.etag)).collect();
                    let children = self.model.0.iter().filter(|(p, _)| !p.is_empty() && parent(p) == at);
                    let expected: Vec<_> =
                        children.map(|(p, n)| (p.rsplit('/').next().unwrap_or(p), root_of(Some(n)))).collect();
                    assert_eq!(listed, expected, "the listing of '{at}'");
                }
            }
        }
        let report = store.fsck().await.expect("the check runs");
        assert_eq!((report.files + report.directories, report.orphans), (self.model.0.len() as u64, 0));
    }
}

async fn run(seed: u64, steps: u32) {
    println!("seed {seed}");
    let (world, _) = World::simulated(seed);
    let (dir, mut store) = volume(&world);
    let root = Node { kind: Kind::Directory, list: owner() };
    let mut run = Run { model: Model(BTreeMap::from([(String::new(), root)])), dice: SimulatedEntropy::new(seed) };
    for step in 0..steps {
        run.step(&store).await;
        if step % 50 == 49 {
            run.compare(&store).await;
            drop(store);
            store = Store::open(&dir.path().join("v"), world.clone()).expect("opens again");
            run.compare(&store).await;
        }
    }
    assert_whole(&store).await;
}

#[tokio::test]
async fn random_operations_agree_with_the_model() {
    for seed in 0..4 {
        run(seed, 100).await;
    }
}
