//! Commands about services and reading from them.

use super::values::{FileAddress, LinkRate, ServiceAddress, WhoName};
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use terms::ServiceName;

/// Services.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    Publish(Box<Publish>),
    /// Show a service's servers, their load and how long they are there
    #[command(after_help = "Example:\n  webos service status service://site.demo.localhost")]
    Status {
        /// service://NAME.REALM
        service: ServiceName,
    },
    /// Show the signed service certificate
    #[command(after_help = "Example:\n  webos service cert service://site.demo.localhost")]
    Cert {
        /// service://NAME.REALM
        service: ServiceName,
    },
}

/// Publish a folder of a volume as a service
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos service publish service://site.lab.example data.lab.example/public
  webos service publish service://site.lab.example data.lab.example/public --readers group/staff
  webos service publish service://site.lab.example data.lab.example/public --lender spiffe://other.example/server/n9")]
pub struct Publish {
    /// service://NAME.REALM
    pub service: ServiceName,
    /// The folder that the service serves
    #[arg(value_name = "PATH")]
    pub files: FileAddress,
    /// The mean time to answer that more servers are borrowed to keep
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = terms::parse_duration)]
    pub goal: Duration,
    /// The greatest number of servers, this one included
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub max_servers: u32,
    /// Who may use the service; may be repeated
    #[arg(long, value_name = "WHO", default_value = "anyone")]
    pub readers: Vec<WhoName>,
    /// Who may lend nodes to the service besides its own realm: a node or a group of another one; may be repeated
    #[arg(long = "lender", value_name = "PRINCIPAL")]
    pub lenders: Vec<WhoName>,
    /// What one server can send, if that is stated: 100mbit, 1gbit, none
    #[arg(long, value_name = "RATE", default_value = "none")]
    pub link: LinkRate,
    /// Do not ask before the files become readable for anyone
    #[arg(short, long)]
    pub yes: bool,
}

/// Read a file from a service, from whichever of its servers is best
///
/// Goes on with another server when one fails, and checks every block against what the home signed.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos fetch service://site.demo.localhost/index.html
  webos fetch service://site.demo.localhost/big.bin -o big.bin    # resumes what is there
  webos fetch service://site.demo.localhost/big.bin -o - | wc -c")]
pub struct Fetch {
    /// service://NAME.REALM/path
    #[arg(value_name = "URL")]
    pub address: ServiceAddress,
    /// Where to put it; standard output if not said, or `-`. What an earlier attempt left in a file is gone on with
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Let programs that only know HTTP use services
///
/// They are at http://NAME.REALM.localhost:PORT/ (where REALM ends in .localhost, that is said once). It acts as
/// nobody: it shows what `anyone` may read.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos proxy
  webos proxy --listen 127.0.0.1:9000

Then: curl http://site.demo.localhost:8470/")]
pub struct Proxy {
    /// Where to listen; only loopback [default: 127.0.0.1:8470] [env: WEBOS_PROXY_LISTEN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}
