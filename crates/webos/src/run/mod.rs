//! The second stage of a command: settings, folder, logs, and then the command itself. One file a group of
//! commands; this one only chooses, and turns the outcome into an exit code.

mod acl;
mod audit;
mod bench;
mod daemon;
mod doctor;
mod ends;
mod fetch;
mod files;
mod group;
mod hidden;
mod install;
mod keyring;
mod limits;
mod logs;
mod moving;
mod name_servers;
mod node;
mod pages;
mod passphrase;
mod proxies;
mod proxy;
mod reach;
mod realm;
mod recover;
mod revoke;
mod roots;
mod running;
mod service;
mod settings;
mod status;
mod token;
mod transfer;
mod trusted;
mod unit;
mod upkeep;
mod volume;
mod who;
mod why;

pub use fetch::CACHED_SERVICES;
pub use limits::PROXY_PORT;

use crate::args::{self, Cli, Command, Everywhere, NodeCommand, Parsed, UserCommand};
use crate::home;
use crate::output::{Failure, Out, Outcome, report};
use crate::settings::{Flags, Settings, parse_file, resolve};
use client::Folder;
use keyring::Keyring;
use std::ffi::OsString;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use terms::{Code, PrincipalKind, Problem};
use tracing_subscriber::EnvFilter;
use world::World;

/// What every command of the second stage is given.
#[derive(Clone)]
pub struct Setup {
    /// What is set.
    pub settings: Settings,
    /// The folder of the principal; it need not exist.
    pub folder: Folder,
    /// Clocks and entropy.
    pub world: World,
    /// What opens the key of the folder.
    pub keyring: Keyring,
}

/// Runs the command of these words, the program's name first.
pub fn main(words: Vec<OsString>) -> ExitCode {
    // Asked before parsing, because the answer to words that do not parse is JSON too.
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    match args::parse(words) {
        Parsed::Run(cli) => finish(&run(*cli), json),
        Parsed::Show(error) => {
            let shown = error.print().map_err(Failure::of_output);
            finish(&shown, json)
        }
        Parsed::Wrong(error) => {
            usage(&error, json);
            ExitCode::from(Code::Invalid.exit_code())
        }
    }
}

fn finish(outcome: &Outcome, json: bool) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(report(failure, json)),
    }
}

/// clap's own words (they carry the suggestions), begun as all our errors begin.
fn usage(error: &clap::Error, json: bool) {
    let text = error.render();
    if json {
        let plain = text.to_string();
        let problem = Problem::new(Code::Invalid, plain.trim_start_matches("error: ").trim());
        report(&problem.into(), true);
        return;
    }
    let plain = text.to_string();
    // Help that was asked for by leaving a command out begins otherwise.
    let text = plain.strip_prefix("error: ").map_or(plain.clone(), |said| format!("webos: {said}"));
    // With nobody to read it the exit code still tells.
    let _ = write!(io::stderr(), "{text}");
}

fn run(cli: Cli) -> Outcome {
    let Cli { everywhere, command } = cli;
    let mut out = Out::new(everywhere.json, World::real());
    let outcome = match command {
        None => pages::newcomer(&mut out),
        // These need nothing from the machine's settings, and work even when those are damaged.
        Some(Command::Completions { shell }) => pages::completions(&mut out, shell),
        Some(Command::Man(man)) => pages::man(&mut out, &man),
        Some(Command::Bench(arguments)) => bench::start(&arguments, everywhere.json),
        Some(command) => {
            let setup = set_up(&everywhere, &command, World::from_environment()?)?;
            choose(&setup, &mut out, command)
        }
    };
    outcome.and_then(|()| out.flush())
}

fn set_up(everywhere: &Everywhere, command: &Command, world: World) -> Result<Setup, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    let flags = flags(everywhere, command);
    let place = crate::settings::home(flags.home.as_deref(), variable)?;
    home::check(&place.value)?;
    let folder = Folder::new(&place.value);
    let file = folder.settings();
    let entries = parse_file(&file, &home::read_settings(&file)?)?;
    let settings = resolve(place, &entries, variable, flags)?;
    log_to_stderr(&settings)?;
    let keyring = Keyring::new(
        everywhere
            .passphrase_file
            .clone()
            .or_else(|| std::env::var_os(keyring::VARIABLE).filter(|name| !name.is_empty()).map(Into::into)),
    );
    Ok(Setup { settings, folder, world, keyring })
}

fn flags(everywhere: &Everywhere, command: &Command) -> Flags {
    let mut flags = Flags { home: everywhere.home.clone(), log: everywhere.log.clone(), ..Flags::default() };
    match command {
        Command::Up(up) => {
            (flags.surrogates, flags.link, flags.console_port) = (up.surrogates, up.link, up.console_port);
        }
        Command::Node(NodeCommand::Run(run)) => {
            (flags.listen, flags.address) = (run.listen, run.address.clone());
            flags.relay_via.clone_from(&run.relay_via);
        }
        Command::Proxy(proxy) => flags.proxy_listen = proxy.listen,
        _ => {}
    }
    flags
}

fn log_to_stderr(settings: &Settings) -> Result<(), Problem> {
    let log = &settings.log;
    let filter = EnvFilter::builder().parse(&log.value).map_err(|error| {
        Problem::new(Code::Invalid, format!("{}: log cannot be '{}': {error}", log.origin, log.value))
            .next("use error, warn, info or debug")
    })?;
    // Colours only where somebody sees them: logs are read by programs too.
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(io::stderr).init();
    Ok(())
}

fn choose(setup: &Setup, out: &mut Out, command: Command) -> Outcome {
    let apart = matches!(
        command,
        Command::Up(_)
            | Command::User(_)
            | Command::Down(_)
            | Command::Settings
            | Command::Doctor
            | Command::Whoami(_)
            | Command::Proxy(_)
    );
    if !apart && !matches!(command, Command::Recover(_)) {
        recover::announce(setup, out);
    }
    if !apart && who::is_renewal_due(setup) {
        wait_for(async {
            who::renew_beforehand(setup).await;
            Ok(())
        })?;
    }
    match command {
        Command::Up(up) => to_the_end(crate::up::up(setup, out, &up)),
        Command::Down(down) => wait_for(crate::up::down(setup, out, &down)),
        Command::Status => wait_for(status::show(setup, out)),
        Command::Doctor => wait_for(doctor::run(setup, out)),
        Command::Settings => settings::show(setup, out),
        Command::Realm(realm) => wait_for(realm::run(setup, out, &realm)),
        Command::Node(NodeCommand::Run(run)) => to_the_end(node::run(setup, out, &run)),
        Command::Node(NodeCommand::Join) => wait_for(who::join(setup, out, PrincipalKind::Server, false)),
        Command::Node(NodeCommand::Rotate) => wait_for(who::rotate(setup, out)),
        Command::Node(NodeCommand::Lend(lend)) => wait_for(node::lend(setup, out, &lend)),
        Command::User(UserCommand::Register { encrypt }) => {
            wait_for(who::join(setup, out, PrincipalKind::User, encrypt))
        }
        Command::User(UserCommand::Renew { new_key }) => wait_for(who::renew(setup, out, new_key)),
        Command::Whoami(whoami) => who::whoami(setup, out, &whoami),
        Command::Volume(volume) => wait_for(volume::run(setup, out, &volume)),
        Command::Ls(ls) => wait_for(files::ls(setup, out, &ls)),
        Command::Stat(stat) => wait_for(files::stat(setup, out, &stat)),
        Command::Cat(cat) => wait_for(files::cat(setup, out, &cat)),
        Command::Put(put) => wait_for(files::put(setup, out, &put)),
        Command::Get(get) => wait_for(files::get(setup, out, &get)),
        Command::Rm(rm) => wait_for(files::rm(setup, out, &rm)),
        Command::Mv(mv) => wait_for(files::mv(setup, out, &mv)),
        Command::Mkdir(mkdir) => wait_for(files::mkdir(setup, out, &mkdir)),
        Command::Ln(ln) => wait_for(files::ln(setup, out, &ln)),
        Command::Find(find) => wait_for(files::find(setup, out, &find)),
        Command::Recover(recover) => wait_for(recover::run(setup, out, &recover)),
        Command::Watch(watch) => wait_for(files::watch(setup, out, &watch)),
        Command::Policy(policy) => wait_for(files::policy(setup, out, &policy)),
        Command::Append(append) => wait_for(files::append(setup, out, &append)),
        Command::Tail(tail) => wait_for(files::tail(setup, out, &tail)),
        Command::Acl(acl) => wait_for(acl::run(setup, out, &acl)),
        Command::Audit(audit) => wait_for(audit::run(setup, out, &audit)),
        Command::Token(token) => wait_for(token::run(setup, out, &token)),
        Command::Node(NodeCommand::Install(arguments)) => install::install(out, &arguments),
        Command::Node(NodeCommand::Uninstall(arguments)) => install::uninstall(out, &arguments),
        Command::Group(group) => wait_for(group::run(setup, out, &group)),
        Command::Why(why) => wait_for(why::run(setup, out, &why)),
        Command::Transfer(transfer) => wait_for(transfer::run(setup, out, &transfer)),
        Command::Service(service) => wait_for(service::run(setup, out, &service)),
        Command::Fetch(fetch) => wait_for(fetch::run(setup, out, &fetch)),
        Command::Proxy(_) => to_the_end(proxy::run(setup, out)),
        // Answered by `run`: they need no setup.
        Command::Completions { .. } | Command::Man(_) | Command::Bench(_) => Ok(()),
    }
}

/// Several threads also for the shortest command: whoever reads its output may pause, and meanwhile its connections
/// have to answer.
fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Problem::new(Code::Internal, format!("cannot start threads: {error}")))
}

/// Runs a command that waits for others, until it ends or Ctrl-C is pressed; then what it began is undone by
/// dropping it.
fn wait_for(command: impl Future<Output = Outcome>) -> Outcome {
    to_the_end(async {
        tokio::select! {
            outcome = command => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
        }
    })
}

/// Runs a command that looks after signals itself.
fn to_the_end(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = runtime()?;
    let outcome = runtime.block_on(command);
    // A thread that still reads standard input must not keep the process alive.
    runtime.shutdown_background();
    outcome
}
