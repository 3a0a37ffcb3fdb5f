//! The smart client and the proxy against real TLS servers of one process, honest and hostile ones.

mod node;
mod papers;
mod proxied;
mod splice;
mod world;
