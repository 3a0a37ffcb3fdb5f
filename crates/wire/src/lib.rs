//! HTTP over mutual TLS 1.3: the listener, the connection cache, bodies, CBOR, and problems on the wire.
//!
//! Promise: nothing leaves or enters a node unencrypted; all input is bounded before it is parsed; a handler
//! knows who speaks. This crate never decides who may do what, and does not read certificates itself: it
//! hands them to a [`PeerCheck`].

mod admission;
pub mod body;
mod call_error;
pub mod cbor;
mod crowd;
mod gulp;
pub mod limits;
mod peer;
mod places;
mod pool;
mod problem;
mod rates;
mod server;
mod stalls;
mod tls;
mod until;

pub use body::{Body, BodyError, read_body};
pub use call_error::CallError;
pub use cbor::Envelope;
pub use crowd::{Crowd, Full, Seat, source};
pub use peer::{Binding, Credentials, Described, Expect, Peer, PeerCheck};
pub use pool::{Pool, PoolCounts, Purpose, Target};
pub use problem::{problem_from, problem_response};
pub use server::{Handler, HandlerFuture, Recheck, Server, ServerError, ShownCredentials};
pub use until::{Until, WITHIN_HEADER};
