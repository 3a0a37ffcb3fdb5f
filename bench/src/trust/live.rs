//! What needs a running node: the cost of rights on a stream, and how fast many readers hear what was taken back.

use super::scene::Scene;
use crate::report::{Goal, Row};
use anyhow::{Context, Result, anyhow, bail};
use client::protocol::RevokeRequest;
use client::{Client, Folder, PutOptions};
use serde::Deserialize;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use terms::{Location, Principal, Problem, Right, TransferId, VolumeName, VolumePath};
use trust::transfer::verify;
use trust::{AllStand, Asker, Bucket, Decision, FeedCopy, NoGroups, Question, TrustStore};
use world::World;

const REALM: &str = "bench.localhost";
/// Bytes of a frame that the node sends: after each it looks whether the certificate still stands.
const FRAME: usize = 64 * 1024;

/// Parameters of the row about reading.
#[derive(Deserialize)]
pub struct StreamConfig {
    megabytes: usize,
    reads: usize,
    goal_at_most: f64,
}

/// Parameters of the row about the feed.
#[derive(Deserialize)]
pub struct FeedConfig {
    nodes: usize,
    revocations: u8,
    short_revocations: u8,
    goal_seconds: f64,
}

/// A realm of one running node, which owns a volume. Ends with the value.
struct Node {
    process: Child,
    folder: tempfile::TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Node {
    fn start(webos: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let home = folder.path().join("home");
        let volume = format!("data.{REALM}");
        for words in [["realm", "init", REALM, "--unencrypted"].as_slice(), &["volume", "create", &volume]] {
            let done = Command::new(webos).args(words).env("WEBOS_HOME", &home).output()?;
            if !done.status.success() {
                bail!("webos {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr));
            }
        }
        let mut command = Command::new(webos);
        command.args(["node", "run", "--json", "--until-stdin-closes"]).env("WEBOS_HOME", &home);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = process.stdout.take().context("no standard output")?;
        let ready = BufReader::new(output).lines().next().context("the node ended")??;
        let node = Self { process, folder };
        if serde_json::from_str::<serde_json::Value>(&ready)?["event"] != "ready" {
            bail!("the node did not become ready: {ready}");
        }
        Ok(node)
    }

    fn home(&self) -> Folder {
        Folder::new(self.folder.path().join("home"))
    }

    /// A client as the node itself, which owns everything here.
    fn owner(&self) -> Result<Client> {
        Client::open(self.home(), World::real()).map_err(failed)
    }

    /// Somebody who knows the realm and is nobody in it.
    fn reader(&self, number: usize) -> Result<Client> {
        let folder = Folder::new(self.folder.path().join(format!("reader{number}")));
        let realm = REALM.parse()?;
        std::fs::create_dir_all(folder.realms())?;
        std::fs::copy(self.home().realm(&realm), folder.realm(&realm))?;
        Client::open(folder, World::real()).map_err(failed)
    }
}

fn failed(problem: Problem) -> anyhow::Error {
    anyhow!("{problem}")
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// The time of a read with what rights cost in it, over the time without.
pub fn stream(config: &StreamConfig, webos: &Path, samples: usize) -> Row {
    let work = format!("rights on a {} MB read stream", config.megabytes);
    let mut row = Row::new(work, "s", Goal::RatioAtMost(config.goal_at_most));
    row.not_run = read_all(config, webos, samples, &mut row).err().map(|error| format!("{error:#}"));
    row.notes.push("peer: the same read; ours: with a chain of four links on top, nothing cached".into());
    row
}

fn read_all(config: &StreamConfig, webos: &Path, samples: usize, row: &mut Row) -> Result<()> {
    let bytes = config.megabytes * 1_000_000;
    let node = Node::start(webos)?;
    let scene = Scene::new()?;
    runtime()?.block_on(async {
        let owner = node.owner()?;
        let volume: VolumeName = format!("data.{REALM}").parse()?;
        let path = VolumePath::new("big")?;
        let files = owner.volume(&volume).await.map_err(failed)?;
        files.put_bytes(&path, PutOptions::default(), vec![7; bytes]).await.map_err(failed)?;
        for _ in 0..samples {
            let started = Instant::now();
            for _ in 0..config.reads {
                let read = files.read(&path, bytes).await.map_err(failed)?;
                anyhow::ensure!(read.len() == bytes, "a part only");
            }
            let read = started.elapsed().as_secs_f64();
            let started = Instant::now();
            (0..config.reads).try_for_each(|_| rights(&scene, bytes))?;
            let cost = started.elapsed().as_secs_f64() - building(&scene, config.reads)?;
            row.ours.push(read + cost.max(0.0));
            row.peer.push(read);
        }
        Ok(())
    })
}

/// What a node does about rights for one read under a chain of four links.
fn rights(scene: &Scene, bytes: usize) -> Result<()> {
    let chain = scene.chain(4)?;
    let (peer, store) = (scene.peer(scene.servers.last().context("servers")?)?, scene.store()?);
    let verified = verify(&chain, &peer, &store, scene.now).context("an honest chain")?;
    let location: Location = "data.lab.example/in/big".parse()?;
    let alice: Principal = scene.alice.principal().clone();
    let bucket = Bucket::new([(terms::Who::Principal(alice), "rwmxa".parse()?)])?;
    let asker = Asker { peer: Some(&peer), chain: Some(&verified), ..Asker::default() };
    let (right, groups, standing) = (Right::Read, &NoGroups, &AllStand);
    let question =
        Question { now: scene.now, asker, location: &location, right, bucket: &bucket, groups, standing };
    anyhow::ensure!(matches!(trust::decide(&question), Decision::Granted { .. }), "refused");
    let mut seen = 0;
    for _ in 0..bytes.div_ceil(FRAME) {
        seen = watched(&store, seen);
    }
    std::hint::black_box(seen);
    Ok(())
}

fn watched(store: &TrustStore, seen: u64) -> u64 {
    std::hint::black_box(store.generation()).max(seen)
}

/// Seconds that making chain, peer and store take: a node is given them.
fn building(scene: &Scene, times: usize) -> Result<f64> {
    let started = Instant::now();
    for _ in 0..times {
        let made = (scene.chain(4)?, scene.peer(scene.servers.last().context("servers")?)?, scene.store()?);
        std::hint::black_box(made);
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Seconds from asking for a revocation to a reader's having it, the slowest hundredth.
pub fn feed(config: &FeedConfig, webos: &Path, short: bool, samples: usize) -> Row {
    let work = format!("revocation to {} readers, p99", config.nodes);
    let mut row = Row::new(work, "s", Goal::AtMost(config.goal_seconds));
    row.not_run = hear_all(config, webos, short, samples, &mut row).err().map(|error| format!("{error:#}"));
    row
}

fn hear_all(config: &FeedConfig, webos: &Path, short: bool, samples: usize, row: &mut Row) -> Result<()> {
    let node = Node::start(webos)?;
    let revocations = if short { config.short_revocations } else { config.revocations };
    runtime()?.block_on(async {
        for sample in 0..samples {
            row.ours.push(heard(&node, config.nodes, revocations, sample).await?);
        }
        Ok(())
    })
}

async fn heard(node: &Node, readers: usize, revocations: u8, sample: usize) -> Result<f64> {
    let (tell, mut told) = tokio::sync::mpsc::channel(readers * usize::from(revocations) + readers);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..readers {
        let (client, tell) = (node.reader(number)?, tell.clone());
        tasks.spawn(async move {
            let mut copy = FeedCopy::new(REALM.parse()?);
            let mut wait = false;
            loop {
                let applied = client.hear(&mut copy, wait).await.map_err(failed)?;
                if !wait && !applied.more {
                    tell.send(None).await?;
                }
                for revoked in applied.new.into_iter().filter(|_| wait) {
                    tell.send(Some((revoked, Instant::now()))).await?;
                }
                wait = !applied.more;
            }
            #[allow(unreachable_code)]
            Ok::<_, anyhow::Error>(())
        });
    }
    for _ in 0..readers {
        anyhow::ensure!(matches!(told.recv().await, Some(None)), "a reader broke");
    }
    let owner = node.owner()?;
    let home = owner.first_node(&REALM.parse()?).map_err(failed)?;
    let mut took = Vec::new();
    for number in 0..revocations {
        let mut id = [number; 16];
        id[0] = u8::try_from(sample)?;
        let asked = Instant::now();
        home.revoke(&RevokeRequest::Transfer(TransferId(id))).await.map_err(failed)?;
        for _ in 0..readers {
            let (_, at) = told.recv().await.flatten().context("a reader broke")?;
            took.push(at.duration_since(asked).as_secs_f64());
        }
    }
    tasks.abort_all();
    took.sort_by(f64::total_cmp);
    took.get(took.len() * 99 / 100).copied().context("no readings")
}
