//! The library with a warm connection: one operation at a time, in round trips; and what holders cost a writer.

use super::ours::{Ours, failed};
use super::{Stage, client};
use crate::report::{Goal, Row, median};
use ::client::{PutOptions, Volume};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::time::Instant;
use terms::VolumePath;
use webfs::relay::{Replica, ReplicaObject};
use webfs::serve::FileSource;

/// Bytes of a file that is opened and read.
const BYTES: usize = 4096;
/// The share of writes that the slowest of many counts for.
const SLOWEST: f64 = 0.99;

/// Parameters of the rows about single operations.
#[derive(Deserialize)]
pub struct Config {
    depth: usize,
    goal_rtts: f64,
    reopen_goal_ms: f64,
    reopens: usize,
}

/// Parameters of the rows about writing what others hold.
#[derive(Deserialize)]
pub struct ConflictConfig {
    goal_rtts: f64,
    holders: usize,
    writes: usize,
    more_ms: f64,
}

fn path(text: &str) -> Result<VolumePath> {
    Ok(VolumePath::new(text)?)
}

/// A file for each sample, so that each is met for the first time: `cold/0/1/2/…` at the depth, and `warm/f0`…
pub fn prepare(stage: &Stage) -> Result<()> {
    stage.runtime.block_on(async {
        let volume = stage.ours.warm().await?;
        let how = PutOptions { parents: true, ..PutOptions::default() };
        for number in 0..=stage.config.pairs {
            for at in [deep(stage, number)?, path(&format!("warm/f{number}"))?] {
                volume.put_bytes(&at, how, vec![b'x'; BYTES]).await.map_err(failed)?;
            }
        }
        volume.put_bytes(&path("held")?, how, vec![b'x'; BYTES]).await.map_err(failed).map(drop)
    })
}

fn deep(stage: &Stage, number: usize) -> Result<VolumePath> {
    let depth = stage.config.library.depth;
    let folders: Vec<String> = (1..depth).map(|level| ((number + level) % 10).to_string()).collect();
    path(&format!("cold/{}/f{number}", folders.join("/")))
}

/// The attributes of a file that was never asked for.
pub fn stat(stage: &mut Stage) -> Row {
    let work = format!("cold stat at depth {}, library", stage.config.library.depth);
    let row = Row::new(work, "RTT", Goal::AtMost(stage.config.library.goal_rtts));
    stage.row(row, |stage, row| {
        row.ours = in_round_trips(stage, |volume, stage, number| async move {
            let at = deep(stage, number)?;
            volume.stat(&at).await.map_err(failed).map(drop)
        })?;
        Ok(())
    })
}

/// Runs an operation for each sample on one warm connection, after one that does not count.
fn in_round_trips<'a, F>(stage: &'a Stage, work: impl Fn(Volume, &'a Stage, usize) -> F) -> Result<Vec<f64>>
where
    F: Future<Output = Result<()>>,
{
    stage.runtime.block_on(async {
        let volume = stage.ours.warm().await?;
        let mut samples = Vec::new();
        for number in 0..=stage.config.pairs {
            let started = Instant::now();
            work(volume.clone(), stage, number).await?;
            samples.push(started.elapsed().as_secs_f64() * 1e3 / stage.lab.rtt_ms());
        }
        Ok(samples.split_off(1))
    })
}

/// Opens a file that was never opened, in a folder that is known, and reads it; then again under the lease.
pub fn open(stage: &mut Stage) -> Vec<Row> {
    let config = &stage.config.library;
    let cold = Row::new("cold open + read 4 KiB, folder known, library", "RTT", Goal::AtMost(config.goal_rtts));
    let goal = Goal::AtMost(config.reopen_goal_ms);
    let mut again = Row::new("re-open and read under a lease, library", "ms", goal);
    let cold = stage.row(cold, |stage, row| {
        let replica = stage.runtime.block_on(stage.ours.replica(&client("cache")))?;
        stage.runtime.block_on(opened(stage, &replica, row, &mut again))
    });
    if again.ours.is_empty() {
        again.not_run.clone_from(&cold.not_run);
    }
    vec![cold, again]
}

async fn opened(stage: &Stage, replica: &Replica, row: &mut Row, again: &mut Row) -> Result<()> {
    replica.open(&path("warm")?).await.map_err(failed)?;
    for number in 0..=stage.config.pairs {
        let at = path(&format!("warm/f{number}"))?;
        let started = Instant::now();
        read(replica, &at).await?;
        let cold = started.elapsed().as_secs_f64() * 1e3;
        let (before, reopens) = (stage.lab.packets_sent()?, stage.config.library.reopens);
        let started = Instant::now();
        for _ in 0..reopens {
            read(replica, &at).await?;
        }
        let warm = started.elapsed().as_secs_f64() * 1e3 / reopens as f64;
        let packets = stage.lab.packets_sent()? - before;
        if number > 0 {
            row.ours.push(cold / stage.lab.rtt_ms());
            again.ours.push(warm);
            again.notes.push(format!("{packets} packets were sent during {reopens} re-opens"));
        }
    }
    let counts = replica.state().await.map_err(failed)?.counts;
    again.notes.push(format!("opens at the home {}, from the cache {}", counts.opens_asked, counts.opens_cached));
    replica.close().await;
    Ok(())
}

async fn read(replica: &Replica, at: &VolumePath) -> Result<()> {
    let ReplicaObject::File(file) = replica.open(at).await.map_err(failed)? else {
        anyhow::bail!("no file at {at}")
    };
    let block = file.read_block(0).await.map_err(failed)?;
    ensure!(block.len() == BYTES, "{} bytes at {at}", block.len());
    Ok(())
}

/// A write to what one other holds, and the slowest of the writes to what many hold.
pub fn conflict(stage: &mut Stage) -> Vec<Row> {
    let config = &stage.config.conflict;
    let (holders, more) = (config.holders, stage.lab.rtt_ms() + config.more_ms);
    let one = Row::new("conflicting write, 1 holder", "RTT", Goal::AtMost(config.goal_rtts));
    let many = format!("conflicting write, {holders} holders, p99: more than with 1");
    let many = Row::new(many, "ms", Goal::AtMost(more));
    let one = stage.row(one, |stage, row| {
        let took = written(stage, 1, stage.config.pairs)?;
        row.ours = took.iter().map(|took| took / stage.lab.rtt_ms()).collect();
        let bare = stage.peers.round_trip()?;
        row.notes.push(format!(
            "a bare TCP connection to the server takes {bare:.2} ms; two one after the other {:.1}",
            2.0 * bare
        ));
        Ok(())
    });
    let alone = median(&one.ours).unwrap_or_default() * stage.lab.rtt_ms();
    let many = stage.row(many, |stage, row| {
        for _ in 0..stage.config.pairs {
            let mut took = written(stage, holders, stage.config.conflict.writes)?;
            took.sort_by(f64::total_cmp);
            let last = (took.len() as f64 * SLOWEST) as usize;
            row.ours.push(took.get(last.min(took.len() - 1)).context("no writes")? - alone);
        }
        row.notes.push(format!(
            "over a median of {alone:.0} ms with one; {} writes a sample",
            stage.config.conflict.writes
        ));
        Ok(())
    });
    vec![one, many]
}

/// Milliseconds of writes to a file that so many replicas with connections of their own hold each time.
fn written(stage: &Stage, holders: usize, writes: usize) -> Result<Vec<f64>> {
    stage.runtime.block_on(async {
        let at = path("held")?;
        let replicas = replicas(&stage.ours, holders).await?;
        let writer = stage.ours.warm().await?;
        let mut took = Vec::new();
        for _ in 0..=writes {
            let opens = replicas.iter().map(|replica| read(replica, &at));
            futures_util::future::try_join_all(opens).await?;
            let started = Instant::now();
            writer.put_bytes(&at, PutOptions::default(), vec![b'y'; BYTES]).await.map_err(failed)?;
            took.push(started.elapsed().as_secs_f64() * 1e3);
        }
        futures_util::future::join_all(replicas.iter().map(Replica::close)).await;
        Ok(took.split_off(1))
    })
}

async fn replicas(ours: &Ours, count: usize) -> Result<Vec<Replica>> {
    let all = (0..count).map(|number| async move { ours.replica(&client(&format!("cache{number}"))).await });
    futures_util::future::try_join_all(all).await
}
