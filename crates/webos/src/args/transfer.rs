//! Commands about transfer certificates.

use super::values::{NodeName, PlacedRights};
use clap::{Args, Subcommand};
use std::time::Duration;

/// Transfer certificates.
#[derive(Debug, Subcommand)]
pub enum TransferCommand {
    Create(CreateArgs),
    /// List what you lent and what was lent to you
    #[command(after_help = "Example:\n  webos transfer list")]
    List,
    /// Show every link of one
    #[command(after_help = "Example:\n  webos transfer show 3f2a")]
    Show {
        /// The beginning of its id
        id: String,
    },
    /// Take back what you lent, and with it whatever was passed on from there
    #[command(after_help = "Example:\n  webos transfer revoke 3f2a")]
    Revoke {
        /// The beginning of its id; the whole id of one that is not in this purse, for owners of the realm's first node
        id: String,
    },
}

/// Let a server act for you: on these things, for this time
///
/// What it will be allowed is said in plain words before anything is signed. The server is asked for its key, and gets
/// the certificate at once. With --under it is passed on from one that was lent to you.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos transfer create --to n2 --grant data.lab.example/in:r --grant data.lab.example/out:rw --for 1h
  webos transfer create --to spiffe://b.example/server/s1@s1.b.example:4433 --grant data.lab.example/in:r --depth 1
  webos transfer create --under 3f2a --to s2 --grant data.lab.example/in:r --for 30m")]
pub struct CreateArgs {
    /// The server: NAME, NAME@HOST:PORT, or a whole spiffe:// id with or without @HOST:PORT
    #[arg(long, value_name = "NODE")]
    pub to: NodeName,
    /// What it may do: NAME.REALM/path:RIGHTS, a service or group with :RIGHTS; may be said several times
    #[arg(long = "grant", value_name = "PLACE:RIGHTS", required = true)]
    pub grants: Vec<PlacedRights>,
    /// For how long [default: 8h, or as long as what it is passed on from]
    #[arg(long = "for", value_name = "TIME", value_parser = terms::parse_duration)]
    pub duration: Option<Duration>,
    /// Over how many further servers it may pass this on: 0 to 3
    #[arg(long, value_name = "LINKS", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub depth: u8,
    /// Pass this on, which was lent to you: the beginning of its id
    #[arg(long, value_name = "ID")]
    pub under: Option<String>,
    /// Keep it in your purse only: do not give it to the server
    #[arg(long)]
    pub keep: bool,
    /// Do not ask before signing
    #[arg(short, long)]
    pub yes: bool,
}
