//! The disk: files and folders by number, changed by whole operations, frozen when the power goes.

use crate::file::File;
use crate::folder::Folder;
use crate::power::Loss;
use rustix::io::{Errno, Result};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// The number of a file or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode(pub u64);

impl Inode {
    /// The top folder.
    pub const ROOT: Self = Self(1);
}

#[derive(Debug)]
enum Node {
    File(File),
    Folder(Folder),
}

/// What `stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) inode: Inode,
    pub(crate) folder: bool,
    pub(crate) size: u64,
    pub(crate) mode: u16,
}

/// A disk in memory. Every operation fails with EIO once the power has gone.
#[derive(Debug)]
pub struct Disk {
    nodes: BTreeMap<Inode, (Node, u16)>,
    next: u64,
    /// Changes and syncs until the power goes, if it is to go.
    remaining: Option<u64>,
    /// Changes and syncs so far.
    done: u64,
    frozen: bool,
}

impl Default for Disk {
    fn default() -> Self {
        let root = (Node::Folder(Folder::default()), 0o755);
        Self { nodes: BTreeMap::from([(Inode::ROOT, root)]), next: 2, remaining: None, done: 0, frozen: false }
    }
}

impl Disk {
    /// Lets the power go at the change or sync with this number, counted from now.
    pub fn arm(&mut self, operations: u64) {
        self.remaining = Some(operations);
    }

    /// The power goes now.
    pub fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Whether the power has gone.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Changes and syncs so far: count.
    pub fn operations(&self) -> u64 {
        self.done
    }

    /// The disk after the power is back, with what this loss left of it.
    #[must_use]
    pub fn survive(self, loss: &Loss) -> Self {
        let survived = self.nodes.into_iter().map(|(inode, (node, mode))| {
            let node = match node {
                Node::File(file) => Node::File(file.survive(&loss.luck())),
                Node::Folder(folder) => Node::Folder(folder.survive(&loss.luck())),
            };
            (inode, (node, mode))
        });
        let mut disk = Self { nodes: survived.collect(), next: self.next, ..Self::default() };
        disk.drop_unnamed();
        disk
    }

    fn drop_unnamed(&mut self) {
        let (mut kept, mut open) = (BTreeMap::new(), vec![Inode::ROOT]);
        while let Some(inode) = open.pop() {
            let Some(node) = self.nodes.remove(&inode) else { continue };
            if let Node::Folder(folder) = &node.0 {
                open.extend(folder.names().map(|(_, below)| below));
            }
            kept.insert(inode, node);
        }
        self.nodes = kept;
    }

    fn alive(&self) -> Result<()> {
        if self.frozen { Err(Errno::IO) } else { Ok(()) }
    }

    /// Counts a change or sync. With the last one the power goes: whether it happened nobody is told.
    fn tick(&mut self) -> Result<()> {
        self.done += 1;
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(1);
            self.frozen = *remaining == 0;
        }
        self.alive()
    }

    fn node(&self, inode: Inode) -> Result<&(Node, u16)> {
        self.alive()?;
        self.nodes.get(&inode).ok_or(Errno::NOENT)
    }

    fn node_mut(&mut self, inode: Inode) -> Result<&mut (Node, u16)> {
        self.alive()?;
        self.nodes.get_mut(&inode).ok_or(Errno::NOENT)
    }

    fn file(&mut self, inode: Inode) -> Result<&mut File> {
        match &mut self.node_mut(inode)?.0 {
            Node::File(file) => Ok(file),
            Node::Folder(_) => Err(Errno::ISDIR),
        }
    }

    fn folder(&mut self, inode: Inode) -> Result<&mut Folder> {
        match &mut self.node_mut(inode)?.0 {
            Node::Folder(folder) => Ok(folder),
            Node::File(_) => Err(Errno::NOTDIR),
        }
    }

    pub(crate) fn status(&self, inode: Inode) -> Result<Status> {
        let (node, mode) = self.node(inode)?;
        let (folder, size) = match node {
            Node::File(file) => (false, file.size()),
            Node::Folder(_) => (true, 0),
        };
        Ok(Status { inode, folder, size, mode: *mode })
    }

    pub(crate) fn lookup(&mut self, folder: Inode, name: &OsStr) -> Result<Status> {
        let found = self.folder(folder)?.get(name).ok_or(Errno::NOENT)?;
        self.status(found)
    }

    pub(crate) fn list(&mut self, folder: Inode) -> Result<Vec<(OsString, Status)>> {
        let names: Vec<_> = self.folder(folder)?.names().map(|(name, inode)| (name.clone(), inode)).collect();
        names.into_iter().map(|(name, inode)| Ok((name, self.status(inode)?))).collect()
    }

    fn make(&mut self, folder: Inode, name: &OsStr, node: Node, mode: u16) -> Result<Status> {
        let inode = Inode(self.next);
        let above = self.folder(folder)?;
        if above.get(name).is_some() {
            return Err(Errno::EXIST);
        }
        above.put(name, inode);
        self.next += 1;
        self.nodes.insert(inode, (node, mode));
        self.tick()?;
        self.status(inode)
    }

    pub(crate) fn create(&mut self, folder: Inode, name: &OsStr, mode: u16) -> Result<Status> {
        self.make(folder, name, Node::File(File::default()), mode)
    }

    pub(crate) fn make_folder(&mut self, folder: Inode, name: &OsStr, mode: u16) -> Result<Status> {
        self.make(folder, name, Node::Folder(Folder::default()), mode)
    }

    pub(crate) fn remove(&mut self, folder: Inode, name: &OsStr) -> Result<()> {
        let found = self.lookup(folder, name)?;
        if found.folder && !self.folder(found.inode)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.folder(folder)?.remove(name);
        self.tick()
    }

    /// Within one folder: what survives of a rename across two is a question that nobody here asks yet.
    pub(crate) fn rename(&mut self, folder: Inode, from: &OsStr, to: &OsStr) -> Result<()> {
        self.lookup(folder, from)?;
        self.folder(folder)?.rename(from, to);
        self.tick()
    }

    pub(crate) fn read(&mut self, inode: Inode, offset: u64, len: usize) -> Result<Vec<u8>> {
        Ok(self.file(inode)?.read(offset, len))
    }

    pub(crate) fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file(inode)?.write(offset, bytes);
        self.tick()
    }

    pub(crate) fn resize(&mut self, inode: Inode, size: u64) -> Result<()> {
        self.file(inode)?.resize(size);
        self.tick()
    }

    pub(crate) fn set_mode(&mut self, inode: Inode, mode: u16) -> Result<()> {
        self.node_mut(inode)?.1 = mode;
        Ok(())
    }

    /// Makes a file's data, or a folder's names, durable; not if the power goes with it.
    pub(crate) fn sync(&mut self, inode: Inode) -> Result<()> {
        self.node(inode)?;
        self.tick()?;
        match &mut self.node_mut(inode)?.0 {
            Node::File(file) => file.sync(),
            Node::Folder(folder) => folder.sync(),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PAGE, SECTOR};
    use std::collections::BTreeSet;

    const SEEDS: u64 = 400;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    /// What a file holds after each of many losses; nothing if it is gone.
    fn outcomes(prepare: impl Fn(&mut Disk)) -> BTreeSet<Option<Vec<u8>>> {
        let after = |seed| {
            let mut disk = Disk::default();
            prepare(&mut disk);
            let mut disk = disk.survive(&Loss::new(seed));
            let file = disk.lookup(Inode::ROOT, name("f")).ok()?;
            Some(disk.read(file.inode, 0, 1 << 20).expect("a file"))
        };
        (0..SEEDS).map(after).collect()
    }

    fn with_file(disk: &mut Disk) -> Inode {
        let inode = disk.create(Inode::ROOT, name("f"), 0o600).expect("made").inode;
        disk.write(inode, 0, &[1; 2 * PAGE]).expect("written");
        inode
    }

    #[test]
    fn what_was_synced_is_there_and_what_was_not_may_be_lost() {
        let both = |disk: &mut Disk| {
            let inode = with_file(disk);
            disk.sync(inode).expect("synced");
            disk.sync(Inode::ROOT).expect("synced");
        };
        assert_eq!(outcomes(both), BTreeSet::from([Some(vec![1; 2 * PAGE])]), "file and folder");
        let name_only = outcomes(|disk| {
            with_file(disk);
            disk.sync(Inode::ROOT).expect("synced");
        });
        assert!(!name_only.contains(&None) && name_only.contains(&Some(vec![])), "the name is there");
        assert!(name_only.contains(&Some(vec![1; 2 * PAGE])), "the data may be there");
        let data_only = outcomes(|disk| {
            let inode = with_file(disk);
            disk.sync(inode).expect("synced");
        });
        assert_eq!(data_only, BTreeSet::from([None, Some(vec![1; 2 * PAGE])]), "the name may be lost");
    }

    #[test]
    fn a_write_is_kept_lost_or_torn_at_a_sector_page_by_page() {
        let found = outcomes(|disk| {
            let inode = with_file(disk);
            disk.sync(inode).expect("synced");
            disk.sync(Inode::ROOT).expect("synced");
            disk.write(inode, 0, &[2; 2 * PAGE]).expect("written");
        });
        let mut cuts = BTreeSet::new();
        for bytes in found.iter().map(|bytes| bytes.as_ref().expect("named")) {
            assert_eq!(bytes.len(), 2 * PAGE);
            for page in bytes.chunks(PAGE) {
                let new = page.iter().take_while(|byte| **byte == 2).count();
                assert!(page[new..].iter().all(|byte| *byte == 1) && new.is_multiple_of(SECTOR), "{new}");
                cuts.insert(new);
            }
        }
        assert_eq!(cuts.len(), PAGE / SECTOR + 1, "every cut, all and nothing: {cuts:?}");
        let only_second = found.iter().flatten().any(|bytes| bytes[0] == 1 && bytes[2 * PAGE - 1] == 2);
        assert!(only_second, "pages survive on their own");
    }

    #[test]
    fn a_rename_is_whole_and_what_it_replaced_comes_back_without_it() {
        let found = outcomes(|disk| {
            let old = with_file(disk);
            disk.sync(old).expect("synced");
            disk.sync(Inode::ROOT).expect("synced");
            let new = disk.create(Inode::ROOT, name("new"), 0o600).expect("made").inode;
            disk.write(new, 0, b"new").expect("written");
            disk.sync(new).expect("synced");
            disk.rename(Inode::ROOT, name("new"), name("f")).expect("renamed");
        });
        assert_eq!(found, BTreeSet::from([Some(vec![1; 2 * PAGE]), Some(b"new".to_vec())]));
    }

    #[test]
    fn a_file_cut_short_and_grown_again_reads_zeros() {
        let mut disk = Disk::default();
        let inode = with_file(&mut disk);
        disk.sync(inode).expect("synced");
        disk.resize(inode, 10).expect("cut");
        disk.resize(inode, 2 * PAGE as u64).expect("grown");
        let bytes = disk.read(inode, 0, 1 << 20).expect("read");
        assert_eq!((&bytes[..10], bytes.len()), (&[1; 10][..], 2 * PAGE));
        assert!(bytes[10..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn when_the_power_goes_nothing_answers_and_the_last_sync_did_not_happen() {
        let mut disk = Disk::default();
        let inode = with_file(&mut disk);
        disk.arm(1);
        assert_eq!(disk.sync(inode), Err(Errno::IO));
        assert_eq!(disk.read(inode, 0, 1), Err(Errno::IO));
        assert_eq!(disk.lookup(Inode::ROOT, name("f")), Err(Errno::IO));
        assert!(disk.is_frozen());
    }
}
