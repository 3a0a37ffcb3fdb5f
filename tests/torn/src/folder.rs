//! A folder's names: what is durable, and what was done since.

use crate::disk::Inode;
use crate::power::Luck;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

/// One change of names. A rename is one change: it survives whole or not at all.
#[derive(Debug, Clone)]
enum Change {
    Put(OsString, Inode),
    Remove(OsString),
    Rename(OsString, OsString),
}

impl Change {
    fn names(&self) -> Vec<&OsString> {
        match self {
            Self::Put(name, _) | Self::Remove(name) => vec![name],
            Self::Rename(from, to) => vec![from, to],
        }
    }

    fn make(&self, names: &mut BTreeMap<OsString, Inode>) {
        match self {
            Self::Put(name, inode) => drop(names.insert(name.clone(), *inode)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

/// A folder as processes see it, over a folder as the disk has it.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    names: BTreeMap<OsString, Inode>,
    durable: BTreeMap<OsString, Inode>,
    pending: Vec<Change>,
}

impl Folder {
    pub(crate) fn get(&self, name: &OsStr) -> Option<Inode> {
        self.names.get(name).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = (&OsString, Inode)> {
        self.names.iter().map(|(name, inode)| (name, *inode))
    }

    pub(crate) fn put(&mut self, name: &OsStr, inode: Inode) {
        self.change(Change::Put(name.into(), inode));
    }

    pub(crate) fn remove(&mut self, name: &OsStr) {
        self.change(Change::Remove(name.into()));
    }

    pub(crate) fn rename(&mut self, from: &OsStr, to: &OsStr) {
        self.change(Change::Rename(from.into(), to.into()));
    }

    fn change(&mut self, change: Change) {
        change.make(&mut self.names);
        self.pending.push(change);
    }

    pub(crate) fn sync(&mut self) {
        self.durable = self.names.clone();
        self.pending.clear();
    }

    /// What the disk holds after the luck. Changes of one name keep their order, and one that survives has those
    /// before it; changes of different names know nothing of each other, except on a disk that logs them.
    pub(crate) fn survive(self, luck: &Luck<'_>) -> Self {
        let Self { mut durable, pending, .. } = self;
        let logged = luck.keeps_order();
        let mut lost: BTreeSet<&OsString> = BTreeSet::new();
        for change in &pending {
            let names = change.names();
            if names.iter().any(|name| lost.contains(name)) || !luck.keeps() {
                if logged {
                    break;
                }
                lost.extend(names);
            } else {
                change.make(&mut durable);
            }
        }
        Self { names: durable.clone(), durable, pending: Vec::new() }
    }
}
