//! Many folders in one answer: breadth first, as far as there is room, each shown only to whoever may read it.

use super::{FileSource, Home, HomeFile};
use crate::limits::{INLINE_BYTES, LOOK_ANSWER_BYTES};
use crate::model::{FileKind, Listing};
use crate::protocol::{Look, LookReply, Page, SmallFile};
use crate::store::Lookup;
use std::collections::VecDeque;
use terms::{Code, Location, Problem, VolumePath};
use trust::{Authorised, Bucket};

/// What an entry costs in an answer beside its name: bytes, roughly.
const ENTRY_BYTES: usize = 80;
/// What a small file costs in an answer beside its content: bytes, roughly. Most is the signature.
const FILE_BYTES: usize = 600;

/// Decides whether a location may be read, given the list that governs it.
pub trait MayShow: Sync {
    /// The proof, or why not. What is not `asked` for by its name, but comes along, may be left out without a word: that is
    /// nobody's affront.
    fn may_show(
        &self,
        location: &Location,
        bucket: &Bucket,
        asked: bool,
    ) -> impl Future<Output = Result<Authorised, Problem>> + Send;
}

struct Answer<'a, M> {
    home: &'a Home,
    may: &'a M,
    contents: bool,
    room: usize,
    reply: LookReply,
}

impl Home {
    /// Answers a look.
    pub async fn look<M: MayShow>(&self, look: Look, may: &M) -> Result<LookReply, Problem> {
        let mut asked = look.folders.len();
        let mut folders: VecDeque<(VolumePath, String)> = look.folders.into();
        let mut answer = Answer {
            home: self,
            may,
            contents: look.contents,
            room: LOOK_ANSWER_BYTES,
            reply: LookReply::default(),
        };
        while let Some((path, after)) = folders.pop_front() {
            let page = answer.page(&path, &after, asked > 0).await;
            asked = asked.saturating_sub(1);
            if let (true, Ok(listing)) = (look.deep, &page) {
                folders.extend(folders_in(&path, listing));
            }
            let listing = page.map_err(|problem| *problem);
            answer.reply.pages.push(Page { path, listing });
            if answer.room == 0 {
                break;
            }
        }
        Ok(answer.reply)
    }
}

/// The folders of a listing, to be listed from their first name.
fn folders_in(path: &VolumePath, listing: &Listing) -> Vec<(VolumePath, String)> {
    let folders = listing.entries.iter().filter(|entry| entry.kind == FileKind::Directory);
    folders.filter_map(|entry| Some((path.join(&entry.name).ok()?, String::new()))).collect()
}

impl<M: MayShow> Answer<'_, M> {
    /// What of a folder has room.
    async fn page(&mut self, path: &VolumePath, after: &str, asked: bool) -> Result<Listing, Box<Problem>> {
        let store = self.home.store();
        let location = Location { volume: store.name().clone(), path: path.clone() };
        self.room = self.room.saturating_sub(ENTRY_BYTES + path.as_str().len());
        let lookup = store.lookup(path).await.map_err(boxed)?;
        let bucket = store.bucket(lookup.bucket()).await.map_err(boxed)?;
        self.may.may_show(&location, &bucket, asked).await.map_err(Box::new)?;
        if matches!(lookup, Lookup::Missing(_)) {
            return Err(Box::new(Problem::new(Code::NotFound, format!("there is no {location}"))));
        }
        let mut listing = store.list(path, after).await.map_err(boxed)?;
        let mut fits = 0;
        for entry in &listing.entries {
            let costs = ENTRY_BYTES + entry.name.len() + entry.target.as_ref().map_or(0, String::len);
            // A page has one entry at least, so that whoever asks again comes on.
            if costs > self.room && fits > 0 {
                break;
            }
            self.room = self.room.saturating_sub(costs);
            fits += 1;
        }
        listing.more |= fits < listing.entries.len();
        listing.entries.truncate(fits);
        if self.contents {
            self.contents_of(path, &listing).await.map_err(Box::new)?;
        }
        Ok(listing)
    }

    async fn contents_of(&mut self, folder: &VolumePath, listing: &Listing) -> Result<(), Problem> {
        let store = self.home.store().clone();
        let small = |size: u64| size <= INLINE_BYTES;
        for entry in listing.entries.iter().filter(|entry| entry.kind == FileKind::File && small(entry.size)) {
            let costs = FILE_BYTES + usize::try_from(entry.size).unwrap_or(usize::MAX);
            let Some(room) = self.room.checked_sub(costs) else { continue };
            let Ok(path) = folder.join(&entry.name) else { continue };
            let change = store.change();
            let Lookup::Found(object) = store.lookup(&path).await? else { continue };
            let bucket = store.bucket(object.bucket).await?;
            let location = Location { volume: store.name().clone(), path: path.clone() };
            if self.may.may_show(&location, &bucket, false).await.is_err() {
                continue;
            }
            let Some(content) = object.inline().map(|bytes| bytes.to_vec()) else { continue };
            let file = HomeFile::new(self.home, object, change);
            let Some(manifest) = file.and_then(|file| file.signed_manifest().cloned()) else { continue };
            self.room = room;
            self.reply.files.push(SmallFile { path, manifest, content });
        }
        Ok(())
    }
}

fn boxed(error: crate::store::StoreError) -> Box<Problem> {
    Box::new(error.into())
}
