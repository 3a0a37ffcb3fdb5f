//! Our side: a realm whose node runs on the server's host, and a user of it at the client's.

use crate::lab::{Lab, SERVER, succeed};
use anyhow::{Context, Result, anyhow, bail};
use client::{Client, Folder, Volume};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use terms::{Problem, VolumeName, VolumePath};
use webfs::cache::Cache;
use webfs::relay::{PoolLink, Replica};
use webfs::rules::LeaseRules;
use world::World;

const REALM: &str = "bench.localhost";
const VOLUME: &str = "data.bench.localhost";
const PORT: u16 = 4433;
/// What a client's cache may hold: bytes. More than anything here.
const CACHE_BYTES: u64 = 1 << 30;

/// A running node with one volume, and its user.
pub struct Ours {
    webos: PathBuf,
    user: PathBuf,
    node: Child,
}

impl Ours {
    /// Makes the realm in `server`, starts its node, and registers a user in `user`.
    pub fn start(lab: &Lab, webos: &Path, server: &Path, user: &Path) -> Result<Self> {
        for words in [
            ["realm", "init", REALM, "--unencrypted"].as_slice(),
            &["volume", "create", VOLUME, "--owner", "user/alice"],
        ] {
            succeed(Command::new(webos).args(words).env("WEBOS_HOME", server))?;
        }
        let mut command = lab.on_server(webos);
        command.args(["node", "run", "--json", "--until-stdin-closes", "--listen", &format!("{SERVER}:{PORT}")]);
        command.env("WEBOS_HOME", server).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut node = command.spawn().context("start the node")?;
        let output = node.stdout.take().context("no standard output")?;
        let ready = BufReader::new(output).lines().next().context("the node ended")??;
        let ours = Self { webos: webos.to_owned(), user: user.to_owned(), node };
        if serde_json::from_str::<serde_json::Value>(&ready)?["event"] != "ready" {
            bail!("the node did not become ready: {ready}");
        }
        let invite = ["realm", "invite", "user", "alice"];
        let line = succeed(Command::new(webos).args(invite).env("WEBOS_HOME", server))?;
        let mut register = ours.command(&["user", "register"]);
        let mut register = register.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("register")?;
        register.stdin.take().context("no standard input")?.write_all(line.as_bytes())?;
        anyhow::ensure!(register.wait()?.success(), "the user could not be registered");
        Ok(ours)
    }

    /// A command of the user's.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.webos);
        command.args(words).env("WEBOS_HOME", &self.user);
        command
    }

    /// Has the user forget where the volume lives.
    pub fn forget(&self) -> Result<()> {
        match std::fs::remove_file(Folder::new(&self.user).record(&name()?)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("remove a record"),
            _ => Ok(()),
        }
    }

    /// Whether there is such a command.
    pub fn knows(&self, word: &str) -> bool {
        succeed(&mut self.command(&[word, "--help"])).is_ok()
    }

    /// The address of a path, as commands take it.
    pub fn place(path: &str) -> String {
        format!("{VOLUME}/{path}")
    }

    /// A client with connections of its own.
    pub fn client(&self) -> Result<Client> {
        Client::open(Folder::new(self.user.clone()), World::real()).map_err(failed)
    }

    /// The volume's files by a new client.
    pub async fn volume(&self) -> Result<Volume> {
        self.client()?.volume(&name()?).await.map_err(failed)
    }

    /// The same with a connection already made.
    pub async fn warm(&self) -> Result<Volume> {
        let volume = self.volume().await?;
        volume.stat(&VolumePath::root()).await.map_err(failed)?;
        Ok(volume)
    }

    /// A cache of the volume that holds a lease, by a new client with its own connections.
    pub async fn replica(&self, cache: &Path) -> Result<Replica> {
        let client = self.client()?;
        let record = client.volume_record(&name()?).await.map_err(failed)?;
        let link = PoolLink::new(client.pool().clone(), name()?, record.home.clone(), &record.address);
        let cache = Cache::open(cache, CACHE_BYTES)?;
        let world = client.world().clone();
        let (link, rules) = (Arc::new(link), LeaseRules::default());
        let replica = Replica::start(&world, name()?, record.key, link, cache, rules).await?;
        replica.connected().await.map_err(failed)?;
        Ok(replica)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

fn name() -> Result<VolumeName> {
    Ok(VOLUME.parse()?)
}

/// A problem as an error.
pub fn failed(problem: Problem) -> anyhow::Error {
    anyhow!("{problem}")
}

/// Milliseconds of a command, which must succeed.
pub fn timed(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    succeed(command)?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
