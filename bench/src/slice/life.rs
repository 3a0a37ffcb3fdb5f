//! Times from the world's life: a surge to a surrogate's first answer, and `make up` to a served page.

use super::Stage;
use crate::http1::Connection;
use crate::load::Target;
use crate::report::{Goal, Row};
use crate::tls;
use crate::world::World;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::process::Command;

/// How often the console is asked whether a surrogate has answered: its part in the measured time.
const POLL: Duration = Duration::from_millis(20);

/// The part of slice.toml on recruiting.
#[derive(Deserialize)]
pub struct SurgeConfig {
    clients: u32,
    seconds: u32,
    goal_seconds: f64,
    give_up_seconds: f64,
}

/// The part of slice.toml on starting.
#[derive(Deserialize)]
pub struct UpConfig {
    goal_seconds: f64,
    give_up_seconds: f64,
}

/// From the order to send load to the first answer of a surrogate, each time in a fresh world.
pub async fn surge(stage: &Stage<'_>) -> Row {
    let mut row =
        Row::new("surge to a surrogate's first answer", "s", Goal::AtMost(stage.config.surge.goal_seconds));
    let short = stage.options.short;
    for sample in 0..stage.config.pairs {
        match one_surge(stage, sample).await {
            Ok(seconds) => row.ours.push(seconds),
            Err(error) => row.notes.push(format!("{error:#}")),
        }
        if short && row.ours.is_empty() {
            break;
        }
    }
    if row.ours.is_empty() {
        row.not_run = row.notes.pop();
    }
    row
}

async fn one_surge(stage: &Stage<'_>, sample: usize) -> Result<f64> {
    let config = &stage.config.surge;
    // A link that a few clients fill: without one, a world on one machine has nothing that a surrogate relieves.
    let mut command = Command::new(&stage.options.webos);
    command.arg("up").args(["--json", "--fresh"]);
    let home = stage.folder.path().join(format!("surge-{sample}"));
    let world = World::start(command, &home, Duration::from_secs(60)).await?;
    let start = Instant::now();
    let order = format!(r#"{{"clients":{},"seconds":{}}}"#, config.clients, config.seconds);
    world.console("/api/surge", Some(&order)).await?;
    let result = first_answer(&world, start, config.give_up_seconds).await;
    world.end().await?;
    result
}

async fn first_answer(world: &World, start: Instant, give_up: f64) -> Result<f64> {
    loop {
        let state = world.console("/api/state", None).await?;
        let answered = |node: &serde_json::Value| {
            node["role"] == "lent" && node["requests_total"].as_u64().is_some_and(|count| count > 0)
        };
        if state["nodes"].as_array().is_some_and(|nodes| nodes.iter().any(answered)) {
            return Ok(start.elapsed().as_secs_f64());
        }
        if start.elapsed().as_secs_f64() > give_up {
            bail!("no surrogate had answered after {give_up} s");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// From `make up` in the clone to the service's page, everything built and the world made before.
pub async fn up(stage: &Stage<'_>) -> Row {
    let mut row = Row::new("make up, warm, to a served page", "s", Goal::AtMost(stage.config.up.goal_seconds));
    if stage.options.short {
        row.not_run = Some("left out of --short".to_owned());
        return row;
    }
    // One more than is counted: the first makes the world.
    for sample in 0..=stage.config.pairs {
        match one_start(stage).await {
            Ok(seconds) if sample > 0 => row.ours.push(seconds),
            Ok(_) => {}
            Err(error) => {
                row.not_run = Some(format!("{error:#}"));
                break;
            }
        }
    }
    row
}

async fn one_start(stage: &Stage<'_>) -> Result<f64> {
    let clone = clone()?;
    let mut command = Command::new("make");
    command.arg("--no-print-directory").arg("up").arg("ARGS=--json").current_dir(clone);
    let start = Instant::now();
    let patience = Duration::from_secs_f64(stage.config.up.give_up_seconds);
    let world = World::start(command, &stage.folder.path().join("up"), patience).await?;
    let page = page(&world).await;
    let seconds = start.elapsed().as_secs_f64();
    world.end().await?;
    page.map(|()| seconds)
}

async fn page(world: &World) -> Result<()> {
    let (address, _) = world.home()?;
    let target = Target { address, host: world.service_host(), path: "/".to_owned(), bytes: 0 };
    let stream = tls::connect(&tls::connector()?, address, &target.host).await?;
    let answer = Connection::new(stream).ask(&target.request(), false).await?;
    if answer.status != 200 {
        bail!("the page's status was {}", answer.status);
    }
    Ok(())
}

/// The clone that this benchmark was built in: `make up` is a command of a clone.
fn clone() -> Result<PathBuf> {
    let clone = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this benchmark has no clone")?;
    if !clone.join("Makefile").exists() {
        bail!("there is no Makefile in {}", clone.display());
    }
    Ok(clone.to_path_buf())
}
