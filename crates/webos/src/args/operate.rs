//! Commands of operation: the audit log, bearer tokens, the system service.

use super::installed::TokenGrantArg;
use super::moment::Moment;
use super::values::{FileAddress, NodeName, WhoName};
use clap::{Args, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Read the audit log of the node of this folder, oldest first
#[derive(Debug, Clone, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  webos audit --limit 20
  webos audit --principal user/alice --outcome refused --since 24h
  webos audit --path data.lab.example/in --json
  webos audit verify

The log is read from the folder, whether its node runs or not; nothing else reads it."
)]
pub struct Audit {
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
    #[command(flatten)]
    pub query: AuditShow,
}

/// What to do with the audit log besides reading it.
#[derive(Debug, Clone, Subcommand)]
pub enum AuditCommand {
    Verify(AuditVerify),
    Acknowledge(AuditAcknowledge),
}

/// Which records to show.
#[derive(Debug, Clone, Args)]
pub struct AuditShow {
    /// Who asked, for whom it was asked, or who stands in the chain: user/alice, or a whole id
    #[arg(long, value_name = "WHO")]
    pub principal: Option<WhoName>,
    /// This file, folder, volume, group or service, and what is below it
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// The id of a transfer certificate or token, or how it begins
    #[arg(long, value_name = "ID")]
    pub transfer: Option<String>,
    /// Since when: 24h ago, or 2026-01-31, or "2026-01-31 12:00:05" (UTC)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Only what was granted, refused or changed
    #[arg(long)]
    pub outcome: Option<AuditKind>,
    /// At most so many: the newest
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: Option<u32>,
}

/// What a record says that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditKind {
    /// A right was granted.
    Granted,
    /// Something was refused.
    Refused,
    /// Trust material was changed.
    Changed,
}

/// Find a removed, changed, inserted or cut record; also against what a second node keeps
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos audit verify
  webos audit verify --witness n2@10.0.0.2:4433
  webos audit verify --offline

Exit code 1 names the first record at fault. Without a second node, whoever can write in this folder can hide a cut.")]
pub struct AuditVerify {
    /// Ask this node (NAME or NAME@HOST:PORT) what it was told of the log, instead of the usual one
    #[arg(long, value_name = "NODE", conflicts_with = "offline")]
    pub witness: Option<NodeName>,
    /// Ask nobody
    #[arg(long)]
    pub offline: bool,
}

/// Say that you know why the end of the log is missing: it was restored from a backup
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos audit acknowledge
  webos audit acknowledge --witness n2@10.0.0.2:4433

Writes one record that names what is missing; from then on `webos audit verify` notes it and is content. Whatever else is
cut later is found as before. The node of the folder must not run. The second node records it too.")]
pub struct AuditAcknowledge {
    /// Ask this node (NAME or NAME@HOST:PORT) what it was told of the log, instead of the usual one
    #[arg(long, value_name = "NODE")]
    pub witness: Option<NodeName>,
}

/// Bearer tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    Create(TokenCreate),
    List(TokenList),
    Revoke(TokenRevoke),
}

/// Make a token with which a program without a certificate reads or writes files in your name
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos token create data.lab.example/in
  webos token create data.lab.example/in:r data.lab.example/out:rw --for 1h

A token is for the files' home only, lasts at most 12 hours and at most as long as your certificate, and gives r unless
asked. Whoever sees it can use it: it is shown once, and sent over TLS only.")]
pub struct TokenCreate {
    /// NAME.REALM/path, with the rights after a colon: r, rw (create) or rwm (overwrite and delete too)
    #[arg(required = true, value_name = "PATH[:RIGHTS]")]
    pub grants: Vec<TokenGrantArg>,
    /// For how long, at most 12h
    #[arg(long = "for", value_name = "TIME", default_value = "12h", value_parser = terms::parse_duration)]
    pub duration: Duration,
    /// Only these files themselves, not what is below them
    #[arg(long)]
    pub exact: bool,
}

/// List your tokens at the home of a volume
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  webos token list data.lab.example")]
pub struct TokenList {
    /// NAME.REALM
    #[arg(value_name = "VOLUME")]
    pub place: FileAddress,
}

/// End a token at once: yours, or one on files that you administer
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  webos token revoke data.lab.example 0f9a0f9a0f9a0f9a0f9a0f9a0f9a0f9a")]
pub struct TokenRevoke {
    /// NAME.REALM: the volume whose home made it
    #[arg(value_name = "VOLUME")]
    pub place: FileAddress,
    /// Its id
    pub id: String,
}

/// Have systemd run the node of a folder: writes a hardened unit, checks it, and starts it
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  sudo webos node install --listen 0.0.0.0:4433 --address n2.lab.example:4433
  webos node install --root build/package            # for packaging: files only, below this folder

Afterwards, as the service's user: sudo -u webos WEBOS_HOME=/var/lib/webos webos node join < LINE")]
pub struct NodeInstall {
    /// Write everything below this folder and start nothing
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The user that the node runs as; made if it is not there
    #[arg(long, value_name = "USER", default_value = "webos", value_parser = super::installed::user_name)]
    pub user: String,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:4433")]
    pub listen: SocketAddr,
    /// Where others reach this node, if not where it listens
    #[arg(long, value_name = "HOST:PORT", value_parser = super::installed::host_and_port)]
    pub address: Option<String>,
}

/// Stop the node that systemd runs, and take its unit away; its folder stays
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  sudo webos node uninstall")]
pub struct NodeUninstall {
    /// Take the files below this folder away, and stop nothing
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}
