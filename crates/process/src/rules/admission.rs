//! Whether a node starts a service's server now. The caller's identity and the certificate's signature have
//! been checked before; the success of this decision is a value that nothing else can make.

use crate::limits::{LEASE, MAX_RUNNING};
use crate::model::{Offer, StartRefusal};
use terms::{Epoch, Principal, ServiceName, UnixMs};

/// All that the decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct StartFacts<'a> {
    /// The wall clock.
    pub now: UnixMs,
    /// Who calls, by its certificate.
    pub caller: &'a Principal,
    /// The service of the verified service certificate.
    pub service: &'a ServiceName,
    /// The epoch of the message.
    pub epoch: Epoch,
    /// The authorities that the service certificate lists.
    pub authorities: &'a [Principal],
    /// From when and until when the service certificate is valid.
    pub certificate_valid: (UnixMs, UnixMs),
    /// The greatest epoch seen for this service since the node started.
    pub seen: Epoch,
    /// The owner's offer to this service, if there is one.
    pub offer: Option<&'a Offer>,
    /// Whether this node holds `relay` on the service's files or above them.
    pub holds_relay: bool,
    /// Whether requests of an ended run of this service are still being cut off.
    pub ending: bool,
    /// How many other services run here.
    pub running: usize,
}

/// An admitted start: under which offer, until when.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    service: ServiceName,
    epoch: Epoch,
    until: Option<UnixMs>,
    keep_cache: bool,
    cpu_milli: u32,
    memory_bytes: u64,
}

impl Admitted {
    /// The service.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }
    /// Under which epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
    /// When the owner's loan ends.
    pub fn until(&self) -> Option<UnixMs> {
        self.until
    }
    /// Whether the cache may stay at the end.
    pub fn keep_cache(&self) -> bool {
        self.keep_cache
    }
    /// Processor time: thousandths of a core.
    pub fn cpu_milli(&self) -> u32 {
        self.cpu_milli
    }
    /// Memory: bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

/// Decides a start.
///
/// # Errors
/// The first reason against it; who may not ask learns nothing about the offers.
pub fn admit(facts: &StartFacts<'_>) -> Result<Admitted, StartRefusal> {
    let service = || facts.service.clone();
    if !facts.authorities.contains(facts.caller) {
        return Err(StartRefusal::NotAnAuthority { caller: facts.caller.clone(), service: service() });
    }
    let (from, until) = facts.certificate_valid;
    if facts.now < from || until <= facts.now {
        return Err(StartRefusal::CertificateOver { service: service() });
    }
    if facts.epoch < facts.seen {
        return Err(StartRefusal::StaleEpoch { service: service(), offered: facts.epoch, seen: facts.seen });
    }
    let Some(offer) = facts.offer.filter(|offer| offer.service == *facts.service) else {
        return Err(StartRefusal::NoOffer { service: service() });
    };
    if offer.over(facts.now.plus(LEASE)) {
        return Err(StartRefusal::OfferOver { service: service() });
    }
    if facts.holds_relay {
        return Err(StartRefusal::HoldsRelay { service: service() });
    }
    if facts.ending {
        return Err(StartRefusal::StillEnding { service: service() });
    }
    if facts.running >= MAX_RUNNING {
        return Err(StartRefusal::TooMany { running: facts.running });
    }
    Ok(Admitted {
        service: service(),
        epoch: facts.epoch,
        until: offer.until,
        keep_cache: offer.keep_cache,
        cpu_milli: offer.cpu_milli,
        memory_bytes: offer.memory_bytes.0,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use terms::ByteCount;

    fn service(name: &str) -> ServiceName {
        format!("service://{name}.lab.example").parse().expect("valid")
    }

    fn server(name: &str) -> Principal {
        format!("spiffe://lab.example/server/{name}").parse().expect("valid")
    }

    pub(crate) fn admitted(until: Option<UnixMs>, keep_cache: bool) -> Admitted {
        Admitted { service: service("site"), epoch: Epoch(1), until, keep_cache, cpu_milli: 1, memory_bytes: 1 }
    }

    /// One table: what is changed in an admissible start, and how it is refused.
    #[test]
    fn starts() {
        let (site, home) = (service("site"), server("home"));
        let offer = Offer {
            service: site.clone(),
            cpu_milli: 2000,
            memory_bytes: ByteCount(1 << 30),
            price: 0.0,
            power: 1.0,
            until: Some(UnixMs(100_000)),
            keep_cache: false,
        };
        let elsewhere = Offer { service: service("other"), ..offer.clone() };
        let authorities = [home.clone()];
        let good = StartFacts {
            now: UnixMs(50_000),
            caller: &home,
            service: &site,
            epoch: Epoch(3),
            authorities: &authorities,
            certificate_valid: (UnixMs(0), UnixMs(1_000_000)),
            seen: Epoch(3),
            offer: Some(&offer),
            holds_relay: false,
            ending: false,
            running: 0,
        };
        let stranger = server("n2");
        let accepted = admit(&good).expect("admissible");
        assert_eq!((accepted.epoch(), accepted.until(), accepted.cpu_milli()), (Epoch(3), offer.until, 2000));

        let refused = |facts: StartFacts<'_>| admit(&facts).expect_err("refused");
        let name = || site.clone();
        for (facts, expected) in [
            (
                StartFacts { caller: &stranger, ..good },
                StartRefusal::NotAnAuthority { caller: stranger.clone(), service: name() },
            ),
            (
                StartFacts { authorities: &[], ..good },
                StartRefusal::NotAnAuthority { caller: home.clone(), service: name() },
            ),
            (
                StartFacts { certificate_valid: (UnixMs(0), UnixMs(50_000)), ..good },
                StartRefusal::CertificateOver { service: name() },
            ),
            (
                StartFacts { certificate_valid: (UnixMs(50_001), UnixMs(60_000)), ..good },
                StartRefusal::CertificateOver { service: name() },
            ),
            (
                StartFacts { epoch: Epoch(2), ..good },
                StartRefusal::StaleEpoch { service: name(), offered: Epoch(2), seen: Epoch(3) },
            ),
            (StartFacts { offer: None, ..good }, StartRefusal::NoOffer { service: name() }),
            (StartFacts { offer: Some(&elsewhere), ..good }, StartRefusal::NoOffer { service: name() }),
            (StartFacts { now: UnixMs(90_001), ..good }, StartRefusal::OfferOver { service: name() }),
            (StartFacts { holds_relay: true, ..good }, StartRefusal::HoldsRelay { service: name() }),
            (StartFacts { ending: true, ..good }, StartRefusal::StillEnding { service: name() }),
            (StartFacts { running: MAX_RUNNING, ..good }, StartRefusal::TooMany { running: MAX_RUNNING }),
        ] {
            assert_eq!(refused(facts), expected);
        }
    }

    #[test]
    fn strangers_learn_nothing_of_offers() {
        let (site, stranger) = (service("site"), server("n2"));
        let facts = |offer| StartFacts {
            now: UnixMs(0),
            caller: &stranger,
            service: &site,
            epoch: Epoch(1),
            authorities: &[],
            certificate_valid: (UnixMs(0), UnixMs(1)),
            seen: Epoch(9),
            offer,
            holds_relay: true,
            ending: true,
            running: 99,
        };
        assert!(matches!(admit(&facts(None)), Err(StartRefusal::NotAnAuthority { .. })));
    }
}
