//! kill -9 in the middle of writing: what was acknowledged is there, what was not is there whole or not at all.
//!
//! The writer is this same test program, started again with a folder in the environment: a real process, ended by
//! a real signal. Each of its tasks owns its files and says on standard output what it tries and what is done.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use terms::{OperationId, Rights, SessionId, VolumePath};
use trust::Bucket;
use webos_webfs::store::{Change, Conditions, Lookup, Put, Store, StoreError};
use world::{Entropy, SimulatedEntropy, World};

const FOLDER: &str = "WEBFS_CRASH_FOLDER";
const ROUND: &str = "WEBFS_CRASH_ROUND";
const TASKS: u64 = 8;
/// Rounds, and rounds of a long run.
const ROUNDS: (u64, u64) = (10, 500);

fn path(text: &str) -> VolumePath {
    VolumePath::new(text).expect("a valid path")
}

fn bucket() -> Bucket {
    let user = "spiffe://lab.example/user/owner".parse().expect("valid");
    Bucket::new([(user, Rights::OWNER)]).expect("a small list")
}

fn operation(round: u64, task: u64, step: u64) -> OperationId {
    let mut session = [0u8; 16];
    session[..8].copy_from_slice(&round.to_le_bytes());
    session[8..].copy_from_slice(&task.to_le_bytes());
    OperationId { session: SessionId(session), sequence: step }
}

/// The content of a step: inline, one block, or two; nothing for a removal.
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
    let at = path(&format!("t{task}/f{}", step % 3));
    let change = match content(round, task, step) {
        Some(bytes) => {
            let mut upload = store.upload();
            upload.write(Bytes::from(bytes)).await?;
            let content = upload.finish().await?;
            Change::Put(Put { path: at, content, parents: true, may_create: true, may_replace: true })
        }
        None => Change::Remove { path: at },
    };
    match store.apply(change, Conditions::none().operation(operation(round, task, step))).await {
        Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn say(word: &str, task: u64, step: u64) {
    let mut out = std::io::stdout().lock();
    // The reader kills us: nobody minds a line that cannot be written.
    let _ = writeln!(out, "{word} {task} {step}").and_then(|()| out.flush());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the writer that the crash test starts and kills"]
async fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let round = std::env::var(ROUND).expect("the round").parse().expect("a number");
    let store = Store::open(Path::new(&folder), World::real()).expect("opens after the crash before");
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let store = store.clone();
        tasks.spawn(async move {
            for step in 0..1_000_000 {
                say("try", task, step);
                apply(&store, round, task, step).await.expect("applied");
                say("done", task, step);
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

struct Writing(Child);

impl Drop for Writing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the writer until so many steps are done, kills it; last step tried and last step done of each task.
fn write_and_kill(folder: &Path, round: u64, steps: u64) -> BTreeMap<u64, (u64, Option<u64>)> {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "writer", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder).env(ROUND, round.to_string()).stdout(Stdio::piped());
    let mut child = Writing(command.spawn().expect("starts"));
    let out = BufReader::new(child.0.stdout.take().expect("piped"));
    let (mut seen, mut done) = (BTreeMap::new(), 0);
    // After the kill the pipe still holds what was said before it.
    for line in out.lines() {
        let line = line.expect("text");
        let words: Vec<&str> = line.split(' ').collect();
        let [word @ ("try" | "done"), task, step] = words[..] else { continue };
        let (task, step): (u64, u64) = (task.parse().expect("a number"), step.parse().expect("a number"));
        let entry = seen.entry(task).or_insert((step, None));
        if word == "try" {
            entry.0 = step;
        } else {
            entry.1 = Some(step);
            done += 1;
            if done == steps {
                child.0.kill().expect("killed");
            }
        }
    }
    assert!(done >= steps, "the writer ended by itself after {done} steps");
    seen
}

async fn read(store: &Store, at: &str) -> Option<Vec<u8>> {
    let Lookup::Found(object) = store.lookup(&path(at)).await.expect("lookup works") else { return None };
    let mut bytes = Vec::new();
    for index in 0..object.manifest().expect("a file").block_count() {
        bytes.extend_from_slice(&store.read_block(&object, index).await.expect("whole"));
    }
    Some(bytes)
}

/// What a file of a task holds after all steps up to and with `last`; `before` is what it held before.
fn expected(round: u64, task: u64, file: u64, last: Option<u64>, before: &Option<Vec<u8>>) -> Option<Vec<u8>> {
    let step = (0..=last.unwrap_or(0)).rev().find(|step| step % 3 == file);
    match (last, step) {
        (Some(_), Some(step)) => content(round, task, step),
        _ => before.clone(),
    }
}

#[tokio::test]
async fn killed_at_any_moment_all_that_was_acknowledged_is_there_and_nothing_half() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("v");
    let name = "data.lab.example".parse().expect("valid");
    drop(Store::create(&folder, &name, &bucket(), World::real()).expect("a new volume"));
    let dice = SimulatedEntropy::new(11);
    let mut files: BTreeMap<(u64, u64), Option<Vec<u8>>> = BTreeMap::new();
    let mut acknowledged = 0;
    let rounds = if std::env::var_os("WEBOS_SOAK").is_some() { ROUNDS.1 } else { ROUNDS.0 };
    for round in 0..rounds {
        let steps = 20 + dice.number() % 180;
        let seen = write_and_kill(&folder, round, steps);
        let store = Store::open(&folder, World::real()).expect("opens after the crash");
        let report = store.fsck().await.expect("the check runs");
        assert_eq!(report.faults, [], "round {round}");
        for (task, (tried, done)) in seen {
            acknowledged += done.map_or(0, |done| done + 1);
            // Tried and not acknowledged: either way is right, but only whole. Then the retry must apply it once.
            for file in 0..3 {
                let before = files.get(&(task, file)).cloned().flatten();
                let found = read(&store, &format!("t{task}/f{file}")).await;
                let allowed = [done, Some(tried)].map(|last| expected(round, task, file, last, &before));
                assert!(allowed.contains(&found), "round {round}: t{task}/f{file} after step {done:?} of {tried}");
            }
            apply(&store, round, task, tried).await.expect("the retry is answered");
            for file in 0..3 {
                let before = files.get(&(task, file)).cloned().flatten();
                let found = read(&store, &format!("t{task}/f{file}")).await;
                assert!(
                    found == expected(round, task, file, Some(tried), &before),
                    "round {round}: after the retry"
                );
                files.insert((task, file), found);
            }
        }
        store.collect().await.expect("collects");
        let report = store.fsck().await.expect("the check runs");
        assert_eq!((report.faults, report.orphans), (vec![], 0), "round {round}");
    }
    println!("{acknowledged} operations acknowledged over {rounds} kills");
}
