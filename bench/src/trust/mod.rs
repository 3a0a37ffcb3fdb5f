//! Trust's goals: decisions beside Cedar, chains, memory. Everything runs in this one process on one core; parameters and
//! goals stand in `bench/trust.toml`. A row whose part does not exist says so by name and is not met.

mod cedar;
mod chain;
mod decision;
mod memory;
mod scene;

use crate::Options;
use crate::report::{Goal, Report, Row};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::time::{Duration, Instant};

const CONFIG: &str = include_str!("../../trust.toml");

#[derive(Deserialize)]
struct Config {
    pairs: usize,
    short_pairs: usize,
    decision: decision::Config,
    chain: chain::Config,
    memory: memory::Config,
    stream: StreamConfig,
    feed: FeedConfig,
}

#[derive(Deserialize)]
struct StreamConfig {
    goal_at_most: f64,
}

#[derive(Deserialize)]
struct FeedConfig {
    nodes: usize,
    goal_seconds: f64,
}

/// Runs the whole table.
pub fn run(options: &Options) -> Result<Report> {
    let config: Config = toml::from_str(CONFIG).context("read trust.toml")?;
    let pairs = if options.short { config.short_pairs } else { config.pairs };
    let mut rows = decision::rows(&config.decision, options.short, pairs)?;
    rows.extend(chain::rows(&config.chain, options.short, pairs)?);
    rows.push(memory::row(&config.memory, pairs)?);
    let mut stream = Row::new("rights on a 10 MB read stream", "s", Goal::RatioAtMost(config.stream.goal_at_most));
    stream.not_run = Some("no build of the server reads without asking for rights, to compare with".into());
    let work = format!("revocation to {} nodes, p99", config.feed.nodes);
    let mut feed = Row::new(work, "s", Goal::AtMost(config.feed.goal_seconds));
    feed.not_run = Some("the load of so many nodes on one feed is not built yet".into());
    rows.extend([stream, feed]);
    Ok(Report { name: "trust", pairs, rows })
}

/// Time for each of so many, in nanoseconds.
fn each(count: usize, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(nanoseconds(started.elapsed()) / count as f64)
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}
