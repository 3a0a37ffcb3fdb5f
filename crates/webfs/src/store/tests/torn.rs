//! The power goes at any operation of the disk, which forgets what was not synced: what was acknowledged is there
//! when it is back, what was not is there whole or not at all. And each sync of ours is needed: without it, found.
//!
//! Disk and writer are this same test program, started again: the disk keeps what it was given, the writer dies.

use super::path;
use crate::store::blocks::{Disk, RealDisk};
use crate::store::{Change, Conditions, Lookup, Put, Store, StoreError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use terms::{OperationId, SessionId};
use torn::Torn;
use world::{Entropy, SimulatedEntropy, World};

const DISK: &str = "WEBFS_TORN_DISK";
const FOLDER: &str = "WEBFS_TORN_FOLDER";
const ROUND: &str = "WEBFS_TORN_ROUND";
const STEPS: &str = "WEBFS_TORN_STEPS";
const WITHOUT: &str = "WEBFS_TORN_WITHOUT";
const SEED: &str = "WEBOS_SEED";

const TASKS: u64 = 4;
const FILES: u64 = 3;
/// Rounds, and rounds of a long run.
const ROUNDS: (u64, u64) = (16, 500);
/// Rounds in which a missing sync has to be found.
const ENOUGH_ROUNDS: u64 = 200;
/// A new volume takes about this many operations of the disk.
const CREATING: u64 = 330;
/// So many rounds use one volume; the first of them makes it.
const ROUNDS_A_VOLUME: u64 = 4;

/// A sync of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    BlockData,
    BlockName,
    Log,
    DraftName,
    BlockFolders,
    DatabaseName,
    VolumeName,
    FolderAbove,
}

const SYNCS: [Sync; 8] = [
    Sync::BlockData,
    Sync::BlockName,
    Sync::Log,
    Sync::DraftName,
    Sync::BlockFolders,
    Sync::DatabaseName,
    Sync::VolumeName,
    Sync::FolderAbove,
];

impl Sync {
    fn from_environment() -> Option<Self> {
        let wanted = std::env::var(WITHOUT).ok()?;
        SYNCS.into_iter().find(|sync| format!("{sync:?}") == wanted)
    }

    /// Whether it is one of those that make a new volume.
    fn is_of_creating(self) -> bool {
        !matches!(self, Self::BlockData | Self::BlockName | Self::Log)
    }
}

/// How SQLite syncs: FULL, unless that is what is missing.
pub(in crate::store) fn synchronous() -> &'static str {
    if Sync::from_environment() == Some(Sync::Log) { "normal" } else { "full" }
}

/// This machine's disk without one of the syncs.
#[derive(Default)]
struct Without {
    sync: Option<Sync>,
    of_volume_folder: AtomicU32,
}

impl Without {
    fn which(&self, folder: &Path) -> Sync {
        let called = |folder: &Path| folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match (called(folder), folder.parent().map(called)) {
            (name, _) if name == "blocks" => Sync::BlockFolders,
            (_, Some(above)) if above == "blocks" => Sync::BlockName,
            (name, _) if name == "volumes" => Sync::VolumeName,
            (_, Some(above)) if above == "volumes" => match self.of_volume_folder.fetch_add(1, Ordering::Relaxed) {
                0 => Sync::DraftName,
                _ => Sync::DatabaseName,
            },
            _ => Sync::FolderAbove,
        }
    }
}

impl Disk for Without {
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        match self.sync {
            Some(Sync::BlockData) => std::fs::write(path, bytes),
            _ => RealDisk.write_new(path, bytes),
        }
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        if self.sync == Some(self.which(path)) { Ok(()) } else { RealDisk.sync_folder(path) }
    }
}

fn content(round: u64, task: u64, step: u64) -> Option<Vec<u8>> {
    let len = match step % 7 {
        6 => return None,
        5 => (1 << 20) + 10,
        3 | 4 => 40_000,
        _ => 100,
    };
    let mut bytes = vec![0; len];
    let seed = [round, task, step].map(u64::to_le_bytes).concat();
    blake3::Hasher::new().update(&seed).finalize_xof().fill(&mut bytes);
    Some(bytes)
}

async fn apply(store: &Store, round: u64, task: u64, step: u64) -> Result<(), StoreError> {
    let at = path(&format!("t{task}/f{}", step % FILES));
    let change = match content(round, task, step) {
        Some(bytes) => {
            let mut upload = store.upload();
            upload.write(Bytes::from(bytes)).await?;
            let content = upload.finish().await?;
            Change::Put(Put { path: at, content, parents: true, may_create: true, may_replace: true })
        }
        None => Change::Remove { path: at },
    };
    let session = [round.to_le_bytes(), task.to_le_bytes()].concat().try_into().map(SessionId);
    let id = OperationId { session: session.expect("16 bytes"), sequence: step };
    match store.apply(change, Conditions::none().operation(id)).await {
        Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The volume in this folder, made if there is none.
fn open(folder: &Path, sync: Option<Sync>) -> Result<Store, StoreError> {
    let disk = || Box::new(Without { sync, ..Without::default() });
    match Store::open_on(folder, World::real(), disk()) {
        Err(StoreError::NoVolume { .. }) => {
            let name = "data.lab.example".parse().expect("valid");
            Store::create_on(folder, &name, &super::owner(), World::real(), disk())
        }
        other => other,
    }
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[test]
#[ignore = "the disk that the torn test starts"]
fn disk() {
    if let Some(at) = std::env::var_os(DISK) {
        torn::serve(Path::new(&at)).expect("served");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the writer that the torn test starts, until its disk fails"]
async fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let round = std::env::var(ROUND).expect("the round").parse().expect("a number");
    let steps: u64 = std::env::var(STEPS).expect("the steps").parse().expect("a number");
    let Ok(store) = open(Path::new(&folder), Sync::from_environment()) else { std::process::exit(0) };
    // On a line of its own: the test's name stands before it.
    say("\nopen 0 0");
    if steps == 0 {
        std::process::exit(0);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let store = store.clone();
        tasks.spawn(async move {
            for step in 0..steps {
                say(&format!("try {task} {step}"));
                if apply(&store, round, task, step).await.is_err() {
                    std::process::exit(0);
                }
                say(&format!("done {task} {step}"));
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// Ended with its handle, should the test fail while it runs.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn this_program(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let part = format!("store::tests::torn::{part}");
    command.args(["--exact", &part, "--ignored", "--nocapture", "--test-threads=1"]);
    command
}

/// What the writer said before its disk failed.
#[derive(Default)]
struct Said {
    open: bool,
    /// Of each task the last step tried and the last one done.
    steps: BTreeMap<u64, (u64, Option<u64>)>,
}

fn write_until_the_disk_fails(folder: &Path, round: u64, steps: u64, without: Option<Sync>) -> Said {
    let mut command = this_program("writer");
    command.env(FOLDER, folder).env(ROUND, round.to_string()).env(STEPS, steps.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command.env(WITHOUT, without.map(|sync| format!("{sync:?}")).unwrap_or_default());
    let mut child = Running(command.spawn().expect("starts"));
    let mut said = Said::default();
    for line in BufReader::new(child.0.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        let words: Vec<&str> = line.split(' ').collect();
        let [word @ ("open" | "try" | "done"), task, step] = words[..] else { continue };
        let (task, step): (u64, u64) = (task.parse().expect("a number"), step.parse().expect("a number"));
        match word {
            "open" => said.open = true,
            "try" => said.steps.entry(task).or_insert((step, None)).0 = step,
            _ => said.steps.entry(task).or_insert((step, None)).1 = Some(step),
        }
    }
    said
}

type Files = BTreeMap<(u64, u64), Option<Vec<u8>>>;

/// What the test knows of the volume.
#[derive(Default)]
struct Model {
    exists: bool,
    files: Files,
    acknowledged: u64,
}

fn failed(what: &'static str) -> impl Fn(StoreError) -> String {
    move |error| format!("{what}: {}", error.for_owner().detail)
}

fn expect<T: PartialEq + Debug>(what: &str, found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?} instead of {wanted:?}")) }
}

async fn read(store: &Store, at: &str) -> Result<Option<Vec<u8>>, String> {
    match store.lookup(&path(at)).await.map_err(failed("lookup"))? {
        Lookup::Found(object) => super::content(store, &object).await.map(Some).map_err(failed("read")),
        Lookup::Missing(_) => Ok(None),
    }
}

impl Model {
    /// What a file of a task holds after all steps up to and with `last`.
    fn after(&self, round: u64, task: u64, file: u64, last: Option<u64>) -> Option<Vec<u8>> {
        match last.and_then(|last| (0..=last).rev().find(|step| step % FILES == file)) {
            Some(step) => content(round, task, step),
            None => self.files.get(&(task, file)).cloned().flatten(),
        }
    }

    /// Compares what came back with what was said, retries what was not acknowledged, and compares again.
    async fn check(&mut self, folder: &Path, round: u64, said: Said) -> Result<(), String> {
        if said.open || self.exists {
            // It must be there: it is not made anew.
            drop(Store::open(folder, World::real()).map_err(failed("opening what was acknowledged"))?);
        }
        let store = open(folder, None).map_err(failed("opening"))?;
        self.exists = true;
        expect("faults", store.fsck().await.map_err(failed("checking"))?.faults, vec![])?;
        for task in 0..TASKS {
            let (tried, done) = said.steps.get(&task).map_or((None, None), |(tried, done)| (Some(*tried), *done));
            self.acknowledged += done.map_or(0, |done| done + 1);
            for file in 0..FILES {
                let found = read(&store, &format!("t{task}/f{file}")).await?;
                let allowed = [done, tried].map(|last| self.after(round, task, file, last));
                expect(&format!("t{task}/f{file} after {done:?} of {tried:?}"), allowed.contains(&found), true)?;
            }
            if let Some(tried) = tried {
                apply(&store, round, task, tried).await.map_err(failed("retrying"))?;
            }
            for file in 0..FILES {
                let found = read(&store, &format!("t{task}/f{file}")).await?;
                let wanted = self.after(round, task, file, tried);
                expect(&format!("t{task}/f{file} after the retry"), found == wanted, true)?;
            }
            let now = (0..FILES).map(|file| ((task, file), self.after(round, task, file, tried)));
            let now: Files = now.collect();
            self.files.extend(now);
        }
        store.collect().await.map_err(failed("collecting"))?;
        let report = store.fsck().await.map_err(failed("checking"))?;
        expect("faults and orphans after collecting", (report.faults, report.orphans), (vec![], 0))
    }
}

/// Makes a folder, with those above it and up to the disk's top, as if long ago.
fn make_durably(top: &Path, folder: Option<&&std::path::PathBuf>) {
    let Some(folder) = folder else { return };
    std::fs::create_dir_all(folder).expect("made");
    for made in folder.ancestors().take_while(|above| above.starts_with(top)) {
        RealDisk.sync_folder(made).expect("synced");
    }
}

/// So many losses of power; operations acknowledged, or the first round that found something and what.
async fn rounds(seed: u64, count: u64, without: Option<Sync>) -> Result<u64, (u64, String)> {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = this_program("disk");
    command.env(DISK, dir.path()).stderr(Stdio::inherit());
    let mut torn = Torn::start(command, dir.path()).expect("mounted");
    let dice = SimulatedEntropy::new(seed);
    let (mut model, mut acknowledged) = (Model::default(), 0);
    let creating = without.is_some_and(Sync::is_of_creating);
    for round in 0..count {
        let on_volume = if creating { 0 } else { round % ROUNDS_A_VOLUME };
        if on_volume == 0 {
            acknowledged += std::mem::take(&mut model).acknowledged;
        }
        let number = if creating { round } else { round / ROUNDS_A_VOLUME };
        let volumes = dir.path().join(format!("n{number}/volumes"));
        let folder = volumes.join("v");
        let (operations, steps) = match on_volume {
            0 => {
                make_durably(dir.path(), [&volumes, &folder][..(dice.number() % 3) as usize].last());
                // In the middle of making the volume, or when it has just been made and nothing else done.
                (1 + dice.number() % CREATING, 0)
            }
            _ => (30 + dice.number() % 400, u64::MAX),
        };
        // What was not reached goes with the crash.
        torn.arm(if on_volume == 0 && dice.number().is_multiple_of(2) { CREATING * 10 } else { operations })
            .expect("armed");
        let said = write_until_the_disk_fails(&folder, round, steps, without);
        torn.crash(dice.number()).expect("back");
        model.check(&folder, round, said).await.map_err(|why| (round, why))?;
    }
    Ok(acknowledged + model.acknowledged)
}

fn seed() -> u64 {
    std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

fn skipped(test: &str) -> bool {
    torn::missing().inspect(|why| eprintln!("SKIPPED: {test}: {why}")).is_some()
}

#[tokio::test]
async fn after_a_loss_of_power_all_that_was_acknowledged_is_there_and_nothing_half() {
    if skipped("after_a_loss_of_power_all_that_was_acknowledged_is_there_and_nothing_half") {
        return;
    }
    let count = if std::env::var_os("WEBOS_SOAK").is_some() { ROUNDS.1 } else { ROUNDS.0 };
    let seed = seed();
    println!("{SEED}={seed}");
    match rounds(seed, count, None).await {
        Ok(acknowledged) => println!("{acknowledged} operations acknowledged over {count} losses of power"),
        Err((round, why)) => panic!("{SEED}={seed}, round {round}: {why}"),
    }
}

#[tokio::test]
async fn without_any_one_of_the_syncs_a_loss_of_power_is_noticed() {
    if skipped("without_any_one_of_the_syncs_a_loss_of_power_is_noticed") {
        return;
    }
    if std::env::var_os("WEBOS_SOAK").is_none() {
        return eprintln!(
            "SKIPPED: without_any_one_of_the_syncs_a_loss_of_power_is_noticed: it is of the long run"
        );
    }
    let (seed, mut unnoticed) = (seed(), Vec::new());
    println!("{SEED}={seed}");
    for sync in SYNCS {
        match rounds(seed, ENOUGH_ROUNDS, Some(sync)).await {
            Ok(_) => unnoticed.push(sync),
            Err((round, why)) => println!("without {sync:?}: noticed in round {round}: {why}"),
        }
    }
    assert_eq!(unnoticed, [], "{SEED}={seed}: nothing was noticed in {ENOUGH_ROUNDS} rounds without these");
}
