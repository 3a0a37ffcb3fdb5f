//! A file's data: what is durable, and for each page every content that it had since.

use crate::power::Luck;
use crate::{PAGE, SECTOR};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Page = Arc<[u8; PAGE]>;

/// Contents of a page kept between two syncs: count. The first ones and the last one matter.
const VERSIONS_KEPT: usize = 8;

/// A file as processes see it, over a file as the disk has it.
#[derive(Debug, Default)]
pub(crate) struct File {
    size: u64,
    durable_size: u64,
    durable: BTreeMap<u64, Page>,
    /// What was written to a page since the last sync, oldest first.
    pending: BTreeMap<u64, Vec<Page>>,
}

/// The pages that a range touches: number, range within the page, and where it lies in the range.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % PAGE as u64) as usize;
        let take = (PAGE - within).min(len - done);
        let part = (at / PAGE as u64, within..within + take, done);
        done += take;
        (take > 0).then_some(part)
    })
}

impl File {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    fn page(&self, number: u64) -> Option<&Page> {
        self.pending.get(&number).and_then(|versions| versions.last()).or_else(|| self.durable.get(&number))
    }

    pub(crate) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let left = self.size.saturating_sub(offset);
        let mut bytes = vec![0; len.min(usize::try_from(left).unwrap_or(usize::MAX))];
        for (number, within, at) in parts(offset, bytes.len()) {
            if let Some(page) = self.page(number) {
                bytes[at..at + within.len()].copy_from_slice(&page[within]);
            }
        }
        bytes
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (number, within, at) in parts(offset, bytes.len()) {
            let mut page = self.page(number).map_or([0; PAGE], |page| **page);
            let len = within.len();
            page[within].copy_from_slice(&bytes[at..at + len]);
            let versions = self.pending.entry(number).or_default();
            if versions.len() == VERSIONS_KEPT {
                versions.remove(VERSIONS_KEPT / 2);
            }
            versions.push(Arc::new(page));
        }
        self.size = self.size.max(offset + bytes.len() as u64);
    }

    pub(crate) fn resize(&mut self, size: u64) {
        // What is cut off reads as zeros, should the file grow again.
        if size < self.size {
            let beyond = (self.size - size).min(PAGE as u64 - size % PAGE as u64);
            self.write(size, &vec![0; beyond as usize]);
            let first_gone = size.div_ceil(PAGE as u64);
            let durable = self.durable.range(first_gone..).map(|(number, _)| *number);
            let pending = self.pending.range(first_gone..).map(|(number, _)| *number);
            let gone: BTreeSet<u64> = durable.chain(pending).collect();
            for number in gone {
                self.pending.entry(number).or_default().push(Arc::new([0; PAGE]));
            }
        }
        self.size = size;
    }

    pub(crate) fn sync(&mut self) {
        for (number, versions) in std::mem::take(&mut self.pending) {
            if let Some(last) = versions.into_iter().next_back() {
                self.durable.insert(number, last);
            }
        }
        self.durable_size = self.size;
        self.durable.retain(|number, _| number * (PAGE as u64) < self.size);
    }

    /// What the disk holds after the loss: of each page that was not synced an earlier content, a later one, or a
    /// mixture of two at a border of sectors; of a length that was not synced any in between.
    pub(crate) fn survive(self, luck: &Luck<'_>) -> Self {
        let Self { size, durable_size, mut durable, pending } = self;
        let size = match luck.below(3) {
            _ if size == durable_size || !luck.keeps() => durable_size,
            0 if size > durable_size => durable_size + luck.below(size - durable_size),
            _ => size,
        };
        for (number, versions) in pending {
            if !luck.keeps() {
                continue;
            }
            let chosen = luck.below(versions.len() as u64) as usize;
            let mut page = *versions[chosen];
            if luck.tears() {
                let cut = luck.below((PAGE / SECTOR) as u64) as usize * SECTOR;
                let before = match chosen.checked_sub(1) {
                    Some(before) => *versions[before],
                    None => durable.get(&number).map_or([0; PAGE], |page| **page),
                };
                page[cut..].copy_from_slice(&before[cut..]);
            }
            durable.insert(number, Arc::new(page));
        }
        let mut file = Self { size: u64::MAX / 2, durable, ..Self::default() };
        file.resize(size);
        file.sync();
        file
    }
}
