//! What a node is told at its start.

use client::Folder;
use client::models::Place;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use terms::{Code, Principal, Problem, VolumeName};
use trust::FeedLimits;

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
    /// How old the word of a realm may be.
    pub feed_limits: FeedLimits,
    /// How often the groups are looked at again on which sessions stand: [`crate::limits::GROUP_RECHECK`], but for tests.
    pub group_recheck: Duration,
    /// Volumes that are relayed by way of another relay of them, not straight from their home.
    pub relay_via: BTreeMap<VolumeName, ViaNode>,
}

/// A relay that this one asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViaNode {
    /// Who it is.
    pub principal: Principal,
    /// `host:port`.
    pub address: String,
}

impl Settings {
    /// Whether the relays that this node is to ask are others.
    pub(crate) fn check_relays(&self, own: &Principal) -> Result<(), Problem> {
        match self.relay_via.iter().find(|(_, via)| via.principal == *own) {
            None => Ok(()),
            Some((volume, _)) => {
                Err(Problem::new(Code::Invalid, format!("relay_via: {own} cannot relay {volume} via itself"))
                    .next("name a relay of it that is nearer to its home, or none"))
            }
        }
    }

    /// `host:port` for everybody else, of a node that listens at `own`. Invitations, bundles and rights name it.
    pub(crate) fn advertised(&self, own: SocketAddr) -> Result<String, Problem> {
        let address = self.address.clone().unwrap_or_else(|| own.to_string());
        let wrong = |what: &str| {
            let next = format!("say where others reach this node: --address HOST:{}", own.port());
            Err(Problem::new(Code::Invalid, format!("others cannot reach a node at {address}: {what}")).next(next))
        };
        let port = address.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then_some(port));
        if port.and_then(|port| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
            return wrong("it is no HOST:PORT");
        }
        match address.parse::<SocketAddr>() {
            Ok(literal) if literal.ip().is_unspecified() => wrong("it stands for every address of its own machine"),
            _ => Ok(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_are_told_can_be_reached() {
        for (own, address, told) in [
            ("127.0.0.1:8443", None, Some("127.0.0.1:8443")),
            ("0.0.0.0:8443", Some("192.0.2.1:8443"), Some("192.0.2.1:8443")),
            ("[::]:8443", Some("n2.lab.example:443"), Some("n2.lab.example:443")),
            ("0.0.0.0:8443", None, None),
            ("[::]:8443", None, None),
            ("192.0.2.1:8443", Some("0.0.0.0:8443"), None),
            ("0.0.0.0:8443", Some("n2.lab.example"), None),
            ("0.0.0.0:8443", Some("n2.lab.example:0"), None),
            ("0.0.0.0:8443", Some(":8443"), None),
        ] {
            let settings = Settings {
                folder: Folder::new("/nowhere"),
                listen: String::new(),
                address: address.map(String::from),
                link_bps: None,
                place: None,
                feed_limits: FeedLimits::default(),
                group_recheck: crate::limits::GROUP_RECHECK,
                relay_via: BTreeMap::new(),
            };
            let found = settings.advertised(own.parse().expect("valid"));
            assert_eq!(found.as_deref().ok(), told, "{own} {address:?}");
            assert!(found.err().is_none_or(|problem| problem.next.ends_with("--address HOST:8443")), "{own}");
        }
    }
}
