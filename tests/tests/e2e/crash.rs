//! A home that is killed: what it acknowledged is there, nothing is half; and nothing is acknowledged before the disk
//! has it.

use client::{Client, Folder, PutOptions, Volume};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use terms::{Code, VolumePath};
use webos_tests::{Home, Realm, Talking, eventually, webos};
use world::World;

const PUTS: usize = 1000;
const WRITERS: usize = 16;

fn content(index: usize) -> Vec<u8> {
    // Small ones lie in the database, larger ones in block files.
    let length = if index.is_multiple_of(10) { 40_000 + index } else { 200 + index };
    (0..length).map(|at| (at.wrapping_mul(31).wrapping_add(index) % 251) as u8).collect()
}

fn path(index: usize) -> VolumePath {
    VolumePath::new(&format!("d{}/f{index}", index % 7)).expect("valid")
}

async fn volume(home: &Home) -> Volume {
    let client = Client::open(Folder::new(home.path()), World::real()).expect("an identity");
    client.volume(&Realm::VOLUME.parse().expect("valid")).await.expect("its home answers")
}

/// Puts until all are put or the home is away; gives what was acknowledged, with its ETag.
async fn put_all(volume: Volume, acknowledged: Arc<AtomicUsize>) -> BTreeMap<usize, String> {
    let done = Arc::new(Mutex::new(BTreeMap::new()));
    let next = Arc::new(AtomicUsize::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (volume, done, next, acknowledged) = (volume.clone(), done.clone(), next.clone(), acknowledged.clone());
        writers.spawn(async move {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= PUTS {
                    return;
                }
                let how = PutOptions { parents: true, ..PutOptions::default() };
                let body = wire::body::full(content(index));
                let Ok(entry) = volume.put(&path(index), how, body).await else { return };
                let etag = entry.etag.expect("of a file").to_string();
                done.lock().expect("no panic").insert(index, etag);
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while writers.join_next().await.is_some() {}
    let done = done.lock().expect("no panic");
    done.clone()
}

#[test]
fn a_home_killed_during_a_thousand_puts_keeps_what_it_acknowledged() {
    let mut realm = Realm::start();
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let files = runtime.block_on(volume(&realm.alice));
    let putting = runtime.spawn(put_all(files, acknowledged.clone()));
    eventually("a third is acknowledged", || (acknowledged.load(Ordering::Relaxed) > PUTS / 3).then_some(()));
    realm.first.kill();
    let done = runtime.block_on(putting).expect("no panic");
    assert!(done.len() < PUTS, "it was killed in the middle");
    realm.first.run(&[]);
    runtime.block_on(async {
        let files = volume(&realm.alice).await;
        for index in 0..PUTS {
            let found = files.read(&path(index), 1 << 20).await;
            match (found, done.get(&index)) {
                (Ok(bytes), _) => assert!(bytes[..] == content(index)[..], "file {index} is half"),
                (Err(problem), None) => assert_eq!(problem.code, Code::NotFound, "{problem}"),
                (Err(problem), Some(_)) => panic!("file {index} was acknowledged: {problem}"),
            }
        }
        for (index, etag) in &done {
            let entry = files.stat(&path(*index)).await.expect("there");
            assert_eq!(entry.etag.map(|etag| etag.to_string()).as_ref(), Some(etag), "file {index}");
        }
    });
}

/// A call that syncs, from a trace: the file or folder, and when it had returned, in seconds since 1970.
fn synced(line: &str) -> Option<(PathBuf, f64)> {
    let (_, rest) = line.split_once(' ').filter(|(pid, _)| pid.parse::<u32>().is_ok()).unwrap_or(("", line));
    let (began, call) = rest.trim_start().split_once(' ')?;
    if !(call.starts_with("fsync(") || call.starts_with("fdatasync(")) {
        return None;
    }
    let file = call.split_once('<')?.1.split_once('>')?.0;
    let took = call.rsplit_once('<')?.1.trim_end_matches('>').parse::<f64>().ok()?;
    Some((PathBuf::from(file), began.parse::<f64>().ok()? + took))
}

#[test]
fn a_put_is_answered_after_block_folder_and_log_are_synced() {
    let realm = Realm::start();
    let mut first = realm.first;
    first.stop();
    // Each sync takes a while longer here, so that an answer that did not wait for it would come visibly before it.
    let trace = first.home.beside().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-ttt", "-T", "-e", "trace=fsync,fdatasync"]);
    command.args(["-e", "inject=fsync,fdatasync:delay_exit=200000", "-o"]).arg(&trace);
    let words = ["node", "run", "--json", "--until-stdin-closes", "--listen", &first.address];
    command.arg(webos()).args(words).env("WEBOS_HOME", first.home.path());
    let mut node = Talking::start(command, true);
    node.wait_for("ready", |event| event["event"] == "ready");
    std::fs::write(realm.alice.beside().join("file"), vec![7; 300_000]).expect("written");
    let before = World::real().clock.unix().0;
    realm.alice.ok(["put", "file", &format!("{}/file", Realm::VOLUME)]);
    let answered = World::real().clock.unix().0;
    let text = eventually("the trace is written", || {
        let text = std::fs::read_to_string(&trace).ok()?;
        text.contains("fdatasync").then_some(text)
    });
    drop(node);
    let seconds = |ms: u64| std::time::Duration::from_millis(ms).as_secs_f64();
    let volume = first.home.path().join("volumes").join(Realm::VOLUME);
    let within = |path: &Path| path.strip_prefix(&volume).ok().map(Path::to_path_buf);
    let during: Vec<(PathBuf, f64)> = text
        .lines()
        .filter_map(synced)
        .filter_map(|(path, end)| Some((within(&path)?, end)))
        .filter(|(_, end)| (seconds(before)..=seconds(answered)).contains(end))
        .collect();
    let has = |what: &str, which: &dyn Fn(&str) -> bool| {
        let found = during.iter().any(|(path, _)| which(&path.to_string_lossy()));
        assert!(found, "{what} was not synced before the answer: {during:?}\n{text}");
    };
    has("the block's file", &|path| path.starts_with("blocks/") && path.len() > "blocks/xx/".len());
    has("the block's folder", &|path| path.starts_with("blocks") && path.len() <= "blocks/xx".len());
    has("the write-ahead log", &|path| path.ends_with("-wal"));
}
