//! The load daemon without its surroundings: events and the time in, actions out.

mod calls;
mod choice;
mod daemon;
mod lease;
mod member;
mod sizing;
mod time;

pub use calls::{Action, Answer, Call, Event};
pub use daemon::Daemon;
pub use sizing::{Goal, Load, Sizer, Verdict};
