//! Bytes as a stranger sends them: for every decoder of foreign bytes a target that feeds it, seeds that it
//! accepts, and a forger that signs altered content with keys of its own, so that what lies behind the signature is
//! reached too. The fuzzer (`fuzz/`), the short run in the tests and the comparison with other implementations all
//! stand on it.
//!
//! Promise: a seed holds no key and no signature. Where content needs one it says which, and the scene of the
//! running process puts it in, so that a corpus is good in every process.

mod cases;
mod forge;
mod mutate;
mod scene;
mod targets;
mod transfer_claims;

pub use cases::{Case, cases, hexadecimal, honest_chain, thumbprint};
pub use forge::{certificates_header, filled, link, seal};
pub use mutate::Mutator;
pub use scene::{Scene, scene};
pub use targets::{Outcome, TARGETS, Target, dictionary};

/// Links of the longest honest chain that this release accepts: count.
pub(crate) const LONGEST_CHAIN: usize = 4;
