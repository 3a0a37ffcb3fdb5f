//! Commands about realms, nodes and people.

use super::operate::{NodeInstall, NodeUninstall};
use super::relay::RelayVia;
use super::values::{LinkRate, NodeName, WhoName};
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use terms::{ByteCount, Digest, Label, RealmName, ServiceName};

/// Realms.
#[derive(Debug, Subcommand)]
pub enum RealmCommand {
    /// Make a realm: its authority and its first node's identity are made here
    #[command(
        after_help = "Examples:\n  webos realm init lab.example --node home\n  webos realm init lab.example --passphrase-file root.txt\n\nThe root's key is written under a passphrase, asked for twice, or read from standard input or a file."
    )]
    Init {
        /// The realm's name
        realm: RealmName,
        /// The name of its first node, which is this one
        #[arg(long, value_name = "NAME", default_value = "home")]
        node: Label,
        /// Write the root's key without a passphrase
        #[arg(long, conflicts_with = "passphrase_file")]
        unencrypted: bool,
        /// Take the passphrase from the first line of this file
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    Renew(RootUse),
    Succeed(Succeed),
    /// Show the realms that are trusted here, and what ends when
    #[command(after_help = "Example:\n  webos realm show")]
    Show {
        /// Only this one
        realm: Option<RealmName>,
    },
    Trust(Trust),
    /// Believe the names of a realm no longer
    #[command(after_help = "Example:\n  webos realm distrust lab.example")]
    Distrust {
        /// Which one
        realm: RealmName,
    },
    Revoke(RevokePrincipal),
    /// End every transfer certificate that principals of the realm signed until now
    #[command(
        after_help = "Example:\n  webos realm revoke-all\n\nFor owners of the realm's first node. Certificates of principals stay valid; whoever lent something lends it anew."
    )]
    RevokeAll {
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Further servers that hand on what the realm says of itself and has taken back
    #[command(subcommand)]
    NameServer(NameServerCommand),
    /// Print an invitation line, good for ten minutes and one use
    #[command(after_help = "Examples:\n  webos realm invite server n2\n  webos realm invite user alice")]
    Invite(Invite),
}

/// The realm's further name servers: they copy its bundle and its feed. For owners of its first node.
#[derive(Debug, Subcommand)]
pub enum NameServerCommand {
    /// Name a member of the realm that keeps copies of what the realm says of itself, and gives them to whoever asks
    #[command(
        after_help = "Examples:\n  webos realm name-server add n2 n2.lab.example:4433\n\nMembers and other realms learn of it within three minutes. Naming it again changes its address."
    )]
    Add {
        /// The server
        server: NodeName,
        /// Where everybody reaches it: HOST:PORT
        #[arg(value_parser = super::values::server_address)]
        address: String,
    },
    /// Name it no more
    #[command(after_help = "Example:\n  webos realm name-server remove n2")]
    Remove {
        /// The server
        server: NodeName,
    },
}

/// Make the realm's next issuing certificate, with the root's key
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos realm renew
  webos realm renew --root /media/stick/root.age")]
pub struct RootUse {
    /// The root's file, if it was moved away
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// Take its passphrase from the first line of this file
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Make the realm's next root, which the present one names as its successor
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos realm succeed
  webos realm succeed --root /media/stick/root.age --new-root /media/stick/root-2.age

Realms that trust this one follow by themselves. Issuing goes on under the present root until `webos realm renew`.")]
pub struct Succeed {
    #[command(flatten)]
    pub present: RootUse,
    /// Where to write the new root, if not beside the authority
    #[arg(long, value_name = "FILE")]
    pub new_root: Option<PathBuf>,
    /// Take the new root's passphrase from the first line of this file
    #[arg(long, value_name = "FILE")]
    pub new_passphrase_file: Option<PathBuf>,
    /// Write the new root's key without a passphrase
    #[arg(long, conflicts_with = "new_passphrase_file")]
    pub unencrypted: bool,
}

/// Believe the names of another realm, whose fingerprint came to you by another way
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  webos realm trust https://home.lab.example:4433 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

`webos realm show` prints the fingerprint at the realm's first node. Trusting a realm means believing its
names, nothing else: rights come from access lists.")]
pub struct Trust {
    /// Where one of its servers answers: https://HOST:PORT or HOST:PORT
    #[arg(value_parser = super::values::server_address)]
    pub url: String,
    /// Its fingerprint: 64 hexadecimal digits
    #[arg(value_parser = super::values::fingerprint)]
    pub fingerprint: Digest,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// End every certificate of a user or a machine, with its connections, its leases and whatever it lent
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos realm revoke user/bob
  webos realm revoke spiffe://lab.example/server/n2

For owners of the realm's first node. Invite it again to let it come back, as somebody new.")]
pub struct RevokePrincipal {
    /// user/NAME, server/NAME, or a whole spiffe:// id
    pub who: WhoName,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// An invitation.
#[derive(Debug, Clone, Args)]
pub struct Invite {
    /// A machine or a person
    pub kind: InvitedKind,
    /// Its name in the realm
    pub name: Label,
    /// Also if it is a member already: the former one is then no member any more
    #[arg(long)]
    pub again: bool,
    /// Where the realm's first node can be reached, if not where it last listened
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
}

/// What can be invited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum InvitedKind {
    /// A machine.
    Server,
    /// A person.
    User,
}

impl From<InvitedKind> for terms::PrincipalKind {
    fn from(kind: InvitedKind) -> Self {
        match kind {
            InvitedKind::Server => Self::Server,
            InvitedKind::User => Self::User,
        }
    }
}

/// Nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    Run(NodeRun),
    /// Become a node of a realm, with the invitation line read from standard input
    #[command(
        after_help = "Example:\n  echo \"$LINE\" | webos node join\n\nThe line comes from `webos realm invite server NAME`. It is a secret: never put it among the arguments."
    )]
    Join,
    /// Give this folder's node a new key; the old one serves the chains that name it until they end
    #[command(after_help = "Example:\n  webos node rotate")]
    Rotate,
    Lend(Lend),
    Install(NodeInstall),
    Uninstall(NodeUninstall),
}

/// Run this folder's node until it is told to end
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos node run --listen 0.0.0.0:4433 --address n2.lab.example:4433
  webos node run --relay-via data.lab.example=r1@192.0.2.1:4433   # relay what r1 relays")]
pub struct NodeRun {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:0] [env: WEBOS_LISTEN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where others reach this node, if not where it listens [env: WEBOS_ADDRESS]
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// What the front may send: 100mbit, 1gbit, none [default: none]
    #[arg(long, value_name = "RATE")]
    pub link: Option<LinkRate>,
    /// Which relay is asked for a volume that is relayed here, instead of its home [env: WEBOS_RELAY_VIA]
    #[arg(long, value_name = "VOLUME=NODE@HOST:PORT")]
    pub relay_via: Option<RelayVia>,
    /// End when standard input closes: for a program that runs nodes and may itself be killed
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

/// Lend this node to a service, or take it back
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos node lend --to service://site.lab.example --cpu 2 --memory 1GiB --for 8h
  webos node lend --to service://site.lab.example --withdraw")]
pub struct Lend {
    /// To which service
    #[arg(long, value_name = "SERVICE")]
    pub to: ServiceName,
    /// Cores
    #[arg(long, value_name = "CORES", default_value = "1", value_parser = super::values::cpu_milli)]
    pub cpu: u32,
    /// Memory
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    pub memory: ByteCount,
    /// Price per hour, in the realm's own unit
    #[arg(long, default_value_t = 0.0)]
    pub price: f64,
    /// Power relative to a usual node
    #[arg(long, default_value_t = 1.0)]
    pub power: f64,
    /// For how long; until withdrawn if not said
    #[arg(long = "for", value_name = "TIME", value_parser = terms::parse_duration)]
    pub duration: Option<Duration>,
    /// Keep the cached files of the service when a surrogate ends here
    #[arg(long)]
    pub keep_cache: bool,
    /// Take the offer back: what runs here is drained and ended
    #[arg(long, conflicts_with_all = ["cpu", "memory", "price", "power", "duration", "keep_cache"])]
    pub withdraw: bool,
}

/// Users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Become a user of a realm, with the invitation line read from standard input
    #[command(
        after_help = "Examples:\n  echo \"$LINE\" | webos user register\n  echo \"$LINE\" | webos user register --encrypt\n\nThe line comes from `webos realm invite user NAME`. It is a secret: never put it among the arguments."
    )]
    Register {
        /// Keep your key under a passphrase: it is asked for on the terminal, now and at each use
        #[arg(long)]
        encrypt: bool,
    },
    /// Renew your certificate now; commands do it by themselves in its second half
    #[command(after_help = "Examples:\n  webos user renew\n  webos user renew --new-key")]
    Renew {
        /// With a new key; the old one is kept until the chains that name it end
        #[arg(long)]
        new_key: bool,
    },
}

/// Say who you are, to which realm you belong, and until when
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos whoami
  webos whoami --curl            # how curl speaks to a node as you")]
pub struct Whoami {
    /// Print the options with which curl speaks to the nodes of your realm
    #[arg(long)]
    pub curl: bool,
}
