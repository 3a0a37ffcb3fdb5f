//! Trust's goals: decisions beside Cedar, chains, memory. Everything runs in this one process on one core; parameters and
//! goals stand in `bench/trust.toml`. A row that needs a running node and gets none says so and is not met.

mod cedar;
mod chain;
mod decision;
mod live;
mod memory;
mod scene;

use crate::Options;
use crate::report::Report;
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
    stream: live::StreamConfig,
    feed: live::FeedConfig,
}

/// Runs the whole table.
pub fn run(options: &Options) -> Result<Report> {
    let config: Config = toml::from_str(CONFIG).context("read trust.toml")?;
    let pairs = if options.short { config.short_pairs } else { config.pairs };
    // Measured before anything else has used and given back memory.
    let memory = memory::row(&config.memory, pairs)?;
    let mut rows = decision::rows(&config.decision, options.short, pairs)?;
    rows.extend(chain::rows(&config.chain, options.short, pairs)?);
    rows.push(memory);
    rows.push(live::stream(&config.stream, &options.webos, pairs));
    rows.push(live::feed(&config.feed, &options.webos, options.short, pairs));
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
