//! End to end, through the real binary and real processes.

mod bad_input;
mod command_line;
mod files;
