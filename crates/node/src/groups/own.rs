//! The groups whose list is held here: in memory, and each in a file of its own.

use crate::limits::MAX_OWN_GROUPS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use terms::{Code, Generation, GroupName, Problem, UnixMs, Who};
use trust::{Bucket, GroupChange, GroupList, Groups};

/// A group held here: its members, and who may see and change them.
#[derive(Clone)]
pub struct OwnGroup {
    /// The members.
    pub list: GroupList,
    /// The access list of the group itself.
    pub bucket: Bucket,
}

impl OwnGroup {
    /// A group without members, in the hands of nobody. Its versions begin with the time, so that none is older than
    /// those of a group of this name before it.
    pub fn new(group: &GroupName, now: UnixMs) -> Self {
        Self { list: GroupList::after(group.clone(), Generation(now.0)), bucket: Bucket::empty() }
    }

    pub(super) fn set(&mut self, member: &Who, term: Term, now: UnixMs) -> Result<GroupChange, Problem> {
        Ok(match term {
            Term::Until(end) => self.list.put(member.clone(), Some(end), now)?,
            Term::ForGood => self.list.put(member.clone(), None, now)?,
            Term::Out => self.list.remove(member),
        })
    }
}

/// For how long somebody is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// Until just before this time.
    Until(UnixMs),
    /// Until it is taken out.
    ForGood,
    /// No longer.
    Out,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    name: GroupName,
    version: Generation,
    members: BTreeMap<Who, Option<UnixMs>>,
    bucket: Bucket,
}

pub(super) struct Own {
    folder: PathBuf,
    lists: Groups,
    buckets: BTreeMap<GroupName, Bucket>,
}

pub(super) fn missing(group: &GroupName) -> Problem {
    Problem::new(Code::NotFound, format!("there is no {group}"))
        .next("`webos group list` shows the groups there are")
}

impl Own {
    pub(super) fn load(folder: PathBuf) -> Result<Self, Problem> {
        let (mut lists, mut buckets) = (Vec::new(), BTreeMap::new());
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "group") {
                continue;
            }
            let (list, bucket) = read(&path).map_err(|why| damaged(&path, &why))?;
            buckets.insert(list.name().clone(), bucket);
            lists.push(list);
        }
        let lists = Groups::holding(lists).map_err(|error| damaged(&folder, &error.to_string()))?;
        Ok(Self { folder, lists, buckets })
    }

    pub(super) fn list(&self, group: &GroupName) -> Option<&GroupList> {
        self.lists.get(group)
    }

    pub(super) fn lists(&self) -> impl Iterator<Item = &GroupList> {
        self.lists.iter()
    }

    pub(super) fn get(&self, group: &GroupName) -> Option<OwnGroup> {
        let (list, bucket) = (self.lists.get(group)?, self.buckets.get(group)?);
        Some(OwnGroup { list: list.clone(), bucket: bucket.clone() })
    }

    pub(super) fn all(&self) -> Vec<OwnGroup> {
        self.lists.iter().filter_map(|list| self.get(list.name())).collect()
    }

    pub(super) fn file(&self, group: &GroupName) -> PathBuf {
        self.folder.join(format!("{}.group", group.name))
    }

    pub(super) fn check(&self, new: &OwnGroup) -> Result<(), Problem> {
        if self.lists.get(new.list.name()).is_none() && self.lists.len() >= MAX_OWN_GROUPS {
            return Err(Problem::new(Code::TooLarge, format!("a realm has at most {MAX_OWN_GROUPS} groups"))
                .next("delete one that is not needed"));
        }
        Ok(self.lists.check(&new.list)?)
    }

    pub(super) fn keep(&mut self, new: OwnGroup) -> Result<(), Problem> {
        let name = new.list.name().clone();
        self.lists.put(new.list)?;
        self.buckets.insert(name, new.bucket);
        Ok(())
    }

    pub(super) fn forget(&mut self, group: &GroupName) {
        self.lists.remove(group);
        self.buckets.remove(group);
    }
}

fn damaged(path: &Path, why: &str) -> Problem {
    Problem::new(Code::Internal, format!("{} is damaged: {why}", path.display())).next("restore it from a copy")
}

fn read(path: &Path) -> Result<(GroupList, Bucket), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let stored: Stored = wire::cbor::from_slice(&bytes).map_err(|problem| problem.detail)?;
    let list = GroupList::from_parts(stored.name, stored.version, stored.members);
    Ok((list.map_err(|error| error.to_string())?, stored.bucket))
}

pub(super) fn write(path: &Path, group: &OwnGroup) -> Result<(), Problem> {
    let stored = Stored {
        name: group.list.name().clone(),
        version: group.list.version(),
        members: group.list.members().clone(),
        bucket: group.bucket.clone(),
    };
    client::durable::replace(path, &wire::cbor::to_vec(&stored))
}

pub(super) fn remove(path: &Path) -> Result<(), Problem> {
    let failed =
        |error: std::io::Error| Problem::new(Code::Internal, format!("cannot remove {}: {error}", path.display()));
    fs::remove_file(path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}
