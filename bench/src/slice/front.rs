//! A front that serves files over TLS, against nginx: the same files, client, connections and ciphers.

use super::Stage;
use crate::cpu::{self, Apart};
use crate::load::{self, Shape, Target};
use crate::nginx::Nginx;
use crate::report::{Goal, Row};
use crate::world::World;
use anyhow::{Error, Result, anyhow};
use serde::Deserialize;
use std::time::Duration;

/// The small file.
pub const SMALL: &str = "small.bin";
/// The large file.
pub const LARGE: &str = "large.bin";

/// The part of slice.toml.
#[derive(Deserialize)]
pub struct Config {
    connections: usize,
    warm_up_ms: u64,
    seconds: f64,
    short_seconds: f64,
    pub small_bytes: u64,
    small_goal_at_least: f64,
    pub large_bytes: u64,
    large_goal_at_least: f64,
}

/// Both rows.
pub async fn rows(stage: &Stage<'_>, world: Result<&World, &Error>, nginx: &Nginx) -> Vec<Row> {
    let config = &stage.config.front;
    let mut rows = Vec::new();
    for (file, bytes, goal) in [
        (SMALL, config.small_bytes, config.small_goal_at_least),
        (LARGE, config.large_bytes, config.large_goal_at_least),
    ] {
        let mut row = Row::new(format!("front, {} KiB over TLS", bytes / 1024), "req/s", Goal::RatioAtLeast(goal));
        if let Err(error) = measure(stage, world, nginx, file, bytes, &mut row).await {
            row.not_run = Some(format!("{error:#}"));
        }
        rows.push(row);
    }
    rows
}

async fn measure(
    stage: &Stage<'_>,
    world: Result<&World, &Error>,
    nginx: &Nginx,
    file: &str,
    bytes: u64,
    row: &mut Row,
) -> Result<()> {
    let config = &stage.config.front;
    let world = world.map_err(|error| anyhow!("{error:#}"))?;
    let (home, home_process) = world.home()?;
    let nginx_processes = nginx.processes();
    let ours = Target { address: home, host: world.service_host(), path: format!("/{file}"), bytes };
    let peer = Target { address: nginx.address, host: "localhost".to_owned(), path: format!("/{file}"), bytes };
    let servers: Vec<u32> = nginx_processes.iter().copied().chain([home_process]).collect();
    let apart = Apart::new(&servers)?;
    if apart.is_none() {
        row.notes.push("one core for client and server".to_owned());
    }
    let measured = if stage.options.short { config.short_seconds } else { config.seconds };
    let shape = Shape {
        connections: config.connections,
        warm_up: Duration::from_millis(config.warm_up_ms),
        measured: Duration::from_secs_f64(measured),
    };
    let mut busy = [0.0, 0.0];
    for pair in 0..stage.config.pairs {
        // Each side goes first every other time.
        for side in if pair % 2 == 0 { [0, 1] } else { [1, 0] } {
            let (target, processes, samples) = match side {
                0 => (&ours, &servers[servers.len() - 1..], &mut row.ours),
                _ => (&peer, nginx_processes.as_slice(), &mut row.peer),
            };
            let before = used(processes)?;
            samples.push(load::run(target, shape).await?);
            busy[side] += (used(processes)? - before) / (shape.measured + shape.warm_up).as_secs_f64();
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful of pairs")]
    let share = |side: usize| busy[side] / stage.config.pairs as f64 * 100.0;
    row.notes.push(format!("the server's core was busy: ours {:.0} %, nginx {:.0} %", share(0), share(1)));
    Ok(())
}

/// Seconds of processor time of all these processes.
fn used(processes: &[u32]) -> Result<f64> {
    let mut sum = Duration::ZERO;
    for process in processes {
        sum += cpu::used(*process)?;
    }
    Ok(sum.as_secs_f64())
}
