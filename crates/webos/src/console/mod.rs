//! The console: a page on loopback that shows the local world and lets its owner send load and kill nodes.
//! It asks a [`Theatre`] for everything and decides nothing about the world itself.

pub mod limits;
pub mod model;

pub use model::{Action, ConsoleEvent, ConsoleState, Theatre};
