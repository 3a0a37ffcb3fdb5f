//! Lending a node: what its owner offers, who may use it, for how long, and how it ends.
//!
//! Promise: every rule here is pure; it takes the time as an argument and answers with a decision or with
//! actions, and a lease ends by the holder's own clock whatever anybody else does. This crate opens no
//! connection, checks no signature and starts no program: the node does, with what these rules decide.

pub mod limits;
pub mod model;
pub mod offers;
pub mod rules;
