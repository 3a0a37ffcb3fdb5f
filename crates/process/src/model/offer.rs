//! An offer: what a node's owner lends to one service, and why a start under it may be refused.

use crate::limits::{OFFER_POWER, OFFER_PRICE};
use serde::{Deserialize, Serialize};
use terms::{ByteCount, Epoch, Principal, ServiceName, UnixMs};

/// What a node's owner lends to one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// To whom.
    pub service: ServiceName,
    /// Processor time: thousandths of a core, at least 1.
    pub cpu_milli: u32,
    /// Memory.
    pub memory_bytes: ByteCount,
    /// Price in the realm's own unit per hour, within [`OFFER_PRICE`]; 0 is free.
    pub price: f64,
    /// How much work the node does compared with a usual one (1.0), within [`OFFER_POWER`].
    #[serde(default = "usual_power")]
    pub power: f64,
    /// When the loan ends by itself; without it, when it is withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixMs>,
    /// Whether the cache of the service's files may stay when a surrogate ends. Else it is dropped.
    #[serde(default)]
    pub keep_cache: bool,
}

fn usual_power() -> f64 {
    1.0
}

/// Why an offer was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OfferError {
    /// Outside of what a price can be.
    #[error(
        "the price {0:?} of an offer is not a number from {least} to {most}; 0 is free",
        least = OFFER_PRICE.start(),
        most = OFFER_PRICE.end()
    )]
    Price(f64),
    /// Outside of what one machine can be.
    #[error(
        "the power {0:?} of an offer is not a number from {least} to {most}; 1 is a usual node",
        least = OFFER_POWER.start(),
        most = OFFER_POWER.end()
    )]
    Power(f64),
    /// Nothing to run on.
    #[error("an offer needs some processor time; write --cpu 1 for one core")]
    NoCpu,
    /// Over before it begins.
    #[error("the offer's end lies in the past")]
    Over,
}

impl Offer {
    /// Checks the numbers, at every door through which an offer comes in.
    ///
    /// # Errors
    /// The first number that is not as its field demands.
    pub fn validate(&self, now: UnixMs) -> Result<(), OfferError> {
        if !OFFER_PRICE.contains(&self.price) {
            return Err(OfferError::Price(self.price));
        }
        if !OFFER_POWER.contains(&self.power) {
            return Err(OfferError::Power(self.power));
        }
        if self.cpu_milli == 0 {
            return Err(OfferError::NoCpu);
        }
        if self.over(now) {
            return Err(OfferError::Over);
        }
        Ok(())
    }

    /// Whether the loan has ended by its own date.
    pub fn over(&self, now: UnixMs) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// Why a node does not start a service's server. Crosses the wire, so that the load daemon can say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum StartRefusal {
    /// The caller is none of those that the service certificate lists as authorities.
    #[error("{caller} is not an authority of {service}")]
    NotAnAuthority {
        /// Who called.
        caller: Principal,
        /// For what.
        service: ServiceName,
    },
    /// The service certificate is not valid now.
    #[error("the service certificate of {service} is not valid now")]
    CertificateOver {
        /// For what.
        service: ServiceName,
    },
    /// The owner lends nothing to this service.
    #[error("this node is not lent to {service}")]
    NoOffer {
        /// For what.
        service: ServiceName,
    },
    /// The loan ended, or ends too soon for one lease.
    #[error("the loan of this node to {service} is over or nearly so")]
    OfferOver {
        /// For what.
        service: ServiceName,
    },
    /// The node may keep the service's files as a relay, so a lease would not end its reading.
    #[error("this node holds the right 'relay' on the files of {service}, which would outlive every lease")]
    HoldsRelay {
        /// For what.
        service: ServiceName,
    },
    /// Somebody with a greater epoch is in charge.
    #[error("epoch {offered} of {service} is over: epoch {seen} is in charge")]
    StaleEpoch {
        /// For what.
        service: ServiceName,
        /// The epoch in the message.
        offered: Epoch,
        /// The greatest one seen here.
        seen: Epoch,
    },
    /// The node serves as many services as it can.
    #[error("this node already serves {running} services")]
    TooMany {
        /// How many.
        running: usize,
    },
    /// The last run under this name is still ending.
    #[error("the last run of {service} is still ending here")]
    StillEnding {
        /// For what.
        service: ServiceName,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_offer_is_refused() {
        let good = Offer {
            service: "service://site.lab.example".parse().expect("valid"),
            cpu_milli: 1000,
            memory_bytes: ByteCount(1 << 30),
            price: 0.0,
            power: 1.0,
            until: Some(UnixMs(100)),
            keep_cache: false,
        };
        assert_eq!(good.validate(UnixMs(99)), Ok(()));
        assert_eq!(good.validate(UnixMs(100)), Err(OfferError::Over));
        for (price, power, cpu_milli) in [
            (-1.0, 1.0, 1),
            (f64::NAN, 1.0, 1),
            (f64::INFINITY, 1.0, 1),
            (1e300, 1.0, 1),
            (0.0, 0.0, 1),
            (0.0, 1e300, 1),
            (0.0, 1e-300, 1),
            (0.0, f64::INFINITY, 1),
            (0.0, f64::NAN, 1),
            (0.0, 1.0, 0),
        ] {
            let offer = Offer { price, power, cpu_milli, ..good.clone() };
            assert!(offer.validate(UnixMs(0)).is_err(), "{offer:?}");
        }
        let strong = Offer { power: 1e300, ..good }.validate(UnixMs(0)).expect_err("no machine is that strong");
        assert!(strong.to_string().ends_with("is not a number from 0.001 to 1000; 1 is a usual node"), "{strong}");
    }
}
