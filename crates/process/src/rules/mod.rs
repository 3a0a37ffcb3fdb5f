//! Pure decisions: who is admitted, when a surrogate serves, what a front's load is, how fast a link is.

mod admission;
mod link;
mod meter;
mod surrogate;

pub use admission::{Admitted, StartFacts, admit};
pub use link::Link;
pub use meter::Meter;
pub use surrogate::{Action, Event, NotServing, Refused, Step, Surrogate};
