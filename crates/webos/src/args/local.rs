//! Commands about this machine: the local world, benchmarks, manual pages.

use super::values::LinkRate;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Start a whole local world: a realm, a home, lent nodes, a service, a console
///
/// DIR is copied in and then followed: a saved file is served by the next request. Every user of this machine
/// can read DIR through the service. DIR itself is never written. Ctrl-C ends everything.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos up                       # a sample site
  webos up public --for 30s      # a folder of yours, for half a minute")]
pub struct UpArgs {
    /// The folder to serve; a sample site if none is named
    pub dir: Option<PathBuf>,
    /// How many nodes to lend to the service [default: 3] [env: WEBOS_SURROGATES]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=8))]
    pub surrogates: Option<u8>,
    /// End by itself after this time, with a summary
    #[arg(long = "for", value_name = "TIME", value_parser = terms::parse_duration)]
    pub duration: Option<Duration>,
    /// What each node may send: 100mbit, 1gbit, none [default: 100mbit] [env: WEBOS_LINK]
    #[arg(long, value_name = "RATE")]
    pub link: Option<LinkRate>,
    /// Start anew; what was there is removed
    #[arg(long)]
    pub fresh: bool,
    /// How long load must be gone before nodes are returned, where the usual minute is too long, as in tests
    #[arg(long, value_name = "TIME", hide = true, value_parser = terms::parse_duration)]
    pub stabilization: Option<Duration>,
    /// The console's port; another is taken if it is in use [default: 8480] [env: WEBOS_CONSOLE_PORT]
    #[arg(long, value_name = "PORT")]
    pub console_port: Option<u16>,
}

/// End the local world
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos down                     # end it; `webos up` goes on with what is there
  webos down --purge             # and remove all it has stored")]
pub struct Down {
    /// Remove the local world's data as well
    #[arg(long)]
    pub purge: bool,
}

/// Run a benchmark on this machine, beside its peers
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos bench slice --short")]
pub struct Bench {
    /// Which one
    pub name: String,
    /// The rows that fit into 45 seconds
    #[arg(long)]
    pub short: bool,
    /// Given to the benchmark as it is
    #[arg(last = true, value_name = "ARGS")]
    pub rest: Vec<std::ffi::OsString>,
}

/// Write the manual pages
#[derive(Debug, Clone, Args)]
#[command(hide = true)]
#[command(after_help = "\
Examples:
  webos man | man -l -           # one page with all commands
  webos man --into share/man/man1")]
pub struct Man {
    /// Write one page a command into this folder, which must exist
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
}
