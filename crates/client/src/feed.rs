//! What realms have taken back, as a client hears of it, page after page.

use crate::asking::{Failed, Failure, within};
use crate::limits::{MAX_FEED_BYTES, NAME_SERVER_ANSWER, REVOKED_WITHIN};
use crate::protocol::feed_route;
use crate::session::Client;
use bytes::Bytes;
use terms::{Code, Epoch, Problem, RealmName, Serial};
use trust::limits::HEAD_INTERVAL;
use trust::{Applied, FeedCopy, FeedPage, NameServer, Worth};

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

    /// The page of a realm's feed behind a number, for this copy; with `wait` once there is news, or the realm says again
    /// that it is all. Of name servers that only repeat an old word the newest counts.
    pub async fn feed_page(&self, copy: &FeedCopy, after: Serial, wait: bool) -> Result<FeedPage, Problem> {
        let realm = copy.realm();
        let (mut failed, mut newest) = (Failed::default(), None::<FeedPage>);
        for (place, server) in self.ranked(realm)?.iter().enumerate() {
            let wait = wait && place == 0;
            let time = if wait { HEAD_INTERVAL + NAME_SERVER_ANSWER } else { NAME_SERVER_ANSWER };
            let route = feed_route(after, wait);
            let asked = self.ask_for_page(realm, &server.server, &route);
            let page = within(server, time, asked).await.map_err(Problem::from).and_then(|bytes| {
                let now = self.world().clock.unix();
                let page = FeedPage::open(&bytes, realm, self.trust(), now)?;
                Ok((copy.weigh(&page, after, now)?, page))
            });
            match page {
                Ok((Worth::News | Worth::Fresh, page)) => {
                    self.answered(realm, server);
                    return Ok(page);
                }
                Ok((Worth::Old | Worth::Behind, page)) => {
                    if newest.as_ref().is_none_or(|newest| newest.at() < page.at()) {
                        newest = Some(page);
                    }
                }
                Err(problem) => failed.add(server, problem),
            }
        }
        newest.ok_or_else(|| failed.telling(realm))
    }

    /// Asked as oneself, so that no crowd of strangers is in the way, and as nobody where one is not known or not let in:
    /// whoever was revoked may hear of it.
    async fn ask_for_page(&self, realm: &RealmName, server: &NameServer, route: &str) -> Result<Bytes, Failure> {
        if self.identity().is_some() {
            match self.ask_one(self.pool(), realm, server, route, MAX_FEED_BYTES).await {
                Err(Failure::Refused(_)) => {}
                answered => return answered,
            }
        }
        self.ask_one(self.openly(), realm, server, route, MAX_FEED_BYTES).await
    }

    /// Takes the next page of a realm's feed into its copy and into the trust store, as [`Client::feed_page`].
    pub async fn hear(&self, copy: &mut FeedCopy, wait: bool) -> Result<Applied, Problem> {
        let page = self.feed_page(copy, copy.number(), wait).await?;
        let (now, known) = (self.world().clock.unix(), copy.number());
        let applied = copy.apply(&page, now)?;
        self.trust().set_feed(copy.clone(), false);
        // News of a while ago is followed by newer.
        let more = applied.more || (copy.number() > known && page.is_old(now));
        Ok(Applied { more, ..applied })
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
                    let known = copy.number();
                    if !self.hear(&mut copy, false).await.ok()?.more && copy.number() == known {
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
