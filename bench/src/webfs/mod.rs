//! WebFS's goals that need no mount: commands and the library at a round trip of 40 ms and without delay, beside curl from
//! nginx, rclone and sftp. Everything runs in a network laboratory of its own; parameters and goals stand in
//! `bench/webfs.toml`.

mod files;
mod large;
mod library;
mod ours;
mod peers;
mod race;

use crate::Options;
use crate::lab::{self, Lab};
use crate::report::{Goal, Report, Row, median};
use anyhow::{Context, Result, bail};
use ours::Ours;
use peers::Peers;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const CONFIG: &str = include_str!("../../webfs.toml");
/// Folders of the client's are in memory: its disk is no part of what is measured.
const CLIENT: &str = "/run/client";

#[derive(Deserialize)]
struct Config {
    pairs: usize,
    rtt_ms: f64,
    large: large::Config,
    write: files::WriteConfig,
    small: files::SmallConfig,
    find: files::FindConfig,
    create: files::CreateConfig,
    contact: files::ContactConfig,
    library: library::Config,
    conflict: library::ConflictConfig,
    without_delay: WithoutDelay,
    nginx: Server,
    sshd: Server,
}

#[derive(Deserialize)]
struct WithoutDelay {
    goal_at_most: f64,
}

#[derive(Deserialize)]
struct Server {
    config: String,
}

/// What all rows share.
struct Stage {
    config: Config,
    short: bool,
    lab: Lab,
    ours: Ours,
    peers: Peers,
    runtime: tokio::runtime::Runtime,
    folder: TempDir,
}

impl Stage {
    fn new(options: &Options) -> Result<Self> {
        let config: Config = toml::from_str(CONFIG).context("read webfs.toml")?;
        let lab = Lab::new()?;
        let folder = TempDir::new().context("make a folder")?;
        crate::slice::open_to_all(folder.path())?;
        let files = folder.path().join("files");
        std::fs::create_dir(&files).context("make a folder")?;
        let webos = std::fs::canonicalize(&options.webos).context("find webos")?;
        let ours = Ours::start(&lab, &webos, &folder.path().join("home"), &client("alice"))?;
        let configs = (config.nginx.config.as_str(), config.sshd.config.as_str());
        let peers = Peers::start(&lab, configs, &files, &folder.path().join("keys"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { config, short: options.short, lab, ours, peers, runtime, folder })
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    /// Runs one row; what goes wrong becomes its reason.
    fn row(&mut self, mut row: Row, measure: impl FnOnce(&mut Self, &mut Row) -> Result<()>) -> Row {
        eprintln!("webfs: {}", row.work);
        if let Err(error) = measure(self, &mut row) {
            row.not_run = Some(format!("{error:#}"));
        }
        if let Some(middle) = median(&row.ours) {
            eprintln!("  ours {middle:.2} {}, the peer {:.2}", row.unit, median(&row.peer).unwrap_or(f64::NAN));
        }
        row
    }
}

/// A path of the client's.
fn client(name: &str) -> PathBuf {
    Path::new(CLIENT).join(name)
}

/// Runs the whole table in a laboratory. Outside of it this starts it, which prints the table; then there is nothing.
pub fn run(options: &Options) -> Result<Option<Report>> {
    if !lab::is_inside() {
        let status = lab::enter()?;
        if !status.success() {
            bail!("the laboratory ended with {status}");
        }
        return Ok(None);
    }
    let mut stage = Stage::new(options)?;
    large::prepare(&stage)?;
    files::prepare(&stage)?;
    library::prepare(&stage)?;
    let rtt = stage.config.rtt_ms;
    stage.lab.set_rtt(rtt)?;
    let mut library = vec![library::stat(&mut stage)];
    library.extend(library::open(&mut stage));
    library.extend(library::conflict(&mut stage));
    let mut rows = commands(&mut stage);
    rows.insert(0, in_round_trips(&rows[0], &stage));
    rows.extend(library);
    stage.lab.set_rtt(0.0)?;
    rows.extend(commands(&mut stage));
    rows.extend(elsewhere());
    Ok(Some(Report { name: "webfs", pairs: stage.config.pairs, rows }))
}

/// What whole commands do, at the round trip that is set.
fn commands(stage: &mut Stage) -> Vec<Row> {
    vec![
        files::contact(stage),
        files::small(stage),
        files::find(stage),
        large::read(stage),
        files::write(stage),
        files::create(stage, false),
        files::create(stage, true),
    ]
}

/// The first contact's samples against the number of round trips that it may take.
fn in_round_trips(contact: &Row, stage: &Stage) -> Row {
    let mut row = Row::new("first contact, by itself", "RTT", Goal::AtMost(stage.config.contact.goal_rtts));
    row.ours = contact.ours.iter().map(|ms| ms / stage.lab.rtt_ms()).collect();
    row.not_run.clone_from(&contact.not_run);
    row
}

/// What is measured elsewhere, or not yet.
fn elsewhere() -> Vec<Row> {
    [("10,000 idle sessions, memory each", "kB", 64.0, "not measured yet")]
        .into_iter()
        .map(|(work, unit, goal, why)| {
            let mut row = Row::new(work, unit, Goal::AtMost(goal));
            row.not_run = Some(why.to_owned());
            row
        })
        .collect()
}
