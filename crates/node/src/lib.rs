//! The composition root: a running node from its folder and settings, its front, and all it answers.
//!
//! Promise: every request goes through the closed table of [`routes`], and what touches data takes `trust`'s
//! proof from the [`gatekeeper`]. This crate holds no rule of its own that a lower crate could hold.

mod audit;
mod authority;
mod candidates;
mod control;
mod feeds;
mod files;
pub mod front;
mod further;
pub mod gatekeeper;
pub mod groups;
mod guard;
mod handed_on;
mod handle;
mod homes;
mod incident;
mod known;
mod lending;
pub mod limits;
mod names;
mod node;
mod operations;
mod pace;
pub mod pipe;
mod private;
mod published;
mod reader;
mod realms;
mod recovery;
mod relays;
mod renewal;
mod replica;
mod rights;
pub mod routes;
mod serving;
mod settings;
mod strangers;
mod tokens;
mod upkeep;
mod via;
mod why;

pub use audit::{WitnessedNode, witnessed};
pub use node::Node;
pub use published::{Publication, serving_group, state_folder};
pub use renewal::rotate_first;
pub use settings::{Settings, ViaNode};
