//! Memory of access lists: many resources that point to few lists.

use super::decision::list;
use crate::report::{Goal, Row};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Parameters of this row.
#[derive(Deserialize)]
pub struct Config {
    resources: u32,
    lists: u32,
    entries: usize,
    goal_mb: f64,
}

/// A table as a node keeps it: lists by their hash, and for each resource the number of its list.
pub fn row(config: &Config, samples: usize) -> Result<Row> {
    let work = format!("lists of {} resources, {} distinct", config.resources, config.lists);
    let mut row = Row::new(work, "MB", Goal::AtMost(config.goal_mb));
    for sample in 0..samples {
        let before = resident()?;
        let mut lists = BTreeMap::new();
        for number in 0..config.lists {
            let list = list(config.entries, &[], usize::try_from(number)? + sample * 100_000)?;
            lists.insert(list.hash(), Arc::new(list));
        }
        let pointers: Vec<u32> = (0..config.resources).map(|resource| resource % config.lists).collect();
        row.ours.push((resident()?.saturating_sub(before)) as f64 / 1e6);
        std::hint::black_box((&lists, &pointers));
    }
    row.notes.push("resident memory of this process; later samples use memory that earlier ones gave back".into());
    Ok(row)
}

/// Resident bytes of this process.
fn resident() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").context("read this process's memory")?;
    let pages: u64 = text.split_whitespace().nth(1).context("resident pages")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}
