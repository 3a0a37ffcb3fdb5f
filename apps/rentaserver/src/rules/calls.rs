//! What the rules ask for and what they hear. Each call to a server is answered by exactly one event, also when
//! it fails or its deadline passes; no server has two calls at a time.

use crate::model::{Failure, Publication, SavedState, Server};
use crate::notice::Notice;
use client::models::{BeatAnswer, RightToServe, StartAnswer, Ticket};
use std::time::Duration;
use terms::{BootMs, Epoch, Generation, Principal};

/// What the shell does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A call about one server; answered with [`Event::Answered`].
    Call {
        /// Which server.
        server: Server,
        /// What.
        call: Box<Call>,
    },
    /// Read the offers; answered with [`Event::Offers`].
    AskOffers,
    /// Sign and hand out; answered with [`Event::Published`].
    Publish(Publication),
    /// Keep; answered with [`Event::Saved`].
    Save(SavedState),
    /// Tell people. Not answered.
    Tell(Notice),
}

/// A call about one server.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// At home: make it a member of the serving group for so long from now, or longer than before.
    Grant {
        /// How long.
        lasting: Duration,
    },
    /// There: start the service's server.
    Start {
        /// Under which epoch.
        epoch: Epoch,
        /// How long it lives without a renewal.
        lease: Duration,
        /// Its right to serve.
        right: RightToServe,
    },
    /// There: tell your load, and be renewed if there is a ticket.
    Beat {
        /// Under which epoch.
        epoch: Epoch,
        /// Renews.
        ticket: Option<Ticket>,
        /// How long the renewed lease is from the ticket's moment.
        lease: Duration,
        /// A newer right to serve.
        right: Option<RightToServe>,
    },
    /// There: finish and end.
    Drain {
        /// Under which epoch.
        epoch: Epoch,
        /// How long what is in flight may take.
        within: Duration,
    },
    /// At home: remove it from the serving group.
    Remove,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A grant.
    Granted(Result<(), Failure>),
    /// A start.
    Started(Result<StartAnswer, Failure>),
    /// A beat.
    Beat(Result<BeatAnswer, Failure>),
    /// A drain.
    Drained(Result<BeatAnswer, Failure>),
    /// A removal.
    Removed(Result<(), Failure>),
}

/// What the daemon hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A call about this server ended.
    Answered {
        /// Which server.
        server: Principal,
        /// When the call was made.
        sent: BootMs,
        /// How it ended.
        answer: Answer,
    },
    /// The offers now.
    Offers(Result<Vec<Server>, Failure>),
    /// The publication of this generation ended.
    Published(Generation, Result<(), Failure>),
    /// The save ended.
    Saved(Result<(), Failure>),
    /// End: return all that is borrowed.
    Stop {
        /// How long what is in flight may take.
        within: Duration,
    },
}
