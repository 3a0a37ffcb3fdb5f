//! Files across the wide area, coherent: volumes, their HTTP name space, leases with recalls, caches and relays.
//!
//! Promise: content is checked against its hash before anybody sees it, a change is durable before it is
//! answered, and no cached copy is trusted after its lease. This crate never decides rights: what serves or
//! changes data takes `trust`'s proof that somebody else did.

pub mod cache;
pub mod coherence;
pub mod gate;
pub mod limits;
pub mod manifest;
pub mod model;
pub mod protocol;
mod recent;
pub mod relay;
pub mod rules;
pub mod serve;
pub mod session;
pub mod store;
pub mod watch;
