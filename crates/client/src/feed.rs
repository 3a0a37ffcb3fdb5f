//! What realms have taken back, as a client hears of it: one page after the other, into a copy and the trust store.

use crate::limits::MAX_FEED_BYTES;
use crate::protocol::feed_route;
use crate::session::Client;
use terms::{Code, Epoch, Problem, Serial};
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

    /// Takes the next page of a realm's feed into its copy and into the trust store; with `wait` once there is news, or
    /// the realm says again that it is all. It is asked as oneself, so that no crowd of strangers is in the way, and as
    /// nobody where one is not known or not let in: whoever was revoked may hear of it.
    pub async fn hear(&self, copy: &mut FeedCopy, wait: bool) -> Result<Applied, Problem> {
        let realm = copy.realm().clone();
        let route = feed_route(copy.number(), wait);
        let as_oneself = match self.identity() {
            Some(_) => Some(self.ask_names(&realm, &route).await),
            None => None,
        };
        let bytes = match as_oneself {
            Some(Ok(bytes)) => bytes,
            Some(Err(silent)) if silent.code == Code::Timeout => return Err(silent),
            _ => self.ask_openly(&realm, &route, MAX_FEED_BYTES).await?,
        };
        let now = self.world().clock.unix();
        let page = FeedPage::open(&bytes, &realm, self.trust(), now)?;
        let applied = copy.apply(&page, now)?;
        self.trust().set_feed(copy.clone(), false);
        Ok(applied)
    }
}
