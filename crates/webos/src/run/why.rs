//! `why`: whether somebody may do something, on what ground, and what would change that.

use super::Setup;
use crate::args::Why;
use crate::output::{Out, Outcome};
use terms::{Code, Problem};

/// Asks the place itself.
pub async fn run(_: &Setup, _: &mut Out, _: &Why) -> Outcome {
    Err(Problem::new(Code::Unsupported, "not yet").into())
}
