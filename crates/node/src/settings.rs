//! What a node is told at its start.

use client::Folder;
use client::models::Place;

/// How a node runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where everything that lasts is kept; holds the node's identity.
    pub folder: Folder,
    /// `host:port` to listen on; port 0 takes a free one.
    pub listen: String,
    /// `host:port` under which others reach the node, if it is not the one it listens on.
    pub address: Option<String>,
    /// The stated link of its fronts: bits per second; none is as fast as the machine.
    pub link_bps: Option<u64>,
    /// Where it is, if its owner says.
    pub place: Option<Place>,
}
