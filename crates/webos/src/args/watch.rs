//! Commands about what goes on, and about what did not go through.

use super::files::Under;
use super::values::FileAddress;
use clap::{Args, Subcommand};
use std::time::Duration;

/// Tell of each change of a file or folder and of what is below it
///
/// One line a change: what happened, and where. It goes on until Ctrl-C; while the home is cut off it says so, asks
/// again, and goes on where it was. If changes were missed for good, a line says that too.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos watch site.demo.localhost/www
  webos watch site.demo.localhost/www --for 10s --json")]
pub struct WatchFiles {
    /// NAME.REALM/path
    #[arg(value_name = "PATH")]
    pub place: FileAddress,
    /// End after this time: 30s, 5m, 2h
    #[arg(long = "for", value_name = "TIME", value_parser = terms::parse_duration)]
    pub span: Option<Duration>,
    #[command(flatten)]
    pub lent: Under,
}

/// What was read from a pipe and could not be stored.
#[derive(Debug, Clone, Subcommand)]
pub enum RecoverCommand {
    /// List what is kept here, and why
    #[command(after_help = "Example:\n  webos recover list")]
    List,
    /// Store it where it was to go: once, also if it had been stored after all
    #[command(after_help = "\
Examples:
  webos recover publish 3f9c21aa
  webos recover publish 3f9c21aa --anyway     # whatever is there now")]
    Publish {
        /// The beginning of its name
        name: String,
        /// As a new change, whatever is there now
        #[arg(long)]
        anyway: bool,
        #[command(flatten)]
        lent: Under,
    },
    /// Remove it
    #[command(after_help = "Example:\n  webos recover drop 3f9c21aa")]
    Drop {
        /// The beginnings of names
        #[arg(required = true)]
        names: Vec<String>,
    },
}
