//! Who a realm's further name servers are.

use serde::{Deserialize, Serialize};
use terms::Principal;
use trust::NameServer;

/// POST [`NameServersRequest`], answered with [`NameServersReply`]. For owners of the realm's first node.
pub const NAME_SERVERS_ROUTE: &str = "/.webos/name-servers";

/// A change of the list, at the realm's first node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameServersRequest {
    /// This member answers for the realm there, from now on. One that does already gets this address.
    Add(NameServer),
    /// It does so no more.
    Remove(Principal),
}

/// The list after the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameServersReply {
    /// What was done, in plain words.
    pub done: String,
    /// The realm's name servers, best first.
    pub name_servers: Vec<NameServer>,
}
