//! Tools of the end-to-end tests: the real binary, real processes, real folders, and deadlines on every wait.
//!
//! Promise: whatever a test starts is ended by its end, also when it fails; only processes that were started here
//! are ever signalled, by their number; a failing test shows the logs of its nodes.

mod binary;
mod home;
mod node;
mod process;
mod wait;
mod world;

pub use binary::webos;
pub use home::{Call, Home, Output};
pub use node::{NodeProcess, Realm};
pub use process::{Event, Talking};
pub use wait::{DEADLINE, eventually};
pub use world::{LocalWorld, WorldNode};
