//! From a name to the best server, on the client: service certificates, name servers, directors, smart client.
//!
//! Promise: a server is used only if the signed documents allow it at this moment ([`eligible`]), and no byte of a
//! file is handed out before its block agrees with the manifest that the file's home signed. Rules are pure; the
//! folder `smart` is the only one that speaks to the network. This crate never decides who may read a file.

pub mod clock;
pub mod director;
pub mod eligible;
pub mod headers;
pub mod limits;
pub mod manifest;
pub mod model;
pub mod smart;
pub mod verified;
