//! What an application sees of WebOS: open a realm's volumes, services and nodes as one principal.
//!
//! Promise: everything here acts under exactly one identity, over mutual TLS, and every answer is checked
//! against the pinned realm before it is returned. This crate decides no rights and keeps no server state.

mod asking;
pub mod durable;
pub mod enrol;
mod feed;
mod files;
mod folder;
pub mod limits;
pub mod models;
mod operations;
pub mod protocol;
mod purse;
pub mod realms;
pub mod register;
mod remote;
pub mod renewal;
mod rights;
mod session;
mod sign;
mod standing;
mod walk;

pub use files::{Condition, Download, PutOptions, Volume};
pub use folder::Folder;
pub use purse::{Kept, Purse};
pub use remote::Node;
pub use session::Client;
pub use standing::Standing;
pub use walk::{Below, Stretch, Walk};
