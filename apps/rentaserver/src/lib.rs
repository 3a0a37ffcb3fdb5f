//! Rent-A-Server's load daemon: decides how many servers a service needs, and borrows and returns them.
//!
//! Promise: the rules are pure (`step(now, event) -> actions`); the shell performs what they ask over a
//! [`shell::Field`] and decides nothing. No silent surrogate delays another, and none is forgotten: each one
//! that was started is drained, declared lost or adopted. This application sees only `client` and `terms`.

pub mod field;
pub mod limits;
pub mod model;
pub mod notice;
pub mod rules;
pub mod shell;
