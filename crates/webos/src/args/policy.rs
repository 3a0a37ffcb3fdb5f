//! Commands about what is promised of copies, and about logs.

use super::files::{Source, Under};
use super::values::FileAddress;
use clap::Args;
use std::path::PathBuf;
use webfs::model::Policy;

/// Show what is promised of copies of a file or folder, or change it
///
/// What is made in a folder takes over the folder's policy. To change a policy takes the right a.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos policy site.demo.localhost/www
  webos policy site.demo.localhost/www/news ttl=30
  webos policy -r site.demo.localhost/archive immutable

Policies:
  cto        an open sees the last completed change (the usual one)
  strong     each read does, also of what is open already
  log        only appends, in one order; what is there never changes
  ttl=N      copies are used for N seconds, and nobody is told of changes: the cheapest
  immutable  the content never changes")]
pub struct PolicyArgs {
    /// NAME.REALM/path
    #[arg(value_name = "PATH")]
    pub place: FileAddress,
    /// The policy to give to it
    #[arg(value_name = "POLICY")]
    pub policy: Option<Policy>,
    /// Everything below it too, as one change
    #[arg(short, long, requires = "policy")]
    pub recursive: bool,
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub lent: Under,
}

/// Put lines at the end of a file
///
/// The home places them, behind what others append: in a file with the policy `log` none of it is ever changed, many may
/// append at once, and it takes only the right w. Standard input is appended line by line as it comes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos append site.demo.localhost/www/log line.txt
  webos append site.demo.localhost/www/log < lines")]
pub struct AppendArgs {
    /// NAME.REALM/path; made if it is not there
    #[arg(value_name = "PATH")]
    pub place: FileAddress,
    /// A file here; standard input if there is none, or `-`
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub lent: Under,
}

/// Print the last lines of a file, and with -f what is added to it
///
/// With -f it goes on until Ctrl-C. While the home is cut off it says so, asks again, and goes on at the next byte; each
/// byte is printed once.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos tail site.demo.localhost/www/log
  webos tail -f site.demo.localhost/www/log
  webos tail -n 100 site.demo.localhost/www/log")]
pub struct TailArgs {
    /// NAME.REALM/path
    #[arg(value_name = "PATH")]
    pub place: FileAddress,
    /// How many lines
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10)]
    pub lines: u64,
    /// Go on with what is added
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    pub lent: Under,
}
