//! One realm's feed as this node knows it: the copy, and the signed pages that prove it. A page whose hash of the list is
//! not that of the copy shows that the realm's first node came back from a backup; then the list is read from its beginning,
//! and what it does not prove any more is offered to that node. Decides nothing: the trust store does, with the copy.

use crate::feeds::took_back;
use crate::handed_on::is_name_server;
use crate::limits::{FEED_OFFER_INTERVAL, MAX_OFFERED_PAGES, REREAD_INTERVAL};
use crate::node::State;
use client::protocol::FeedOffer;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use terms::{BootMs, Digest, Epoch, Problem, RealmName, Serial};
use trust::limits::KEPT_PAGES_LIFE;
use trust::{Applied, FeedCopy, FeedPage, FeedPages, TrustError};

/// The hash of a list, its epoch and its newest number.
type Stand = (Digest, Epoch, Serial);

/// A reader of one realm's feed.
pub struct Reader {
    copy: FeedCopy,
    pages: FeedPages,
    /// The list is being read from its beginning, and is known up to there.
    rereads: Option<Serial>,
    /// When that was begun last.
    begun: Option<BootMs>,
    /// When that was begun last because the list differs.
    differed: Option<BootMs>,
    /// How the list stood when something was offered last, and when that was.
    offered: Option<(Stand, BootMs)>,
}

impl Reader {
    /// What was known when this node last ran; the trust store knows it from now on.
    pub fn load(state: &State, realm: &RealmName) -> Self {
        let folder = &state.settings.folder;
        // Without a copy everything is asked for again, and refused until it is there.
        let copy = stored(&folder.feed_copy(realm)).filter(|copy: &FeedCopy| copy.realm() == realm);
        let pages = stored(&folder.feed_pages(realm)).filter(|pages: &FeedPages| pages.realm() == realm);
        let copy = copy.unwrap_or_else(|| FeedCopy::new(realm.clone()));
        state.client.trust().set_feed(copy.clone(), false);
        let pages = pages.unwrap_or_else(|| FeedPages::new(realm.clone()));
        let reader = Self { copy, pages, rereads: None, begun: None, differed: None, offered: None };
        reader.hand_on(state);
        reader
    }

    /// Asks for the next page, and acts on it; with `wait` once there is news.
    pub async fn ask(&mut self, state: &Arc<State>, wait: bool) -> Result<Applied, Problem> {
        let wait = wait && self.rereads.is_none();
        let after = self.rereads.unwrap_or(self.copy.number());
        let page = state.client.feed_page(&self.copy, after, wait).await?;
        let (now, known) = (state.world.clock.unix(), self.copy.number());
        let applied = match self.copy.apply(&page, now) {
            Err(error @ TrustError::SetBack { .. }) => {
                if self.may_offer(state, &page) {
                    self.offer(state, self.pages.newest().cloned().as_slice()).await;
                }
                return Err(error.into());
            }
            applied => applied?,
        };
        state.client.trust().set_feed(self.copy.clone(), false);
        self.pages.take(page.clone(), now);
        // While the list is read from its beginning, readers are given what was there before.
        if page.is_last() {
            self.hand_on(state);
        }
        let read_anew = self.rereads.is_some() && page.is_last();
        let next = self.after(state, &page);
        if self.copy.number() != known || read_anew {
            self.store(state)?;
        }
        took_back(state, &applied.new, applied.epoch_rose).await;
        if next == Next::Offer {
            self.offer(state, self.pages.lost()).await;
        }
        // News of a while ago is followed by newer.
        let follows = self.copy.number() > known && page.is_old(now);
        Ok(Applied { more: applied.more || next == Next::Reread || follows, ..applied })
    }

    /// A further name server hands on what its realm's first node signed.
    fn hand_on(&self, state: &State) {
        if self.copy.realm() != state.realm() {
            return;
        }
        if is_name_server(state) {
            state.handed_on.replace(&self.pages);
        } else {
            state.handed_on.clear();
        }
    }

    /// Whether the list is to be read from its beginning: its pages are too many, or too old to be handed on. Not again at
    /// once, whatever other name servers make of it.
    fn wants_all(&self, state: &State) -> bool {
        let since = self.begun.map(|begun| state.world.clock.boot().since(begun));
        let hands_on = self.copy.realm() == state.realm() && is_name_server(state);
        let life = if hands_on { KEPT_PAGES_LIFE } else { Duration::MAX };
        match since {
            None => hands_on || self.pages.wants_all(),
            Some(since) => since >= life || (since >= REREAD_INTERVAL && self.pages.wants_all()),
        }
    }

    /// What is to be done after a page was taken.
    fn after(&mut self, state: &State, page: &FeedPage) -> Next {
        if !page.is_last() {
            self.rereads = self.rereads.map(|_| page.reaches());
            return Next::Wait;
        }
        let agrees = self.copy.agrees(page, state.world.clock.unix());
        if self.rereads.take().is_some() {
            return if agrees { Next::Wait } else { Next::Offer };
        }
        let now = state.world.clock.boot();
        let differs = !agrees && self.differed.is_none_or(|last| now.since(last) >= REREAD_INTERVAL);
        let differs = differs && self.may_offer(state, page);
        if differs || self.wants_all(state) {
            self.differed = if differs { Some(now) } else { self.differed };
            (self.rereads, self.begun) = (Some(Serial(0)), Some(now));
            return Next::Reread;
        }
        Next::Wait
    }

    /// What was offered to a list that is still the same is not offered to it again at once.
    fn may_offer(&mut self, state: &State, page: &FeedPage) -> bool {
        let (now, stand) = (state.world.clock.boot(), (page.listed(), page.epoch(), page.reaches()));
        let lately = |(to, at): (Stand, BootMs)| to == stand && now.since(at) < FEED_OFFER_INTERVAL;
        if self.offered.is_some_and(lately) {
            return false;
        }
        self.offered = Some((stand, now));
        true
    }

    fn store(&self, state: &State) -> Result<(), Problem> {
        let (folder, realm) = (&state.settings.folder, self.copy.realm());
        // The proof first: what the copy knows it is not asked for again.
        client::durable::replace(&folder.feed_pages(realm), &wire::cbor::to_vec(&self.pages))?;
        client::durable::replace(&folder.feed_copy(realm), &wire::cbor::to_vec(&self.copy))
    }

    /// Offers pages to the realm's first node, which believes its own signature.
    async fn offer(&self, state: &State, pages: &[FeedPage]) {
        let realm = self.copy.realm();
        if pages.is_empty() {
            tracing::warn!(%realm, "its feed lists less than is known here, and no page is kept that proves it");
            return;
        }
        let offered = async {
            let (first, mut recovered) = (state.client.first_node(realm)?, 0);
            for pages in pages.chunks(MAX_OFFERED_PAGES) {
                let pages = pages.iter().map(|page| ByteBuf::from(page.bytes())).collect();
                recovered += first.offer_pages(&FeedOffer { pages }).await?.recovered;
            }
            Ok::<_, Problem>(recovered)
        };
        match offered.await {
            Ok(recovered) => {
                tracing::warn!(%realm, recovered, "its feed was set back, and was told what it had lost")
            }
            Err(problem) => {
                tracing::warn!(%realm, %problem, "its feed was set back, and could not be told what it lost")
            }
        }
    }
}

/// What follows on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Ask on, or wait for news.
    Wait,
    /// Read the list from its beginning.
    Reread,
    /// Offer what the list does not prove any more.
    Offer,
}

fn stored<T: DeserializeOwned>(path: &Path) -> Option<T> {
    wire::cbor::from_slice(&std::fs::read(path).ok()?).ok()
}
