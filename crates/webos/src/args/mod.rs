//! The first stage of a command: from words to a checked [`Cli`], from the text alone. Help, completions and man
//! pages come from the same definitions. Nothing here opens a file or reads the environment.

mod files;
mod group;
mod installed;
mod local;
mod moment;
mod operate;
mod policy;
mod realm;
mod relay;
mod service;
mod transfer;
mod values;
mod watch;

pub use files::{
    AclCommand, AclCopy, AclEdit, Cat, Find, Get, Kind, Ln, Ls, Mkdir, Mv, Put, Rm, Stat, Under, VolumeCommand,
};
pub use group::{GroupAdd, GroupAddress, GroupCommand, Listed, Why};
pub use local::{Bench, Down, Man, UpArgs};
pub use operate::{
    Audit, AuditAcknowledge, AuditCommand, AuditKind, AuditShow, AuditVerify, NodeInstall, NodeUninstall,
    TokenCommand, TokenCreate,
};
pub use policy::{AppendArgs, PolicyArgs, TailArgs};
pub use realm::{
    Invite, Lend, NameServerCommand, NodeCommand, NodeRun, RealmCommand, RevokePrincipal, RootUse, Succeed, Trust,
    UserCommand, Whoami,
};
pub use relay::RelayVia;
pub use service::{Fetch, Proxy, Publish, ServiceCommand};
pub use transfer::{CreateArgs, TransferCommand};
pub use values::{FileAddress, LinkRate, NodeName, PlacedRights, UrlNode, WhoName};
pub use watch::{RecoverCommand, WatchFiles};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// Files, services and machines across organisations, with rights that end.
#[derive(Debug, Parser)]
#[command(name = "webos", version, max_term_width = 100, after_help = NEWCOMER)]
pub struct Cli {
    #[command(flatten)]
    pub everywhere: Everywhere,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What every command understands.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Everywhere {
    /// Print the result as JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// The folder with identity, settings and data [env: WEBOS_HOME]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// What to log to standard error: error, warn, info, debug, or a filter such as wire=debug [env: WEBOS_LOG]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// If your key is under a passphrase: take it from the first line of this file [env: WEBOS_PASSPHRASE_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Up(UpArgs),
    Down(Down),
    /// Say what runs here
    #[command(after_help = "Example:\n  webos status")]
    Status,
    /// Say what this machine can and cannot do, and what would help
    #[command(after_help = "Example:\n  webos doctor")]
    Doctor,
    /// Show each setting and where its value comes from
    #[command(after_help = "Example:\n  webos settings")]
    Settings,
    /// Make a realm, read it, invite machines and users
    #[command(subcommand)]
    Realm(RealmCommand),
    /// Run a node, let it join a realm, lend it
    #[command(subcommand)]
    Node(NodeCommand),
    /// Become a user of a realm
    #[command(subcommand)]
    User(UserCommand),
    Whoami(Whoami),
    /// Make and list the volumes of this node
    #[command(subcommand)]
    Volume(VolumeCommand),
    Ls(Ls),
    Stat(Stat),
    Cat(Cat),
    Put(Put),
    Get(Get),
    Rm(Rm),
    Mv(Mv),
    Mkdir(Mkdir),
    Ln(Ln),
    Find(Find),
    Watch(WatchFiles),
    /// See, publish or drop what could not be stored
    #[command(subcommand)]
    Recover(RecoverCommand),
    Policy(PolicyArgs),
    Append(AppendArgs),
    Tail(TailArgs),
    /// See and change who may do what
    #[command(subcommand)]
    Acl(AclCommand),
    Audit(Audit),
    /// Give programs without a certificate a token for some files and hours
    #[command(subcommand)]
    Token(TokenCommand),
    /// Make groups, and say who belongs to them
    #[command(subcommand)]
    Group(GroupCommand),
    Why(Why),
    /// Lend some of your rights to a server, see what was lent, take it back
    #[command(subcommand)]
    Transfer(TransferCommand),
    /// Publish folders as services, and look at services
    #[command(subcommand)]
    Service(ServiceCommand),
    Fetch(Fetch),
    Proxy(Proxy),
    Bench(Bench),
    /// Print the completions of a shell
    #[command(
        hide = true,
        after_help = "Example:\n  webos completions bash > ~/.local/share/bash-completion/completions/webos"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    Man(Man),
}

/// What a newcomer needs; printed by `webos` alone.
pub const NEWCOMER: &str = "\
The ten commands to begin with:
  webos up                                              start a whole local world, with a console to watch it
  webos status                                          what runs here
  webos ls site.demo.localhost/www                      list files
  webos cat site.demo.localhost/www/index.html          print a file
  webos put notes.txt site.demo.localhost/www/          store a file
  webos get -r site.demo.localhost/www copy             fetch a folder
  webos acl show site.demo.localhost/www                who may do what
  webos fetch service://site.demo.localhost/index.html  read from a service, whichever server is best
  webos doctor                                          what this machine can and cannot do
  webos down                                            end the local world
Each has --help with examples, and --json for programs.";

/// What the first stage found.
pub enum Parsed {
    /// A command to run.
    Run(Box<Cli>),
    /// Help or version: to be printed as it is.
    Show(clap::Error),
    /// The words make no command.
    Wrong(clap::Error),
}

/// Parses the words of a command line, the program's name first.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Parsed {
    let parsed = definitions().try_get_matches_from(words).and_then(|found| Cli::from_arg_matches(&found));
    match parsed {
        Ok(cli) => Parsed::Run(Box::new(cli)),
        Err(error) if error.use_stderr() => Parsed::Wrong(error),
        Err(error) => Parsed::Show(error),
    }
}

/// The definitions of all commands, for completions and man pages too.
pub fn definitions() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(command: &clap::Command, path: &str, visit: &mut impl FnMut(&str, &clap::Command)) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            if sub.has_subcommands() { leaves(sub, &path, visit) } else { visit(&path, sub) }
        }
    }

    #[test]
    fn the_definitions_agree_with_themselves() {
        definitions().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_that_parses() {
        let mut seen = 0;
        leaves(&definitions(), "webos", &mut |path, command| {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> =
                after.lines().filter(|l| l.starts_with("  ") && l.contains("webos ")).collect();
            assert!(!examples.is_empty(), "{path} has no example");
            assert!(command.get_about().is_some(), "{path} says nothing of itself");
            for example in examples {
                let words = &example[example.find("webos ").unwrap_or(0)..];
                let words = words.split(['|', '>', '#', '<']).next().unwrap_or_default();
                let parsed = parse(words.split_whitespace().map(OsString::from));
                assert!(matches!(parsed, Parsed::Run(_)), "{path}: {example}");
                assert!(words.starts_with(path), "{path}: {example}");
            }
            seen += 1;
        });
        assert!(seen > 25, "{seen}");
    }

    #[test]
    fn the_newcomers_page_names_ten_commands_that_parse() {
        let lines: Vec<&str> = NEWCOMER.lines().filter(|line| line.starts_with("  webos")).collect();
        assert_eq!(lines.len(), 10);
        for line in lines {
            let words = line.trim().split("  ").next().unwrap_or_default();
            let parsed = parse(words.split_whitespace().map(OsString::from));
            assert!(matches!(parsed, Parsed::Run(_)), "{words}");
        }
    }

    #[test]
    fn json_is_understood_everywhere() {
        leaves(&definitions(), "webos", &mut |path, command| {
            let mut whole = definitions();
            whole.build();
            assert!(command.get_arguments().all(|arg| arg.get_id() != "json"), "{path} has a --json of its own");
        });
        for words in ["webos --json ls a.b", "webos ls --json a.b", "webos ls a.b --json"] {
            match parse(words.split_whitespace().map(OsString::from)) {
                Parsed::Run(cli) => assert!(cli.everywhere.json, "{words}"),
                _ => panic!("{words}"),
            }
        }
    }
}
