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
use std::time::{Duration, Instant};
use terms::{Code, Location, Principal, Problem, Right, TransferId, VolumeName, VolumePath};
use trust::transfer::verify;
use trust::{AllStand, Applied, Asker, Authority, Bucket, Decision, FeedCopy, NoGroups, Question, TrustStore};
use world::World;

const REALM: &str = "bench.localhost";
/// Bytes of a frame that the node sends: after each it looks whether the certificate still stands.
const FRAME: usize = 64 * 1024;

/// Longer than any reader may take to hear: then something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

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

    /// A server of the realm, as each node that follows the feed is.
    fn reader(&self, number: usize) -> Result<Client> {
        let folder = Folder::new(self.folder.path().join(format!("reader{number}")));
        let realm = REALM.parse()?;
        std::fs::create_dir_all(folder.realms())?;
        std::fs::copy(self.home().realm(&realm), folder.realm(&realm))?;
        let authority = Authority::load(&self.home().authority())?;
        let name: Principal = format!("spiffe://{REALM}/server/reader{number}").parse()?;
        authority.issue_identity(&name, None, World::real().clock.unix())?.save(&folder.identity())?;
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
    row.notes.push("peer: the same read; ours: with a new chain of four links for each read on top, nothing known before the first".into());
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
            row.ours.push(read + rights(&scene, config.reads, bytes)?);
            row.peer.push(read);
        }
        Ok(())
    })
}

/// Seconds of what a node does about rights for so many reads, each under another chain of four links. It has seen no
/// certificate of theirs before the first.
fn rights(scene: &Scene, reads: usize, bytes: usize) -> Result<f64> {
    let chains = (0..reads).map(|_| scene.chain(4)).collect::<Result<Vec<_>>>()?;
    let (peer, store) = (scene.peer(scene.servers.last().context("servers")?)?, scene.store()?);
    let location: Location = "data.lab.example/in/big".parse()?;
    let alice: Principal = scene.alice.principal().clone();
    let bucket = Bucket::new([(terms::Who::Principal(alice), "rwmxa".parse()?)])?;
    let started = Instant::now();
    for chain in &chains {
        let verified = verify(chain, &peer, &store, scene.now).context("an honest chain")?;
        let asker = Asker { peer: Some(&peer), chain: Some(&verified), ..Asker::default() };
        let (right, groups, standing) = (Right::Read, &NoGroups, &AllStand);
        let question =
            Question { now: scene.now, asker, location: &location, right, bucket: &bucket, groups, standing };
        anyhow::ensure!(matches!(trust::decide(&question), Decision::Granted { .. }), "refused");
        let seen = (0..bytes.div_ceil(FRAME)).fold(0, |seen, _| watched(&store, seen));
        std::hint::black_box(seen);
    }
    Ok(started.elapsed().as_secs_f64())
}

fn watched(store: &TrustStore, seen: u64) -> u64 {
    std::hint::black_box(store.generation()).max(seen)
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

/// What a reader says: that it waits, or what it heard and when. An error ends it.
type Told = Result<Option<Instant>>;

async fn heard(node: &Node, readers: usize, revocations: u8, sample: usize) -> Result<f64> {
    let (tell, mut told) = tokio::sync::mpsc::channel::<Told>(readers * usize::from(revocations) + readers);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..readers {
        let (client, tell) = (node.reader(number)?, tell.clone());
        tasks.spawn(async move {
            if let Err(error) = read_feed(&client, &tell).await {
                let _ = tell.send(Err(error)).await;
            }
        });
    }
    for _ in 0..readers {
        next(&mut told).await?;
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
            let at = next(&mut told).await?.context("a reader began anew")?;
            took.push(at.duration_since(asked).as_secs_f64());
        }
    }
    tasks.shutdown().await;
    took.sort_by(f64::total_cmp);
    took.get(took.len() * 99 / 100).copied().context("no readings")
}

async fn next(told: &mut tokio::sync::mpsc::Receiver<Told>) -> Result<Option<Instant>> {
    let said = tokio::time::timeout(PATIENCE, told.recv()).await;
    said.with_context(|| format!("a reader heard nothing for {PATIENCE:?}"))?.context("no reader is left")?
}

/// Reads until nothing is new, says so, and from then on tells of all that is. A node that is too busy is asked again a
/// second later, as nodes do that follow a feed.
async fn read_feed(client: &Client, tell: &tokio::sync::mpsc::Sender<Told>) -> Result<()> {
    let mut copy = FeedCopy::new(REALM.parse()?);
    while heard_page(client, &mut copy, false).await?.more {}
    tell.send(Ok(None)).await?;
    loop {
        let applied = heard_page(client, &mut copy, true).await?;
        for _ in applied.new {
            tell.send(Ok(Some(Instant::now()))).await?;
        }
    }
}

async fn heard_page(client: &Client, copy: &mut FeedCopy, wait: bool) -> Result<Applied> {
    loop {
        match client.hear(copy, wait).await {
            Err(problem) if problem.code == Code::Busy => tokio::time::sleep(Duration::from_secs(1)).await,
            other => return other.map_err(failed),
        }
    }
}
