//! A disk that loses power: a mounted file system that keeps apart what processes see and what was synced, and on
//! command forgets a seeded part of what was not.
//!
//! It promises to the programs on it no more than POSIX does: data of a file is durable after `fsync` of the file,
//! a name after `fsync` of its folder, and a sector of 512 bytes is written whole or not at all. It runs as root,
//! on `/dev/fuse`, in a process of its own, so that no program waits for itself.

mod disk;
mod file;
mod folder;
mod mount;
mod power;
mod serve;

pub use disk::{Disk, Inode};
pub use power::Loss;
pub use serve::{Torn, missing, serve};

/// The unit in which data that was not synced is kept or lost: bytes.
pub const PAGE: usize = 4096;
/// What is written whole or not at all: bytes.
pub const SECTOR: usize = 512;
