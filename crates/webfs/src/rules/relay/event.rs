//! What happens to a relay, and what it must do: in both its roles.

use crate::rules::holder::{HolderAction, HolderEvent};
use crate::rules::home::{HomeAction, HomeEvent};
use terms::ChangeNumber;

/// What happens to a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayEvent {
    /// To it as a holder.
    Above(HolderEvent),
    /// To it as a server of holders. The token of an open is also the number of the read that answers it.
    Below(HomeEvent),
    /// A deadline may have passed.
    Tick,
}

/// What a relay must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayAction {
    /// As a holder. A read for an open from below is served right after [`RelayAction::Opened`].
    Above(HolderAction),
    /// As a server of holders. What is to be compared is what the relay has: of that, those are current that the
    /// holder may read.
    Below(HomeAction),
    /// The open from below is answered with what the read of the same number is served.
    Opened {
        /// The open.
        token: u64,
        /// The change number to name in the answer: the relay's own.
        change: ChangeNumber,
        /// Whether the holder has a callback.
        callback: bool,
    },
}
