//! Folders and all below them, in as few answers as they fit into. Whatever the home answers, a walk goes forward and
//! ends: each answer shows at least one folder that is open, each name once and behind those before it.

use crate::Volume;
use crate::limits::{MAX_LISTED, MAX_LOOK_ANSWER_BYTES};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use terms::{Code, Problem, VolumePath};
use webfs::limits::MAX_LOOK_FOLDERS;
use webfs::model::{DirEntry, FileKind, Listing, Manifest};
use webfs::protocol::{LOOK_ROUTE, Look, LookReply, Page};

/// An object of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// Its path.
    pub path: VolumePath,
    /// What its folder says of it.
    pub entry: DirEntry,
}

/// What one answer shows of a tree: a folder comes no later than what lies in it.
#[derive(Debug, Default)]
pub struct Stretch {
    /// Objects, without the top itself.
    pub objects: Vec<Below>,
    /// The checked content of small files among them, if it was asked for.
    pub contents: BTreeMap<VolumePath, Bytes>,
    /// Folders that are not shown, and why.
    pub hidden: Vec<(VolumePath, Problem)>,
}

/// A walk through a folder and all below it.
pub struct Walk<'a> {
    volume: &'a Volume,
    contents: bool,
    open: Open,
}

impl Volume {
    /// Begins to walk through a folder and all below it; with the content of small files if asked for.
    pub fn walk(&self, top: &VolumePath, contents: bool) -> Walk<'_> {
        Walk { volume: self, contents, open: Open::new(top) }
    }

    /// All that a walk shows, without contents, in the order of the paths. A top that may not be shown is an error.
    pub async fn tree(&self, top: &VolumePath) -> Result<Stretch, Problem> {
        let (mut walk, mut tree) = (self.walk(top, false), Stretch::default());
        while let Some(more) = walk.next().await? {
            tree.objects.extend(more.objects);
            tree.hidden.extend(more.hidden);
        }
        match tree.hidden.iter().position(|(path, _)| path == top) {
            Some(at) => Err(tree.hidden.swap_remove(at).1),
            None => {
                tree.objects.sort_by(|one, other| one.path.cmp(&other.path));
                Ok(tree)
            }
        }
    }
}

impl Walk<'_> {
    /// What the next answer shows; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Stretch>, Problem> {
        let folders = self.open.ask();
        if folders.is_empty() {
            return Ok(None);
        }
        let look = Look { folders: folders.clone(), deep: true, contents: self.contents };
        let route = format!("{LOOK_ROUTE}/{}", self.volume.name());
        let until = self.volume.follows_until();
        let reply: LookReply = loop {
            match self.volume.node().post_bounded(&route, &look, MAX_LOOK_ANSWER_BYTES).await {
                Err(problem) if problem.code == Code::Moved && self.volume.go_after(until).await => {}
                answer => break answer?,
            }
        };
        let odd = |what: String| {
            Problem::new(Code::Invalid, format!("{} {what}", self.volume.node().principal()))
                .next("ask who keeps the volume's home")
        };
        let LookReply { pages, files } = reply;
        let mut stretch = self.open.take(folders, pages).map_err(odd)?;
        if self.open.seen > MAX_LISTED {
            let what = format!("there are more than {MAX_LISTED} objects in {}", self.volume.name());
            return Err(Problem::new(Code::TooLarge, what).next("look at its folders one by one"));
        }
        let shown: BTreeSet<_> = stretch.objects.iter().map(|below| &below.path).collect();
        for file in files {
            let statement = self.volume.statement(&file.path, &file.manifest)?;
            if !shown.contains(&file.path)
                || !Manifest::of(&file.content).is_ok_and(|found| found.root() == statement.root)
            {
                return Err(odd("sends content that it did not sign, or was not asked for".into()));
            }
            stretch.contents.insert(file.path, file.content.into());
        }
        Ok(Some(stretch))
    }
}

/// The folders that a walk has still to be shown, each with the name after which.
struct Open {
    wanted: VecDeque<(VolumePath, String)>,
    /// Objects shown: count.
    seen: usize,
}

impl Open {
    fn new(top: &VolumePath) -> Self {
        Self { wanted: VecDeque::from([(top.clone(), String::new())]), seen: 0 }
    }

    /// The next folders to ask for.
    fn ask(&mut self) -> Vec<(VolumePath, String)> {
        self.wanted.drain(..self.wanted.len().min(MAX_LOOK_FOLDERS)).collect()
    }

    /// Takes an answer; says what is wrong with it.
    fn take(&mut self, asked: Vec<(VolumePath, String)>, pages: Vec<Page>) -> Result<Stretch, String> {
        if pages.is_empty() {
            return Err("shows nothing of what it was asked for".into());
        }
        // What may be shown: what was asked for, and what the pages themselves name.
        let mut open: BTreeMap<VolumePath, String> = asked.into_iter().collect();
        let mut stretch = Stretch::default();
        for Page { path, listing } in pages {
            let after = open.remove(&path).ok_or("shows a folder twice, or unasked")?;
            match listing {
                Ok(listing) => self.list(path, &after, listing, &mut open, &mut stretch)?,
                Err(problem) => stretch.hidden.push((path, problem)),
            }
        }
        self.wanted.extend(open);
        Ok(stretch)
    }

    fn list(
        &mut self,
        path: VolumePath,
        after: &str,
        listing: Listing,
        open: &mut BTreeMap<VolumePath, String>,
        stretch: &mut Stretch,
    ) -> Result<(), String> {
        let names = || listing.entries.iter().map(|entry| entry.name.as_str());
        let rises =
            names().is_sorted_by(|one, next| one < next) && names().next().is_none_or(|first| first > after);
        if !rises || (listing.more && listing.entries.is_empty()) {
            return Err("lists a folder in no order".into());
        }
        if let Some(last) = names().next_back().filter(|_| listing.more) {
            self.wanted.push_back((path.clone(), last.to_string()));
        }
        self.seen += listing.entries.len();
        for entry in listing.entries {
            // A name that would lead elsewhere is refused here.
            let below = path.join(&entry.name).map_err(|error| error.to_string())?;
            if entry.kind == FileKind::Directory {
                open.insert(below.clone(), String::new());
            }
            stretch.objects.push(Below { path: below, entry });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use terms::UnixMs;
    use webfs::model::Policy;

    fn path(text: &str) -> VolumePath {
        VolumePath::new(text).expect("valid")
    }

    /// A page of a folder: names with `/` at the end are folders, one of `...` says that there are more.
    fn page(at: &str, names: &[&str]) -> Page {
        let entry = |name: &&str| DirEntry {
            name: name.trim_end_matches('/').into(),
            kind: if name.ends_with('/') { FileKind::Directory } else { FileKind::File },
            size: 0,
            etag: None,
            modified: UnixMs(0),
            target: None,
            policy: Policy::default(),
        };
        let more = names.last() == Some(&"...");
        let entries = names.iter().filter(|name| **name != "...").map(entry).collect();
        Page { path: path(at), listing: Ok(Listing { entries, more }) }
    }

    fn hidden(at: &str) -> Page {
        Page { path: path(at), listing: Err(Problem::new(Code::Denied, "no")) }
    }

    #[test]
    fn a_walk_asks_for_what_was_not_shown_and_ends() {
        let mut open = Open::new(&path("t"));
        for (asked, pages, shown) in [
            (vec![("t", "")], vec![page("t", &["a/", "b", "..."])], 2),
            (
                vec![("t", "b"), ("t/a", "")],
                vec![page("t", &["c/"]), page("t/a", &[]), page("t/c", &["x", "y/"])],
                3,
            ),
            (vec![("t/c/y", "")], vec![hidden("t/c/y")], 0),
            (vec![], vec![], 0),
        ] {
            let folders = open.ask();
            assert_eq!(folders, asked.iter().map(|(at, after)| (path(at), after.to_string())).collect::<Vec<_>>());
            if !folders.is_empty() {
                assert_eq!(open.take(folders, pages).expect("in order").objects.len(), shown);
            }
        }
        assert_eq!(open.seen, 5);
    }

    #[test]
    fn a_home_that_leads_in_circles_is_refused() {
        for (pages, why) in [
            (vec![], "shows nothing"),
            (vec![page("other", &["x"])], "unasked"),
            (vec![page("t", &["a"]), page("t", &["b"])], "twice"),
            (vec![page("t", &["a/"]), page("t/a", &[]), page("t/a", &[])], "twice"),
            (vec![page("t", &["b", "a"])], "no order"),
            (vec![page("t", &["a", "a"])], "no order"),
            (vec![page("t", &["m"])], "no order"),
            (vec![page("t", &["..."])], "no order"),
            (vec![page("t", &["x", "y\0"])], "not a path"),
            (vec![page("t", &["x/y"])], "not a path"),
        ] {
            let after = if pages.len() == 1 && why == "no order" { "m" } else { "" };
            let mut open = Open::new(&path("t"));
            let refused = open.take(vec![(path("t"), after.into())], pages).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
    }
}
