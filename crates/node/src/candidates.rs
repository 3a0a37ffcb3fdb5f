//! Nodes that say they are lent to a service: soft state, said again every few seconds, forgotten in silence.
//!
//! Who is recruited gets into the service's group and into its table, so a word is looked at before it is kept. Nodes of
//! the service's own realm may lend, others only if the publisher let them in.

use crate::gatekeeper::{Caller, Gatekeeper};
use crate::limits::{MAX_ADDRESS_BYTES, MAX_CANDIDATES, MAX_SERVICES};
use client::limits::CANDIDATE_LIFE;
use client::models::Offer;
use client::protocol::{Announcement, Candidate};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use terms::{BootMs, Code, Principal, PrincipalKind, Problem, Right, Rights, ServiceName, UnixMs, Who};
use trust::{Bucket, Object};
use wire::Peer;

type ByNode = BTreeMap<Principal, (Candidate, BootMs)>;

/// The candidates of the services of this realm.
#[derive(Default)]
pub struct Candidates(Mutex<BTreeMap<ServiceName, ByNode>>);

fn fresh(heard: BootMs, now: BootMs) -> bool {
    now.since(heard) < CANDIDATE_LIFE
}

/// Refuses what no honest node says.
fn check(service: &ServiceName, peer: &Peer, address: &str, offer: &Offer, wall: UnixMs) -> Result<(), Problem> {
    if peer.principal.kind != PrincipalKind::Server {
        return Err(Problem::new(Code::Denied, format!("{} is no server: only nodes are lent", peer.principal))
            .next("announce with the identity of the node"));
    }
    let invalid = |what: String| Err(Problem::new(Code::Invalid, what));
    if offer.service != *service {
        return invalid(format!("the offer is to {}, not to {service}", offer.service));
    }
    if let Err(error) = offer.validate(wall) {
        return invalid(error.to_string());
    }
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let port = port.and_then(|(_, port)| port.parse::<u16>().ok()).filter(|port| *port > 0);
    if port.is_none() || address.len() > MAX_ADDRESS_BYTES || !address.bytes().all(|byte| byte.is_ascii_graphic()) {
        return invalid("the address of an offer is not HOST:PORT".into());
    }
    Ok(())
}

/// The list of those who may lend besides the service's own realm. Each is named: being trusted is not enough.
pub fn lenders(lenders: &[Who]) -> Result<Bucket, Problem> {
    if let Some(all) = lenders.iter().find(|who| matches!(who, Who::Anyone | Who::Authenticated)) {
        return Err(Problem::new(Code::Invalid, format!("{all} names no lender"))
            .next("name nodes or groups of the realm that is to be let in"));
    }
    Ok(Bucket::new(lenders.iter().map(|who| (who.clone(), Rights::of(&[Right::Read]))))?)
}

/// Refuses an offer by a node that the service does not borrow.
pub async fn must_be_lender(
    gate: &Gatekeeper,
    caller: &Caller,
    service: &ServiceName,
    listed: &[Who],
) -> Result<(), Problem> {
    let principal = &caller.for_itself()?.principal;
    let (list, object) = (lenders(listed)?, Object::Service(service.clone()));
    if principal.realm == service.realm || gate.would_allow_object(caller, &object, Right::Read, &list).await {
        return Ok(());
    }
    Err(Problem::new(
        Code::Denied,
        format!("{service} borrows no nodes of {}: {principal} is not a lender", principal.realm),
    )
    .next(format!("its publisher lets it in with `webos service publish … --lender {principal}`")))
}

impl Candidates {
    /// Takes a node's word for itself. `published` says whether the service exists: strangers' names never keep
    /// it out.
    pub fn heard(
        &self,
        (service, published): (&ServiceName, bool),
        peer: &Peer,
        word: Announcement,
        (now, wall): (BootMs, UnixMs),
    ) -> Result<(), Problem> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(offer) = word.offer else {
            if let Some(nodes) = all.get_mut(service) {
                nodes.remove(&peer.principal);
            }
            return Ok(());
        };
        check(service, peer, &word.address, &offer, wall)?;
        if !published && !all.contains_key(service) && all.len() >= MAX_SERVICES {
            all.retain(|_, nodes| nodes.values().any(|(_, heard)| fresh(*heard, now)));
            if all.len() >= MAX_SERVICES {
                return Err(Problem::new(Code::Busy, format!("more than {MAX_SERVICES} services are named here"))
                    .next("publish the service first"));
            }
        }
        let nodes = all.entry(service.clone()).or_default();
        nodes.retain(|_, (_, heard)| fresh(*heard, now));
        if !nodes.contains_key(&peer.principal) && nodes.len() >= MAX_CANDIDATES {
            return Err(Problem::new(Code::Busy, format!("a service has at most {MAX_CANDIDATES} candidates")));
        }
        let candidate = Candidate {
            principal: peer.principal.clone(),
            key: peer.key,
            address: word.address,
            offer,
            relay: word.relay,
        };
        nodes.insert(peer.principal.clone(), (candidate, now));
        Ok(())
    }

    /// The candidates that were heard of lately.
    pub fn of(&self, service: &ServiceName, now: BootMs) -> Vec<Candidate> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let nodes = all.get(service).into_iter().flatten();
        nodes.filter(|(_, (_, heard))| fresh(*heard, now)).map(|(_, (candidate, _))| candidate.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use terms::{ByteCount, Thumbprint};

    const WALL: UnixMs = UnixMs(1_000);

    fn service(name: &str) -> ServiceName {
        format!("service://{name}.lab.example").parse().expect("valid")
    }

    fn peer(kind: &str) -> Peer {
        let principal = format!("spiffe://lab.example/{kind}/n1").parse().expect("valid");
        Peer {
            principal,
            key: Thumbprint([1; 32]),
            issued: UnixMs(0),
            not_after: UnixMs(u64::MAX),
            chain: Arc::from([]),
        }
    }

    fn word(name: &str) -> Announcement {
        let offer = Offer {
            service: service(name),
            cpu_milli: 1000,
            memory_bytes: ByteCount(1 << 30),
            price: 0.0,
            power: 1.0,
            until: None,
            keep_cache: false,
        };
        Announcement { address: "127.0.0.1:8443".into(), offer: Some(offer), relay: false }
    }

    #[test]
    fn only_servers_with_sound_offers_are_candidates() {
        let all = Candidates::default();
        let (site, now) = (service("site"), BootMs(1));
        let say = |peer: &Peer, word: Announcement| all.heard((&site, true), peer, word, (now, WALL));
        assert_eq!(say(&peer("user"), word("site")).expect_err("a user").code, Code::Denied);
        for (power, price) in [(f64::NAN, 0.0), (f64::INFINITY, 0.0), (0.0, 0.0), (-1.0, 0.0), (1.0, f64::NAN)] {
            let mut bad = word("site");
            bad.offer = bad.offer.map(|offer| Offer { power, price, ..offer });
            assert_eq!(say(&peer("server"), bad).expect_err("no number").code, Code::Invalid);
        }
        for address in
            ["", "host", ":1", "host:0", "host:x", "a b:1", "\u{1b}[31m:1", &format!("{}:1", "a".repeat(300))]
        {
            let bad = Announcement { address: address.into(), ..word("site") };
            assert_eq!(say(&peer("server"), bad).expect_err("no address").code, Code::Invalid, "{address}");
        }
        assert_eq!(say(&peer("server"), word("other")).expect_err("another service").code, Code::Invalid);
        assert!(all.of(&site, now).is_empty());
        assert_eq!(say(&peer("server"), word("site")), Ok(()));
        assert_eq!(all.of(&site, now).len(), 1);
    }

    #[test]
    fn names_of_nothing_keep_no_service_out() {
        let all = Candidates::default();
        let say = |name: &str, published, now| {
            all.heard((&service(name), published), &peer("server"), word(name), (BootMs(now), WALL))
        };
        for number in 0..MAX_SERVICES {
            assert_eq!(say(&format!("x{number}"), false, 1), Ok(()));
        }
        assert_eq!(say("one-more", false, 1).expect_err("full").code, Code::Busy);
        assert_eq!(say("site", true, 1), Ok(()));
        let later = 1 + u64::try_from(CANDIDATE_LIFE.as_millis()).expect("short");
        assert_eq!(say("one-more", false, later), Ok(()), "what fell silent is forgotten");
    }
}
