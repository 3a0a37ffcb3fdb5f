//! `webos fetch` of a large file through the smart client, against curl from nginx: whole commands, to a file.

use super::Stage;
use crate::nginx::Nginx;
use crate::report::{Goal, Row};
use crate::world::World;
use anyhow::{Context, Error, Result, anyhow, bail};
use serde::Deserialize;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;
use tokio::process::Command;

/// The file.
pub const FILE: &str = "fetched.bin";

/// The part of slice.toml.
#[derive(Deserialize)]
pub struct Config {
    pub bytes: u64,
    pub short_bytes: u64,
    goal_at_most: f64,
}

/// The row.
pub async fn row(stage: &Stage<'_>, world: Result<&World, &Error>, nginx: &Nginx) -> Row {
    let config = &stage.config.fetch;
    let bytes = if stage.options.short { config.short_bytes } else { config.bytes };
    let mut row =
        Row::new(format!("webos fetch, {} MB", bytes / 1_000_000), "s", Goal::RatioAtMost(config.goal_at_most));
    let measured = match world {
        Ok(_) => measure(stage, nginx, bytes, &mut row).await,
        Err(error) => Err(anyhow!("{error:#}")),
    };
    if let Err(error) = measured {
        row.not_run = Some(format!("{error:#}"));
    }
    row
}

async fn measure(stage: &Stage<'_>, nginx: &Nginx, bytes: u64, row: &mut Row) -> Result<()> {
    let target = stage.folder.path().join("target.bin");
    for pair in 0..=stage.config.pairs {
        for side in if pair % 2 == 0 { [0, 1] } else { [1, 0] } {
            let mut command = if side == 0 { fetch(stage, &target) } else { curl(nginx, &target) };
            let seconds = timed(&mut command, &target, bytes).await?;
            // The first pair only warms both sides.
            if pair > 0 {
                if side == 0 { row.ours.push(seconds) } else { row.peer.push(seconds) }
            }
        }
    }
    row.notes.push("ours checks each block against the home's signature; curl checks nothing but TLS".to_owned());
    Ok(())
}

fn fetch(stage: &Stage<'_>, target: &Path) -> Command {
    let mut command = Command::new(&stage.options.webos);
    command.args(["fetch", &format!("service://site.demo.localhost/{FILE}"), "-o"]).arg(target);
    command.env("WEBOS_HOME", stage.folder.path().join("front"));
    command
}

fn curl(nginx: &Nginx, target: &Path) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--cacert"]).arg(&nginx.root).arg("-o").arg(target);
    command.arg(format!("https://{}/{FILE}", nginx.address));
    command
}

async fn timed(command: &mut Command, target: &Path, bytes: u64) -> Result<f64> {
    if target.exists() {
        std::fs::remove_file(target).context("remove the last file")?;
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let output = command.output().await.with_context(|| format!("start {:?}", command.as_std()))?;
    let seconds = start.elapsed().as_secs_f64();
    if !output.status.success() {
        bail!("{:?}: {}: {}", command.as_std(), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let length = std::fs::metadata(target).context("look at what arrived")?.len();
    if length != bytes {
        bail!("{:?} wrote {length} bytes of {bytes}", command.as_std());
    }
    Ok(seconds)
}
