//! The console: a page on loopback that shows the local world and lets its owner send load and kill nodes.
//!
//! Promise: only its own page, opened by the link of this start, and programs that show the token are answered;
//! every input is bounded. It asks a [`Theatre`] for everything and decides nothing about the world itself.

mod answer;
mod assets;
mod guard;
pub mod limits;
pub mod model;
pub mod record;
pub mod rights;
mod routes;
mod server;
mod stream;
#[cfg(test)]
mod tests;

pub use limits::{DEFAULT_PORT, PORTS_TRIED};
pub use model::{Action, ConsoleEvent, ConsoleState, EventKind, Theatre};
pub use server::{Console, ConsoleError};
