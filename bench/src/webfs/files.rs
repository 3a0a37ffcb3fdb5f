//! Whole commands on small and middle files: first contact, a folder, finding, writing, creating.

use super::ours::{Ours, failed, timed};
use super::peers::Peers;
use super::race::{Contender, race};
use super::{Stage, client};
use crate::report::{Goal, Row};
use ::client::{Condition, PutOptions};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::cell::Cell;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use terms::VolumePath;

const SMALL: &str = "small";
const TREE: &str = "tree";
const CONTACT: &str = "small/f0";

/// Parameters of the row about many small files.
#[derive(Deserialize)]
pub struct SmallConfig {
    files: usize,
    bytes: u64,
    goal_at_most: f64,
}

/// Parameters of the row about finding.
#[derive(Deserialize)]
pub struct FindConfig {
    folders: usize,
    files_each: usize,
    goal_at_most: f64,
}

/// Parameters of the row about writing.
#[derive(Deserialize)]
pub struct WriteConfig {
    bytes: u64,
    short_bytes: u64,
    goal_at_most: f64,
}

/// Parameters of the rows about creating.
#[derive(Deserialize)]
pub struct CreateConfig {
    files: usize,
    bytes: usize,
    goal_at_most: f64,
    exclusive_goal_at_most: f64,
}

/// Parameters of the row about first contact.
#[derive(Deserialize)]
pub struct ContactConfig {
    pub goal_rtts: f64,
    goal_at_most: f64,
}

/// Makes the folders, at the peers and at ours.
pub fn prepare(stage: &Stage) -> Result<()> {
    let config = &stage.config;
    let small = stage.files().join(SMALL);
    std::fs::create_dir(&small)?;
    for number in 0..config.small.files {
        crate::slice::noise(&small.join(format!("f{number}")), config.small.bytes)?;
    }
    for folder in 0..config.find.folders {
        let folder = stage.files().join(TREE).join(format!("d{folder}"));
        std::fs::create_dir_all(&folder)?;
        for number in 0..config.find.files_each {
            std::fs::write(folder.join(format!("f{number}")), [b'x'; 100])?;
        }
    }
    for name in [SMALL, TREE] {
        let from = stage.files().join(name);
        timed(&mut stage.ours.command(&["put", "-r", from.to_str().context("text")?, &Ours::place(name)]))?;
    }
    Ok(())
}

fn goal(stage: &Stage, with_delay: f64) -> Goal {
    let rtt = stage.lab.rtt_ms();
    Goal::RatioAtMost(if rtt > 0.0 { with_delay } else { stage.config.without_delay.goal_at_most })
}

fn named(stage: &Stage, work: &str) -> String {
    format!("{work}, at {:.0} ms", stage.lab.rtt_ms())
}

/// From the start of a command to the first byte of a small file, against the best peer.
pub fn contact(stage: &mut Stage) -> Row {
    let row = Row::new(named(stage, "first contact"), "ms", goal(stage, stage.config.contact.goal_at_most));
    stage.row(row, |stage, row| {
        let (ours, peers) = (&stage.ours, &stage.peers);
        let (batch, target) = (client("contact.sftp"), client("contact"));
        let from = peers.files().join(CONTACT);
        std::fs::write(&batch, format!("get {} {}\n", from.display(), target.display()))?;
        let contenders = vec![
            // As if this user had never asked for the volume: where it lives is not known either.
            Contender::new("webos cat", || {
                ours.forget()?;
                first_byte(&mut ours.command(&["cat", &Ours::place(CONTACT)]))
            }),
            Contender::new("rclone sftp cat", || first_byte(peers.rclone_sftp("cat").arg(peers.at_sftp(CONTACT)))),
            Contender::new("sftp, to its end", || timed(&mut peers.sftp(&batch))),
        ];
        race(row, stage.config.pairs, contenders)?;
        let (mut without, mut again): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
        for _ in 0..stage.config.pairs {
            let mut command = peers.curl();
            without.push(first_byte(command.arg(peers.url(CONTACT)))?);
            again.push(first_byte(&mut ours.command(&["cat", &Ours::place(CONTACT)]))?);
        }
        let curl = crate::report::median(&without).unwrap_or_default();
        let again = crate::report::median(&again).unwrap_or_default();
        row.notes.push(format!("ours within ten minutes of another command on the volume: {again:.0} ms"));
        row.notes.push(format!("curl, which names and checks no user: {curl:.0} ms"));
        Ok(())
    })
}

fn first_byte(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().context("no standard output")?;
    let read = output.read(&mut [0])?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    std::io::copy(&mut output, &mut std::io::sink())?;
    let ended = child.wait_with_output()?;
    ensure!(read == 1 && ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr).trim());
    Ok(took)
}

/// A folder of small files into memory.
pub fn small(stage: &mut Stage) -> Row {
    let config = &stage.config.small;
    let work = named(stage, &format!("read {} files of {} bytes", config.files, config.bytes));
    let row = Row::new(work, "ms", goal(stage, config.goal_at_most));
    stage.row(row, |stage, row| {
        let (ours, peers, count) = (&stage.ours, &stage.peers, stage.config.small.files);
        let target = client("small");
        let text = target.to_str().context("text")?;
        let (batch, urls) = (client("small.sftp"), client("small.curl"));
        std::fs::write(&batch, format!("get -r {} {text}\n", peers.files().join(SMALL).display()))?;
        let mut list = String::new();
        for number in 0..count {
            let url = peers.url(&format!("{SMALL}/f{number}"));
            write!(list, "url = \"{url}\"\noutput = \"{text}/f{number}\"\n")?;
        }
        std::fs::write(&urls, list)?;
        let all = |command: &mut Command| all_arrive(command, &target, count);
        let mut contenders = vec![
            Contender::new("webos get -r", || all(&mut ours.command(&["get", "-r", &Ours::place(SMALL), text]))),
            Contender::new("curl --parallel", || {
                let mut command = peers.curl();
                command.args(["--parallel", "--parallel-max", "50", "--create-dirs", "--config"]).arg(&urls);
                all(&mut command)
            }),
            Contender::new("rclone sftp", || all(peers.rclone_sftp("copy").args([&peers.at_sftp(SMALL), text]))),
            Contender::new("rclone webdav", || {
                all(peers.rclone_webdav("copy").args([&Peers::at_webdav(SMALL), text]))
            }),
        ];
        // A few round trips for each file: far from the best, and 20 s a time.
        if !stage.short {
            contenders.push(Contender::new("sftp get -r", || all(&mut peers.sftp(&batch))));
        }
        row.notes.push("curl is told every name; the others list the folder first".to_owned());
        race(row, stage.config.pairs, contenders)
    })
}

fn all_arrive(command: &mut Command, target: &Path, count: usize) -> Result<f64> {
    if target.exists() {
        std::fs::remove_dir_all(target).context("remove the last folder")?;
    }
    let took = timed(command)?;
    let arrived = std::fs::read_dir(target).context("look at what arrived")?.count();
    if arrived != count {
        bail!("{arrived} files of {count} arrived");
    }
    Ok(took)
}

/// The names of all files below a folder.
pub fn find(stage: &mut Stage) -> Row {
    let config = &stage.config.find;
    let count = config.folders * config.files_each;
    let work = named(stage, &format!("find over {count} files"));
    let row = Row::new(work, "ms", goal(stage, config.goal_at_most));
    stage.row(row, |stage, row| {
        let (ours, peers) = (&stage.ours, &stage.peers);
        ensure!(ours.knows("find"), "there is no `webos find`");
        let contenders = vec![
            Contender::new("webos find", || listed(&mut ours.command(&["find", &Ours::place(TREE)]), count)),
            Contender::new("rclone sftp lsf -R", || {
                listed(peers.rclone_sftp("lsf").args(["-R", &peers.at_sftp(TREE)]), count)
            }),
            Contender::new("rclone webdav lsf -R", || {
                listed(peers.rclone_webdav("lsf").args(["-R", &Peers::at_webdav(TREE)]), count)
            }),
        ];
        race(row, stage.config.pairs, contenders)
    })
}

fn listed(command: &mut Command, count: usize) -> Result<f64> {
    let started = Instant::now();
    let text = crate::lab::succeed(command)?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    let lines = text.lines().count();
    ensure!(lines >= count, "{lines} names of {count}");
    Ok(took)
}

/// One file, until it is durable at the server.
pub fn write(stage: &mut Stage) -> Row {
    let config = &stage.config.write;
    let bytes = if stage.short { config.short_bytes } else { config.bytes };
    let work = named(stage, &format!("sequential write + fsync, {} MiB", bytes >> 20));
    let row = Row::new(work, "ms", goal(stage, config.goal_at_most));
    stage.row(row, |stage, row| {
        let (ours, peers) = (&stage.ours, &stage.peers);
        let from = client("write.bin");
        crate::slice::noise(&from, bytes)?;
        let text = from.to_str().context("text")?;
        let batch = client("write.sftp");
        std::fs::write(&batch, format!("put -f {text} {}\n", peers.files().join("written").display()))?;
        let contenders = vec![
            Contender::new("webos put", || timed(&mut ours.command(&["put", text, &Ours::place("written")]))),
            Contender::new("sftp put -f (synced)", || timed(&mut peers.sftp(&batch))),
        ];
        race(row, stage.config.pairs, contenders)?;
        let unsynced = timed(peers.rclone_sftp("copyto").args([text, &peers.at_sftp("written2")]))?;
        row.notes.push(format!("rclone copyto over sftp, which syncs nothing: {unsynced:.0} ms"));
        row.notes.push("both sides have synced the data at the server when they return".to_owned());
        Ok(())
    })
}

/// Small files made one after the other, each durable before the next.
pub fn create(stage: &mut Stage, exclusive: bool) -> Row {
    let config = &stage.config.create;
    let (kind, with_delay) =
        if exclusive { (", each with O_EXCL", config.exclusive_goal_at_most) } else { ("", config.goal_at_most) };
    let work = named(stage, &format!("create {} files, each durable{kind}", config.files));
    let row = Row::new(work, "ms", goal(stage, with_delay));
    stage.row(row, |stage, row| {
        let (peers, config) = (&stage.peers, &stage.config.create);
        let (from, batch) = (client("create.bin"), client("create.sftp"));
        std::fs::write(&from, vec![b'x'; config.bytes])?;
        let made = peers.files().join("made");
        let mut list = format!("mkdir {}\n", made.display());
        for number in 0..config.files {
            writeln!(list, "put -f {} {}/f{number}", from.display(), made.display())?;
        }
        std::fs::write(&batch, list)?;
        let round = Cell::new(0);
        let contenders = vec![
            Contender::new("library", || {
                round.set(round.get() + 1);
                // Each time a new folder, also without delay: with O_EXCL nothing may be there.
                let folder = format!("made{exclusive}{:.0}ms{}", stage.lab.rtt_ms(), round.get());
                stage.runtime.block_on(created(stage, &folder, exclusive))
            }),
            Contender::new("sftp put -f (synced)", || {
                if made.exists() {
                    std::fs::remove_dir_all(&made)?;
                }
                timed(&mut peers.sftp(&batch))
            }),
        ];
        race(row, stage.config.pairs, contenders)?;
        row.notes.push("with connecting; sftp never asks for O_EXCL".to_owned());
        Ok(())
    })
}

async fn created(stage: &Stage, folder: &str, exclusive: bool) -> Result<f64> {
    let config = &stage.config.create;
    let condition = if exclusive { Condition::IfAbsent } else { Condition::None };
    let how = PutOptions { condition, parents: true, ..PutOptions::default() };
    let started = Instant::now();
    let volume = stage.ours.volume().await?;
    for number in 0..config.files {
        let path = VolumePath::new(&format!("{folder}/f{number}"))?;
        volume.put_bytes(&path, how, vec![b'x'; config.bytes]).await.map_err(failed)?;
    }
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
