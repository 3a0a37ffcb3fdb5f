//! Commands that go on: telling of what changes.

use super::files::Under;
use super::values::FileAddress;
use clap::Args;
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
