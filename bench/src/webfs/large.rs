//! One large file: read by whole commands into memory.

use super::ours::{Ours, timed};
use super::peers::Peers;
use super::race::{Contender, race};
use super::{Stage, client};
use crate::report::{Goal, Row, median};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

const FILE: &str = "large.bin";

/// Parameters of the row about reading.
#[derive(Deserialize)]
pub struct Config {
    bytes: u64,
    short_bytes: u64,
    goal_at_most: f64,
}

impl Config {
    fn bytes(&self, short: bool) -> u64 {
        if short { self.short_bytes } else { self.bytes }
    }
}

/// Makes the file, at the peers and at ours.
pub fn prepare(stage: &Stage) -> Result<()> {
    let file = stage.files().join(FILE);
    crate::slice::noise(&file, stage.config.large.bytes(stage.short))?;
    let path = file.to_str().context("a path of text")?;
    timed(&mut stage.ours.command(&["put", path, &Ours::place(FILE)]))?;
    Ok(())
}

/// Milliseconds from the start of the command to its end.
pub fn read(stage: &mut Stage) -> Row {
    let (bytes, rtt) = (stage.config.large.bytes(stage.short), stage.lab.rtt_ms());
    let goal = if rtt > 0.0 { stage.config.large.goal_at_most } else { stage.config.without_delay.goal_at_most };
    let work = format!("sequential read, {} MiB, at {rtt:.0} ms", bytes >> 20);
    let row = Row::new(work, "ms", Goal::RatioAtMost(goal));
    stage.row(row, |stage, row| {
        let (ours, peers) = (&stage.ours, &stage.peers);
        let target = client("target");
        let arrives = |mut command: Command| arrives(&mut command, &target.join(FILE), bytes);
        let text = target.to_str().context("a path of text")?;
        std::fs::create_dir_all(&target)?;
        let batch = client("read.sftp");
        std::fs::write(&batch, format!("get {} {text}/{FILE}\n", peers.files().join(FILE).display()))?;
        let into = format!("{text}/{FILE}");
        let contenders = vec![
            Contender::new("webos get", || arrives(ours.command(&["get", &Ours::place(FILE), &into]))),
            Contender::new("curl from nginx", || {
                let mut command = peers.curl();
                command.args(["-o", &into, &peers.url(FILE)]);
                arrives(command)
            }),
            Contender::new("rclone webdav", || {
                let mut command = peers.rclone_webdav("copy");
                command.args([&Peers::at_webdav(FILE), text]);
                arrives(command)
            }),
            Contender::new("rclone sftp", || {
                let mut command = peers.rclone_sftp("copy");
                command.args([&peers.at_sftp(FILE), text]);
                arrives(command)
            }),
            Contender::new("sftp", || arrives(peers.sftp(&batch))),
        ];
        race(row, stage.config.pairs, contenders)?;
        let speed = median(&row.ours).map_or(0.0, |ms| bytes as f64 / ms / 1e3);
        row.notes.push(format!("ours: {speed:.0} MB/s, each block checked against the home's signature"));
        Ok(())
    })
}

fn arrives(command: &mut Command, target: &Path, bytes: u64) -> Result<f64> {
    if target.exists() {
        std::fs::remove_file(target).context("remove the last file")?;
    }
    let took = timed(command)?;
    let length = std::fs::metadata(target).context("look at what arrived")?.len();
    if length != bytes {
        bail!("{command:?} wrote {length} bytes of {bytes}");
    }
    Ok(took)
}
