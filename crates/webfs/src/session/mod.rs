//! What home and holder exchange: the frames of the session stream, and the open request beside it.
//! The rules say what a frame means; here is only how it travels.

mod frame;
mod handle;
pub mod limits;
mod open;

pub use frame::{FrameError, FrameReader, encode};
pub use handle::{open_answer, session_answer};
pub use open::{LinkAt, OpenAnswer, OpenRequest, open, policy_of};
