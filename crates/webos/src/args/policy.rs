//! Commands about what is promised of copies, and about logs.

use super::files::{Source, Under};
use super::values::FileAddress;
use clap::Args;
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
  push       as cto, and new versions are sent to whoever subscribes
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
