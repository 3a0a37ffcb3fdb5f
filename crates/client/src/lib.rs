//! What an application sees of WebOS: open a realm's volumes, services and nodes as one principal.
//!
//! Promise: everything here acts under exactly one identity, over mutual TLS, and every answer is checked
//! against the pinned realm before it is returned. This crate decides no rights and keeps no server state.

mod asking;
pub mod content;
pub mod durable;
pub mod enrol;
mod feed;
mod files;
mod folder;
pub mod limits;
pub mod models;
mod operations;
mod parts;
pub mod protocol;
mod purse;
pub mod realms;
mod records;
mod recovery;
pub mod register;
mod remote;
pub mod renewal;
mod rights;
mod session;
mod sign;
mod standing;
mod walk;
mod watch;

pub use files::{Condition, Download, PutOptions, Volume};
pub use folder::Folder;
pub use parts::PartsBody;
pub use purse::{Kept, Purse};
pub use recovery::{About, Draft, KeptChange, Recovery};
pub use remote::Node;
pub use session::Client;
pub use standing::Standing;
pub use walk::{Below, Stretch, Walk};
pub use watch::{News, Watching};
