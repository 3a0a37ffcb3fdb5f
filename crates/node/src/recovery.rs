//! A realm's list that was restored from a backup takes back what it has lost, from pages that it signed itself: whoever
//! brings them is not believed, the signature is. What may be forgotten stays forgotten, and whoever was certified after a
//! revocation stays a member.

use crate::feeds::{self, took_back};
use crate::gatekeeper::Caller;
use crate::limits::MAX_OFFERED_PAGES;
use crate::node::State;
use client::protocol::{FeedOffer, FeedRecovered};
use terms::{Code, Problem};
use trust::{AuditRecord, FeedPage, Recovered, Revoked};

/// Takes back what these pages prove.
pub async fn recover(state: &State, caller: &Caller, offer: &FeedOffer) -> Result<FeedRecovered, Problem> {
    let peer = caller.for_itself()?.principal.clone();
    let (source, registrar) = feeds::source(state)?;
    if offer.pages.len() > MAX_OFFERED_PAGES {
        let what = format!("at most {MAX_OFFERED_PAGES} pages are taken at a time");
        return Err(Problem::new(Code::TooLarge, what).next("offer them in turn"));
    }
    let mut all = Recovered::default();
    for bytes in &offer.pages {
        let (trust, now) = (state.client.trust(), state.world.clock.unix());
        let page = FeedPage::open_kept(bytes, state.realm(), trust, now)?;
        let known = trust.feed(state.realm());
        let lost = known.as_ref().map(|known| known.lost(&page, now)).unwrap_or_default();
        // The register first: as long as the list lacks something, it is offered again.
        for revoked in &lost {
            let Revoked::Principal { principal, issued_until } = revoked else { continue };
            if let Err(problem) = registrar.revoke_again(principal, *issued_until) {
                tracing::error!(%principal, %problem, "it stays revoked as long as the feed lists it, and no longer");
            }
        }
        if lost.is_empty() && known.is_some_and(|known| !known.is_behind(&page)) {
            continue;
        }
        let recovered = source.change(|feed, now| feed.recover(&page, now))?;
        all.revoked.extend(recovered.revoked);
        all.epoch_rose |= recovered.epoch_rose;
        all.head_rose |= recovered.head_rose;
    }
    if !all.is_nothing() {
        let mut what =
            format!("took back {} revocations that a restore had lost, offered by {peer}", all.revoked.len());
        if all.epoch_rose {
            what.push_str("; every transfer certificate of an earlier epoch ends again");
        }
        tracing::warn!("{what}");
        let now = state.world.clock.unix();
        state.gate.note(&AuditRecord::of_change(now, &peer, "feed", &what))?;
        took_back(state, &all.revoked, all.epoch_rose).await;
        feeds::sign_bundle_again(state, registrar);
    }
    Ok(FeedRecovered { recovered: all.revoked.len() as u64 })
}
