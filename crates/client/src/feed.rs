//! What realms have taken back, as a client hears of it, page after page.

use crate::limits::{MAX_FEED_BYTES, REVOKED_WITHIN};
use crate::protocol::feed_route;
use crate::session::Client;
use terms::{Code, Epoch, Problem, RealmName, Serial};
use trust::{Applied, FeedCopy, FeedPage};

impl Client {
    /// The present epoch of the own realm, in which transfer certificates are signed: what its feed says now, and what is
    /// known here if that is not to be had.
    pub async fn present_epoch(&self) -> Result<Epoch, Problem> {
        let own = self.require_identity()?;
        let realm = &own.principal().realm;
        let known = self.trust().epoch(realm);
        let asked = self.ask_openly(realm, &feed_route(Serial(u64::MAX), false), MAX_FEED_BYTES).await;
        let page =
            asked.and_then(|bytes| Ok(FeedPage::open(&bytes, realm, self.trust(), self.world().clock.unix())?));
        match page {
            Ok(page) => Ok(known.max(page.epoch())),
            Err(problem) => {
                tracing::warn!(%realm, %problem, "its present epoch is not to be had");
                Ok(known)
            }
        }
    }

    /// The page of a realm's feed behind a number; with `wait` once there is news, or the realm says again that it is all.
    /// It is asked as oneself, so that no crowd of strangers is in the way, and as nobody where one is not known or not let
    /// in: whoever was revoked may hear of it.
    pub async fn feed_page(&self, realm: &RealmName, after: Serial, wait: bool) -> Result<FeedPage, Problem> {
        let route = feed_route(after, wait);
        let as_oneself = match self.identity() {
            Some(_) => Some(self.ask_names(realm, &route).await),
            None => None,
        };
        let bytes = match as_oneself {
            Some(Ok(bytes)) => bytes,
            Some(Err(silent)) if silent.code == Code::Timeout => return Err(silent),
            _ => self.ask_openly(realm, &route, MAX_FEED_BYTES).await?,
        };
        Ok(FeedPage::open(&bytes, realm, self.trust(), self.world().clock.unix())?)
    }

    /// Takes the next page of a realm's feed into its copy and into the trust store.
    pub async fn hear(&self, copy: &mut FeedCopy, wait: bool) -> Result<Applied, Problem> {
        let page = self.feed_page(copy.realm(), copy.number(), wait).await?;
        self.take(copy, &page)
    }

    fn take(&self, copy: &mut FeedCopy, page: &FeedPage) -> Result<Applied, Problem> {
        let applied = copy.apply(page, self.world().clock.unix())?;
        self.trust().set_feed(copy.clone(), false);
        Ok(applied)
    }

    /// Whether this principal was revoked, as its realm's feed says, and what to do about it. Whoever was revoked is let in
    /// nowhere, so that nobody else tells it; the feed is open to everybody. Nothing if the feed is not to be had.
    pub async fn revoked(&self) -> Option<Problem> {
        let identity = self.identity()?;
        let who = identity.principal();
        if self.trust().feed(&who.realm).is_none() {
            let mut copy = FeedCopy::new(who.realm.clone());
            let all = async {
                loop {
                    let route = feed_route(copy.number(), false);
                    let page = self.ask_openly(&who.realm, &route, MAX_FEED_BYTES).await.ok()?;
                    let now = self.world().clock.unix();
                    let page = FeedPage::open(&page, &who.realm, self.trust(), now).ok()?;
                    if !self.take(&mut copy, &page).ok()?.more {
                        return Some(());
                    }
                }
            };
            tokio::time::timeout(REVOKED_WITHIN, all).await.ok()??;
        }
        let feed = self.trust().feed(&who.realm)?;
        let what = format!("{who} was revoked: no node lets it in");
        let next = "ask the owners of the realm's first node why, and for a new invitation";
        feed.is_revoked(who, identity.issued()).then(|| Problem::new(Code::Denied, what).next(next))
    }

    /// The same problem, or what is behind it: a node that cannot be spoken to may be one that lets this principal in no
    /// more.
    pub(crate) async fn behind(&self, problem: Problem) -> Problem {
        if problem.code == Code::Unavailable { self.revoked().await.unwrap_or(problem) } else { problem }
    }
}
