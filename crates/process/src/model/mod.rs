//! What is lent and what is said about it: offers, reports, phases, and the messages of the four routes.

mod messages;
mod offer;
mod report;

pub use messages::{
    BEAT_ROUTE, BeatAnswer, BeatReply, BeatRequest, DRAIN_ROUTE, DrainRequest, LEND_ROUTE, LendReply, LendRequest,
    OfferState, Phase, START_ROUTE, StartAnswer, StartReply, StartRequest, Ticket,
};
pub use offer::{Offer, OfferError, StartRefusal};
pub use report::Report;
