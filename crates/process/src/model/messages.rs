//! The messages between a load daemon and a lent node, and between a node and its owner. Plain data: whoever
//! receives one checks the caller, the signatures inside and the limits.

use super::{Offer, Report, StartRefusal};
use serde::{Deserialize, Serialize};
use terms::{Epoch, ServiceName};

/// POST [`StartRequest`], answered with [`StartAnswer`]. For the service's authorities.
pub const START_ROUTE: &str = "/.webos/serve/start";
/// POST [`BeatRequest`], answered with [`BeatAnswer`]. For the service's authorities.
pub const BEAT_ROUTE: &str = "/.webos/serve/beat";
/// POST [`DrainRequest`], answered with [`BeatAnswer`]. For the service's authorities.
pub const DRAIN_ROUTE: &str = "/.webos/serve/drain";
/// POST [`LendRequest`] (the node's owner), GET (whoever may see offers); both answered with [`LendReply`].
pub const LEND_ROUTE: &str = "/.webos/lend";

/// Where a surrogate's run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Getting ready; serves nobody.
    Starting,
    /// Healthy, and waiting for its first renewal; serves nobody.
    Ready,
    /// Serves.
    Serving,
    /// Too close to its lease's end for new requests; a renewal brings it back.
    Fenced,
    /// Finishes what it has begun; never serves again.
    Draining,
    /// Over: cut off, files and cache gone.
    Ended,
}

/// A moment of the surrogate's own clock, handed out with each answer and given back with a renewal.
///
/// The lease counts from this moment, which lies before the renewal was sent, so that no delay on the way can
/// make a lease longer than the load daemon counts. Opaque to everybody but the surrogate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(pub u64);

/// Start a service's server here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartRequest {
    /// The service.
    pub service: ServiceName,
    /// The load daemon's epoch.
    pub epoch: Epoch,
    /// How long to live without a renewal: milliseconds.
    pub lease_ms: u32,
    /// The signed service certificate: names the authorities and the files.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
    /// The signed right to serve.
    #[serde(with = "serde_bytes")]
    pub right: Vec<u8>,
    /// The signed table.
    #[serde(with = "serde_bytes")]
    pub table: Vec<u8>,
}

/// What became of a start. A repeated start finds the run of the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartAnswer {
    /// It runs, or will.
    Accepted(StartReply),
    /// It does not, and why.
    Refused(StartRefusal),
}

/// An accepted start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartReply {
    /// Where it stands.
    pub phase: Phase,
    /// For the first renewal.
    pub ticket: Ticket,
}

/// Tell your load; and be renewed, if a ticket is given back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BeatRequest {
    /// The service.
    pub service: ServiceName,
    /// The load daemon's epoch. A greater one than before takes over.
    pub epoch: Epoch,
    /// Renews: the ticket of an earlier answer.
    #[serde(default)]
    pub ticket: Option<Ticket>,
    /// How long the renewed lease is, from the ticket's moment: milliseconds.
    pub lease_ms: u32,
    /// A newer right to serve.
    #[serde(default, with = "serde_bytes")]
    pub right: Option<Vec<u8>>,
    /// The newest table.
    #[serde(default, with = "serde_bytes")]
    pub table: Option<Vec<u8>>,
}

/// The answer to a beat or a drain.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BeatAnswer {
    /// It runs, or has ended not long ago.
    Running(BeatReply),
    /// Nothing runs here for this service.
    NotRunning,
    /// Somebody with this greater epoch is in charge.
    StaleEpoch {
        /// The greatest epoch seen.
        seen: Epoch,
    },
}

/// How a surrogate, or the primary, stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BeatReply {
    /// Where it stands.
    pub phase: Phase,
    /// For the next renewal.
    pub ticket: Ticket,
    /// Whether the ticket that was given back renewed the lease.
    pub renewed: bool,
    /// What is left of the lease by its own clock, now: milliseconds. For people; nothing is decided by it.
    pub lease_left_ms: u32,
    /// Requests in flight now.
    pub in_flight: u32,
    /// Its load.
    pub report: Report,
}

/// Take no new requests; finish those in flight; end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrainRequest {
    /// The service.
    pub service: ServiceName,
    /// The load daemon's epoch.
    pub epoch: Epoch,
    /// Cut off what is not finished by then: milliseconds.
    pub within_ms: u32,
}

/// What the owner does with the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LendRequest {
    /// Lend; replaces an earlier offer to the same service.
    Lend(Offer),
    /// Take back; drains and ends what runs.
    Withdraw(ServiceName),
}

/// The node's offers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LendReply {
    /// One for each service.
    pub offers: Vec<OfferState>,
}

/// An offer and what runs under it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfferState {
    /// The offer.
    pub offer: Offer,
    /// Where its run stands, if there is one.
    #[serde(default)]
    pub phase: Option<Phase>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Serialize + for<'a> Deserialize<'a> + PartialEq + std::fmt::Debug>(value: &T) {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).expect("plain data");
        let back: T = ciborium::from_reader(bytes.as_slice()).expect("as it was written");
        assert_eq!(&back, value);
    }

    #[test]
    fn messages_survive_cbor() {
        let service: ServiceName = "service://site.lab.example".parse().expect("valid");
        let reply = BeatReply {
            phase: Phase::Serving,
            ticket: Ticket(7),
            renewed: true,
            lease_left_ms: 9_000,
            in_flight: 2,
            report: Report { busy: Some(0.5), ..Report::default() },
        };
        round_trip(&BeatAnswer::Running(reply));
        round_trip(&BeatAnswer::NotRunning);
        round_trip(&BeatAnswer::StaleEpoch { seen: Epoch(4) });
        round_trip(&BeatRequest {
            service: service.clone(),
            epoch: Epoch(3),
            ticket: Some(Ticket(9)),
            lease_ms: 10_000,
            right: Some(vec![1, 2]),
            table: None,
        });
        round_trip(&StartAnswer::Accepted(StartReply { phase: Phase::Starting, ticket: Ticket(1) }));
        round_trip(&StartAnswer::Refused(StartRefusal::NoOffer { service: service.clone() }));
        round_trip(&LendRequest::Withdraw(service));
    }
}
